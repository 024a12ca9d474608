//! Received messages and their acknowledgements.

use super::*;

/// Receives a QoS 1 message with this identifier and returns its token.
fn message(rig: &mut Rig, number: u16) -> AckToken {
    let [high, low] = number.to_be_bytes();
    match rig.receive(&[0x32, 5, 0, 1, b'a', high, low]) {
        Ok(Effect::Deliver { ack: Some(token) }) => token,
        other => panic!("expected a message, found {other:?}"),
    }
}

fn pubacks(numbers: &[u16]) -> Vec<u8> {
    let acks = numbers.iter().map(|n| [0x40, 2, (n >> 8) as u8, *n as u8]);
    acks.flatten().collect()
}

#[test]
fn acks_leave_in_order_of_arrival_however_handlers_finish() {
    let mut rig = Rig::up();
    let tokens: Vec<_> = [7, 300, 5, 6].map(|n| message(&mut rig, n)).into();
    assert!(rig.session.acknowledge(tokens[2]));
    assert!(rig.session.acknowledge(tokens[1]));
    assert_eq!(rig.write(usize::MAX), b"");
    assert!(rig.session.acknowledge(tokens[0]));
    assert_eq!(rig.write(usize::MAX), pubacks(&[7, 300, 5]));
    assert!(!rig.session.acknowledge(tokens[0]), "used before");
    assert!(rig.session.acknowledge(tokens[3]));
    assert_eq!(rig.write(usize::MAX), pubacks(&[6]));
    assert_eq!(rig.session.inbound_held(), 0);
}

#[test]
fn messages_that_are_finished_are_acknowledged_together_and_before_disconnect() {
    let mut rig = Rig::up();
    let tokens: Vec<_> = [7, 8, 9].map(|n| message(&mut rig, n)).into();
    assert!(rig.session.finish(tokens[1]));
    assert!(rig.session.finish(tokens[0]));
    assert_eq!(rig.write(usize::MAX), b"");
    rig.session.flush_acks();
    assert_eq!(rig.write(usize::MAX), pubacks(&[7, 8]));
    assert!(!rig.session.finish(tokens[0]), "used before");
    assert!(rig.session.finish(tokens[2]));
    rig.session.disconnect(rig.now, &rig.log);
    let last = [&pubacks(&[9])[..], b"\xe0\0"].concat();
    assert_eq!(rig.write(usize::MAX), last);
}

#[test]
fn qos_0_messages_need_no_acknowledgement() {
    let mut rig = Rig::up();
    assert_eq!(
        rig.receive(b"\x30\x03\x00\x01a"),
        Ok(Effect::Deliver { ack: None })
    );
    assert_eq!(rig.write(usize::MAX), b"");
    assert_eq!(rig.session.inbound_held(), 0);
}

#[test]
fn the_same_identifier_twice_is_two_messages() {
    let mut rig = Rig::up();
    let first = message(&mut rig, 9);
    // Sent again before it was acknowledged, and then used anew.
    let second = message(&mut rig, 9);
    rig.session.acknowledge(second);
    rig.session.acknowledge(first);
    assert_eq!(rig.write(usize::MAX), pubacks(&[9, 9]));
    let third = message(&mut rig, 9);
    rig.session.acknowledge(third);
    assert_eq!(rig.write(usize::MAX), pubacks(&[9]));
}

#[test]
fn inbound_identifiers_are_independent_of_ours() {
    let mut rig = Rig::up();
    assert_eq!(
        rig.publish("a", QoS::AtLeastOnce, 1).unwrap().packet_id,
        Some(id(1))
    );
    rig.write(usize::MAX);
    let token = message(&mut rig, 1);
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(completed(1)));
    rig.session.acknowledge(token);
    assert_eq!(rig.write(usize::MAX), pubacks(&[1]));
}

#[test]
fn a_server_that_reads_nothing_cannot_fill_our_memory_with_acks() {
    let mut rig = Rig::up();
    let mut owed = 0;
    for _ in 0..10_000 {
        if rig.session.inbound_room() == 0 {
            break;
        }
        let token = message(&mut rig, 1);
        rig.session.acknowledge(token);
        owed += 1;
    }
    // A full control buffer, and a full window behind it.
    assert_eq!((owed, rig.session.inbound_held()), (2_048, 1_024));
    // All of them leave once the server reads.
    assert_eq!(rig.write(usize::MAX), pubacks(&[1; 2_048]));
    assert_eq!(rig.session.inbound_room(), 1_024);
}

#[test]
fn acks_go_on_while_leaving_until_disconnect_is_next() {
    let mut rig = Rig::up();
    let first = message(&mut rig, 1);
    let second = message(&mut rig, 2);
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session.disconnect(at(0), &rig.log);
    assert!(matches!(rig.session.phase(), Phase::Draining { .. }));
    assert!(rig.session.acknowledge(first));
    assert_eq!(rig.write(4), pubacks(&[1]));
    let third = message(&mut rig, 3);
    assert_eq!(rig.write(5), b"\x30\x03\x00\x01a");
    // DISCONNECT is the last packet.
    rig.session.acknowledge(second);
    rig.session.acknowledge(third);
    assert_eq!(
        rig.receive(b"\x32\x05\x00\x01a\x00\x04"),
        Ok(Effect::Nothing)
    );
    assert_eq!(rig.write(usize::MAX), b"\xe0\x00");
    rig.check_closed(CloseCause::Disconnected);
}

#[test]
fn a_small_window_leaves_room_for_other_answers() {
    let options = SessionOptions {
        inbound_window: 1,
        ..Default::default()
    };
    let mut rig = Rig::up_with(options, 60);
    let token = message(&mut rig, 1);
    rig.session.acknowledge(token);
    rig.receive(b"\x62\x02\x00\x07").unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x40\x02\x00\x01\x70\x02\x00\x07");
}
