//! Identifiers under which a server may hold something from before: they are cleared first.

use std::collections::BTreeSet;

use super::recorded::{begin, options, publish_reserved, reconnect};
use super::*;

const KEY: TicketKey = TicketKey(1);

#[test]
fn an_identifier_of_an_unknown_session_is_reserved_once_the_server_has_cleared_it() {
    let mut rig = Rig::idle(options(OnSessionLoss::Resend));
    let connect = connect_packet(false, 60);
    rig.session.connect(&connect, rig.now).unwrap();
    rig.write(usize::MAX);
    rig.receive(&[0x20, 2, 1, 0]).unwrap();
    while rig.session.next_output().is_some() {}
    let stale = Err(Rejected::NoRoom(NoRoom::Stale));
    for _ in 0..2 {
        assert_eq!(rig.session.reserve(KEY), stale);
    }
    // Asked for once on a connection, some ahead.
    let asked: Vec<u8> = (1..=16).flat_map(|id| [0x62, 2, 0x80, id]).collect();
    assert_eq!(rig.write(usize::MAX), asked);
    rig.receive(&[0x70, 2, 0x80, 2]).unwrap();
    let first = rig.session.reserve(KEY).unwrap();
    assert_eq!(first.get(), 0x8002);
    assert_eq!(rig.write(usize::MAX), [0x62, 2, 0x80, 17], "the next");
    assert_eq!(rig.session.reserve(TicketKey(2)), stale);
    rig.receive(&[0x70, 2, 0x80, 1]).unwrap();
    // The next connection asks again for what was not answered.
    assert_eq!(reconnect(&mut rig, true), []);
    assert_eq!(rig.session.reserve(TicketKey(2)).unwrap().get(), 0x8001);
    assert_eq!(rig.session.reserve(TicketKey(3)), stale);
    assert_eq!(rig.write(usize::MAX)[..4], [0x62, 2, 0x80, 3]);
    publish_reserved(&mut rig, "a", first, 1).unwrap();
    assert_eq!(rig.write(usize::MAX)[0], 0x34);
}

#[test]
fn a_busy_stream_of_qos_1_uses_up_no_identifier_that_was_cleared() {
    let mut rig = Rig::idle(options(OnSessionLoss::Resend));
    begin(&mut rig, true);
    let mut refused = 0;
    let mut given = BTreeSet::new();
    // Twice around the circle.
    for turn in 0..3_300 {
        match rig.session.reserve(KEY) {
            Ok(packet_id) => {
                assert!(given.insert(packet_id), "{packet_id} again");
                rig.session.unreserve(packet_id);
            }
            Err(error) => {
                assert_eq!(error, NoRoom::Stale.into());
                refused += 1;
            }
        }
        let cleared = rig.write(usize::MAX);
        for _ in 0..40 {
            rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
        }
        for packet in rig.write(usize::MAX).chunks(7) {
            rig.receive(&[0x40, 2, packet[5], packet[6]]).unwrap();
        }
        for pubrel in cleared.chunks(4) {
            rig.receive(&[0x70, 2, pubrel[2], pubrel[3]]).unwrap();
        }
        assert!(refused <= 1 + turn / 800, "{refused} of {turn}");
    }
}
