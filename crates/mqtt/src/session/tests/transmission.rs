//! Which bytes leave, in which order, and what is kept.

use super::*;
use crate::outbound_log::LOG_BYTES_MIN;

#[test]
fn connect_is_first_and_the_log_waits_for_connack() {
    let mut rig = Rig::idle(SessionOptions::default());
    let admitted = rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    assert_eq!(rig.write(usize::MAX), b"", "nothing before CONNECT");
    rig.session
        .connect(&connect_packet(true, 60), at(0))
        .unwrap();
    rig.session
        .subscribe(&[("f", QoS::AtLeastOnce)], TicketKey(2), &mut rig.log)
        .unwrap();
    assert_eq!(
        rig.write(usize::MAX),
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02id"
    );
    assert_eq!(rig.session.sent(), LogOffset(0));
    rig.receive(b"\x20\x02\x00\x00").unwrap();
    assert_eq!(
        rig.write(usize::MAX),
        b"\x32\x05\x00\x01a\x00\x01\x82\x06\x00\x02\x00\x01f\x01"
    );
    assert_eq!(
        (admitted.end, rig.session.sent()),
        (LogOffset(7), LogOffset(15))
    );
}

#[test]
fn every_packet_is_encoded_as_the_standard_says() {
    let mut rig = Rig::up();
    rig.publish_sized("a/b", 2, QoS::AtMostOnce, 0).unwrap();
    let message = Outgoing {
        topic: "r",
        payload: b"",
        qos: QoS::AtLeastOnce,
        retain: true,
    };
    rig.session
        .publish(message, TicketKey(1), &mut rig.log)
        .unwrap();
    let filters = [("f/#", QoS::AtMostOnce), ("+", QoS::AtLeastOnce)];
    rig.session
        .subscribe(&filters, TicketKey(2), &mut rig.log)
        .unwrap();
    rig.session
        .unsubscribe(&["f/#", "+"], TicketKey(3), &mut rig.log)
        .unwrap();
    for packet in [
        &b"\x30\x07\x00\x03a/b.."[..],
        b"\x33\x05\x00\x01r\x00\x01",
        b"\x82\x0c\x00\x02\x00\x03f/#\x00\x00\x01+\x01",
        b"\xa2\x0a\x00\x03\x00\x03f/#\x00\x01+",
    ] {
        assert_eq!(rig.write(packet.len()), packet);
    }
    rig.session.ping(at(0), &rig.log).unwrap();
    assert_eq!(rig.write(usize::MAX), b"\xc0\x00");
}

#[test]
fn control_packets_go_first_but_never_into_a_packet() {
    // "aa" is a log packet of 8 bytes, "b" one of 7, cut anywhere between.
    for cut in 0..=15 {
        let mut rig = Rig::up();
        rig.publish("aa", QoS::AtLeastOnce, 1).unwrap();
        rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
        let mut wire = rig.write(cut);
        assert_eq!(wire.len(), cut);
        rig.session.ping(at(0), &rig.log).unwrap();
        wire.extend(rig.write(usize::MAX));
        let ping_at = match cut {
            0 => 0,
            1..=8 => 8,
            _ => 15,
        };
        let mut expected = b"\x32\x06\x00\x02aa\x00\x01\x32\x05\x00\x01b\x00\x02".to_vec();
        expected.splice(ping_at..ping_at, *b"\xc0\x00");
        assert_eq!(wire, expected, "cut at {cut}");
    }
}

#[test]
fn a_half_sent_control_packet_is_finished_first() {
    let mut rig = Rig::up();
    rig.session.ping(at(0), &rig.log).unwrap();
    assert_eq!(rig.write(1), b"\xc0");
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    let deliver = rig.receive(b"\x32\x05\x00\x01a\x00\x01");
    let Ok(Effect::Deliver { ack: Some(token) }) = deliver else {
        panic!("{deliver:?}")
    };
    rig.session.acknowledge(token);
    assert_eq!(
        rig.write(usize::MAX),
        b"\x00\x40\x02\x00\x01\x30\x03\x00\x01a"
    );
}

#[test]
fn a_control_packet_that_comes_between_chunk_and_advance_changes_nothing() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    assert_eq!(rig.session.next_chunk(&rig.log), b"\x30\x03\x00\x01a");
    rig.session.ping(at(0), &rig.log).unwrap();
    rig.session.advance(5, at(0), &mut rig.log);
    assert_eq!(rig.session.sent(), rig.log.tail());
    assert_eq!(rig.write(usize::MAX), b"\xc0\x00");
}

#[test]
#[should_panic(expected = "more bytes taken than given")]
fn more_than_was_offered_cannot_be_taken() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    let len = rig.session.next_chunk(&rig.log).len();
    rig.session.advance(len + 1, at(0), &mut rig.log);
}

#[test]
fn disconnect_leaves_after_what_was_published_and_before_nothing() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    assert_eq!(rig.write(2), b"\x32\x05");
    rig.session.disconnect(at(0), &rig.log);
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.publish("b", QoS::AtMostOnce, 0), Err(Rejected::Ended));
    assert_eq!(rig.session.ping(at(0), &rig.log), Err(Rejected::Ended));
    assert_eq!(rig.write(6), b"\x00\x01a\x00\x01\xe0");
    // What the server acknowledges until the end counts.
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(completed(1)));
    assert_eq!(rig.session.next_output(), None);
    assert_eq!(rig.write(usize::MAX), b"\x00");
    rig.check_closed(CloseCause::Disconnected);
}

