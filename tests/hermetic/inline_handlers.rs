//! Inline handlers: called by the driver, in order with all others, acknowledged as those.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::{Delivery, PacketRef};
use mqtt::{
    Ack, AckHandle, Client, HandlerError, Message, MessageRef, OnError, QoS, Subscribe, Wait,
};

use crate::harness::{
    answer_subscribe, expect_disconnect, id, options, play_connected, play_open, play_with_fibers,
    puback, pubcomp, publish, pubrec, pubrel, qos_1,
};

const SECOND: Duration = Duration::from_secs(1);

/// What handlers were given, in order.
#[derive(Clone, Default)]
pub(crate) struct Given(Rc<RefCell<Vec<String>>>);

impl Given {
    /// An inline handler that notes each payload behind its own name.
    pub(crate) fn inline(
        &self,
        name: &'static str,
    ) -> impl FnMut(&Client, MessageRef<'_>) -> Result<(), HandlerError> + use<> {
        let given = self.clone();
        move |_, message| {
            given.note(name, message.data);
            Ok(())
        }
    }

    pub(crate) fn note(&self, name: &str, data: &[u8]) {
        let data = String::from_utf8_lossy(data);
        self.0.borrow_mut().push(format!("{name}{data}"));
    }
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

pub(crate) fn at_once(filter: &str) -> Subscribe<'_> {
    Subscribe::to(filter, QoS::ExactlyOnce)
}

pub(crate) fn sleep(secs: u64) {
    fiber::sleep(Duration::from_secs(secs)).unwrap();
}

/// A PUBLISH under the topic `a`.
fn on_a(payload: &[u8], delivery: Delivery) -> PacketRef<'_> {
    publish("a", payload, delivery)
}

fn again(number: u16) -> Delivery {
    let packet_id = id(number);
    Delivery::AtLeastOnce {
        packet_id,
        dup: true,
    }
}

fn qos_2(number: u16, dup: bool) -> Delivery {
    let packet_id = id(number);
    Delivery::ExactlyOnce { packet_id, dup }
}

#[test]
fn an_inline_handler_is_called_by_the_driver_with_all_that_a_message_has() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&on_a(b"21.5", again(1)));
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let kept = Rc::new(RefCell::new(None));
            let keep = Rc::clone(&kept);
            let handler = move |_: &Client, message: MessageRef<'_>| {
                let running = |fiber: &&fiber::FiberInfo| fiber.state == fiber::FiberState::Running;
                let fibers = fiber::fibers();
                assert_eq!(fibers.iter().find(running).unwrap().name, "mqtt-driver");
                assert_eq!((message.topic, message.data), ("a", &b"21.5"[..]));
                assert_eq!(message.qos, QoS::AtLeastOnce);
                assert_eq!((message.retain, message.dup), (false, true));
                assert!(message.ack_handle().is_none());
                let expected = "MessageRef { topic: \"a\", data: \"21.5\", qos: AtLeastOnce, \
                                retain: false, dup: true, .. }";
                assert_eq!(format!("{message:?}"), expected);
                *keep.borrow_mut() = Some(message.detach());
                Ok(())
            };
            client
                .subscribe_inline("a", QoS::AtLeastOnce, handler)
                .unwrap();
            sleep(1);
            assert_eq!(client.stats().handler_panics, 0);
            let kept: Message = kept.take().unwrap();
            assert_eq!(kept.topic, "a");
            assert_eq!(kept.data, b"21.5");
            assert!(kept.dup && !kept.retain && kept.qos == QoS::AtLeastOnce);
            let seen = MessageRef::from(&kept);
            assert_eq!((seen.topic, seen.data), ("a", &b"21.5"[..]));
        },
    );
}

