//! Revocation lists: what they refuse, on either side and with either version, and what is said.

use rcgen::SerialNumber;
use safe_rt::{
    CRLS_MAX, ClientTlsOptions, Error, PemError, Revocation, ServerTlsOptions, Socket,
    TlsConfigError, TlsErrorKind, TlsVersion, Trust, TrustError,
};

use crate::bystanders::among_bystanders;
use crate::handshake::kind;
use crate::pki::{Authority, Leaf, SERVER_NAME, VALID, Validity};
use crate::support::{ROOMY, read_text, shake};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const NOBODY: &[SerialNumber] = &[];

/// A root, an authority below it, and a server's certificate of that one.
struct Pki {
    root: Authority,
    middle: Authority,
    server: Leaf,
}

impl Pki {
    fn new() -> Self {
        let root = Authority::new("root");
        let middle = root.intermediate("middle");
        let server = middle.server(&[SERVER_NAME], VALID);
        Self {
            root,
            middle,
            server,
        }
    }

    /// Trusts the root, with a list of each authority that revokes these.
    fn trust(&self, by_root: &[SerialNumber], by_middle: &[SerialNumber]) -> Trust {
        let lists = [
            self.root.crl(by_root, VALID),
            self.middle.crl(by_middle, VALID),
        ];
        self.trust_with(&lists.concat())
    }

    fn trust_with(&self, lists: &str) -> Trust {
        let trust = self.root.trust();
        trust.crl_pem(lists.as_bytes()).expect("lists")
    }

    /// Lets a client that has `trust` meet the server.
    fn meet(
        &self,
        version: TlsVersion,
        trust: Trust,
    ) -> (Result<Socket, Error>, Result<Socket, Error>) {
        let client = ClientTlsOptions::new(trust).version(version).build();
        let server = ServerTlsOptions::new(self.server.identity()).build();
        shake(&client.expect("options"), &server.expect("options"), ROOMY)
    }

    #[track_caller]
    fn refused(&self, version: TlsVersion, trust: Trust) -> (Error, Error) {
        let (client, server) = self.meet(version, trust);
        (client.expect_err("refused"), server.expect_err("refused"))
    }
}

/// A serial number as an error says it.
fn shown(serial: &SerialNumber) -> String {
    let bytes = serial.as_ref().iter().skip_while(|byte| **byte == 0);
    bytes
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

#[test]
fn a_revoked_server_is_refused_and_learns_why() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let revoked = [pki.server.serial.clone()];
            let (client, server) = pki.refused(version, pki.trust(NOBODY, &revoked));
            assert_eq!(kind(&client), Some(TlsErrorKind::Revoked));
            let said = "the server's certificate is revoked: ";
            assert!(client.to_string().contains(said), "{client}");
            let said = format!(", serial number {}", shown(&revoked[0]));
            assert!(client.to_string().contains(&said), "{client}");
            assert_eq!(kind(&server), Some(TlsErrorKind::CertificateRefused));
            assert!(
                server.to_string().contains("CertificateRevoked"),
                "{server}"
            );
        });
    }
}

#[test]
fn a_server_of_a_revoked_authority_is_refused() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let revoked = [pki.middle.serial()];
            let (client, _) = pki.refused(version, pki.trust(&revoked, NOBODY));
            assert_eq!(kind(&client), Some(TlsErrorKind::Revoked));
            let said = "issued by way of a revoked one: \"CN=middle\"";
            assert!(client.to_string().contains(said), "{client}");
            let said = format!(", serial number {}", shown(&revoked[0]));
            assert!(client.to_string().contains(&said), "{client}");
        });
    }
}

#[test]
fn lists_that_name_others_refuse_nobody() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let other = pki.middle.server(&["other.test"], VALID).serial;
            let (client, server) = pki.meet(version, pki.trust(NOBODY, &[other]));
            client.expect("a client");
            server.expect("a server");
        });
    }
}

