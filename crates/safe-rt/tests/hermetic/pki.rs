//! A small PKI, made anew at each run: authorities, servers, clients, and ones that do not fit.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm, date_time_ymd,
};

use safe_rt::{Identity, Trust};

/// The name that the good server certificate is for; it is for 127.0.0.1 and ::1 too.
pub(crate) const SERVER_NAME: &str = "broker.test";

/// An authority that can issue certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both as PEM text.
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// When a certificate is valid, in years.
pub(crate) struct Validity(pub(crate) i32, pub(crate) i32);

/// From long ago to far away.
pub(crate) const VALID: Validity = Validity(2000, 2100);

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names to refuse");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let params = authority_params(name);
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root certificate"))
    }

    /// Issues the certificate of another authority, and returns that with it.
    pub(crate) fn issue_authority(&self, name: &str) -> (Self, String) {
        let mut params = authority_params(name);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let issued = CertifiedIssuer::signed_by(params, key, &self.0).expect("a certificate");
        let pem = issued.pem();
        (Self(issued), pem)
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
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
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
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

/// An authority and a good server certificate of it.
pub(crate) fn authority_and_server() -> (Authority, Leaf) {
    let authority = Authority::new("test authority");
    let server = authority.server(&[SERVER_NAME, "127.0.0.1", "::1"], VALID);
    (authority, server)
}
