//! When a received message is acknowledged: after its handler, on receipt, or by the program.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::{Delivery, PacketRef, PubAck, PubRec};
use mqtt::{
    ACK_STALL_TIMEOUT, Ack, AckHandle, Client, Event, HandlerError, MANUAL_ACK_TIMEOUT_DEFAULT,
    Message, QOS_0_QUEUE_MAX, QoS, Subscribe,
};

use crate::harness::{
    answer_subscribe, answer_unsubscribe, expect_disconnect, id, options, play_connected,
    play_open, puback, publish, qos_0, qos_1,
};

const SECOND: Duration = Duration::from_secs(1);

/// The acknowledgements of messages, in the order in which they were handled.
#[derive(Clone, Default)]
struct Handles(Rc<RefCell<Vec<AckHandle>>>);

impl Handles {
    fn keep(&self) -> impl FnMut(&Client, &Message) -> Result<(), HandlerError> + use<> {
        let handles = Self::clone(self);
        move |_, message| {
            handles.0.borrow_mut().extend(message.ack_handle());
            Ok(())
        }
    }

    fn take(&self) -> Vec<AckHandle> {
        self.0.take()
    }
}

fn manual(filter: &str) -> Subscribe<'_> {
    Subscribe::to(filter, QoS::ExactlyOnce).ack(Ack::Manual)
}

fn sleep(secs: u64) {
    fiber::sleep(Duration::from_secs(secs)).unwrap();
}

#[test]
fn a_message_is_acknowledged_by_the_program_when_it_says_so_and_in_order_of_arrival() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.send(&qos_1("a", b"2", 2));
            let exactly_once = Delivery::ExactlyOnce {
                packet_id: id(3),
                dup: false,
            };
            broker.send(&publish("a", b"3", exactly_once));
            // The second and third are acknowledged by then, and wait for the first.
            broker.expect_silence(2 * SECOND);
            for ack in [
                PacketRef::PubAck(PubAck::new(id(1))),
                PacketRef::PubAck(PubAck::new(id(2))),
                PacketRef::PubRec(PubRec::new(id(3))),
            ] {
                broker.expect(&ack);
            }
            expect_disconnect(broker);
        },
        |client| {
            let handles = Handles::default();
            client.subscribe_as(manual("a"), handles.keep()).unwrap();
            sleep(1);
            let handles = handles.take();
            assert_eq!(
                handles.len(),
                3,
                "all are handled though none is acknowledged"
            );
            assert!(handles[2].acknowledge());
            assert!(handles[1].clone().acknowledge());
            assert!(!handles[1].acknowledge(), "it was before");
            sleep(2);
            assert!(handles[0].acknowledge());
            sleep(1);
            assert_eq!(client.stats().acks_expired, 0);
        },
    );
}

#[test]
fn a_message_may_be_acknowledged_within_its_handler_and_one_of_qos_0_needs_nothing() {
    play_connected(
        options().keep_alive(Duration::ZERO),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b""));
            broker.send(&qos_1("a", b"", 1));
            // Behind the first message, and ahead of the end of its own handler.
            broker.expect_silence(59 * SECOND);
            broker.expect(&puback(1));
            broker.expect_silence(59 * SECOND);
            expect_disconnect(broker);
        },
        |client| {
            let said = Rc::new(RefCell::new(Vec::new()));
            let ended = Rc::new(Cell::new(0));
            let (noted, after) = (Rc::clone(&said), Rc::clone(&ended));
            let handler = move |_: &Client, message: &Message| {
                noted
                    .borrow_mut()
                    .push((message.qos, message.acknowledge()));
                // Its acknowledgement does not wait for the handler's end.
                fiber::sleep(Duration::from_secs(60))?;
                after.set(after.get() + 1);
                Ok(())
            };
            client.subscribe_as(manual("a"), handler).unwrap();
            sleep(130);
            let expected = [(QoS::AtMostOnce, false), (QoS::AtLeastOnce, true)];
            assert_eq!(*said.borrow(), expected);
            assert_eq!(ended.get(), 2);
        },
    );
}

