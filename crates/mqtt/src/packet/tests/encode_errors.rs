//! Every refusal of a packet to be sent, with its exact text.

use super::*;

/// Numbers the variants. A new variant does not compile here, and once numbered it fails
/// [`every_refusal_has_its_text`] until it has a row.
fn number(error: &EncodeError) -> usize {
    match error {
        EncodeError::FieldTooLong { .. } => 0,
        EncodeError::NullCharacter { .. } => 1,
        EncodeError::TopicEmpty { .. } => 2,
        EncodeError::TopicWildcard { .. } => 3,
        EncodeError::PacketTooLarge { .. } => 4,
        EncodeError::PasswordWithoutUserName => 5,
        EncodeError::ClientIdEmpty => 6,
        EncodeError::FilterEmpty => 7,
        EncodeError::NoFilter { .. } => 8,
        EncodeError::NoReturnCode => 9,
    }
}

/// The number of variants.
const VARIANTS: usize = 10;

const V311: Version = Version::V311;

fn publish(topic: &str) -> Result<(), EncodeError> {
    Publish::new(V311, topic, b"", Delivery::AtMostOnce, false).map(|_| ())
}

fn connect(fields: ConnectFields<'_>) -> Result<(), EncodeError> {
    Connect::new(
        V311,
        ConnectFields {
            clean_start: true,
            ..fields
        },
    )
    .map(|_| ())
}

fn subscribe(filters: &[(&str, QoS)]) -> Result<(), EncodeError> {
    Subscribe::new(V311, id(1), filters).map(|_| ())
}

fn unsubscribe(filters: &[&str]) -> Result<(), EncodeError> {
    Unsubscribe::new(V311, id(1), filters).map(|_| ())
}

const fn will<'a>(topic: &'a str, payload: &'a [u8]) -> Will<'a> {
    let properties = Properties::EMPTY;
    Will {
        topic,
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        properties,
    }
}

#[test]
fn every_refusal_has_its_text() {
    let long = "x".repeat(65_536);
    let field = Field::TopicName;
    let none = ConnectFields::default();
    // Zeros that nobody touches take no memory.
    let huge = vec![0; 268_435_453];
    let too_large = Publish::new(V311, "a", &huge, Delivery::AtMostOnce, false).map(|_| ());
    let rows: [(Result<(), EncodeError>, EncodeError, &str); 11] = [
        (
            publish(&long),
            EncodeError::FieldTooLong {
                field,
                found: 65_536,
            },
            "expected a topic name of at most 65535 bytes, found 65536",
        ),
        (
            publish("a\0"),
            EncodeError::NullCharacter { field, at: 1 },
            "expected no null character in the topic name, found one at index 1",
        ),
        (
            publish(""),
            EncodeError::TopicEmpty { field },
            "expected at least one character in the topic name, found none",
        ),
        (
            publish("a/+"),
            EncodeError::TopicWildcard {
                field,
                found: '+',
                at: 2,
            },
            "expected no wildcard in the topic name, found `+` at index 2",
        ),
        (
            too_large,
            EncodeError::PacketTooLarge {
                packet_type: PacketType::Publish,
                found: 268_435_456,
            },
            "expected a remaining length of at most 268435455 in PUBLISH, found 268435456",
        ),
        (
            connect(ConnectFields {
                password: Some(b"p"),
                ..none
            }),
            EncodeError::PasswordWithoutUserName,
            "expected a user name where there is a password, found none",
        ),
        (
            Connect::new(V311, none).map(|_| ()),
            EncodeError::ClientIdEmpty,
            "expected a client identifier without clean start, found an empty one",
        ),
        (
            subscribe(&[("", QoS::AtMostOnce)]),
            EncodeError::FilterEmpty,
            "expected at least one character in the topic filter, found none",
        ),
        (
            subscribe(&[]),
            EncodeError::NoFilter {
                packet_type: PacketType::Subscribe,
            },
            "expected at least one topic filter in SUBSCRIBE, found none",
        ),
        (
            unsubscribe(&[]),
            EncodeError::NoFilter {
                packet_type: PacketType::Unsubscribe,
            },
            "expected at least one topic filter in UNSUBSCRIBE, found none",
        ),
        (
            SubAck::new(V311, id(1), &[]).map(|_| ()),
            EncodeError::NoReturnCode,
            "expected at least one return code in SUBACK, found none",
        ),
    ];
    let mut seen = [false; VARIANTS];
    for (found, error, text) in rows {
        assert_eq!(found, Err(error));
        assert_eq!(error.to_string(), text);
        seen[number(&error)] = true;
    }
    assert_eq!(
        seen.iter().position(|seen| !seen),
        None,
        "this variant has no row"
    );
}

