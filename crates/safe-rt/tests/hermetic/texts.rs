//! What errors of TLS say to a person, and what they tell to do: of real handshakes, in both versions.

mod made_at_home;
mod peers;

use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519};
use safe_rt::{
    ClientTlsOptions, ClockFloor, Identity, ServerTlsOptions, TlsError, TlsErrorKind, TlsVersion,
};

use crate::pki::{Authority, Leaf, SERVER_NAME, Validity, authority_and_server};
use crate::refusal::VERSIONS;
use crate::support::{ROOMY, options, paused, read_text, shake_over};

/// What one side was told: the kind, the text without the address, and the remedy.
#[derive(Debug)]
struct Told {
    kind: TlsErrorKind,
    text: String,
    remedy: String,
}

#[track_caller]
fn told(error: &(dyn std::error::Error + 'static)) -> Told {
    let error = TlsError::of(error).unwrap_or_else(|| panic!("{error}"));
    let told = Told {
        kind: error.kind(),
        text: error.to_string(),
        remedy: error.remedy().into_owned(),
    };
    for line in [&told.text, &told.remedy] {
        assert!(
            !line.contains(char::is_control) && line.len() < 2_000,
            "{told:?}"
        );
    }
    told
}

impl Told {
    #[track_caller]
    fn expect(&self, kind: TlsErrorKind, text: &str, remedy: &str) {
        assert_eq!(self.kind, kind, "{self:?}");
        assert_eq!(self.text, text);
        assert!(self.remedy.contains(remedy), "{self:?}");
    }
}

/// Lets a client meet a server, and returns what each was told, if anything. In TLS 1.3 a client reads
/// once to learn what the server thinks of it.
fn meet(
    version: TlsVersion,
    client: ClientTlsOptions,
    server: ServerTlsOptions,
    name: &str,
) -> (Option<Told>, Option<Told>) {
    let client = client.version(version).build().expect("options");
    let server = server.build().expect("options");
    let (ours, theirs) = fiber::net::pipe(ROOMY);
    let (client, server) = shake_over(&client, &server, ours, theirs, name);
    let client = match client {
        Err(error) => Some(told(&error)),
        Ok(socket) if server.is_err() => Some(told(&read_text(&socket).expect_err("refused"))),
        Ok(_) => None,
    };
    // A client that is not content with what was agreed on only hangs up.
    let server = server.err().filter(|error| TlsError::of(error).is_some());
    (client, server.map(|error| told(&error)))
}

fn serving(chain: &str, key: &str) -> ServerTlsOptions {
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes());
    ServerTlsOptions::new(identity.expect("a matching pair"))
}

/// An authority whose certificate another one has issued, and a server's certificate of it.
fn intermediate() -> (Authority, String, Leaf) {
    let root = Authority::new("root authority");
    let (middle, certificate) = root.issue_authority("middle authority");
    let leaf = middle.server(&[SERVER_NAME], Validity(2000, 2100));
    (root, certificate, leaf)
}

