//! What a connection takes over from the one before, byte for byte.

use super::*;

/// Ends the connection and begins the next one, up to and without CONNACK.
fn reconnect(rig: &mut Rig, clean_start: bool) {
    rig.session.connection_lost();
    rig.session.attach(&mut rig.log).unwrap();
    rig.session
        .connect(&connect_packet(clean_start, 60), rig.now)
        .unwrap();
    assert_eq!(rig.write(usize::MAX).len(), CONNECT_LEN);
}

fn connack(rig: &mut Rig, session_present: bool) -> Vec<Output> {
    rig.receive(&[0x20, 2, session_present.into(), 0]).unwrap();
    std::iter::from_fn(|| rig.session.next_output()).collect()
}

fn with_policy(on_session_loss: OnSessionLoss) -> Rig {
    let options = SessionOptions {
        on_session_loss,
        ..Default::default()
    };
    Rig::up_with(options, 60)
}

/// "a" (QoS 1, id 1) and "b" (QoS 2, id 2) sent, "c" (QoS 2, id 3) released, "d" (QoS 1, id 4) not
/// sent.
fn in_flight(policy: OnSessionLoss) -> Rig {
    let mut rig = with_policy(policy);
    rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
    rig.publish("b", QoS::ExactlyOnce, 2).unwrap();
    rig.publish("c", QoS::ExactlyOnce, 3).unwrap();
    rig.write(usize::MAX);
    rig.receive(b"\x50\x02\x00\x03").unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x03");
    rig.publish("d", QoS::AtLeastOnce, 4).unwrap();
    rig
}

#[test]
fn with_the_session_everything_in_flight_goes_first_and_again() {
    for policy in [OnSessionLoss::Resend, OnSessionLoss::Finish] {
        let mut rig = in_flight(policy);
        reconnect(&mut rig, false);
        rig.publish("e", QoS::AtMostOnce, 0).unwrap();
        // Nothing of the old connection is awaited before it was sent again.
        let connected = Output::Connected {
            session_present: true,
        };
        assert_eq!(connack(&mut rig, true), [connected]);
        for early in [b"\x40\x02\x00\x01", b"\x70\x02\x00\x03"] {
            assert_eq!(rig.receive(early), Ok(Effect::Nothing));
        }
        for packet in [
            &b"\x3a\x05\x00\x01a\x00\x01"[..],
            b"\x3c\x05\x00\x01b\x00\x02",
            b"\x62\x02\x00\x03",
            b"\x32\x05\x00\x01d\x00\x04",
            b"\x30\x03\x00\x01e",
        ] {
            assert_eq!(rig.write(packet.len()), packet, "{policy:?}");
        }
        assert_eq!(rig.write(usize::MAX), b"");
        let twice = Effect::Completed {
            key: TicketKey(1),
            maybe_twice: true,
        };
        assert_eq!(rig.receive(b"\x40\x02\x00\x01"), Ok(twice));
        assert_eq!(rig.receive(b"\x40\x02\x00\x04"), Ok(completed(4)));
        rig.receive(b"\x50\x02\x00\x02").unwrap();
        rig.write(usize::MAX);
        assert_eq!(rig.receive(b"\x70\x02\x00\x02"), Ok(completed(2)));
        assert_eq!(rig.receive(b"\x70\x02\x00\x03"), Ok(completed(3)));
        assert!(rig.log.is_empty());
    }
}

#[test]
fn without_the_session_messages_are_sent_as_new_ones() {
    for clean_start in [false, true] {
        let mut rig = in_flight(OnSessionLoss::Resend);
        reconnect(&mut rig, clean_start);
        let fate = Fate::SentAgain;
        let again = |key| Output::SessionLost {
            key: TicketKey(key),
            fate,
        };
        let connected = Output::Connected {
            session_present: false,
        };
        assert_eq!(
            connack(&mut rig, false),
            [connected, again(1), again(2), again(3)]
        );
        for packet in [
            &b"\x32\x05\x00\x01a\x00\x05"[..],
            b"\x34\x05\x00\x01b\x00\x06",
            b"\x34\x05\x00\x01c\x00\x07",
            b"\x32\x05\x00\x01d\x00\x04",
        ] {
            assert_eq!(rig.write(packet.len()), packet);
        }
        assert_eq!(rig.write(usize::MAX), b"");
        rig.receive(b"\x50\x02\x00\x07").unwrap();
        assert_eq!(rig.write(usize::MAX), b"\x62\x02\x00\x07");
        let twice = Effect::Completed {
            key: TicketKey(3),
            maybe_twice: true,
        };
        assert_eq!(rig.receive(b"\x70\x02\x00\x07"), Ok(twice));
    }
}

