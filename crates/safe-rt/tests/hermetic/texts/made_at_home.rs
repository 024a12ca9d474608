//! Certificates that people make by themselves, and what is most often wrong with them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};
use safe_rt::{ClientTlsOptions, ServerTlsOptions, TlsErrorKind, Trust};

use super::{meet, serving};
use crate::pki::{Authority, SERVER_NAME};
use crate::refusal::VERSIONS;
use crate::support::{options, paused};

fn params(name: &str, is_ca: IsCa) -> CertificateParams {
    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("a key")
}

fn trusting(pem: &str) -> ClientTlsOptions {
    ClientTlsOptions::new(Trust::from_pem(pem.as_bytes()).expect("an authority"))
}

/// As `openssl req -x509` makes it.
fn made_by_openssl() -> (String, String) {
    let key = key();
    let params = params("at home", IsCa::Ca(BasicConstraints::Unconstrained));
    let certificate = params.self_signed(&key).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn a_certificate_made_at_home_is_said_to_be_signed_by_itself() {
    for version in VERSIONS {
        paused(move || {
            let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("a name");
            params
                .distinguished_name
                .push(DnType::CommonName, "at home");
            let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
            let certificate = params.self_signed(&key).expect("signed");
            let (client, _) = meet(
                version,
                ClientTlsOptions::new(Authority::new("another").trust()),
                serving(&certificate.pem(), &key.serialize_pem()),
                SERVER_NAME,
            );
            client.expect("refused").expect(
                TlsErrorKind::UnknownIssuer,
                "the server's certificate was issued by none of the trusted authorities: \
                 \"CN=at home\" is signed by itself and is not trusted itself",
                "compare its certificate by another way and trust that itself, after which its key can \
                 vouch for every name, or pin its key alone",
            );
        });
    }
}

#[test]
fn an_authoritys_certificate_in_the_place_of_a_servers_is_told_as_that() {
    for version in VERSIONS {
        paused(move || {
            let (chain, key) = made_by_openssl();
            // Whether it is trusted or not.
            for client in [
                trusting(&chain),
                ClientTlsOptions::new(Authority::new("another").trust()),
            ] {
                let (client, _) = meet(version, client, serving(&chain, &key), SERVER_NAME);
                client.expect("refused").expect(
                    TlsErrorKind::BadCertificate,
                    "the server's certificate is not acceptable: \"CN=at home\" (signed by itself, \
                     valid from 2000-01-01 00:00:00 UTC until 2100-01-01 00:00:00 UTC): it is an \
                     authority's (basicConstraints=CA:TRUE)",
                    "issue one from it for the server; or make the server's anew with \
                     basicConstraints=CA:FALSE",
                );
            }
        });
    }
}

#[test]
fn an_authoritys_certificate_in_the_place_of_a_clients_is_told_as_that() {
    for version in VERSIONS {
        paused(move || {
            let (chain, key) = made_by_openssl();
            let (client, server) = options();
            let identity = safe_rt::Identity::from_pem(chain.as_bytes(), key.as_bytes());
            let client = client.identity(identity.expect("a pair"));
            let trust = Trust::from_pem(chain.as_bytes()).expect("an authority");
            let server = server.require_client_certificate(trust);
            let (_, server) = meet(version, client, server, SERVER_NAME);
            let server = server.expect("refused");
            assert_eq!(server.kind, TlsErrorKind::BadCertificate);
            assert!(
                server
                    .remedy
                    .contains("issue one from it for the client; or make the client's anew"),
                "{server:?}"
            );
        });
    }
}

#[test]
fn a_certificate_that_issues_and_is_no_authoritys_is_told_as_that() {
    for version in VERSIONS {
        paused(move || {
            let is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let root = CertifiedIssuer::self_signed(params("root", is_ca), key()).expect("signed");
            let middle = params("middle", IsCa::ExplicitNoCa);
            let middle = CertifiedIssuer::signed_by(middle, key(), &root).expect("signed");
            let leaf_key = key();
            let leaf = params("leaf", IsCa::ExplicitNoCa).signed_by(&leaf_key, &middle);
            let chain = format!("{}{}", leaf.expect("signed").pem(), middle.pem());
            let server: ServerTlsOptions = serving(&chain, &leaf_key.serialize_pem());
            let (client, _) = meet(version, trusting(&root.pem()), server, SERVER_NAME);
            let client = client.expect("refused");
            assert_eq!(client.kind, TlsErrorKind::BadCertificate);
            assert!(
                client
                    .text
                    .ends_with(": one that issued it, or another above it, is no authority's"),
                "{client:?}"
            );
            assert!(
                client
                    .remedy
                    .starts_with("Have the server's certificate issued by an authority; or make"),
                "{client:?}"
            );
        });
    }
}
