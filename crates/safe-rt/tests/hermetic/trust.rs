//! Whom a client believes: several sources together, pinned keys, and what is said if it is nobody.

use std::path::PathBuf;

use rcgen::ExtendedKeyUsagePurpose;
use safe_rt::{
    ClientTls, ClientTlsOptions, Error, PINS_MAX, Pin, ServerTls, ServerTlsOptions,
    TRUST_FILES_MAX, TlsConfigError, TlsError, TlsErrorKind, TlsVersion, Trust, TrustError,
};

use crate::handshake::kind;
use crate::pki::{Authority, Leaf, SERVER_NAME, VALID, Validity, authority_and_server};
use crate::support::{ROOMY, paused, read_text, shake};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// Configurations of a client that has `trust` and a server with `leaf`.
fn sides(version: TlsVersion, trust: Trust, leaf: &Leaf) -> (ClientTls, ServerTls) {
    let client = ClientTlsOptions::new(trust).version(version).build();
    let server = ServerTlsOptions::new(leaf.identity()).build();
    (client.expect("options"), server.expect("options"))
}

#[track_caller]
fn accepted(version: TlsVersion, trust: Trust, leaf: &Leaf) {
    let (client, server) = sides(version, trust, leaf);
    let (client, _server) = shake(&client, &server, ROOMY);
    client.expect("a client");
}

#[track_caller]
fn refused(version: TlsVersion, trust: Trust, leaf: &Leaf) -> Error {
    let (client, server) = sides(version, trust, leaf);
    shake(&client, &server, ROOMY).0.expect_err("refused")
}

fn pin_of(pem: &str) -> Pin {
    Pin::of_certificate(pem.as_bytes()).expect("a certificate")
}

