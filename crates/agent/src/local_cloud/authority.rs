//! The authority of a local cloud: it certifies keys of devices, and lives as long as the program.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use safe_rt::{Identity, Trust};

use super::CloudError;
use super::request::Request;

/// How long a certificate of a device is valid, unless something else is asked for.
pub const DEVICE_LIFE_DEFAULT: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate authority for devices and servers on the loopback interface.
pub struct LocalAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate chain and its key, both PEM.
pub struct Issued {
    /// The chain, leaf first.
    pub chain: String,
    /// The key.
    pub key: String,
}

impl LocalAuthority {
    /// Makes one. Does not yield.
    ///
    /// # Errors
    ///
    /// [`CloudError::Certificate`].
    pub fn new(name: &str) -> Result<Self, CloudError> {
        let key = KeyPair::generate()?;
        let mut params = named(&[], name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Returns its own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Returns the trust in this authority and in no other.
    ///
    /// # Errors
    ///
    /// [`CloudError::Tls`].
    pub fn trust(&self) -> Result<Trust, CloudError> {
        Ok(Trust::from_pem(self.certificate.as_bytes())?)
    }

    /// Makes the identity of a server with this name or address.
    ///
    /// # Errors
    ///
    /// [`CloudError::Certificate`], [`CloudError::Tls`].
    pub fn server(&self, name: &str) -> Result<Identity, CloudError> {
        let key = KeyPair::generate()?;
        let mut params = named(&[name], name)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let chain = params.signed_by(&key, &self.issuer)?.pem();
        let key = key.serialize_pem();
        Ok(Identity::from_pem(chain.as_bytes(), key.as_bytes())?)
    }

    /// Makes a key and a certificate for it: a claim, or the identity of a device whose key the cloud
    /// makes.
    ///
    /// # Errors
    ///
    /// [`CloudError::Certificate`].
    pub fn issue(&self, name: &str, life: Duration) -> Result<Issued, CloudError> {
        let key = KeyPair::generate()?;
        let chain = device(name, life)?.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued {
            chain,
            key: key.serialize_pem(),
        })
    }

    /// Certifies the key of a signing request, PEM, for a device with this name, or with the one
    /// that it asks for. Returns the certificate, PEM.
    ///
    /// # Errors
    ///
    /// [`CloudError::Request`], [`CloudError::Certificate`].
    pub fn sign(
        &self,
        request: &str,
        name: Option<&str>,
        life: Duration,
    ) -> Result<String, CloudError> {
        let request = Request::of_pem(request)?;
        let name = name.or(request.common_name.as_deref());
        let params = device(name.unwrap_or("device"), life)?;
        Ok(params.signed_by(&request, &self.issuer)?.pem())
    }
}

fn device(name: &str, life: Duration) -> Result<CertificateParams, CloudError> {
    let mut params = named(&[], name)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    // A minute back, for clocks that do not agree.
    let now = fiber::wall_time();
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + life).into();
    Ok(params)
}

fn named(names: &[&str], common_name: &str) -> Result<CertificateParams, CloudError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0; 16];
    fiber::random::fill(&mut serial).map_err(CloudError::Randomness)?;
    // Positive, and with all its bytes (RFC 5280 section 4.1.2.2).
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
