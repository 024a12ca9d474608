//! Subscriptions and their messages from one connection to the next.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::{Delivery, PacketRef};
use mqtt::{Client, Publish, QoS, Resubscribe, Subscribe, Wait};
use safe_rt::BackoffOptions;

use crate::harness::{
    Broker, answer_subscribe, answer_unsubscribe, expect_disconnect, expect_qos_1, id, note,
    options, play_open, puback, publish, qos_0, qos_1,
};

#[test]
fn a_lost_session_means_subscriptions_first_and_then_everything_as_new() {
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            assert_eq!(answer_subscribe(&mut first, &[]), ["b/#", "a"]);
            assert_eq!(answer_subscribe(&mut first, &[]), ["gone"]);
            assert_eq!(answer_unsubscribe(&mut first), ["gone"]);
            expect_qos_1(&mut first);
            drop(first);
            let mut second = links.accept(false);
            // Both, before anything else, with the highest quality asked for.
            second.receive(|packet| match packet {
                PacketRef::Subscribe(subscribe) => {
                    let filters: Vec<_> = subscribe.filters().iter().collect();
                    let all = [("a", QoS::ExactlyOnce), ("b/#", QoS::AtLeastOnce)];
                    assert_eq!(filters, all);
                }
                other => panic!("{other:?}"),
            });
            let number = second.receive(|packet| match packet {
                PacketRef::Publish(publish) => {
                    assert!(!publish.dup());
                    publish.packet_id().unwrap().get()
                }
                other => panic!("{other:?}"),
            });
            second.send(&puback(number));
            second.send(&qos_0("b/1", b""));
            second.expect(&qos_0("seen", b"b/1"));
            expect_disconnect(&mut second);
        },
        |client| {
            let filters = [("b/#", QoS::AtLeastOnce), ("a", QoS::ExactlyOnce)];
            client
                .subscribe_all(&filters, |client, message| {
                    client.publish(Publish::to("seen", message.topic.as_bytes()))?;
                    Ok(())
                })
                .unwrap();
            let nothing = |_: &_, _: &_| Ok(());
            client.subscribe("gone", QoS::AtMostOnce, nothing).unwrap();
            client.unsubscribe("gone").unwrap();
            let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
            client.publish(publish.wait(Wait::Ack)).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
        },
    );
}

#[test]
fn a_kept_session_is_not_asked_for_its_subscriptions_unless_always() {
    for (resubscribe, asked) in [(Resubscribe::WhenNew, false), (Resubscribe::Always, true)] {
        play_open(
            options().resubscribe(resubscribe),
            move |links| {
                let mut first = links.accept(false);
                answer_subscribe(&mut first, &[]);
                drop(first);
                let mut second = links.accept(true);
                if asked {
                    assert_eq!(answer_subscribe(&mut second, &[]), ["a"]);
                }
                second.send(&qos_0("a", b""));
                second.expect(&qos_0("seen", b""));
                expect_disconnect(&mut second);
            },
            |client| {
                let handler = |client: &Client, _: &_| {
                    client.publish(Publish::to("seen", ""))?;
                    Ok(())
                };
                client.subscribe("a", QoS::AtMostOnce, handler).unwrap();
                fiber::sleep(Duration::from_secs(5)).unwrap();
            },
        );
    }
}

#[test]
fn a_request_whose_answer_was_lost_is_asked_again_and_its_call_returns() {
    play_open(
        options(),
        |links| {
            let asked = |broker: &mut Broker| {
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            };
            asked(&mut links.accept(false));
            // Lost again, before its answer, with the session kept and not.
            asked(&mut links.accept(true));
            asked(&mut links.accept(false));
            let mut broker = links.accept(true);
            assert_eq!(answer_subscribe(&mut broker, &[]), ["a"]);
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Unsubscribe(_))));
            drop(broker);
            let mut broker = links.accept(true);
            assert_eq!(answer_unsubscribe(&mut broker), ["a"]);
            expect_disconnect(&mut broker);
        },
        |client| {
            client
                .subscribe("a", QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
            client.unsubscribe("a").unwrap();
        },
    );
}

