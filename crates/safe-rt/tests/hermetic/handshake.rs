//! Handshakes that succeed, that are kept waiting, and that meet something else than TLS.

use std::io::{Read, Write};
use std::time::Duration;

use fiber::{Instant, Stopped};
use safe_rt::{
    Error, HANDSHAKE_TIMEOUT_DEFAULT, Phase, ServerTlsOptions, Socket, TlsError, TlsErrorKind,
    TlsVersion,
};

use crate::pki::{Authority, SERVER_NAME, VALID};
use crate::support::{
    ROOMY, Ticks, configurations, connected, options, paused, read_text, shake, shake_over,
};

const SECOND: Duration = Duration::from_secs(1);
const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// Sends a text each way and reads it at the other end.
#[track_caller]
fn echo(client: &Socket, server: &Socket) {
    for (mut from, to, text) in [(client, server, "question"), (server, client, "answer")] {
        from.write_all(text.as_bytes()).expect("room");
        from.flush().expect("room");
        assert_eq!(read_text(to).expect("the text"), text);
    }
}

#[track_caller]
pub(crate) fn kind(error: &Error) -> Option<TlsErrorKind> {
    assert_eq!(error.phase(), Phase::Tls);
    TlsError::of(error).map(TlsError::kind)
}

#[test]
fn both_versions_carry_bytes_both_ways() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = connected(version, ROOMY);
            assert_eq!(client.tls_version(), Some(version));
            assert_eq!(server.tls_version(), Some(version));
            assert!(client.is_tls() && client.alpn().is_none() && client.peer().is_none());
            echo(&client, &server);
        });
    }
}

#[test]
fn the_newest_version_is_preferred() {
    paused(|| {
        let (client, server) = options();
        let (client, server) = (
            client.build().expect("options"),
            server.build().expect("options"),
        );
        let (client, _server) = shake(&client, &server, ROOMY);
        assert_eq!(
            client.expect("a client").tls_version(),
            Some(TlsVersion::Tls13)
        );
    });
}

#[test]
fn a_transport_of_one_byte_at_a_time_is_enough() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = configurations(version);
            let (client, server) = shake(&client, &server, 1);
            let (client, server) = (client.expect("a client"), server.expect("a server"));
            let mut echoing = fiber::spawn(move || {
                let text = read_text(&server).expect("the question");
                (&server)
                    .write_all(text.as_bytes())
                    .expect("room in the end");
                (&server).flush().expect("room in the end");
            })
            .expect("a fiber");
            (&client).write_all(b"question").expect("room in the end");
            assert_eq!(read_text(&client).expect("the answer"), "question");
            echoing.join().expect("the server's end");
        });
    }
}

#[test]
fn both_sides_can_prove_who_they_are() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = options();
            let clients = Authority::new("client authority");
            let client = client.identity(clients.client("device.test").identity());
            let server = server.require_client_certificate(clients.trust());
            let client = client.version(version).build().expect("options");
            let server = server.build().expect("options");
            let (client, server) = shake(&client, &server, ROOMY);
            echo(&client.expect("a client"), &server.expect("a server"));
        });
    }
}

#[test]
fn an_address_or_a_name_with_its_root_can_be_asked_for() {
    for name in ["127.0.0.1", "::1", "broker.test.", "BROKER.test"] {
        paused(move || {
            let (client, server) = configurations(TlsVersion::Tls13);
            let (ours, theirs) = fiber::net::pipe(ROOMY);
            let (client, server) = shake_over(&client, &server, ours, theirs, name);
            echo(&client.expect("a client"), &server.expect("a server"));
        });
    }
}

#[test]
fn the_application_protocol_is_agreed_on() {
    paused(|| {
        let (client, server) = options();
        let client = client.alpn(["mqtt", "x-amzn-mqtt-ca"]).require_alpn();
        let client = client.build().expect("options");
        let server = server
            .alpn(["http/1.1", "x-amzn-mqtt-ca"])
            .build()
            .expect("options");
        let (client, server) = shake(&client, &server, ROOMY);
        let (client, server) = (client.expect("a client"), server.expect("a server"));
        assert_eq!(client.alpn(), Some(b"x-amzn-mqtt-ca".as_slice()));
        assert_eq!(server.alpn(), client.alpn());
    });
}

