//! A broker and raw clients in virtual time: what a client sends and gets, packet by packet.

use fiber::net::PipeStream;
use mqtt::packet::{
    Connect, ConnectFields, Delivery, Disconnect, PacketRef, PubAck, PubComp, PubRec, PubRel,
    Publish, Subscribe, Will,
};
use mqtt::{Broker, BrokerOptions, PacketId, QoS, SubscribeReason, Version};
use tests::scripted::ScriptedBroker;

/// A raw client: the scripted peer speaks either side.
pub(crate) type Peer = ScriptedBroker<PipeStream>;

/// Room of a pipe: far more than any test has under way.
pub(crate) const PIPE_BYTES: usize = 4 * 1024 * 1024;

#[track_caller]
pub(crate) fn run(body: impl FnOnce(&Broker) + 'static) {
    run_with(BrokerOptions::new(), body);
}

#[track_caller]
pub(crate) fn run_with(options: BrokerOptions, body: impl FnOnce(&Broker) + 'static) {
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(move || body(&Broker::new(options)))
        .expect("the test body does not panic");
}

/// A connection on which nothing was sent.
#[track_caller]
pub(crate) fn attach(broker: &Broker) -> Peer {
    attach_over(broker, PIPE_BYTES)
}

#[track_caller]
pub(crate) fn attach_over(broker: &Broker, pipe_bytes: usize) -> Peer {
    let (ours, theirs) = fiber::net::pipe(pipe_bytes);
    broker.attach(theirs).expect("a fiber is to be had");
    Peer::new(ours)
}

pub(crate) fn fields(client_id: &str, clean_start: bool) -> ConnectFields<'_> {
    ConnectFields {
        clean_start,
        client_id,
        ..ConnectFields::default()
    }
}

pub(crate) fn will<'a>(topic: &'a str, qos: QoS, retain: bool) -> Option<Will<'a>> {
    Some(Will {
        topic,
        payload: b"gone",
        qos,
        retain,
        properties: mqtt::packet::Properties::EMPTY,
    })
}

#[track_caller]
pub(crate) fn send_connect(peer: &mut Peer, fields: ConnectFields<'_>) {
    let connect = Connect::new(Version::V311, fields).expect("the test makes a valid CONNECT");
    peer.send(&PacketRef::Connect(connect));
}

/// Connects and returns whether a session was present.
#[track_caller]
pub(crate) fn connect_with(broker: &Broker, fields: ConnectFields<'_>) -> (Peer, bool) {
    let mut peer = attach(broker);
    send_connect(&mut peer, fields);
    let present = peer.receive(|packet| match packet {
        PacketRef::ConnAck(ack) if ack.reason() == mqtt::ConnectReason::Accepted => {
            ack.session_present()
        }
        other => panic!("expected to be accepted, found {other:?}"),
    });
    (peer, present)
}

/// Connects without a session that was or will be.
#[track_caller]
pub(crate) fn connect(broker: &Broker, client_id: &str) -> Peer {
    let (peer, present) = connect_with(broker, fields(client_id, true));
    assert!(!present);
    peer
}

/// Connects with a kept session.
#[track_caller]
pub(crate) fn resume(broker: &Broker, client_id: &str) -> (Peer, bool) {
    connect_with(broker, fields(client_id, false))
}

#[track_caller]
pub(crate) fn disconnect(mut peer: Peer) {
    peer.send(&PacketRef::Disconnect(Disconnect::new()));
    peer.expect_end();
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("the test uses no zero")
}

#[track_caller]
pub(crate) fn send_subscribe(peer: &mut Peer, filters: &[(&str, QoS)]) {
    let subscribe =
        Subscribe::new(Version::V311, id(999), filters).expect("the test makes a valid SUBSCRIBE");
    peer.send(&PacketRef::Subscribe(subscribe));
}

/// Subscribes and returns what the broker said to each filter.
#[track_caller]
pub(crate) fn subscribe(peer: &mut Peer, filters: &[(&str, QoS)]) -> Vec<SubscribeReason> {
    send_subscribe(peer, filters);
    peer.receive(|packet| match packet {
        PacketRef::SubAck(ack) if ack.packet_id() == id(999) => ack.reasons().iter().collect(),
        other => panic!("expected SUBACK, found {other:?}"),
    })
}

pub(crate) fn delivery(qos: u8, number: u16) -> Delivery {
    match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce {
            packet_id: id(number),
            dup: false,
        },
        _ => Delivery::ExactlyOnce {
            packet_id: id(number),
            dup: false,
        },
    }
}

#[track_caller]
pub(crate) fn send(peer: &mut Peer, topic: &str, payload: &str, delivery: Delivery, retain: bool) {
    let publish = Publish::new(Version::V311, topic, payload.as_bytes(), delivery, retain)
        .expect("the test makes a valid PUBLISH");
    peer.send(&PacketRef::Publish(publish));
}

/// Waits for a PUBLISH that reads so, as in `a/b=hi q1 dup retain`, and returns its identifier, 0
/// for QoS 0.
#[track_caller]
pub(crate) fn expect_publish(peer: &mut Peer, expected: &str) -> u16 {
    let (found, number) = peer.receive(|packet| match packet {
        PacketRef::Publish(publish) => (shown(&publish), publish.packet_id()),
        other => panic!("expected {expected}, found {other:?}"),
    });
    assert_eq!(found, expected);
    number.map_or(0, PacketId::get)
}

fn shown(publish: &Publish<'_>) -> String {
    let payload = String::from_utf8_lossy(publish.payload());
    let dup = if publish.dup() { " dup" } else { "" };
    let retain = if publish.retain() { " retain" } else { "" };
    let qos = publish.qos().bits();
    format!("{}={payload} q{qos}{dup}{retain}", publish.topic())
}

pub(crate) fn puback(number: u16) -> PacketRef<'static> {
    PacketRef::PubAck(PubAck::new(id(number)))
}

pub(crate) fn pubrec(number: u16) -> PacketRef<'static> {
    PacketRef::PubRec(PubRec::new(id(number)))
}

pub(crate) fn pubrel(number: u16) -> PacketRef<'static> {
    PacketRef::PubRel(PubRel::new(id(number)))
}

pub(crate) fn pubcomp(number: u16) -> PacketRef<'static> {
    PacketRef::PubComp(PubComp::new(id(number)))
}

/// Sends PINGREQ and waits for the answer: what the broker had to send before would come first.
#[track_caller]
pub(crate) fn expect_nothing(peer: &mut Peer) {
    peer.send(&PacketRef::PingReq);
    peer.expect(&PacketRef::PingResp);
    // Messages come behind answers.
    peer.expect_silence(std::time::Duration::from_millis(1));
}
