//! Subscribing, refusals, unsubscribing, iterators.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::PacketRef;
use mqtt::session::ArgumentError;
use mqtt::{Client, Error, HandlerError, Message, Publish, QoS, Wait};

use crate::harness::{
    answer_subscribe, answer_unsubscribe, expect_disconnect, options, play_connected,
    play_with_fibers, puback, qos_0, qos_1,
};

/// What handlers saw, in order.
#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn handler(
        &self,
        name: &'static str,
    ) -> impl FnMut(&Client, &Message) -> Result<(), HandlerError> + use<> {
        let seen = Self::clone(self);
        move |_, message| {
            let data = String::from_utf8_lossy(&message.data).into_owned();
            seen.0
                .borrow_mut()
                .push(format!("{name}:{}:{data}", message.topic));
            Ok(())
        }
    }

    fn take(&self) -> Vec<String> {
        // Handlers run when this fiber waits.
        fiber::sleep(Duration::from_millis(100)).unwrap();
        self.0.take()
    }
}

#[test]
fn a_refused_subscription_is_an_error_value_and_the_connection_goes_on() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &["secret"]), ["secret"]);
            broker.send(&qos_0("secret", b"all the same"));
            broker.expect(&qos_0("m", b""));
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            let error = client
                .subscribe("secret", QoS::AtLeastOnce, seen.handler("h"))
                .unwrap_err();
            let Error::SubscribeRefused { filters } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(filters, &["secret"]);
            assert!(error.to_string().contains("secret"));
            assert!(client.is_connected());
            client
                .publish(Publish::to("m", "").wait(Wait::Sent))
                .unwrap();
            assert!(seen.take().is_empty());
            assert_eq!(client.stats().unrouted, 1);
        },
    );
}

#[test]
fn of_several_filters_only_the_refused_ones_are_lost() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &["b"]);
            for topic in ["a", "b", "c"] {
                broker.send(&qos_0(topic, b"1"));
            }
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            let filters = ["a", "b", "c"].map(|filter| (filter, QoS::AtMostOnce));
            let error = client
                .subscribe_all(&filters, seen.handler("h"))
                .unwrap_err();
            assert!(matches!(error, Error::SubscribeRefused { filters } if filters == ["b"]));
            assert_eq!(seen.take(), ["h:a:1", "h:c:1"]);
        },
    );
}

#[test]
fn messages_that_come_before_the_suback_are_handled() {
    play_connected(
        options(),
        |broker| {
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            broker.send(&qos_0("a", b"retained"));
            broker.send_bytes(&[0x90, 3, 0, 1, 0]);
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            client
                .subscribe("a", QoS::AtMostOnce, seen.handler("h"))
                .unwrap();
            assert_eq!(seen.take(), ["h:a:retained"]);
        },
    );
}

#[test]
fn unsubscribe_removes_one_and_only_one() {
    play_connected(
        options(),
        |broker| {
            for _ in 0..3 {
                answer_subscribe(broker, &[]);
            }
            assert_eq!(answer_unsubscribe(broker), ["a/+"]);
            broker.send(&qos_0("a/1", b"x"));
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            for filter in ["a/#", "a/+", "a/1"] {
                client
                    .subscribe(filter, QoS::AtMostOnce, seen.handler(filter))
                    .unwrap();
            }
            client.unsubscribe("a/+").unwrap();
            let mut handled = seen.take();
            handled.sort();
            assert_eq!(handled, ["a/#:a/1:x", "a/1:a/1:x"]);
        },
    );
}

#[test]
fn one_handler_for_several_filters_is_called_once_for_a_message_that_all_match() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a/b", b"x", 9));
            broker.expect(&puback(9));
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            let filters = ["a/#", "a/b", "+/b"].map(|filter| (filter, QoS::AtLeastOnce));
            client.subscribe_all(&filters, seen.handler("h")).unwrap();
            assert_eq!(seen.take(), ["h:a/b:x"]);
        },
    );
}

#[test]
fn bad_filters_are_error_values() {
    play_connected(options(), expect_disconnect, |client| {
        let nothing = |_: &Client, _: &Message| Ok(());
        for filter in ["", "a/#/b", "a+", "nul\0"] {
            let error = client
                .subscribe(filter, QoS::AtMostOnce, nothing)
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Argument(ArgumentError::Filter { index: 0, .. })
                ),
                "{filter:?} gave {error:?}"
            );
            assert!(matches!(
                client.unsubscribe(filter),
                Err(Error::Argument(_))
            ));
        }
        let error = client.subscribe_all(&[], nothing).unwrap_err();
        assert!(
            matches!(error, Error::Argument(ArgumentError::Packet(_))),
            "{error:?}"
        );
        assert!(client.is_connected());
    });
}

