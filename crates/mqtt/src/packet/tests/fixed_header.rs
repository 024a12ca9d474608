//! The first byte of a packet, in full.

use super::*;

/// What the standard says about a first byte, told by its two halves (MQTT3-2.2.1, MQTT3-2.2.2).
fn judged_by_hand(first: u8) -> Result<(), DecodeError> {
    let reserved = |packet_type, expected| {
        let found = first & 0x0f;
        if found == expected {
            return Ok(());
        }
        Err(DecodeError::ReservedFlags {
            packet_type,
            expected,
            found,
        })
    };
    match (first >> 4, first & 0x0f) {
        (found @ (0 | 15), _) => Err(DecodeError::UnknownPacketType { found }),
        (1, _) => reserved(PacketType::Connect, 0),
        (2, _) => reserved(PacketType::ConnAck, 0),
        (3, 0b0110 | 0b0111 | 0b1110 | 0b1111) => Err(DecodeError::PublishQoS),
        (3, 0b1000 | 0b1001) => Err(DecodeError::DupWithoutQoS),
        (3, _) => Ok(()),
        (4, _) => reserved(PacketType::PubAck, 0),
        (5, _) => reserved(PacketType::PubRec, 0),
        (6, _) => reserved(PacketType::PubRel, 0b0010),
        (7, _) => reserved(PacketType::PubComp, 0),
        (8, _) => reserved(PacketType::Subscribe, 0b0010),
        (9, _) => reserved(PacketType::SubAck, 0),
        (10, _) => reserved(PacketType::Unsubscribe, 0b0010),
        (11, _) => reserved(PacketType::UnsubAck, 0),
        (12, _) => reserved(PacketType::PingReq, 0),
        (13, _) => reserved(PacketType::PingResp, 0),
        _ => reserved(PacketType::Disconnect, 0),
    }
}

#[test]
fn all_256_first_bytes_are_judged_as_soon_as_they_are_there() {
    let mut accepted = Vec::new();
    for first in 0..=u8::MAX {
        let expected = judged_by_hand(first);
        let alone = decode(&[first], Version::V311, NO_BOUND).map(|packet| packet.is_some());
        assert_eq!(alone, expected.map(|()| false), "{first:#04x}");
        assert_eq!(
            peek_len(&[first], NO_BOUND),
            expected.map(|()| None),
            "{first:#04x}"
        );
        let lengths: [(&[u8], usize); 4] = [
            (&[0x05], 7),
            (&[0x80, 0x01], 131),
            (&[0x80, 0x80, 0x01], 16_388),
            (&[0xff, 0xff, 0xff, 0x7f], MAX_PACKET_LEN),
        ];
        for (length, packet_len) in lengths {
            let header = [&[first], length].concat();
            let peeked = peek_len(&header, NO_BOUND);
            assert_eq!(peeked, expected.map(|()| Some(packet_len)), "{header:x?}");
        }
        if expected.is_ok() {
            accepted.push(first);
        }
    }
    let publish = [0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3a, 0x3b, 0x3c, 0x3d];
    let others = [
        0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xa2, 0xb0, 0xc0, 0xd0, 0xe0,
    ];
    assert_eq!(accepted, [&[0x10, 0x20], &publish[..], &others].concat());
}

#[test]
fn an_unfinished_length_asks_for_more_and_one_without_end_is_refused() {
    for header in [
        &[0x30][..],
        &[0x30, 0x80],
        &[0x30, 0xff, 0xff],
        &[0x30, 0x80, 0x80, 0x80],
    ] {
        assert_eq!(peek_len(header, NO_BOUND), Ok(None), "{header:x?}");
    }
    let endless = Err(DecodeError::RemainingLengthTooLong { fourth_byte: 0x80 });
    assert_eq!(peek_len(&[0x30, 0x80, 0x80, 0x80, 0x80], NO_BOUND), endless);
    assert_eq!(
        peek_len(&[0x30, 0x80, 0x80, 0x80, 0x80, 0x00], NO_BOUND),
        endless
    );
}

#[test]
fn a_length_in_more_bytes_than_needed_is_read() {
    for bytes in [
        &b"\xc0\x80\x00"[..],
        b"\xc0\x80\x80\x00",
        b"\xc0\x80\x80\x80\x00",
    ] {
        assert_eq!(decode_whole(bytes), Ok(PacketRef::PingReq), "{bytes:x?}");
    }
}

#[test]
fn every_type_writes_the_first_byte_that_it_reads() {
    for number in 1..15 {
        let packet_type = PacketType::from_first_byte(number << 4).unwrap();
        assert_eq!(packet_type as u8, number);
        let first = packet_type.first_byte();
        assert_eq!(PacketType::from_first_byte(first), Some(packet_type));
        assert_eq!(
            peek_len(&[first, 0], NO_BOUND),
            Ok(Some(2)),
            "{packet_type}"
        );
    }
}
