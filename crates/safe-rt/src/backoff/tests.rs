//! Properties of the delays, over many draws and over the edges of every number.

use super::*;

const DRAWS: u32 = 2_000;
const LONG_AGO: Duration = Duration::MAX;
/// The draw that gives a whole span, to within one part in 2^64.
const ALL: u64 = u64::MAX;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Numbers that look random and are the same in each run (SplitMix64).
fn draws() -> impl Iterator<Item = u64> {
    let mut state = 0x5EED_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// A backoff without a floor, so that the spans show.
fn bare() -> Backoff {
    Backoff::new(BackoffOptions::new().floor(Duration::ZERO))
}

/// The spans of the next `count` delays in whole seconds.
fn spans(backoff: &mut Backoff, class: Class, count: usize) -> Vec<u64> {
    let mut next = || backoff.next_delay(class, LONG_AGO, ALL);
    (0..count)
        .map(|_| (next() + Duration::from_nanos(1)).as_secs())
        .collect()
}

#[track_caller]
fn begins_anew(backoff: &mut Backoff, anew: bool) {
    let expected = if anew { 1 } else { 32 };
    assert_eq!(spans(backoff, Class::Short, 1), [expected]);
}

/// Five short delays in.
fn worn() -> Backoff {
    let mut backoff = bare();
    spans(&mut backoff, Class::Short, 5);
    backoff
}

#[test]
fn short_spans_double_up_to_the_cap() {
    let expected = [1, 2, 4, 8, 16, 32, 64, 120, 120, 120];
    assert_eq!(spans(&mut bare(), Class::Short, 10), expected);
}

#[test]
fn long_spans_double_up_to_their_own_cap() {
    let expected = [30, 60, 120, 240, 480, 600, 600];
    assert_eq!(spans(&mut bare(), Class::Long, 7), expected);
}

#[test]
fn each_class_has_a_count_of_its_own() {
    let mut backoff = bare();
    assert_eq!(spans(&mut backoff, Class::Short, 6), [1, 2, 4, 8, 16, 32]);
    assert_eq!(spans(&mut backoff, Class::Long, 2), [30, 60]);
    assert_eq!(spans(&mut backoff, Class::Short, 1), [64]);
}

#[test]
fn every_delay_is_within_its_span_and_all_of_the_span_is_used() {
    let mut draws = draws();
    for (delays, span) in [(0, 1), (3, 8), (7, 120), (40, 120)] {
        let mut eighths = [0_u32; 8];
        for _ in 0..DRAWS {
            let mut backoff = bare();
            backoff.short_delays = delays;
            let delay = backoff.next_delay(Class::Short, LONG_AGO, draws.next().unwrap());
            assert!(delay <= secs(span), "{delay:?} of {span} s");
            let eighth = delay.as_nanos() * 8 / secs(span).as_nanos();
            eighths[usize::try_from(eighth).unwrap().min(7)] += 1;
        }
        // 250 each on average, with a deviation of 15.
        assert!(
            eighths.iter().all(|n| (150..350).contains(n)),
            "{eighths:?}"
        );
    }
}

#[test]
fn the_least_draw_gives_nothing_and_the_greatest_the_whole_span() {
    assert_eq!(jitter(secs(8), 0), Duration::ZERO);
    assert_eq!(jitter(secs(8), u64::MAX), secs(8));
    assert_eq!(jitter(Duration::ZERO, u64::MAX), Duration::ZERO);
    assert_eq!(
        jitter(Duration::MAX, u64::MAX),
        Duration::from_nanos(u64::MAX)
    );
}

#[test]
fn two_attempts_never_start_closer_together_than_the_floor() {
    let mut draws = draws();
    let mut backoff = Backoff::new(BackoffOptions::new().floor(secs(3)));
    for millis in (0..DRAWS).map(|n| u64::from(n) * 2) {
        let since_attempt = Duration::from_millis(millis);
        backoff.short_delays = 0;
        let delay = backoff.next_delay(Class::Short, since_attempt, draws.next().unwrap());
        assert!(since_attempt + delay >= secs(3), "{since_attempt:?}");
        assert!(delay <= secs(3).saturating_sub(since_attempt).max(secs(1)));
    }
    let delay = Backoff::new(BackoffOptions::new()).next_delay(Class::Short, Duration::ZERO, 0);
    assert_eq!(delay, BACKOFF_FLOOR_DEFAULT);
}

#[test]
fn the_first_attempt_is_spread_as_far_as_asked_for() {
    assert_eq!(bare().first_delay(u64::MAX), Duration::ZERO);
    let spread = Backoff::new(BackoffOptions::new().first_attempt_spread(secs(10)));
    for draw in draws().take(100) {
        assert!(spread.first_delay(draw) <= secs(10));
    }
    assert_eq!(spread.first_delay(u64::MAX), secs(10));
    assert_eq!(spread.first_delay(1 << 63), secs(5));
}

#[test]
fn only_a_stable_connection_that_answered_lets_the_spans_begin_anew() {
    let almost = BACKOFF_STABLE_AFTER_DEFAULT - Duration::from_nanos(1);
    for (up, answered, anew) in [
        (BACKOFF_STABLE_AFTER_DEFAULT, true, true),
        (Duration::MAX, true, true),
        (almost, true, false),
        (Duration::ZERO, true, false),
        (BACKOFF_STABLE_AFTER_DEFAULT, false, false),
        (Duration::MAX, false, false),
    ] {
        let mut backoff = worn();
        backoff.connection_ended(up, answered);
        begins_anew(&mut backoff, anew);
    }
}

#[test]
fn a_stable_connection_lets_long_spans_begin_anew_as_well() {
    let mut backoff = bare();
    spans(&mut backoff, Class::Long, 4);
    backoff.connection_ended(secs(3600), true);
    assert_eq!(spans(&mut backoff, Class::Long, 1), [30]);
}

#[test]
fn an_attempt_that_failed_leaves_the_spans_as_they_are() {
    let mut backoff = worn();
    backoff.next_delay(Class::Long, LONG_AGO, ALL);
    begins_anew(&mut backoff, false);
}

#[test]
fn three_connections_running_that_end_within_a_minute_are_flapping() {
    let mut backoff = bare();
    for expected in [1, 2] {
        backoff.connection_ended(secs(5), true);
        assert!(!backoff.is_flapping());
        assert_eq!(spans(&mut backoff, Class::Short, 1), [expected]);
    }
    // Failed attempts in between change nothing.
    for expected in [30, 60, 120] {
        backoff.connection_ended(secs(5), true);
        assert!(backoff.is_flapping());
        assert_eq!(spans(&mut backoff, Class::Short, 1), [expected]);
    }
    backoff.connection_ended(BACKOFF_FLAP_WINDOW, true);
    assert!(!backoff.is_flapping());
    assert_eq!(spans(&mut backoff, Class::Short, 1), [1]);
}

#[test]
fn one_connection_that_lasts_starts_the_count_of_flaps_anew() {
    let mut backoff = bare();
    let almost = BACKOFF_FLAP_WINDOW - Duration::from_nanos(1);
    for up in [almost, almost, BACKOFF_FLAP_WINDOW, almost, almost] {
        backoff.connection_ended(up, true);
        assert!(!backoff.is_flapping());
    }
    backoff.connection_ended(almost, true);
    assert!(backoff.is_flapping());
}

#[test]
fn stable_connections_that_flap_do_not_let_long_spans_begin_anew() {
    let mut backoff = bare();
    for expected in [1, 1, 30, 60, 120, 240] {
        backoff.connection_ended(secs(45), true);
        assert_eq!(spans(&mut backoff, Class::Short, 1), [expected]);
    }
}

#[test]
fn no_number_is_too_large() {
    let lengths = [
        Duration::ZERO,
        Duration::from_nanos(1),
        secs(1),
        Duration::from_nanos(u64::MAX),
        Duration::MAX,
    ];
    let counts = [0, 1, 63, 64, 65, 127, 128, u32::MAX - 1, u32::MAX];
    for base in lengths {
        for cap in lengths {
            for floor in lengths {
                for count in counts {
                    let options = BackoffOptions::new().base(base).cap(cap);
                    let options = options.long_base(base).long_cap(cap).floor(floor);
                    for (class, flaps) in [
                        (Class::Short, 0),
                        (Class::Short, u32::MAX),
                        (Class::Long, 0),
                    ] {
                        let mut backoff = Backoff {
                            options,
                            short_delays: count,
                            long_delays: count,
                            flaps,
                        };
                        backoff.connection_ended(Duration::ZERO, true);
                        for (since_attempt, random) in [(Duration::ZERO, ALL), (LONG_AGO, 0)] {
                            let delay = backoff.next_delay(class, since_attempt, random);
                            assert!(delay <= cap.max(floor), "{base:?} {cap:?} {count}");
                            assert!(delay >= floor.saturating_sub(since_attempt));
                        }
                        assert!(backoff.short_delays >= count && backoff.long_delays >= count);
                    }
                }
            }
        }
    }
}

#[test]
fn the_ten_thousandth_attempt_is_made_like_the_tenth() {
    let mut backoff = bare();
    spans(&mut backoff, Class::Short, 10_000);
    assert_eq!(spans(&mut backoff, Class::Short, 1), [120]);
}