#[test]
fn what_the_program_does_not_acknowledge_is_acknowledged_at_the_limit_counted_and_told() {
    let options = options().keep_alive(Duration::ZERO);
    play_connected(
        options,
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a/1", b"", 1));
            broker.expect_silence(MANUAL_ACK_TIMEOUT_DEFAULT - SECOND);
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let told = Rc::new(RefCell::new(Vec::new()));
            let noted = Rc::clone(&told);
            client.on_event(move |_, event| {
                if let Event::AckExpired { topic, .. } = event {
                    noted.borrow_mut().push(topic.clone());
                }
            });
            // Dropping the message, and every handle with it, acknowledges nothing.
            client.subscribe_as(manual("a/+"), |_, _| Ok(())).unwrap();
            fiber::sleep(MANUAL_ACK_TIMEOUT_DEFAULT + SECOND).unwrap();
            assert_eq!(client.stats().acks_expired, 1);
            assert_eq!(*told.borrow(), ["a/1"]);
        },
    );
}

#[test]
fn an_acknowledgement_may_come_after_its_subscription_has_ended() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"", 1));
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let handles = Handles::default();
            client.subscribe_as(manual("a"), handles.keep()).unwrap();
            sleep(1);
            client.unsubscribe("a").unwrap();
            assert!(handles.take()[0].acknowledge());
            sleep(1);
        },
    );
}

#[test]
fn a_message_that_waits_for_the_program_and_comes_again_is_not_handled_again() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_1("a", b"x", 1));
            fiber::sleep(SECOND).unwrap();
            drop(broker);
            let mut broker = links.accept(true);
            let again = Delivery::AtLeastOnce {
                packet_id: id(1),
                dup: true,
            };
            broker.send(&publish("a", b"x", again));
            broker.expect(&puback(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            let handles = Handles::default();
            client.subscribe_as(manual("a"), handles.keep()).unwrap();
            sleep(30);
            let handles = handles.take();
            assert_eq!(handles.len(), 1);
            assert!(handles[0].acknowledge());
            sleep(1);
        },
    );
}

#[test]
fn messages_that_wait_for_the_program_count_among_the_unhandled_ones() {
    const BYTES: usize = mqtt::INBOUND_BYTES_DEFAULT / 3;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            let payload = vec![b'x'; BYTES];
            for number in 1..=3 {
                broker.send(&qos_1("a", &payload, number));
            }
            broker.expect_end();
        },
        |client| {
            let handles = Handles::default();
            client.subscribe_as(manual("a"), handles.keep()).unwrap();
            let end = client.ended().unwrap();
            assert!(matches!(*end, mqtt::EndCause::Overrun { .. }), "{end}");
        },
    );
}

#[test]
fn on_receipt_a_message_is_acknowledged_before_it_is_handled_and_none_is_dropped() {
    const SENT: u16 = 3 * QOS_0_QUEUE_MAX as u16;
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            // As many as may wait for room are acknowledged; the next one is when it was handled.
            let first = QOS_0_QUEUE_MAX as u16 + 1;
            for number in 1..=first {
                broker.send(&qos_1("a", &number.to_be_bytes(), number));
            }
            for number in 1..=first {
                broker.expect(&puback(number));
            }
            broker.send(&qos_1("a", &(first + 1).to_be_bytes(), first + 1));
            broker.expect_silence(SECOND);
            broker.expect(&puback(first + 1));
            for number in first + 2..=SENT {
                broker.send(&qos_1("a", &number.to_be_bytes(), number));
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        |client| {
            let (go, handled) = (fiber::Event::new(), Rc::new(Cell::new(0_u16)));
            let (gate, count) = (go.clone(), Rc::clone(&handled));
            let handler = move |_: &Client, message: &Message| {
                gate.wait()?;
                count.set(count.get() + 1);
                assert_eq!(message.data, count.get().to_be_bytes());
                Ok(())
            };
            let subscribe = Subscribe::to("a", QoS::AtLeastOnce).ack(Ack::OnReceipt);
            client.subscribe_as(subscribe, handler).unwrap();
            sleep(3);
            assert_eq!(handled.get(), 0);
            go.set();
            sleep(1);
            assert_eq!(handled.get(), SENT);
            assert_eq!(client.stats().dropped, 0);
        },
    );
}

