//! The client that makes its connections itself: what outlives one, and when the next comes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::{ConnAck, Delivery, PacketRef};
use mqtt::{
    Client, ConnectReason, EndCause, Error, Event, Message, Outcome, Publish, QoS, Remaining,
    Subscribe, Wait, WaitCause,
};
use safe_rt::BackoffOptions;

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, expect_qos_1, id, note, options, play, play_open,
    puback, publish, qos_0, unreachable_broker,
};

const ACKED_TWICE: Option<Outcome> = Some(Outcome::Acked { maybe_twice: true });
const ACKED: Option<Outcome> = Some(Outcome::Acked { maybe_twice: false });

#[test]
fn what_is_published_before_there_is_a_connection_is_sent_once_there_is() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            broker.expect(&qos_0("m", b"early"));
            let number = expect_qos_1(&mut broker);
            broker.send(&puback(number));
            expect_disconnect(&mut broker);
        },
        |client| {
            client.publish(Publish::to("m", "early")).unwrap();
            let publish = Publish::to("m", "late").qos(QoS::AtLeastOnce);
            let ticket = client.publish(publish.wait(Wait::Ack)).unwrap();
            assert_eq!(ticket.poll(), ACKED);
        },
    );
}

#[test]
fn waits_go_on_across_connections_and_say_what_may_have_come_twice() {
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            assert_eq!(expect_qos_1(&mut first), 1);
            first.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            drop(first);
            let mut second = links.accept(true);
            let dup = true;
            let again = Delivery::AtLeastOnce {
                packet_id: id(1),
                dup,
            };
            second.expect(&publish("m", b"one", again));
            let again = Delivery::ExactlyOnce {
                packet_id: id(2),
                dup,
            };
            second.expect(&publish("m", b"two", again));
            second.send(&puback(1));
            second.send(&PacketRef::PubRec(mqtt::packet::PubRec::new(id(2))));
            second.receive(|packet| assert!(matches!(packet, PacketRef::PubRel(_))));
            drop(second);
            let mut third = links.accept(true);
            third.receive(|packet| assert!(matches!(packet, PacketRef::PubRel(_)), "{packet:?}"));
            third.send(&PacketRef::PubComp(mqtt::packet::PubComp::new(id(2))));
            expect_disconnect(&mut third);
        },
        |client| {
            let publish = Publish::to("m", "one").qos(QoS::AtLeastOnce);
            let one = client.publish(publish.wait(Wait::Sent)).unwrap();
            let publish = Publish::to("m", "two").qos(QoS::ExactlyOnce);
            let two = client.publish(publish.wait(Wait::Ack)).unwrap();
            assert_eq!((one.poll(), two.poll()), (ACKED_TWICE, ACKED));
        },
    );
}

#[test]
fn a_connection_is_told_before_a_message_that_came_with_it_is_handled() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let (events, messages) = (Rc::clone(&told), Rc::clone(&told));
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            assert_eq!(answer_subscribe(&mut first, &[]), ["set"]);
            drop(first);
            let mut second = links.accept(true);
            // Read together with CONNACK: what the session kept.
            second.send(&qos_0("set", b"1"));
            second.send(&qos_0("set", b"2"));
            expect_disconnect(&mut second);
        },
        move |client| {
            client.on_event(move |_, event| {
                if matches!(event, Event::Connected { .. }) {
                    events.borrow_mut().push("connected".to_owned());
                }
            });
            let subscribe = Subscribe::to("set", QoS::AtLeastOnce);
            let handler = move |_: &Client, message: &Message| {
                let text = String::from_utf8_lossy(&message.data).into_owned();
                messages.borrow_mut().push(text);
                Ok(())
            };
            client.subscribe_as(subscribe, handler).unwrap();
            while told.borrow().len() < 4 {
                fiber::sleep(Duration::from_secs(1)).unwrap();
            }
            assert_eq!(*told.borrow(), ["connected", "connected", "1", "2"]);
        },
    );
}