#[test]
fn without_the_session_qos_2_can_be_given_up_instead() {
    let mut rig = in_flight(OnSessionLoss::Finish);
    // Not sent whole: the server cannot have it.
    rig.publish("f", QoS::ExactlyOnce, 5).unwrap();
    rig.write(7 + 6);
    reconnect(&mut rig, false);
    let told = |key, fate| Output::SessionLost {
        key: TicketKey(key),
        fate,
    };
    let connected = Output::Connected {
        session_present: false,
    };
    assert_eq!(
        connack(&mut rig, false),
        [
            connected,
            told(1, Fate::SentAgain),
            told(2, Fate::GivenUp),
            told(3, Fate::GivenUp),
            told(4, Fate::SentAgain),
            told(5, Fate::SentAgain),
        ]
    );
    assert_eq!(rig.session.unacknowledged(), 3);
    let wire = rig.write(usize::MAX);
    assert_eq!(
        wire,
        b"\x32\x05\x00\x01a\x00\x06\x32\x05\x00\x01d\x00\x07\x34\x05\x00\x01f\x00\x08"
    );
    rig.receive(b"\x50\x02\x00\x08").unwrap();
    rig.write(usize::MAX);
    assert_eq!(rig.receive(b"\x70\x02\x00\x08"), Ok(completed(5)));
}

#[test]
fn a_half_sent_packet_is_sent_again_whole() {
    for (qos, first, again) in [
        (QoS::AtMostOnce, 0x30, 0x30),
        (QoS::AtLeastOnce, 0x32, 0x3a),
        (QoS::ExactlyOnce, 0x34, 0x3c),
    ] {
        for cut in 0..7 {
            let mut rig = Rig::up();
            rig.publish("a", qos, 1).unwrap();
            let len = rig.log.len();
            if cut >= len {
                continue;
            }
            assert_eq!(rig.write(cut).len(), cut);
            reconnect(&mut rig, false);
            connack(&mut rig, true);
            let wire = rig.write(usize::MAX);
            let expected = if cut == 0 { first } else { again };
            assert_eq!((wire.len(), wire[0]), (len, expected), "cut at {cut}");
        }
    }
    // One that was sent whole is not sent again without an identifier.
    let mut rig = Rig::up();
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.write(usize::MAX);
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    assert_eq!(rig.write(usize::MAX), b"");
}

#[test]
fn requests_that_were_sent_are_reported_and_the_others_wait() {
    let mut rig = Rig::up();
    let filters = [("f", QoS::AtLeastOnce)];
    for key in [1, 2, 3] {
        rig.session
            .subscribe(&filters, TicketKey(key), &mut rig.log)
            .unwrap();
    }
    rig.session
        .unsubscribe(&["f"], TicketKey(4), &mut rig.log)
        .unwrap();
    // Two whole and a part of the third.
    rig.write(8 + 8 + 3);
    rig.session.connection_lost();
    rig.session.attach(&mut rig.log).unwrap();
    let lost = |key| Output::RequestLost {
        key: TicketKey(key),
    };
    let outputs: Vec<_> = std::iter::from_fn(|| rig.session.next_output()).collect();
    assert_eq!(outputs, [lost(1), lost(2)]);
    rig.session
        .connect(&connect_packet(false, 60), at(0))
        .unwrap();
    rig.write(usize::MAX);
    connack(&mut rig, true);
    assert_eq!(
        rig.write(usize::MAX),
        b"\x82\x06\x00\x03\x00\x01f\x01\xa2\x05\x00\x04\x00\x01f"
    );
    // Their identifiers are free, and an answer to them is one that nobody awaits.
    assert_eq!(rig.receive(b"\x90\x03\x00\x01\x01"), Ok(Effect::Nothing));
    let answered = Effect::SubAcked { key: TicketKey(3) };
    assert_eq!(rig.receive(b"\x90\x03\x00\x03\x01"), Ok(answered));
}

#[test]
fn attach_is_for_a_connection_that_is_over() {
    let mut rig = Rig::idle(SessionOptions::default());
    assert_eq!(rig.session.attach(&mut rig.log), Ok(()));
    assert_eq!(rig.session.phase(), Phase::Idle);
    let started = Err(Rejected::Started);
    let mut rig = Rig::connecting(SessionOptions::default(), 60);
    assert_eq!(rig.session.attach(&mut rig.log), started);
    let mut rig = Rig::up();
    assert_eq!(rig.session.attach(&mut rig.log), started);
    rig.publish("a", QoS::AtMostOnce, 0).unwrap();
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.session.attach(&mut rig.log), started);
    rig.write(6);
    assert_eq!(rig.session.attach(&mut rig.log), started);
    rig.write(usize::MAX);
    assert_eq!(rig.session.attach(&mut rig.log), Ok(()));
    rig.publish("b", QoS::AtMostOnce, 0).unwrap();
    assert_eq!(rig.write(usize::MAX), b"", "nothing before CONNECT");
}

