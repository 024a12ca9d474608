//! Who gets how much of the time, and whose error is told.

use std::io;

use super::*;
use crate::error::Phase;
use fiber::{Runtime, Stopped};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test under the paused clock.
#[track_caller]
fn paused<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    Runtime::builder()
        .paused_clock(true)
        .run(body)
        .expect("the runtime ran")
}

fn addresses<const N: usize>() -> [SocketAddr; N] {
    core::array::from_fn(|index| ([192, 0, 2, index as u8 + 1], 1883).into())
}

/// Waits as an address does that swallows every packet.
fn black_hole(address: SocketAddr, turn: Turn) -> Result<usize, Error> {
    let waited = turn.connecting(|| fiber::sleep(3600 * SECOND));
    let stopped = waited.expect_err("the share ends before the hour");
    Err(Error::new(
        Phase::Connect,
        address.to_string(),
        stopped.into(),
    ))
}

fn refused(phase: Phase, address: SocketAddr) -> Error {
    let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
    Error::new(phase, address.to_string(), cause)
}

#[test]
fn a_black_hole_takes_only_its_share() {
    paused(|| {
        let began = Instant::now();
        let mut tried = Vec::new();
        let outcome = fiber::timeout(30 * SECOND, || {
            try_each(&addresses::<3>(), |address, turn| {
                tried.push((address, began.elapsed()));
                match tried.len() {
                    3 => Ok(tried.len()),
                    _ => black_hole(address, turn),
                }
            })
        });
        assert_eq!(outcome.expect("in time").expect("the third answers"), 3);
        let [first, second, third] = addresses();
        let expected = [
            (first, Duration::ZERO),
            (second, 10 * SECOND),
            (third, 20 * SECOND),
        ];
        assert_eq!(tried, expected);
    });
}

#[test]
fn time_that_an_address_leaves_goes_to_the_others() {
    paused(|| {
        let began = Instant::now();
        let outcome = fiber::timeout(30 * SECOND, || {
            let mut tried = 0;
            try_each(&addresses::<3>(), |address, turn| {
                tried += 1;
                match tried {
                    1 => Err(refused(Phase::Connect, address)),
                    2 => black_hole(address, turn).map(|_| Duration::ZERO),
                    _ => Ok(began.elapsed()),
                }
            })
        });
        let elapsed = outcome.expect("in time").expect("the third answers");
        assert_eq!(elapsed, 15 * SECOND);
    });
}

#[test]
fn many_addresses_leave_each_the_time_that_a_slow_link_needs() {
    paused(|| {
        let took = |limit: u32, each: Duration| {
            let began = Instant::now();
            let outcome = fiber::timeout(limit * SECOND, || {
                try_each(&addresses::<16>(), |_, turn| {
                    let address = SocketAddr::from(([192, 0, 2, 1], 1883));
                    let failed = |stopped: Stopped| {
                        Error::new(Phase::Connect, address.to_string(), stopped.into())
                    };
                    turn.connecting(|| fiber::sleep(each)).map_err(failed)?;
                    turn.connected(|| fiber::sleep(each * 3)).map_err(failed)
                })
            });
            let is_connected = outcome.unwrap_or_else(|late| late.0).is_ok();
            (is_connected, began.elapsed())
        };
        let each = Duration::from_millis(1500);
        for limit in [30, 10, 7] {
            assert_eq!(took(limit, each), (true, each * 4), "of {limit} s");
        }
        // No address can have more time than there is.
        assert_eq!(took(5, each), (false, 5 * SECOND));
        // One that answers and then falls silent leaves time for others.
        let began = Instant::now();
        let mut tried = 0;
        let outcome = fiber::timeout(30 * SECOND, || {
            try_each(&addresses::<16>(), |address, turn| {
                tried += 1;
                match tried {
                    3 => Ok(began.elapsed()),
                    _ => turn.connected(|| {
                        let stopped = fiber::sleep(3600 * SECOND).expect_err("its share ends");
                        Err(Error::new(Phase::Tls, address.to_string(), stopped.into()))
                    }),
                }
            })
        });
        let third_at = outcome.expect("in time").expect("the third answers");
        assert_eq!(third_at, Duration::from_millis(22_500));
    });
}

#[test]
fn all_black_holes_end_at_the_deadline() {
    paused(|| {
        let began = Instant::now();
        let outcome = fiber::timeout(30 * SECOND, || try_each(&addresses::<3>(), black_hole));
        let fiber::Elapsed(error) = outcome.expect_err("the deadline passes");
        let error = error.expect_err("nobody answers");
        assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        assert_eq!(began.elapsed(), 30 * SECOND);
    });
}

#[test]
fn the_attempt_that_got_furthest_is_reported() {
    paused(|| {
        let phases = [Phase::Connect, Phase::Tls, Phase::Tls, Phase::Connect];
        let mut next = phases.into_iter();
        let error = try_each(&addresses::<4>(), |address, _| {
            Err::<(), _>(refused(next.next().expect("four attempts"), address))
        })
        .expect_err("none connects");
        assert_eq!(error.phase(), Phase::Tls);
        assert_eq!(error.address(), "192.0.2.3:1883");
    });
}

#[test]
fn a_cancelled_dial_tries_no_further_address() {
    paused(|| {
        let outcome = fiber::cancellable(|canceller| {
            let mut tried = 0;
            let error = try_each(&addresses::<3>(), |address, turn| {
                tried += 1;
                canceller.cancel();
                black_hole(address, turn)
            })
            .expect_err("cancelled");
            (fiber::cause(&error), tried)
        });
        let fiber::Cancelled(outcome) = outcome.expect_err("a wait was cancelled");
        assert_eq!(outcome, (Some(Stopped::Cancelled), 1));
    });
}

#[test]
fn a_limit_within_an_attempt_ends_that_attempt_alone() {
    paused(|| {
        let within = |address, turn| {
            let outcome = fiber::timeout(SECOND, || black_hole(address, turn));
            let fiber::Elapsed(outcome) = outcome.expect_err("a limit of its own");
            outcome
        };
        // With a deadline and without one.
        for limit in [Some(30 * SECOND), None] {
            let mut tried = 0;
            let mut dial = || {
                try_each(&addresses::<2>(), |address, turn| {
                    tried += 1;
                    match tried {
                        1 => within(address, turn),
                        _ => Ok(tried),
                    }
                })
            };
            let outcome = match limit {
                Some(limit) => fiber::timeout(limit, dial).expect("in time"),
                None => dial(),
            };
            assert_eq!(outcome.expect("the second answers"), 2);
        }
        let began = Instant::now();
        let error = try_each(&addresses::<2>(), within).expect_err("both give up");
        assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        assert_eq!(began.elapsed(), 2 * SECOND);
    });
}

#[test]
fn a_default_deadline_yields_to_one_around_it() {
    paused(|| {
        let nearest = || fiber::ambient_deadline().map(|at| at - Instant::now());
        let alone = with_default_deadline(30 * SECOND, nearest);
        assert_eq!(alone, Some(30 * SECOND));
        let under = fiber::timeout(90 * SECOND, || with_default_deadline(30 * SECOND, nearest));
        assert_eq!(under, Ok(Some(90 * SECOND)));
    });
}
