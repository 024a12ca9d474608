//! A client with a store: what it holds back until the disk is sure, and what the next client goes on
//! with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Stopped, sleep};
use mqtt::packet::{Delivery, PacketRef};
use mqtt::session::OnSessionLoss;
use mqtt::store::{Key, Memory, Store};
use mqtt::{Client, Outcome, Publish, PublishError, QoS, Ticket, Wait, WaitCause};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, id, options, play_open, puback, pubcomp, publish,
    pubrec, pubrel, unreachable_broker,
};
use crate::slow_disk::SlowDisk;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const ACKED: Outcome = Outcome::Acked { maybe_twice: false };

pub(crate) fn qos_1(payload: &[u8], number: u16, dup: bool) -> PacketRef<'_> {
    let packet_id = id(number);
    publish("m", payload, Delivery::AtLeastOnce { packet_id, dup })
}

pub(crate) fn qos_2(payload: &[u8], number: u16, dup: bool) -> PacketRef<'_> {
    let packet_id = id(number);
    publish("m", payload, Delivery::ExactlyOnce { packet_id, dup })
}

/// Acknowledges what comes until the client leaves; returns the payloads in order.
pub(crate) fn take_all(broker: &mut Broker) -> Vec<String> {
    let mut came = Vec::new();
    loop {
        let answer = broker.receive(|packet| match packet {
            PacketRef::Publish(publish) => {
                came.push(String::from_utf8_lossy(publish.payload()).into_owned());
                let packet_id = publish.packet_id().unwrap().get();
                Some(match publish.qos() {
                    QoS::ExactlyOnce => pubrec(packet_id),
                    QoS::AtLeastOnce | QoS::AtMostOnce => puback(packet_id),
                })
            }
            PacketRef::PubRel(pubrel) => Some(pubcomp(pubrel.packet_id.get())),
            PacketRef::Disconnect(_) => None,
            other => panic!("{other:?}"),
        });
        match answer {
            Some(answer) => broker.send(&answer),
            None => return came,
        }
    }
}

pub(crate) fn message(client: &Client, payload: &str, qos: QoS, wait: Wait) -> Ticket {
    let publish = Publish::to("m", payload).qos(qos);
    client.publish(publish.wait(wait)).unwrap()
}

/// Publishes with nobody to send it to, and lets the client go.
pub(crate) fn publish_in_vain(store: &SlowDisk, body: impl FnOnce(&Client)) {
    let options = options().store(store.clone());
    let client = Client::open_by(|| Err(unreachable_broker()), options).unwrap();
    body(&client);
    client.close(Duration::ZERO).unwrap();
}

#[test]
fn a_publish_at_qos_2_waits_for_the_disk_and_one_at_qos_1_does_not() {
    play_open(
        options().store(SlowDisk::new(10 * SECOND)),
        |links| {
            let mut broker = links.accept(false);
            broker.expect(&qos_1(b"one", 1, false));
            broker.send(&puback(1));
            // The record that the session is new, and then those of the message.
            broker.expect_silence(9 * SECOND);
            broker.expect(&qos_2(b"two", 2, false));
            broker.send(&pubrec(2));
            broker.expect_silence(9 * SECOND);
            broker.expect(&pubrel(2));
            broker.send(&pubcomp(2));
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            let one = message(client, "one", QoS::AtLeastOnce, Wait::None);
            let two = message(client, "two", QoS::ExactlyOnce, Wait::Ack);
            assert_eq!((one.poll(), two.poll()), (Some(ACKED), Some(ACKED)));
        },
    );
}

#[test]
fn a_received_message_at_qos_2_is_answered_when_that_is_recorded() {
    play_open(
        options().store(SlowDisk::new(10 * SECOND)),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_2(b"once", 7, false));
            broker.expect_silence(9 * SECOND);
            broker.expect(&pubrec(7));
            broker.send(&pubrel(7));
            broker.expect_silence(9 * SECOND);
            broker.expect(&pubcomp(7));
            // What is not known is answered at once.
            broker.send(&pubrel(8));
            broker.expect(&pubcomp(8));
            expect_disconnect(&mut broker);
        },
        |client| {
            let came = Rc::new(Cell::new(0));
            let count = Rc::clone(&came);
            let handler = move |_: &Client, _: &mqtt::Message| {
                count.set(count.get() + 1);
                Ok(())
            };
            client.subscribe("m", QoS::ExactlyOnce, handler).unwrap();
            sleep(60 * SECOND).unwrap();
            assert_eq!(came.get(), 1);
        },
    );
}

