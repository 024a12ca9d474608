//! The rate at which messages leave.

use super::*;
use std::time::Duration;

fn paced(per_second: u32, burst: u32) -> Rig {
    let options = SessionOptions {
        publish_rate: Some(PublishRate::per_second(per_second, burst)),
        ..Default::default()
    };
    Rig::up_with(options, 60)
}

/// Paces, and returns what may leave then.
fn leave(rig: &mut Rig) -> Vec<u8> {
    rig.session.pace(rig.now, &rig.log);
    rig.write(usize::MAX)
}

const A: &[u8] = b"\x30\x03\x00\x01a";

#[test]
fn messages_leave_at_the_rate_in_their_order_and_the_rest_is_told_once() {
    let mut rig = paced(2, 3);
    for _ in 0..5 {
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    }
    rig.publish("b", QoS::AtLeastOnce, 1).unwrap();
    assert_eq!(
        rig.write(usize::MAX),
        b"",
        "nothing leaves before it is paced"
    );
    assert_eq!(leave(&mut rig), A.repeat(3));
    assert_eq!(rig.session.next_output(), Some(Output::Throttled));
    let half = Duration::from_millis(500);
    for turn in 1..=2 {
        let next = rig.session.next_deadline();
        assert_eq!(next, Some(at(0) + half * turn));
        rig.timer(next.unwrap());
        assert_eq!(leave(&mut rig), A);
        assert_eq!(leave(&mut rig), b"");
    }
    // What needs no token passes: acknowledgements, pings.
    rig.receive(b"\x62\x02\x00\x07").unwrap();
    rig.session.ping(rig.now, &rig.log).unwrap();
    assert_eq!(leave(&mut rig), b"\x70\x02\x00\x07\xc0\x00");
    rig.timer(at(0) + half * 3);
    assert_eq!(leave(&mut rig), b"\x32\x05\x00\x01b\x00\x01");
    assert_eq!(rig.session.next_output(), None);
    // Nothing was held back meanwhile.
    for _ in 0..2 {
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    }
    assert_eq!(leave(&mut rig), b"");
    assert_eq!(rig.session.next_output(), Some(Output::Throttled));
}

#[test]
fn requests_wait_for_the_messages_before_them_alone() {
    let mut rig = paced(1, 1);
    rig.session
        .subscribe(&[("x", QoS::AtMostOnce)], TicketKey(1), &mut rig.log)
        .unwrap();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session
        .unsubscribe(&["x"], TicketKey(2), &mut rig.log)
        .unwrap();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    let subscribe = b"\x82\x06\x00\x01\x00\x01x\x00";
    let unsubscribe = b"\xa2\x05\x00\x02\x00\x01x";
    let expected = [&subscribe[..], A, unsubscribe].concat();
    assert_eq!(leave(&mut rig), expected);
    rig.timer(at(1));
    assert_eq!(leave(&mut rig), A);
}

#[test]
fn what_is_no_message_goes_ahead_of_those_that_are_held_back_and_once() {
    let mut rig = paced(1, 1);
    for _ in 0..3 {
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    }
    let (log, session) = (&mut rig.log, &mut rig.session);
    session
        .subscribe(&[("x", QoS::AtMostOnce)], TicketKey(1), log)
        .unwrap();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session
        .unsubscribe(&["x"], TicketKey(2), &mut rig.log)
        .unwrap();
    let subscribe = b"\x82\x06\x00\x01\x00\x01x\x00";
    let unsubscribe = b"\xa2\x05\x00\x02\x00\x01x";
    let first = [&subscribe[..], unsubscribe, A].concat();
    assert_eq!(leave(&mut rig), first);
    let effect = rig.receive(b"\x90\x03\x00\x01\x00").unwrap();
    assert_eq!(effect, Effect::SubAcked { key: TicketKey(1) });
    for second in 1..=3 {
        rig.timer(at(second));
        assert_eq!(leave(&mut rig), A);
        assert_eq!(leave(&mut rig), b"", "nothing is sent twice");
    }
    while rig.session.next_output().is_some() {}
    // What was not answered is lost with the connection, and not sent from the log again.
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session
        .subscribe(&[("y", QoS::AtMostOnce)], TicketKey(3), &mut rig.log)
        .unwrap();
    assert_eq!(leave(&mut rig), b"\x82\x06\x00\x03\x00\x01y\x00");
    rig.session.connection_lost();
    rig.session.attach(&mut rig.log).unwrap();
    let lost = [2, 3].map(|key| Output::RequestLost {
        key: TicketKey(key),
    });
    let told: Vec<_> = std::iter::from_fn(|| rig.session.next_output()).collect();
    assert!(told.ends_with(&lost), "{told:?}");
    rig.session
        .connect(&connect_packet(false, 60), rig.now)
        .unwrap();
    rig.write(usize::MAX);
    rig.receive(b"\x20\x02\x01\x00").unwrap();
    rig.timer(at(9));
    assert_eq!(leave(&mut rig), A);
    assert_eq!(leave(&mut rig), b"");
}

