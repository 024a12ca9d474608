//! Keys that are made on the device, and the requests to have them certified.

use rcgen::{CertificateParams, DnType, KeyPair};
use zeroize::Zeroizing;

use super::error::ProvisionError;

/// A private key, and the request for its certificate, both PEM.
pub(super) struct KeyAndRequest {
    pub(super) key: Zeroizing<String>,
    pub(super) request: String,
}

/// Makes an ECDSA key on P-256, and a signing request that names the device (PKCS#10, RFC 2986).
/// Does not yield.
pub(super) fn make(device_id: &str) -> Result<KeyAndRequest, ProvisionError> {
    let failed = |error: rcgen::Error| ProvisionError::Key(error.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new([]).map_err(failed)?;
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, device_id);
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok(KeyAndRequest {
        key: Zeroizing::new(key.serialize_pem()),
        request: request.pem().map_err(failed)?,
    })
}
