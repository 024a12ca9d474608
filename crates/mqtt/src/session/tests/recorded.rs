//! A session with a record, packet for packet: nothing leaves before the caller says so.

use super::*;
use crate::outbound_log::LOG_BYTES_MIN;

const KEY: TicketKey = TicketKey(1);

pub(super) fn options(on_session_loss: OnSessionLoss) -> SessionOptions {
    SessionOptions {
        on_session_loss,
        recorded: true,
        ..Default::default()
    }
}

pub(super) fn up() -> Rig {
    Rig::up_with(options(OnSessionLoss::Resend), 60)
}

/// Ends the connection and begins the next; returns what was said of it.
pub(super) fn reconnect(rig: &mut Rig, session_present: bool) -> Vec<Output> {
    rig.session.connection_lost();
    begin(rig, session_present)
}

/// Begins the next connection after one that is over.
pub(super) fn begin(rig: &mut Rig, session_present: bool) -> Vec<Output> {
    rig.session.attach(&mut rig.log).unwrap();
    let connect = connect_packet(false, 60);
    rig.session.connect(&connect, rig.now).unwrap();
    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
    rig.receive(&[0x20, 2, session_present.into(), 0]).unwrap();
    let mut outputs: Vec<_> = std::iter::from_fn(|| rig.session.next_output()).collect();
    assert_eq!(outputs.remove(0), Output::Connected { session_present });
    outputs
}

pub(super) const fn handed_back(key: u32, maybe_sent: bool) -> Output {
    Output::SessionLost {
        key: TicketKey(key),
        fate: Fate::HandedBack { maybe_sent },
    }
}

pub(super) const fn exactly_once(topic: &str) -> Outgoing<'_> {
    Outgoing {
        topic,
        payload: b"",
        qos: QoS::ExactlyOnce,
        retain: false,
    }
}

/// Publishes a QoS 2 message in both steps.
pub(super) fn publish(rig: &mut Rig, topic: &str, key: u32) -> PacketId {
    let packet_id = rig.session.reserve(TicketKey(key)).unwrap();
    publish_reserved(rig, topic, packet_id, key).unwrap();
    packet_id
}

pub(super) fn publish_reserved(
    rig: &mut Rig,
    topic: &str,
    packet_id: PacketId,
    key: u32,
) -> Result<Admitted, Rejected> {
    let (message, key) = (exactly_once(topic), TicketKey(key));
    rig.session
        .publish_reserved(message, packet_id, key, &mut rig.log)
}

pub(super) fn release(rig: &mut Rig, number: u16, key: u32) -> bool {
    let key = TicketKey(key);
    rig.session.release(id(number), key, rig.now, &mut rig.log)
}

fn recorded(number: u16, key: u32) -> Result<Effect, PeerError> {
    Ok(Effect::Recorded {
        key: TicketKey(key),
        packet_id: id(number),
    })
}

/// A message "a" under identifier and key 1 whose PUBREC came.
fn recording(policy: OnSessionLoss) -> Rig {
    let mut rig = Rig::up_with(options(policy), 60);
    publish(&mut rig, "a", 1);
    assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01a\x00\x01");
    assert_eq!(rig.receive(b"\x50\x02\x00\x01"), recorded(1, 1));
    rig
}

#[test]
fn each_step_of_a_message_waits_for_its_record() {
    let mut rig = up();
    let packet_id = rig.session.reserve(KEY).unwrap();
    assert_eq!(packet_id, id(1));
    assert_eq!(rig.session.unacknowledged(), 0);
    assert_eq!(rig.session.window_room(), 999);
    assert_eq!(rig.write(usize::MAX), b"");
    // What needs no record goes by.
    rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x32\x05\x00\x01b\x00\x02");
    let admitted = publish_reserved(&mut rig, "a", packet_id, 1).unwrap();
    assert_eq!(
        (admitted.packet_id, admitted.end),
        (Some(id(1)), rig.log.tail())
    );
    assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01a\x00\x01");
    assert_eq!(rig.session.unacknowledged(), 2);

    assert_eq!(rig.receive(b"\x50\x02\x00\x01"), recorded(1, 1));
    assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(Effect::Nothing));
    assert_eq!(
        rig.receive(b"\x70\x02\x00\x01"),
        Ok(Effect::Nothing),
        "early"
    );
    assert_eq!(rig.write(usize::MAX), b"");
    assert!(!release(&mut rig, 1, 7) && !release(&mut rig, 2, 2) && !release(&mut rig, 3, 1));
    assert!(release(&mut rig, 1, 1) && !release(&mut rig, 1, 1));
    assert!(!rig.session.may_hold(&rig.log));
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01");
    // From here on, as without a record.
    assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01");
    assert_eq!(rig.receive(b"\x40\x02\x00\x02"), Ok(completed(2)));
    assert_eq!(rig.log.len(), 4, "no message is kept beside its PUBREL");
    assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(completed(1)));
    assert!(rig.log.is_empty());
    assert_eq!(rig.session.window_room(), 1_000);
    assert_eq!(rig.session.counters().unknown_acks, 1);
}