#[test]
fn an_unknown_issuer_is_named_with_whom_it_issued_for() {
    for version in VERSIONS {
        paused(move || {
            let (_, server) = authority_and_server();
            let trusting = || ClientTlsOptions::new(Authority::new("another").trust());
            let (client, server) = meet(
                version,
                trusting(),
                ServerTlsOptions::new(server.identity()),
                SERVER_NAME,
            );
            client.expect("refused").expect(
                TlsErrorKind::UnknownIssuer,
                "the server's certificate was issued by none of the trusted authorities: \
                 \"CN=broker.test\" was issued by \"CN=test authority\", which is neither trusted nor \
                 among the 1 certificate(s) that the server sent",
                "If \"CN=test authority\" is an intermediate authority, have the server send",
            );
            server.expect("refused").expect(
                TlsErrorKind::CertificateRefused,
                "the client refuses the certificate of this server, \"CN=broker.test\" (issued by \
                 \"CN=test authority\", valid from 2000-01-01 00:00:00 UTC until 2100-01-01 00:00:00 \
                 UTC): alert UnknownCA (48), the authority that issued the certificate is not known",
                "Give the client the certificate of the authority",
            );

            // A chain that leads to a root nobody knows, as behind a proxy that inspects.
            let (root, middle, leaf) = intermediate();
            let whole = format!("{}{middle}{}", leaf.chain, root.pem());
            let (client, _) = meet(version, trusting(), serving(&whole, &leaf.key), SERVER_NAME);
            client.expect("refused").expect(
                TlsErrorKind::UnknownIssuer,
                "the server's certificate was issued by none of the trusted authorities: the chain \
                 ends with \"CN=root authority\", signed by itself and not trusted",
                "a proxy or firewall that inspects TLS may answer in place of the server",
            );

            // The root is trusted, but the intermediate is not sent.
            let trusted = ClientTlsOptions::new(root.trust());
            let (client, _) = meet(
                version,
                trusted.clone(),
                serving(&leaf.chain, &leaf.key),
                SERVER_NAME,
            );
            client.expect("refused").expect(
                TlsErrorKind::UnknownIssuer,
                "the server's certificate was issued by none of the trusted authorities: \
                 \"CN=broker.test\" was issued by \"CN=middle authority\", which is neither trusted \
                 nor among the 1 certificate(s) that the server sent",
                "If \"CN=middle authority\" is an intermediate authority, have the server send its \
                 certificate too",
            );
            // As the remedy says.
            let whole = format!("{}{middle}", leaf.chain);
            let (client, _) = meet(version, trusted, serving(&whole, &leaf.key), SERVER_NAME);
            assert!(client.is_none(), "{client:?}");
        });
    }
}

#[test]
fn an_authority_made_anew_under_its_old_name_is_suspected() {
    for version in VERSIONS {
        paused(move || {
            let (_, server) = authority_and_server();
            let (client, _) = meet(
                version,
                ClientTlsOptions::new(Authority::new("test authority").trust()),
                ServerTlsOptions::new(server.identity()),
                SERVER_NAME,
            );
            let client = client.expect("refused");
            assert!(
                client
                    .remedy
                    .contains(" made anew, trust its new certificate"),
                "{client:?}"
            );
            assert!(client.text.contains("\"CN=broker.test\""), "{client:?}");
        });
    }
}

#[test]
fn a_wrong_name_is_shown_beside_those_that_the_certificate_is_for() {
    for version in VERSIONS {
        paused(move || {
            for asked in ["other.test", "192.0.2.1"] {
                let (client, server) = options();
                let (client, _) = meet(version, client, server, asked);
                client.expect("refused").expect(
                    TlsErrorKind::NameMismatch,
                    &format!(
                        "the server's certificate is for another name: asked for \"{asked}\", found \
                         \"broker.test\", \"127.0.0.1\", \"::1\""
                    ),
                    "Dial a name that the certificate is for",
                );
            }
        });
    }
}

