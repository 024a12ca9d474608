//! A new process goes on with the session of an earlier one.

use super::recorded::{
    begin, exactly_once, handed_back, options, publish_reserved, reconnect, release,
};
use super::*;

fn idle(on_session_loss: OnSessionLoss) -> Rig {
    Rig::idle(options(on_session_loss))
}

fn restore(rig: &mut Rig, topic: &str, qos: QoS, number: u16) -> Result<Admitted, Rejected> {
    let message = Outgoing {
        qos,
        ..exactly_once(topic)
    };
    let key = TicketKey(number.into());
    rig.session
        .restore_publish(message, id(number), key, &mut rig.log)
}

fn restore_release(rig: &mut Rig, number: u16) -> Result<Admitted, Rejected> {
    let key = TicketKey(number.into());
    rig.session.restore_release(id(number), key, &mut rig.log)
}

/// "a" (QoS 1, id 17), PUBREL 40000, "b" (QoS 2, id 1), and 5 received.
fn restored(policy: OnSessionLoss) -> Rig {
    let mut rig = idle(policy);
    let admitted = restore(&mut rig, "a", QoS::AtLeastOnce, 17).unwrap();
    assert_eq!(
        (admitted.packet_id, admitted.end),
        (Some(id(17)), rig.log.tail())
    );
    let admitted = restore_release(&mut rig, 40_000).unwrap();
    assert_eq!(
        (admitted.packet_id, admitted.end),
        (Some(id(40_000)), rig.log.tail())
    );
    restore(&mut rig, "b", QoS::ExactlyOnce, 1).unwrap();
    rig.session.restore_received(id(5));
    rig.session.restore_received(id(5));
    rig
}

const RESTORED: &[u8] = b"\x3a\x05\x00\x01a\x00\x11\x62\x02\x9c\x40\x3c\x05\x00\x01b\x00\x01";

#[test]
fn what_is_restored_is_of_a_lost_session_where_another_server_may_have_it() {
    for is_kept in [false, true] {
        let mut rig = restored(OnSessionLoss::Resend);
        rig.session.set_elsewhere(true);
        rig.session
            .connect(&connect_packet(false, 60), rig.now)
            .unwrap();
        rig.write(usize::MAX);
        rig.receive(&[0x20, 2, is_kept.into(), 0]).unwrap();
        let session_present = false;
        let outputs: Vec<_> = std::iter::from_fn(|| rig.session.next_output()).collect();
        assert_eq!(outputs[0], Output::Connected { session_present });
        let is_lost = |output: &&Output| matches!(output, Output::SessionLost { .. });
        assert_eq!(outputs.iter().filter(is_lost).count(), 3, "{outputs:?}");
        // Its identifiers say nothing about what was handled.
        let packet = b"\x34\x05\x00\x01r\x00\x05";
        assert!(!matches!(rig.receive(packet), Ok(Effect::Nothing)));
        assert!(!rig.write(usize::MAX).starts_with(RESTORED));
    }
}

#[test]
fn what_is_restored_goes_first_with_dup_and_comes_to_its_end() {
    // The first attempts may come to nothing.
    for attempts in 0..3 {
        let mut rig = restored(OnSessionLoss::Resend);
        assert_eq!(rig.session.unacknowledged(), 3);
        rig.publish("c", QoS::AtLeastOnce, 2).unwrap();
        for _ in 0..attempts {
            let connect = connect_packet(false, 60);
            rig.session.connect(&connect, rig.now).unwrap();
            rig.write(5);
            rig.session.connection_lost();
            rig.session.attach(&mut rig.log).unwrap();
        }
        assert_eq!(begin(&mut rig, true), []);
        let mut expected = RESTORED.to_vec();
        expected.extend(b"\x32\x05\x00\x01c\x00\x02");
        assert_eq!(rig.write(usize::MAX), expected, "{attempts}");
        let twice = Effect::Completed {
            key: TicketKey(17),
            maybe_twice: true,
        };
        assert_eq!(rig.receive(b"\x40\x02\x00\x11"), Ok(twice));
        assert_eq!(rig.receive(b"\x40\x02\x00\x02"), Ok(completed(2)));
        assert_eq!(rig.receive(b"\x70\x02\x9c\x40"), Ok(completed(40_000)));
        let recorded = Effect::Recorded {
            key: TicketKey(1),
            packet_id: id(1),
        };
        assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(recorded));
        let (session, log) = (&mut rig.session, &mut rig.log);
        assert!(session.release(id(1), TicketKey(1), at(0), log));
        assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01");
        assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(completed(1)));
        assert!(rig.log.is_empty());
        assert_eq!(rig.session.counters(), Counters::default());
    }
}