#[test]
fn trying_never_stops_and_is_spread_over_time() {
    let main = || {
        let attempts = Rc::new(RefCell::new(Vec::new()));
        let times = Rc::clone(&attempts);
        let dial = move || -> Result<safe_rt::Socket, safe_rt::Error> {
            times.borrow_mut().push(Instant::now());
            Err(unreachable_broker())
        };
        let client = Client::open_by(dial, options()).unwrap();
        let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
        let ticket = client.publish(publish).unwrap();
        fiber::sleep(Duration::from_secs(24 * 3_600)).unwrap();
        let attempts = attempts.take();
        assert!(attempts.len() > 24 * 30, "{} attempts", attempts.len());
        let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for pause in &pauses {
            assert!(*pause >= Duration::from_secs(1), "{pause:?}");
            assert!(*pause <= Duration::from_secs(121), "{pause:?}");
        }
        let later = &pauses[20..];
        let mean = later.iter().sum::<Duration>() / later.len() as u32;
        assert!((45..75).contains(&mean.as_secs()), "{mean:?}");
        assert_eq!(ticket.poll(), None);
        let remaining = client.close(Duration::from_secs(1)).unwrap();
        assert_eq!(remaining.unacknowledged, 1);
        assert_eq!(ticket.poll(), Some(Outcome::Withdrawn));
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn a_refusal_is_told_and_makes_the_next_attempt_later() {
    play_open(
        options(),
        |links| {
            let refuse = |reason| {
                let mut broker = links.next();
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Connect(_))));
                broker.send(&PacketRef::ConnAck(ConnAck::refused(reason)));
                broker.expect_end();
            };
            for _ in 0..20 {
                refuse(ConnectReason::NotAuthorized);
            }
            expect_disconnect(&mut links.accept(false));
        },
        |client| {
            let events = note(client);
            let began = Instant::now();
            client.wait_connected().unwrap();
            assert!(began.elapsed() > Duration::from_secs(20 * 60));
            fiber::yield_now().unwrap();
            fiber::yield_now().unwrap();
            let events = events.take();
            let refused = "failed, the broker refused the connection: not authorized, again: true";
            assert_eq!(events.len(), 21);
            assert!(
                events[..20].iter().all(|event| event == refused),
                "{events:?}"
            );
        },
    );
}