#[test]
fn what_waits_for_a_handler_when_a_close_ends_its_subscribe_comes_to_the_next_client() {
    fn subscribe(client: &Client, came: &Rc<RefCell<Vec<u8>>>) {
        let (client, came) = (client.clone(), Rc::clone(came));
        let handler = move |_: &Client, message: &mqtt::Message| {
            came.borrow_mut().push(message.data[0]);
            sleep(10 * SECOND).unwrap();
            Ok(())
        };
        let subscribe = move || client.subscribe("m", QoS::ExactlyOnce, handler).is_ok();
        fiber::spawn(subscribe).unwrap();
    }
    // An earlier client has subscribed, so messages come before this one's SUBSCRIBE is answered.
    let store = SlowDisk::new(SECOND);
    let came = Rc::new(RefCell::new(Vec::new()));
    let first = Rc::clone(&came);
    play_open(
        options().store(store.clone()),
        |links| {
            let mut broker = links.accept(true);
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            broker.send(&qos_2(b"1", 7, false));
            broker.send(&qos_2(b"2", 8, false));
            expect_disconnect(&mut broker);
        },
        move |client| {
            subscribe(client, &first);
            sleep(5 * SECOND).unwrap();
            client.close(Duration::ZERO).unwrap();
            sleep(20 * SECOND).unwrap();
        },
    );
    assert_eq!(*came.borrow(), *b"1");
    let second = Rc::clone(&came);
    play_open(
        options().store(store),
        |links| {
            let mut broker = links.accept(true);
            broker.send(&qos_2(b"1", 7, true));
            broker.send(&qos_2(b"2", 8, true));
            answer_subscribe(&mut broker, &[]);
            broker.expect(&pubrec(7));
            broker.expect(&pubrec(8));
            expect_disconnect(&mut broker);
        },
        move |client| {
            subscribe(client, &second);
            sleep(60 * SECOND).unwrap();
            client.close(Duration::ZERO).unwrap();
        },
    );
    assert_eq!(*came.borrow(), *b"12");
}

#[test]
fn a_client_that_is_over_writes_no_more_into_a_store_that_is_anothers() {
    let store = SlowDisk::new(SECOND);
    let claimed = store.clone();
    play_open(
        options().store(store.clone()),
        |links| {
            let mut broker = links.accept(false);
            answer_subscribe(&mut broker, &[]);
            broker.send(&qos_2(b"slow", 7, false));
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Disconnect(_))));
        },
        move |client| {
            let handler = |_: &Client, _: &mqtt::Message| {
                sleep(10 * SECOND).unwrap();
                Ok(())
            };
            client.subscribe("m", QoS::ExactlyOnce, handler).unwrap();
            sleep(SECOND).unwrap();
            client.close(Duration::ZERO).unwrap();
            claimed.claim("meter-17", None).unwrap();
            sleep(20 * SECOND).unwrap();
        },
    );
    assert_eq!(store.recovered().received, []);
}

fn in_vain(store: &SlowDisk, body: impl FnOnce(&Client) + 'static) {
    let store = store.clone();
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(move || publish_in_vain(&store, body)).unwrap();
}

#[test]
fn stored_is_when_the_disk_is_sure() {
    in_vain(&SlowDisk::new(10 * SECOND), |client| {
        let began = fiber::Instant::now();
        let mut ticket = message(client, "one", QoS::AtLeastOnce, Wait::None);
        assert_eq!(began.elapsed(), Duration::ZERO);
        let limited = fiber::timeout(SECOND, || ticket.wait(Wait::Stored));
        assert!(matches!(
            limited.unwrap_err().0,
            Err(WaitCause::Stopped(Stopped::TimedOut))
        ));
        assert_eq!(ticket.wait(Wait::Stored).unwrap(), None);
        assert!(began.elapsed() >= 10 * SECOND);
    });
}