#[test]
fn disconnect_before_connack_leaves_the_log_unsent() {
    let mut rig = Rig::idle(SessionOptions::default());
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    rig.session
        .connect(&connect_packet(true, 60), at(0))
        .unwrap();
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.receive(b"\x20\x02\x00\x00"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX)[CONNECT_LEN..], *b"\xe0\x00");
    assert_eq!(rig.log.len(), 7);
    rig.check_closed(CloseCause::Disconnected);

    let mut rig = Rig::idle(SessionOptions::default());
    rig.session.disconnect(at(0), &rig.log);
    rig.check_closed(CloseCause::Disconnected);
}

#[test]
fn a_packet_is_kept_until_its_acknowledgement_and_no_longer() {
    let mut rig = Rig::up();
    let admitted = rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    assert_eq!((admitted.packet_id, admitted.end), (None, LogOffset(5)));
    rig.publish("b", QoS::AtLeastOnce, 1).unwrap();
    rig.publish("c", QoS::AtMostOnce, 0).unwrap();
    assert_eq!(rig.log.len(), 17);
    rig.write(5);
    assert_eq!(
        rig.log.head(),
        LogOffset(0),
        "how far packets were sent is found out when needed"
    );
    rig.write(usize::MAX);
    assert_eq!(
        rig.log.from(rig.log.head()),
        b"\x32\x05\x00\x01b\x00\x01\x30\x03\x00\x01c"
    );
    rig.receive(b"\x40\x02\x00\x01").unwrap();
    assert!(rig.log.is_empty());
}

#[test]
fn an_ack_of_what_was_not_sent_is_of_an_earlier_use_of_the_identifier() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    rig.session
        .subscribe(&[("a", QoS::AtMostOnce)], TicketKey(2), &mut rig.log)
        .unwrap();
    rig.write(6);
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(Effect::Nothing));
    assert_eq!(rig.receive(b"\x90\x03\x00\x02\x00"), Ok(Effect::Nothing));
    assert_eq!(rig.session.counters().unknown_acks, 2);
    rig.write(usize::MAX);
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(completed(1)));
    assert_eq!(
        rig.receive(b"\x90\x03\x00\x02\x00"),
        Ok(Effect::SubAcked { key: TicketKey(2) })
    );
}

#[test]
fn one_lost_ack_and_much_qos_0_do_not_make_the_log_grow() {
    let mut rig = Rig::up();
    rig.publish_sized("stuck", 200, QoS::AtLeastOnce, 1)
        .unwrap();
    for _ in 0..2_000 {
        rig.publish_sized("a", 200, QoS::AtMostOnce, 0).unwrap();
        rig.write(usize::MAX);
    }
    assert!(rig.log.capacity() <= LOG_BYTES_MIN);
    // The kept packet is the same and can still be acknowledged.
    let kept = rig.log.from(rig.log.head());
    let stuck = decode(kept, VERSION, MAX_PACKET_LEN).unwrap().unwrap().0;
    assert!(matches!(stuck, PacketRef::Publish(publish) if publish.topic() == "stuck"));
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(completed(1)));
    assert!(rig.log.is_empty());
}

#[test]
fn publishes_are_held_while_acks_are_on_their_way() {
    let mut rig = Rig::up();
    let publish = |rig: &mut Rig| rig.publish("a", QoS::AtLeastOnce, 0).unwrap();
    assert!(!rig.session.may_hold(&rig.log), "nothing to send");
    publish(&mut rig);
    assert!(!rig.session.may_hold(&rig.log), "nothing outstanding");
    publish(&mut rig);
    publish(&mut rig);
    rig.write(usize::MAX);
    publish(&mut rig);
    assert!(rig.session.may_hold(&rig.log), "3 outstanding, 1 to send");
    publish(&mut rig);
    assert!(rig.session.may_hold(&rig.log), "3 outstanding, 2 to send");
    publish(&mut rig);
    assert!(!rig.session.may_hold(&rig.log), "3 outstanding, 3 to send");
}

#[test]
fn anything_urgent_ends_the_hold() {
    let holding = || {
        let mut rig = Rig::up();
        for _ in 0..10 {
            rig.publish("a", QoS::AtLeastOnce, 0).unwrap();
        }
        rig.write(usize::MAX);
        rig.publish("a", QoS::AtLeastOnce, 0).unwrap();
        assert!(rig.session.may_hold(&rig.log));
        rig
    };
    let urgent: [fn(&mut Rig); 6] = [
        |rig| {
            rig.publish("a", QoS::AtMostOnce, 0).unwrap();
        },
        |rig| {
            rig.publish_sized("a", HOLD_BYTES_MAX, QoS::AtLeastOnce, 0)
                .unwrap();
        },
        |rig| {
            rig.session
                .subscribe(&[("a", QoS::AtMostOnce)], TicketKey(0), &mut rig.log)
                .unwrap();
        },
        |rig| {
            rig.session
                .unsubscribe(&["a"], TicketKey(0), &mut rig.log)
                .unwrap();
        },
        |rig| rig.session.ping(at(0), &rig.log).unwrap(),
        |rig| rig.session.disconnect(at(0), &rig.log),
    ];
    for (n, urgent) in urgent.into_iter().enumerate() {
        let mut rig = holding();
        urgent(&mut rig);
        assert!(!rig.session.may_hold(&rig.log), "case {n}");
    }
    // Once the urgent packet has left, the next publish may be held again.
    let mut rig = holding();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.write(usize::MAX);
    rig.publish("a", QoS::AtLeastOnce, 0).unwrap();
    assert!(rig.session.may_hold(&rig.log));
}
