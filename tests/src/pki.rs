//! Certificates made at run time: none is committed, none expires in the repository.
//!
//! [`Pki::new`] makes what a TLS test needs, the good and the bad: an authority, a server and a
//! client of it, an authority nobody trusts, a certificate for another name and an expired one.
//! All keys are ECDSA on P-256.

use std::path::PathBuf;

use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::temp_dir::TempDir;

/// The names a good server certificate is valid for.
pub const SERVER_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Serial numbers that no other certificate of the process has.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0x5EA1_0001);

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, alone.
    pub certificate: String,
    /// The key, PKCS #8 without encryption.
    pub key: String,
    /// The serial number of the certificate.
    pub serial: u64,
}

impl Identity {
    /// Writes both into `folder` and returns the paths of certificate and key.
    #[track_caller]
    pub fn write(&self, folder: &TempDir, name: &str) -> (PathBuf, PathBuf) {
        let certificate = folder.write(&format!("{name}.crt"), &self.certificate);
        (certificate, folder.write(&format!("{name}.key"), &self.key))
    }
}

/// A certificate authority.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

impl Authority {
    /// Makes a self-signed authority.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = new_key();
        let mut params = named(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .expect("a P-256 key signs itself")
            .pem();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// Returns the authority's certificate in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Makes a server certificate for these host names and addresses.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.sign(named(names, "test server"), Role::Server)
    }

    /// Makes a server certificate that was valid for one day in the year 2000.
    #[must_use]
    pub fn expired_server(&self, names: &[&str]) -> Identity {
        let mut params = named(names, "expired server");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2000, 1, 2);
        self.sign(params, Role::Server)
    }

    /// Makes a client certificate with this common name.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.sign(named(&[], name), Role::Client)
    }

    /// Signs a list of these as revoked, valid from the year 2000 to 2100, in PEM.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Identity]) -> String {
        let revoked_certs = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: date_time_ymd(2000, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params
            .signed_by(&self.issuer)
            .and_then(|list| list.pem())
            .expect("the authority can sign")
    }

    fn sign(&self, mut params: CertificateParams, role: Role) -> Identity {
        let key = new_key();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the authority can sign");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Everything a TLS test needs.
#[derive(Debug)]
pub struct Pki {
    /// The authority that is trusted.
    pub authority: Authority,
    /// An authority that nobody trusts; its name is the same, so that only the key tells.
    pub wrong_authority: Authority,
    /// A good server: [`SERVER_NAMES`], signed by `authority`.
    pub server: Identity,
    /// A server for `wrong.example`, signed by `authority`.
    pub wrong_name_server: Identity,
    /// A server for [`SERVER_NAMES`] whose time is over, signed by `authority`.
    pub expired_server: Identity,
    /// A server for [`SERVER_NAMES`], signed by `wrong_authority`.
    pub wrong_authority_server: Identity,
    /// A good client, signed by `authority`.
    pub client: Identity,
    /// A client signed by `wrong_authority`.
    pub wrong_authority_client: Identity,
}

impl Pki {
    /// Makes all of it; takes a few milliseconds.
    #[must_use]
    pub fn new() -> Self {
        let authority = Authority::new("test authority");
        let wrong_authority = Authority::new("test authority");
        Self {
            server: authority.server(&SERVER_NAMES),
            wrong_name_server: authority.server(&["wrong.example"]),
            expired_server: authority.expired_server(&SERVER_NAMES),
            wrong_authority_server: wrong_authority.server(&SERVER_NAMES),
            client: authority.client("test client"),
            wrong_authority_client: wrong_authority.client("test client"),
            authority,
            wrong_authority,
        }
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn named(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("test names are valid host names");
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_is_pem_and_no_two_share_a_key() {
        let pki = Pki::new();
        let identities = [
            &pki.server,
            &pki.wrong_name_server,
            &pki.expired_server,
            &pki.wrong_authority_server,
            &pki.client,
            &pki.wrong_authority_client,
        ];
        for (index, one) in identities.iter().enumerate() {
            assert!(one.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(one.key.starts_with("-----BEGIN PRIVATE KEY-----"));
            assert!(
                identities[index + 1..]
                    .iter()
                    .all(|other| other.key != one.key)
            );
        }
        assert_ne!(
            pki.authority.certificate(),
            pki.wrong_authority.certificate()
        );
    }
}
