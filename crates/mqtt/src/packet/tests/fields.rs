//! The rules for strings, identifiers and lists, at every place where a packet has one.

use super::*;

/// Byte sequences that are no UTF-8, and how many bytes of them still are (MQTT3-1.5.3-1).
const BAD_UTF8: &[(&[u8], usize)] = &[
    (b"\x80", 0),                 // a continuation without a start
    (b"a\xff", 1),                // a byte that UTF-8 never has
    (b"ab\xc3", 2),               // a start without its continuation
    (b"\xc0\xaf", 0),             // `/` in two bytes
    (b"\xe0\x80\xaf", 0),         // `/` in three bytes
    (b"\xc0\x80", 0),             // U+0000 in two bytes
    (b"\xed\xa0\x80", 0),         // U+D800, the first surrogate
    (b"x\xed\xbf\xbf", 1),        // U+DFFF, the last surrogate
    (b"\xf4\x90\x80\x80", 0),     // U+110000, beyond the last character
    (b"\xf8\x88\x80\x80\x80", 0), // five bytes
];

/// Texts that are allowed everywhere, for all that they look odd.
const GOOD_UTF8: &[&str] = &[
    "a",
    "\u{feff}",
    "a\u{feff}b",
    "\u{1}\u{7f}\u{9f}",
    "\u{d7ff}\u{e000}",
    "\u{ffff}\u{10ffff}",
    " / ",
];

/// Returns, for every string field of every packet, a packet with `text` there.
fn everywhere(text: &[u8]) -> Vec<(Field, Vec<u8>)> {
    let field = [&(text.len() as u16).to_be_bytes(), text].concat();
    let connect = |flags: u8, payload: &[u8]| {
        packet(
            0x10,
            &[b"\x00\x04MQTT\x04", &[flags][..], b"\x00\x00", payload].concat(),
        )
    };
    vec![
        (Field::ClientId, connect(0x02, &field)),
        (
            Field::WillTopic,
            connect(0x06, &[b"\x00\x01i", &field[..], b"\x00\x00"].concat()),
        ),
        (
            Field::UserName,
            connect(0x82, &[b"\x00\x01i", &field[..]].concat()),
        ),
        (
            Field::TopicName,
            packet(0x30, &[&field[..], b"payload"].concat()),
        ),
        (
            Field::TopicName,
            packet(0x32, &[&field[..], b"\x00\x01payload"].concat()),
        ),
        (
            Field::TopicFilter,
            packet(0x82, &[b"\x00\x01", &field[..], b"\x00"].concat()),
        ),
        (
            Field::TopicFilter,
            packet(
                0x82,
                &[b"\x00\x01\x00\x01a\x00", &field[..], b"\x01"].concat(),
            ),
        ),
        (
            Field::TopicFilter,
            packet(0xa2, &[b"\x00\x01", &field[..]].concat()),
        ),
        (
            Field::TopicFilter,
            packet(0xa2, &[b"\x00\x01\x00\x01a", &field[..]].concat()),
        ),
    ]
}

#[test]
fn bytes_that_are_no_utf8_are_refused_everywhere() {
    for &(text, at) in BAD_UTF8 {
        for (field, bytes) in everywhere(text) {
            assert_eq!(
                decode_whole(&bytes),
                Err(DecodeError::Utf8 { field, at }),
                "{bytes:x?}"
            );
        }
    }
}

#[test]
fn a_null_character_is_refused_everywhere() {
    for (text, at) in [(&b"\0"[..], 0), (b"abcdefgh\0", 8), (b"a\xc3\xa4\0", 3)] {
        for (field, bytes) in everywhere(text) {
            let error = DecodeError::NullCharacter { field, at };
            assert_eq!(decode_whole(&bytes), Err(error), "{bytes:x?}");
        }
    }
}

#[test]
fn every_other_text_is_taken_and_kept_to_the_byte() {
    for text in GOOD_UTF8 {
        for (field, bytes) in everywhere(text.as_bytes()) {
            let packet = decode_whole(&bytes);
            assert_eq!(
                packet.map(|packet| encode(&packet)),
                Ok(bytes),
                "{field} {text:?}"
            );
        }
    }
}

#[test]
fn wildcards_are_refused_in_topic_names_and_taken_elsewhere() {
    for (text, found, at) in [
        ("+", '+', 0),
        ("a/#", '#', 2),
        ("ä/+/#", '+', 3),
        ("x#+", '#', 1),
    ] {
        for (field, bytes) in everywhere(text.as_bytes()) {
            let decoded = decode_whole(&bytes);
            if matches!(field, Field::TopicName | Field::WillTopic) {
                assert_eq!(
                    decoded,
                    Err(DecodeError::TopicWildcard { field, found, at })
                );
            } else {
                assert!(decoded.is_ok(), "{field}: {decoded:?}");
            }
        }
    }
}

#[test]
fn topics_and_filters_have_a_character_at_least() {
    for (field, bytes) in everywhere(b"") {
        let decoded = decode_whole(&bytes).map(|_| ());
        let expected = match field {
            Field::TopicName | Field::WillTopic => Err(DecodeError::TopicEmpty { field }),
            Field::TopicFilter => Err(DecodeError::FilterEmpty),
            _ => Ok(()),
        };
        assert_eq!(decoded, expected, "{field}");
    }
}

#[test]
fn texts_of_65535_bytes_are_taken_everywhere() {
    let text = "x".repeat(MAX_FIELD_LEN);
    for (field, bytes) in everywhere(text.as_bytes()) {
        let packet = decode_whole(&bytes);
        assert!(packet.map(|packet| encode(&packet)) == Ok(bytes), "{field}");
    }
}

