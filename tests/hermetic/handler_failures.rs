//! Handlers that fail: called again, at last given up, never in the way for ever.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::{
    Ack, Client, HandlerError, Message, OnError, QOS_0_QUEUE_MAX, QoS, REDELIVERY_PAUSE_MAX,
    Subscribe,
};

use crate::harness::{
    answer_subscribe, answer_unsubscribe, expect_disconnect, options, play_connected, puback,
    qos_0, qos_1,
};

fn failure() -> HandlerError {
    HandlerError::new("no such valve")
}

fn redeliver(limit: u32) -> Subscribe<'static> {
    Subscribe::to("a", QoS::AtLeastOnce).on_error(OnError::Redeliver { limit })
}

/// What a handler of dead letters was given.
#[derive(Clone, Default)]
struct Graves(Rc<RefCell<Vec<String>>>);

impl Graves {
    fn dig(client: &Client) -> Self {
        let graves = Self::default();
        let list = graves.clone();
        client.on_dead_letter(move |_, message| {
            let data = String::from_utf8_lossy(&message.data).into_owned();
            list.0.borrow_mut().push(data);
            Ok(())
        });
        graves
    }
}

#[test]
fn a_handler_that_fails_is_called_again_until_it_succeeds_and_the_next_message_waits() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.send(&qos_1("a", b"2", 2));
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            let graves = Graves::dig(client);
            let calls = Rc::new(RefCell::new(Vec::new()));
            let log = Rc::clone(&calls);
            let handler = move |_: &Client, message: &Message| {
                log.borrow_mut().push(message.data[0]);
                match log.borrow().len() {
                    1 => Err(failure()),
                    2 => panic!("a handler's panic, as this test asks for"),
                    _ => Ok(()),
                }
            };
            client.subscribe_as(redeliver(2), handler).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(*calls.borrow(), *b"1112");
            let stats = client.stats();
            assert_eq!((stats.handler_errors, stats.handler_panics), (1, 1));
            assert_eq!((stats.redelivered, stats.dead_letters), (2, 0));
            assert!(graves.0.take().is_empty());
        },
    );
}

#[test]
fn at_the_limit_a_message_goes_to_the_handler_of_dead_letters_and_is_acknowledged_after_it() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"bad", 1));
            broker.send(&qos_1("a", b"good", 2));
            // Pauses of 100 and 200 ms, then the handler of dead letters takes its time.
            broker.expect_silence(Duration::from_millis(1_299));
            broker.expect(&puback(1));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            let buried = Rc::new(Cell::new(0));
            let count = Rc::clone(&buried);
            client.on_dead_letter(move |_, message| {
                assert_eq!(message.data, b"bad");
                count.set(count.get() + 1);
                fiber::sleep(Duration::from_secs(1))?;
                Err(failure())
            });
            let handled = Rc::new(Cell::new(0));
            let count = Rc::clone(&handled);
            let handler = move |_: &Client, message: &Message| match &*message.data {
                b"bad" => Err(failure()),
                _ => {
                    count.set(count.get() + 1);
                    Ok(())
                }
            };
            client.subscribe_as(redeliver(2), handler).unwrap();
            fiber::sleep(Duration::from_secs(5)).unwrap();
            assert_eq!((buried.get(), handled.get()), (1, 1));
            let stats = client.stats();
            assert_eq!((stats.handler_errors, stats.redelivered), (4, 2));
            assert_eq!(stats.dead_letters, 1);
        },
    );
}

#[test]
fn the_pause_between_calls_grows_up_to_its_bound() {
    let options = options().keep_alive(Duration::ZERO);
    play_connected(
        options,
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b"x"));
            fiber::sleep(Duration::from_secs(100)).unwrap();
            expect_disconnect(broker);
        },
        |client| {
            let graves = Graves::dig(client);
            let calls = Rc::new(RefCell::new(Vec::new()));
            let log = Rc::clone(&calls);
            let handler = move |_: &Client, _: &Message| {
                log.borrow_mut().push(Instant::now());
                Err(failure())
            };
            client.subscribe_as(redeliver(9), handler).unwrap();
            fiber::sleep(Duration::from_secs(90)).unwrap();
            let calls = calls.take();
            let pauses = calls.windows(2).map(|pair| (pair[1] - pair[0]).as_millis());
            let expected = [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
            assert_eq!(Vec::from_iter(pauses), expected);
            assert_eq!(REDELIVERY_PAUSE_MAX.as_millis(), 10_000);
            assert_eq!(graves.0.take(), ["x"], "of QoS 0 as well");
        },
    );
}