#[test]
fn a_message_for_subscriptions_of_different_kinds_is_acknowledged_when_the_last_is_done() {
    play_connected(
        options(),
        |broker| {
            for _ in 0..3 {
                answer_subscribe(broker, &[]);
            }
            broker.send(&qos_1("a", b"", 1));
            broker.expect_silence(3 * SECOND);
            broker.expect(&puback(1));
            broker.expect_silence(10 * SECOND);
            expect_disconnect(broker);
        },
        |client| {
            let handles = Handles::default();
            client.subscribe_as(manual("a"), handles.keep()).unwrap();
            let on_receipt = Subscribe::to("+", QoS::AtLeastOnce).ack(Ack::OnReceipt);
            client.subscribe_as(on_receipt, |_, _| Ok(())).unwrap();
            let slow = |_: &Client, _: &Message| Ok(fiber::sleep(2 * SECOND)?);
            client.subscribe("#", QoS::AtLeastOnce, slow).unwrap();
            sleep(4);
            assert!(handles.take()[0].acknowledge());
            sleep(20);
        },
    );
}

#[test]
fn an_order_of_acknowledgements_that_makes_no_progress_is_told_once() {
    let options = options().keep_alive(Duration::ZERO);
    play_connected(
        options,
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("quick", b"", 1));
            broker.expect(&puback(1));
            broker.send(&qos_1("slow/1", b"", 2));
            broker.send(&qos_1("quick", b"", 3));
            broker.expect_silence(50 * SECOND);
            broker.expect(&puback(2));
            broker.expect(&puback(3));
            broker.send(&qos_1("slow/2", b"", 4));
            broker.expect(&puback(4));
            expect_disconnect(broker);
        },
        |client| {
            let told = Rc::new(RefCell::new(Vec::new()));
            let (noted, began) = (Rc::clone(&told), fiber::Instant::now());
            client.on_event(move |_, event| {
                if let Event::AckStalled { filter, since } = event {
                    let since = since.saturating_duration_since(began).as_secs();
                    noted.borrow_mut().push((filter.clone(), since));
                    assert!(fiber::Instant::now() >= began + ACK_STALL_TIMEOUT);
                }
            });
            let slow = |_: &Client, _: &Message| Ok(fiber::sleep(60 * SECOND)?);
            client.subscribe("slow/+", QoS::AtLeastOnce, slow).unwrap();
            let quick = |_: &Client, _: &Message| Ok(());
            client.subscribe("quick", QoS::AtLeastOnce, quick).unwrap();
            sleep(200);
            let slow = Some("slow/+".to_owned());
            assert_eq!(*told.borrow(), [(slow.clone(), 0), (slow, 60)]);
        },
    );
}

#[test]
fn a_message_that_came_again_is_acknowledged_when_its_subscription_ends_under_its_handler() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_1("a", b"x", 1));
            fiber::sleep(SECOND).unwrap();
            drop(broker);
            let mut broker = links.accept(true);
            let again = Delivery::AtLeastOnce {
                packet_id: id(1),
                dup: true,
            };
            broker.send(&publish("a", b"x", again));
            broker.expect(&puback(1));
            assert_eq!(answer_unsubscribe(&mut broker), ["a"]);
            broker.send(&qos_1("b", b"", 2));
            broker.expect(&puback(2));
            expect_disconnect(&mut broker);
        },
        |client| {
            let handler = |_: &Client, _: &Message| Ok(fiber::sleep(40 * SECOND)?);
            client.subscribe("a", QoS::AtLeastOnce, handler).unwrap();
            sleep(30);
            client.unsubscribe("a").unwrap();
            sleep(30);
        },
    );
}

#[test]
fn once_the_client_is_over_the_program_acknowledges_nothing() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.send(&qos_1("a", b"2", 2));
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let handles = Handles::default();
            client.subscribe_as(manual("a"), handles.keep()).unwrap();
            sleep(1);
            let handles = handles.take();
            assert!(handles[0].acknowledge());
            client.close(SECOND).unwrap();
            client.ended().unwrap();
            assert!(!handles[1].acknowledge());
            assert!(!handles[0].acknowledge());
        },
    );
}
