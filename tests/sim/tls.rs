//! The same over TLS. Ed25519 and X25519, so that no length is a matter of luck.

use std::rc::Rc;

use fiber::sim::SimBuilder;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, date_time_ymd,
};
use safe_rt::{
    ClientTls, ClientTlsOptions, DialOptions, Identity, ServerTlsOptions, TlsVersion, Trust,
};

use crate::coverage::{Coverage, Expected};
use crate::delivery::{counted, delivered};
use crate::faults::FAULTS;
use crate::many;
use crate::scene::Transport;

/// The authority's certificate, and the broker's with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pki {
    authority: String,
    certificate: String,
    key: String,
}

impl Pki {
    fn new() -> Self {
        Self::valid(2000, 2100)
    }

    /// One whose broker has a certificate from the beginning of one year to that of another.
    pub(crate) fn valid(from: i32, until: i32) -> Self {
        let new_key = || KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let params = |names: &[&str], common_name: &str| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).expect("names");
            params
                .distinguished_name
                .push(DnType::CommonName, common_name);
            params
        };
        let mut authority = params(&[], "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = new_key();
        let certificate = authority.self_signed(&authority_key).expect("signed");
        let issuer = Issuer::new(authority, authority_key);
        let mut broker = params(&["broker"], "broker");
        broker.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        broker.not_before = date_time_ymd(from, 1, 1);
        broker.not_after = date_time_ymd(until, 1, 1);
        let key = new_key();
        Self {
            authority: certificate.pem(),
            certificate: broker.signed_by(&key, &issuer).expect("signed").pem(),
            key: key.serialize_pem(),
        }
    }

    /// What a client believes and speaks.
    pub(crate) fn client(&self, version: TlsVersion) -> ClientTls {
        let trust = Trust::from_pem(self.authority.as_bytes()).expect("a certificate");
        let options = ClientTlsOptions::new(trust).version(version);
        options.build().expect("options")
    }

    /// Made anew for each run: a session of an earlier one would make the next one differ.
    pub(crate) fn transport(&self, version: TlsVersion) -> Transport {
        let identity = Identity::from_pem(self.certificate.as_bytes(), self.key.as_bytes());
        let server =
            ServerTlsOptions::new(identity.expect("a certificate with its key")).version(version);
        Transport {
            endpoint: "mqtts://broker",
            dial: DialOptions::new().tls(self.client(version)),
            server: Some(server.build().expect("options")),
            connections: Rc::default(),
            coverage: Coverage::default(),
            up: Rc::default(),
        }
    }
}

#[test]
fn what_was_taken_arrives_over_tls_too() {
    let pki = Pki::new();
    let expected = Expected {
        seen: FAULTS.to_vec(),
        ..Expected::default()
    };
    let test = "tls::what_was_taken_arrives_over_tls_too";
    many::check(test, 200, &expected, |sim| {
        let pki = pki.clone();
        counted(sim, move || pki.transport(TlsVersion::Tls13))
    });
}

#[test]
fn equal_seeds_give_equal_runs_over_tls() {
    let pki = Pki::new();
    for seed in 0..5 {
        let run = || {
            let pki = pki.clone();
            delivered(SimBuilder::new(seed), move || {
                pki.transport(TlsVersion::Tls13)
            })
            .expect("a run")
        };
        assert_eq!(run(), run());
    }
}
