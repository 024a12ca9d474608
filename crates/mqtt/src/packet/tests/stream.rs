//! Packets in a stream of bytes, which may end anywhere and go on at once.

use super::golden::{self, Golden};
use super::*;

#[test]
fn every_split_point_of_every_packet_asks_for_more() {
    for Golden {
        name,
        packet,
        bytes,
    } in golden::all()
    {
        for split in 0..bytes.len() {
            let decoded = decode(&bytes[..split], Version::V311, NO_BOUND);
            assert_eq!(
                decoded,
                Ok(None),
                "{} {name} at {split}",
                packet.packet_type()
            );
        }
    }
}

#[test]
fn the_length_is_known_as_soon_as_the_fixed_header_is_there() {
    for Golden {
        name,
        packet,
        bytes,
    } in golden::all()
    {
        let header_len = 2 + bytes[1..].iter().take_while(|&&byte| byte >= 0x80).count();
        for split in 0..=bytes.len().min(8) {
            let expected = (split >= header_len).then_some(bytes.len());
            let found = peek_len(&bytes[..split], NO_BOUND);
            assert_eq!(
                found,
                Ok(expected),
                "{} {name} at {split}",
                packet.packet_type()
            );
        }
    }
}

#[test]
fn a_packet_of_exactly_the_bound_is_taken_and_a_byte_more_is_refused() {
    for Golden {
        name,
        packet,
        bytes,
    } in golden::all()
    {
        let len = bytes.len();
        assert!(decode(&bytes, Version::V311, len).is_ok(), "{name}");
        assert_eq!(peek_len(&bytes, len), Ok(Some(len)), "{name}");
        let packet_type = packet.packet_type();
        let too_large = DecodeError::PacketTooLarge {
            packet_type,
            maximum: len - 1,
            found: len,
        };
        assert_eq!(peek_len(&bytes, len - 1), Err(too_large), "{name}");
        assert_eq!(
            decode(&bytes, Version::V311, len - 1),
            Err(too_large),
            "{name}"
        );
        // Known from the header, so nothing of a packet too large is ever waited for.
        let header_len = 2 + bytes[1..].iter().take_while(|&&byte| byte >= 0x80).count();
        let header = &bytes[..header_len];
        assert_eq!(
            decode(header, Version::V311, len - 1),
            Err(too_large),
            "{name}"
        );
    }
}

#[test]
fn thousands_of_packets_in_one_buffer_come_out_in_order() {
    let goldens = golden::short();
    let order: Vec<_> = (0..200).flat_map(|_| &goldens).collect();
    assert!(order.len() > 8_000);
    let bytes: Vec<u8> = order
        .iter()
        .flat_map(|golden| &golden.bytes)
        .copied()
        .collect();
    let mut rest = &bytes[..];
    for golden in order {
        let (packet, len) = decode(rest, Version::V311, 200).unwrap().unwrap();
        assert_eq!(packet, golden.packet);
        rest = &rest[len..];
    }
    assert_eq!(decode(rest, Version::V311, 200), Ok(None));
}

#[test]
fn packets_fed_one_byte_at_a_time_come_out_complete_and_once() {
    let goldens = golden::short();
    let mut buf = Vec::new();
    for golden in &goldens {
        for (i, &byte) in golden.bytes.iter().enumerate() {
            buf.push(byte);
            let decoded = decode(&buf, Version::V311, NO_BOUND);
            if i + 1 < golden.bytes.len() {
                assert_eq!(decoded, Ok(None), "{}", golden.name);
            } else {
                assert_eq!(
                    decoded,
                    Ok(Some((golden.packet, buf.len()))),
                    "{}",
                    golden.name
                );
            }
        }
        buf.clear();
    }
}

#[cfg(feature = "client")]
#[test]
fn the_head_of_a_publish_is_read_without_its_payload() {
    for Golden { packet, bytes, .. } in golden::all() {
        let PacketRef::Publish(publish) = packet else {
            continue;
        };
        let head_len = bytes.len() - publish.payload().len();
        for split in 0..=bytes.len() {
            let head = decode_publish_head(&bytes[..split], Version::V311).unwrap();
            let found =
                head.map(|(head, len)| (head.topic(), head.delivery(), head.payload(), len));
            let nothing: &[u8] = &[];
            let whole = (publish.topic(), publish.delivery(), nothing, head_len);
            assert_eq!(found, (split >= head_len).then_some(whole));
        }
    }
    // A topic name that is longer than its packet.
    let lying = decode_publish_head(b"\x30\x04\x00\x09abcdefg", Version::V311);
    assert!(matches!(lying, Err(DecodeError::FieldBeyondEnd { .. })));
}
