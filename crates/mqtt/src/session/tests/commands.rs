//! What the program may ask for, what it may not, and that a refused command changes nothing.

use super::*;
use crate::outbound_log::{LOG_BYTES_MAX, LOG_BYTES_MIN, LogFull};
use crate::packet::EncodeError;
use crate::packet::{Field, PacketType};
use crate::topic::TopicError;

fn rejected(rig: &mut Rig, topic: &str, payload: usize, qos: QoS) -> Rejected {
    rig.publish_sized(topic, payload, qos, 0).unwrap_err()
}

/// Expects that nothing has changed: no byte to send, and identifier 1 still to be given.
#[track_caller]
fn check_untouched(mut rig: Rig) {
    assert_eq!(rig.write(usize::MAX), b"");
    assert_eq!(
        rig.session.phase(),
        Phase::Up {
            session_present: false
        }
    );
    assert_eq!(
        rig.publish("a", QoS::AtLeastOnce, 0).unwrap().packet_id,
        Some(id(1))
    );
    assert_eq!(rig.write(usize::MAX), b"\x32\x05\x00\x01a\x00\x01");
}

#[test]
fn wrong_arguments_of_publish_are_errors_and_touch_nothing() {
    let field = Field::TopicName;
    let long = "x".repeat(65_536);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut rig = Rig::up();
        for (topic, payload, error) in [
            (
                "",
                0,
                ArgumentError::Packet(EncodeError::TopicEmpty { field }),
            ),
            (
                "a/+",
                0,
                ArgumentError::Packet(EncodeError::TopicWildcard {
                    field,
                    found: '+',
                    at: 2,
                }),
            ),
            (
                "#",
                0,
                ArgumentError::Packet(EncodeError::TopicWildcard {
                    field,
                    found: '#',
                    at: 0,
                }),
            ),
            (
                "a\0",
                0,
                ArgumentError::Packet(EncodeError::NullCharacter { field, at: 1 }),
            ),
            (
                &*long,
                0,
                ArgumentError::Packet(EncodeError::FieldTooLong {
                    field,
                    found: 65_536,
                }),
            ),
        ] {
            assert_eq!(
                rejected(&mut rig, topic, payload, qos),
                Rejected::Argument(error)
            );
        }
        check_untouched(rig);
    }
}

#[test]
fn a_packet_beyond_the_bound_of_the_log_is_an_argument_error() {
    for (qos, overhead, spare) in [
        (QoS::AtMostOnce, 8, 0),
        (QoS::AtLeastOnce, 10, 0),
        // Its PUBREL needs room as well.
        (QoS::ExactlyOnce, 10, 4),
    ] {
        let mut rig = Rig::up();
        // First byte, remaining length of four bytes, topic "a" of three.
        let largest = LOG_BYTES_MAX - overhead - spare;
        let error = ArgumentError::TooLarge {
            found: LOG_BYTES_MAX - spare + 1,
            bound: LOG_BYTES_MAX - spare,
        };
        assert_eq!(rejected(&mut rig, "a", largest + 1, qos), error.into());
        assert_eq!(rig.write(usize::MAX), b"");
        rig.publish_sized("a", largest, qos, 0).unwrap();
        assert_eq!(rig.write(usize::MAX).len(), LOG_BYTES_MAX - spare);
    }
}

#[test]
fn wrong_arguments_of_requests_are_errors_and_touch_nothing() {
    let mut rig = Rig::up();
    let key = TicketKey(0);
    let filter = |index, error| Rejected::Argument(ArgumentError::Filter { index, error });
    for (filters, error) in [
        (&["a", ""][..], filter(1, TopicError::Empty)),
        (&["a#"], filter(0, TopicError::MultiLevelWildcard { at: 1 })),
        (
            &["a", "b", "+c"],
            filter(2, TopicError::SingleLevelWildcard { at: 0 }),
        ),
        (&["\0"], filter(0, TopicError::Null { at: 0 })),
        (
            &["a"; 1_025],
            Rejected::Argument(ArgumentError::TooManyFilters { found: 1_025 }),
        ),
    ] {
        let with_qos: Vec<_> = filters
            .iter()
            .map(|text| (*text, QoS::AtMostOnce))
            .collect();
        assert_eq!(
            rig.session.subscribe(&with_qos, key, &mut rig.log),
            Err(error)
        );
        assert_eq!(
            rig.session.unsubscribe(filters, key, &mut rig.log),
            Err(error)
        );
    }
    let none = |packet_type| {
        Rejected::Argument(ArgumentError::Packet(EncodeError::NoFilter { packet_type }))
    };
    let error = none(PacketType::Subscribe);
    assert_eq!(rig.session.subscribe(&[], key, &mut rig.log), Err(error));
    let error = none(PacketType::Unsubscribe);
    assert_eq!(rig.session.unsubscribe(&[], key, &mut rig.log), Err(error));
    check_untouched(rig);
}