#[test]
fn a_revoked_client_is_refused_and_learns_why() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let clients = Authority::new("clients");
            let (good, bad) = (clients.client("good.test"), clients.client("bad.test"));
            let list = clients.crl(std::slice::from_ref(&bad.serial), VALID);
            let trust = clients.trust().crl_pem(list.as_bytes()).expect("a list");
            let server = ServerTlsOptions::new(pki.server.identity())
                .require_client_certificate(trust)
                .version(version)
                .build()
                .expect("options");
            let client = |leaf: &Leaf| {
                let options = ClientTlsOptions::new(pki.root.trust()).identity(leaf.identity());
                options.build().expect("options")
            };
            let (ours, theirs) = shake(&client(&good), &server, ROOMY);
            ours.expect("a client");
            theirs.expect("a server");

            let (ours, theirs) = shake(&client(&bad), &server, ROOMY);
            let theirs = theirs.expect_err("refused");
            assert_eq!(kind(&theirs), Some(TlsErrorKind::Revoked));
            assert!(theirs.to_string().contains(&shown(&bad.serial)), "{theirs}");
            // With TLS 1.3 a client learns it at the first read.
            let error = match ours {
                Err(error) => error.to_string(),
                Ok(client) => read_text(&client).expect_err("refused").to_string(),
            };
            assert!(error.contains("CertificateRevoked"), "{version:?}: {error}");
        });
    }
}

#[test]
fn a_list_that_should_have_been_replaced_is_refused_unless_allowed() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let old = Validity(2000, 2001);
            let lists = |revoked: &[SerialNumber]| {
                let lists = [pki.root.crl(NOBODY, VALID), pki.middle.crl(revoked, old)];
                pki.trust_with(&lists.concat())
            };
            let (client, _) = pki.refused(version, lists(NOBODY));
            assert_eq!(kind(&client), Some(TlsErrorKind::RevocationUnknown));
            let (client, _) = pki.meet(version, lists(NOBODY).allow_expired_crls());
            client.expect("a client");
            // An old list still refuses what it names.
            let revoked = [pki.server.serial.clone()];
            let (client, _) = pki.refused(version, lists(&revoked).allow_expired_crls());
            assert_eq!(kind(&client), Some(TlsErrorKind::Revoked));
        });
    }
}

#[test]
fn what_must_be_covered_is_chosen() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let of_root = || pki.trust_with(&pki.root.crl(NOBODY, VALID));
            let of_middle =
                |revoked: &[SerialNumber]| pki.trust_with(&pki.middle.crl(revoked, VALID));
            let none_that_fits = || pki.trust_with(&Authority::new("other").crl(NOBODY, VALID));
            let unknown = |trust| {
                let (client, _) = pki.refused(version, trust);
                assert_eq!(
                    kind(&client),
                    Some(TlsErrorKind::RevocationUnknown),
                    "{client}"
                );
            };
            let accepted = |trust| {
                let (client, _) = pki.meet(version, trust);
                client.expect("a client");
            };
            // A file of the wrong authority is not the same as no file.
            unknown(none_that_fits());
            unknown(of_root());
            unknown(of_middle(NOBODY));
            unknown(of_root().revocation(Revocation::PeerOnly));
            accepted(of_middle(NOBODY).revocation(Revocation::PeerOnly));
            accepted(of_root().revocation(Revocation::WhereCovered));
            accepted(none_that_fits().revocation(Revocation::WhereCovered));
            // Whatever must be covered, who is named is refused.
            let revoked = [pki.server.serial.clone()];
            for chosen in [Revocation::PeerOnly, Revocation::WhereCovered] {
                let (client, _) = pki.refused(version, of_middle(&revoked).revocation(chosen));
                assert_eq!(kind(&client), Some(TlsErrorKind::Revoked));
            }
            // Also of those in between, whether or not all of them must be covered.
            let revoked = [pki.middle.serial()];
            for chosen in [Revocation::PeerOnly, Revocation::WhereCovered] {
                let trust = pki.trust(&revoked, NOBODY).revocation(chosen);
                let (client, _) = pki.refused(version, trust);
                assert_eq!(kind(&client), Some(TlsErrorKind::Revoked));
            }
        });
    }
}