#[test]
fn the_next_client_goes_on_with_what_is_in_the_store() {
    let main = || {
        let store = SlowDisk::new(SECOND);
        publish_in_vain(&store, |client| {
            for number in 0..6_u8 {
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(number % 2)];
                let key = Key::new([number]).unwrap();
                let text = number.to_string();
                let publish = Publish::to("m", &text).qos(qos).key(key);
                client.publish(publish.wait(Wait::Stored)).unwrap();
            }
        });
        store
    };
    let delivered = |store: SlowDisk| {
        let (ours, theirs) = fiber::net::pipe(1 << 20);
        let mut broker = fiber::spawn(move || {
            let mut broker = Broker::new(theirs);
            broker.accept(false, |_| ());
            take_all(&mut broker)
        })
        .unwrap();
        let mut ours = Some(ours.into());
        let dial = move || ours.take().ok_or_else(unreachable_broker);
        let client = Client::open_by(dial, options().store(store)).unwrap();
        let stored = client.stored();
        let names: Vec<u8> = stored
            .iter()
            .map(|(key, _)| key.unwrap().as_bytes()[0])
            .collect();
        assert_eq!(names, [0, 1, 2, 3, 4, 5]);
        for (number, (_, mut ticket)) in stored.into_iter().enumerate() {
            // Whether one of QoS 1 was sent is not on record before it is.
            let maybe_twice = number % 2 == 0;
            assert_eq!(ticket.outcome().unwrap(), Outcome::Acked { maybe_twice });
        }
        assert!(client.stored().is_empty());
        client.close(SECOND).unwrap();
        broker.join().unwrap()
    };
    let came = fiber::Runtime::builder()
        .paused_clock(true)
        .run(move || delivered(main()))
        .unwrap();
    let of = |rest: usize| {
        came.iter()
            .filter(move |text| text.parse::<usize>().unwrap() % 2 == rest)
    };
    assert_eq!(Vec::from_iter(of(0)), ["0", "2", "4"]);
    assert_eq!(Vec::from_iter(of(1)), ["1", "3", "5"]);
}

#[test]
fn what_was_in_flight_goes_on_where_it_was() {
    let store = SlowDisk::new(SECOND);
    let (first, second) = (store.clone(), store);
    // Three QoS 2 messages, cut off at three places, and one of QoS 1.
    play_open(
        options().store(first),
        |links| {
            let mut broker = links.accept(false);
            for number in 1..=3 {
                broker.expect(&qos_2(b"two", number, false));
            }
            broker.expect(&qos_1(b"one", 4, false));
            broker.send(&pubrec(1));
            broker.send(&pubrec(2));
            broker.expect(&pubrel(1));
            broker.expect(&pubrel(2));
            broker.send(&pubcomp(1));
            sleep(5 * SECOND).unwrap();
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            let tickets = [(); 3].map(|()| message(client, "two", QoS::ExactlyOnce, Wait::Sent));
            let one = message(client, "one", QoS::AtLeastOnce, Wait::Sent);
            sleep(3 * SECOND).unwrap();
            client.close(Duration::ZERO).unwrap();
            let outcomes = tickets.map(|ticket| ticket.poll());
            let kept = Some(Outcome::Kept);
            assert_eq!(outcomes, [Some(ACKED), kept, kept]);
            assert_eq!(one.poll(), kept);
        },
    );
    play_open(
        options().store(second),
        |links| {
            let mut broker = links.accept(true);
            broker.expect(&pubrel(2));
            broker.expect(&qos_2(b"two", 3, true));
            broker.expect(&qos_1(b"one", 4, true));
            broker.send(&pubcomp(2));
            broker.send(&pubrec(3));
            broker.expect(&pubrel(3));
            broker.send(&pubcomp(3));
            broker.send(&puback(4));
            // Identifiers in use were not given again.
            broker.expect(&qos_1(b"new", 5, false));
            broker.send(&puback(5));
            expect_disconnect(&mut broker);
        },
        |client| {
            let mut outcomes = Vec::new();
            for (_, mut ticket) in client.stored() {
                outcomes.push(ticket.outcome().unwrap());
            }
            let twice = Outcome::Acked { maybe_twice: true };
            assert_eq!(outcomes, [ACKED, ACKED, twice]);
            message(client, "new", QoS::AtLeastOnce, Wait::Ack);
        },
    );
}

