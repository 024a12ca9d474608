//! The queue of messages that were never sent: its bounds, its policies, and withdrawal.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Instant, sleep};
use mqtt::packet::PacketRef;
use mqtt::{
    AlreadySent, Client, ClientOptions, Outcome, Publish, PublishError, QUEUED_MESSAGE_BYTES, QoS,
    QueuePolicy, Ticket, Wait, mqtt_abandon,
};

use crate::harness::{
    Broker, options, play, play_connected, play_open, puback, pubcomp, pubrec, unreachable_broker,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
const ACKED: Option<Outcome> = Some(Outcome::Acked { maybe_twice: false });
const DROPPED: Option<Outcome> = Some(Outcome::DroppedByPolicy);
pub(crate) const EXPIRED: Option<Outcome> = Some(Outcome::Expired);
const WITHDRAWN: Option<Outcome> = Some(Outcome::Withdrawn);
const NO_BYTES: usize = usize::MAX;

pub(crate) fn qos_1<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish::to(topic, payload).qos(QoS::AtLeastOnce)
}

pub(crate) fn publish(client: &Client, payload: &str, policy: QueuePolicy) -> Ticket {
    let publish = qos_1("m", payload).queue_policy(policy);
    client.publish(publish).unwrap()
}

/// Acknowledges what comes until the client leaves; returns topics and payloads in order.
pub(crate) fn take_all(broker: &mut Broker) -> Vec<String> {
    let mut came = Vec::new();
    loop {
        let answer = broker.receive(|packet| match packet {
            PacketRef::Publish(publish) => {
                let payload = String::from_utf8_lossy(publish.payload());
                came.push(format!("{} {payload}", publish.topic()));
                let id = publish.packet_id().map(mqtt::PacketId::get);
                Some(match publish.qos() {
                    QoS::ExactlyOnce => id.map(pubrec),
                    QoS::AtLeastOnce | QoS::AtMostOnce => id.map(puback),
                })
            }
            PacketRef::PubRel(pubrel) => Some(Some(pubcomp(pubrel.packet_id.get()))),
            PacketRef::Disconnect(_) => None,
            other => panic!("{other:?}"),
        });
        match answer {
            Some(Some(answer)) => broker.send(&answer),
            Some(None) => {}
            None => return came,
        }
    }
}

/// Fills a queue of two while there is no connection, and while there is one with a full window, and
/// has `body` publish one more. `expected` is all that the broker gets then.
#[track_caller]
fn one_past_the_bound(
    policy: QueuePolicy,
    expected: &'static [&'static str],
    body: impl Fn(&Client, [&Ticket; 2]) + Clone + 'static,
) {
    let two = options().window(1).queue_max(2, NO_BYTES);
    let offline = body.clone();
    play(
        two.clone(),
        move |broker| {
            broker.accept(false, |_| ());
            assert_eq!(take_all(broker), expected);
        },
        move |client| {
            let first = publish(client, "1", policy);
            let second = publish(client, "2", policy);
            offline(client, [&first, &second]);
            client.connect().unwrap();
            client.close(60 * SECOND).unwrap();
        },
    );
    play_connected(
        two,
        move |broker| {
            // It holds the window.
            let id = crate::harness::expect_qos_1(broker);
            sleep(SECOND).unwrap();
            broker.send(&puback(id));
            assert_eq!(take_all(broker), expected);
        },
        move |client| {
            let sent = publish(client, "0", policy);
            let first = publish(client, "1", policy);
            let second = publish(client, "2", policy);
            body(client, [&first, &second]);
            assert_eq!(sent.abandon(), Err(AlreadySent));
            client.close(60 * SECOND).unwrap();
            assert_eq!(sent.poll(), ACKED);
        },
    );
}

#[test]
fn without_room_a_publish_waits_unless_told_otherwise() {
    one_past_the_bound(QueuePolicy::Wait, &["m 1", "m 2"], |client, queued| {
        let began = Instant::now();
        let waited = fiber::timeout(SECOND / 2, || client.publish(qos_1("m", "3")));
        let full = waited.unwrap_err().0.unwrap_err();
        assert!(matches!(full, PublishError::Full(_)), "{full:?}");
        assert_eq!(began.elapsed(), SECOND / 2);
        assert_eq!(queued.map(Ticket::poll), [None, None]);
    });
}