#[test]
fn a_reservation_takes_a_place_in_the_window_and_outlives_everything() {
    let options = SessionOptions {
        window: 2,
        ..options(OnSessionLoss::Resend)
    };
    let mut rig = Rig::up_with(options, 60);
    let full = Rejected::NoRoom(NoRoom::Window { window: 2 });
    let first = rig.session.reserve(KEY).unwrap();
    let second = rig.session.reserve(TicketKey(2)).unwrap();
    assert_eq!((first, second), (id(1), id(2)));
    assert_eq!(rig.session.reserve(TicketKey(3)), Err(full));
    assert_eq!(rig.publish("a", QoS::AtLeastOnce, 3), Err(full));
    rig.session.unreserve(second);
    rig.session.unreserve(second);
    assert_eq!(rig.session.reserve(TicketKey(3)), Ok(id(3)));
    for present in [true, false] {
        assert_eq!(reconnect(&mut rig, present), []);
        assert_eq!(rig.session.window_room(), 0);
    }
    assert_eq!(rig.write(usize::MAX), b"");
    publish_reserved(&mut rig, "a", first, 1).unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01a\x00\x01");
    rig.session.unreserve(first);
    assert_eq!(rig.session.unacknowledged(), 1, "it is in flight");
}

#[test]
fn what_cannot_be_published_stays_reserved() {
    let mut rig = up();
    rig.log = OutboundLog::new(LOG_BYTES_MIN);
    let packet_id = rig.session.reserve(KEY).unwrap();
    let not_reserved = |number| {
        let packet_id = id(number);
        Err(Rejected::Argument(ArgumentError::NotReserved { packet_id }))
    };
    assert_eq!(
        publish_reserved(&mut rig, "a", packet_id, 2),
        not_reserved(1)
    );
    assert_eq!(publish_reserved(&mut rig, "a", id(2), 1), not_reserved(2));
    assert!(publish_reserved(&mut rig, "a/#", packet_id, 1).is_err());
    let message = Outgoing {
        qos: QoS::AtLeastOnce,
        ..exactly_once("a")
    };
    let found = QoS::AtLeastOnce;
    assert_eq!(
        rig.session
            .publish_reserved(message, packet_id, KEY, &mut rig.log),
        Err(ArgumentError::QoS { found }.into())
    );
    rig.publish_sized("b", LOG_BYTES_MIN - 15, QoS::AtMostOnce, 0)
        .unwrap();
    let refused = publish_reserved(&mut rig, "a", packet_id, 1);
    assert!(matches!(refused, Err(Rejected::NoRoom(NoRoom::Log(_)))));
    rig.write(usize::MAX);
    publish_reserved(&mut rig, "a", packet_id, 1).unwrap();
    assert_eq!(
        publish_reserved(&mut rig, "a", packet_id, 1),
        not_reserved(1)
    );
    let second = rig.session.reserve(TicketKey(2)).unwrap();
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.session.reserve(TicketKey(3)), Err(Rejected::Ended));
    assert_eq!(
        publish_reserved(&mut rig, "a", second, 2),
        Err(Rejected::Ended)
    );
    rig.write(usize::MAX);
    assert_eq!(rig.session.phase(), Phase::Closed);
    rig.session.attach(&mut rig.log).unwrap();
    publish_reserved(&mut rig, "a", second, 2).unwrap();
}