#[test]
fn a_message_with_a_name_is_published_once() {
    play_open(
        options().store(SlowDisk::new(SECOND)),
        |links| {
            let mut broker = links.accept(false);
            broker.expect(&qos_1(b"one", 1, false));
            sleep(10 * SECOND).unwrap();
            broker.send(&puback(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            let key = Key::new("reading-1").unwrap();
            let publish = || {
                let publish = Publish::to("m", "one").qos(QoS::AtLeastOnce).key(key);
                client.publish(publish).unwrap()
            };
            let (mut first, mut second) = (publish(), publish());
            assert_eq!(second.outcome().unwrap(), ACKED);
            assert_eq!(first.outcome().unwrap(), ACKED);
            assert_eq!(publish().poll(), Some(ACKED));
        },
    );
}

#[test]
fn a_publish_waits_for_room_in_the_store() {
    play_open(
        options().store(SlowDisk::with(SECOND, Memory::new(2, 1 << 20))),
        |links| {
            let mut broker = links.accept(false);
            sleep(30 * SECOND).unwrap();
            assert_eq!(take_all(&mut broker), ["1", "2", "3"]);
        },
        |client| {
            client.wait_connected().unwrap();
            let began = fiber::Instant::now();
            for number in ["1", "2"] {
                message(client, number, QoS::AtLeastOnce, Wait::None);
            }
            let third = || {
                let publish = Publish::to("m", "3").qos(QoS::AtLeastOnce);
                client.publish(publish)
            };
            let limited = fiber::timeout(SECOND, third);
            assert!(matches!(
                limited.unwrap_err().0,
                Err(PublishError::Full(WaitCause::Stopped(Stopped::TimedOut)))
            ));
            third().unwrap().outcome().unwrap();
            assert!(began.elapsed() >= 30 * SECOND);
        },
    );
}

#[test]
fn what_was_in_flight_in_a_lost_session_is_published_again_in_order() {
    play_open(
        options().store(SlowDisk::new(SECOND)),
        |links| {
            let mut first = links.accept(false);
            for _ in 0..4 {
                first.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            }
            drop(first);
            let mut second = links.accept(false);
            let came = take_all(&mut second);
            let of = |kind: char| came.iter().filter(move |text| text.starts_with(kind));
            assert_eq!(Vec::from_iter(of('a')), ["a1", "a2"]);
            assert_eq!(Vec::from_iter(of('b')), ["b1", "b2"]);
        },
        |client| {
            let tickets = [
                message(client, "a1", QoS::AtLeastOnce, Wait::None),
                message(client, "b1", QoS::ExactlyOnce, Wait::None),
                message(client, "a2", QoS::AtLeastOnce, Wait::None),
                message(client, "b2", QoS::ExactlyOnce, Wait::None),
            ];
            for mut ticket in tickets {
                let outcome = ticket.outcome().unwrap();
                assert_eq!(outcome, Outcome::Acked { maybe_twice: true });
            }
        },
    );
}

#[test]
fn a_message_that_is_given_up_with_its_session_is_over_in_the_store_before_that_is() {
    let store = SlowDisk::new(SECOND);
    let options = options().on_session_loss(OnSessionLoss::Finish);
    play_open(
        options.store(store.clone()),
        |links| {
            let mut first = links.accept(false);
            first.expect(&qos_2(b"one", 1, false));
            drop(first);
            expect_disconnect(&mut links.accept(false));
        },
        |client| {
            let mut ticket = message(client, "one", QoS::ExactlyOnce, Wait::None);
            assert_eq!(ticket.outcome().unwrap(), Outcome::SessionLost);
        },
    );
    assert_eq!(store.ends(), ["session", "message", "session"]);
}

#[test]
fn a_message_with_a_name_that_was_given_back_is_published_when_it_is_published_again() {
    fn one(client: &Client) -> Ticket {
        let publish = Publish::to("m", "one").qos(QoS::AtLeastOnce);
        let key = Key::new("reading-1").unwrap();
        client.publish(publish.key(key).wait(Wait::None)).unwrap()
    }
    // The disk is not sure of it when the client ends.
    let store = SlowDisk::new(1_000 * SECOND);
    in_vain(&store, |client| drop(one(client)));
    play_open(
        options().store(store),
        |links| assert_eq!(take_all(&mut links.accept(false)), ["one"]),
        |client| assert_eq!(one(client).outcome().unwrap(), ACKED),
    );
}
