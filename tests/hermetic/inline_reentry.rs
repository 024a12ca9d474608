//! Inline handlers that call their client: what waits fails, all else is safe; and
//! `Client::try_publish`, which never waits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Stopped;
use mqtt::packet::PacketRef;
use mqtt::store::Memory;
use mqtt::{
    Client, Error, MessageRef, Outcome, Publish, PublishError, QoS, QueuePolicy, RequestOptions,
    Subscribe, Ticket, Wait, WaitCause, WaitError,
};

use crate::harness::{
    Broker, answer_subscribe, answer_unsubscribe, expect_disconnect, expect_qos_1, options, play,
    play_connected, play_open, puback, qos_0, qos_1,
};
use crate::inline_handlers::{Given, at_once, sleep};

const SECOND: Duration = Duration::from_secs(1);
const ACKED: Option<Outcome> = Some(Outcome::Acked { maybe_twice: false });

fn at_least_once<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish::to(topic, payload).qos(QoS::AtLeastOnce)
}

fn declare(filter: &str) -> Subscribe<'_> {
    Subscribe::to(filter, QoS::AtLeastOnce).wait(Wait::None)
}

#[track_caller]
fn expect_would_wait<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Wait(WaitCause::Stopped(Stopped::WouldWait))) => {}
        other => panic!("expected to be refused a wait, found {other:?}"),
    }
}

/// Everything that waits, tried in a handler; the one message that is accepted all the same.
fn try_to_wait(client: &Client) -> Ticket {
    assert_eq!(fiber::sleep(SECOND), Err(Stopped::WouldWait));
    expect_would_wait(client.subscribe("b", QoS::AtMostOnce, |_, _| Ok(())));
    expect_would_wait(client.subscribe_inline("b", QoS::AtMostOnce, |_, _| Ok(())));
    expect_would_wait(client.unsubscribe("c"));
    let asked = client.request("questions", "", &RequestOptions::reply_to("answers"));
    let asked = asked.unwrap_err();
    assert_eq!(fiber::cause(&asked), Some(Stopped::WouldWait), "{asked}");
    assert_eq!(client.ended().unwrap_err(), Stopped::WouldWait);
    match client.publish(at_least_once("m", "1").wait(Wait::Ack)) {
        Err(PublishError::Wait(WaitError {
            cause: WaitCause::Stopped(Stopped::WouldWait),
            ticket,
        })) => ticket,
        other => panic!("expected to be refused a wait, found {other:?}"),
    }
}

#[test]
fn in_an_inline_handler_what_would_wait_fails_at_once_and_nothing_comes_of_it() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            let mut acknowledged = false;
            while !acknowledged {
                let answer = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => publish.packet_id().map(mqtt::PacketId::get),
                    PacketRef::PubAck(_) | PacketRef::Subscribe(_) | PacketRef::Unsubscribe(_) => {
                        None
                    }
                    other => panic!("{other:?}"),
                });
                if let Some(number) = answer {
                    broker.send(&puback(number));
                    acknowledged = true;
                }
            }
            broker.send(&qos_0("a", b"2"));
            broker.send(&qos_0("b", b""));
            fiber::sleep(SECOND).unwrap();
        },
        |client| {
            let ticket: Rc<RefCell<Option<Ticket>>> = Rc::default();
            let keep = Rc::clone(&ticket);
            let given = Given::default();
            let noted = given.clone();
            let handler = move |client: &Client, message: MessageRef<'_>| {
                if message.data == b"1" {
                    *keep.borrow_mut() = Some(try_to_wait(client));
                }
                noted.note("", message.data);
                Ok(())
            };
            client.subscribe_inline_as(at_once("a"), handler).unwrap();
            sleep(1);
            assert_eq!(given.take(), ["1", "2"]);
            let ticket = ticket.take().unwrap();
            assert_eq!(
                ticket.poll(),
                ACKED,
                "the message lives on under its ticket"
            );
            let stats = client.stats();
            assert_eq!((stats.handler_errors, stats.handler_panics), (0, 0));
            assert_eq!(stats.unrouted, 1, "a subscription that failed is none");
        },
    );
}

#[test]
fn what_an_inline_handler_publishes_leaves_at_once_and_behind_it_nothing_is_lost() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=3 {
                broker.send(&qos_1("a", &[b'0' + number], number.into()));
            }
            for number in 1..=3 {
                broker.expect(&puback(number));
            }
            for number in 1..=3 {
                broker.expect(&qos_0("none", &[b'0' + number]));
                broker.expect(&qos_0("try", &[b'0' + number]));
            }
            expect_disconnect(broker);
        },
        |client| {
            let began = fiber::Instant::now();
            let handler = |client: &Client, message: MessageRef<'_>| {
                client.publish(Publish::to("none", message.data))?;
                client.try_publish(Publish::to("try", message.data))?;
                Ok(())
            };
            client.subscribe_inline_as(at_once("a"), handler).unwrap();
            sleep(1);
            assert_eq!(began.elapsed(), SECOND);
            assert_eq!(client.stats().handler_errors, 0);
        },
    );
}

