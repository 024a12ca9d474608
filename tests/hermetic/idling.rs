//! A client that leaves when there is nothing to do, and comes back when there is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::PacketRef;
use mqtt::{
    Ack, Client, ClientOptions, EndCause, Error, Event, Outcome, Publish, QoS, Remaining,
    Subscribe, Wait,
};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, expect_qos_1, note, options, play, play_open,
    play_over, puback, qos_0, qos_1,
};

const IDLE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

fn idling() -> ClientOptions {
    options().idle_timeout(IDLE)
}

/// Answers what is published until the client leaves; returns how long it was there.
fn serve(broker: &mut Broker) -> Duration {
    let began = Instant::now();
    loop {
        let acked = broker.receive(|packet| match packet {
            PacketRef::Publish(publish) => publish.packet_id(),
            PacketRef::PingReq => None,
            PacketRef::Disconnect(_) => Some(mqtt::PacketId::MAX),
            other => panic!("{other:?}"),
        });
        match acked {
            Some(mqtt::PacketId::MAX) => break,
            Some(id) => broker.send(&puback(id.get())),
            None => broker.send(&PacketRef::PingResp),
        }
    }
    broker.expect_end();
    began.elapsed()
}

fn at_least_once(client: &Client) -> mqtt::Ticket {
    let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
    client.publish(publish.wait(Wait::Ack)).unwrap()
}

#[test]
fn with_nothing_to_do_the_client_leaves_and_comes_back_to_publish() {
    play_open(
        idling().keep_alive(Duration::from_secs(5)),
        |links| {
            // Pings are no messages.
            assert_eq!(serve(&mut links.accept(false)), IDLE);
            assert_eq!(serve(&mut links.accept(true)), IDLE);
            let mut third = links.accept(true);
            let number = expect_qos_1(&mut third);
            third.send(&puback(number));
            expect_disconnect(&mut third);
        },
        |client| {
            let events = note(client);
            fiber::sleep(HOUR).unwrap();
            assert_eq!(*events.borrow(), ["connected, kept: false", "idle"]);
            assert!(!client.is_connected());
            for turn in 1..=2 {
                let began = Instant::now();
                let ticket = at_least_once(client);
                assert_eq!(ticket.poll(), Some(Outcome::Acked { maybe_twice: false }));
                assert_eq!(began.elapsed(), Duration::ZERO);
                if turn == 1 {
                    fiber::sleep(HOUR).unwrap();
                }
            }
            assert_eq!(events.borrow().len(), 5, "{events:?}");
        },
    );
}

#[test]
fn whatever_needs_a_connection_makes_one() {
    type Need = fn(&Client);
    let needs: [Need; 6] = [
        |client| drop(client.publish(Publish::to("m", "")).unwrap()),
        |client| {
            let set = Subscribe::to("set", QoS::AtLeastOnce).wait(Wait::None);
            client.subscribe_as(set, |_, _| Ok(())).map(drop).unwrap();
        },
        |client| client.unsubscribe_as("set", Wait::None).unwrap(),
        |client| client.ping().unwrap(),
        |client| assert!(client.wait_connected().unwrap()),
        Client::retry_now,
    ];
    for need in needs {
        play_open(
            idling(),
            |links| {
                serve(&mut links.accept(false));
                let mut broker = links.accept(true);
                broker.receive(|_| ());
                fiber::sleep(HOUR).unwrap();
            },
            move |client| {
                fiber::sleep(HOUR).unwrap();
                need(client);
                fiber::sleep(Duration::from_secs(1)).unwrap();
                assert!(client.is_connected());
                client.close(Duration::ZERO).unwrap();
            },
        );
    }
}