#[test]
fn a_full_window_is_back_pressure_for_qos_1_alone() {
    let mut rig = Rig::up_with(
        SessionOptions {
            window: 2,
            ..Default::default()
        },
        60,
    );
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
    let error = Rejected::NoRoom(NoRoom::Window { window: 2 });
    assert_eq!(rejected(&mut rig, "c", 0, QoS::AtLeastOnce), error);
    // Wrong arguments come first, so that nobody waits for room in vain.
    assert!(matches!(
        rejected(&mut rig, "+", 0, QoS::AtLeastOnce),
        Rejected::Argument(_)
    ));
    rig.publish("q", QoS::AtMostOnce, 0).unwrap();
    rig.session
        .subscribe(&[("a", QoS::AtMostOnce)], TicketKey(3), &mut rig.log)
        .unwrap();
    rig.write(usize::MAX);
    assert_eq!(rig.session.unacknowledged(), 2);
    rig.receive(b"\x40\x02\x00\x02").unwrap();
    assert_eq!(
        rig.publish("c", QoS::AtLeastOnce, 3).unwrap().packet_id,
        Some(id(4))
    );
}

#[test]
fn requests_have_a_bound_of_their_own() {
    let mut rig = Rig::up_with(
        SessionOptions {
            window: 1,
            ..Default::default()
        },
        60,
    );
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    for _ in 0..REQUESTS_MAX / 2 {
        rig.session
            .subscribe(&[("a", QoS::AtLeastOnce)], TicketKey(2), &mut rig.log)
            .unwrap();
        rig.session
            .unsubscribe(&["a"], TicketKey(3), &mut rig.log)
            .unwrap();
    }
    let error = Rejected::NoRoom(NoRoom::Requests {
        bound: REQUESTS_MAX,
    });
    let filters = [("a", QoS::AtLeastOnce)];
    assert_eq!(
        rig.session.subscribe(&filters, TicketKey(2), &mut rig.log),
        Err(error)
    );
    assert_eq!(
        rig.session.unsubscribe(&["a"], TicketKey(2), &mut rig.log),
        Err(error)
    );
    let error = rig
        .session
        .unsubscribe(&["+a"], TicketKey(2), &mut rig.log)
        .unwrap_err();
    assert!(matches!(error, Rejected::Argument(_)));
    rig.write(usize::MAX);
    rig.receive(b"\xb0\x02\x00\x03").unwrap();
    rig.session
        .subscribe(&filters, TicketKey(2), &mut rig.log)
        .unwrap();
}

#[test]
fn the_window_is_at_least_one_and_leaves_identifiers_for_requests() {
    for (window, effective) in [(0, 1), (1, 1), (1_000, 1_000), (u16::MAX, WINDOW_MAX)] {
        let session = Session::new(SessionOptions {
            window,
            ..Default::default()
        });
        assert_eq!(session.options.window, effective);
    }
    assert_eq!(usize::from(WINDOW_MAX) + REQUESTS_AHEAD_MAX, 65_535);
}

#[test]
fn a_full_log_is_back_pressure() {
    let mut rig = Rig::up();
    rig.log = OutboundLog::new(LOG_BYTES_MIN);
    rig.publish_sized("a", 16_000, QoS::AtLeastOnce, 1).unwrap();
    let full = LogFull {
        kept: 16_008,
        wanted: 1_006,
        bound: LOG_BYTES_MIN,
    };
    let error = Rejected::NoRoom(NoRoom::Log(full));
    assert_eq!(rejected(&mut rig, "b", 1_000, QoS::AtMostOnce), error);
    let filters = ["f"; 200];
    let error = rig
        .session
        .unsubscribe(&filters, TicketKey(0), &mut rig.log)
        .unwrap_err();
    assert!(matches!(error, Rejected::NoRoom(NoRoom::Log(_))));
    // Being sent is not enough for QoS 1.
    rig.write(usize::MAX);
    assert!(matches!(
        rejected(&mut rig, "b", 1_000, QoS::AtMostOnce),
        Rejected::NoRoom(_)
    ));
    rig.receive(b"\x40\x02\x00\x01").unwrap();
    assert_eq!(
        rig.publish_sized("b", 1_000, QoS::AtLeastOnce, 2)
            .unwrap()
            .packet_id,
        Some(id(2))
    );
}

