//! QoS 2 on one connection, in both directions.

use super::*;
use crate::outbound_log::LOG_BYTES_MIN;

fn with_policy(on_session_loss: OnSessionLoss) -> Rig {
    let options = SessionOptions {
        on_session_loss,
        ..Default::default()
    };
    Rig::up_with(options, 60)
}

#[test]
fn a_message_goes_through_all_four_packets() {
    for (policy, kept) in [(OnSessionLoss::Resend, 11), (OnSessionLoss::Finish, 4)] {
        let mut rig = with_policy(policy);
        let admitted = rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
        assert_eq!(admitted.packet_id, Some(id(1)));
        assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01a\x00\x01");
        // PUBACK is of QoS 1, PUBCOMP comes too early.
        for stray in [b"\x40\x02\x00\x01", b"\x70\x02\x00\x01"] {
            assert_eq!(rig.receive(stray), Ok(Effect::Nothing));
        }
        assert_eq!(rig.session.counters().unknown_acks, 2);
        assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(Effect::Nothing));
        assert_eq!(rig.log.len(), kept, "{policy:?}");
        assert!(!rig.session.may_hold(&rig.log), "nothing outstanding");
        assert_eq!(
            rig.receive(b"\x70\x02\x00\x01"),
            Ok(Effect::Nothing),
            "not sent"
        );
        assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01");
        assert_eq!(rig.session.unacknowledged(), 1);
        assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(completed(1)));
        assert_eq!(rig.session.unacknowledged(), 0);
        assert!(rig.log.is_empty());
        assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(Effect::Nothing));
        assert_eq!(rig.session.counters().unknown_acks, 4);
    }
}

#[test]
fn pubrels_are_held_for_answers_that_are_on_their_way() {
    let mut rig = Rig::up();
    for key in 1..=4 {
        rig.publish("a", QoS::ExactlyOnce, key).unwrap();
    }
    rig.write(usize::MAX);
    for (number, is_held) in [(1, true), (2, false)] {
        rig.receive(&[0x50, 2, 0, number]).unwrap();
        assert_eq!(rig.session.may_hold(&rig.log), is_held, "{number}");
    }
    rig.write(usize::MAX);
    rig.receive(b"\x50\x02\x00\x03").unwrap();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    assert!(!rig.session.may_hold(&rig.log), "a QoS 0 message");
}

#[test]
fn pubrels_for_a_session_of_before_are_held_with_the_messages_they_go_before() {
    let mut rig = Rig::idle(SessionOptions::default());
    let connect = connect_packet(false, 60);
    rig.session.connect(&connect, rig.now).unwrap();
    rig.write(usize::MAX);
    rig.receive(&[0x20, 2, 1, 0]).unwrap();
    while rig.session.next_output().is_some() {}
    for key in 1..=3 {
        rig.publish("a", QoS::ExactlyOnce, key).unwrap();
    }
    assert!(!rig.session.may_hold(&rig.log), "nothing outstanding");
    let written = rig.write(usize::MAX);
    assert_eq!(
        written[..12],
        *b"\x62\x02\x00\x01\x62\x02\x00\x02\x62\x02\x00\x03"
    );
    assert_eq!(written.len(), 12 + 3 * 7);
    rig.publish("a", QoS::ExactlyOnce, 4).unwrap();
    assert!(rig.session.may_hold(&rig.log), "3 outstanding, 1 to send");
    // Where it is not for a message alone, it goes at once.
    rig.receive(b"\x50\x02\x12\x34").unwrap();
    assert!(
        !rig.session.may_hold(&rig.log),
        "PUBREL for an unknown PUBREC"
    );
    assert_eq!(rig.write(usize::MAX).len(), 4 + 4 + 7);
    rig.publish("a", QoS::ExactlyOnce, 5).unwrap();
    assert!(rig.session.may_hold(&rig.log), "4 outstanding, 1 to send");
}

#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    let mut rig = Rig::up();
    for key in 1..=3 {
        rig.publish("a", QoS::ExactlyOnce, key).unwrap();
    }
    rig.write(usize::MAX);
    for number in [2, 3, 1] {
        rig.receive(&[0x50, 2, 0, number]).unwrap();
    }
    assert_eq!(
        rig.write(usize::MAX),
        b"\x62\x02\x00\x02\x62\x02\x00\x03\x62\x02\x00\x01"
    );
}

