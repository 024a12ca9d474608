//! Master subscriptions: one subscription at the broker, handlers below it that are local.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::{Client, Error, HandlerError, Message, QoS, Subscribe, Wait};

use crate::harness::{
    answer_subscribe, answer_unsubscribe, expect_disconnect, note, options, play, play_connected,
    play_open, puback, qos_0, qos_1,
};

const QOS: QoS = QoS::AtLeastOnce;

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
            let line = format!("{name} got {}", message.topic);
            seen.0.borrow_mut().push(line);
            Ok(())
        }
    }

    fn take(&self) -> Vec<String> {
        fiber::sleep(Duration::from_millis(100)).unwrap();
        let mut seen = self.0.take();
        seen.sort();
        seen
    }
}

#[test]
fn a_master_subscription_routes_by_level_and_sends_one_subscribe_alone() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["a/b/#"]);
            for (number, topic) in (1..).zip(["a/b", "a/b/c", "a/b/c/d", "a/bc/d"]) {
                broker.send(&qos_1(topic, b"", number));
                broker.expect(&puback(number));
            }
            // This one lies outside, by a level's name that only begins alike.
            assert_eq!(answer_subscribe(broker, &[]), ["a/bc/#"]);
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            // Nothing is read before this fiber waits, so that no message comes before its handler.
            client.subscribe_master("a/b", QOS, Wait::None).unwrap();
            for filter in ["a/b", "a/b/+", "a/b/c/#"] {
                client.subscribe(filter, QOS, seen.handler(filter)).unwrap();
            }
            let expected = [
                "a/b got a/b",
                "a/b/+ got a/b/c",
                "a/b/c/# got a/b/c",
                "a/b/c/# got a/b/c/d",
            ];
            assert_eq!(seen.take(), expected);
            assert_eq!(client.stats().unrouted, 1);
            client
                .subscribe("a/bc/#", QOS, seen.handler("other"))
                .unwrap();
        },
    );
}

#[test]
fn a_covered_filter_stays_local_unless_it_asks_for_retained_messages_or_more_quality() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["a/#"]);
            assert_eq!(answer_subscribe(broker, &[]), ["a/kept"]);
            assert_eq!(answer_subscribe(broker, &[]), ["a/once"]);
            assert_eq!(answer_subscribe(broker, &[]), ["b"]);
            // Local ones are none of the broker's business, the others are.
            assert_eq!(answer_unsubscribe(broker), ["a/kept"]);
            expect_disconnect(broker);
        },
        |client| {
            let nothing = |_: &Client, _: &Message| Ok(());
            client.subscribe_master("a", QOS, Wait::Ack).unwrap();
            client.subscribe("a/local", QOS, nothing).unwrap();
            let kept = Subscribe::to("a/kept", QOS).retained(true);
            client.subscribe_as(kept, nothing).unwrap();
            let once = QoS::ExactlyOnce;
            client.subscribe("a/once", once, nothing).unwrap();
            // Of several filters only those are asked for that no master brings.
            let both = [("a/x", QOS), ("b", QOS)];
            client.subscribe_all(&both, nothing).unwrap();
            client.unsubscribe("a/local").unwrap();
            client.unsubscribe("a/kept").unwrap();
            client.unsubscribe("a/x").unwrap();
        },
    );
}

#[test]
fn a_master_subscription_ends_with_its_last_declaration_and_handlers_below_stay() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["a/#"]);
            assert_eq!(answer_subscribe(broker, &[]), ["a/c", "a/b/+"]);
            assert_eq!(answer_unsubscribe(broker), ["a/#"]);
            broker.send(&qos_0("a/b/1", b""));
            broker.send(&qos_0("a/c", b""));
            assert_eq!(answer_unsubscribe(broker), ["a/c"]);
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            client.subscribe_master("a", QOS, Wait::Ack).unwrap();
            client.subscribe_master("a", QOS, Wait::Ack).unwrap();
            for filter in ["a/c", "a/b/+"] {
                client.subscribe(filter, QOS, seen.handler(filter)).unwrap();
            }
            client.unsubscribe_master("a", Wait::Ack).unwrap();
            assert!(seen.take().is_empty());
            client.unsubscribe_master("a", Wait::Ack).unwrap();
            assert_eq!(seen.take(), ["a/b/+ got a/b/1", "a/c got a/c"]);
            client.unsubscribe("a/c").unwrap();
        },
    );
}

