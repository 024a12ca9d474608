//! A certificate authority that lives as long as the program: its key is never written.
//!
//! Keys are ECDSA on P-256. The certificates are for one run on the loopback interface; this is no
//! way to provision a device.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use safe_rt::{Identity, Trust};
use zeroize::Zeroizing;

use super::error::DemoError;

/// A key or a certificate could not be made.
#[derive(Debug)]
pub struct AuthorityError(rcgen::Error);

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for AuthorityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl From<rcgen::Error> for DemoError {
    fn from(error: rcgen::Error) -> Self {
        Self::Authority(AuthorityError(error))
    }
}

/// A certificate authority.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one.
    pub(super) fn new() -> Result<Self, DemoError> {
        let key = KeyPair::generate()?;
        let mut params = named(&[], "agent demo authority")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Returns the trust in this authority and in no other.
    pub(super) fn trust(&self) -> Result<Trust, DemoError> {
        Ok(Trust::from_pem(self.certificate.as_bytes())?)
    }

    /// Returns its certificate, as PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Makes the identity of a server with this name or address.
    pub(super) fn server(&self, name: &str) -> Result<Identity, DemoError> {
        let params = named(&[name], "agent demo cloud")?;
        let (certificate, key) = self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok(Identity::from_pem(certificate.as_bytes(), key.as_bytes())?)
    }

    /// Makes the certificate of a device and its key, as PEM.
    pub(super) fn device(&self, name: &str) -> Result<(String, Zeroizing<String>), DemoError> {
        self.sign(named(&[], name)?, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(String, Zeroizing<String>), DemoError> {
        let key = KeyPair::generate()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok((certificate, Zeroizing::new(key.serialize_pem())))
    }
}

fn named(names: &[&str], common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}
