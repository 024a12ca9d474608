//! No fiber starves the others, whatever it does between its waits.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use super::{go, paused, real, timed, turns};
use crate::net::{PipeStream, TcpListener, TcpStream, pipe};
use crate::scheduler::{IO_BUDGET, LONG_TURNS_PER_POLL_MAX};
use crate::{
    Event, Selected, Stopped, cause, long_turn, select, sleep, spawn, stats, timeout, yield_now,
};

/// Counts the turns that a fiber which only yields gets while `body` runs.
fn turns_beside(body: impl FnOnce()) -> u32 {
    let (count, done) = (Rc::new(Cell::new(0)), Event::new());
    let (counter, end) = (Rc::clone(&count), done.clone());
    go(move || {
        while !end.is_set() {
            counter.set(counter.get() + 1);
            yield_now().unwrap();
        }
    });
    turns(1);
    let before = count.get();
    body();
    done.set();
    count.get() - before
}

fn full_pipe(bytes: usize) -> (PipeStream, PipeStream) {
    let (mut left, right) = pipe(bytes);
    left.write_all(&vec![7; bytes]).unwrap();
    (left, right)
}

#[test]
fn a_fiber_with_endless_data_yields_after_its_budget() {
    paused(|| {
        let operations = 10 * IO_BUDGET;
        let (_left, mut right) = full_pipe(operations as usize);
        let turns = turns_beside(|| {
            for _ in 0..operations {
                right.read_exact(&mut [0]).unwrap();
            }
        });
        assert!((9..=11).contains(&turns), "{turns}");
    });
}

#[test]
fn a_fiber_with_large_data_yields_long_before_so_many_operations() {
    paused(|| {
        const READ: usize = 64 * 1024;
        const READS: usize = 64;
        let (_left, mut right) = full_pipe(READS * READ);
        let turns = turns_beside(|| {
            let mut buffer = vec![0; READ];
            for _ in 0..READS {
                right.read_exact(&mut buffer).unwrap();
            }
        });
        // Each counts as one operation and eight more.
        assert!((3..=6).contains(&turns), "{turns}");
    });
}

#[test]
fn a_loop_around_select_and_try_read_yields_after_its_budget() {
    paused(|| {
        let operations = 10 * IO_BUDGET;
        let (_left, right) = full_pipe(operations as usize);
        let turns = turns_beside(|| {
            for _ in 0..operations {
                assert_eq!(
                    select(&[&right.readable()], None).unwrap(),
                    Selected::Ready(0)
                );
                assert_eq!(right.try_read(&mut [0]).unwrap(), Some(1));
            }
        });
        assert!((18..=22).contains(&turns), "{turns}");
    });
}

#[test]
fn try_read_and_try_write_never_yield() {
    paused(|| {
        let operations = 3 * IO_BUDGET;
        let (left, right) = pipe(operations as usize);
        let turns = turns_beside(|| {
            for _ in 0..operations {
                assert_eq!(left.try_write(&[1]).unwrap(), Some(1));
                assert_eq!(right.try_read(&mut [0]).unwrap(), Some(1));
            }
        });
        assert_eq!(turns, 0);
    });
}

/// A connection whose far end sends without end, to be read by the caller.
fn firehose() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    go(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let data = vec![0; 256 * 1024];
        while stream.write_all(&data).is_ok() {}
    });
    TcpStream::connect(address).unwrap()
}

#[test]
fn a_deadline_ends_the_reading_of_a_firehose() {
    real(|| {
        let mut stream = firehose();
        let limit = Duration::from_millis(50);
        let (outcome, took) = timed(|| {
            timeout(limit, || {
                // Small reads: there is always more, so that no read ever waits.
                let mut buffer = [0; 512];
                loop {
                    if let Err(error) = stream.read(&mut buffer) {
                        return error;
                    }
                }
            })
        });
        let error = outcome.unwrap_err().0;
        assert_eq!(cause(&error), Some(Stopped::TimedOut));
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(took >= limit && took < 20 * limit, "{took:?}");
    });
}

#[test]
fn timers_of_others_fire_while_a_firehose_is_read() {
    real(|| {
        let mut stream = firehose();
        let reader = spawn(move || {
            let mut buffer = [0; 512];
            while stream.read(&mut buffer).is_ok() {}
        })
        .unwrap();
        let read_before = stats().bytes_read;
        let worst = (0..20)
            .map(|_| timed(|| sleep(Duration::from_millis(2)).unwrap()).1)
            .max()
            .unwrap();
        assert!(worst < Duration::from_millis(200), "{worst:?}");
        assert!(stats().bytes_read > read_before, "the hose ran meanwhile");
        reader.cancel();
    });
}

#[test]
fn a_due_deadline_ends_a_loop_of_yields() {
    real(|| {
        let ended = timeout(Duration::from_millis(20), || {
            loop {
                if let Err(stopped) = yield_now() {
                    return stopped;
                }
            }
        });
        assert_eq!(ended.unwrap_err().0, Stopped::TimedOut);
    });
}

#[test]
fn an_idle_runtime_polls_once_per_timer_and_no_more() {
    real(|| {
        let before = stats();
        sleep(Duration::from_millis(60)).unwrap();
        let after = stats();
        // Rounding to whole milliseconds may cost one poll more.
        assert!(after.polls - before.polls <= 3);
        assert!(after.resumes - before.resumes <= 1);
    });
}

#[test]
fn virtual_time_stands_still_while_any_fiber_can_run() {
    paused(|| {
        let ((), passed) = timed(|| turns(1_000));
        assert_eq!(passed, Duration::ZERO);
    });
}

#[test]
fn a_crowd_of_long_turns_lets_others_pass() {
    const CROWD: u32 = 1_000;
    paused(|| {
        let done = Rc::new(Cell::new(0));
        for _ in 0..CROWD {
            let done = Rc::clone(&done);
            go(move || {
                long_turn().unwrap();
                done.set(done.get() + 1);
            });
        }
        // Whoever comes behind all of them sees few of them go first.
        turns(1);
        let before = done.get();
        assert!(
            before <= CROWD / 10,
            "{before} long turns before another fiber's"
        );
        while done.get() < CROWD {
            let (done_before, polls) = (done.get(), stats().polls);
            yield_now().unwrap();
            let (long, polls) = (done.get() - done_before, stats().polls - polls);
            assert!(u64::from(long) <= u64::from(LONG_TURNS_PER_POLL_MAX) * (polls + 1));
        }
    });
}

#[test]
fn long_turns_without_a_crowd_wait_for_nobody() {
    paused(|| {
        let turns = turns_beside(|| {
            for _ in 0..LONG_TURNS_PER_POLL_MAX {
                long_turn().unwrap();
            }
        });
        assert!(turns <= 1, "{turns}");
    });
}

#[test]
fn a_long_turn_ends_with_its_scope() {
    paused(|| {
        let stopped = timeout(Duration::ZERO, || {
            loop {
                if let Err(stopped) = long_turn() {
                    return stopped;
                }
            }
        });
        assert_eq!(stopped.unwrap_err().0, Stopped::TimedOut);
    });
    assert_eq!(long_turn(), Err(Stopped::NoRuntime));
}