#[test]
fn a_message_of_qos_2_comes_to_its_end_while_others_are_held_back() {
    const PUBREL: &[u8] = b"\x62\x02\x00\x01";
    for is_answered in [true, false] {
        let mut rig = paced(1, 1);
        rig.publish("b", QoS::ExactlyOnce, 1).unwrap();
        for _ in 0..2 {
            rig.publish("a", QoS::AtMostOnce, 0).unwrap();
        }
        assert_eq!(leave(&mut rig), b"\x34\x05\x00\x01b\x00\x01");
        rig.receive(b"\x50\x02\x00\x01").unwrap();
        assert_eq!(leave(&mut rig), PUBREL);
        if is_answered {
            let effect = rig.receive(b"\x70\x02\x00\x01").unwrap();
            let (key, maybe_twice) = (TicketKey(1), false);
            assert_eq!(effect, Effect::Completed { key, maybe_twice });
        }
        rig.timer(at(1));
        assert_eq!(leave(&mut rig), A);
        rig.session.connection_lost();
        rig.session.attach(&mut rig.log).unwrap();
        rig.session
            .connect(&connect_packet(false, 60), rig.now)
            .unwrap();
        rig.write(usize::MAX);
        rig.receive(b"\x20\x02\x01\x00").unwrap();
        // On the next connection it is sent again if it was not answered, and only then.
        let mut sent = leave(&mut rig);
        sent.extend(leave(&mut rig));
        let expected = if is_answered { b"" } else { PUBREL };
        assert_eq!(sent, expected);
        rig.timer(at(9));
        assert_eq!(leave(&mut rig), A);
        assert_eq!(leave(&mut rig), b"");
    }
}

#[test]
fn what_is_sent_again_counts_and_a_later_connection_gets_no_new_burst() {
    let mut rig = paced(1, 2);
    for key in 1..=2 {
        rig.publish("a", QoS::AtLeastOnce, key).unwrap();
    }
    assert_eq!(leave(&mut rig).len(), 14);
    rig.session.connection_lost();
    rig.session.attach(&mut rig.log).unwrap();
    rig.session
        .connect(&connect_packet(false, 60), rig.now)
        .unwrap();
    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
    rig.receive(b"\x20\x02\x01\x00").unwrap();
    while rig.session.next_output().is_some() {}
    assert_eq!(leave(&mut rig), b"");
    rig.timer(at(1));
    assert_eq!(leave(&mut rig), b"\x3a\x05\x00\x01a\x00\x01");
    // The next one is acknowledged late, and is not to be sent any more.
    rig.timer(at(2));
    assert_eq!(leave(&mut rig), b"\x3a\x05\x00\x01a\x00\x02");
}

#[test]
fn the_rate_is_changed_and_lifted_while_messages_leave() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    // Half of it is on its way: the rest of it belongs to no rate.
    assert_eq!(rig.write(2), A[..2]);
    let slow = PublishRate::per_second(1, 1);
    rig.session.set_publish_rate(Some(slow), &rig.log);
    for _ in 0..3 {
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    }
    assert_eq!(leave(&mut rig), [&A[2..], A].concat());
    assert_eq!(rig.session.next_output(), Some(Output::Throttled));
    assert_eq!(leave(&mut rig), b"");
    rig.session.set_publish_rate(None, &rig.log);
    assert_eq!(leave(&mut rig), A.repeat(2));
    // On the next connection it is as it was set last.
    rig.session.set_publish_rate(Some(slow), &rig.log);
    rig.session.connection_lost();
    rig.session.attach(&mut rig.log).unwrap();
    rig.session
        .connect(&connect_packet(false, 60), rig.now)
        .unwrap();
    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
    rig.receive(b"\x20\x02\x01\x00").unwrap();
    for _ in 0..2 {
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    }
    assert_eq!(leave(&mut rig), A);
}

#[test]
fn disconnect_leaves_in_time_though_the_rate_holds_messages_back() {
    let mut rig = paced(1, 1);
    for _ in 0..100 {
        rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    }
    rig.session.disconnect(rig.now, &rig.log);
    assert_eq!(leave(&mut rig), A);
    rig.timer(at(1));
    assert_eq!(leave(&mut rig), A);
    rig.timer(at(2));
    assert_eq!(leave(&mut rig), b"\xe0\x00");
    assert_eq!(rig.session.next_output(), Some(Output::Throttled));
    rig.check_closed(CloseCause::Disconnected);
}

#[test]
fn a_packet_as_long_as_the_server_takes_is_taken_and_one_byte_more_is_not() {
    let options = SessionOptions {
        packet_bytes_max: 100,
        ..Default::default()
    };
    let mut rig = Rig::up_with(options, 60);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let header = if qos == QoS::AtMostOnce { 5 } else { 7 };
        rig.publish_sized("a", 100 - header, qos, 1).unwrap();
        let refused = rig.publish_sized("a", 101 - header, qos, 2);
        let (found, bound) = (101, 100);
        let too_large = ArgumentError::TooLarge { found, bound };
        assert_eq!(refused, Err(Rejected::Argument(too_large)));
    }
    let filter = "x".repeat(100 - 7);
    let mut subscribe = |filter: &str| {
        let filters = [(filter, QoS::AtMostOnce)];
        rig.session.subscribe(&filters, TicketKey(9), &mut rig.log)
    };
    subscribe(&filter).unwrap();
    assert!(subscribe(&format!("{filter}x")).is_err());
}
