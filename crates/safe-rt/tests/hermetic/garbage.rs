//! Bytes that are no TLS, on either side: a typed error that says so, and never a wait without end.

use std::io::Write as _;
use std::time::Duration;

use fiber::Instant;
use fiber::net::PipeStream;
use safe_rt::{
    ClientTls, Error, HANDSHAKE_TIMEOUT_DEFAULT, Phase, ServerTls, Socket, TlsErrorKind, TlsVersion,
};

use crate::bystanders::among_bystanders;
use crate::handshake::kind;
use crate::pki::SERVER_NAME;
use crate::support::{ROOMY, configurations, paused};

/// Which side is ours.
#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

/// Runs our side against a peer that has sent `bytes` and says nothing more; returns the error and
/// how long it took.
fn fail(
    (client, server): &(ClientTls, ServerTls),
    side: Side,
    bytes: &[u8],
    peer_closes: bool,
) -> (Error, Duration) {
    let (ours, mut theirs): (PipeStream, PipeStream) = fiber::net::pipe(ROOMY);
    theirs.write_all(bytes).expect("room");
    if peer_closes {
        theirs.shutdown(fiber::net::Shutdown::Write);
    }
    let began = Instant::now();
    let outcome = match side {
        Side::Client => Socket::tls_client(ours, client, SERVER_NAME),
        Side::Server => Socket::tls_server(ours, server),
    };
    (outcome.expect_err("not TLS"), began.elapsed())
}

#[test]
fn what_is_no_tls_is_refused_at_once_and_by_its_name() {
    let not_tls = " does not speak TLS";
    let cases: [(&[u8], TlsErrorKind, &str); 9] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            TlsErrorKind::NotTls,
            not_tls,
        ),
        // CONNACK and PINGRESP, shorter than the header of a record, and CONNECT.
        (b"\x20\x02\x00\x00", TlsErrorKind::NotTls, not_tls),
        (b"\xd0\x00", TlsErrorKind::NotTls, not_tls),
        (
            b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab",
            TlsErrorKind::NotTls,
            not_tls,
        ),
        (b"SSH-2.0-OpenSSH\r\n", TlsErrorKind::NotTls, not_tls),
        (&[0; 64], TlsErrorKind::NotTls, not_tls),
        (&[0xff; 64], TlsErrorKind::NotTls, not_tls),
        // Like TLS in the first byte, in the first three, and in all but the length.
        (b"\x16GET / HTTP/1.1\r\n\r\n", TlsErrorKind::NotTls, not_tls),
        (
            b"\x16\x03\x03\xff\xff",
            TlsErrorKind::Protocol,
            " broke the rules of TLS",
        ),
    ];
    paused(move || {
        let configurations = configurations(TlsVersion::Tls13);
        for side in [Side::Client, Side::Server] {
            for (bytes, expected, text) in cases {
                let (error, took) = fail(&configurations, side, bytes, false);
                assert_eq!(kind(&error), Some(expected), "{side:?} {bytes:?}: {error}");
                assert!(error.to_string().contains(text), "{side:?}: {error}");
                assert_eq!(error.phase(), Phase::Tls);
                assert_eq!(took, Duration::ZERO, "{side:?} {bytes:?}");
            }
        }
    });
}

#[test]
fn random_bytes_end_every_handshake_in_bounded_time() {
    paused(|| {
        let configurations = configurations(TlsVersion::Tls13);
        // xorshift64: the same bytes on every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        for round in 0..2_000_usize {
            let mut bytes: Vec<u8> = (0..round % 300).map(|_| random()).collect();
            // Half of them begin as a record of a handshake does.
            if round % 2 == 0 {
                for (byte, head) in bytes.iter_mut().zip([0x16, 3, 3, 0]) {
                    *byte = head;
                }
            }
            let side = [Side::Client, Side::Server][round / 2 % 2];
            let peer_closes = round % 3 == 0;
            let (error, took) = fail(&configurations, side, &bytes, peer_closes);
            assert_eq!(error.phase(), Phase::Tls, "round {round}: {error}");
            assert!(took <= HANDSHAKE_TIMEOUT_DEFAULT, "round {round}: {took:?}");
            // Only a peer that stays and has not said enough costs time.
            let waited = fiber::cause(&error) == Some(fiber::Stopped::TimedOut);
            assert_eq!(waited, !took.is_zero(), "round {round}: {error}");
            assert!(waited || kind(&error).is_some(), "round {round}: {error:?}");
            assert!(!waited || !peer_closes, "round {round}: {error}");
        }
    });
}

#[test]
fn any_first_byte_with_garbage_behind_it_is_refused_at_once() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        among_bystanders(move || {
            let configurations = configurations(version);
            for side in [Side::Client, Side::Server] {
                for first in 0..=u8::MAX {
                    // As a whole record of the newest version, and as none at all.
                    let record = [&[first, 3, 3, 0, 4][..], &[0x5a; 4]].concat();
                    let garbage = [&[first][..], &[0x5a; 20_000]].concat();
                    for bytes in [record, garbage] {
                        let (error, took) = fail(&configurations, side, &bytes, false);
                        let found = kind(&error);
                        assert_eq!(took, Duration::ZERO, "{side:?} {first}: {error}");
                        // Change-cipher-spec, alert, handshake, application data; heartbeat.
                        let expected = if (20..=24).contains(&first) && bytes.len() < 10 {
                            found != Some(TlsErrorKind::Internal)
                        } else {
                            found == Some(TlsErrorKind::NotTls)
                        };
                        assert!(expected, "{side:?} {first}: {found:?}: {error}");
                    }
                }
            }
        });
    }
}