#[test]
fn what_is_restored_is_sent_again_after_every_cut() {
    for cut in 0..=RESTORED.len() {
        let mut rig = restored(OnSessionLoss::Resend);
        begin(&mut rig, true);
        assert_eq!(rig.write(cut).len(), cut);
        assert_eq!(reconnect(&mut rig, true), []);
        assert_eq!(rig.write(usize::MAX), RESTORED, "{cut}");
    }
}

#[test]
fn a_received_message_of_an_earlier_process_is_answered_and_not_delivered() {
    let mut rig = restored(OnSessionLoss::Resend);
    begin(&mut rig, true);
    rig.write(usize::MAX);
    for _ in 0..2 {
        let again = rig.receive(b"\x3c\x05\x00\x01a\x00\x05");
        assert_eq!(again, Ok(Effect::Nothing));
        assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x05");
    }
    let released = Effect::Released {
        packet_id: id(5),
        known: true,
    };
    assert_eq!(rig.receive(b"\x62\x02\x00\x05"), Ok(released));
    rig.session.complete(id(5));
    assert_eq!(rig.write(usize::MAX), b"\x70\x02\x00\x05");
    let new = rig.receive(b"\x34\x05\x00\x01a\x00\x05");
    assert!(matches!(new, Ok(Effect::Deliver { ack: Some(_) })));
}

#[test]
fn restoring_does_not_touch_a_message_of_this_process() {
    let mut rig = Rig::up_with(options(OnSessionLoss::Resend), 60);
    let Ok(Effect::Deliver { ack: Some(token) }) = rig.receive(b"\x34\x05\x00\x01a\x00\x05") else {
        panic!("a new message");
    };
    rig.session.restore_received(id(5));
    assert!(rig.session.acknowledge(token));
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x05");
}

#[test]
fn what_the_server_may_hold_from_before_is_cleared_beside_what_is_restored() {
    for is_empty in [true, false] {
        let mut rig = if is_empty {
            idle(OnSessionLoss::Resend)
        } else {
            restored(OnSessionLoss::Resend)
        };
        begin(&mut rig, true);
        let expected = if is_empty { b"" } else { RESTORED };
        assert_eq!(rig.write(usize::MAX), expected);
        let stale = Err(NoRoom::Stale.into());
        assert_eq!(rig.session.reserve(TicketKey(2)), stale);
        let cleared = rig.write(usize::MAX);
        assert_eq!(cleared.len(), 4 * 16);
        let number = u16::from_be_bytes([cleared[2], cleared[3]]);
        assert_eq!(rig.session.reserve(TicketKey(2)), stale);
        let [high, low] = number.to_be_bytes();
        assert_eq!(rig.receive(&[0x70, 2, high, low]), Ok(Effect::Nothing));
        assert_eq!(rig.session.reserve(TicketKey(2)), Ok(id(number)));
    }
}

#[test]
fn an_early_pubrec_is_taken_for_what_is_restored_and_no_other() {
    let mut rig = restored(OnSessionLoss::Resend);
    begin(&mut rig, true);
    let recorded = Effect::Recorded {
        key: TicketKey(1),
        packet_id: id(1),
    };
    assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(recorded));
    assert!(release(&mut rig, 1, 1));
    // At QoS 1 the identifier says nothing of what the server holds under it.
    assert_eq!(rig.receive(b"\x50\x02\x00\x11"), Ok(Effect::Nothing));
    assert_eq!(
        rig.write(usize::MAX),
        b"\x62\x02\x00\x11\x3a\x05\x00\x01a\x00\x11\x62\x02\x9c\x40\x62\x02\x00\x01"
    );
}

