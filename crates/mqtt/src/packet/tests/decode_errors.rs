//! Every refusal of received bytes, with the bytes and the exact text.

use std::collections::BTreeSet;

use super::*;
use crate::tests::{expect_all, variants};

variants!(DecodeError {
    UnknownPacketType,
    ReservedFlags,
    PublishQoS,
    DupWithoutQoS,
    RemainingLengthTooLong,
    PacketTooLarge,
    FieldBeyondEnd,
    TrailingBytes,
    Utf8,
    NullCharacter,
    TopicEmpty,
    TopicWildcard,
    PacketIdZero,
    ProtocolName,
    ProtocolLevel,
    ConnectReservedFlag,
    WillQoSWithoutWill,
    WillRetainWithoutWill,
    WillQoS,
    PasswordWithoutUserName,
    ClientIdEmpty,
    ConnectAckFlags,
    ConnectReturnCode,
    SessionPresentWithRefusal,
    FilterEmpty,
    NoFilter,
    RequestedQoSReserved,
    RequestedQoS,
    ReturnCode,
    NoReturnCode,
});

/// The bound of these tests in bytes.
const MAXIMUM: usize = 64;

type Row = (&'static [u8], DecodeError, &'static str);

/// Refusals of the fixed header and of the way packets end.
const FRAMING: &[Row] = &[
    (
        b"\x00\x00",
        DecodeError::UnknownPacketType { found: 0 },
        "expected a packet type from 1 to 14, found 0",
    ),
    (
        b"\xf0\x00",
        DecodeError::UnknownPacketType { found: 15 },
        "expected a packet type from 1 to 14, found 15",
    ),
    (
        b"\x60\x02\x00\x01",
        DecodeError::ReservedFlags {
            packet_type: PacketType::PubRel,
            expected: 0b0010,
            found: 0b0000,
        },
        "expected flags 0b0010 in PUBREL, found 0b0000",
    ),
    (
        b"\xc1\x00",
        DecodeError::ReservedFlags {
            packet_type: PacketType::PingReq,
            expected: 0b0000,
            found: 0b0001,
        },
        "expected flags 0b0000 in PINGREQ, found 0b0001",
    ),
    (
        b"\x36\x05\x00\x01a\x00\x01",
        DecodeError::PublishQoS,
        "expected QoS 0, 1 or 2 in PUBLISH, found 3",
    ),
    (
        b"\x38\x03\x00\x01a",
        DecodeError::DupWithoutQoS,
        "expected DUP 0 in PUBLISH with QoS 0, found DUP 1",
    ),
    (
        b"\x30\xff\xff\xff\x80\x01",
        DecodeError::RemainingLengthTooLong { fourth_byte: 0x80 },
        "expected a remaining length of at most 4 bytes, found 0x80 as fourth byte",
    ),
    (
        b"\x30\x3f",
        DecodeError::PacketTooLarge {
            packet_type: PacketType::Publish,
            maximum: MAXIMUM,
            found: 65,
        },
        "expected PUBLISH of at most 64 bytes, found 65",
    ),
    (
        b"\x40\x01\x00",
        DecodeError::FieldBeyondEnd {
            field: Field::PacketId,
            expected: 2,
            found: 1,
        },
        "expected 2 bytes for the packet identifier, found 1",
    ),
    (
        b"\x30\x04\x00\x03ab",
        DecodeError::FieldBeyondEnd {
            field: Field::TopicName,
            expected: 3,
            found: 2,
        },
        "expected 3 bytes for the topic name, found 2",
    ),
    (
        b"\x82\x05\x00\x01\x00\x01a",
        DecodeError::FieldBeyondEnd {
            field: Field::RequestedQoS,
            expected: 1,
            found: 0,
        },
        "expected 1 bytes for the requested QoS, found 0",
    ),
    (
        b"\xd0\x03abc",
        DecodeError::TrailingBytes {
            packet_type: PacketType::PingResp,
            found: 3,
        },
        "expected the end of PINGRESP, found 3 more bytes",
    ),
];

/// Refusals of texts and identifiers.
const FIELDS: &[Row] = &[
    (
        b"\x30\x04\x00\x02a\xff",
        DecodeError::Utf8 {
            field: Field::TopicName,
            at: 1,
        },
        "expected UTF-8 in the topic name, found another byte at index 1",
    ),
    (
        b"\xa2\x06\x00\x01\x00\x02a\x00",
        DecodeError::NullCharacter {
            field: Field::TopicFilter,
            at: 1,
        },
        "expected no null character in the topic filter, found one at index 1",
    ),
    (
        b"\x30\x02\x00\x00",
        DecodeError::TopicEmpty {
            field: Field::TopicName,
        },
        "expected at least one character in the topic name, found none",
    ),
    (
        b"\x30\x05\x00\x03a/#",
        DecodeError::TopicWildcard {
            field: Field::TopicName,
            found: '#',
            at: 2,
        },
        "expected no wildcard in the topic name, found `#` at index 2",
    ),
    (
        b"\x40\x02\x00\x00",
        DecodeError::PacketIdZero {
            packet_type: PacketType::PubAck,
        },
        "expected a packet identifier from 1 in PUBACK, found 0",
    ),
];