#[test]
fn without_room_a_publish_is_rejected_where_that_is_the_policy() {
    one_past_the_bound(QueuePolicy::Reject, &["m 1", "m 2"], |client, queued| {
        let third = qos_1("m", "3").queue_policy(QueuePolicy::Reject);
        let full = client.publish(third).unwrap_err();
        assert!(matches!(full, PublishError::QueueFull), "{full:?}");
        assert!(matches!(mqtt::Error::from(full), mqtt::Error::QueueFull));
        assert_eq!(queued.map(Ticket::poll), [None, None]);
        assert_eq!(client.stats().rejected, 1);
    });
}

#[test]
fn without_room_the_oldest_is_dropped_where_that_is_the_policy() {
    let policy = QueuePolicy::DropOldest;
    one_past_the_bound(policy, &["m 2", "m 3"], move |client, queued| {
        let third = publish(client, "3", policy);
        assert_eq!(queued.map(Ticket::poll), [DROPPED, None]);
        assert_eq!(third.poll(), None);
        let stats = client.stats();
        assert_eq!((stats.dropped_oldest, stats.dropped_newest), (1, 0));
    });
}

#[test]
fn without_room_the_newest_is_dropped_where_that_is_the_policy() {
    let policy = QueuePolicy::DropNewest;
    one_past_the_bound(policy, &["m 1", "m 2"], move |client, queued| {
        let third = publish(client, "3", policy);
        assert_eq!(queued.map(Ticket::poll), [None, None]);
        assert_eq!(third.poll(), DROPPED);
        let stats = client.stats();
        assert_eq!((stats.dropped_oldest, stats.dropped_newest), (0, 1));
    });
}

#[test]
fn the_last_of_a_topic_takes_the_place_of_the_one_before() {
    let policy = QueuePolicy::KeepLast;
    // Both of the first two are of one topic, so that there is room for another.
    one_past_the_bound(policy, &["m 4", "other 3"], move |client, queued| {
        assert_eq!(queued.map(Ticket::poll), [DROPPED, None]);
        let third = qos_1("other", "3").queue_policy(policy);
        let third = client.publish(third).unwrap();
        let fourth = publish(client, "4", policy);
        assert_eq!(queued.map(Ticket::poll), [DROPPED, DROPPED]);
        assert_eq!((third.poll(), fourth.poll()), (None, None));
        assert_eq!(client.stats().replaced, 2);
        // There is none of this topic, and none of them may be lost.
        let fifth = qos_1("third", "5").queue_policy(policy);
        let waited = fiber::timeout(SECOND / 2, || client.publish(fifth));
        assert!(matches!(
            waited,
            Err(fiber::Elapsed(Err(PublishError::Full(_))))
        ));
    });
}

#[test]
fn a_policy_drops_only_messages_that_were_published_with_it() {
    one_past_the_bound(QueuePolicy::Wait, &["m 1", "m 2"], |client, queued| {
        for policy in [QueuePolicy::DropOldest, QueuePolicy::DropNewest] {
            assert_eq!(publish(client, "3", policy).poll(), DROPPED);
        }
        assert_eq!(queued.map(Ticket::poll), [None, None]);
        let stats = client.stats();
        assert_eq!((stats.dropped_oldest, stats.dropped_newest), (0, 2));
    });
}

#[test]
fn the_bytes_of_the_queue_are_bounded_and_one_message_always_fits() {
    let two = 2 * (QUEUED_MESSAGE_BYTES + "m".len()) + 10;
    play(
        options()
            .queue_max(100, two)
            .queue_policy(QueuePolicy::DropOldest),
        |broker| {
            broker.accept(false, |_| ());
            assert_eq!(take_all(broker).len(), 1);
        },
        |client| {
            let of = |len: usize| {
                let payload = vec![b'x'; len];
                let publish = Publish::to("m", &payload).qos(QoS::ExactlyOnce);
                client.publish(publish).unwrap()
            };
            let (first, second) = (of(4), of(6));
            assert_eq!((first.poll(), second.poll()), (None, None));
            let third = of(5);
            assert_eq!((first.poll(), second.poll()), (DROPPED, DROPPED));
            let large = of(100_000);
            assert_eq!((third.poll(), large.poll()), (DROPPED, None));
            client.connect().unwrap();
            client.close(60 * SECOND).unwrap();
            assert_eq!(large.poll(), ACKED);
        },
    );
}

