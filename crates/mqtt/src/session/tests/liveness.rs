//! Deadlines: what the session asks to be woken for, and what it does then.

use std::time::Duration;

use super::*;
use crate::outbound_log::LOG_BYTES_MIN;

#[test]
fn nothing_to_wait_for_is_no_deadline() {
    let mut rig = Rig::idle(SessionOptions::default());
    assert_eq!(rig.session.next_deadline(), None);
    rig.timer(at(1_000_000));
    assert_eq!(rig.session.phase(), Phase::Idle);
    let mut rig = Rig::up_with(SessionOptions::default(), 0);
    assert_eq!(
        rig.session.next_deadline(),
        None,
        "keep-alive 0 means no pings"
    );
    rig.timer(at(1_000_000));
    assert_eq!(rig.write(usize::MAX), b"");
}

#[test]
fn a_missing_connack_is_given_up() {
    let mut rig = Rig::connecting(SessionOptions::default(), 60);
    assert_eq!(rig.session.next_deadline(), Some(at(30)));
    rig.timer(at(29));
    assert!(matches!(rig.session.phase(), Phase::Connecting { .. }));
    assert_eq!(
        rig.write(usize::MAX),
        b"",
        "CONNECT is sent once, and no ping before CONNACK"
    );
    rig.timer(at(30));
    rig.check_closed(CloseCause::ConnAckTimeout);
}

#[test]
fn a_disconnect_that_cannot_leave_is_given_up() {
    let mut rig = Rig::up();
    rig.session.disconnect(at(10), &rig.log);
    assert_eq!(rig.session.next_deadline(), Some(at(12)));
    rig.timer(at(12));
    rig.check_closed(CloseCause::DisconnectTimeout);

    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session.disconnect(at(10), &rig.log);
    assert!(matches!(rig.session.phase(), Phase::Draining { .. }));
    rig.timer(at(12));
    rig.check_closed(CloseCause::DisconnectTimeout);
}

/// Wakes the session at its next deadline and returns what it sends then.
fn tick(rig: &mut Rig) -> Vec<u8> {
    let deadline = rig.session.next_deadline().unwrap();
    rig.timer(deadline);
    rig.write(usize::MAX)
}

#[test]
fn a_client_that_only_receives_pings() {
    let mut rig = Rig::up();
    for second in 1..60 {
        rig.now = at(second);
        rig.receive(b"\x30\x03\x00\x01a").unwrap();
    }
    assert_eq!(rig.session.next_deadline(), Some(at(60)));
    assert_eq!(tick(&mut rig), b"\xc0\x00");
}

#[test]
fn a_client_that_only_sends_pings() {
    let mut rig = Rig::up();
    for second in 1..60 {
        rig.now = at(second);
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
        rig.write(usize::MAX);
    }
    assert_eq!(rig.session.next_deadline(), Some(at(60)));
    assert_eq!(tick(&mut rig), b"\xc0\x00");
}

#[test]
fn an_answered_ping_comes_once_in_each_period() {
    let mut rig = Rig::up();
    for period in 1..100 {
        assert_eq!(rig.session.next_deadline(), Some(at(period * 60)));
        assert_eq!(tick(&mut rig), b"\xc0\x00");
        assert_eq!(rig.session.next_deadline(), Some(at(period * 60 + 30)));
        rig.receive(b"\xd0\x00").unwrap();
    }
}

#[test]
fn any_byte_answers_a_ping() {
    let mut rig = Rig::up();
    tick(&mut rig);
    rig.now = at(80);
    rig.session.received(rig.now);
    assert_eq!(
        rig.session.next_deadline(),
        Some(at(120)),
        "the ping was sent at 60"
    );
    rig.receive(b"\xd0\x00").unwrap();
    assert_eq!(rig.session.next_deadline(), Some(at(120)));
}

#[test]
fn a_silent_peer_is_given_up() {
    for (keep_alive, ping_at, give_up_at) in
        [(60, 60, 90), (10, 10, 15), (1, 1, 6), (600, 600, 630)]
    {
        let mut rig = Rig::up_with(SessionOptions::default(), keep_alive);
        assert_eq!(tick(&mut rig), b"\xc0\x00");
        assert_eq!(rig.now, at(ping_at));
        assert_eq!(tick(&mut rig), b"");
        assert_eq!(rig.now, at(give_up_at));
        rig.check_closed(CloseCause::PingTimeout);
    }
}

#[test]
fn half_open_link_is_noticed_in_bounded_time() {
    // The kernel goes on taking publishes, nothing comes back.
    let mut rig = Rig::up();
    while rig.session.phase() != Phase::Closed {
        rig.now = rig.now + Duration::from_secs(1);
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
        rig.write(usize::MAX);
        if rig
            .session
            .next_deadline()
            .is_some_and(|deadline| deadline <= rig.now)
        {
            let now = rig.now;
            rig.timer(now);
        }
    }
    assert_eq!(rig.now, at(60 + 4 * 30));
    rig.check_closed(CloseCause::PingTimeout);
}

#[test]
fn a_transport_that_takes_nothing_is_given_up() {
    let mut rig = Rig::up();
    rig.publish_sized("a", 1_000, QoS::AtLeastOnce, 1).unwrap();
    rig.now = at(5);
    rig.write(500);
    rig.session.write_blocked(at(5));
    rig.session.write_blocked(at(20));
    assert_eq!(rig.session.next_deadline(), Some(at(35)));
    rig.timer(at(34));
    assert_eq!(rig.session.next_output(), None);
    // A byte now and then is progress.
    rig.write(1);
    rig.session.write_blocked(at(34));
    assert_eq!(
        rig.session.next_deadline(),
        Some(at(60)),
        "nothing received since 0: a ping"
    );
    rig.timer(at(60));
    rig.timer(at(64));
    rig.check_closed(CloseCause::WriteStall);
}