#[test]
fn what_has_no_room_yet_is_sent_again_later_under_its_identifier() {
    let mut rig = restored(OnSessionLoss::Resend);
    let (session, log) = (&mut rig.session, &mut rig.log);
    for (qos, number) in [(QoS::ExactlyOnce, 2), (QoS::AtLeastOnce, 3)] {
        let key = TicketKey(number.into());
        session.restore_reserved(qos, id(number), key, log).unwrap();
        let packet_id = id(number);
        let in_use = Err(ArgumentError::IdentifierInUse { packet_id }.into());
        assert_eq!(session.restore_reserved(qos, packet_id, key, log), in_use);
    }
    begin(&mut rig, true);
    assert_eq!(rig.write(usize::MAX), RESTORED);
    // PUBREL would release a message that is sent again behind it.
    assert_eq!(rig.receive(b"\x50\x02\x00\x02"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"");
    publish_reserved(&mut rig, "c", id(2), 2).unwrap();
    let message = Outgoing {
        qos: QoS::AtLeastOnce,
        ..exactly_once("d")
    };
    let (session, log) = (&mut rig.session, &mut rig.log);
    session
        .publish_reserved(message, id(3), TicketKey(3), log)
        .unwrap();
    assert_eq!(
        rig.write(usize::MAX),
        b"\x3c\x05\x00\x01c\x00\x02\x3a\x05\x00\x01d\x00\x03"
    );
    let recorded = Effect::Recorded {
        key: TicketKey(2),
        packet_id: id(2),
    };
    assert_eq!(rig.receive(b"\x50\x02\x00\x02"), Ok(recorded));
    let twice = Effect::Completed {
        key: TicketKey(3),
        maybe_twice: true,
    };
    assert_eq!(rig.receive(b"\x40\x02\x00\x03"), Ok(twice));
    assert_eq!(
        reconnect(&mut rig, false).last(),
        Some(&handed_back(2, true))
    );
}

#[test]
fn of_a_message_that_is_lost_the_server_lets_go() {
    let mut rig = idle(OnSessionLoss::Resend);
    let (session, log) = (&mut rig.session, &mut rig.log);
    let (qos, key) = (QoS::ExactlyOnce, TicketKey(2));
    session.restore_reserved(qos, id(2), key, log).unwrap();
    begin(&mut rig, true);
    let (session, log) = (&mut rig.session, &mut rig.log);
    assert_eq!(session.release_reserved(id(2), TicketKey(3), log), None);
    let end = session.release_reserved(id(2), key, log);
    assert_eq!(end, Some(log.tail()));
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x02");
    assert_eq!(rig.receive(b"\x70\x02\x00\x02"), Ok(completed(2)));
    assert!(rig.log.is_empty());
}

#[test]
fn without_the_session_what_is_restored_is_handed_back() {
    let mut rig = restored(OnSessionLoss::Resend);
    rig.publish("c", QoS::AtMostOnce, 0).unwrap();
    assert_eq!(
        begin(&mut rig, false),
        [17, 40_000, 1].map(|key| handed_back(key, true))
    );
    assert_eq!(rig.write(usize::MAX), b"\x30\x03\x00\x01c");
    assert!(rig.log.is_empty());
    assert_eq!(rig.session.inbound_remembered(), 0);

    let mut rig = restored(OnSessionLoss::Finish);
    let given_up = |key| Output::SessionLost {
        key: TicketKey(key),
        fate: Fate::GivenUp,
    };
    assert_eq!(
        begin(&mut rig, false),
        [handed_back(17, true), given_up(40_000), given_up(1)]
    );
}

#[test]
fn without_a_record_a_restored_message_becomes_a_new_one() {
    let mut rig = Rig::idle(SessionOptions::default());
    restore(&mut rig, "a", QoS::AtLeastOnce, 17).unwrap();
    restore(&mut rig, "b", QoS::ExactlyOnce, 3).unwrap();
    restore_release(&mut rig, 9).unwrap();
    assert_eq!(rig.session.reserve(TicketKey(4)), Ok(id(10)));
    let told = |key, fate| Output::SessionLost {
        key: TicketKey(key),
        fate,
    };
    assert_eq!(
        begin(&mut rig, false),
        [
            told(17, Fate::SentAgain),
            told(3, Fate::SentAgain),
            told(9, Fate::GivenUp)
        ]
    );
    assert_eq!(
        rig.write(usize::MAX),
        b"\x32\x05\x00\x01a\x00\x0b\x34\x05\x00\x01b\x00\x0c"
    );
    // The reserved identifier is still its own.
    assert_eq!(rig.session.window_room(), 997);
    let (session, log) = (&mut rig.session, &mut rig.log);
    session
        .publish_reserved(exactly_once("c"), id(10), TicketKey(4), log)
        .unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01c\x00\x0a");
}

#[test]
fn identifiers_are_one_space_however_they_are_restored() {
    let mut rig = idle(OnSessionLoss::Resend);
    // All of them would share one slot of a small table.
    let numbers: Vec<u16> = (0..100).map(|n| 1 + 37 * n % 100 * 512).collect();
    for number in &numbers {
        restore_release(&mut rig, *number).unwrap();
    }
    for number in &numbers {
        let in_use = Err(ArgumentError::IdentifierInUse {
            packet_id: id(*number),
        }
        .into());
        assert_eq!(restore_release(&mut rig, *number), in_use);
        assert_eq!(restore(&mut rig, "a", QoS::AtLeastOnce, *number), in_use);
    }
    let reserved: Vec<_> = (0..800)
        .map(|key| rig.session.reserve(TicketKey(key)).unwrap().get())
        .collect();
    let mut all: Vec<_> = numbers.iter().chain(&reserved).copied().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 900);
    begin(&mut rig, true);
    let expected: Vec<u8> = numbers
        .iter()
        .flat_map(|number| {
            let [high, low] = number.to_be_bytes();
            [0x62, 2, high, low]
        })
        .collect();
    assert_eq!(rig.write(usize::MAX), expected);
}