#[test]
fn packet_identifiers_are_kept_and_zero_is_refused_in_every_packet_that_has_one() {
    use PacketType as T;
    let packets: [(PacketType, u8, &[u8], &[u8]); 10] = [
        (T::Publish, 0x32, b"\x00\x01a", b"payload"),
        (T::Publish, 0x34, b"\x00\x01a", b""),
        (T::PubAck, 0x40, b"", b""),
        (T::PubRec, 0x50, b"", b""),
        (T::PubRel, 0x62, b"", b""),
        (T::PubComp, 0x70, b"", b""),
        (T::Subscribe, 0x82, b"", b"\x00\x01a\x00"),
        (T::SubAck, 0x90, b"", b"\x00"),
        (T::Unsubscribe, 0xa2, b"", b"\x00\x01a"),
        (T::UnsubAck, 0xb0, b"", b""),
    ];
    for (packet_type, first, before, behind) in packets {
        for number in 0..=u16::MAX {
            let bytes = packet(first, &[before, &number.to_be_bytes(), behind].concat());
            let found = decode_whole(&bytes).map(|packet| match packet {
                PacketRef::Publish(publish) => publish.packet_id(),
                PacketRef::PubAck(ack) => Some(ack.packet_id),
                PacketRef::PubRec(ack) => Some(ack.packet_id),
                PacketRef::PubRel(ack) => Some(ack.packet_id),
                PacketRef::PubComp(ack) => Some(ack.packet_id),
                PacketRef::Subscribe(subscribe) => Some(subscribe.packet_id()),
                PacketRef::SubAck(ack) => Some(ack.packet_id()),
                PacketRef::Unsubscribe(unsubscribe) => Some(unsubscribe.packet_id()),
                PacketRef::UnsubAck(ack) => Some(ack.packet_id),
                other => panic!("found {other:?}"),
            });
            let expected = match PacketId::new(number) {
                Some(packet_id) => Ok(Some(packet_id)),
                None => Err(DecodeError::PacketIdZero { packet_type }),
            };
            assert_eq!(found, expected, "{packet_type}");
        }
    }
}

#[test]
fn all_256_requested_qos_bytes_are_judged() {
    for byte in 0..=u8::MAX {
        let bytes = packet(0x82, &[b"\x00\x01\x00\x01a", &[byte][..]].concat());
        let expected = match byte {
            0..=2 => {
                let filters = [("a", QoS::from_bits(byte).unwrap())];
                let packet = Subscribe::new(Version::V311, id(1), &filters);
                assert_eq!(
                    decode_whole(&bytes),
                    Ok(PacketRef::Subscribe(packet.unwrap()))
                );
                continue;
            }
            3 => DecodeError::RequestedQoS,
            found => DecodeError::RequestedQoSReserved { found },
        };
        assert_eq!(decode_whole(&bytes), Err(expected), "{byte:#04x}");
    }
}

#[test]
fn all_256_return_codes_of_suback_are_judged() {
    for code in 0..=u8::MAX {
        let bytes = [0x90, 0x03, 0x00, 0x01, code];
        let reason = match code {
            0 => SubscribeReason::Granted(QoS::AtMostOnce),
            1 => SubscribeReason::Granted(QoS::AtLeastOnce),
            2 => SubscribeReason::Granted(QoS::ExactlyOnce),
            0x80 => SubscribeReason::Failure,
            found => {
                assert_eq!(decode_whole(&bytes), Err(DecodeError::ReturnCode { found }));
                continue;
            }
        };
        assert_eq!(reason.code(), code);
        let reasons = [reason];
        let packet = SubAck::new(Version::V311, id(1), &reasons).unwrap();
        assert_eq!(decode_whole(&bytes), Ok(PacketRef::SubAck(packet)));
    }
    assert_eq!(
        SubscribeReason::Granted(QoS::AtLeastOnce).to_string(),
        "granted with QoS 1"
    );
    assert_eq!(SubscribeReason::Failure.to_string(), "refused");
}

#[test]
fn a_received_list_gives_the_entries_of_the_sent_one_in_their_order() {
    let sent = [
        ("a/+", QoS::AtLeastOnce),
        ("#", QoS::ExactlyOnce),
        ("c", QoS::AtMostOnce),
    ];
    let subscribe = Subscribe::new(Version::V311, id(7), &sent).unwrap();
    let bytes = encode(&PacketRef::Subscribe(subscribe));
    let Ok(PacketRef::Subscribe(received)) = decode_whole(&bytes) else {
        panic!("expected SUBSCRIBE");
    };
    assert_eq!(received.filters().iter().collect::<Vec<_>>(), sent);
    assert_eq!(subscribe.filters().iter().collect::<Vec<_>>(), sent);
    assert_eq!(format!("{:?}", received.filters()), format!("{sent:?}"));
    let mut filters = received.filters().iter();
    filters.next();
    assert_eq!(
        format!("{filters:?}"),
        format!("ListIter({:?})", &sent[1..])
    );
    // Equal are lists of equal entries alone.
    let fewer = Subscribe::new(Version::V311, id(7), &sent[..2]).unwrap();
    assert_ne!(fewer, received);
    let swapped = [sent[1], sent[0], sent[2]];
    assert_ne!(
        Subscribe::new(Version::V311, id(7), &swapped).unwrap(),
        received
    );
}