#[track_caller]
fn wrong_with(outcome: Result<Trust, TlsConfigError>) -> TrustError {
    match outcome {
        Err(TlsConfigError::Trust(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn authorities_of_several_sources_are_believed_together() {
    paused(|| {
        let (one, two) = (Authority::new("one"), Authority::new("two"));
        let trust = one.trust().also(two.trust()).expect("two authorities");
        assert_eq!(format!("{trust:?}"), "Trust(2 authorities)");
        for authority in [&one, &two] {
            let server = authority.server(&[SERVER_NAME], VALID);
            accepted(TlsVersion::Tls13, trust.clone(), &server);
        }
        let again = trust.also(one.trust()).expect("the same authority");
        assert_eq!(format!("{again:?}"), "Trust(2 authorities)");
    });
}

/// A folder of the test's own, gone at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("safe-rt-trust-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder of our own");
        Self(folder)
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place(name);
        #[allow(clippy::disallowed_methods, reason = "a test may stop its own thread")]
        std::fs::write(&path, text).expect("a file of our own");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("our own folder");
    }
}

#[test]
fn several_files_must_all_hold_authorities() {
    let folder = Folder::new("files");
    let (_, server) = authority_and_server();
    let good = ["one", "two"].map(|name| folder.write(name, &Authority::new(name).pem()));
    let bad = folder.write("key", &server.key);
    paused(move || {
        let trust = Trust::from_files(&good).expect("two authorities");
        assert_eq!(format!("{trust:?}"), "Trust(2 authorities)");
        let outcome = Trust::from_files(good.iter().chain([&bad]));
        assert!(
            matches!(outcome, Err(TlsConfigError::TrustPem(_))),
            "{outcome:?}"
        );
        drop(folder);
    });
}

#[test]
fn of_a_folder_the_files_with_certificates_are_read() {
    let folder = Folder::new("folder");
    let (_, server) = authority_and_server();
    for name in ["a.pem", "b.crt", "c.cer", "0a1b2c3d.0"] {
        folder.write(name, &Authority::new(name).pem());
    }
    // The same authority by another name, ones with other names, and ones without an authority.
    let again = Authority::new("again").pem();
    folder.write("again.pem", &again);
    folder.write("deadbeef.12", &again);
    for name in ["README", "d.pem.old", "0a1b2c3.0", "0a1b2c3d.r0", ".hidden"] {
        folder.write(name, &Authority::new(name).pem());
    }
    folder.write("key.pem", &server.key);
    folder.write("empty.crt", "");
    std::fs::create_dir(folder.0.join("deeper.pem")).expect("a folder in it");
    paused(move || {
        let trust = Trust::from_folder(&folder.0).expect("authorities");
        assert_eq!(format!("{trust:?}"), "Trust(5 authorities)");
        let nothing = folder.0.join("deeper.pem");
        let error = wrong_with(Trust::from_folder(&nothing));
        assert_eq!(error, TrustError::NoAuthorityInFolder(nothing));
        let missing = Trust::from_folder(folder.0.join("missing"));
        assert!(
            matches!(missing, Err(TlsConfigError::File { .. })),
            "{missing:?}"
        );
        for index in 0..TRUST_FILES_MAX {
            folder.write(&format!("{index}.pem"), "");
        }
        let error = wrong_with(Trust::from_folder(&folder.0));
        assert_eq!(error, TrustError::TooManyFiles(folder.0.clone()));
    });
}

#[test]
fn nobody_and_too_much_are_refused_before_any_connection() {
    let error = ClientTlsOptions::new(Trust::nobody()).build();
    assert_eq!(
        wrong_with(error.map(|_| Trust::nobody())),
        TrustError::Nobody
    );
    let (_, server) = authority_and_server();
    let options = ServerTlsOptions::new(server.identity());
    let error = options
        .clone()
        .require_client_certificate(Trust::nobody())
        .build();
    assert_eq!(
        wrong_with(error.map(|_| Trust::nobody())),
        TrustError::Nobody
    );
    let error = options.require_client_certificate(Trust::system()).build();
    assert_eq!(
        wrong_with(error.map(|_| Trust::nobody())),
        TrustError::SystemRootsForClients
    );
    assert_eq!(wrong_with(Trust::pins([])), TrustError::Nobody);
    let pin = |index: u8| Pin::from_sha256([index; 32]);
    let most = u8::try_from(PINS_MAX).expect("few");
    let trust = Trust::pins((0..most).map(pin)).expect("as many as can be");
    assert_eq!(
        wrong_with(trust.also(Trust::pins([pin(most)]).expect("one"))),
        TrustError::TooManyPins
    );
}

#[test]
fn a_pinned_key_is_enough_whatever_its_certificate_says() {
    let purpose = || ExtendedKeyUsagePurpose::ServerAuth;
    for sort in [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ] {
        for version in VERSIONS {
            paused(move || {
                // Another name, a date that is over, and an authority that nobody knows.
                let authority = Authority::new("unknown");
                let leaf = authority.issue(&["other.test"], purpose(), Validity(2000, 2001), sort);
                let trust = Trust::pins([pin_of(&leaf.chain)]).expect("a pin");
                accepted(version, trust, &leaf);
            });
        }
    }
}

#[test]
fn a_key_that_is_not_pinned_is_told_so_that_it_can_be() {
    for version in VERSIONS {
        paused(move || {
            let (authority, server) = authority_and_server();
            // An issuer's key is no peer's key.
            let trust = Trust::pins([pin_of(&authority.pem())]).expect("a pin");
            let error = refused(version, trust, &server);
            assert_eq!(kind(&error), Some(TlsErrorKind::PinMismatch));
            let found = TlsError::of(&error)
                .expect("a TLS error")
                .pins_found()
                .to_vec();
            assert_eq!(found, [pin_of(&server.chain)]);
            assert!(
                error.to_string().contains(&format!("found {}", found[0])),
                "{error}"
            );
            let trust = Trust::pins(found).expect("a pin");
            accepted(version, trust, &server);
        });
    }
}

#[test]
fn with_authorities_both_must_hold_and_any_key_of_the_chain_may_be_pinned() {
    for version in VERSIONS {
        paused(move || {
            let root = Authority::new("root");
            let middle = root.intermediate("middle");
            let server = middle.server(&[SERVER_NAME], VALID);
            let both = |pin: Pin| {
                let pins = Trust::pins([pin]).expect("a pin");
                root.trust().also(pins).expect("both")
            };
            for certificate in [&server.chain, &middle.pem(), &root.pem()] {
                accepted(version, both(pin_of(certificate)), &server);
            }
            let error = refused(version, both(Pin::from_sha256([1; 32])), &server);
            assert_eq!(kind(&error), Some(TlsErrorKind::PinMismatch));
            let found = TlsError::of(&error).expect("a TLS error").pins_found();
            assert_eq!(
                found,
                [&server.chain, &middle.pem(), &root.pem()].map(|pem| pin_of(pem))
            );

            // A pin does not replace the name, nor the authority.
            let pinned = middle.server(&["other.test"], VALID);
            let error = refused(version, both(pin_of(&pinned.chain)), &pinned);
            assert_eq!(kind(&error), Some(TlsErrorKind::NameMismatch));
            let pinned = Authority::new("unknown").server(&[SERVER_NAME], VALID);
            let error = refused(version, both(pin_of(&pinned.chain)), &pinned);
            assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));
        });
    }
}

