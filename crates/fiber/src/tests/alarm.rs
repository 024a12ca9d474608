//! The alarm: waits for time are exact, and cost calls of the system only where they must.

use std::io::{Read, Write};
use std::time::Duration;

use super::{MILLISECOND, go, patiently, tcp_pair};
use crate::{Instant, core, sleep, sleep_until, spawn, stats, timeout};

/// What the alarm is set to.
fn set_to() -> u64 {
    core::current().unwrap().reactor.alarm().set_to()
}

#[test]
fn no_wait_for_time_ends_before_it() {
    patiently(|| {
        for micros in [1, 50, 250, 999, 1_000, 1_001, 2_500] {
            let until = Instant::now() + Duration::from_micros(micros);
            sleep_until(until).unwrap();
            assert!(Instant::now() >= until, "{micros}");
        }
    });
}

#[test]
fn a_wait_for_time_costs_one_poll() {
    patiently(|| {
        let before = stats();
        for _ in 0..20 {
            sleep(Duration::from_micros(1_500)).unwrap();
        }
        let polls = stats().polls - before.polls;
        // Rounding to milliseconds would be seen as a second poll each.
        assert!((20..=25).contains(&polls), "{polls}");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_deadline_that_moves_away_leaves_the_alarm_as_it_is() {
    patiently(|| {
        let (mut near, mut far) = tcp_pair();
        let mut echo = spawn(move || {
            let mut byte = [0];
            while far.read(&mut byte).unwrap() > 0 {
                far.write_all(&byte).unwrap();
            }
        })
        .unwrap();
        let first = core::current().unwrap().clock.read();
        timeout(Duration::from_secs(5), || sleep(MILLISECOND))
            .unwrap()
            .unwrap();
        let mut settings = Vec::new();
        for seconds in 6..16 {
            let limit = Duration::from_secs(seconds);
            timeout(limit, || {
                near.write_all(&[1])?;
                near.read_exact(&mut [0])
            })
            .unwrap()
            .unwrap();
            settings.push(set_to());
        }
        settings.dedup();
        // Each of the ten waits had another deadline, and all came after the first one's.
        assert_eq!(settings.len(), 1, "{settings:?}");
        assert!(settings[0] > first);
        drop(near);
        echo.join().unwrap();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_alarm_that_nobody_needs_any_more_wakes_once_and_for_nothing() {
    patiently(|| {
        let (mut near, mut far) = tcp_pair();
        // Set to 5 ms from now, and over before that.
        let soon = timeout(5 * MILLISECOND, || {
            go(move || {
                let _ = near.write_all(&[1]);
                let _ = sleep(20 * MILLISECOND);
                let _ = near.write_all(&[2]);
            });
            far.read_exact(&mut [0])
        });
        soon.unwrap().unwrap();
        let before = stats();
        far.read_exact(&mut [0]).unwrap();
        let after = stats();
        assert!(after.polls - before.polls <= 5);
        let began = Instant::now();
        sleep(3 * MILLISECOND).unwrap();
        assert!(began.elapsed() >= 3 * MILLISECOND);
    });
}

#[test]
fn an_earlier_deadline_is_kept_and_the_later_one_as_well() {
    patiently(|| {
        let long = spawn(|| {
            let began = Instant::now();
            sleep(30 * MILLISECOND).unwrap();
            began.elapsed()
        });
        let short = spawn(|| {
            let began = Instant::now();
            sleep(2 * MILLISECOND).unwrap();
            began.elapsed()
        });
        let (mut long, mut short) = (long.unwrap(), short.unwrap());
        assert!(short.join().unwrap() >= 2 * MILLISECOND);
        assert!(!long.is_finished());
        assert!(long.join().unwrap() >= 30 * MILLISECOND);
    });
}
