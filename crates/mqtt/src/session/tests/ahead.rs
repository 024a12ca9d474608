//! Requests that go ahead of the log.

use super::*;
use crate::session::{AHEAD_BYTES_MAX, NoRoom, REQUESTS_AHEAD_MAX, Rejected};

const ASKED: &[u8] = b"\x82\x06\x00\x02\x00\x01f\x01";

fn ask(rig: &mut Rig, key: u32) -> Result<(), Rejected> {
    let filters = [("f", QoS::AtLeastOnce)];
    let asked = rig.session.subscribe_ahead(&filters, TicketKey(key));
    asked.map(drop)
}

#[test]
fn a_request_overtakes_the_log_between_two_packets() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    assert_eq!(rig.write(3), b"\x32\x05\x00");
    ask(&mut rig, 2).unwrap();
    rig.publish("b", QoS::AtMostOnce, 0).unwrap();
    assert_eq!(rig.write(4), b"\x01a\x00\x01");
    assert_eq!(rig.write(ASKED.len()), ASKED);
    assert_eq!(rig.write(usize::MAX), b"\x30\x03\x00\x01b");
    let answered = Effect::SubAcked { key: TicketKey(2) };
    assert_eq!(rig.receive(b"\x90\x03\x00\x02\x01"), Ok(answered));
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(completed(1)));
    assert!(rig.log.is_empty());
}

#[test]
fn the_end_of_a_subscription_overtakes_the_log_as_well() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session.unsubscribe_ahead(&["f"], TicketKey(7)).unwrap();
    assert_eq!(rig.write(7), b"\xa2\x05\x00\x01\x00\x01f");
    let answered = Effect::UnsubAcked { key: TicketKey(7) };
    assert_eq!(rig.receive(b"\xb0\x02\x00\x01"), Ok(answered));
}

#[test]
fn a_request_ahead_dies_with_its_connection_sent_or_not() {
    for sent in [0, 3, usize::MAX] {
        let mut rig = Rig::up();
        // A packet half sent must not hide it.
        rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
        if sent > 0 {
            rig.write(3);
        }
        ask(&mut rig, 9).unwrap();
        rig.write(sent);
        rig.session.connection_lost();
        rig.session.attach(&mut rig.log).unwrap();
        let lost = Output::RequestLost { key: TicketKey(9) };
        assert_eq!(rig.session.next_output(), Some(lost), "sent {sent}");
        assert_eq!(rig.session.next_output(), None);
    }
}

#[test]
fn requests_ahead_are_bounded_by_number_and_bytes_and_need_a_connection() {
    let mut rig = Rig::up();
    for key in 0..REQUESTS_AHEAD_MAX {
        ask(&mut rig, key as u32).unwrap();
    }
    let bound = REQUESTS_AHEAD_MAX;
    let full = Rejected::NoRoom(NoRoom::Requests { bound });
    assert_eq!(ask(&mut rig, 99), Err(full));

    let mut rig = Rig::up();
    let long = "f".repeat(65_000);
    let filters = [(long.as_str(), QoS::AtMostOnce)];
    let ask_long = |rig: &mut Rig| rig.session.subscribe_ahead(&filters, TicketKey(0));
    ask_long(&mut rig).unwrap();
    let bound = AHEAD_BYTES_MAX;
    let full = Rejected::NoRoom(NoRoom::Control { bound });
    assert_eq!(ask_long(&mut rig), Err(full));
    rig.write(usize::MAX);
    ask_long(&mut rig).unwrap();

    rig.session.connection_lost();
    assert_eq!(ask(&mut rig, 0), Err(Rejected::Ended));
    rig.session.attach(&mut rig.log).unwrap();
    assert_eq!(ask(&mut rig, 0), Err(Rejected::NotUp));
}
