//! One row for each rule that a server can break, and what it may do that is no fault.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::packet::{ConnectReason, PacketType};
use crate::tests::{expect_all, variants};

variants!(PeerError {
    BeforeConnect,
    FirstPacket,
    SecondConnAck,
    SessionPresentAfterCleanStart,
    ClientPacket,
    SubAckCodes,
    InboundWindow,
});

thread_local! {
    /// The faults that [`check`] was shown on this thread, which is that of one test.
    static SHOWN: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// Hands `bytes` to the session and expects this fault with this text.
#[track_caller]
fn check(mut rig: Rig, bytes: &[u8], error: PeerError, text: &str) {
    assert_eq!(rig.receive(bytes), Err(error));
    assert_eq!(error.to_string(), text);
    assert_eq!(rig.session.phase(), Phase::Closed);
    assert_eq!(rig.session.next_output(), None);
    // The connection is over, whatever else comes.
    assert_eq!(rig.receive(bytes), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"");
    assert_eq!(rig.publish("a", QoS::AtMostOnce, 0), Err(Rejected::Ended));
    SHOWN.with_borrow_mut(|shown| shown.insert(variant(&error)));
}

#[test]
fn every_fault_of_a_server_has_its_packets_and_its_text() {
    for test in [
        a_packet_before_connect,
        a_first_packet_other_than_connack,
        a_second_connack,
        a_session_present_after_a_clean_start,
        packets_that_only_clients_send,
        a_suback_with_another_number_of_codes_than_filters,
        more_unacknowledged_messages_than_are_held,
    ] {
        test();
    }
    SHOWN.with_borrow(|shown| expect_all(VARIANTS, shown));
}

fn connecting() -> Rig {
    Rig::connecting(SessionOptions::default(), 60)
}

#[test]
fn a_packet_before_connect() {
    for (bytes, found) in [
        (&b"\x20\x02\x00\x00"[..], PacketType::ConnAck),
        (b"\xd0\x00", PacketType::PingResp),
        (b"\x30\x03\x00\x01a", PacketType::Publish),
    ] {
        let text = format!("expected no packet before CONNECT was sent, found {found}");
        let error = PeerError::BeforeConnect { found };
        check(Rig::idle(SessionOptions::default()), bytes, error, &text);
    }
}

#[test]
fn a_first_packet_other_than_connack() {
    for (bytes, found) in [
        (&b"\xd0\x00"[..], PacketType::PingResp),
        (b"\x30\x03\x00\x01a", PacketType::Publish),
        (b"\x40\x02\x00\x01", PacketType::PubAck),
        (b"\x90\x03\x00\x01\x00", PacketType::SubAck),
        (b"\xb0\x02\x00\x01", PacketType::UnsubAck),
        (b"\xe0\x00", PacketType::Disconnect),
    ] {
        let text = format!("expected CONNACK as the first packet, found {found}");
        check(connecting(), bytes, PeerError::FirstPacket { found }, &text);
    }
}

#[test]
fn a_second_connack() {
    let text = "expected one CONNACK, found a second";
    check(
        Rig::up(),
        b"\x20\x02\x00\x00",
        PeerError::SecondConnAck,
        text,
    );
    check(
        Rig::up(),
        b"\x20\x02\x00\x05",
        PeerError::SecondConnAck,
        text,
    );
}

#[test]
fn a_session_present_after_a_clean_start() {
    let text = "expected session present 0 after a clean start, found 1";
    let error = PeerError::SessionPresentAfterCleanStart;
    check(connecting(), b"\x20\x02\x01\x00", error, text);
}

#[test]
fn packets_that_only_clients_send() {
    for (bytes, found) in [
        (
            &b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02id"[..],
            PacketType::Connect,
        ),
        (b"\x82\x06\x00\x01\x00\x01a\x00", PacketType::Subscribe),
        (b"\xa2\x05\x00\x01\x00\x01a", PacketType::Unsubscribe),
        (b"\xc0\x00", PacketType::PingReq),
        (b"\xe0\x00", PacketType::Disconnect),
    ] {
        let text = format!("expected a packet that servers send, found {found}");
        check(Rig::up(), bytes, PeerError::ClientPacket { found }, &text);
    }
}

#[test]
fn a_suback_with_another_number_of_codes_than_filters() {
    for (codes, found) in [
        (&b"\x90\x03\x00\x01\x00"[..], 1),
        (b"\x90\x05\x00\x01\x00\x01\x80", 3),
    ] {
        let mut rig = Rig::up();
        let filters = [("a", QoS::AtMostOnce), ("b", QoS::AtLeastOnce)];
        rig.session
            .subscribe(&filters, TicketKey(1), &mut rig.log)
            .unwrap();
        rig.write(usize::MAX);
        let error = PeerError::SubAckCodes {
            packet_id: id(1),
            expected: 2,
            found,
        };
        let text = format!("expected 2 return codes in the SUBACK of packet 1, found {found}");
        check(rig, codes, error, &text);
    }
}

#[test]
fn more_unacknowledged_messages_than_are_held() {
    let mut rig = Rig::up_with(
        SessionOptions {
            inbound_window: 3,
            ..Default::default()
        },
        60,
    );
    for _ in 0..3 {
        assert!(rig.session.inbound_room() > 0);
        rig.receive(b"\x32\x05\x00\x01a\x00\x01").unwrap();
    }
    assert_eq!(
        (rig.session.inbound_room(), rig.session.inbound_held()),
        (0, 3)
    );
    let error = PeerError::InboundWindow { window: 3 };
    let text = "expected at most 3 unacknowledged messages, found one more";
    check(rig, b"\x32\x05\x00\x01a\x00\x04", error, text);
}

#[test]
fn a_refused_connection_is_no_fault_of_the_server() {
    for (code, reason) in [
        (1, ConnectReason::UnacceptableProtocolVersion),
        (2, ConnectReason::IdentifierRejected),
        (3, ConnectReason::ServerUnavailable),
        (4, ConnectReason::BadUserNameOrPassword),
        (5, ConnectReason::NotAuthorized),
    ] {
        let mut rig = connecting();
        assert_eq!(rig.receive(&[0x20, 2, 0, code]), Ok(Effect::Nothing));
        rig.check_closed(CloseCause::Refused(reason));
    }
}

#[test]
fn a_kept_session_is_reported() {
    let mut rig = Rig::idle(SessionOptions::default());
    rig.session
        .connect(&connect_packet(false, 60), at(0))
        .unwrap();
    rig.write(usize::MAX);
    assert_eq!(rig.receive(b"\x20\x02\x01\x00"), Ok(Effect::Nothing));
    assert_eq!(
        rig.session.next_output(),
        Some(Output::Connected {
            session_present: true
        })
    );
    assert_eq!(
        rig.session.phase(),
        Phase::Up {
            session_present: true
        }
    );
}

#[test]
fn acknowledgements_that_nobody_awaits_are_ignored_and_counted() {
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    rig.session
        .subscribe(&[("a", QoS::AtMostOnce)], TicketKey(2), &mut rig.log)
        .unwrap();
    rig.session
        .unsubscribe(&["a"], TicketKey(3), &mut rig.log)
        .unwrap();
    rig.write(usize::MAX);
    let strays: [&[u8]; 11] = [
        // Identifiers that are not in use.
        b"\x40\x02\x00\x09",
        b"\x50\x02\x00\x09",
        b"\x70\x02\x00\x09",
        b"\x90\x03\x00\x09\x00",
        b"\xb0\x02\x00\x09",
        // Identifiers in use for something else; identifier 1 is PUBLISH, 2 SUBSCRIBE.
        b"\x40\x02\x00\x02",
        b"\x40\x02\x00\x03",
        b"\x90\x03\x00\x01\x00",
        b"\x90\x03\x00\x03\x00",
        b"\xb0\x02\x00\x02",
        b"\x50\x02\x00\x01",
    ];
    for (n, bytes) in strays.iter().enumerate() {
        assert_eq!(rig.receive(bytes), Ok(Effect::Nothing), "{bytes:?}");
        assert_eq!(rig.session.counters().unknown_acks, n as u64 + 1);
    }
    // None of them has done anything; a PUBREC is answered, so that the server forgets.
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x09\x62\x02\x00\x01");
    assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(completed(1)));
    assert_eq!(
        rig.receive(b"\x90\x03\x00\x02\x00"),
        Ok(Effect::SubAcked { key: TicketKey(2) })
    );
    assert_eq!(
        rig.receive(b"\xb0\x02\x00\x03"),
        Ok(Effect::UnsubAcked { key: TicketKey(3) })
    );
    // The second of each is one nobody awaits.
    for bytes in [
        &b"\x40\x02\x00\x01"[..],
        b"\x90\x03\x00\x02\x00",
        b"\xb0\x02\x00\x03",
    ] {
        assert_eq!(rig.receive(bytes), Ok(Effect::Nothing));
    }
    assert_eq!(rig.session.counters().unknown_acks, strays.len() as u64 + 3);
    assert_eq!(
        rig.session.phase(),
        Phase::Up {
            session_present: false
        }
    );
}

#[test]
fn an_unknown_pubrel_is_answered_so_that_the_server_can_go_on() {
    let mut rig = Rig::up();
    assert_eq!(rig.receive(b"\x62\x02\x12\x34"), Ok(Effect::Nothing));
    assert_eq!(rig.write(usize::MAX), b"\x70\x02\x12\x34");
    let counters = rig.session.counters();
    assert_eq!((counters.unknown_releases, counters.unknown_acks), (1, 0));
}

#[test]
fn a_pingresp_nobody_asked_for_is_ignored() {
    let mut rig = Rig::up();
    assert_eq!(rig.receive(b"\xd0\x00"), Ok(Effect::Nothing));
    assert_eq!(rig.session.counters(), Counters::default());
}