#[test]
fn what_is_unacknowledged_in_either_direction_keeps_the_connection() {
    play_open(
        idling().manual_ack_timeout(10 * HOUR),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            let number = expect_qos_1(&mut broker);
            let sleep = |broker: &mut Broker| {
                for _ in 0..60 {
                    broker.expect(&PacketRef::PingReq);
                    broker.send(&PacketRef::PingResp);
                }
            };
            sleep(&mut broker);
            broker.send(&puback(number));
            broker.send(&qos_1("set", b"", 7));
            sleep(&mut broker);
            broker.expect(&puback(7));
            assert_eq!(serve(&mut broker), IDLE);
        },
        |client| {
            let manual = Subscribe::to("set", QoS::AtLeastOnce).ack(Ack::Manual);
            let handle = Rc::new(Cell::new(None));
            let held = Rc::clone(&handle);
            let keep = move |_: &Client, message: &mqtt::Message| {
                held.set(message.ack_handle());
                Ok(())
            };
            client.subscribe_as(manual, keep).unwrap();
            client
                .publish(Publish::to("m", "1").qos(QoS::AtLeastOnce))
                .unwrap();
            fiber::sleep(2 * HOUR + Duration::from_secs(30)).unwrap();
            assert!(client.is_connected());
            handle.take().expect("the message came").acknowledge();
            fiber::sleep(HOUR).unwrap();
            assert!(!client.is_connected());
        },
    );
}

#[test]
fn messages_of_the_broker_keep_the_connection_and_come_with_the_next_one() {
    for clean_start in [false, true] {
        play_open(
            idling().clean_start(clean_start),
            move |links| {
                let mut broker = links.accept(false);
                assert_eq!(answer_subscribe(&mut broker, &[]), ["set"]);
                for _ in 0..100 {
                    fiber::sleep(IDLE / 2).unwrap();
                    broker.send(&qos_0("set", b"1"));
                }
                assert_eq!(serve(&mut broker), IDLE);
                let mut broker = links.accept(!clean_start);
                if clean_start {
                    assert_eq!(answer_subscribe(&mut broker, &[]), ["set"]);
                }
                broker.send(&qos_1("set", b"2", 1));
                if clean_start {
                    broker.expect(&qos_0("m", b""));
                    broker.expect(&puback(1));
                } else {
                    broker.receive(|_| ());
                    broker.receive(|_| ());
                }
                assert_eq!(serve(&mut broker), IDLE);
            },
            |client| {
                let came = Rc::new(Cell::new(0));
                let count = Rc::clone(&came);
                let handler = move |_: &Client, message: &mqtt::Message| {
                    assert_eq!(message.data, if count.get() < 100 { b"1" } else { b"2" });
                    count.set(count.get() + 1);
                    Ok(())
                };
                client.subscribe("set", QoS::AtLeastOnce, handler).unwrap();
                fiber::sleep(HOUR).unwrap();
                assert_eq!(came.get(), 100);
                client.publish(Publish::to("m", "")).unwrap();
                fiber::sleep(HOUR).unwrap();
                assert_eq!(came.get(), 101);
            },
        );
    }
}

#[test]
fn coming_and_going_is_no_flapping_and_keeps_to_the_least_time_between_attempts() {
    play_open(
        options().idle_timeout(Duration::from_millis(100)),
        |links| {
            let mut last = None;
            for turn in 0..50 {
                let mut broker = links.accept(turn > 0);
                let now = Instant::now();
                if let Some(last) = last.replace(now) {
                    assert_eq!(now - last, Duration::from_secs(1));
                }
                serve(&mut broker);
            }
        },
        |client| {
            at_least_once(client);
            let again = Rc::new(Cell::new(1));
            let count = Rc::clone(&again);
            // Published when DISCONNECT has just left: none is refused, none is sent behind it.
            client.on_event(move |client, event| {
                if matches!(event, Event::Idle) && count.get() < 50 {
                    count.set(count.get() + 1);
                    at_least_once(client);
                }
            });
            fiber::sleep(Duration::from_secs(60)).unwrap();
            assert_eq!(again.get(), 50);
            assert_eq!(client.unacknowledged(), 0);
        },
    );
}

