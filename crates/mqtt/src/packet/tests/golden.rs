//! Packets with their bytes, written by hand from the standard, for every type of packet.

use super::super::*;
use super::id;

/// A packet, its bytes, and what is special about it.
pub(super) struct Golden {
    pub(super) name: &'static str,
    pub(super) packet: PacketRef<'static>,
    pub(super) bytes: Vec<u8>,
}

/// Payload for packets whose remaining length takes up to four bytes.
static ZEROS: [u8; 2_097_152] = [0; 2_097_152];

const QOS_0: Delivery = Delivery::AtMostOnce;

const fn qos_1(number: u16, dup: bool) -> Delivery {
    Delivery::AtLeastOnce {
        packet_id: id(number),
        dup,
    }
}

const fn qos_2(number: u16, dup: bool) -> Delivery {
    Delivery::ExactlyOnce {
        packet_id: id(number),
        dup,
    }
}

/// Returns all of them.
pub(super) fn all() -> Vec<Golden> {
    let mut all = connects();
    all.extend(connacks());
    all.extend(publishes());
    all.extend(acknowledgements());
    all.extend(subscriptions());
    all.extend(bare());
    all.extend(lengths());
    all
}

/// Returns those short enough to be cut, doubled and mutated by the thousand.
pub(super) fn short() -> Vec<Golden> {
    all()
        .into_iter()
        .filter(|golden| golden.bytes.len() < 200)
        .collect()
}

fn golden(name: &'static str, packet: PacketRef<'static>, bytes: &[u8]) -> Golden {
    Golden {
        name,
        packet,
        bytes: bytes.to_vec(),
    }
}

fn connects() -> Vec<Golden> {
    let connect = |name, fields, bytes: &[u8]| {
        let packet = Connect::new(Version::V311, fields).unwrap();
        golden(name, PacketRef::Connect(packet), bytes)
    };
    let base = ConnectFields {
        clean_start: true,
        keep_alive_secs: 60,
        client_id: "a",
        ..ConnectFields::default()
    };
    let will = Will {
        topic: "w/t",
        payload: b"gone",
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: Properties::EMPTY,
    };
    vec![
        connect(
            "smallest with a name",
            base,
            b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
        ),
        connect(
            "kept session, no keep-alive",
            ConnectFields {
                clean_start: false,
                keep_alive_secs: 0,
                ..base
            },
            b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01a",
        ),
        connect(
            "empty client identifier, longest keep-alive",
            ConnectFields {
                client_id: "",
                keep_alive_secs: 65_535,
                ..base
            },
            b"\x10\x0c\x00\x04MQTT\x04\x02\xff\xff\x00\x00",
        ),
        connect(
            "will of QoS 1",
            ConnectFields {
                will: Some(will),
                ..base
            },
            b"\x10\x18\x00\x04MQTT\x04\x0e\x00\x3c\x00\x01a\x00\x03w/t\x00\x04gone",
        ),
        connect(
            "retained will of QoS 0 without payload",
            ConnectFields {
                will: Some(Will {
                    payload: b"",
                    qos: QoS::AtMostOnce,
                    retain: true,
                    ..will
                }),
                ..base
            },
            b"\x10\x14\x00\x04MQTT\x04\x26\x00\x3c\x00\x01a\x00\x03w/t\x00\x00",
        ),
        connect(
            "user name alone",
            ConnectFields {
                user_name: Some("me"),
                ..base
            },
            b"\x10\x11\x00\x04MQTT\x04\x82\x00\x3c\x00\x01a\x00\x02me",
        ),
        connect(
            "empty user name and empty password are there",
            ConnectFields {
                user_name: Some(""),
                password: Some(b""),
                ..base
            },
            b"\x10\x11\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01a\x00\x00\x00\x00",
        ),
        connect(
            "everything; the password is no text",
            ConnectFields {
                clean_start: false,
                will: Some(Will {
                    qos: QoS::ExactlyOnce,
                    retain: true,
                    ..will
                }),
                user_name: Some("me"),
                password: Some(b"\x00\xff"),
                ..base
            },
            b"\x10\x20\x00\x04MQTT\x04\xf4\x00\x3c\x00\x01a\x00\x03w/t\x00\x04gone\x00\x02me\
              \x00\x02\x00\xff",
        ),
    ]
}

