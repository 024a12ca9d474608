//! Identities and trust that are replaced while connections run.

use std::io::Write as _;
use std::sync::atomic::Ordering;

use rcgen::ExtendedKeyUsagePurpose;
use safe_rt::{ClientTls, Identity, ServerTls, Socket, TlsConfigError, TlsErrorKind, TlsVersion};

use crate::handshake::kind;
use crate::pki::{Authority, SERVER_NAME, VALID};
use crate::signer::{P256, Scene, at_once};
use crate::support::{ROOMY, paused, read_text, shake};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// A connection over which bytes go both ways, so that the client has its tickets.
#[track_caller]
fn connection(client: &ClientTls, server: &ServerTls) -> (Socket, Socket) {
    let (client, server) = shake(client, server, ROOMY);
    let ends = (client.expect("a client"), server.expect("a server"));
    echo(&ends);
    ends
}

#[track_caller]
fn echo((client, server): &(Socket, Socket)) {
    for (mut from, to) in [(client, server), (server, client)] {
        from.write_all(b"alive").expect("room in the pipe");
        assert_eq!(read_text(to).expect("bytes"), "alive");
    }
}

#[test]
fn a_servers_new_identity_is_for_new_connections_and_resumes_nothing_of_the_old() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let renewed = scene.authority.issue(
                &[SERVER_NAME],
                ExtendedKeyUsagePurpose::ServerAuth,
                VALID,
                P256.0,
            );
            let (old, of_old) = scene.distant(&scene.server, at_once);
            let (new, of_new) = scene.distant(&renewed, at_once);
            let signed = || {
                let count =
                    |counter: &std::sync::atomic::AtomicU32| counter.load(Ordering::Relaxed);
                (count(&of_old), count(&of_new))
            };
            let (client, server) = scene.sides(scene.client.identity(), old, version);
            let running = connection(&client, &server);
            assert_eq!(signed(), (1, 0));
            connection(&client, &server);
            assert_eq!(
                signed(),
                (1, 0),
                "a session that is resumed needs no signature"
            );

            let of_a_listener = server.clone();
            server.set_identity(new).expect("a good identity");
            connection(&client, &of_a_listener);
            assert_eq!(signed(), (1, 1));
            connection(&client, &server);
            assert_eq!(signed(), (1, 1));
            echo(&running);
        });
    }
}

#[test]
fn a_clients_new_identity_is_for_new_connections_and_resumes_nothing_of_the_old() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let renewed = scene.authority.client("device");
            let (old, of_old) = scene.distant(&scene.client, at_once);
            let (new, of_new) = scene.distant(&renewed, at_once);
            let signed = || {
                let count =
                    |counter: &std::sync::atomic::AtomicU32| counter.load(Ordering::Relaxed);
                (count(&of_old), count(&of_new))
            };
            let (client, server) = scene.sides(old, scene.server.identity(), version);
            let running = connection(&client, &server);
            connection(&client, &server);
            assert_eq!(
                signed(),
                (1, 0),
                "a session that is resumed needs no signature"
            );

            let of_a_dialler = client.clone();
            client.set_identity(new).expect("a good identity");
            connection(&of_a_dialler, &server);
            assert_eq!(signed(), (1, 1));
            // Tickets that the old connection still brings are for the old configuration.
            echo(&running);
            connection(&client, &server);
            assert_eq!(signed(), (1, 1));
        });
    }
}

#[test]
fn new_trust_holds_for_new_connections_even_where_a_session_could_be_resumed() {
    for version in VERSIONS {
        paused(move || {
            let scene = Scene::new(P256);
            let other = Authority::new("another authority");
            let (client, server) =
                scene.sides(scene.client.identity(), scene.server.identity(), version);
            let running = connection(&client, &server);

            client.set_trust(other.trust()).expect("good trust");
            let (outcome, _) = shake(&client, &server, ROOMY);
            let error = outcome.expect_err("trusted no more");
            assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));
            client
                .set_trust(scene.authority.trust())
                .expect("good trust");
            connection(&client, &server);

            server.set_client_trust(other.trust()).expect("good trust");
            let (_, outcome) = shake(&client, &server, ROOMY);
            let error = outcome.expect_err("trusted no more");
            assert_eq!(kind(&error), Some(TlsErrorKind::UnknownIssuer));
            server
                .set_client_trust(scene.authority.trust())
                .expect("good trust");
            connection(&client, &server);
            echo(&running);
        });
    }
}

#[test]
fn files_replaced_half_way_are_an_error_and_the_old_identity_stays() {
    let directory = std::env::temp_dir().join(format!("safe-rt-reload-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory of our own");
    let (chain, key) = (directory.join("device.pem"), directory.join("device.key"));
    let place = |path: &std::path::Path, text: &str| {
        #[allow(clippy::disallowed_methods, reason = "a test may stop its own thread")]
        std::fs::write(path, text).expect("a file of our own");
    };
    fiber::run(move || {
        let scene = Scene::new(P256);
        let renewed = scene.authority.client("device");
        place(&chain, &scene.client.chain);
        place(&key, &scene.client.key);
        let identity = Identity::from_files(&chain, &key).expect("an identity");
        let (client, server) = scene.sides(identity, scene.server.identity(), TlsVersion::Tls13);
        connection(&client, &server);

        let reload = || client.set_identity(Identity::from_files(&chain, &key)?);
        place(&chain, &renewed.chain);
        let error = reload().expect_err("one file of two");
        assert!(matches!(error, TlsConfigError::KeyMismatch), "{error:?}");
        place(&key, &renewed.key[..renewed.key.len() / 2]);
        let error = reload().expect_err("half a file");
        assert!(matches!(error, TlsConfigError::KeyPem(_)), "{error:?}");
        connection(&client, &server);
        place(&key, &renewed.key);
        reload().expect("both files");
        connection(&client, &server);
    })
    .expect("the runtime ran");
    std::fs::remove_dir_all(&directory).expect("our own directory");
}