#[test]
fn retry_now_ends_the_pause_but_not_the_least_time_between_attempts() {
    let main = || {
        let attempts = Rc::new(RefCell::new(Vec::new()));
        let times = Rc::clone(&attempts);
        let dial = move || -> Result<safe_rt::Socket, safe_rt::Error> {
            times.borrow_mut().push(Instant::now());
            Err(unreachable_broker())
        };
        let client = Client::open_by(dial, options()).unwrap();
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        for _ in 0..100 {
            let last = *attempts.borrow().last().unwrap();
            client.retry_now();
            // As soon as a second has passed since the last one.
            fiber::sleep(Duration::from_millis(1_001)).unwrap();
            let next = *attempts.borrow().last().unwrap();
            assert!(next > last);
        }
        let attempts = attempts.borrow();
        let second = Duration::from_secs(1);
        assert!(attempts.windows(2).all(|pair| pair[1] - pair[0] >= second));
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn a_dial_that_panics_is_an_attempt_that_failed() {
    let main = || {
        let dial = || -> Result<safe_rt::Socket, safe_rt::Error> {
            panic!("a panic of the function that dials, as this test asks for")
        };
        let client = Client::open_by(dial, options()).unwrap();
        let events = note(&client);
        let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
        let ticket = client.publish(publish).unwrap();
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        let failed = "failed, no connection: connecting to the broker: the program's function \
                      panicked, again: true";
        let events = events.take();
        assert!(events.len() > 30, "{}", events.len());
        assert!(events.iter().all(|event| event == failed), "{events:?}");
        assert_eq!(ticket.poll(), None);
        client.close(Duration::ZERO).unwrap();
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn retry_now_while_connected_says_nothing_of_a_later_pause() {
    play_open(
        options().backoff(BackoffOptions::new().floor(Duration::from_secs(5))),
        |links| {
            let first = links.accept(false);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            drop(first);
            expect_disconnect(&mut links.accept(true));
        },
        |client| {
            client.wait_connected().unwrap();
            client.retry_now();
            let events = note(client);
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(events.borrow().len(), 1, "{events:?}");
            fiber::sleep(Duration::from_secs(10)).unwrap();
            assert_eq!(events.borrow().len(), 2, "{events:?}");
        },
    );
}

#[test]
fn a_backoff_of_nothing_lets_others_run() {
    let main = || {
        let attempts = Rc::new(Cell::new(0));
        let count = Rc::clone(&attempts);
        let dial = move || -> Result<safe_rt::Socket, safe_rt::Error> {
            count.set(count.get() + 1);
            assert!(count.get() < 100, "nobody else runs");
            Err(unreachable_broker())
        };
        let none = Duration::ZERO;
        let backoff = BackoffOptions::new().base(none).cap(none).floor(none);
        let client = Client::open_by(dial, options().backoff(backoff)).unwrap();
        for _ in 0..20 {
            fiber::yield_now().unwrap();
        }
        client.close(Duration::from_secs(1)).unwrap();
        let attempts = attempts.get();
        assert!((5..20).contains(&attempts), "{attempts}");
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn the_end_of_the_runtime_is_not_told_as_a_link_that_will_come_back() {
    for connected in [true, false] {
        let noted = Rc::new(RefCell::new(Rc::default()));
        let told = Rc::clone(&noted);
        let main = move || {
            let mut sockets = Vec::new();
            let dial = move || {
                if !connected {
                    let hang = fiber::sleep(Duration::from_secs(3_600)).unwrap_err();
                    let phase = safe_rt::Phase::Connect;
                    return Err(safe_rt::Error::new(phase, "broker", hang.into()));
                }
                let (ours, theirs) = fiber::net::pipe(10_000);
                let mut broker = Broker::new(theirs);
                sockets.push(fiber::spawn(move || {
                    broker.accept(false, |_| ());
                    broker
                }));
                Ok(ours.into())
            };
            let client = Client::open_by(dial, options()).unwrap();
            told.replace(note(&client));
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(client.is_connected(), connected);
            // Nobody lets go of it.
            std::mem::forget(client);
        };
        let runtime = fiber::Runtime::builder().paused_clock(true);
        runtime.run(main).unwrap();
        let told = noted.take().take();
        assert!(
            !told.iter().any(|event| event.ends_with("true")),
            "{told:?}"
        );
    }
}

#[test]
fn closing_and_letting_go_end_a_dial_that_hangs_and_a_pause() {
    for (hangs, closes) in [(false, false), (false, true), (true, false), (true, true)] {
        let main = move || {
            let held = Rc::new(());
            let dial = {
                let held = Rc::clone(&held);
                move || -> Result<safe_rt::Socket, safe_rt::Error> {
                    let _held = &held;
                    if hangs {
                        let hang = fiber::sleep(Duration::from_secs(3_600)).unwrap_err();
                        let phase = safe_rt::Phase::Connect;
                        return Err(safe_rt::Error::new(phase, "broker", hang.into()));
                    }
                    Err(unreachable_broker())
                }
            };
            let client = Client::open_by(dial, options()).unwrap();
            fiber::sleep(Duration::from_secs(600)).unwrap();
            let began = Instant::now();
            if closes {
                let remaining = client.close(Duration::from_secs(60)).unwrap();
                assert_eq!(remaining, Remaining::default());
                assert!(matches!(*client.ended().unwrap(), EndCause::Closed));
                let refused = client.publish(Publish::to("m", "")).unwrap_err();
                assert!(matches!(Error::from(refused), Error::Wait(_)));
            } else {
                drop(client);
                for _ in 0..5 {
                    fiber::yield_now().unwrap();
                }
            }
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert_eq!(Rc::strong_count(&held), 1, "hangs {hangs}, closes {closes}");
        };
        let runtime = fiber::Runtime::builder().paused_clock(true);
        runtime.run(main).unwrap();
    }
}

#[test]
fn what_is_set_after_the_end_is_let_go() {
    let main = || {
        let dial = || -> Result<safe_rt::Socket, safe_rt::Error> { Err(unreachable_broker()) };
        let client = Client::open_by(dial, options()).unwrap();
        client.close(Duration::ZERO).unwrap();
        let held = Rc::new(client.clone());
        let kept = Rc::clone(&held);
        client.on_event(move |_, _| assert!(kept.is_connected()));
        let kept = Rc::clone(&held);
        client.on_unwanted(move |_, _| {
            assert!(kept.is_connected());
            Ok(())
        });
        assert_eq!(Rc::strong_count(&held), 1);
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn close_waits_for_the_next_connection_and_for_what_is_unacknowledged() {
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            expect_qos_1(&mut first);
            drop(first);
            let mut second = links.accept(true);
            let number = expect_qos_1(&mut second);
            second.send(&puback(number));
            expect_disconnect(&mut second);
        },
        |client| {
            let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
            let ticket = client.publish(publish.wait(Wait::Sent)).unwrap();
            let remaining = client.close(Duration::from_secs(60)).unwrap();
            assert_eq!(remaining, Remaining::default());
            assert_eq!(ticket.poll(), ACKED_TWICE);
        },
    );
}

#[test]
fn another_connection_may_be_given_to_a_client_and_its_session_goes_on() {
    play(
        options().clean_start(false),
        |first| {
            first.accept(false, |_| ());
            answer_subscribe(first, &[]);
            expect_qos_1(first);
        },
        |client| {
            client.connect().unwrap();
            let messages = client.subscribe_iter("a", QoS::AtLeastOnce).unwrap();
            let attached = client.attach(fiber::net::pipe(10).0);
            assert!(matches!(attached, Err(Error::AlreadyConnected)));
            let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
            let lost = client.publish(publish.wait(Wait::Ack)).unwrap_err();
            let mqtt::PublishError::Wait(lost) = lost else {
                panic!("{lost:?}")
            };
            assert!(matches!(lost.cause, WaitCause::ConnectionLost(_)));
            let mut messages = messages;
            assert!(messages.next().is_none(), "the connection is over");

            let (ours, theirs) = fiber::net::pipe(10_000);
            let second = move || {
                let mut second = Broker::new(theirs);
                second.accept(true, |_| ());
                let number = expect_qos_1(&mut second);
                second.send(&puback(number));
                second.send(&qos_0("a", b"2"));
                expect_disconnect(&mut second);
            };
            let mut second = fiber::spawn(second).unwrap();
            client.attach(ours).unwrap();
            assert!(client.connect().unwrap());
            let mut ticket = lost.ticket;
            assert_eq!(ticket.outcome().ok(), ACKED_TWICE);
            assert_eq!(&*messages.next().unwrap().unwrap().data, b"2");
            client.close(Duration::from_secs(1)).unwrap();
            let attached = client.attach(fiber::net::pipe(10).0);
            assert!(matches!(attached, Err(Error::Wait(WaitCause::Closed))));
            second.join().unwrap();
        },
    );
}

#[test]
fn a_call_to_connect_a_client_that_does_so_itself_changes_nothing() {
    play_open(
        options(),
        |links| {
            drop(links.accept(false));
            let mut second = links.next();
            second.accept(true, |connect| {
                assert!(!connect.fields().clean_start);
                assert_eq!(connect.fields().user_name, None);
            });
            expect_disconnect(&mut second);
        },
        |client| {
            let flags = mqtt::MQTT_CONNECT_CLEAN_SESSION;
            let connected = mqtt::mqtt_connect(client, Some("name"), None, flags, Wait::Ack);
            assert!(matches!(connected, Err(Error::AlreadyConnected)));
            fiber::sleep(Duration::from_secs(10)).unwrap();
        },
    );
}

#[test]
fn credentials_set_while_connected_count_from_the_next_connection_on() {
    play_open(
        options().credentials("meter", Some("old")),
        |links| {
            for password in [&b"old"[..], b"new"] {
                let mut broker = links.next();
                broker.receive(|packet| match packet {
                    PacketRef::Connect(connect) => {
                        assert_eq!(connect.fields().password, Some(password));
                        assert!(!connect.fields().clean_start);
                    }
                    other => panic!("{other:?}"),
                });
                broker.send(&PacketRef::ConnAck(ConnAck::accepted(password == b"new")));
                fiber::sleep(Duration::from_secs(1)).unwrap();
            }
        },
        |client| {
            client.wait_connected().unwrap();
            client.set_credentials("meter", Some("new"));
            while !client.wait_connected().unwrap() {
                fiber::sleep(Duration::from_millis(100)).unwrap();
            }
        },
    );
}