#[test]
fn acks_for_what_is_reserved_alone_are_counted_and_release_nothing() {
    let mut rig = up();
    let packet_id = rig.session.reserve(KEY).unwrap();
    for ack in [0x40, 0x50, 0x70, 0xb0] {
        assert_eq!(rig.receive(&[ack, 2, 0, 1]), Ok(Effect::Nothing));
    }
    assert_eq!(rig.session.counters().unknown_acks, 4);
    // Not sent yet: PUBREL would let the server take it for two.
    publish_reserved(&mut rig, "a", packet_id, 1).unwrap();
    rig.write(3);
    assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"\x01a\x00\x01");
    // Of an identifier that means nothing here, as without a record.
    assert_eq!(rig.receive(b"\x50\x02\x00\x09"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x09");
}

#[test]
fn pubrels_leave_in_the_order_of_the_releases() {
    let mut rig = up();
    for key in 1..=3 {
        publish(&mut rig, "a", key);
    }
    rig.write(usize::MAX);
    for number in [2, 3, 1] {
        assert_eq!(
            rig.receive(&[0x50, 2, 0, number as u8]),
            recorded(number, number.into())
        );
    }
    for number in [3, 1, 2] {
        assert!(release(&mut rig, number, number.into()));
    }
    let expected = b"\x62\x02\x00\x03\x62\x02\x00\x01\x62\x02\x00\x02";
    assert_eq!(rig.write(usize::MAX), expected);
    assert_eq!(reconnect(&mut rig, true), []);
    assert_eq!(rig.write(usize::MAX), expected);
}

#[test]
fn without_a_release_the_message_is_sent_again_and_its_record_not_asked_for_twice() {
    let mut rig = recording(OnSessionLoss::Resend);
    for _ in 0..2 {
        assert_eq!(reconnect(&mut rig, true), []);
        assert_eq!(rig.write(usize::MAX), b"\x3c\x05\x00\x01a\x00\x01");
        assert_eq!(rig.receive(b"\x50\x02\x00\x01"), Ok(Effect::Nothing));
        assert_eq!(rig.write(usize::MAX), b"");
    }
    assert!(release(&mut rig, 1, 1));
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01");
    assert_eq!(rig.receive(b"\x70\x02\x00\x01"), Ok(completed(1)));
    assert!(rig.log.is_empty());
}

/// The points between the end of a connection and the next CONNACK.
const GAPS: [&str; 4] = ["before", "lost", "attached", "connecting"];

#[test]
fn a_release_between_connections_sends_pubrel_instead_of_the_message() {
    // Alone, behind a message that stays in flight, and before one.
    for (gap, place) in GAPS
        .iter()
        .flat_map(|gap| (0..3).map(move |place| (*gap, place)))
    {
        let mut rig = up();
        let (before, after) = (place == 1, place == 2);
        if before {
            rig.publish("x", QoS::AtLeastOnce, 9).unwrap();
        }
        let packet_id = publish(&mut rig, "a", 1);
        if after {
            rig.publish("y", QoS::AtLeastOnce, 8).unwrap();
        }
        rig.write(usize::MAX);
        let number = packet_id.get();
        let pubrec = [0x50, 2, 0, number as u8];
        assert_eq!(rig.receive(&pubrec), recorded(number, 1));
        rig.publish("z", QoS::AtMostOnce, 0).unwrap();
        for at in GAPS {
            match at {
                "lost" => rig.session.connection_lost(),
                "attached" => rig.session.attach(&mut rig.log).unwrap(),
                "connecting" => {
                    let connect = connect_packet(false, 60);
                    rig.session.connect(&connect, rig.now).unwrap();
                    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
                }
                _ => {}
            }
            if at == gap {
                assert!(release(&mut rig, number, 1), "{gap}");
            }
        }
        rig.receive(b"\x20\x02\x01\x00").unwrap();
        let mut expected = Vec::new();
        if before {
            expected.extend(b"\x3a\x05\x00\x01x\x00\x01");
        }
        if after {
            expected.extend(b"\x3a\x05\x00\x01y\x00\x02");
        }
        expected.extend(b"\x30\x03\x00\x01z");
        expected.extend([0x62, 2, 0, number as u8]);
        assert_eq!(rig.write(usize::MAX), expected, "{gap}, {place}");
        let pubcomp = [0x70, 2, 0, number as u8];
        assert_eq!(rig.receive(&pubcomp), Ok(completed(1)));
        assert_eq!(rig.log.is_empty(), !before && !after);
    }
}

#[test]
fn a_release_while_the_message_is_being_sent_again_follows_it() {
    // The message is 7 bytes long and lies behind another.
    for taken in 0..=14 {
        for again in [true, false] {
            let mut rig = up();
            rig.publish("x", QoS::AtLeastOnce, 9).unwrap();
            publish(&mut rig, "a", 1);
            rig.write(usize::MAX);
            assert_eq!(rig.receive(b"\x50\x02\x00\x02"), recorded(2, 1));
            reconnect(&mut rig, true);
            let mut wire = rig.write(taken);
            assert!(release(&mut rig, 2, 1));
            if again {
                wire.extend(rig.write(usize::MAX));
                let message: &[u8] = if taken > 7 {
                    b"\x3c\x05\x00\x01a\x00\x02"
                } else {
                    b""
                };
                let expected = [b"\x3a\x05\x00\x01x\x00\x01", message, b"\x62\x02\x00\x02"];
                assert_eq!(wire, expected.concat(), "{taken}");
            }
            // On later connections the message is gone, and with the session everything is.
            reconnect(&mut rig, true);
            assert_eq!(
                rig.write(usize::MAX),
                b"\x3a\x05\x00\x01x\x00\x01\x62\x02\x00\x02",
                "{taken}"
            );
            assert_eq!(
                reconnect(&mut rig, false),
                [handed_back(9, true), handed_back(1, true)]
            );
            assert_eq!(rig.write(usize::MAX), b"");
            assert!(rig.log.is_empty());
        }
    }
}

#[test]
fn a_pubrec_before_the_message_is_sent_again_is_taken() {
    let mut rig = up();
    rig.publish("x", QoS::AtLeastOnce, 9).unwrap();
    publish(&mut rig, "a", 1);
    rig.write(usize::MAX);
    reconnect(&mut rig, true);
    assert_eq!(rig.receive(b"\x50\x02\x00\x02"), recorded(2, 1));
    assert!(release(&mut rig, 2, 1));
    assert_eq!(
        rig.write(usize::MAX),
        b"\x3a\x05\x00\x01x\x00\x01\x62\x02\x00\x02"
    );
    assert_eq!(rig.session.counters(), Counters::default());
}

#[test]
fn pubrels_have_room_in_a_log_that_is_full() {
    let options = SessionOptions {
        window: 5_000,
        ..options(OnSessionLoss::Resend)
    };
    let mut rig = Rig::up_with(options, 60);
    rig.log = OutboundLog::new(LOG_BYTES_MIN);
    let mut published = 0;
    loop {
        let key = published + 1;
        let packet_id = rig.session.reserve(TicketKey(key)).unwrap();
        if publish_reserved(&mut rig, "a", packet_id, key).is_err() {
            break;
        }
        published = key;
    }
    while rig.publish("a", QoS::AtMostOnce, 0).is_ok() {}
    assert!(rig.log.len() + 4 * published as usize > LOG_BYTES_MIN - 8);
    rig.write(usize::MAX);
    let mut expected = Vec::new();
    for key in 1..=published {
        let [high, low] = (key as u16).to_be_bytes();
        assert_eq!(
            rig.receive(&[0x50, 2, high, low]),
            recorded(key as u16, key)
        );
        expected.extend([0x62, 2, high, low]);
    }
    for key in 1..=published {
        assert!(release(&mut rig, key as u16, key));
    }
    assert_eq!(rig.log.capacity(), LOG_BYTES_MIN);
    assert_eq!(rig.write(usize::MAX), expected);
}

#[test]
fn writes_are_not_held_for_what_only_the_caller_can_bring_on() {
    let mut rig = recording(OnSessionLoss::Resend);
    for key in 2..10 {
        rig.session.reserve(TicketKey(key)).unwrap();
    }
    rig.publish("b", QoS::AtLeastOnce, 20).unwrap();
    assert!(!rig.session.may_hold(&rig.log));
    rig.write(usize::MAX);
    rig.publish("b", QoS::AtLeastOnce, 21).unwrap();
    rig.write(usize::MAX);
    rig.publish("b", QoS::AtLeastOnce, 22).unwrap();
    assert!(
        rig.session.may_hold(&rig.log),
        "two are awaited, one is not sent"
    );
}

#[test]
fn a_release_while_leaving_is_for_the_next_connection() {
    let mut rig = recording(OnSessionLoss::Resend);
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.write(1), b"\xe0");
    assert!(release(&mut rig, 1, 1));
    assert_eq!(rig.write(usize::MAX), b"\x00");
    rig.check_closed(CloseCause::Disconnected);
    begin(&mut rig, true);
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x01");
    // What is released while the rest is sent leaves before DISCONNECT.
    let mut rig = recording(OnSessionLoss::Resend);
    rig.publish("z", QoS::AtMostOnce, 0).unwrap();
    rig.session.disconnect(at(0), &rig.log);
    assert!(release(&mut rig, 1, 1));
    assert_eq!(
        rig.write(usize::MAX),
        b"\x30\x03\x00\x01z\x62\x02\x00\x01\xe0\x00"
    );
}