/// Says when it is dropped, in a way that waits and panics.
struct Unruly(Client, Rc<Cell<bool>>);

impl Drop for Unruly {
    fn drop(&mut self) {
        let publish = at_least_once("dropped", "").wait(Wait::Ack);
        self.1.set(self.0.publish(publish).is_ok());
        panic!("a panic of a handler's drop, as this test asks for");
    }
}

#[test]
fn an_inline_handler_may_end_its_own_subscription_and_what_it_owns_may_do_as_it_likes() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send_bytes(b"\x32\x06\x00\x01a\x00\x011\x32\x06\x00\x01a\x00\x022");
            assert_eq!(answer_unsubscribe_and_acks(broker), ["a"]);
            let number = expect_qos_1(broker);
            fiber::sleep(SECOND / 2).unwrap();
            broker.send(&puback(number));
            broker.send(&qos_1("other", b"3", 3));
            let number = expect_qos_1_or_ack(broker, 3);
            assert_eq!(number, None);
            expect_disconnect(broker);
        },
        |client| {
            let given = Given::default();
            let noted = given.clone();
            let dropped = Rc::new(Cell::new(false));
            let unruly = Unruly(client.clone(), Rc::clone(&dropped));
            let handler = move |client: &Client, message: MessageRef<'_>| {
                let Unruly(..) = &unruly;
                noted.note("", message.data);
                client.unsubscribe_as("a", Wait::None)?;
                // Its place is free again.
                client.subscribe_inline_as(declare("other"), noted.inline("new"))?;
                Ok(())
            };
            client.subscribe_inline_as(at_once("a"), handler).unwrap();
            sleep(3);
            assert_eq!(given.take(), ["1", "new3"]);
            assert!(dropped.get());
            let stats = client.stats();
            assert_eq!((stats.handler_errors, stats.handler_panics), (0, 0));
        },
    );
}

/// Takes the acknowledgements of messages 1 and 2, answers an UNSUBSCRIBE and a SUBSCRIBE.
fn answer_unsubscribe_and_acks(broker: &mut Broker) -> Vec<String> {
    broker.expect(&puback(1));
    broker.expect(&puback(2));
    let filters = answer_unsubscribe(broker);
    answer_subscribe(broker, &[]);
    filters
}

/// Takes either the acknowledgement of this message, or a PUBLISH, whose identifier is returned.
fn expect_qos_1_or_ack(broker: &mut Broker, number: u16) -> Option<u16> {
    broker.receive(|packet| match packet {
        PacketRef::Publish(publish) => publish.packet_id().map(mqtt::PacketId::get),
        packet => {
            assert_eq!(packet, puback(number));
            None
        }
    })
}

#[test]
fn a_handler_that_another_one_ended_for_the_same_message_is_not_called() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.expect(&puback(1));
            assert_eq!(answer_unsubscribe(broker).len(), 1);
            broker.send(&qos_1("a", b"2", 2));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            // Whichever is called first ends the other one.
            let given = Given::default();
            for (own, other) in [("a", "+"), ("+", "a")] {
                let noted = given.clone();
                let handler = move |client: &Client, message: MessageRef<'_>| {
                    noted.note("", message.data);
                    if message.data == b"1" {
                        client.unsubscribe_as(other, Wait::None)?;
                    }
                    Ok(())
                };
                client.subscribe_inline_as(at_once(own), handler).unwrap();
            }
            sleep(1);
            assert_eq!(given.take().len(), 2);
            assert_eq!(client.stats().handler_errors, 0);
        },
    );
}

#[test]
fn an_inline_handler_may_close_its_client() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let given = Given::default();
            let noted = given.clone();
            let handler = move |client: &Client, message: MessageRef<'_>| {
                assert_eq!(client.close(SECOND), Err(Stopped::WouldWait));
                let late = client.try_publish(Publish::to("late", ""));
                assert!(matches!(late, Err(PublishError::Full(WaitCause::Closed))));
                noted.note("", message.data);
                Ok(())
            };
            client.subscribe_inline_as(at_once("a"), handler).unwrap();
            assert_eq!(
                client.ended().unwrap().to_string(),
                "the connection was closed from this side"
            );
            assert_eq!(given.take(), ["1"]);
        },
    );
}

