//! Sessions that are resumed, that are not, and that must not be.

use std::io::{Read, Write};

use safe_rt::{
    ClientTls, ClientTlsOptions, SESSIONS_MAX, ServerTls, ServerTlsOptions, Socket, TlsVersion,
    stats,
};

use crate::pki::{Authority, SERVER_NAME, VALID, authority_and_server};
use crate::support::{ROOMY, configurations, paused, shake_over};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// Connects to `name`, has the server's tickets read, and returns whether a session was resumed.
#[track_caller]
fn connect(client: &ClientTls, server: &ServerTls, name: &str) -> bool {
    let (ours, theirs) = fiber::net::pipe(ROOMY);
    let (ours, theirs) = shake_over(client, server, ours, theirs, name);
    let (ours, theirs) = (ours.expect("a client"), theirs.expect("a server"));
    exchange(&theirs, &ours);
    assert_eq!(ours.is_resumed(), theirs.is_resumed());
    ours.is_resumed()
}

fn exchange(mut from: &Socket, mut to: &Socket) {
    from.write_all(b"x").expect("room");
    from.flush().expect("room");
    to.read_exact(&mut [0]).expect("a byte");
}

#[test]
fn a_reconnect_resumes_and_both_sides_count_it() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = configurations(version);
            let before = stats();
            assert!(!connect(&client, &server, SERVER_NAME));
            for _ in 0..3 {
                assert!(connect(&client.clone(), &server.clone(), SERVER_NAME));
            }
            let now = stats();
            assert_eq!(now.handshakes_full - before.handshakes_full, 2);
            assert_eq!(now.handshakes_resumed - before.handshakes_resumed, 6);
            assert_eq!(now.handshakes_failed, before.handshakes_failed);
        });
    }
}

#[test]
fn a_failed_handshake_is_counted_by_both_sides() {
    paused(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let before = stats();
        let (ours, _) = shake_over(&client, &server, ours, theirs, "other.test");
        ours.expect_err("another name");
        let now = stats();
        assert_eq!(now.handshakes_failed - before.handshakes_failed, 2);
        assert_eq!(now.handshakes_full, before.handshakes_full);
    });
}

#[test]
fn another_server_or_other_options_do_not_resume() {
    for version in VERSIONS {
        paused(move || {
            let (authority, leaf) = authority_and_server();
            let options = ClientTlsOptions::new(authority.trust()).version(version);
            let client = options.clone().build().expect("options");
            let fresh = options.build().expect("options");
            let server = ServerTlsOptions::new(leaf.identity());
            let (server, other) = (server.clone().build(), server.build());
            let (server, other) = (server.expect("options"), other.expect("options"));
            assert!(!connect(&client, &server, SERVER_NAME));
            assert!(!connect(&client, &server, "127.0.0.1"));
            assert!(!connect(&fresh, &server, SERVER_NAME));
            // A server that does not know the session goes through it all.
            assert!(!connect(&client, &other, SERVER_NAME));
            assert!(connect(&client, &other, SERVER_NAME));
        });
    }
}

#[test]
fn of_more_servers_than_the_bound_the_oldest_are_forgotten() {
    for version in VERSIONS {
        paused(move || {
            let authority = Authority::new("test authority");
            let names: Vec<_> = (0..=SESSIONS_MAX)
                .map(|index| format!("s{index}.test"))
                .collect();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let leaf = authority.server(&names, VALID);
            let client = ClientTlsOptions::new(authority.trust()).version(version);
            let client = client.build().expect("options");
            let server = ServerTlsOptions::new(leaf.identity()).build();
            let server = server.expect("options");
            for name in &names {
                assert!(!connect(&client, &server, name));
            }
            assert!(connect(&client, &server, names[SESSIONS_MAX]));
            assert!(!connect(&client, &server, names[0]));
        });
    }
}

#[test]
fn what_changes_who_is_believed_ends_every_session() {
    for version in VERSIONS {
        paused(move || {
            let (authority, leaf) = authority_and_server();
            let client = ClientTlsOptions::new(authority.trust()).version(version);
            let client = client.build().expect("options");
            let server = ServerTlsOptions::new(leaf.identity()).build();
            let server = server.expect("options");
            assert!(!connect(&client, &server, SERVER_NAME));
            assert!(connect(&client, &server, SERVER_NAME));
            client.set_trust(authority.trust()).expect("a trust");
            assert!(!connect(&client, &server, SERVER_NAME));
            assert!(connect(&client, &server, SERVER_NAME));
        });
    }
}

#[test]
fn a_server_whose_trust_changes_resumes_no_client() {
    for version in VERSIONS {
        paused(move || {
            let (authority, leaf) = authority_and_server();
            let clients = Authority::new("clients");
            let client = clients.client("device.test");
            let options = ClientTlsOptions::new(authority.trust()).version(version);
            let tls = options
                .identity(client.identity())
                .build()
                .expect("options");
            let server = ServerTlsOptions::new(leaf.identity())
                .require_client_certificate(clients.trust())
                .build()
                .expect("options");
            assert!(!connect(&tls, &server, SERVER_NAME));
            assert!(connect(&tls, &server, SERVER_NAME));
            let revoked = clients.crl(&[client.serial], VALID);
            let trust = clients.trust().crl_pem(revoked.as_bytes());
            server
                .set_client_trust(trust.expect("a list"))
                .expect("a trust");
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let (_, theirs) = shake_over(&tls, &server, ours, theirs, SERVER_NAME);
            theirs.expect_err("revoked");
        });
    }
}