#[test]
fn a_server_without_protocols_is_good_enough_unless_one_is_demanded() {
    for demanded in [false, true] {
        paused(move || {
            let (client, server) = options();
            let client = client.alpn(["mqtt"]);
            let client = if demanded {
                client.require_alpn()
            } else {
                client
            };
            let client = client.build().expect("options");
            let (client, _server) = shake(&client, &server.build().expect("options"), ROOMY);
            if demanded {
                let error = client.expect_err("no protocol");
                assert_eq!(kind(&error), Some(TlsErrorKind::AlpnNotAgreed));
                assert!(error.to_string().contains("ALPN"), "{error}");
            } else {
                assert_eq!(client.expect("a client").alpn(), None);
            }
        });
    }
}

#[test]
fn protocols_without_a_common_one_are_refused_by_both() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = options();
            let client = client
                .alpn(["mqtt"])
                .version(version)
                .build()
                .expect("options");
            let server = server.alpn(["http/1.1"]).build().expect("options");
            let (client, server) = shake(&client, &server, ROOMY);
            let (client, server) = (client.expect_err("refused"), server.expect_err("refused"));
            assert_eq!(kind(&client), Some(TlsErrorKind::AlpnNotAgreed));
            assert_eq!(kind(&server), Some(TlsErrorKind::AlpnNotAgreed));
        });
    }
}

#[test]
fn a_silent_server_is_given_up_on_time_while_others_run() {
    paused(|| {
        let (client, _) = configurations(TlsVersion::Tls13);
        let (ours, _theirs) = fiber::net::pipe(ROOMY);
        let ticks = Ticks::start();
        let began = Instant::now();
        let outcome = fiber::timeout(2 * SECOND, || {
            Socket::tls_client(ours, &client, SERVER_NAME)
        });
        assert_eq!(began.elapsed(), 2 * SECOND);
        let fiber::Elapsed(outcome) = outcome.expect_err("the deadline passes");
        let error = outcome.expect_err("nobody answers");
        assert_eq!(error.phase(), Phase::Tls);
        assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        assert!(error.is_timeout());
        assert_eq!(
            error.to_string(),
            format!("TLS handshake with {SERVER_NAME}: the deadline passed")
        );
        assert!(
            (19..=20).contains(&ticks.count()),
            "{} ticks",
            ticks.count()
        );
    });
}

#[test]
fn a_silent_server_costs_no_turns() {
    paused(|| {
        let (client, _) = configurations(TlsVersion::Tls13);
        let (ours, _theirs) = fiber::net::pipe(ROOMY);
        let resumes = fiber::stats().resumes;
        let _ = fiber::timeout(2 * SECOND, || {
            Socket::tls_client(ours, &client, SERVER_NAME)
        });
        fiber::yield_now().expect("no scope is over");
        let resumes = fiber::stats().resumes - resumes;
        assert!(resumes < 10, "{resumes} resumptions to wait for nothing");
    });
}

#[test]
fn without_a_deadline_a_handshake_has_a_limit_of_its_own() {
    paused(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let (ours, _theirs) = fiber::net::pipe(ROOMY);
        let began = Instant::now();
        let error = Socket::tls_client(ours, &client, SERVER_NAME).expect_err("nobody answers");
        assert!(error.is_timeout() && error.phase() == Phase::Tls);
        assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT_DEFAULT);

        // A server keeps its limit even under a longer deadline.
        let (ours, _theirs) = fiber::net::pipe(ROOMY);
        let began = Instant::now();
        let outcome = fiber::timeout(3600 * SECOND, || Socket::tls_server(ours, &server));
        let error = outcome.expect("within the hour").expect_err("nobody asks");
        assert!(error.is_timeout() && error.phase() == Phase::Tls);
        assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT_DEFAULT);
    });
}

#[test]
fn a_peer_that_stops_half_way_is_given_up_too() {
    paused(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let (ours, between) = fiber::net::pipe(ROOMY);
        let (between_too, theirs) = fiber::net::pipe(ROOMY);
        fiber::spawn(move || Socket::tls_server(theirs, &server)).expect("a fiber");
        // Hands the hello on and 100 bytes of the answer back, then nothing.
        let mut middle = fiber::spawn(move || {
            let mut buf = [0; 4096];
            let len = (&between).read(&mut buf).expect("the hello");
            (&between_too).write_all(&buf[..len]).expect("room");
            let answer = &mut buf[..100];
            (&between_too).read_exact(answer).expect("an answer");
            (&between).write_all(answer).expect("room");
            (between, between_too)
        })
        .expect("a fiber");
        let outcome = fiber::timeout(2 * SECOND, || {
            Socket::tls_client(ours, &client, SERVER_NAME)
        });
        let fiber::Elapsed(outcome) = outcome.expect_err("the deadline passes");
        assert!(outcome.expect_err("half an answer").is_timeout());
        middle.join().expect("the middle's end");
    });
}

