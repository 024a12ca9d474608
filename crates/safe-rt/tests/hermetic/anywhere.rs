//! What can happen at any byte of a handshake, in either direction, in both versions: the connection
//! ends, falls silent, or a byte is another one.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use safe_rt::{ClientTls, Error, Phase, ServerTls, TlsError, TlsErrorKind, TlsVersion};

use crate::bystanders::among_bystanders;
use crate::middle::{BOTH, Fate, Met, Toward, meet};
use crate::support::options;

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const LIMIT: Duration = Duration::from_secs(2);
/// No handshake of these tests is as short, and none as long.
const BYTES: std::ops::Range<usize> = 150..3_000;

/// Makes configurations for one handshake after another: none of them resumes.
fn unacquainted(version: TlsVersion) -> impl Fn() -> (ClientTls, ServerTls) {
    let (client, server) = options();
    let server = server.version(version).build().expect("options");
    move || {
        let client = client.clone().version(version).build().expect("options");
        (client, server.clone())
    }
}

fn kind(error: &Error) -> Option<TlsErrorKind> {
    assert_eq!(error.phase(), Phase::Tls, "{error}");
    TlsError::of(error).map(TlsError::kind)
}

/// What a side reports whose connection ended: in its reading, or in its writing.
#[track_caller]
fn ended(met: &Met) -> bool {
    let Err(error) = &met.outcome else {
        return false;
    };
    assert_eq!(met.took, Duration::ZERO, "{error}");
    match kind(error) {
        Some(found) => assert_eq!(found, TlsErrorKind::ClosedInHandshake, "{error}"),
        None => assert_eq!(error.io().kind(), ErrorKind::BrokenPipe, "{error}"),
    }
    true
}

#[test]
fn a_connection_that_ends_at_any_byte_is_reported_at_once() {
    for version in VERSIONS {
        among_bystanders(move || {
            let both = unacquainted(version);
            for toward in BOTH {
                let mut cut = 0;
                loop {
                    let (client, server) = meet(both(), (toward, Fate::Cut, cut), LIMIT);
                    let failed = [ended(&client), ended(&server)];
                    if failed == [false, false] {
                        break;
                    }
                    // Who has heard all may be done; who has not is not.
                    match toward {
                        Toward::Server => assert!(failed[1], "{version:?}: {cut}"),
                        Toward::Client => assert!(failed[0], "{version:?}: {cut}"),
                    }
                    cut += 1;
                }
                assert!(BYTES.contains(&cut), "{version:?} {toward:?}: {cut}");
            }
        });
    }
}

/// Runs a hundred handshakes at once, with bytes `from..` let through; returns the failed ones as
/// `(passed, client, server)`, `None` for a side that was served.
fn hundred(
    both: &impl Fn() -> (ClientTls, ServerTls),
    (toward, fate, from): (Toward, Fate, usize),
) -> Vec<(usize, Met, Met)> {
    let running: Vec<_> = (from..from + 100)
        .map(|passed| {
            let both = both();
            fiber::spawn(move || meet(both, (toward, fate, passed), LIMIT)).expect("a fiber")
        })
        .collect();
    let met = (from..).zip(running).map(|(passed, mut running)| {
        let (client, server) = running.join().expect("no panic");
        (passed, client, server)
    });
    met.collect()
}

/// Whether this side waited in vain, and then for as long as it may.
#[track_caller]
fn waited(met: &Met) -> bool {
    match &met.outcome {
        Ok(_) => assert_eq!(met.took, Duration::ZERO),
        Err(error) => {
            assert_eq!((error.phase(), met.took), (Phase::Tls, LIMIT), "{error}");
            assert!(error.is_timeout(), "{error}");
        }
    }
    met.outcome.is_err()
}