#[test]
fn a_pinned_certificate_that_is_only_sent_along_counts_for_nothing() {
    for version in VERSIONS {
        paused(move || {
            let root = Authority::new("root");
            let pinned = root.intermediate("pinned");
            let other = root.intermediate("other");
            let mut server = other.server(&[SERVER_NAME], VALID);
            server.chain.push_str(&pinned.pem());
            let pins = Trust::pins([pin_of(&pinned.pem())]).expect("a pin");
            let trust = root.trust().also(pins).expect("both");
            let error = refused(version, trust, &server);
            assert_eq!(kind(&error), Some(TlsErrorKind::PinMismatch));
        });
    }
}

#[test]
fn a_server_can_believe_clients_by_their_keys() {
    for version in VERSIONS {
        paused(move || {
            let (authority, server) = authority_and_server();
            let clients = Authority::new("clients");
            let (known, unknown) = (clients.client("known"), clients.client("unknown"));
            let trust = Trust::pins([pin_of(&known.chain)]).expect("a pin");
            let server = ServerTlsOptions::new(server.identity())
                .require_client_certificate(trust)
                .build()
                .expect("options");
            let with = |leaf: &Leaf| {
                let options = ClientTlsOptions::new(authority.trust()).version(version);
                let client = options.identity(leaf.identity()).build().expect("options");
                shake(&client, &server, ROOMY).1
            };
            with(&known).expect("a server");
            let error = with(&unknown).expect_err("another key");
            assert_eq!(kind(&error), Some(TlsErrorKind::PinMismatch));
        });
    }
}

#[test]
fn other_authorities_are_believed_from_the_next_handshake_on() {
    for version in VERSIONS {
        paused(move || {
            let (authority, server) = authority_and_server();
            let client = ClientTlsOptions::new(authority.trust()).version(version);
            let client = client.build().expect("options");
            let clone = client.clone();
            let server = ServerTlsOptions::new(server.identity()).build();
            let server = server.expect("options");
            let (ours, theirs) = shake(&clone, &server, ROOMY);
            let (ours, theirs) = (ours.expect("a client"), theirs.expect("a server"));

            client.set_trust(Trust::nobody()).expect_err("nobody");
            shake(&clone, &server, ROOMY).0.expect("unchanged");
            client
                .set_trust(Authority::new("another").trust())
                .expect("a trust");
            let error = shake(&clone, &server, ROOMY).0.expect_err("refused");
            assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));

            // What is connected stays so.
            std::io::Write::write_all(&mut &theirs, b"still here").expect("room");
            std::io::Write::flush(&mut &theirs).expect("room");
            assert_eq!(read_text(&ours).expect("the text"), "still here");

            // The other side, likewise.
            client.set_trust(authority.trust()).expect("a trust");
            let clients = Authority::new("clients");
            server.set_client_trust(clients.trust()).expect("a trust");
            let error = shake(&clone, &server, ROOMY).1.expect_err("no certificate");
            assert_eq!(kind(&error), Some(TlsErrorKind::NoCertificate));
        });
    }
}