#[test]
fn requests_that_are_lost_again_and_again_keep_their_order() {
    play_open(
        options(),
        |links| {
            let unsubscribed = |broker: &mut Broker| {
                broker.receive(|packet| {
                    assert!(matches!(packet, PacketRef::Unsubscribe(_)), "{packet:?}");
                });
            };
            let subscribed = |broker: &mut Broker| {
                broker.receive(|packet| {
                    assert!(matches!(packet, PacketRef::Subscribe(_)), "{packet:?}");
                });
            };
            let mut first = links.accept(false);
            answer_subscribe(&mut first, &[]);
            let number = expect_qos_1(&mut first);
            unsubscribed(&mut first);
            // The later request takes the place of the message among the tickets.
            first.send(&puback(number));
            subscribed(&mut first);
            drop(first);
            for _ in 0..2 {
                let mut broker = links.accept(true);
                unsubscribed(&mut broker);
                subscribed(&mut broker);
            }
            let mut last = links.accept(true);
            assert_eq!(answer_unsubscribe(&mut last), ["a"]);
            assert_eq!(answer_subscribe(&mut last, &[]), ["a"]);
            expect_disconnect(&mut last);
        },
        |client| {
            let nothing = |_: &_, _: &_| Ok(());
            client.subscribe("a", QoS::AtMostOnce, nothing).unwrap();
            let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
            let mut ticket = client.publish(publish).unwrap();
            client.unsubscribe_as("a", Wait::None).unwrap();
            ticket.outcome().unwrap();
            drop(ticket);
            client.subscribe("a", QoS::AtMostOnce, nothing).unwrap();
        },
    );
}

#[test]
fn what_is_asked_again_goes_first_however_many_new_requests_wait() {
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            answer_subscribe(&mut first, &[]);
            first.receive(|packet| assert!(matches!(packet, PacketRef::Unsubscribe(_))));
            drop(first);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let mut second = links.accept(false);
            assert_eq!(answer_subscribe(&mut second, &[]), ["old"]);
            assert_eq!(answer_unsubscribe(&mut second), ["new"]);
            for _ in 0..100 {
                assert_eq!(answer_subscribe(&mut second, &[]), ["new"]);
            }
            expect_disconnect(&mut second);
        },
        |client| {
            let nothing = |_: &_, _: &_| Ok(());
            client.subscribe("old", QoS::AtMostOnce, nothing).unwrap();
            client.unsubscribe_as("new", Wait::None).unwrap();
            while client.is_connected() {
                fiber::sleep(Duration::from_millis(1)).unwrap();
            }
            // The last of them wait for room.
            for _ in 0..100 {
                let new = Subscribe::to("new", QoS::AtMostOnce).wait(Wait::None);
                client.subscribe_as(new, nothing).unwrap();
            }
            fiber::sleep(Duration::from_secs(10)).unwrap();
        },
    );
}

#[test]
fn requests_that_end_with_their_connection_make_room_for_others() {
    play_open(
        options().operation_timeout(None),
        |links| {
            let mut first = links.accept(false);
            for _ in 0..64 {
                first.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            }
            fiber::sleep(Duration::from_secs(10)).unwrap();
            drop(first);
            let mut second = links.accept(true);
            assert_eq!(answer_subscribe(&mut second, &[]), ["last"]);
            expect_disconnect(&mut second);
        },
        |client| {
            let nothing = |_: &_, _: &_| Ok(());
            for _ in 0..64 {
                let client = client.clone();
                let subscribe = move || client.subscribe("a", QoS::AtMostOnce, nothing);
                let impatient = move || fiber::timeout(Duration::from_secs(1), subscribe);
                fiber::spawn(impatient).unwrap();
            }
            fiber::yield_now().unwrap();
            let last = || client.subscribe("last", QoS::AtMostOnce, nothing);
            fiber::timeout(Duration::from_secs(30), last)
                .unwrap()
                .unwrap();
        },
    );
}