#[test]
fn a_received_message_is_not_delivered_again_by_a_later_connection() {
    let mut rig = Rig::up();
    let message = b"\x34\x05\x00\x01a\x00\x07";
    let again = b"\x3c\x05\x00\x01a\x00\x07";
    let Ok(Effect::Deliver { ack: Some(token) }) = rig.receive(message) else {
        panic!("a new message");
    };
    // Its handler still runs when it comes again, and again.
    for _ in 0..2 {
        reconnect(&mut rig, false);
        connack(&mut rig, true);
        assert_eq!(rig.receive(again), Ok(Effect::Nothing));
        assert_eq!(rig.write(usize::MAX), b"");
    }
    assert!(rig.session.acknowledge(token));
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07");
    // PUBREC was lost, then PUBREL's answer.
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    assert_eq!(rig.receive(again), Ok(Effect::Nothing));
    rig.receive(b"\x62\x02\x00\x07").unwrap();
    rig.write(usize::MAX);
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    rig.receive(b"\x62\x02\x00\x07").unwrap();
    assert_eq!(rig.write(usize::MAX), b"\x70\x02\x00\x07");
    assert_eq!(rig.session.counters().unknown_releases, 1);
}

#[test]
fn a_handler_that_ends_between_connections_is_remembered() {
    let mut rig = Rig::up();
    let Ok(Effect::Deliver { ack: Some(token) }) = rig.receive(b"\x34\x05\x00\x01a\x00\x07") else {
        panic!("a new message");
    };
    rig.session.connection_lost();
    assert!(rig.session.acknowledge(token));
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    assert_eq!(
        rig.receive(b"\x3c\x05\x00\x01a\x00\x07"),
        Ok(Effect::Nothing)
    );
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07");
}

#[test]
fn a_lost_session_forgets_what_was_received() {
    let mut rig = Rig::up();
    let message = b"\x34\x05\x00\x01a\x00\x07";
    let Ok(Effect::Deliver { ack: Some(old) }) = rig.receive(message) else {
        panic!("a new message");
    };
    reconnect(&mut rig, false);
    connack(&mut rig, false);
    let Ok(Effect::Deliver { ack: Some(new) }) = rig.receive(message) else {
        panic!("the identifier means another message now");
    };
    assert!(!rig.session.acknowledge(old));
    assert_eq!(rig.write(usize::MAX), b"");
    assert!(rig.session.acknowledge(new));
    assert_eq!(rig.write(usize::MAX), b"\x50\x02\x00\x07");
}

/// A new session to which the server says that it has one.
fn adopted() -> Rig {
    let mut rig = Rig::idle(SessionOptions::default());
    rig.session
        .connect(&connect_packet(false, 60), at(0))
        .unwrap();
    rig.write(usize::MAX);
    rig
}

#[test]
fn an_adopted_session_clears_each_identifier_before_its_first_qos_2_use() {
    let mut rig = adopted();
    rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
    rig.publish("b", QoS::AtLeastOnce, 2).unwrap();
    connack(&mut rig, true);
    assert_eq!(
        rig.write(usize::MAX),
        b"\x62\x02\x00\x01\x34\x05\x00\x01a\x00\x01\x32\x05\x00\x01b\x00\x02"
    );
    rig.publish("c", QoS::ExactlyOnce, 3).unwrap();
    assert_eq!(
        rig.write(usize::MAX),
        b"\x62\x02\x00\x03\x34\x05\x00\x01c\x00\x03"
    );
    // The answers are expected.
    rig.receive(b"\x70\x02\x00\x01").unwrap();
    rig.receive(b"\x70\x02\x00\x03").unwrap();
    assert_eq!(rig.session.counters(), Counters::default());
    // An identifier that was cleared needs no more.
    rig.receive(b"\x50\x02\x00\x01").unwrap();
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    assert_eq!(
        rig.write(usize::MAX),
        b"\x3a\x05\x00\x01b\x00\x02\x3c\x05\x00\x01c\x00\x03\x62\x02\x00\x01"
    );
}

#[test]
fn clearing_is_repeated_until_it_is_answered() {
    let mut rig = adopted();
    rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
    connack(&mut rig, true);
    // PUBREL leaves, PUBLISH does not.
    assert_eq!(rig.write(4), b"\x62\x02\x00\x01");
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    let wire = rig.write(usize::MAX);
    assert_eq!(wire, b"\x62\x02\x00\x01\x34\x05\x00\x01a\x00\x01");
}

#[test]
fn a_session_that_both_sides_know_needs_no_clearing() {
    for first_present in [false, true] {
        let mut rig = adopted();
        connack(&mut rig, first_present);
        reconnect(&mut rig, false);
        connack(&mut rig, false);
        rig.publish("a", QoS::ExactlyOnce, 1).unwrap();
        assert_eq!(rig.write(usize::MAX), b"\x34\x05\x00\x01a\x00\x01");
    }
}