#[test]
fn fields_of_65535_bytes_are_taken_and_a_byte_more_is_refused() {
    type Check = fn(&str) -> Result<(), EncodeError>;
    const NONE: ConnectFields<'_> = ConnectFields {
        clean_start: true,
        keep_alive_secs: 0,
        properties: Properties::EMPTY,
        client_id: "",
        will: None,
        user_name: None,
        password: None,
    };
    let checks: [(Field, Check); 9] = [
        (Field::TopicName, publish),
        (Field::ClientId, |s| {
            connect(ConnectFields {
                client_id: s,
                ..NONE
            })
        }),
        (Field::WillTopic, |s| {
            connect(ConnectFields {
                will: Some(will(s, b"")),
                ..NONE
            })
        }),
        (Field::WillPayload, |s| {
            connect(ConnectFields {
                will: Some(will("w", s.as_bytes())),
                ..NONE
            })
        }),
        (Field::UserName, |s| {
            connect(ConnectFields {
                user_name: Some(s),
                ..NONE
            })
        }),
        (Field::Password, |s| {
            connect(ConnectFields {
                user_name: Some(""),
                password: Some(s.as_bytes()),
                ..NONE
            })
        }),
        (Field::TopicFilter, |s| {
            subscribe(&[("a", QoS::AtMostOnce), (s, QoS::AtMostOnce)])
        }),
        (Field::TopicFilter, |s| unsubscribe(&[s])),
        (Field::TopicFilter, |s| unsubscribe(&["a", s])),
    ];
    let longest = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    let binary = |field| matches!(field, Field::WillPayload | Field::Password);
    for (field, check) in checks {
        assert_eq!(check(&longest), Ok(()), "{field}");
        let refused = Err(EncodeError::FieldTooLong {
            field,
            found: 65_536,
        });
        assert_eq!(check(&too_long), refused);
        // Texts, and they alone, have no null character.
        let null = Err(EncodeError::NullCharacter { field, at: 1 });
        assert_eq!(
            check("a\0"),
            if binary(field) { Ok(()) } else { null },
            "{field}"
        );
        let wildcard = EncodeError::TopicWildcard {
            field,
            found: '#',
            at: 0,
        };
        let topic = matches!(field, Field::TopicName | Field::WillTopic);
        assert_eq!(
            check("#"),
            if topic { Err(wildcard) } else { Ok(()) },
            "{field}"
        );
    }
}

#[test]
fn a_remaining_length_of_268435455_is_taken_and_a_byte_more_is_refused() {
    let huge = vec![0; 268_435_451];
    let qos_1 = Delivery::AtLeastOnce {
        packet_id: id(1),
        dup: false,
    };
    let packet_type = PacketType::Publish;
    let largest = Publish::new(V311, "a", &huge[1..], qos_1, false).unwrap();
    assert_eq!(largest.encoded_len(V311), MAX_PACKET_LEN);
    let too_large = EncodeError::PacketTooLarge {
        packet_type,
        found: 268_435_456,
    };
    assert_eq!(Publish::new(V311, "a", &huge, qos_1, false), Err(too_large));
}

#[test]
fn filters_that_are_too_many_together_are_refused() {
    let longest = "x".repeat(65_535);
    // 65 538 and 65 537 bytes each, behind the identifier.
    let filters = vec![(longest.as_str(), QoS::AtMostOnce); 4_096];
    let packet_type = PacketType::Subscribe;
    let too_large = EncodeError::PacketTooLarge {
        packet_type,
        found: 2 + 4_096 * 65_538,
    };
    assert_eq!(subscribe(&filters), Err(too_large));
    assert_eq!(subscribe(&filters[1..]), Ok(()));
    let filters = vec![longest.as_str(); 4_096];
    let packet_type = PacketType::Unsubscribe;
    let too_large = EncodeError::PacketTooLarge {
        packet_type,
        found: 2 + 4_096 * 65_537,
    };
    assert_eq!(unsubscribe(&filters), Err(too_large));
    assert_eq!(unsubscribe(&filters[1..]), Ok(()));
}

#[test]
fn an_error_is_found_behind_filters_that_are_right() {
    let good = ("a", QoS::AtMostOnce);
    assert_eq!(
        subscribe(&[good, good, ("", good.1)]),
        Err(EncodeError::FilterEmpty)
    );
    assert_eq!(unsubscribe(&["a", "b", ""]), Err(EncodeError::FilterEmpty));
}
