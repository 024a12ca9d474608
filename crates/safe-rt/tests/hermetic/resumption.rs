//! Sessions that are resumed, that are not, and that must not be.

use std::io::{Read, Write};

use std::time::Duration;

use safe_rt::{
    ClientTls, ClientTlsOptions, ClockFloor, Error, SESSION_AGE_MAX, SESSIONS_MAX, ServerTls,
    ServerTlsOptions, Socket, TlsErrorKind, TlsVersion, Utc, stats,
};

use crate::pki::{Authority, Leaf, SERVER_NAME, VALID, Validity, authority_and_server};
use crate::refusal::kind;
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

pub(crate) fn exchange(mut from: &Socket, mut to: &Socket) {
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
            for name in &names[1..] {
                assert!(connect(&client, &server, name));
            }
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

/// Both sides in one version, each with a certificate of these years and with a floor of its own.
fn two_sided(version: TlsVersion, client: Validity, server: Validity) -> TwoSided {
    let authority = Authority::new("test authority");
    let issue = |name, purpose, valid| -> Leaf {
        authority.issue(&[name], purpose, valid, &rcgen::PKCS_ED25519)
    };
    let device = issue(
        "device.test",
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        client,
    );
    let broker = issue(
        SERVER_NAME,
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        server,
    );
    let floors = [ClockFloor::new(), ClockFloor::new()];
    TwoSided {
        client: ClientTlsOptions::new(authority.trust())
            .identity(device.identity())
            .version(version)
            .clock_floor(floors[0].clone())
            .build()
            .expect("options"),
        server: ServerTlsOptions::new(broker.identity())
            .require_client_certificate(authority.trust())
            .clock_floor(floors[1].clone())
            .build()
            .expect("options"),
        floors,
    }
}

struct TwoSided {
    client: ClientTls,
    server: ServerTls,
    /// The client's and the server's.
    floors: [ClockFloor; 2],
}

impl TwoSided {
    #[track_caller]
    fn connect(&self) -> bool {
        connect(&self.client, &self.server, SERVER_NAME)
    }

    fn try_to(&self) -> (Result<Socket, Error>, Result<Socket, Error>) {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        shake_over(&self.client, &self.server, ours, theirs, SERVER_NAME)
    }
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// From long ago to so many years from now.
fn for_years(years: i32) -> Validity {
    let text = Utc(fiber::wall_time()).to_string();
    let this_year: i32 = text[..4].parse().expect("a year");
    Validity(2000, this_year + years)
}

#[test]
fn a_floor_that_rises_on_either_side_has_certificates_checked_again() {
    for version in VERSIONS {
        for side in [0, 1] {
            paused(move || {
                let both = two_sided(version, VALID, VALID);
                assert!(!both.connect());
                assert!(both.connect());
                assert!(both.floors[side].raise(fiber::wall_time() - Duration::from_secs(86_400)));
                assert!(!both.connect());
                assert!(both.connect());
            });
        }
    }
}

#[test]
fn a_certificate_that_has_expired_by_the_new_floor_is_refused_though_its_session_was_kept() {
    for version in VERSIONS {
        paused(move || {
            let both = two_sided(version, VALID, for_years(4));
            assert!(!both.connect());
            assert!(both.connect());
            assert!(both.floors[0].raise(fiber::wall_time() + 8 * YEAR));
            let error = both.try_to().0.expect_err("it has expired");
            assert_eq!(kind(&error), TlsErrorKind::Expired);

            let both = two_sided(version, for_years(4), VALID);
            assert!(!both.connect());
            assert!(both.connect());
            assert!(both.floors[1].raise(fiber::wall_time() + 8 * YEAR));
            let error = both.try_to().1.expect_err("it has expired");
            assert_eq!(kind(&error), TlsErrorKind::Expired);
        });
    }
}

#[test]
fn sessions_that_come_of_resuming_are_no_younger_than_the_check_of_certificates() {
    const STEP: Duration = Duration::from_secs(SESSION_AGE_MAX.as_secs() / 4);
    for version in VERSIONS {
        paused(move || {
            let both = two_sided(version, VALID, VALID);
            for _ in 0..2 {
                assert!(!both.connect());
                for _ in 0..3 {
                    fiber::sleep(STEP).expect("time to pass");
                    assert!(both.connect());
                }
                fiber::sleep(STEP + Duration::from_secs(1)).expect("time to pass");
            }
            assert!(!both.connect());
        });
    }
}