#[test]
fn every_matching_handler_is_called_once_and_the_last_to_be_done_acknowledges() {
    play_connected(
        options(),
        |broker| {
            for _ in 0..4 {
                answer_subscribe(broker, &[]);
            }
            broker.send(&qos_1("a", b"1", 1));
            // One of the handlers on fibers takes a second.
            broker.expect_silence(SECOND - Duration::from_millis(1));
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let given = Given::default();
            let filters = [("a", QoS::AtLeastOnce), ("+", QoS::AtLeastOnce)];
            let both = Subscribe::to_all(&filters);
            client
                .subscribe_inline_as(both, given.inline("two"))
                .unwrap();
            for wait in [0, 1] {
                let given = given.clone();
                let handler = move |_: &Client, message: &Message| {
                    sleep(wait);
                    given.note("fiber", &message.data);
                    Ok(())
                };
                client.subscribe("a", QoS::AtLeastOnce, handler).unwrap();
            }
            client
                .subscribe_inline_as(at_once("#"), given.inline("all"))
                .unwrap();
            sleep(2);
            let mut given = given.take();
            assert_eq!(
                given[2..],
                ["fiber1", "fiber1"],
                "those of the driver come first"
            );
            given[..2].sort_unstable();
            assert_eq!(given[..2], ["all1", "two1"]);
        },
    );
}

#[test]
fn an_acknowledgement_waits_for_those_of_messages_that_came_before() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("slow", b"", 1));
            broker.send(&qos_1("a", b"1", 2));
            broker.send(&on_a(b"2", qos_2(3, false)));
            broker.expect_silence(SECOND - Duration::from_millis(1));
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            broker.expect(&pubrec(3));
            broker.send(&pubrel(3));
            broker.expect(&pubcomp(3));
            expect_disconnect(broker);
        },
        |client| {
            let slow = |_: &_, _: &_| Ok(fiber::sleep(SECOND)?);
            client.subscribe("slow", QoS::AtLeastOnce, slow).unwrap();
            let given = Given::default();
            client
                .subscribe_inline_as(at_once("a"), given.inline(""))
                .unwrap();
            fiber::sleep(SECOND / 2).unwrap();
            assert_eq!(given.take(), ["1", "2"], "handled long before");
            sleep(2);
        },
    );
}

#[test]
fn a_qos_2_message_that_comes_again_is_answered_and_not_handled_again() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&on_a(b"1", qos_2(7, false)));
            broker.expect(&pubrec(7));
            broker.send(&on_a(b"1", qos_2(7, true)));
            broker.expect(&pubrec(7));
            drop(broker);
            let mut broker = links.accept(true);
            broker.send(&on_a(b"1", qos_2(7, true)));
            broker.expect(&pubrec(7));
            broker.send(&pubrel(7));
            broker.expect(&pubcomp(7));
            broker.send(&on_a(b"2", qos_2(7, false)));
            broker.expect(&pubrec(7));
            expect_disconnect(&mut broker);
        },
        |client| {
            let given = Given::default();
            client
                .subscribe_inline_as(at_once("a"), given.inline(""))
                .unwrap();
            sleep(60);
            assert_eq!(given.take(), ["1", "2"]);
        },
    );
}

#[test]
fn a_message_that_another_handler_still_has_when_it_comes_again_is_for_neither() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            fiber::sleep(SECOND).unwrap();
            drop(broker);
            let mut broker = links.accept(true);
            broker.send(&on_a(b"1", again(1)));
            broker.expect(&puback(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            let given = Given::default();
            let slow = given.clone();
            let handler = move |_: &Client, message: &Message| {
                sleep(30);
                slow.note("fiber", &message.data);
                Ok(())
            };
            client.subscribe("a", QoS::AtLeastOnce, handler).unwrap();
            client
                .subscribe_inline_as(at_once("+"), given.inline("inline"))
                .unwrap();
            sleep(60);
            assert_eq!(given.take(), ["inline1", "fiber1"]);
        },
    );
}

