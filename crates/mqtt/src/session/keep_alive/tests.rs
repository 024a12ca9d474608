use super::*;

const fn at(secs: u64) -> Time {
    Time(secs * 1_000_000_000)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Control position behind a PINGREQ that is the only packet.
const END: LogOffset = LogOffset(2);
const NONE_SENT: LogOffset = LogOffset(0);

/// Clocks with keep-alive 60 that began at 0.
fn clocks() -> KeepAlive {
    KeepAlive::new(60, None, at(0))
}

/// Clocks with a PINGREQ that became the oldest unsent byte at 100.
fn awaiting() -> KeepAlive {
    let mut clocks = clocks();
    clocks.queued(END);
    clocks.control_is_next(NONE_SENT, at(100));
    clocks
}

#[test]
fn the_time_for_an_answer_is_half_the_keep_alive_within_limits() {
    for (keep_alive, ping_after, timeout) in [
        (1, None, 5),
        (10, None, 5),
        (20, None, 10),
        (60, None, 30),
        (1_200, None, 30),
        (0, None, 30),
        (0, Some(20), 10),
        (0, Some(1_000), 30),
        (20, Some(1_000), 10),
    ] {
        let clocks = KeepAlive::new(keep_alive, ping_after.map(secs), at(0));
        assert_eq!(clocks.timeout, secs(timeout), "{keep_alive} {ping_after:?}");
    }
}

#[test]
fn a_ping_is_due_when_either_direction_was_quiet_for_long_enough() {
    for (keep_alive, ping_after, sent, received, due) in [
        (60, None, 0, 0, Some(60)),
        (60, None, 30, 10, Some(70)),
        (60, None, 10, 30, Some(70)),
        (60, Some(5), 10, 30, Some(15)),
        (0, Some(5), 10, 30, Some(15)),
        (0, None, 10, 30, None),
        // No silence is shorter than a second.
        (60, Some(0), 10, 10, Some(11)),
    ] {
        let mut clocks = KeepAlive::new(keep_alive, ping_after.map(secs), at(0));
        clocks.sent(at(sent));
        clocks.received(at(received));
        assert_eq!(
            clocks.ping_due(NONE_SENT),
            due.map(at),
            "{keep_alive} {ping_after:?}"
        );
        assert_eq!(clocks.give_up(), None);
        assert_eq!(clocks.last_activity(), at(sent.max(received)));
    }
}

#[test]
fn one_ping_at_a_time() {
    let mut clocks = clocks();
    clocks.queued(END);
    assert!(clocks.is_pinging(NONE_SENT) && clocks.is_queued());
    assert_eq!(clocks.ping_due(NONE_SENT), None);
    clocks.control_is_next(NONE_SENT, at(100));
    assert!(clocks.is_pinging(END) && !clocks.is_queued());
    clocks.sent(at(101));
    assert_eq!(clocks.ping_due(END), None);
    clocks.received(at(102));
    assert!(!clocks.is_pinging(END));
    assert_eq!(clocks.ping_due(END), Some(at(161)));
}

#[test]
fn a_ping_answered_before_it_left_is_not_sent_twice() {
    for mut clocks in [awaiting(), {
        let mut clocks = clocks();
        clocks.queued(END);
        clocks
    }] {
        clocks.received(at(101));
        assert_eq!(clocks.give_up(), None);
        assert!(clocks.is_pinging(LogOffset(1)));
        assert_eq!(clocks.ping_due(LogOffset(1)), None);
        clocks.sent(at(102));
        assert!(!clocks.is_pinging(END));
        assert_eq!(clocks.ping_due(END), Some(at(161)));
    }
}

#[test]
fn the_time_for_an_answer_runs_once_the_ping_is_the_oldest_unsent_byte() {
    let mut clocks = clocks();
    clocks.queued(LogOffset(12));
    // Ten bytes lie before it.
    clocks.control_is_next(LogOffset(9), at(100));
    assert_eq!(clocks.give_up(), None);
    clocks.control_is_next(LogOffset(10), at(200));
    assert_eq!(clocks.give_up(), Some((at(230), Silence::NoAnswer)));
    // It does not start anew with the second byte.
    clocks.control_is_next(LogOffset(11), at(210));
    assert_eq!(clocks.give_up(), Some((at(230), Silence::NoAnswer)));
}

#[test]
fn taken_bytes_prolong_the_wait_at_most_fourfold() {
    for (taken_at, give_up) in [
        (0, 130),
        (100, 130),
        (110, 140),
        (129, 159),
        (189, 219),
        (190, 220),
        (191, 220),
        (500, 220),
    ] {
        let mut clocks = awaiting();
        clocks.sent(at(taken_at));
        let expected = Some((at(give_up), Silence::NoAnswer));
        assert_eq!(clocks.give_up(), expected, "taken at {taken_at}");
    }
}

#[test]
fn a_stalled_transport_is_given_up_unless_it_takes_bytes() {
    let mut clocks = clocks();
    clocks.blocked(at(10));
    clocks.blocked(at(20));
    assert_eq!(clocks.give_up(), Some((at(40), Silence::WriteStall)));
    clocks.received(at(25));
    assert_eq!(clocks.give_up(), Some((at(40), Silence::WriteStall)));
    clocks.sent(at(30));
    assert_eq!(clocks.give_up(), None);
    clocks.blocked(at(31));
    assert_eq!(clocks.give_up(), Some((at(61), Silence::WriteStall)));
}

#[test]
fn the_earlier_of_both_limits_counts() {
    let mut clocks = awaiting();
    clocks.blocked(at(99));
    assert_eq!(clocks.give_up(), Some((at(129), Silence::WriteStall)));
    let mut clocks = awaiting();
    clocks.blocked(at(101));
    assert_eq!(clocks.give_up(), Some((at(130), Silence::NoAnswer)));
}

#[test]
fn who_doubts_the_link_may_allow_less_for_one_answer() {
    let mut clocks = awaiting();
    clocks.answer_by(at(105));
    // Bytes that are taken prolong nothing.
    clocks.sent(at(104));
    assert_eq!(clocks.give_up(), Some((at(105), Silence::NoAnswer)));
    clocks.received(at(104));
    assert_eq!(clocks.give_up(), None);
    clocks.queued(LogOffset(4));
    assert_eq!(clocks.give_up(), None, "the next one has its usual time");
    // One that is not even sent counts as well.
    clocks.answer_by(at(205));
    assert_eq!(clocks.give_up(), Some((at(205), Silence::NoAnswer)));
}