#[test]
fn an_idle_client_is_closed_at_once() {
    play_open(
        idling(),
        |links| assert_eq!(serve(&mut links.accept(false)), IDLE),
        |client| {
            fiber::sleep(HOUR).unwrap();
            let began = Instant::now();
            let remaining = client.close(HOUR).unwrap();
            assert_eq!(remaining, Remaining::default());
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert!(matches!(*client.ended().unwrap(), EndCause::Closed));
        },
    );
}

#[test]
fn a_client_over_one_connection_ends_it_and_takes_another() {
    play(
        options().clean_start(false),
        |broker| {
            broker.accept(false, |_| ());
            assert_eq!(serve(broker), IDLE);
        },
        |client| {
            client.set_idle_timeout(Some(IDLE));
            client.connect().unwrap();
            let events = note(client);
            assert!(matches!(*client.ended().unwrap(), EndCause::Idle));
            let refused = client.publish(Publish::to("m", "")).unwrap_err();
            assert!(matches!(Error::from(refused), Error::Wait(_)));
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(*events.borrow(), ["idle"]);
            let (ours, theirs) = fiber::net::pipe(1_000);
            let mut second = fiber::spawn(move || {
                let mut broker = Broker::new(theirs);
                broker.accept(true, |_| ());
                expect_disconnect(&mut broker);
            })
            .unwrap();
            client.attach(ours).unwrap();
            assert!(client.connect().unwrap());
            client.close(Duration::ZERO).unwrap();
            second.join().unwrap();
        },
    );
}

/// Asserts that the client's fiber sleeps, however often others get their turn.
#[track_caller]
fn expect_asleep() {
    let turns = || {
        let fibers = fiber::fibers();
        let mut drivers = fibers.iter().filter(|fiber| fiber.name == "mqtt-driver");
        drivers.next().map_or(0, |driver| driver.resumes)
    };
    let before = turns();
    for _ in 0..1_000 {
        fiber::yield_now().unwrap();
    }
    let more = turns() - before;
    assert!(more < 10, "{more} turns");
}

#[test]
fn an_answer_that_takes_its_time_is_waited_for_asleep() {
    play_open(
        idling(),
        |links| {
            serve(&mut links.accept(false));
            links.next().accept(true, |_| expect_asleep());
        },
        |client| {
            fiber::sleep(HOUR).unwrap();
            assert!(client.wait_connected().unwrap());
        },
    );
}

#[test]
fn a_broker_that_does_not_read_is_waited_for_asleep() {
    const DATA: [u8; 1_000] = [0; 1_000];
    play_over(
        100,
        idling(),
        |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(IDLE).unwrap();
            expect_asleep();
            broker.expect(&qos_0("m", &DATA));
            serve(broker);
        },
        |client| {
            client.connect().unwrap();
            client.publish(Publish::to("m", &DATA)).unwrap();
            assert!(matches!(*client.ended().unwrap(), EndCause::Idle));
        },
    );
}

#[test]
fn an_attempt_that_was_asked_for_while_there_was_a_connection_is_not_made_after_it() {
    play_open(
        idling(),
        |links| assert_eq!(serve(&mut links.accept(false)), IDLE),
        |client| {
            client.wait_connected().unwrap();
            client.retry_now();
            fiber::sleep(HOUR).unwrap();
            assert!(!client.is_connected());
        },
    );
}

#[test]
fn a_limit_that_is_set_on_an_idle_connection_counts_from_then() {
    play_open(
        options(),
        |links| assert_eq!(serve(&mut links.accept(false)), HOUR + IDLE),
        |client| {
            client.wait_connected().unwrap();
            fiber::sleep(HOUR).unwrap();
            client.set_idle_timeout(Some(IDLE));
            fiber::sleep(IDLE / 2).unwrap();
            assert!(client.is_connected());
            fiber::sleep(HOUR).unwrap();
            assert!(!client.is_connected());
        },
    );
}