#[test]
fn a_peer_that_falls_silent_at_any_byte_costs_the_deadline_and_no_more() {
    for version in VERSIONS {
        among_bystanders(move || {
            let both = unacquainted(version);
            for toward in BOTH {
                let mut silent = 0;
                while silent % 100 == 0 {
                    for (passed, client, server) in hundred(&both, (toward, Fate::Silence, silent))
                    {
                        let waited = [waited(&client), waited(&server)];
                        if waited != [false, false] {
                            assert_eq!(passed, silent, "{version:?} {toward:?}");
                            silent += 1;
                        }
                    }
                }
                assert!(BYTES.contains(&silent), "{version:?} {toward:?}: {silent}");
            }
        });
    }
}

#[test]
fn a_byte_that_was_changed_anywhere_is_refused_or_was_without_meaning() {
    /// The second byte of a record's version means nothing (RFC 8446 section 5.1); so many records
    /// a direction of a handshake has at most.
    const RECORDS: usize = 4;
    for version in VERSIONS {
        among_bystanders(move || {
            let both = unacquainted(version);
            for toward in BOTH {
                let (mut refused, mut unnoticed) = (0, Vec::new());
                for from in (0..BYTES.end).step_by(100) {
                    let before = refused;
                    for (passed, client, server) in hundred(&both, (toward, Fate::Changed, from)) {
                        let sides = [&client, &server].map(|met| found(met).is_none());
                        if sides == [true, true] {
                            unnoticed.push(passed);
                        } else {
                            refused += 1;
                        }
                    }
                    if refused == before {
                        break;
                    }
                }
                assert!(
                    BYTES.contains(&refused),
                    "{version:?} {toward:?}: {refused}"
                );
                // Behind the handshake nobody looks.
                unnoticed.retain(|&passed| passed < refused);
                let meant_nothing = unnoticed.len() <= RECORDS && unnoticed.first() == Some(&2);
                assert!(meant_nothing, "{version:?} {toward:?}: {unnoticed:?}");
            }
        });
    }
}

/// What a side found wrong, which is always one of the things that are told apart.
#[track_caller]
fn found(met: &Met) -> Option<&Error> {
    let error = met.outcome.as_ref().err()?;
    assert!(met.took <= LIMIT, "{error}");
    let known = kind(error).is_some() || error.is_timeout();
    assert!(
        known || error.io().kind() == ErrorKind::BrokenPipe,
        "{error}"
    );
    // A length that was changed makes a side wait for more; all else shows at once.
    assert_eq!(error.is_timeout(), !met.took.is_zero(), "{error}");
    Some(error)
}

#[test]
fn a_stream_that_is_cut_at_any_byte_is_told_from_one_that_ended() {
    const TEXTS: [&str; 3] = ["one", "and another", "and the last"];
    for version in VERSIONS {
        among_bystanders(move || {
            let both = unacquainted(version);
            let (mut cuts, mut lengths) = (0, std::collections::BTreeSet::new());
            for cut in BYTES {
                let (client, server) = meet(both(), (Toward::Client, Fate::Cut, cut), LIMIT);
                let (Ok(client), Ok(server)) = (client.outcome, server.outcome) else {
                    continue;
                };
                let writes = || {
                    for text in TEXTS {
                        (&server).write_all(text.as_bytes())?;
                    }
                    server.shutdown_write()
                };
                let written = writes();
                let mut received = Vec::new();
                let end = (&client).read_to_end(&mut received);
                let whole = TEXTS.concat();
                assert!(whole.as_bytes().starts_with(&received), "{cut}");
                let Err(error) = end else {
                    assert_eq!(received, whole.as_bytes());
                    written.expect("nobody cut it");
                    break;
                };
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{cut}: {error}");
                let found = TlsError::of(&error).map(TlsError::kind);
                assert_eq!(found, Some(TlsErrorKind::Truncated), "{cut}: {error}");
                (cuts, _) = (cuts + 1, lengths.insert(received.len()));
            }
            // Records come whole or not at all, and the close_notify is one as well.
            assert!(cuts >= 100, "{version:?}: {cuts}");
            let expected = [0, 3, 14, 26];
            assert!(lengths.iter().eq(&expected), "{version:?}: {lengths:?}");
        });
    }
}