#[test]
fn filters_refused_after_a_lost_session_are_told_and_asked_for_again_the_next_time() {
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            answer_subscribe(&mut first, &[]);
            drop(first);
            let mut second = links.accept(false);
            answer_subscribe(&mut second, &["secret"]);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            drop(second);
            let mut third = links.accept(false);
            assert_eq!(answer_subscribe(&mut third, &[]), ["open", "secret"]);
            third.send(&qos_0("secret", b""));
            third.expect(&qos_0("seen", b""));
            expect_disconnect(&mut third);
        },
        |client| {
            let events = note(client);
            let filters = [("open", QoS::AtMostOnce), ("secret", QoS::AtMostOnce)];
            let handler = |client: &Client, _: &_| {
                client.publish(Publish::to("seen", ""))?;
                Ok(())
            };
            client.subscribe_all(&filters, handler).unwrap();
            fiber::sleep(Duration::from_secs(60)).unwrap();
            let lost = "disconnected, the broker closed the connection, again: true";
            let new = "connected, kept: false";
            assert_eq!(
                events.take(),
                [new, lost, new, r#"refused ["secret"]"#, lost, new]
            );
        },
    );
}

#[test]
fn many_filters_are_asked_for_before_all_else_in_packets_that_every_provider_takes() {
    for (count, in_one) in [(200, 8), (1_000, 32)] {
        play_open(
            options(),
            move |links| {
                let mut first = links.accept(false);
                assert_eq!(answer_subscribe(&mut first, &[]).len(), count);
                expect_qos_1(&mut first);
                drop(first);
                let mut second = links.accept(false);
                let mut asked = Vec::new();
                while asked.len() < count {
                    let filters = answer_subscribe(&mut second, &[]);
                    assert!(filters.len() <= in_one);
                    asked.extend(filters);
                }
                asked.sort_unstable();
                asked.dedup();
                assert_eq!(asked.len(), count);
                let number = expect_qos_1(&mut second);
                second.send(&puback(number));
                expect_disconnect(&mut second);
            },
            move |client| {
                let filters: Vec<String> = (0..count).map(|n| format!("f/{n:04}")).collect();
                let filters: Vec<_> = filters
                    .iter()
                    .map(|filter| (filter.as_str(), QoS::AtMostOnce))
                    .collect();
                client.subscribe_all(&filters, |_, _| Ok(())).unwrap();
                let after = Publish::to("after", "").qos(QoS::AtLeastOnce);
                client.publish(after.wait(Wait::Ack)).unwrap();
            },
        );
    }
}

#[test]
fn a_subscription_declared_before_the_connection_gets_the_first_message() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(true);
            broker.send(&qos_1("kept", b"", 1));
            assert_eq!(answer_subscribe(&mut broker, &[]), ["kept"]);
            broker.expect(&puback(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            let handled = Rc::new(Cell::new(false));
            let handler = {
                let handled = Rc::clone(&handled);
                move |_: &_, _: &_| {
                    handled.set(true);
                    Ok(())
                }
            };
            let kept = Subscribe::to("kept", QoS::AtLeastOnce).wait(Wait::None);
            client.subscribe_as(kept, handler).unwrap();
            assert!(client.wait_connected().unwrap());
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert!(handled.get());
            assert_eq!(client.stats().unrouted, 0);
        },
    );
}

#[test]
fn messages_that_come_before_their_subscription_are_held_for_it_then_for_the_default_handler() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(true);
            for (number, topic) in [(1, "late"), (2, "never"), (3, "late")] {
                broker.send(&qos_1(topic, &[number as u8], number));
            }
            broker.expect(&puback(1));
            assert_eq!(answer_subscribe(&mut broker, &[]), ["late"]);
            // In order of arrival: the second is held for five seconds.
            let began = Instant::now();
            broker.expect(&puback(2));
            assert!(began.elapsed() >= Duration::from_secs(3));
            broker.expect(&puback(3));
            // The time of early messages is over.
            broker.send(&qos_1("never", b"\x04", 4));
            broker.expect(&puback(4));
            expect_disconnect(&mut broker);
        },
        |client| {
            let seen = Rc::new(RefCell::new(Vec::new()));
            let see = |name: &'static str| {
                let seen = Rc::clone(&seen);
                move |_: &Client, message: &mqtt::Message| {
                    seen.borrow_mut().push((name, message.data[0]));
                    Ok(())
                }
            };
            client.on_unwanted(see("default"));
            client.wait_connected().unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert!(seen.borrow().is_empty());
            client
                .subscribe("late", QoS::AtLeastOnce, see("late"))
                .unwrap();
            fiber::sleep(Duration::from_secs(10)).unwrap();
            let all = [("late", 1), ("late", 3), ("default", 2), ("default", 4)];
            assert_eq!(seen.take(), all);
            assert_eq!(client.stats().unrouted, 0);
        },
    );
}