#[test]
fn what_came_before_the_subscription_is_handled_before_what_comes_after() {
    const EARLY: u16 = 40;
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(true);
            for number in 1..=EARLY {
                broker.send(&qos_1("a", &number.to_be_bytes(), number));
            }
            answer_subscribe(&mut broker, &[]);
            // The first of those before is still to be handled again.
            for number in EARLY + 1..=2 * EARLY {
                broker.send(&qos_1("a", &number.to_be_bytes(), number));
            }
            broker.expect_silence(Duration::from_millis(99));
            for number in 1..=2 * EARLY {
                broker.expect(&puback(number));
            }
            // Now nothing waits, and the driver calls the handler.
            broker.send(&qos_1("a", &[0, 0], 1));
            broker.expect(&puback(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            fiber::sleep(SECOND).unwrap();
            let given = Rc::new(RefCell::new(Vec::new()));
            let note = Rc::clone(&given);
            let handler = move |_: &Client, message: MessageRef<'_>| {
                // Nor may it wait on its fiber.
                assert_eq!(fiber::yield_now(), Err(fiber::Stopped::WouldWait));
                note.borrow_mut()
                    .push(u16::from_be_bytes(message.data.try_into()?));
                match note.borrow().len() {
                    1 => Err(HandlerError::new("not now")),
                    _ => Ok(()),
                }
            };
            let later = Subscribe::to("a", QoS::AtLeastOnce).wait(Wait::None);
            let redeliver = OnError::Redeliver { limit: 1 };
            client
                .subscribe_inline_as(later.on_error(redeliver), handler)
                .unwrap();
            sleep(2);
            let expected = [1].into_iter().chain(1..=2 * EARLY).chain([0]);
            assert_eq!(*given.borrow(), Vec::from_iter(expected));
            let running = fiber::fibers();
            assert!(running.iter().all(|fiber| fiber.name != "mqtt-handler"));
            assert_eq!(client.stats().handler_panics, 0);
        },
    );
}

#[test]
fn it_needs_no_fiber_and_what_waits_for_one_keeps_its_place() {
    // The main fiber, the broker, the driver, and one more.
    play_with_fibers(
        4,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.expect(&puback(1));
            broker.send(&qos_1("a", b"fails", 2));
            broker.send(&qos_1("a", b"3", 3));
            // As long as there is no room for a fiber.
            broker.expect_silence(2 * SECOND);
            broker.expect(&puback(2));
            broker.expect(&puback(3));
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            fiber::spawn(|| sleep(4)).unwrap();
            assert!(fiber::spawn(|| ()).is_err());
            let given = Given::default();
            let noted = given.clone();
            let handler = move |_: &Client, message: MessageRef<'_>| {
                noted.note("", message.data);
                match noted.0.borrow().len() {
                    2 => Err(HandlerError::new("not now")),
                    _ => Ok(()),
                }
            };
            let subscribe = at_once("a").on_error(OnError::Redeliver { limit: 1 });
            client.subscribe_inline_as(subscribe, handler).unwrap();
            sleep(5);
            assert_eq!(given.take(), ["1", "fails", "fails", "3"]);
        },
    );
}

#[test]
fn the_program_may_acknowledge_in_the_handler_and_later_and_need_not_where_that_fails() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"later", 1));
            broker.send(&qos_1("a", b"now", 2));
            broker.send(&qos_1("a", b"fails", 3));
            broker.expect_silence(2 * SECOND - Duration::from_millis(1));
            for number in 1..=3 {
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let kept: Rc<RefCell<Option<(AckHandle, Message)>>> = Rc::default();
            let keep = Rc::clone(&kept);
            let handler = move |_: &Client, message: MessageRef<'_>| match message.data {
                b"later" => {
                    let message = message.detach();
                    *keep.borrow_mut() = message.ack_handle().map(|handle| (handle, message));
                    Ok(())
                }
                b"now" => {
                    assert!(message.acknowledge() && !message.acknowledge());
                    Ok(())
                }
                _ => Err(HandlerError::new("no such valve")),
            };
            client
                .subscribe_inline_as(at_once("a").ack(Ack::Manual), handler)
                .unwrap();
            sleep(2);
            let (handle, message) = kept.take().unwrap();
            assert_eq!(message.data, b"later");
            assert!(message.acknowledge() && !handle.acknowledge());
            sleep(1);
            assert_eq!(client.stats().handler_panics, 0);
            assert_eq!(client.stats().acks_expired, 0);
        },
    );
}

#[test]
fn a_message_is_acknowledged_on_receipt_where_that_is_wanted() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.expect(&puback(1));
            // The other one of this takes its time, and holds it.
            broker.send(&qos_1("b", b"2", 2));
            broker.expect_silence(SECOND - Duration::from_millis(1));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            let given = Given::default();
            let subscribe = at_once("+").ack(Ack::OnReceipt);
            client
                .subscribe_inline_as(subscribe, given.inline(""))
                .unwrap();
            let slow = |_: &_, _: &_| Ok(fiber::sleep(SECOND)?);
            client.subscribe("b", QoS::AtLeastOnce, slow).unwrap();
            sleep(3);
            assert_eq!(given.take(), ["1", "2"]);
        },
    );
}