#[test]
fn bytes_that_a_lower_layer_passes_on_are_progress() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.write(usize::MAX);
    rig.session.write_blocked(at(1));
    assert_eq!(rig.session.next_deadline(), Some(at(31)));
    rig.session.progressed(at(20));
    assert_eq!(rig.session.next_deadline(), Some(at(60)));
}

#[test]
fn the_time_for_an_answer_does_not_run_while_the_ping_waits_behind_half_a_packet() {
    let mut rig = Rig::up();
    rig.publish_sized("a", 1_000, QoS::AtLeastOnce, 1).unwrap();
    rig.write(10);
    rig.timer(at(60));
    assert_eq!(
        rig.session.next_deadline(),
        None,
        "the ping waits; whether bytes go is told"
    );
    rig.now = at(70);
    rig.write(100);
    assert_eq!(rig.session.next_deadline(), None);
    rig.now = at(75);
    let rest = 1_008 - 110;
    assert_eq!(rig.write(rest).len(), rest);
    assert_eq!(rig.session.next_deadline(), Some(at(105)));
    rig.now = at(80);
    assert_eq!(rig.write(usize::MAX), b"\xc0\x00");
    assert_eq!(
        rig.session.next_deadline(),
        Some(at(110)),
        "taken bytes prolong it"
    );
}

#[test]
fn ping_after_works_beside_and_without_a_keep_alive() {
    for keep_alive in [0, 60] {
        let ping_after = Some(Duration::from_secs(7));
        let mut rig = Rig::up_with(
            SessionOptions {
                ping_after,
                ..Default::default()
            },
            keep_alive,
        );
        assert_eq!(tick(&mut rig), b"\xc0\x00");
        assert_eq!(rig.now, at(7));
    }
}

#[test]
fn one_ping_after_a_long_sleep() {
    let mut rig = Rig::up();
    rig.timer(at(100_000));
    rig.timer(at(100_000));
    assert_eq!(rig.write(usize::MAX), b"\xc0\x00");
    assert_eq!(rig.session.next_deadline(), Some(at(100_030)));
    rig.receive(b"\xd0\x00").unwrap();
    assert_eq!(rig.session.next_deadline(), Some(at(100_060)));
}

#[test]
fn a_log_that_had_grown_is_given_back_in_a_quiet_time() {
    let mut rig = Rig::up();
    rig.publish_sized("a", 100_000, QoS::AtLeastOnce, 1)
        .unwrap();
    rig.write(usize::MAX);
    assert_eq!(
        rig.session.next_deadline(),
        Some(at(60)),
        "not while it is in use"
    );
    rig.now = at(1);
    rig.receive(b"\x40\x02\x00\x01").unwrap();
    assert_eq!(rig.session.next_deadline(), Some(at(11)));
    // Still busy then, so it is looked at again later.
    rig.now = at(9);
    rig.receive(b"\x30\x03\x00\x01a").unwrap();
    rig.timer(at(11));
    assert_eq!(rig.session.next_deadline(), Some(at(19)));
    assert!(rig.log.capacity() > LOG_BYTES_MIN);
    rig.timer(at(19));
    assert_eq!(rig.log.capacity(), 0);
    assert_eq!(rig.session.next_deadline(), Some(at(60)));
}

#[test]
fn a_log_in_use_is_not_looked_at_again_before_it_is_empty() {
    let mut rig = Rig::up_with(SessionOptions::default(), 0);
    rig.publish_sized("a", 100_000, QoS::AtMostOnce, 0).unwrap();
    rig.write(usize::MAX);
    assert_eq!(rig.session.next_deadline(), Some(at(10)));
    rig.publish("b", QoS::AtLeastOnce, 1).unwrap();
    rig.write(usize::MAX);
    rig.timer(at(10));
    assert_eq!(
        rig.session.next_deadline(),
        None,
        "an idle session is not woken for it"
    );
    assert!(rig.log.capacity() > LOG_BYTES_MIN);
    rig.receive(b"\x40\x02\x00\x01").unwrap();
    assert_eq!(rig.session.next_deadline(), Some(at(20)));
    rig.timer(at(20));
    assert_eq!(rig.log.capacity(), 0);
}

#[test]
fn every_cause_has_a_text() {
    use crate::packet::ConnectReason;
    use crate::tests::{expect_all, variants};
    variants!(CloseCause {
        Disconnected,
        DisconnectTimeout,
        Rested,
        ConnAckTimeout,
        PingTimeout,
        WriteStall,
        Refused,
    });
    let mut shown = std::collections::BTreeSet::new();
    for (cause, text) in [
        (CloseCause::Disconnected, "disconnected on request"),
        (
            CloseCause::DisconnectTimeout,
            "expected DISCONNECT to leave in time, found it unsent",
        ),
        (CloseCause::Rested, "disconnected for having nothing to do"),
        (
            CloseCause::ConnAckTimeout,
            "expected CONNACK in time, found none",
        ),
        (
            CloseCause::PingTimeout,
            "expected an answer to PINGREQ in time, found no byte received",
        ),
        (
            CloseCause::WriteStall,
            "expected the transport to take bytes, found it stalled for too long",
        ),
        (
            CloseCause::Refused(ConnectReason::NotAuthorized),
            "expected the connection to be accepted, found it refused: not authorized",
        ),
    ] {
        assert_eq!(cause.to_string(), text);
        shown.insert(variant(&cause));
    }
    expect_all(VARIANTS, &shown);
}