#[test]
fn a_pubrec_again_is_answered_at_once() {
    for policy in [OnSessionLoss::Resend, OnSessionLoss::Finish] {
        let mut rig = with_policy(policy);
        rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
        rig.write(usize::MAX);
        rig.receive(b"\x50\x02\x00\x01").unwrap();
        rig.publish("b", QoS::AtMostOnce, 0).unwrap();
        // PUBREL is on its way: one is enough.
        rig.receive(b"\x50\x02\x00\x01").unwrap();
        assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01\x30\x03\x00\x01b");
        rig.publish("c", QoS::AtMostOnce, 0).unwrap();
        rig.receive(b"\x50\x02\x00\x01").unwrap();
        assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01\x30\x03\x00\x01c");
        assert_eq!(rig.session.counters(), Counters::default());
        assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(completed(1)));
    }
}

#[test]
fn an_unknown_pubrec_is_answered_by_pubrel() {
    let mut rig = Rig::up();
    assert_eq!(rig.receive(b"\x50\x02\x12\x34"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x12\x34");
    assert_eq!(rig.session.counters().unknown_acks, 1);
    // Its PUBCOMP belongs to nothing here.
    assert_eq!(rig.receive(b"\x70\x02\x12\x34"), Ok(Effect::Nothing));
    assert_eq!(rig.session.counters().unknown_acks, 2);
}

#[test]
fn the_window_counts_qos_1_and_2_together_until_the_last_answer() {
    let options = SessionOptions {
        window: 2,
        ..Default::default()
    };
    let mut rig = Rig::up_with(options, 60);
    rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
    rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
    let full = Err(Rejected::NoRoom(NoRoom::Window { window: 2 }));
    assert_eq!(rig.publish("c", QoS::ExactlyOnce, 3), full);
    rig.write(usize::MAX);
    rig.receive(b"\x50\x02\x00\x01").unwrap();
    rig.write(usize::MAX);
    assert_eq!(rig.publish("c", QoS::AtLeastOnce, 3), full);
    rig.receive(b"\x70\x02\x00\x01").unwrap();
    rig.publish("c", QoS::ExactlyOnce, 3).unwrap();
}

#[test]
fn pubrels_have_room_in_a_log_that_is_full() {
    for policy in [OnSessionLoss::Resend, OnSessionLoss::Finish] {
        let mut rig = with_policy(policy);
        rig.log = OutboundLog::new(LOG_BYTES_MIN);
        let mut published = 0;
        while rig
            .publish_sized("a", 100, QoS::ExactlyOnce, published)
            .is_ok()
        {
            published += 1;
        }
        while rig.publish("a", QoS::AtLeastOnce, published).is_ok() {}
        assert!(rig.log.len() + 4 * published as usize > LOG_BYTES_MIN - 120);
        rig.write(usize::MAX);
        let mut released = Vec::new();
        for number in 1..=published as u16 {
            let [high, low] = number.to_be_bytes();
            rig.receive(&[0x50, 2, high, low]).unwrap();
            released.extend([0x62, 2, high, low]);
        }
        assert_eq!(rig.log.capacity(), LOG_BYTES_MIN);
        assert_eq!(rig.write(usize::MAX), released);
    }
}

#[test]
fn answers_count_until_disconnect_has_left_and_send_nothing_behind_it() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
    rig.publish("b", QoS::ExactlyOnce, 2).unwrap();
    rig.write(usize::MAX);
    rig.receive(b"\x50\x02\x00\x01").unwrap();
    rig.write(usize::MAX);
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.write(1), b"\xe0");
    assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(completed(1)));
    // The first is taken down for the next connection; nothing is said to the others.
    for late in [
        b"\x50\x02\x00\x02",
        b"\x50\x02\x00\x09",
        b"\x62\x02\x00\x09",
    ] {
        assert_eq!(rig.receive(late), Ok(Effect::Nothing));
    }
    assert_eq!(rig.write(usize::MAX), b"\x00");
    rig.check_closed(CloseCause::Disconnected);
    assert!(rig.log.from(rig.log.head()).ends_with(b"\x62\x02\x00\x02"));
}

/// Receives a QoS 2 message with this identifier and returns its token, if it is delivered.
fn message(rig: &mut Rig, number: u8) -> Option<AckToken> {
    match rig.receive(&[0x34, 5, 0, 1, b'a', 0, number]) {
        Ok(Effect::Deliver { ack }) => ack,
        other => {
            assert_eq!(other, Ok(Effect::Nothing));
            None
        }
    }
}