#[test]
fn an_iterator_gives_messages_acknowledges_each_with_the_next_and_unsubscribes_when_dropped() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_1("a", b"1", 1));
            broker.send(&qos_1("a", b"2", 2));
            broker.expect(&puback(1));
            broker.expect_silence(Duration::from_secs(1));
            broker.send(&qos_0("a", b"3"));
            broker.expect(&puback(2));
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            expect_disconnect(broker);
        },
        |client| {
            let mut messages = client.subscribe_iter("a", QoS::AtLeastOnce).unwrap();
            assert_eq!(messages.next().unwrap().unwrap().data, b"1");
            assert_eq!(messages.next().unwrap().unwrap().data, b"2");
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(messages.next().unwrap().unwrap().data, b"3");
            let waited = fiber::timeout(Duration::from_secs(1), || messages.next());
            assert!(matches!(
                waited,
                Err(fiber::Elapsed(Some(Err(fiber::Stopped::TimedOut))))
            ));
            drop(messages);
            fiber::sleep(Duration::from_millis(1)).unwrap();
        },
    );
}

#[test]
fn an_iterator_ends_with_the_connection_after_the_last_message() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("a", b"1"));
            broker.send(&qos_0("a", b"2"));
        },
        |client| {
            let messages = client.subscribe_iter("a", QoS::AtMostOnce).unwrap();
            client.ended().unwrap();
            let all: Vec<_> = messages
                .map(|message| message.unwrap().data.to_vec())
                .collect();
            assert_eq!(all, [b"1", b"2"]);
        },
    );
}

#[test]
fn a_subscription_whose_answer_never_comes_is_over_when_the_wait_is() {
    play_connected(
        options(),
        |broker| {
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            // Nobody wants it any more, should it have been granted.
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            broker.send(&qos_0("a", b"late"));
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            let waited = fiber::timeout(Duration::from_secs(1), || {
                client.subscribe("a", QoS::AtMostOnce, seen.handler("h"))
            });
            assert!(
                matches!(waited, Err(fiber::Elapsed(Err(Error::Wait(_))))),
                "{waited:?}"
            );
            fiber::sleep(Duration::from_secs(5)).unwrap();
            assert!(seen.take().is_empty());
            assert_eq!(client.stats().unrouted, 1);
        },
    );
}

#[test]
fn more_requests_than_may_be_open_wait_in_line_without_a_turn() {
    const COUNT: usize = 100;
    play_connected(
        options(),
        |broker| {
            fiber::sleep(Duration::from_secs(30)).unwrap();
            for n in 0..COUNT {
                assert_eq!(answer_subscribe(broker, &[]), [n.to_string()]);
            }
            expect_disconnect(broker);
        },
        |client| {
            let fibers: Vec<_> = (0..COUNT)
                .map(|n| {
                    let client = client.clone();
                    let subscribe = move || {
                        let nothing = |_: &Client, _: &Message| Ok(());
                        client
                            .subscribe(&n.to_string(), QoS::AtMostOnce, nothing)
                            .unwrap();
                    };
                    fiber::spawn(subscribe).unwrap()
                })
                .collect();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let resumes = fiber::stats().resumes;
            fiber::sleep(Duration::from_secs(28)).unwrap();
            assert!(fiber::stats().resumes - resumes <= 1);
            for mut fiber in fibers {
                fiber.join().unwrap();
            }
        },
    );
}

#[test]
fn a_refused_subscription_for_which_there_is_no_fiber_owes_no_acknowledgement() {
    // The main fiber, the broker, the driver, and one that is there for a while.
    play_with_fibers(
        4,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            broker.send(&qos_1("a", b"early", 1));
            broker.send_bytes(&[0x90, 3, 0, 1, 0x80]);
            broker.expect(&puback(1));
            broker.send(&qos_1("other", b"", 2));
            broker.expect(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            fiber::spawn(|| fiber::sleep(Duration::from_secs(2))).unwrap();
            let seen = Seen::default();
            let refused = client.subscribe("a", QoS::AtLeastOnce, seen.handler("h"));
            assert!(matches!(refused, Err(Error::SubscribeRefused { .. })));
            fiber::sleep(Duration::from_secs(3)).unwrap();
            assert!(seen.take().is_empty());
            assert_eq!(Rc::strong_count(&seen.0), 1, "the handler is gone");
        },
    );
}

#[test]
fn the_handler_of_unwanted_messages_outlives_every_unsubscribe() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_unsubscribe(broker), ["a"]);
            broker.send(&qos_1("other", b"", 1));
            broker.expect(&puback(1));
            expect_disconnect(broker);
        },
        |client| {
            let handled = Rc::new(Cell::new(0));
            let count = Rc::clone(&handled);
            client.on_unwanted(move |_, _| {
                count.set(count.get() + 1);
                Ok(())
            });
            client.unsubscribe("a").unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(handled.get(), 1);
        },
    );
}