#[test]
fn a_refused_master_subscription_is_an_error_and_handlers_below_are_asked_for() {
    play(
        options(),
        |broker| {
            broker.accept(false, |_| ());
            assert_eq!(answer_subscribe(broker, &["a/#", "b/#"]), ["a/#"]);
            assert_eq!(answer_subscribe(broker, &["b/#"]), ["b/#"]);
            assert_eq!(answer_subscribe(broker, &[]), ["b/1"]);
            broker.send(&qos_0("b/1", b""));
            expect_disconnect(broker);
        },
        |client| {
            let (events, seen) = (note(client), Seen::default());
            client.connect().unwrap();
            let refused = client.subscribe_master("a", QOS, Wait::Ack).unwrap_err();
            let Error::SubscribeRefused { filters } = &refused else {
                panic!("{refused}")
            };
            assert_eq!(filters, &["a/#"]);
            client.subscribe_master("b", QOS, Wait::None).unwrap();
            client.subscribe("b/1", QOS, seen.handler("b")).unwrap();
            assert_eq!(seen.take(), ["b got b/1"]);
            let expected = ["connected, kept: false", "refused [\"b/#\"]"];
            assert_eq!(*events.borrow(), expected);
        },
    );
}

#[test]
fn after_a_lost_session_the_master_is_asked_for_and_those_below_are_not() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/#"]);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["b"]);
            drop(broker);
            let mut broker = links.accept(false);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/#", "b"]);
            broker.send(&qos_0("a/1", b""));
            expect_disconnect(&mut broker);
        },
        |client| {
            let seen = Seen::default();
            client.subscribe_master("a", QOS, Wait::Ack).unwrap();
            client.subscribe("a/1", QOS, seen.handler("a")).unwrap();
            client.subscribe("b", QOS, seen.handler("b")).unwrap();
            fiber::sleep(Duration::from_secs(30)).unwrap();
            assert_eq!(seen.take(), ["a got a/1"]);
        },
    );
}

#[test]
fn one_of_two_handlers_of_a_filter_is_removed_and_the_broker_is_told_with_the_last() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["a"]);
            assert_eq!(answer_subscribe(broker, &[]), ["a", "b"]);
            broker.send(&qos_0("a", b""));
            broker.send(&qos_0("b", b""));
            assert_eq!(answer_unsubscribe(broker), ["a", "b"]);
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            let first = client.subscribe("a", QOS, seen.handler("first")).unwrap();
            let filters = [("a", QOS), ("b", QOS)];
            let second = client.subscribe_all(&filters, seen.handler("second"));
            let second = second.unwrap();
            client.unsubscribe_id(first, Wait::Ack).unwrap();
            client.unsubscribe_id(first, Wait::Ack).unwrap();
            assert_eq!(seen.take(), ["second got a", "second got b"]);
            client.unsubscribe_id(second, Wait::Ack).unwrap();
        },
    );
}

#[test]
fn a_prefix_is_a_filter_without_its_end_and_a_closed_client_takes_none() {
    play_connected(options(), expect_disconnect, |client| {
        for prefix in ["", "a/#", "a+", "nul\0"] {
            let error = client.subscribe_master(prefix, QOS, Wait::Ack).unwrap_err();
            assert!(matches!(error, Error::Argument(_)), "{prefix:?}: {error}");
            let error = client.unsubscribe_master(prefix, Wait::Ack).unwrap_err();
            assert!(matches!(error, Error::Argument(_)), "{prefix:?}: {error}");
        }
        client.close(Duration::from_secs(1)).unwrap();
        let error = client.subscribe_master("a", QOS, Wait::None).unwrap_err();
        assert!(matches!(error, Error::Wait(_)), "{error}");
    });
}