#[test]
fn what_waits_leaves_in_order_of_publishing_for_each_topic_and_qos() {
    const COUNT: usize = 300;
    play_open(
        options().window(7).exactly_once_window(3),
        |links| {
            let mut broker = links.accept(false);
            let came = take_all(&mut broker);
            assert_eq!(came.len(), COUNT);
            for topic in 0..6 {
                let topic = format!("t{topic} ");
                let of = came.iter().filter_map(|text| text.strip_prefix(&topic));
                let numbers = Vec::from_iter(of.map(|text| text.parse::<usize>().unwrap()));
                assert_eq!(numbers.len(), COUNT / 6);
                assert!(numbers.is_sorted(), "{topic}: {numbers:?}");
            }
        },
        |client| {
            let tickets = (0..COUNT).map(|number| {
                // Some before there is a connection, and some after.
                if number == COUNT / 2 {
                    client.wait_connected().unwrap();
                }
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number % 3];
                let (topic, text) = (format!("t{}", number % 6), number.to_string());
                client.publish(Publish::to(&topic, &text).qos(qos)).unwrap()
            });
            for mut ticket in Vec::from_iter(tickets) {
                let outcome = ticket.outcome().ok();
                assert!(outcome == ACKED || outcome == Some(Outcome::Sent));
            }
        },
    );
}

