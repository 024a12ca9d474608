//! A small PKI, made anew at each run: authorities, servers, clients, and ones that do not fit.

use core::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};

use safe_rt::{Identity, Trust};

/// The name that the good server certificate is for; it is for 127.0.0.1 and ::1 too.
pub(crate) const SERVER_NAME: &str = "broker.test";

/// An authority that can issue certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate and those above it but for the root's, as PEM text.
    chain: String,
    serial: SerialNumber,
}

/// A certificate with its key, both as PEM text.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) serial: SerialNumber,
}

/// When a certificate is valid, in years.
#[derive(Clone, Copy)]
pub(crate) struct Validity(pub(crate) i32, pub(crate) i32);

/// From long ago to far away.
pub(crate) const VALID: Validity = Validity(2000, 2100);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let serial = serial_number();
        let issuer = CertifiedIssuer::self_signed(Self::params(name, &serial), key);
        Self {
            issuer: issuer.expect("a root certificate"),
            chain: String::new(),
            serial,
        }
    }

    /// Makes an authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let serial = serial_number();
        let mut params = Self::params(name, &serial);
        params.use_authority_key_identifier_extension = true;
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer);
        let issuer = issuer.expect("an intermediate certificate");
        let chain = format!("{}{}", issuer.pem(), self.chain);
        Self {
            issuer,
            chain,
            serial,
        }
    }

    fn params(name: &str, serial: &SerialNumber) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to refuse");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial.clone());
        params
    }

    /// Issues the certificate of another authority, and returns that with it; what the other one
    /// issues comes without it.
    pub(crate) fn issue_authority(&self, name: &str) -> (Self, String) {
        let issued = self.intermediate(name);
        let pem = issued.pem();
        let chain = String::new();
        (Self { chain, ..issued }, pem)
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Its own certificate, to be revoked.
    pub(crate) fn serial(&self) -> SerialNumber {
        self.serial.clone()
    }

    /// Signs a revocation list, valid in these years, as PEM text.
    pub(crate) fn crl(&self, revoked: &[SerialNumber], valid: Validity) -> String {
        self.sign_crl(revoked, valid).pem().expect("a text")
    }

    /// As [`crl`](Self::crl), as DER.
    pub(crate) fn crl_der(&self, revoked: &[SerialNumber], valid: Validity) -> Vec<u8> {
        self.sign_crl(revoked, valid).der().to_vec()
    }

    fn sign_crl(
        &self,
        revoked: &[SerialNumber],
        Validity(from, to): Validity,
    ) -> rcgen::CertificateRevocationList {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: date_time_ymd(from, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(to, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a revocation list")
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(self.pem().as_bytes()).expect("an authority to trust")
    }

    /// Issues a certificate for `names` and one purpose.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        Validity(from, to): Validity,
        algorithm: &'static SignatureAlgorithm,
    ) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let first = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("names that exist");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, first);
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let serial = serial_number();
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a certificate");
        Leaf {
            chain: format!("{}{}", certificate.pem(), self.chain),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// Issues a certificate for a server.
    pub(crate) fn server(&self, names: &[&str], validity: Validity) -> Leaf {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue(names, purpose, validity, &PKCS_ED25519)
    }

    /// Issues a certificate for a client, with a key of another sort than the servers'.
    pub(crate) fn client(&self, name: &str) -> Leaf {
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(&[name], purpose, VALID, &PKCS_ECDSA_P256_SHA256)
    }
}

impl Leaf {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(self.chain.as_bytes(), self.key.as_bytes()).expect("a matching pair")
    }
}

/// Serial numbers that no other certificate of the run has.
fn serial_number() -> SerialNumber {
    static NEXT: AtomicU64 = AtomicU64::new(0x00C0_FFEE);
    SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An authority and a good server certificate of it.
pub(crate) fn authority_and_server() -> (Authority, Leaf) {
    let authority = Authority::new("test authority");
    let server = authority.server(&[SERVER_NAME, "127.0.0.1", "::1"], VALID);
    (authority, server)
}