#[test]
fn a_declaration_that_is_given_up_takes_nothing_from_another_one() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/#"]);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/#"]);
            drop(broker);
            let mut broker = links.accept(false);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/#"]);
            expect_disconnect(&mut broker);
        },
        |client| {
            let first = client.clone();
            let first = fiber::spawn(move || {
                let declare = || first.subscribe_master("a", QOS, Wait::Ack);
                fiber::timeout(Duration::from_secs(1), declare).is_err()
            });
            fiber::yield_now().unwrap();
            client.subscribe_master("a", QOS, Wait::Ack).unwrap();
            assert!(first.unwrap().join().unwrap(), "given up");
            fiber::sleep(Duration::from_secs(30)).unwrap();
        },
    );
}

#[test]
fn a_refused_upgrade_leaves_the_master_subscription_as_it_was() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/#"]);
            assert_eq!(answer_subscribe(&mut broker, &["a/#"]), ["a/#"]);
            // What relied on more than the master has is asked for; the other handler is not.
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/more"]);
            broker.send(&qos_0("a/b", b""));
            broker.expect_silence(Duration::from_millis(500));
            drop(broker);
            // It is there on later connections, at what it was granted.
            let mut broker = links.accept(false);
            let (packet_id, filters) = broker.receive(|packet| match packet {
                mqtt::packet::PacketRef::Subscribe(subscribe) => {
                    let filters = subscribe.filters();
                    let filters = filters.iter().map(|(filter, qos)| (filter.to_owned(), qos));
                    (subscribe.packet_id(), Vec::from_iter(filters))
                }
                other => panic!("{other:?}"),
            });
            let expected = [("a/#", QoS::AtMostOnce), ("a/more", QOS)];
            assert!(
                filters.iter().map(|(f, q)| (f.as_str(), *q)).eq(expected),
                "{filters:?}"
            );
            let reasons = expected.map(|(_, qos)| mqtt::SubscribeReason::Granted(qos));
            let suback = mqtt::packet::SubAck::new(mqtt::Version::V311, packet_id, &reasons);
            broker.send(&mqtt::packet::PacketRef::SubAck(suback.unwrap()));
            // With its last declaration the handlers below are asked for, and it ends.
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a/b"]);
            assert_eq!(answer_unsubscribe(&mut broker), ["a/#"]);
            expect_disconnect(&mut broker);
        },
        |client| {
            let seen = Seen::default();
            client.wait_connected().unwrap();
            let (low, more) = (QoS::AtMostOnce, QOS);
            client.subscribe_master("a", low, Wait::Ack).unwrap();
            client.subscribe("a/b", low, seen.handler("low")).unwrap();
            let upgrading = client.clone();
            let upgrade = move || upgrading.subscribe_master("a", more, Wait::Ack);
            let mut upgrade = fiber::spawn(upgrade).unwrap();
            fiber::yield_now().unwrap();
            client
                .subscribe("a/more", more, seen.handler("more"))
                .unwrap();
            let refused = upgrade.join().unwrap().unwrap_err();
            assert!(
                matches!(refused, Error::SubscribeRefused { .. }),
                "{refused}"
            );
            assert_eq!(seen.take(), ["low got a/b"]);
            fiber::sleep(Duration::from_secs(5)).unwrap();
            // The first declaration is the only one.
            client.unsubscribe_master("a", Wait::Ack).unwrap();
        },
    );
}

#[test]
fn a_filter_given_twice_under_a_master_is_asked_for_where_it_needs_more() {
    play_connected(
        options(),
        |broker| {
            assert_eq!(answer_subscribe(broker, &[]), ["a/#"]);
            assert_eq!(answer_subscribe(broker, &[]), ["a/b"]);
            broker.send(&qos_1("a/b", b"", 1));
            broker.expect(&puback(1));
            assert_eq!(answer_unsubscribe(broker), ["a/b"]);
            expect_disconnect(broker);
        },
        |client| {
            let seen = Seen::default();
            client.subscribe_master("a", QOS, Wait::Ack).unwrap();
            let twice = [("a/b", QOS), ("a/b", QoS::ExactlyOnce), ("a/c", QOS)];
            client.subscribe_all(&twice, seen.handler("one")).unwrap();
            assert_eq!(seen.take(), ["one got a/b"]);
            client.unsubscribe("a/b").unwrap();
        },
    );
}
