//! Keys that are made on the device, and the requests to have them certified.

use rcgen::{CertificateParams, DnType, KeyPair};
use zeroize::Zeroizing;

use super::error::ProvisionError;

/// A private key, and the request for its certificate, both PEM.
pub(super) struct KeyAndRequest {
    pub(super) key: Zeroizing<String>,
    pub(super) request: String,
}

/// Makes a signing request that names the device, for a key that is there: PEM, PKCS #8. Does not yield.
///
/// # Errors
///
/// [`ProvisionError::Key`] for a key of another kind.
pub fn request_for(key: &[u8], device_id: &str) -> Result<String, ProvisionError> {
    let failed = |error: rcgen::Error| ProvisionError::Key(error.to_string());
    let text = str::from_utf8(key).map_err(|_| ProvisionError::Key("it is no PEM".to_owned()))?;
    request(&KeyPair::from_pem(text).map_err(failed)?, device_id)
}

/// Makes an ECDSA key on P-256, and a signing request that names the device (PKCS#10, RFC 2986).
/// Does not yield.
pub(super) fn make(device_id: &str) -> Result<KeyAndRequest, ProvisionError> {
    let failed = |error: rcgen::Error| ProvisionError::Key(error.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    Ok(KeyAndRequest {
        request: request(&key, device_id)?,
        key: Zeroizing::new(key.serialize_pem()),
    })
}

fn request(key: &KeyPair, device_id: &str) -> Result<String, ProvisionError> {
    let failed = |error: rcgen::Error| ProvisionError::Key(error.to_string());
    let mut params = CertificateParams::new([]).map_err(failed)?;
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, device_id);
    let request = params.serialize_request(key).map_err(failed)?;
    request.pem().map_err(failed)
}