fn connacks() -> Vec<Golden> {
    let connack = |name, packet, bytes: &[u8]| golden(name, PacketRef::ConnAck(packet), bytes);
    let refused = ConnAck::refused;
    vec![
        connack("new session", ConnAck::accepted(false), b"\x20\x02\x00\x00"),
        connack(
            "session present",
            ConnAck::accepted(true),
            b"\x20\x02\x01\x00",
        ),
        connack(
            "wrong version",
            refused(ConnectReason::UnacceptableProtocolVersion),
            b"\x20\x02\x00\x01",
        ),
        connack(
            "identifier",
            refused(ConnectReason::IdentifierRejected),
            b"\x20\x02\x00\x02",
        ),
        connack(
            "unavailable",
            refused(ConnectReason::ServerUnavailable),
            b"\x20\x02\x00\x03",
        ),
        connack(
            "credentials",
            refused(ConnectReason::BadUserNameOrPassword),
            b"\x20\x02\x00\x04",
        ),
        connack(
            "not authorized",
            refused(ConnectReason::NotAuthorized),
            b"\x20\x02\x00\x05",
        ),
    ]
}

fn publishes() -> Vec<Golden> {
    let publish = |topic, payload, delivery, retain, bytes: &[u8]| {
        let packet = Publish::new(Version::V311, topic, payload, delivery, retain).unwrap();
        golden(topic, PacketRef::Publish(packet), bytes)
    };
    vec![
        publish("a/b", b"hi", QOS_0, false, b"\x30\x07\x00\x03a/bhi"),
        publish("a", b"", QOS_0, true, b"\x31\x03\x00\x01a"),
        publish(
            "a",
            b"x",
            qos_1(1, false),
            false,
            b"\x32\x06\x00\x01a\x00\x01x",
        ),
        publish(
            "a",
            b"x",
            qos_1(10, false),
            true,
            b"\x33\x06\x00\x01a\x00\x0ax",
        ),
        publish(
            "a",
            b"x",
            qos_1(65_535, true),
            false,
            b"\x3a\x06\x00\x01a\xff\xffx",
        ),
        publish(
            "a",
            b"x",
            qos_1(256, true),
            true,
            b"\x3b\x06\x00\x01a\x01\x00x",
        ),
        publish(
            "a",
            b"",
            qos_2(258, false),
            false,
            b"\x34\x05\x00\x01a\x01\x02",
        ),
        publish(
            "a",
            b"",
            qos_2(2, false),
            true,
            b"\x35\x05\x00\x01a\x00\x02",
        ),
        publish(
            "a",
            b"\x00",
            qos_2(2, true),
            false,
            b"\x3c\x06\x00\x01a\x00\x02\x00",
        ),
        publish(
            "a",
            b"\x00",
            qos_2(2, true),
            true,
            b"\x3d\x06\x00\x01a\x00\x02\x00",
        ),
        publish("/", b"", QOS_0, false, b"\x30\x03\x00\x01/"),
        publish("$SYS/x y", b"1", QOS_0, false, b"\x30\x0b\x00\x08$SYS/x y1"),
        // U+FEFF is a character like any other, at the start too (MQTT3-1.5.3-3).
        publish(
            "\u{feff}a",
            b"",
            QOS_0,
            false,
            b"\x30\x06\x00\x04\xef\xbb\xbfa",
        ),
        // The example of MQTT3-1.5.3.1: A and a character of four bytes.
        publish(
            "A\u{2a6d4}",
            b"",
            QOS_0,
            false,
            b"\x30\x07\x00\x05\x41\xf0\xaa\x9b\x94",
        ),
    ]
}

fn acknowledgements() -> Vec<Golden> {
    vec![
        golden(
            "first",
            PacketRef::PubAck(PubAck::new(id(1))),
            b"\x40\x02\x00\x01",
        ),
        golden(
            "last",
            PacketRef::PubAck(PubAck::new(PacketId::MAX)),
            b"\x40\x02\xff\xff",
        ),
        golden(
            "pubrec",
            PacketRef::PubRec(PubRec::new(id(0x1234))),
            b"\x50\x02\x12\x34",
        ),
        golden(
            "pubrel",
            PacketRef::PubRel(PubRel::new(id(0x1234))),
            b"\x62\x02\x12\x34",
        ),
        golden(
            "pubcomp",
            PacketRef::PubComp(PubComp::new(id(0x1234))),
            b"\x70\x02\x12\x34",
        ),
        golden(
            "unsuback",
            PacketRef::UnsubAck(UnsubAck::new(id(0x1234))),
            b"\xb0\x02\x12\x34",
        ),
    ]
}