/// Refusals of CONNECT.
const CONNECT: &[Row] = &[
    (
        b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a",
        DecodeError::ProtocolName { found_len: 6 },
        "expected the protocol name `MQTT`, found another of 6 bytes",
    ),
    (
        b"\x10\x0d\x00\x04mqtt\x04\x02\x00\x3c\x00\x01a",
        DecodeError::ProtocolName { found_len: 4 },
        "expected the protocol name `MQTT`, found another of 4 bytes",
    ),
    (
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x01a",
        DecodeError::ProtocolLevel {
            expected: 4,
            found: 5,
        },
        "expected protocol level 4, found 5",
    ),
    (
        b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a",
        DecodeError::ConnectReservedFlag { found: 0b11 },
        "expected the reserved connect flag to be 0, found flags 0b00000011",
    ),
    (
        b"\x10\x0d\x00\x04MQTT\x04\x12\x00\x3c\x00\x01a",
        DecodeError::WillQoSWithoutWill { found: 2 },
        "expected will QoS 0 where there is no will, found 2",
    ),
    (
        b"\x10\x0d\x00\x04MQTT\x04\x22\x00\x3c\x00\x01a",
        DecodeError::WillRetainWithoutWill,
        "expected will retain 0 where there is no will, found 1",
    ),
    (
        b"\x10\x12\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01a\x00\x01w\x00\x00",
        DecodeError::WillQoS,
        "expected will QoS 0, 1 or 2, found 3",
    ),
    (
        b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p",
        DecodeError::PasswordWithoutUserName,
        "expected a user name where there is a password, found none",
    ),
    (
        b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00",
        DecodeError::ClientIdEmpty,
        "expected a client identifier without clean start, found an empty one",
    ),
];

/// Refusals of the remaining packets.
const OTHERS: &[Row] = &[
    (
        b"\x20\x02\x02\x00",
        DecodeError::ConnectAckFlags { found: 2 },
        "expected connect acknowledge flags 0 or 1, found 0x02",
    ),
    (
        b"\x20\x02\x00\x06",
        DecodeError::ConnectReturnCode { found: 6 },
        "expected a connect return code from 0 to 5, found 6",
    ),
    (
        b"\x20\x02\x01\x05",
        DecodeError::SessionPresentWithRefusal {
            reason: ConnectReason::NotAuthorized,
        },
        "expected session present 0 with connect return code 5, found 1",
    ),
    (
        b"\x82\x05\x00\x01\x00\x00\x00",
        DecodeError::FilterEmpty,
        "expected at least one character in the topic filter, found none",
    ),
    (
        b"\x82\x02\x00\x01",
        DecodeError::NoFilter {
            packet_type: PacketType::Subscribe,
        },
        "expected at least one topic filter in SUBSCRIBE, found none",
    ),
    (
        b"\xa2\x02\x00\x01",
        DecodeError::NoFilter {
            packet_type: PacketType::Unsubscribe,
        },
        "expected at least one topic filter in UNSUBSCRIBE, found none",
    ),
    (
        b"\x82\x06\x00\x01\x00\x01a\x05",
        DecodeError::RequestedQoSReserved { found: 5 },
        "expected the reserved bits beside the requested QoS to be 0, found 0x05",
    ),
    (
        b"\x82\x06\x00\x01\x00\x01a\x03",
        DecodeError::RequestedQoS,
        "expected requested QoS 0, 1 or 2, found 3",
    ),
    (
        b"\x90\x03\x00\x01\x81",
        DecodeError::ReturnCode { found: 0x81 },
        "expected a SUBACK return code of 0, 1, 2 or 0x80, found 0x81",
    ),
    (
        b"\x90\x02\x00\x01",
        DecodeError::NoReturnCode,
        "expected at least one return code in SUBACK, found none",
    ),
];

#[test]
fn every_refusal_has_its_bytes_and_its_text() {
    let mut shown = BTreeSet::new();
    for &(bytes, error, text) in [FRAMING, FIELDS, CONNECT, OTHERS].concat().iter() {
        assert_eq!(
            decode(bytes, Version::V311, MAXIMUM),
            Err(error),
            "{bytes:x?}"
        );
        assert_eq!(error.to_string(), text);
        shown.insert(variant(&error));
    }
    expect_all(VARIANTS, &shown);
}