#[test]
fn dates_are_shown_beside_the_clock_with_which_of_the_two_is_wrong() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let now = || safe_rt::Utc(fiber::wall_time()).to_string();
    let dates = |from, until| {
        format!(
            "\"CN=broker.test\" (issued by \"CN=test authority\", valid from {from}-01-01 00:00:00 \
             UTC until {until}-01-01 00:00:00 UTC); the clock of this device says "
        )
    };
    for version in VERSIONS {
        paused(move || {
            let floor = ClockFloor::new();
            assert!(floor.raise(fiber::wall_time() + YEAR));
            let earliest = safe_rt::Utc(floor.earliest());
            let table = [
                (
                    Validity(2000, 2020),
                    None,
                    TlsErrorKind::Expired,
                    format!(
                        "has expired: {}{}, which can be: the certificate is wrong",
                        dates(2000, 2020),
                        now()
                    ),
                    "Have the server's certificate renewed. Only if it is not 20",
                ),
                (
                    Validity(2090, 2100),
                    None,
                    TlsErrorKind::NotValidYet,
                    format!(
                        "is not valid yet: {}{}, which can be: either that is behind, or the \
                         certificate was issued for later",
                        dates(2090, 2100),
                        now()
                    ),
                    "set the clock of this device; if it is, have the server's certificate issued",
                ),
                (
                    Validity(2000, 2020),
                    Some(&floor),
                    TlsErrorKind::Expired,
                    format!(
                        "has expired: {}{}, which cannot be, for it is {earliest} at the least: the \
                         clock is wrong, and so is the certificate",
                        dates(2000, 2020),
                        now()
                    ),
                    "Have the server's certificate renewed, and set the clock of this device.",
                ),
                (
                    Validity(2090, 2100),
                    Some(&floor),
                    TlsErrorKind::NotValidYet,
                    format!(
                        "is not valid yet: {}{}, which cannot be, for it is {earliest} at the least: \
                         the clock is wrong",
                        dates(2090, 2100),
                        now()
                    ),
                    "Set the clock of this device, or wait until it is set by the network",
                ),
            ];
            for (validity, floor, kind, text, remedy) in table {
                let authority = Authority::new("test authority");
                let leaf = authority.server(&[SERVER_NAME], validity);
                let mut client = ClientTlsOptions::new(authority.trust());
                if let Some(floor) = floor {
                    client = client.clock_floor(floor.clone());
                }
                let server = ServerTlsOptions::new(leaf.identity());
                let (client, _) = meet(version, client, server, SERVER_NAME);
                let text = format!("the server's certificate {text}");
                client.expect("refused").expect(kind, &text, remedy);
            }
        });
    }
}

#[test]
fn a_certificate_for_another_purpose_is_named() {
    for version in VERSIONS {
        paused(move || {
            let authority = Authority::new("test authority");
            let (client, _) = meet(
                version,
                ClientTlsOptions::new(authority.trust()),
                ServerTlsOptions::new(authority.client(SERVER_NAME).identity()),
                SERVER_NAME,
            );
            let client = client.expect("refused");
            assert_eq!(client.kind, TlsErrorKind::BadCertificate);
            let begin =
                "the server's certificate is not acceptable: \"CN=broker.test\" (issued by ";
            assert!(client.text.starts_with(begin), "{client:?}");
            assert!(client.text.contains("client authentication"), "{client:?}");
            assert!(client.remedy.contains("serverAuth"), "{client:?}");
        });
    }
}

#[test]
fn what_a_hostile_certificate_says_stays_in_one_short_line() {
    let evil = "x\r\n2026-11-29 ERROR forged\u{1b}[2J\u{202e}".repeat(500);
    for version in VERSIONS {
        let evil = evil.clone();
        paused(move || {
            let mut issuer = CertificateParams::new(Vec::new()).expect("no names");
            issuer
                .distinguished_name
                .push(DnType::CommonName, evil.as_str());
            issuer.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
            let issuer = CertifiedIssuer::self_signed(issuer, key).expect("a root");
            let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("a name");
            params
                .distinguished_name
                .push(DnType::CommonName, evil.as_str());
            let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
            let leaf = params.signed_by(&key, &issuer).expect("signed");
            let (client, server) = meet(
                version,
                ClientTlsOptions::new(Authority::new("another").trust()),
                serving(&leaf.pem(), &key.serialize_pem()),
                SERVER_NAME,
            );
            // `told` looks for what ends a line; what turns it round is escaped too.
            for told in [client.expect("refused"), server.expect("refused")] {
                assert!(told.text.contains("\\r\\n2026-11-29 ERROR"), "{told:?}");
                assert!(!told.text.contains('\u{202e}'), "{told:?}");
            }
        });
    }
}
