//! What a program is told of an end, whoever asks and whenever: closed clients, missed ends, calls
//! that were given up.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::PacketRef;
use mqtt::session::ArgumentError;
use mqtt::{Ack, Error, Event, MQTT_CONNECT_CLEAN_SESSION, QoS, Subscribe, Wait, WaitCause};

use crate::harness::{
    answer_subscribe, answer_unsubscribe, expect_disconnect, options, play, play_connected, qos_1,
};

#[test]
fn a_subscription_that_was_given_up_is_ended_at_the_broker_unless_another_wants_it() {
    play_connected(
        options(),
        |broker| {
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            // The other one stays.
            assert_eq!(answer_subscribe(broker, &[]), ["b"]);
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            expect_disconnect(broker);
        },
        |client| {
            let second = Duration::from_secs(1);
            let waited = fiber::timeout(second, || {
                client.subscribe("a", QoS::AtMostOnce, |_, _| Ok(()))
            });
            assert!(waited.is_err());
            client
                .subscribe("b", QoS::AtMostOnce, |_, _| Ok(()))
                .unwrap();
            let waited = fiber::timeout(second, || {
                client.subscribe("b", QoS::AtMostOnce, |_, _| Ok(()))
            });
            assert!(waited.is_err());
        },
    );
}

#[test]
fn everyone_who_waits_for_the_end_is_told_though_another_connection_is_given_at_once() {
    play(
        options().clean_start(false),
        |first| {
            first.accept(false, |_| ());
            fiber::sleep(Duration::from_secs(1)).unwrap();
        },
        |client| {
            client.connect().unwrap();
            let ends = Rc::new(RefCell::new(Vec::new()));
            // This one is told first, and gives a connection before the others run.
            let giver = client.clone();
            let give = move || {
                giver.ended().unwrap();
                giver.attach(fiber::net::pipe(10).0).unwrap();
            };
            let mut giving = fiber::spawn(give).unwrap();
            fiber::yield_now().unwrap();
            let mut waiting: Vec<_> = (0..3)
                .map(|_| {
                    let (client, ends) = (client.clone(), Rc::clone(&ends));
                    fiber::spawn(move || {
                        let cause = client.ended().unwrap();
                        ends.borrow_mut().push(cause.to_string());
                    })
                    .unwrap()
                })
                .collect();
            giving.join().unwrap();
            for waiting in &mut waiting {
                waiting.join().unwrap();
            }
            assert_eq!(*ends.borrow(), ["the broker closed the connection"; 3]);
        },
    );
}

#[test]
fn a_closed_client_says_so_to_who_connects_it() {
    play(
        options(),
        |broker| broker.expect_end(),
        |client| {
            client.close(Duration::ZERO).unwrap();
            let closed = |error| matches!(error, Error::Wait(WaitCause::Closed));
            assert!(closed(client.connect().unwrap_err()));
            assert!(closed(client.connect_as(Wait::None).unwrap_err()));
            let flags = MQTT_CONNECT_CLEAN_SESSION;
            let connected = mqtt::mqtt_connect(client, None, None, flags, Wait::Ack);
            assert!(closed(connected.unwrap_err()));
        },
    );
}

#[test]
fn a_password_without_a_user_name_is_an_argument_error_and_the_connection_is_untouched() {
    play(
        options(),
        |broker| {
            broker.accept(false, |connect| {
                let fields = connect.fields();
                assert_eq!(fields.user_name, Some("meter"));
                assert_eq!(fields.password, Some(&b"secret"[..]));
            });
            expect_disconnect(broker);
        },
        |client| {
            let flags = MQTT_CONNECT_CLEAN_SESSION;
            let connect =
                |name| mqtt::mqtt_connect(client, name, Some(b"secret"), flags, Wait::Ack);
            let refused = connect(None).unwrap_err();
            let Error::Argument(ArgumentError::Packet(error)) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(error, mqtt::packet::EncodeError::PasswordWithoutUserName);
            connect(Some("meter")).unwrap();
        },
    );
}

#[test]
fn many_acknowledgements_that_expire_at_once_push_out_no_other_event() {
    const COUNT: u16 = 500;
    play_connected(
        options().manual_ack_timeout(Duration::from_secs(5)),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=COUNT {
                broker.send(&qos_1("set", b"", number));
            }
            for _ in 1..=COUNT {
                broker.receive(|packet| assert!(matches!(packet, PacketRef::PubAck(_))));
            }
            expect_disconnect(broker);
        },
        |client| {
            let told = Rc::new(RefCell::new(Vec::new()));
            let noted = Rc::clone(&told);
            client.on_event(move |_, event| {
                let event = match event {
                    Event::AckExpired { topic, messages } => format!("{messages} of {topic}"),
                    Event::SubscribeRefused { .. } => "another".to_owned(),
                    _ => return,
                };
                noted.borrow_mut().push(event);
            });
            let manual = Subscribe::to("set", QoS::AtLeastOnce).ack(Ack::Manual);
            client.subscribe_as(manual, |_, _| Ok(())).unwrap();
            fiber::sleep(Duration::from_secs(6)).unwrap();
            assert_eq!(client.stats().acks_expired, u64::from(COUNT));
            let told = told.borrow();
            assert!(told.len() < 20, "{told:?}");
            let counts = told.iter().map(|event| event.split(' ').next().unwrap());
            let total: u16 = counts.map(|count| count.parse::<u16>().unwrap()).sum();
            assert_eq!(total, COUNT);
        },
    );
}