#[test]
fn a_message_that_fails_for_ever_goes_with_its_subscription() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"", 1));
            broker.expect_silence(Duration::from_secs(5));
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let handler = |_: &Client, _: &Message| Err(failure());
            client.subscribe_as(redeliver(u32::MAX), handler).unwrap();
            fiber::sleep(Duration::from_secs(8)).unwrap();
            client.unsubscribe("a").unwrap();
            fiber::sleep(2 * REDELIVERY_PAUSE_MAX).unwrap();
        },
    );
}

#[test]
fn a_message_that_the_program_was_to_acknowledge_is_acknowledged_when_its_handler_fails() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.expect(&puback(1));
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"2", 2));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            let graves = Graves::dig(client);
            let handler = |_: &Client, _: &Message| Err(failure());
            let manual = Subscribe::to("a", QoS::AtLeastOnce).ack(Ack::Manual);
            client.subscribe_as(manual, handler).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert!(
                graves.0.take().is_empty(),
                "without redelivery it is let go"
            );
            client.unsubscribe("a").unwrap();
            let manual = redeliver(0).ack(Ack::Manual);
            client.subscribe_as(manual, handler).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(graves.0.take(), ["2"]);
            assert_eq!(client.stats().acks_expired, 0);
        },
    );
}

#[test]
fn dead_letters_that_were_acknowledged_on_receipt_are_bounded() {
    let count = QOS_0_QUEUE_MAX as u16 + 10;
    play_connected(
        options().keep_alive(Duration::ZERO),
        move |broker| {
            answer_subscribe(broker, &[]);
            for number in 1..=count {
                broker.send(&qos_1("a", b"", number));
                broker.expect(&puback(number));
            }
            expect_disconnect(broker);
        },
        move |client| {
            let buried = Rc::new(Cell::new(0));
            let graves = Rc::clone(&buried);
            client.on_dead_letter(move |_, _| {
                if graves.replace(graves.get() + 1) == 0 {
                    fiber::sleep(Duration::from_secs(50))?;
                }
                Ok(())
            });
            let handler = |_: &Client, _: &Message| Err(failure());
            let on_receipt = redeliver(0).ack(Ack::OnReceipt);
            client.subscribe_as(on_receipt, handler).unwrap();
            fiber::sleep(Duration::from_secs(100)).unwrap();
            assert_eq!(client.stats().dead_letters, u64::from(count));
            assert_eq!(buried.get(), QOS_0_QUEUE_MAX + 1);
        },
    );
}

#[test]
fn a_message_whose_subscription_ends_in_a_pause_is_no_dead_letter() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"x", 1));
            broker.expect_silence(Duration::from_secs(1));
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let graves = Graves::dig(client);
            let handler = |_: &Client, _: &Message| Err(failure());
            client.subscribe_as(redeliver(9), handler).unwrap();
            fiber::sleep(Duration::from_secs(2)).unwrap();
            client.unsubscribe("a").unwrap();
            fiber::sleep(2 * REDELIVERY_PAUSE_MAX).unwrap();
            assert_eq!(client.stats().dead_letters, 0);
            assert!(graves.0.take().is_empty());
        },
    );
}

#[test]
fn what_fails_when_the_client_is_over_is_a_dead_letter_all_the_same() {
    let dropped = Rc::new(Cell::new(false));
    let gone = Rc::clone(&dropped);
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b"in a pause"));
            broker.send(&qos_1("a", b"queued", 1));
            expect_disconnect(broker);
        },
        move |client| {
            let graves = Graves::dig(client);
            let list = graves.clone();
            let last = DropFlag(gone);
            client.on_dead_letter(move |_, message| {
                let _last = &last;
                let data = String::from_utf8_lossy(&message.data).into_owned();
                list.0.borrow_mut().push(data);
                Ok(())
            });
            let handler = |_: &Client, message: &Message| {
                if message.data == b"queued" {
                    // The handler of dead letters has been idle for long then.
                    fiber::sleep(Duration::from_secs(5))?;
                }
                Err(failure())
            };
            client.subscribe_as(redeliver(9), handler).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            client.close(Duration::from_secs(1)).unwrap();
            fiber::sleep(Duration::from_secs(30)).unwrap();
            assert_eq!(*graves.0.borrow(), ["in a pause", "queued"]);
            assert_eq!(client.stats().dead_letters, 2);
        },
    );
    assert!(dropped.get(), "nothing is left of the handler");
}

/// Set when it is dropped.
struct DropFlag(Rc<Cell<bool>>);

impl Drop for DropFlag {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
