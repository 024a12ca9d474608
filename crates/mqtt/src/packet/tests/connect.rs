//! CONNECT and CONNACK: their flags in full.

use super::*;

/// Returns a CONNECT with these flags and the fields they announce.
fn with_flags(flags: u8, client_id: &[u8]) -> Vec<u8> {
    let mut body = [b"\x00\x04MQTT\x04", &[flags][..], b"\x00\x3c"].concat();
    let mut field = |data: &[u8]| body.extend([&[0, data.len() as u8], data].concat());
    field(client_id);
    if flags & 0x04 != 0 {
        field(b"w");
        field(b"payload");
    }
    if flags & 0x80 != 0 {
        field(b"user");
    }
    if flags & 0x40 != 0 {
        field(b"password");
    }
    packet(0x10, &body)
}

/// What the standard says about a byte of connect flags, rule by rule (MQTT3-3.1.2.3).
fn judged_by_hand(flags: u8) -> Result<(), DecodeError> {
    let will_qos = (flags & 0b0001_1000) >> 3;
    let (will, will_retain) = (flags & 0b0000_0100 != 0, flags & 0b0010_0000 != 0);
    if flags & 0b0000_0001 != 0 {
        return Err(DecodeError::ConnectReservedFlag { found: flags });
    }
    if !will && will_qos > 0 {
        return Err(DecodeError::WillQoSWithoutWill { found: will_qos });
    }
    if !will && will_retain {
        return Err(DecodeError::WillRetainWithoutWill);
    }
    if will_qos == 3 {
        return Err(DecodeError::WillQoS);
    }
    if flags & 0b1100_0000 == 0b0100_0000 {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    Ok(())
}

#[test]
fn all_256_connect_flags_are_judged_and_mean_what_they_say() {
    let mut accepted = 0;
    for flags in 0..=u8::MAX {
        let bytes = with_flags(flags, b"id");
        let decoded = decode_whole(&bytes);
        assert_eq!(decoded.map(|_| ()), judged_by_hand(flags), "{flags:#010b}");
        let Ok(packet) = decoded else {
            continue;
        };
        accepted += 1;
        let PacketRef::Connect(connect) = packet else {
            panic!("expected CONNECT, found {packet:?}");
        };
        let fields = connect.fields();
        assert_eq!(fields.clean_start, flags & 0x02 != 0);
        assert_eq!((fields.client_id, fields.keep_alive_secs), ("id", 60));
        let will = (flags & 0x04 != 0).then_some(Will {
            topic: "w",
            payload: b"payload",
            qos: QoS::from_bits((flags & 0x18) >> 3).unwrap(),
            retain: flags & 0x20 != 0,
            properties: Properties::EMPTY,
        });
        assert_eq!(fields.will, will);
        assert_eq!(fields.user_name, (flags & 0x80 != 0).then_some("user"));
        assert_eq!(
            fields.password,
            (flags & 0x40 != 0).then_some(&b"password"[..])
        );
        assert_eq!(encode(&packet), bytes);
    }
    // Clean start, three forms of credentials, no will or one of three QoS with and without retain.
    assert_eq!(accepted, 2 * 3 * (1 + 3 * 2));
}

#[test]
fn a_field_is_there_exactly_when_its_flag_is_set() {
    for flags in (0..=u8::MAX).filter(|&flags| judged_by_hand(flags).is_ok()) {
        let body = &with_flags(flags, b"id")[2..];
        let longer = packet(0x10, &[body, b"\x00\x00"].concat());
        let trailing = DecodeError::TrailingBytes {
            packet_type: PacketType::Connect,
            found: 2,
        };
        assert_eq!(decode_whole(&longer), Err(trailing), "{flags:#010b}");
        let shorter = packet(0x10, &body[..body.len() - 1]);
        let error = decode_whole(&shorter).unwrap_err();
        assert!(
            matches!(error, DecodeError::FieldBeyondEnd { .. }),
            "{flags:#010b}: {error}"
        );
    }
}

#[test]
fn an_empty_client_identifier_needs_clean_start() {
    for flags in (0..=u8::MAX).filter(|&flags| judged_by_hand(flags).is_ok()) {
        let bytes = with_flags(flags, b"");
        let expected = if flags & 0x02 != 0 {
            Ok(())
        } else {
            Err(DecodeError::ClientIdEmpty)
        };
        assert_eq!(decode_whole(&bytes).map(|_| ()), expected, "{flags:#010b}");
    }
}

#[test]
fn a_server_answers_only_what_the_standard_wants_answered() {
    let level = decode_whole(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x01a").unwrap_err();
    assert_eq!(
        level.connect_reason(),
        Some(ConnectReason::UnacceptableProtocolVersion)
    );
    let empty = decode_whole(&with_flags(0, b"")).unwrap_err();
    assert_eq!(
        empty.connect_reason(),
        Some(ConnectReason::IdentifierRejected)
    );
    // A malformed packet is not answered, whatever else is wrong with it.
    let bytes = packet(0x10, b"\x00\x04MQTT\x04\x00\x00\x3c\x00\x00x");
    let trailing = DecodeError::TrailingBytes {
        packet_type: PacketType::Connect,
        found: 1,
    };
    assert_eq!(decode_whole(&bytes), Err(trailing));
    assert_eq!(trailing.connect_reason(), None);
}

#[test]
fn every_other_protocol_level_is_refused() {
    for found in (0..=u8::MAX).filter(|&level| level != 4) {
        let mut bytes = with_flags(0x02, b"id");
        bytes[8] = found;
        assert_eq!(
            decode_whole(&bytes),
            Err(DecodeError::ProtocolLevel { expected: 4, found })
        );
    }
}

#[test]
fn all_flags_and_codes_of_connack_are_judged() {
    for flags in 0..=u8::MAX {
        for code in 0..=u8::MAX {
            let bytes = [0x20, 0x02, flags, code];
            let expected = match (flags, code) {
                (2.., _) => Err(DecodeError::ConnectAckFlags { found: flags }),
                (_, 6..) => Err(DecodeError::ConnectReturnCode { found: code }),
                (0, _) => Ok(ConnAck::refused(ConnectReason::from_code(code).unwrap())),
                (1, 0) => Ok(ConnAck::accepted(true)),
                (1, _) => {
                    let reason = ConnectReason::from_code(code).unwrap();
                    Err(DecodeError::SessionPresentWithRefusal { reason })
                }
            };
            assert_eq!(
                decode_whole(&bytes),
                expected.map(PacketRef::ConnAck),
                "{bytes:x?}"
            );
        }
    }
    assert_eq!(
        ConnAck::refused(ConnectReason::Accepted),
        ConnAck::accepted(false)
    );
}

#[test]
fn every_connect_reason_has_its_code_and_text() {
    let reasons = [
        (0, ConnectReason::Accepted, "accepted"),
        (
            1,
            ConnectReason::UnacceptableProtocolVersion,
            "unacceptable protocol version",
        ),
        (
            2,
            ConnectReason::IdentifierRejected,
            "client identifier rejected",
        ),
        (3, ConnectReason::ServerUnavailable, "server unavailable"),
        (
            4,
            ConnectReason::BadUserNameOrPassword,
            "bad user name or password",
        ),
        (5, ConnectReason::NotAuthorized, "not authorized"),
    ];
    for (code, reason, text) in reasons {
        assert_eq!((reason.code(), reason.to_string().as_str()), (code, text));
        assert_eq!(ConnectReason::from_code(code), Some(reason));
    }
}
