//! What becomes of the messages of a session with a record when the server loses it.

use super::recorded::{handed_back, options, publish, publish_reserved, reconnect, release};
use super::*;

const fn given_up(key: u32) -> Output {
    Output::SessionLost {
        key: TicketKey(key),
        fate: Fate::GivenUp,
    }
}

/// In the order of publishing: "a" (1) released last, "b" (QoS 1), "c" (3) released first, "d" (4)
/// with its PUBREC, "e" (5) sent, "f" (6) half sent, "g" (QoS 1) and "h" (8) not sent; between them
/// QoS 0, and a reserved identifier.
fn everything(policy: OnSessionLoss) -> Rig {
    let mut rig = Rig::up_with(options(policy), 60);
    publish(&mut rig, "a", 1);
    rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
    for (topic, key) in [("c", 3), ("d", 4), ("e", 5)] {
        publish(&mut rig, topic, key);
    }
    rig.write(usize::MAX);
    for number in [3, 1, 4] {
        rig.receive(&[0x50, 2, 0, number]).unwrap();
    }
    assert!(release(&mut rig, 3, 3) && release(&mut rig, 1, 1));
    rig.write(usize::MAX);
    publish(&mut rig, "f", 6);
    rig.write(3);
    rig.publish("z", QoS::AtMostOnce, 0).unwrap();
    rig.publish("g", QoS::AtLeastOnce, 7).unwrap();
    publish(&mut rig, "h", 8);
    assert_eq!(rig.session.reserve(TicketKey(9)), Ok(id(9)));
    rig
}

#[test]
fn a_lost_session_hands_everything_back_in_the_order_of_publishing() {
    for again in 0..3 {
        let mut rig = everything(OnSessionLoss::Resend);
        for _ in 0..again {
            assert_eq!(reconnect(&mut rig, true), []);
        }
        let outputs = reconnect(&mut rig, false);
        let expected: Vec<_> = (1..=8).map(|key| handed_back(key, key <= 5)).collect();
        assert_eq!(outputs, expected);
        assert_eq!(rig.session.unacknowledged(), 0);
        assert_eq!(rig.session.window_room(), 999);
        assert_eq!(rig.write(usize::MAX), b"\x30\x03\x00\x01z");
        assert!(rig.log.is_empty());
        // Late words about them mean nothing.
        assert!(!release(&mut rig, 4, 4));
        publish_reserved(&mut rig, "i", id(9), 9).unwrap();
        assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01i\x00\x09");
        assert_eq!(publish(&mut rig, "a", 1), id(10));
        assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01a\x00\x0a");
        rig.receive(b"\x50\x02\x00\x0a").unwrap();
        assert!(release(&mut rig, 10, 1));
        rig.write(usize::MAX);
        assert_eq!(rig.receive(b"\x70\x02\x00\x0a"), Ok(completed(1)));
    }
}

#[test]
fn a_lost_session_gives_up_what_may_have_been_sent_where_that_is_the_policy() {
    let mut rig = everything(OnSessionLoss::Finish);
    let expected = [
        given_up(1),
        handed_back(2, true),
        given_up(3),
        given_up(4),
        given_up(5),
        handed_back(6, false),
        handed_back(7, false),
        handed_back(8, false),
    ];
    assert_eq!(reconnect(&mut rig, false), expected);
    assert_eq!(rig.write(usize::MAX), b"\x30\x03\x00\x01z");
    assert!(rig.log.is_empty());
}