#[test]
fn every_field_has_its_name() {
    let names = [
        (Field::ProtocolName, "protocol name"),
        (Field::ProtocolLevel, "protocol level"),
        (Field::ConnectFlags, "connect flags"),
        (Field::KeepAlive, "keep alive"),
        (Field::ClientId, "client identifier"),
        (Field::WillTopic, "will topic"),
        (Field::WillPayload, "will message"),
        (Field::UserName, "user name"),
        (Field::Password, "password"),
        (Field::ConnectAckFlags, "connect acknowledge flags"),
        (Field::ConnectReturnCode, "connect return code"),
        (Field::TopicName, "topic name"),
        (Field::PacketId, "packet identifier"),
        (Field::TopicFilter, "topic filter"),
        (Field::RequestedQoS, "requested QoS"),
        (Field::ReturnCode, "return code"),
    ];
    for (field, name) in names {
        assert_eq!(field.to_string(), name);
    }
}

#[test]
fn a_field_cut_short_is_named_wherever_the_packet_ends() {
    use Field as F;
    let connect = b"\x00\x04MQTT\x04\xc6\x00\x3c\x00\x01a\x00\x01w\x00\x01p\x00\x01u\x00\x01s";
    // For each field: the index behind it. What ends before that is cut short in this field.
    let fields: &[(Field, usize)] = &[
        (F::ProtocolName, 6),
        (F::ProtocolLevel, 7),
        (F::ConnectFlags, 8),
        (F::KeepAlive, 10),
        (F::ClientId, 13),
        (F::WillTopic, 16),
        (F::WillPayload, 19),
        (F::UserName, 22),
        (F::Password, 25),
    ];
    cut_everywhere(0x10, connect, fields);
    cut_everywhere(
        0x20,
        b"\x00\x00",
        &[(F::ConnectAckFlags, 1), (F::ConnectReturnCode, 2)],
    );
    cut_everywhere(
        0x32,
        b"\x00\x01a\x00\x01",
        &[(F::TopicName, 3), (F::PacketId, 5)],
    );
    for first in [0x40, 0x50, 0x62, 0x70, 0xb0] {
        cut_everywhere(first, b"\x00\x01", &[(F::PacketId, 2)]);
    }
    cut_everywhere(0x82, b"\x00\x01", &[(F::PacketId, 2)]);
    cut_everywhere(0x90, b"\x00\x01", &[(F::PacketId, 2)]);
    cut_everywhere(0xa2, b"\x00\x01", &[(F::PacketId, 2)]);
    for len in 3..6 {
        let subscribe = packet(0x82, &b"\x00\x01\x00\x01a\x01"[..len]);
        let error = decode_whole(&subscribe).unwrap_err();
        let field = if len < 5 {
            F::TopicFilter
        } else {
            F::RequestedQoS
        };
        assert!(matches!(error, DecodeError::FieldBeyondEnd { field: f, .. } if f == field));
    }
}

/// Checks that a packet whose body ends early is refused for the field it ends in.
#[track_caller]
fn cut_everywhere(first: u8, body: &[u8], fields: &[(Field, usize)]) {
    for len in 0..body.len() {
        let &(field, _) = fields.iter().find(|&&(_, end)| len < end).expect("a field");
        let bytes = packet(first, &body[..len]);
        let error = decode_whole(&bytes).unwrap_err();
        let named = matches!(error, DecodeError::FieldBeyondEnd { field: f, .. } if f == field);
        assert!(named, "{first:#04x} cut to {len}: {error}");
    }
}

#[test]
fn a_byte_too_many_is_refused_in_every_packet_of_fixed_fields() {
    let packets: &[(u8, &[u8])] = &[
        (0x20, b"\x00\x00"),
        (0x40, b"\x00\x01"),
        (0x50, b"\x00\x01"),
        (0x62, b"\x00\x01"),
        (0x70, b"\x00\x01"),
        (0xb0, b"\x00\x01"),
        (0xc0, b""),
        (0xd0, b""),
        (0xe0, b""),
    ];
    for &(first, body) in packets {
        let packet_type = PacketType::from_first_byte(first).unwrap();
        assert!(decode_whole(&packet(first, body)).is_ok(), "{packet_type}");
        let bytes = packet(first, &[body, b"\x00"].concat());
        let error = DecodeError::TrailingBytes {
            packet_type,
            found: 1,
        };
        assert_eq!(decode_whole(&bytes), Err(error));
    }
}