#[test]
fn a_message_is_delivered_once_and_its_identifier_remembered_until_pubrel() {
    let mut rig = Rig::up();
    let token = message(&mut rig, 7).unwrap();
    assert_eq!(message(&mut rig, 7), None);
    assert_eq!(rig.write(usize::MAX), b"", "PUBREC waits for the handler");
    assert!(rig.session.acknowledge(token));
    assert!(!rig.session.acknowledge(token));
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07");
    assert_eq!(message(&mut rig, 7), None);
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07", "answered again");
    assert_eq!(rig.session.counters().repeated_messages, 2);
    assert_eq!(rig.session.inbound_remembered(), 1);
    rig.receive(b"\x62\x02\x00\x07").unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x70\x02\x00\x07");
    assert_eq!(rig.session.inbound_remembered(), 0);
    assert_eq!(rig.session.counters().unknown_releases, 0);
    // The identifier is free: this is another message.
    assert!(message(&mut rig, 7).is_some());
}

#[test]
fn pubacks_and_pubrecs_leave_in_one_order_of_arrival() {
    let mut rig = Rig::up();
    let first = message(&mut rig, 1).unwrap();
    let Ok(Effect::Deliver { ack: Some(second) }) = rig.receive(b"\x32\x05\x00\x01a\x00\x01")
    else {
        panic!("QoS 1 with the same identifier is another message");
    };
    let third = message(&mut rig, 2).unwrap();
    rig.session.acknowledge(third);
    rig.session.acknowledge(second);
    assert_eq!(rig.write(usize::MAX), b"");
    rig.session.acknowledge(first);
    assert_eq!(
        rig.write(usize::MAX),
        b"\x50\x02\x00\x01\x40\x02\x00\x01\x50\x02\x00\x02"
    );
}

#[test]
fn a_pubrel_before_pubrec_does_not_block_what_comes_after() {
    let mut rig = Rig::up();
    let first = message(&mut rig, 1).unwrap();
    let second = message(&mut rig, 2).unwrap();
    rig.receive(b"\x62\x02\x00\x01").unwrap();
    assert!(!rig.session.acknowledge(first), "nobody waits for it");
    rig.session.acknowledge(second);
    let wire = rig.write(usize::MAX);
    assert_eq!(wire, b"\x50\x02\x00\x01\x70\x02\x00\x01\x50\x02\x00\x02");
}

#[test]
fn every_pubrel_of_a_burst_is_answered() {
    let mut rig = Rig::up();
    let mut expected = Vec::new();
    for number in 1..=10_000_u16 {
        let [high, low] = number.to_be_bytes();
        rig.receive(&[0x62, 2, high, low]).unwrap();
        expected.extend([0x70, 2, high, low]);
    }
    assert_eq!(rig.write(usize::MAX), expected);
    assert_eq!(rig.session.counters().unknown_releases, 10_000);
}

#[test]
fn all_identifiers_can_be_remembered() {
    let mut rig = Rig::up();
    // In an order that is neither rising nor falling.
    for n in 0..65_535_u32 {
        let [high, low] = ((n * 1_009 % 65_535 + 1) as u16).to_be_bytes();
        let bytes = [0x34, 5, 0, 1, b'a', high, low];
        let Ok(Effect::Deliver { ack: Some(token) }) = rig.receive(&bytes) else {
            panic!("{n}");
        };
        assert_eq!(rig.receive(&bytes), Ok(Effect::Nothing));
        rig.session.acknowledge(token);
        rig.write(usize::MAX);
    }
    assert_eq!(rig.session.inbound_remembered(), 65_535);
    for n in 1..=u16::MAX {
        let [high, low] = n.to_be_bytes();
        rig.receive(&[0x62, 2, high, low]).unwrap();
        rig.write(usize::MAX);
    }
    assert_eq!(rig.session.inbound_remembered(), 0);
    assert_eq!(rig.session.counters().unknown_releases, 0);
}

#[test]
fn qos_2_can_be_subscribed_to() {
    let mut rig = Rig::up();
    rig.session
        .subscribe(&[("a", QoS::ExactlyOnce)], TicketKey(1), &mut rig.log)
        .unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x82\x06\x00\x01\x00\x01a\x02");
}