fn subscriptions() -> Vec<Golden> {
    use SubscribeReason::{Failure, Granted};

    let subscribe = |name, filters, bytes: &[u8]| {
        let packet = Subscribe::new(Version::V311, id(10), filters).unwrap();
        golden(name, PacketRef::Subscribe(packet), bytes)
    };
    let suback = |name, reasons, bytes: &[u8]| {
        let packet = SubAck::new(Version::V311, id(10), reasons).unwrap();
        golden(name, PacketRef::SubAck(packet), bytes)
    };
    let unsubscribe = |name, filters, bytes: &[u8]| {
        let packet = Unsubscribe::new(Version::V311, id(10), filters).unwrap();
        golden(name, PacketRef::Unsubscribe(packet), bytes)
    };
    const ALL_REASONS: &[SubscribeReason] = &[
        Granted(QoS::AtMostOnce),
        Granted(QoS::AtLeastOnce),
        Granted(QoS::ExactlyOnce),
        Failure,
    ];
    const FILTERS: &[(&str, QoS)] = &[
        ("a/+", QoS::AtLeastOnce),
        ("#", QoS::ExactlyOnce),
        ("c/d", QoS::AtMostOnce),
    ];
    vec![
        subscribe(
            "one",
            &[("a/b", QoS::AtLeastOnce)],
            b"\x82\x08\x00\x0a\x00\x03a/b\x01",
        ),
        subscribe(
            "three",
            FILTERS,
            b"\x82\x12\x00\x0a\x00\x03a/+\x01\x00\x01#\x02\x00\x03c/d\x00",
        ),
        suback("one", &[Failure], b"\x90\x03\x00\x0a\x80"),
        suback("each", ALL_REASONS, b"\x90\x06\x00\x0a\x00\x01\x02\x80"),
        unsubscribe("one", &["a/b"], b"\xa2\x07\x00\x0a\x00\x03a/b"),
        unsubscribe(
            "two",
            &["a/+", "#"],
            b"\xa2\x0a\x00\x0a\x00\x03a/+\x00\x01#",
        ),
    ]
}

fn bare() -> Vec<Golden> {
    vec![
        golden("pingreq", PacketRef::PingReq, b"\xc0\x00"),
        golden("pingresp", PacketRef::PingResp, b"\xd0\x00"),
        golden(
            "disconnect",
            PacketRef::Disconnect(Disconnect::new()),
            b"\xe0\x00",
        ),
    ]
}

/// A PUBLISH on both sides of each step in the length of the remaining length.
fn lengths() -> Vec<Golden> {
    let steps: [(&str, usize, &[u8]); 6] = [
        ("longest of one byte", 127, &[0x7f]),
        ("shortest of two bytes", 128, &[0x80, 0x01]),
        ("longest of two bytes", 16_383, &[0xff, 0x7f]),
        ("shortest of three bytes", 16_384, &[0x80, 0x80, 0x01]),
        ("longest of three bytes", 2_097_151, &[0xff, 0xff, 0x7f]),
        (
            "shortest of four bytes",
            2_097_152,
            &[0x80, 0x80, 0x80, 0x01],
        ),
    ];
    let publish = |(name, remaining_length, encoded_length): (&'static str, usize, &[u8])| {
        let payload = &ZEROS[..remaining_length - 3];
        let packet = Publish::new(Version::V311, "a", payload, QOS_0, false).unwrap();
        let bytes = [b"\x30", encoded_length, b"\x00\x01a", payload].concat();
        golden(name, PacketRef::Publish(packet), &bytes)
    };
    steps.into_iter().map(publish).collect()
}

#[test]
fn encoding_gives_the_golden_bytes() {
    for Golden {
        name,
        packet,
        bytes,
    } in all()
    {
        assert!(
            super::encode(&packet) == bytes,
            "{} {name}",
            packet.packet_type()
        );
    }
}

#[test]
fn encoding_leaves_what_lies_behind_the_packet_alone() {
    for Golden {
        name,
        packet,
        bytes,
    } in all()
    {
        let mut out = vec![0x55; bytes.len() + 3];
        let len = packet.encode(Version::V311, &mut out);
        assert!(out[..len] == bytes, "{} {name}", packet.packet_type());
        assert_eq!(out[len..], [0x55; 3], "{} {name}", packet.packet_type());
    }
}

#[test]
fn decoding_gives_the_golden_packet() {
    for Golden {
        name,
        packet,
        bytes,
    } in all()
    {
        let decoded = decode(&bytes, Version::V311, bytes.len());
        assert!(
            decoded == Ok(Some((packet, bytes.len()))),
            "{} {name}",
            packet.packet_type()
        );
    }
}

#[test]
fn every_type_of_packet_has_golden_bytes() {
    let mut seen = [false; 16];
    for golden in all() {
        seen[golden.packet.packet_type() as usize] = true;
    }
    assert_eq!(seen.iter().position(|&seen| seen), Some(1));
    assert_eq!(seen.iter().filter(|&&seen| seen).count(), 14);
}

#[test]
#[should_panic(expected = "room for 4 bytes, found 3")]
fn a_slice_shorter_than_the_packet_is_a_mistake_of_the_caller() {
    PubAck::new(id(1)).encode(Version::V311, &mut [0; 3]);
}
