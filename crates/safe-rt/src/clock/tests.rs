use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).expect("a time after 1970")
}

#[test]
fn it_begins_at_the_build_date_which_is_past() {
    let floor = ClockFloor::new();
    assert!(floor.earliest() >= UNIX_EPOCH + Duration::from_secs(RELEASE_SECONDS));
    // Outside a runtime this is the clock of the machine.
    assert_eq!(floor.check(fiber::wall_time()), ClockVerdict::Plausible);
    assert_eq!(
        crate::Utc(UNIX_EPOCH + Duration::from_secs(RELEASE_SECONDS)).to_string(),
        "2026-01-01 00:00:00 UTC"
    );
}

#[test]
fn a_clock_is_judged_by_the_latest_time_that_is_past() {
    let floor = ClockFloor::new();
    let built = floor.earliest();
    let behind = |by| ClockVerdict::Behind { by };
    let nano = Duration::from_nanos(1);
    // (raised to, wall, expected)
    let table = [
        (built, built, ClockVerdict::Plausible),
        (built, built - nano, behind(nano)),
        (built, built + nano, ClockVerdict::Plausible),
        (built - DAY, built - DAY, behind(DAY)),
        (built + DAY, built, behind(DAY)),
        (built + DAY, built + DAY, ClockVerdict::Plausible),
        // It never sinks.
        (built, built, behind(DAY)),
        (UNIX_EPOCH - DAY, built + DAY, ClockVerdict::Plausible),
        (
            built,
            UNIX_EPOCH - DAY,
            behind(since_1970(built) + DAY + DAY),
        ),
    ];
    for (raised, wall, expected) in table {
        assert!(floor.raise(raised));
        assert_eq!(floor.check(wall), expected);
        let judged = floor.judged_at(wall);
        assert!(judged >= wall && judged >= floor.earliest());
        assert!(judged == wall || judged == floor.earliest());
    }
}

#[test]
fn a_time_that_must_be_a_mistake_is_not_believed() {
    let floor = ClockFloor::new();
    let last = floor.earliest() + CLOCK_FLOOR_SPAN_MAX;
    for mistaken in [last + Duration::from_secs(1), last + 1_000_000 * DAY] {
        assert!(!floor.raise(mistaken));
        assert!(floor.earliest() < last);
    }
    assert!(floor.raise(last));
    assert_eq!(floor.earliest(), last);
    // What was raised already makes no room for more.
    assert!(!floor.raise(last + Duration::from_secs(1)));
}

#[test]
fn clones_are_one_floor_in_all_threads() {
    fn crosses_threads<T: Send + Sync + Clone>(_: &T) {}
    let floor = ClockFloor::default();
    crosses_threads(&floor);
    let (other, raised) = (floor.clone(), floor.earliest() + DAY);
    assert!(other.raise(raised));
    assert_eq!(floor.earliest(), raised);
    assert_eq!(
        ClockFloor::new().check(raised - DAY),
        ClockVerdict::Plausible
    );
}

#[test]
fn a_build_date_is_digits_alone() {
    for (text, expected) in [
        ("0", Some(0)),
        ("1795959000", Some(1_795_959_000)),
        ("99999999999", Some(99_999_999_999)),
        ("", None),
        ("100000000000", None),
        ("-1", None),
        ("1.5", None),
        ("1 ", None),
        ("x", None),
    ] {
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn a_build_date_is_neither_before_the_release_nor_far_beyond_it() {
    let last = RELEASE_SECONDS + CLOCK_FLOOR_SPAN_MAX.as_secs();
    let (at_last, beyond) = (last.to_string(), (last + 1).to_string());
    for (text, expected) in [
        (None, Some(RELEASE_SECONDS)),
        (Some(""), Some(RELEASE_SECONDS)),
        (Some("0"), Some(RELEASE_SECONDS)),
        (Some("1795959000"), Some(1_795_959_000)),
        (Some(at_last.as_str()), Some(last)),
        (Some(beyond.as_str()), None),
        (Some("99999999999"), None),
        // Milliseconds.
        (Some("1795959000000"), None),
        (Some("yesterday"), None),
    ] {
        assert_eq!(build_seconds(text), expected, "{text:?}");
    }
}