#[test]
fn early_messages_are_let_go_in_time_though_the_link_is_lost() {
    let options = options().backoff(BackoffOptions::new().floor(Duration::from_secs(60)));
    play_open(
        options,
        |links| {
            let mut first = links.accept(true);
            first.send(&qos_0("t", b""));
            fiber::sleep(Duration::from_secs(1)).unwrap();
            drop(first);
            expect_disconnect(&mut links.accept(true));
        },
        |client| {
            let handled = Rc::new(Cell::new(0));
            let count = Rc::clone(&handled);
            client.on_unwanted(move |_, _| {
                count.set(count.get() + 1);
                Ok(())
            });
            client.wait_connected().unwrap();
            fiber::sleep(Duration::from_secs(4)).unwrap();
            assert_eq!(handled.get(), 0);
            fiber::sleep(Duration::from_secs(2)).unwrap();
            assert_eq!(handled.get(), 1);
            assert!(!client.is_connected());
            client.wait_connected().unwrap();
        },
    );
}

#[test]
fn early_messages_are_bounded_and_those_that_go_are_acknowledged_and_counted() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(true);
            for number in 1..=70 {
                broker.send(&qos_1("t", b"", number));
            }
            for number in 1..=6 {
                broker.expect(&puback(number));
            }
            let began = Instant::now();
            broker.expect(&puback(7));
            assert!(began.elapsed() > Duration::from_secs(4));
            for number in 8..=70 {
                broker.expect(&puback(number));
            }
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            assert_eq!(client.stats().unrouted, 6);
            fiber::sleep(Duration::from_secs(9)).unwrap();
            assert_eq!(client.stats().unrouted, 70);
        },
    );
}

#[test]
fn a_message_that_comes_again_before_it_was_handled_is_handled_once_and_acknowledged() {
    play_open(
        options(),
        |links| {
            let mut first = links.accept(false);
            answer_subscribe(&mut first, &[]);
            answer_subscribe(&mut first, &[]);
            // The first is being handled when the link is lost, the others wait.
            for number in [1, 2, 3] {
                first.send(&qos_1("a", &[number as u8], number));
            }
            fiber::sleep(Duration::from_secs(1)).unwrap();
            drop(first);
            let mut second = links.accept(true);
            let again = |number| Delivery::AtLeastOnce {
                packet_id: id(number),
                dup: true,
            };
            for number in [1, 2, 3] {
                second.send(&publish("a", &[number as u8], again(number)));
            }
            // Another message under the identifier of one that was handled meanwhile or not.
            second.send(&publish("a", b"\x04", again(4)));
            for number in [1, 2, 3, 4] {
                second.expect(&puback(number));
            }
            second.send(&publish("a", b"\x05", again(1)));
            second.expect(&puback(1));
            expect_disconnect(&mut second);
        },
        |client| {
            let handled = Rc::new(RefCell::new(Vec::new()));
            for filter in ["a", "#"] {
                let handled = Rc::clone(&handled);
                let handler = move |_: &Client, message: &mqtt::Message| {
                    fiber::sleep(Duration::from_secs(10))?;
                    handled.borrow_mut().push(message.data[0]);
                    Ok(())
                };
                client.subscribe(filter, QoS::AtLeastOnce, handler).unwrap();
            }
            fiber::sleep(Duration::from_secs(100)).unwrap();
            let mut handled = handled.take();
            handled.sort_unstable();
            assert_eq!(handled, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
        },
    );
}