#[test]
fn an_inline_handler_may_drop_the_last_handle_of_its_client() {
    let main = || {
        let (ours, theirs) = fiber::net::pipe(4096);
        let script = move || {
            let mut broker = Broker::new(theirs);
            broker.accept(false, |_| ());
            answer_subscribe(&mut broker, &[]);
            fiber::sleep(SECOND).unwrap();
            broker.send(&qos_1("a", b"1", 1));
            broker.expect(&puback(1));
            expect_disconnect(&mut broker);
        };
        let mut broker = fiber::spawn(script).unwrap();
        let client = Client::over(ours, options());
        client.connect().unwrap();
        let last: Rc<RefCell<Option<Client>>> = Rc::default();
        let (given, held) = (Given::default(), Rc::clone(&last));
        let noted = given.clone();
        let handler = move |_: &Client, message: MessageRef<'_>| {
            drop(held.take());
            noted.note("", message.data);
            Ok(())
        };
        client.subscribe_inline_as(at_once("a"), handler).unwrap();
        *last.borrow_mut() = Some(client);
        broker.join().unwrap();
        assert_eq!(given.take(), ["1"]);
        // The handler is gone with its client.
        sleep(5);
        assert_eq!(Rc::strong_count(&last), 1);
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn a_subscription_made_by_an_inline_handler_gets_what_came_before_it() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(true);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_1("b", b"1", 1));
            broker.send(&qos_1("a", b"2", 2));
            answer_subscribe(&mut broker, &[]);
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            broker.send(&qos_1("b", b"3", 3));
            broker.expect(&puback(3));
            expect_disconnect(&mut broker);
        },
        |client| {
            let given = Given::default();
            let noted = given.clone();
            let handler = move |client: &Client, message: MessageRef<'_>| {
                noted.note("a", message.data);
                client.subscribe_inline_as(declare("b"), noted.inline("b"))?;
                Ok(())
            };
            client.subscribe_inline_as(declare("a"), handler).unwrap();
            sleep(5);
            assert_eq!(given.take(), ["a2", "b1", "b3"]);
        },
    );
}

#[test]
fn try_publish_takes_a_message_or_refuses_it_and_never_waits() {
    let options = options().window(1).queue_max(1, usize::MAX);
    play(
        options,
        |broker| {
            broker.accept(false, |_| ());
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b""));
            for _ in 0..2 {
                let number = expect_qos_1(broker);
                fiber::sleep(SECOND).unwrap();
                broker.send(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            let tickets = Rc::new(RefCell::new(Vec::new()));
            let keep = Rc::clone(&tickets);
            let handler = move |client: &Client, _: MessageRef<'_>| {
                let began = fiber::stats().parks;
                // One goes into the window, one into the queue.
                for payload in ["1", "2"] {
                    let publish = at_least_once("m", payload).wait(Wait::Ack);
                    keep.borrow_mut().push(client.try_publish(publish)?);
                }
                for policy in [
                    QueuePolicy::Wait,
                    QueuePolicy::Reject,
                    QueuePolicy::KeepLast,
                ] {
                    let publish = at_least_once("other", "3").queue_policy(policy);
                    let full = client.try_publish(publish);
                    assert!(matches!(full, Err(PublishError::QueueFull)), "{full:?}");
                }
                match client.publish(at_least_once("other", "3")) {
                    Err(PublishError::Full(WaitCause::Stopped(Stopped::WouldWait))) => {}
                    other => panic!("expected to be refused a wait, found {other:?}"),
                }
                let publish = at_least_once("m", "3").queue_policy(QueuePolicy::DropNewest);
                let dropped = client.try_publish(publish)?.poll();
                assert_eq!(dropped, Some(Outcome::DroppedByPolicy));
                let wrong = client.try_publish(Publish::to("m/+", ""));
                assert!(matches!(wrong, Err(PublishError::Argument(_))), "{wrong:?}");
                assert_eq!(fiber::stats().parks, began, "nothing has waited");
                Ok(())
            };
            client.subscribe_inline_as(at_once("a"), handler).unwrap();
            sleep(1);
            // Outside of a handler it is the same.
            let full = client.try_publish(at_least_once("m", "4"));
            assert!(matches!(full, Err(PublishError::QueueFull)), "{full:?}");
            assert_eq!(client.stats().handler_panics, 0);
            assert_eq!(client.stats().rejected, 4);
            for mut ticket in tickets.take() {
                assert_eq!(ticket.outcome().ok(), ACKED);
            }
        },
    );
}

#[test]
fn try_publish_into_a_full_store_is_refused_and_what_it_takes_is_stored() {
    let store = Memory::new(1, 1 << 20);
    play_open(
        options().store(store),
        |links| {
            let mut broker = links.accept(false);
            let number = expect_qos_1(&mut broker);
            fiber::sleep(SECOND).unwrap();
            broker.send(&puback(number));
            expect_disconnect(&mut broker);
        },
        |client| {
            let publish = at_least_once("m", "1").wait(Wait::Ack);
            let mut ticket = client.try_publish(publish).unwrap();
            assert_eq!(ticket.poll(), None, "its level is not waited for");
            let full = client.try_publish(at_least_once("m", "2"));
            assert!(matches!(full, Err(PublishError::QueueFull)), "{full:?}");
            assert_eq!(client.stored().len(), 1);
            assert_eq!(ticket.outcome().ok(), ACKED);
        },
    );
}