#[test]
fn a_list_that_somebody_else_signed_tells_nothing() {
    among_bystanders(|| {
        let pki = Pki::new();
        let impostor = Authority::new("middle");
        let lists = [pki.root.crl(NOBODY, VALID), impostor.crl(NOBODY, VALID)];
        let (client, _) = pki.refused(TlsVersion::Tls13, pki.trust_with(&lists.concat()));
        assert_eq!(kind(&client), Some(TlsErrorKind::RevocationUnknown));
    });
}

#[test]
fn lists_given_while_running_hold_for_sessions_that_were_remembered_too() {
    for version in VERSIONS {
        among_bystanders(move || {
            let pki = Pki::new();
            let client = ClientTlsOptions::new(pki.root.trust()).version(version);
            let client = client.build().expect("options");
            let server = ServerTlsOptions::new(pki.server.identity()).build();
            let server = server.expect("options");
            let reconnect = || {
                let (ours, theirs) = shake(&client.clone(), &server, ROOMY);
                ours.map(|ours| {
                    let mut theirs = theirs.expect("a server");
                    std::io::Write::write_all(&mut theirs, b"ticket").expect("room");
                    std::io::Write::flush(&mut theirs).expect("room");
                    read_text(&ours).expect("the text");
                    ours.is_resumed()
                })
            };
            assert!(!reconnect().expect("a client"));
            assert!(reconnect().expect("a client"));
            let revoked = [pki.server.serial.clone()];
            client
                .set_trust(pki.trust(NOBODY, &revoked))
                .expect("a trust");
            let error = reconnect().expect_err("refused");
            assert_eq!(kind(&error), Some(TlsErrorKind::Revoked));
        });
    }
}

#[test]
fn damaged_lists_are_refused_before_any_connection() {
    let authority = Authority::new("authority");
    let list = authority.crl(NOBODY, VALID);
    let with = |text: &[u8]| match authority.trust().crl_pem(text) {
        Err(TlsConfigError::Trust(error)) => error,
        other => panic!("{other:?}"),
    };
    let no_list = with(authority.pem().as_bytes());
    assert!(
        matches!(no_list, TrustError::CrlPem(PemError::NoCrl(_))),
        "{no_list:?}"
    );
    let mut der = authority.crl_der(NOBODY, VALID);
    authority.trust().crl_pem(&der).expect("DER does as well");
    let last = der.len() - 1;
    der.truncate(last);
    assert!(matches!(with(&der), TrustError::BadCrl(_)));
    // The same one again is none more.
    let twice = authority.trust().crl_pem(list.repeat(2).as_bytes());
    let twice = twice.and_then(|trust| trust.crl_pem(&authority.crl_der(NOBODY, VALID)));
    let twice = twice.expect("one list");
    let again = twice.clone().also(twice).expect("one list");
    assert_eq!(
        format!("{again:?}"),
        "Trust(1 authorities, 1 revocation lists)"
    );
    let many: String = (0..=CRLS_MAX)
        .map(|index| Authority::new(&format!("authority {index}")).crl(NOBODY, VALID))
        .collect();
    assert_eq!(with(many.as_bytes()), TrustError::TooManyCrls);

    let pin = safe_rt::Pin::of_certificate(authority.pem().as_bytes()).expect("a pin");
    let trust = Trust::pins([pin]).expect("a pin").crl_pem(list.as_bytes());
    let error = ClientTlsOptions::new(trust.expect("a list")).build();
    let error = error.expect_err("nothing to ask the list of");
    assert!(
        matches!(
            error,
            TlsConfigError::Trust(TrustError::CrlsWithoutAuthorities)
        ),
        "{error:?}"
    );
}
