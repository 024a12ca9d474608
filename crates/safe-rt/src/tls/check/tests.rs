//! A server that has a certificate and not its key, which only rustls itself lets one be.

use rustls::server::{ServerConfig, ServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::*;
use crate::ClientTls;
use crate::tls::client::ClientTlsOptions;
use crate::tls::config::TlsVersion;
use crate::tls::error::{TlsError, TlsErrorKind};
use crate::tls::pem;
use crate::tls::trust::Trust;

const NAME: &str = "broker.test";

/// A certificate that is its own authority, and its key.
fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A server that presents `chain` and signs with `key`.
fn server(chain: &str, key: &str, version: TlsVersion) -> ServerConfig {
    let chain = pem::certificates(chain.as_bytes()).expect("a chain");
    let key = pem::private_key(key.as_bytes()).expect("a key");
    let provider = config::provider();
    let key = provider.key_provider.load_private_key(key.clone_key());
    let key = Arc::new(CertifiedKey::new(chain, key.expect("a key of ring's")));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(config::versions(Some(version)))
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
}

/// Runs a handshake in memory and returns what the client fails with.
fn shake(client: &ClientTls, server: ServerConfig) -> Option<Error> {
    let name = ServerName::try_from(NAME).expect("a name");
    let built = client.built().expect("nothing to be read");
    let mut client =
        rustls::ClientConnection::new(Arc::clone(&built.config), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    while client.is_handshaking() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("room");
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("bytes");
            server.process_new_packets().expect("a good client");
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).expect("room");
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("bytes");
            if let Err(error) = client.process_new_packets() {
                return Some(error);
            }
        }
    }
    None
}

#[test]
fn whoever_does_not_have_the_key_is_refused_whatever_else_is_not_checked() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let (chain, key) = made();
        let (_, other) = made();
        let pin = Pin::of_certificate(chain.as_bytes()).expect("a pin");
        let pinned = ClientTlsOptions::new(Trust::pins([pin]).expect("a pin"));
        let authority = Trust::from_pem(chain.as_bytes()).expect("an authority");
        let checked = ClientTlsOptions::new(authority);
        for options in [
            pinned.clone(),
            checked.clone(),
            checked.clone().danger().accept_any_name(),
            checked.danger().accept_any_certificate(),
            pinned.danger().accept_any_certificate(),
        ] {
            let client = options.version(version).build().expect("options");
            let found = shake(&client, server(&chain, &key, version));
            assert_eq!(found, None, "it has the key");
            let error = shake(&client, server(&chain, &other, version));
            let error = error.expect("another key");
            assert_eq!(
                error,
                Error::InvalidCertificate(CertificateError::BadSignature),
                "{client:?}"
            );
            let kind = TlsError::from(error).kind();
            assert_eq!(kind, TlsErrorKind::BadCertificate);
        }
    }
}

#[test]
fn the_key_of_an_authority_is_pinned_as_a_certificate_has_it() {
    // Keys on both sides of the lengths at which DER writes them differently.
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let params = rcgen::CertificateParams::new([NAME.to_owned()]).expect("a name");
        let made = params.self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(made.der().clone()).expect("an authority");
        assert_eq!(Some(Pin::of_anchor(&roots.roots[0])), Pin::of(made.der()));
    }
    for (len, head) in [
        (127, vec![0x7f]),
        (128, vec![0x81, 0x80]),
        (300, vec![0x82, 1, 44]),
    ] {
        let anchor = rustls::pki_types::TrustAnchor {
            subject: b"".as_slice().into(),
            subject_public_key_info: vec![7; len].into(),
            name_constraints: None,
        };
        let whole = [vec![0x30], head, vec![7; len]].concat();
        assert_eq!(Pin::of_anchor(&anchor), Pin::of_key(&whole), "{len}");
    }
}

#[test]
fn what_is_demanded_and_cannot_be_asked_is_refused() {
    let demands = |pins| {
        let roots = Arc::new(RootCertStore::empty());
        Demands::new(roots, pins, Crls::default(), None)
    };
    let check = |demands: Demands| {
        let (leaf, now) = (CertificateDer::from(Vec::new()), UnixTime::now());
        demands.check_chain(&leaf, &[], now, KeyUsage::server_auth())
    };
    assert_eq!(check(demands(Vec::new())), Ok(()));
    let refused = CertificateError::ApplicationVerificationFailure.into();
    assert_eq!(check(demands(vec![Pin::of_key(b"key")])), Err(refused));
}