#[test]
fn what_was_given_up_is_never_sent_however_often_the_connection_is_lost() {
    // The PUBREL of "c" is not sent when the session is lost, nor on the connection after that.
    let mut rig = with_policy(OnSessionLoss::Resend);
    rig.publish("c", QoS::ExactlyOnce, 1).unwrap();
    rig.write(usize::MAX);
    rig.receive(b"\x50\x02\x00\x01").unwrap();
    rig.publish("d", QoS::AtMostOnce, 0).unwrap();
    reconnect(&mut rig, false);
    connack(&mut rig, false);
    rig.write(3);
    reconnect(&mut rig, false);
    connack(&mut rig, true);
    assert_eq!(
        rig.write(usize::MAX),
        b"\x3c\x05\x00\x01c\x00\x02\x30\x03\x00\x01d"
    );
    rig.session.disconnect(at(0), &rig.log);
    assert_eq!(rig.write(usize::MAX), b"\xe0\x00");
}

#[test]
fn what_another_server_has_kept_is_a_lost_session_whose_identifiers_are_cleared() {
    for is_kept in [false, true] {
        let mut rig = with_policy(OnSessionLoss::Resend);
        rig.publish("a", QoS::AtLeastOnce, 1).unwrap();
        rig.publish("b", QoS::ExactlyOnce, 2).unwrap();
        rig.write(usize::MAX);
        rig.session.set_elsewhere(true);
        reconnect(&mut rig, false);
        let session_present = false;
        let connected = Output::Connected { session_present };
        let outputs = connack(&mut rig, is_kept);
        assert_eq!(outputs[0], connected);
        assert_eq!(outputs.len(), 3, "both are sent as new: {outputs:?}");
        let wire = rig.write(usize::MAX);
        let release = if is_kept {
            &b"\x62\x02\x00\x04"[..]
        } else {
            b""
        };
        let new = b"\x32\x05\x00\x01a\x00\x03\x34\x05\x00\x01b\x00\x04";
        assert_eq!(wire, [release, new].concat());
        // From here on it is where the session is.
        reconnect(&mut rig, false);
        assert_eq!(
            connack(&mut rig, true),
            [Output::Connected {
                session_present: true
            }]
        );
        assert_eq!(rig.write(usize::MAX).len(), release.len() + new.len());
    }
}

#[test]
fn no_server_is_another_one_before_the_first() {
    let mut rig = Rig::idle(SessionOptions::default());
    rig.session.set_elsewhere(true);
    rig.session
        .connect(&connect_packet(false, 60), at(0))
        .unwrap();
    rig.write(usize::MAX);
    assert_eq!(
        connack(&mut rig, true),
        [Output::Connected {
            session_present: true
        }]
    );
}
#[test]
fn a_pubrec_before_the_message_is_sent_again_spares_that() {
    // "a" is 7 bytes long, and so is "b" behind it.
    for (policy, taken) in [OnSessionLoss::Resend, OnSessionLoss::Finish]
        .into_iter()
        .flat_map(|policy| (0..=14).map(move |taken| (policy, taken)))
    {
        let mut rig = in_flight(policy);
        reconnect(&mut rig, false);
        connack(&mut rig, true);
        let mut wire = rig.write(taken);
        assert_eq!(rig.receive(b"\x50\x02\x00\x02"), Ok(Effect::Nothing));
        wire.extend(rig.write(usize::MAX));
        let b: &[u8] = if taken > 7 {
            b"\x3c\x05\x00\x01b\x00\x02"
        } else {
            b""
        };
        let rest = b"\x62\x02\x00\x03\x32\x05\x00\x01d\x00\x04\x62\x02\x00\x02";
        let expected = [b"\x3a\x05\x00\x01a\x00\x01", b, rest].concat();
        assert_eq!(wire, expected, "{policy:?}, {taken}");
        assert_eq!(rig.session.counters(), Counters::default());
        // The next connection goes on with PUBREL.
        reconnect(&mut rig, false);
        connack(&mut rig, true);
        assert_eq!(
            rig.write(usize::MAX),
            b"\x3a\x05\x00\x01a\x00\x01\x62\x02\x00\x03\x3a\x05\x00\x01d\x00\x04\x62\x02\x00\x02"
        );
        for (number, key) in [(2, 2), (3, 3)] {
            assert_eq!(rig.receive(&[0x70, 2, 0, number]), Ok(completed(key)));
        }
        for (number, key) in [(1, 1), (4, 4)] {
            let twice = Effect::Completed {
                key: TicketKey(key),
                maybe_twice: true,
            };
            assert_eq!(rig.receive(&[0x40, 2, 0, number]), Ok(twice));
        }
        assert!(rig.log.is_empty());
    }
}