#[test]
fn one_connect_and_then_commands_by_phase() {
    let mut rig = Rig::idle(SessionOptions::default());
    assert_eq!(rig.session.ping(at(0), &rig.log), Err(Rejected::NotUp));
    rig.session
        .connect(&connect_packet(true, 60), at(0))
        .unwrap();
    let again = |rig: &mut Rig| rig.session.connect(&connect_packet(true, 60), at(0));
    assert_eq!(again(&mut rig), Err(Rejected::Started));
    assert_eq!(rig.session.ping(at(0), &rig.log), Err(Rejected::NotUp));
    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);

    let mut rig = Rig::up();
    assert_eq!(again(&mut rig), Err(Rejected::Started));
    assert_eq!(rig.session.ping(at(0), &rig.log), Ok(()));
    // A second ping while one is under way would be of no use.
    assert_eq!(rig.session.ping(at(0), &rig.log), Ok(()));
    assert_eq!(rig.write(usize::MAX), b"\xc0\x00");

    rig.session.connection_lost();
    assert_eq!(rig.session.phase(), Phase::Closed);
    assert_eq!(rig.session.next_output(), None);
    assert_eq!(again(&mut rig), Err(Rejected::Ended));
    assert_eq!(rig.session.ping(at(0), &rig.log), Err(Rejected::Ended));
    assert_eq!(rig.publish("a", QoS::AtMostOnce, 0), Err(Rejected::Ended));
    let filters = [("a", QoS::AtMostOnce)];
    let error = Err(Rejected::Ended);
    assert_eq!(
        rig.session.subscribe(&filters, TicketKey(0), &mut rig.log),
        error
    );
    assert_eq!(
        rig.session.unsubscribe(&["a"], TicketKey(0), &mut rig.log),
        error
    );
}

#[test]
fn every_rejection_says_what_was_expected_and_found() {
    let full = LogFull {
        kept: 1,
        wanted: 2,
        bound: 3,
    };
    for (error, text) in [
        (
            ArgumentError::Packet(EncodeError::FilterEmpty).into(),
            "expected at least one character in the topic filter, found none",
        ),
        (
            ArgumentError::Filter {
                index: 3,
                error: TopicError::Empty,
            }
            .into(),
            "topic filter 3: expected at least one character of topic, found none",
        ),
        (
            ArgumentError::TooManyFilters { found: 2_000 }.into(),
            "expected at most 1024 topic filters, found 2000",
        ),
        (
            ArgumentError::TooLarge { found: 9, bound: 8 }.into(),
            "expected a packet of at most 8 bytes, found 9",
        ),
        (
            NoRoom::Window { window: 5 }.into(),
            "expected fewer than 5 unacknowledged publishes, found 5",
        ),
        (
            NoRoom::Requests { bound: 64 }.into(),
            "expected fewer than 64 unacknowledged requests, found 64",
        ),
        (
            NoRoom::Log(full).into(),
            "expected room for 2 bytes in the outbound log, found 1 of 3 in use",
        ),
        (
            Rejected::Ended,
            "expected an open connection, found it closing or closed",
        ),
        (
            Rejected::Started,
            "expected an idle connection, found it started before",
        ),
        (
            Rejected::NotUp,
            "expected an accepted connection, found CONNACK missing",
        ),
    ] {
        let error: Rejected = error;
        assert_eq!(error.to_string(), text);
    }
    let source = |error: Rejected| std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(source(NoRoom::Log(full).into()), Some(full.to_string()));
    assert_eq!(source(Rejected::Ended), None);
    assert_eq!(
        source(
            ArgumentError::Filter {
                index: 0,
                error: TopicError::Empty
            }
            .into()
        ),
        Some(TopicError::Empty.to_string())
    );
}