#[test]
fn more_than_the_window_can_be_restored_up_to_the_identifiers() {
    let options = SessionOptions {
        window: 2,
        ..options(OnSessionLoss::Resend)
    };
    let mut rig = Rig::idle(options);
    for number in (1..=WINDOW_MAX).rev() {
        restore_release(&mut rig, number).unwrap();
    }
    let full = Err(NoRoom::Window { window: WINDOW_MAX }.into());
    assert_eq!(restore_release(&mut rig, u16::MAX), full);
    assert_eq!(rig.session.window_room(), 0);
    begin(&mut rig, true);
    rig.write(usize::MAX);
    // There are identifiers for requests.
    let filters = [("f", QoS::AtLeastOnce)];
    for key in 0..REQUESTS_MAX as u32 {
        rig.session
            .subscribe(&filters, TicketKey(key), &mut rig.log)
            .unwrap();
    }
    assert_eq!(rig.write(usize::MAX).len(), 8 * REQUESTS_MAX);
    // The window is open again when fewer than that are left.
    for number in 2..=WINDOW_MAX {
        assert!(rig.session.reserve(TicketKey(0)).is_err());
        let [high, low] = number.to_be_bytes();
        rig.receive(&[0x70, 2, high, low]).unwrap();
    }
    assert_eq!(rig.session.window_room(), 1);
}

#[test]
fn restoring_is_for_a_session_that_was_not_connected_and_for_what_was_in_flight() {
    let mut rig = idle(OnSessionLoss::Resend);
    let found = QoS::AtMostOnce;
    let refused = Err(ArgumentError::QoS { found }.into());
    assert_eq!(restore(&mut rig, "a", QoS::AtMostOnce, 1), refused);
    assert!(restore(&mut rig, "a/#", QoS::AtLeastOnce, 1).is_err());
    rig.log = OutboundLog::new(0);
    let bound = rig.log.bound();
    let payload = vec![0; bound];
    let message = Outgoing {
        payload: &payload,
        ..exactly_once("a")
    };
    let refused = rig
        .session
        .restore_publish(message, id(1), TicketKey(1), &mut rig.log);
    let Err(Rejected::Argument(ArgumentError::TooLarge { .. })) = refused else {
        panic!("{refused:?}");
    };
    let half = Outgoing {
        payload: &payload[bound / 2..],
        ..message
    };
    let (session, log) = (&mut rig.session, &mut rig.log);
    session
        .restore_publish(half, id(1), TicketKey(1), log)
        .unwrap();
    let refused = session.restore_publish(half, id(2), TicketKey(2), log);
    assert!(matches!(refused, Err(Rejected::NoRoom(NoRoom::Log(_)))));
    assert_eq!(rig.session.unacknowledged(), 1);

    let started = Err(Rejected::Started);
    let connect = connect_packet(false, 60);
    rig.session.connect(&connect, at(0)).unwrap();
    assert_eq!(restore_release(&mut rig, 3), started);
    rig.session.connection_lost();
    assert_eq!(restore_release(&mut rig, 3), Err(Rejected::Ended));
    rig.session.attach(&mut rig.log).unwrap();
    assert_eq!(restore_release(&mut rig, 3), started);
    assert_eq!(restore(&mut rig, "a", QoS::AtLeastOnce, 3), started);
}