#[test]
fn a_cancelled_handshake_says_so() {
    paused(|| {
        let (client, _) = configurations(TlsVersion::Tls13);
        let (ours, _theirs) = fiber::net::pipe(ROOMY);
        let mut dialling =
            fiber::spawn(move || Socket::tls_client(ours, &client, SERVER_NAME)).expect("a fiber");
        fiber::sleep(SECOND).expect("no scope is over");
        dialling.cancel();
        let error = dialling.join().expect("an outcome").expect_err("cancelled");
        assert_eq!(fiber::cause(&error), Some(Stopped::Cancelled));
        assert_eq!(error.phase(), Phase::Tls);
    });
}

#[test]
fn a_peer_that_speaks_something_else_is_told_apart() {
    paused(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        (&theirs)
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("room");
        let error = Socket::tls_client(ours, &client, SERVER_NAME).expect_err("not TLS");
        assert_eq!(kind(&error), Some(TlsErrorKind::NotTls));

        // An MQTT CONNECT that comes to a TLS port.
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        (&theirs)
            .write_all(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab")
            .expect("room");
        let error = Socket::tls_server(ours, &server).expect_err("not TLS");
        assert_eq!(kind(&error), Some(TlsErrorKind::NotTls));
    });
}

#[test]
fn a_peer_that_closes_half_way_is_told_apart() {
    paused(|| {
        let (client, server) = configurations(TlsVersion::Tls13);
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        drop(theirs);
        let error = Socket::tls_client(ours, &client, SERVER_NAME).expect_err("closed");
        assert_eq!(error.io().kind(), std::io::ErrorKind::BrokenPipe);

        let (ours, theirs) = fiber::net::pipe(ROOMY);
        theirs.shutdown(fiber::net::Shutdown::Write);
        let error = Socket::tls_server(ours, &server).expect_err("closed");
        assert_eq!(kind(&error), Some(TlsErrorKind::ClosedInHandshake));
        assert_eq!(error.io().kind(), std::io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn tls_runs_over_tls() {
    paused(|| {
        let (outer_client, outer_server) = connected(TlsVersion::Tls13, 300);
        let (client, server) = configurations(TlsVersion::Tls12);
        let mut serving =
            fiber::spawn(move || Socket::tls_server(outer_server, &server)).expect("a fiber");
        let client = Socket::tls_client(outer_client, &client, SERVER_NAME).expect("a client");
        let server = serving.join().expect("an outcome").expect("a server");
        echo(&client, &server);
        assert_eq!(client.tls_version(), Some(TlsVersion::Tls12));
    });
}

#[test]
fn a_reconnect_with_the_same_options_resumes() {
    for version in VERSIONS {
        paused(move || {
            let (client, server) = configurations(version);
            let mut costs = Vec::new();
            for _ in 0..2 {
                let before = fiber::stats().bytes_written;
                let (one, other) = shake(&client, &server, ROOMY);
                let (one, other) = (one.expect("a client"), other.expect("a server"));
                costs.push(fiber::stats().bytes_written - before);
                // A TLS 1.3 client learns of its ticket with the first read.
                echo(&one, &other);
            }
            assert!(costs[1] < costs[0], "{version:?}: {costs:?} bytes");
        });
    }
}

#[test]
fn keys_of_each_sort_serve() {
    let sorts = [
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ];
    for sort in sorts {
        paused(move || {
            let authority = Authority::new("test authority");
            let purpose = rcgen::ExtendedKeyUsagePurpose::ServerAuth;
            let leaf = authority.issue(&[SERVER_NAME], purpose, VALID, sort);
            let client = safe_rt::ClientTlsOptions::new(authority.trust());
            let server = ServerTlsOptions::new(leaf.identity());
            let (client, server) = (
                client.build().expect("options"),
                server.build().expect("options"),
            );
            let (client, server) = shake(&client, &server, ROOMY);
            echo(&client.expect("a client"), &server.expect("a server"));
        });
    }
}
