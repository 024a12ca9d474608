//! Received QoS 2 messages of a session with a record.

use super::recorded::{begin, reconnect, up};
use super::*;

fn released(number: u16, known: bool) -> Result<Effect, PeerError> {
    Ok(Effect::Released {
        packet_id: id(number),
        known,
    })
}

/// Receives the QoS 2 message "a" with this identifier and returns its token, if it is delivered.
fn message(rig: &mut Rig, number: u8) -> Option<AckToken> {
    match rig.receive(&[0x34, 5, 0, 1, b'a', 0, number]) {
        Ok(Effect::Deliver { ack }) => ack,
        other => {
            assert_eq!(other, Ok(Effect::Nothing));
            None
        }
    }
}

/// A session that has received and answered message 7, whose PUBREL came.
fn releasing() -> Rig {
    let mut rig = up();
    let token = message(&mut rig, 7).unwrap();
    assert!(rig.session.acknowledge(token));
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07");
    assert_eq!(rig.receive(b"\x62\x02\x00\x07"), released(7, true));
    assert_eq!(rig.write(usize::MAX), b"");
    rig
}

#[test]
fn pubcomp_waits_for_its_record_and_the_identifier_is_remembered_until_then() {
    let mut rig = releasing();
    assert_eq!(message(&mut rig, 7), None);
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07");
    assert_eq!(
        rig.receive(b"\x62\x02\x00\x07"),
        Ok(Effect::Nothing),
        "asked before"
    );
    assert_eq!(rig.session.inbound_remembered(), 1);
    rig.session.complete(id(7));
    assert_eq!(rig.session.inbound_remembered(), 0);
    assert_eq!(rig.write(usize::MAX), b"\x70\x02\x00\x07");
    // Another message now, which no late word forgets.
    assert!(message(&mut rig, 7).is_some());
    rig.session.complete(id(7));
    assert_eq!(rig.write(usize::MAX), b"");
    assert_eq!(message(&mut rig, 7), None);
    assert_eq!(rig.session.counters().unknown_releases, 0);
}

#[test]
fn pubcomp_leaves_on_the_connection_on_which_it_was_asked_for() {
    // The record is done while there is no connection, or on one where nobody asked yet.
    for connected in [false, true] {
        let mut rig = releasing();
        rig.session.connection_lost();
        if !connected {
            rig.session.complete(id(7));
        }
        begin(&mut rig, true);
        if connected {
            rig.session.complete(id(7));
        }
        assert_eq!(rig.session.inbound_remembered(), 0);
        assert_eq!(rig.write(usize::MAX), b"");
        assert_eq!(rig.receive(b"\x62\x02\x00\x07"), released(7, false));
        assert_eq!(rig.receive(b"\x62\x02\x00\x07"), Ok(Effect::Nothing));
        assert_eq!(rig.session.counters().unknown_releases, 1);
        rig.session.complete(id(7));
        assert_eq!(rig.write(usize::MAX), b"\x70\x02\x00\x07");
    }
    // The server asks again before the record is done, which was asked for once.
    let mut rig = releasing();
    reconnect(&mut rig, true);
    assert_eq!(rig.receive(b"\x62\x02\x00\x07"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"");
    rig.session.complete(id(7));
    assert_eq!(rig.write(usize::MAX), b"\x70\x02\x00\x07");
}

#[test]
fn a_lost_session_forgets_what_was_received_and_what_was_to_be_forgotten() {
    let mut rig = releasing();
    reconnect(&mut rig, false);
    assert_eq!(rig.session.inbound_remembered(), 0);
    let token = message(&mut rig, 7).unwrap();
    rig.session.complete(id(7));
    assert_eq!(rig.write(usize::MAX), b"");
    assert_eq!(rig.session.inbound_remembered(), 1);
    assert!(rig.session.acknowledge(token));
}

#[test]
fn a_pubrel_before_pubrec_does_not_block_what_comes_after() {
    let mut rig = up();
    let first = message(&mut rig, 1).unwrap();
    let second = message(&mut rig, 2).unwrap();
    assert_eq!(rig.receive(b"\x62\x02\x00\x01"), released(1, true));
    assert!(!rig.session.acknowledge(first), "nobody waits for it");
    rig.session.acknowledge(second);
    rig.session.complete(id(1));
    let wire = rig.write(usize::MAX);
    assert_eq!(wire, b"\x50\x02\x00\x01\x50\x02\x00\x02\x70\x02\x00\x01");
}