/// Has `body` use a client that never gets a connection.
pub(crate) fn offline(options: ClientOptions, body: impl FnOnce(&Client) + 'static) {
    let main = move || {
        let client = Client::open_by(|| Err(unreachable_broker()), options).unwrap();
        body(&client);
        client.close(Duration::ZERO).unwrap();
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

pub(crate) fn every_kind(client: &Client, age: Option<Duration>) -> Vec<Ticket> {
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let tickets = all.map(|qos| {
        let mut publish = Publish::to("m", "21.5").qos(qos);
        if let Some(age) = age {
            publish = publish.expires_after(age);
        }
        client.publish(publish).unwrap()
    });
    tickets.into()
}

#[test]
fn a_message_can_be_withdrawn_until_it_is_sent() {
    play_connected(
        options().window(1),
        |broker| {
            let id = crate::harness::expect_qos_1(broker);
            broker.expect_silence(SECOND);
            broker.send(&puback(id));
            assert_eq!(take_all(broker), ["m 2", "gone "]);
        },
        |client| {
            let sent = publish(client, "0", QueuePolicy::Wait);
            let first = publish(client, "1", QueuePolicy::Wait);
            let second = publish(client, "2", QueuePolicy::Wait);
            assert_eq!(mqtt_abandon(&sent), Err(AlreadySent));
            assert_eq!(mqtt_abandon(&first), Ok(()));
            assert_eq!(first.poll(), WITHDRAWN);
            assert_eq!(first.abandon(), Ok(()), "nothing changes the second time");
            assert_eq!(client.unacknowledged(), 2);
            assert_eq!(client.stats().withdrawn, 1);
            let mut second = second;
            assert_eq!(second.outcome().ok(), ACKED);
            assert_eq!(second.abandon(), Err(AlreadySent));
            let passed = client.publish(Publish::to("gone", "")).unwrap();
            assert_eq!(passed.abandon(), Err(AlreadySent));
            drop(passed);
            let _ = AlreadySent.to_string();
        },
    );
}

#[test]
fn what_is_withdrawn_offline_wakes_its_waiters_and_is_never_sent() {
    offline(options(), |client| {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let ticket = client.publish(Publish::to("m", "").qos(qos)).unwrap();
            let ticket = Rc::new(RefCell::new(Some(ticket)));
            let other = client.clone();
            let mut waiting = fiber::spawn(move || {
                let publish = Publish::to("w", "").qos(qos).expires_after(SECOND);
                other.publish(publish.wait(Wait::Sent)).unwrap().poll()
            })
            .unwrap();
            let withdrawn = ticket.borrow_mut().take().unwrap();
            assert_eq!(withdrawn.abandon(), Ok(()));
            assert_eq!(withdrawn.poll(), WITHDRAWN);
            assert_eq!(waiting.join().unwrap(), EXPIRED);
        }
        assert_eq!(client.stats().withdrawn, 3);
    });
}

#[test]
fn closing_settles_what_waits_and_a_dropped_client_still_sends_it() {
    play_connected(
        options().window(1),
        |broker| {
            // What the window has no room for goes when there is, before the client leaves.
            for _ in 0..2 {
                let id = crate::harness::expect_qos_1(broker);
                broker.send(&puback(id));
            }
            let _unanswered = crate::harness::expect_qos_1(broker);
            crate::harness::expect_disconnect(broker);
        },
        |client| {
            for text in ["0", "1", "2"] {
                publish(client, text, QueuePolicy::Wait);
            }
        },
    );
    play(
        options(),
        |broker| broker.expect_end(),
        |client| {
            let tickets = every_kind(client, Some(SECOND));
            assert_eq!(client.unacknowledged(), 2);
            let remaining = client.close(Duration::ZERO).unwrap();
            assert_eq!((remaining.unacknowledged, remaining.unsent_bytes), (2, 15));
            for ticket in tickets {
                assert_eq!(ticket.poll(), WITHDRAWN);
            }
        },
    );
}

#[test]
fn a_large_message_is_not_overtaken_by_small_ones_for_ever() {
    play_connected(
        options().queue_max(1_000, 64 * 1024 * 1024).window(10),
        |broker| {
            let mut large_at = None;
            for number in 0..2_000 {
                let (large, id) = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => {
                        let id = publish.packet_id().unwrap().get();
                        (publish.payload().len() > 2 << 20, id)
                    }
                    other => panic!("{other:?}"),
                });
                if large {
                    large_at = Some(number);
                }
                broker.send(&puback(id));
                if large_at.is_some() {
                    break;
                }
            }
            assert!(large_at.unwrap() < 40, "{large_at:?}");
            take_all(broker);
        },
        |client| {
            let small = vec![0; 300 * 1024];
            let small = || Publish::to("small", &small).qos(QoS::AtLeastOnce);
            for _ in 0..10 {
                client.publish(small()).unwrap();
            }
            let restless = client.clone();
            let stop = Rc::new(std::cell::Cell::new(false));
            let stopped = Rc::clone(&stop);
            let mut restless = fiber::spawn(move || {
                let small = vec![0; 300 * 1024];
                while !stopped.get() {
                    let publish = Publish::to("small", &small).qos(QoS::AtLeastOnce);
                    restless.publish(publish.wait(Wait::Ack)).unwrap();
                }
            })
            .unwrap();
            fiber::yield_now().unwrap();
            let large = vec![0; 3 << 20];
            let publish = Publish::to("large", &large).qos(QoS::AtLeastOnce);
            client.publish(publish.wait(Wait::Ack)).unwrap();
            stop.set(true);
            restless.join().unwrap();
            client.close(60 * SECOND).unwrap();
        },
    );
}

#[test]
fn the_last_of_a_topic_does_not_overtake_one_that_waits_for_room() {
    play_connected(
        options().window(1).queue_max(1, NO_BYTES),
        |broker| {
            let id = crate::harness::expect_qos_1(broker);
            sleep(SECOND).unwrap();
            broker.send(&puback(id));
            assert_eq!(take_all(broker), ["m 1", "m 2", "m 3"]);
        },
        |client| {
            publish(client, "0", QueuePolicy::Wait);
            publish(client, "1", QueuePolicy::KeepLast);
            let other = client.clone();
            let waits = move || drop(publish(&other, "2", QueuePolicy::Wait));
            let mut waiting = fiber::spawn(waits).unwrap();
            fiber::yield_now().unwrap();
            publish(client, "3", QueuePolicy::KeepLast);
            waiting.join().unwrap();
            client.close(60 * SECOND).unwrap();
        },
    );
}
