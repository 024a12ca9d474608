//! What the next client with a store goes on with where something is in its way: little room, a disk
//! that cannot read.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::sleep;
use mqtt::packet::PacketRef;
use mqtt::session::OnSessionLoss;
use mqtt::store::{
    ClaimError, DoneCause, Key, KeyState, MessageRecord, Record, Report, Store, StorePos,
};
use mqtt::{Client, ClientId, ClientOptions, Error, Event, Outcome, Publish, QoS, Wait};

use crate::durable::{ACKED, SECOND, message, publish_in_vain, qos_1, qos_2};
use crate::harness::{
    Broker, expect_disconnect, id, options, play_open, puback, pubcomp, pubrec, pubrel,
    unreachable_broker,
};
use crate::slow_disk::SlowDisk;

/// The first client: its messages are taken by a broker that answers none.
fn leave_in_flight(store: &SlowDisk, taken: usize, body: impl FnOnce(&Client) + 'static) {
    play_open(
        options().store(store.clone()),
        move |links| {
            let mut broker = links.accept(false);
            for _ in 0..taken {
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            }
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Disconnect(_))));
        },
        |client| {
            client.wait_connected().unwrap();
            body(client);
            sleep(5 * SECOND).unwrap();
            client.close(Duration::ZERO).unwrap();
        },
    );
}

/// Notes what the client tells of its store.
pub(crate) fn reports(client: &Client) -> Rc<RefCell<Vec<Report>>> {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&reports);
    client.on_event(move |_, event| {
        if let Event::Store { report } = event {
            noted.borrow_mut().push(report.clone());
        }
    });
    reports
}

/// Goes through the rest of a QoS 2 exchange.
pub(crate) fn finish(broker: &mut Broker, number: u16) {
    broker.send(&pubrec(number));
    broker.expect(&pubrel(number));
    broker.send(&pubcomp(number));
}

#[test]
fn what_does_not_fit_at_once_is_sent_again_as_it_was_and_in_order() {
    const LARGE: [&[u8]; 4] = [
        &[b'1'; 1 << 20],
        &[b'2'; 1 << 20],
        &[b'3'; 1 << 20],
        &[b'4'; 1 << 20],
    ];
    let store = SlowDisk::new(SECOND);
    leave_in_flight(&store, 3, |client| {
        for payload in LARGE {
            let publish = Publish::to("m", payload).qos(QoS::ExactlyOnce);
            client.publish(publish.wait(Wait::Stored)).unwrap();
        }
    });
    play_open(
        options().store(store),
        |links| {
            let mut broker = links.accept(true);
            for number in 1..=3 {
                broker.expect(&qos_2(LARGE[usize::from(number) - 1], number, true));
            }
            broker.expect_silence(SECOND);
            finish(&mut broker, 1);
            broker.expect(&qos_2(LARGE[3], 4, true));
            broker.expect(&qos_1(b"new", 5, false));
            broker.send(&puback(5));
            for number in 2..=4 {
                finish(&mut broker, number);
            }
            expect_disconnect(&mut broker);
        },
        |client| {
            let mut new = message(client, "new", QoS::AtLeastOnce, Wait::None);
            for (_, mut ticket) in client.stored() {
                assert_eq!(ticket.outcome().unwrap(), ACKED);
            }
            assert_eq!(new.outcome().unwrap(), ACKED);
        },
    );
}

/// Two QoS 2 messages and one of QoS 1 in flight.
fn three_in_flight() -> SlowDisk {
    let store = SlowDisk::new(SECOND);
    leave_in_flight(&store, 3, |client| {
        for payload in ["1", "2"] {
            message(client, payload, QoS::ExactlyOnce, Wait::Sent);
        }
        message(client, "3", QoS::AtLeastOnce, Wait::Sent);
    });
    store
}

#[test]
fn a_disk_that_cannot_read_for_a_while_delays_what_was_in_flight() {
    let store = three_in_flight();
    store.fail_reads(3);
    play_open(
        options().store(store),
        |links| {
            let mut broker = links.accept(true);
            broker.expect_silence(SECOND / 2);
            broker.expect(&qos_2(b"1", 1, true));
            broker.expect(&qos_2(b"2", 2, true));
            broker.expect(&qos_1(b"3", 3, true));
            broker.expect(&qos_1(b"new", 4, false));
            finish(&mut broker, 1);
            finish(&mut broker, 2);
            broker.send(&puback(3));
            broker.send(&puback(4));
            expect_disconnect(&mut broker);
        },
        |client| {
            let reports = reports(client);
            let twice = Outcome::Acked { maybe_twice: true };
            let outcomes = client.stored().into_iter();
            client.wait_connected().unwrap();
            // There is room for it, but not its turn.
            message(client, "new", QoS::AtLeastOnce, Wait::None);
            let outcomes: Vec<_> = outcomes.map(|(_, mut it)| it.outcome().unwrap()).collect();
            assert_eq!(outcomes, [ACKED, ACKED, twice]);
            let reports = reports.borrow();
            let failed = |report: &Report| matches!(report, Report::ReadFailed(_));
            assert_eq!(reports.len(), 3, "{reports:?}");
            assert!(reports.iter().all(failed), "{reports:?}");
        },
    );
}

#[test]
fn a_message_that_can_never_be_read_is_given_up_while_others_can() {
    let store = three_in_flight();
    store.fail_reads_of_first();
    play_open(
        options().store(store).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(true);
            broker.expect_silence(100 * SECOND);
            // What the broker has of it comes to its end.
            broker.expect(&pubrel(1));
            broker.expect(&qos_2(b"2", 2, true));
            broker.expect(&qos_1(b"3", 3, true));
            broker.send(&pubcomp(1));
            finish(&mut broker, 2);
            broker.send(&puback(3));
            expect_disconnect(&mut broker);
        },
        |client| {
            let reports = reports(client);
            let stored = client.stored().into_iter();
            let first_three = fiber::timeout(200 * SECOND, || {
                stored
                    .map(|(_, mut it)| it.outcome().unwrap())
                    .collect::<Vec<_>>()
            });
            let twice = Outcome::Acked { maybe_twice: true };
            let lost = Outcome::DroppedByPolicy;
            assert_eq!(first_three.unwrap(), [lost, ACKED, twice]);
            let reports = reports.borrow();
            let is_damage = |report: &&Report| matches!(report, Report::MessageDamaged { .. });
            assert_eq!(reports.iter().filter(is_damage).count(), 1, "{reports:?}");
            assert!(reports.len() < 12, "{reports:?}");
        },
    );
}

#[test]
fn a_qos_1_message_is_sent_again_before_later_ones_though_its_identifier_is_lost() {
    let store = SlowDisk::new(SECOND);
    // As a power cut leaves it, where of two records the disk has the second alone.
    let publish = |payload| {
        store.append(&Record::Publish(MessageRecord {
            key: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            published: 0,
            expires: 0,
            topic: "m",
            payload,
        }))
    };
    publish(b"1").unwrap();
    let (message, packet_id) = (publish(b"2").unwrap(), id(2));
    let assigned = Record::Assigned { message, packet_id };
    store.append(&assigned).unwrap();
    play_open(
        options().store(store.clone()),
        |links| {
            let mut broker = links.accept(true);
            broker.expect(&qos_1(b"1", 1, true));
            broker.expect(&qos_1(b"2", 2, true));
            broker.send(&puback(1));
            broker.send(&puback(2));
            expect_disconnect(&mut broker);
        },
        |client| {
            for (_, mut ticket) in client.stored() {
                let twice = Outcome::Acked { maybe_twice: true };
                assert_eq!(ticket.outcome().unwrap(), twice);
            }
        },
    );
}

#[test]
fn the_only_message_is_given_up_when_it_could_not_be_read_for_an_hour() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let store = SlowDisk::new(SECOND);
        let first = store.clone();
        virtually(move || {
            publish_in_vain(&first, |client| {
                message(client, "1", qos, Wait::Stored);
            });
        });
        store.fail_reads_of_first();
        let checked = store.clone();
        play_open(
            options().store(store).keep_alive(Duration::ZERO),
            move |links| {
                let mut broker = links.accept(true);
                // Before the bound it is read again and again, and nothing is given up.
                broker.expect_silence(3_400 * SECOND);
                // Then what is behind it goes.
                broker.expect(&qos_1(b"behind", 1, false));
                broker.send(&puback(1));
                expect_disconnect(&mut broker);
            },
            move |client| {
                let reports = reports(client);
                let (_, mut first) = client.stored().pop().unwrap();
                let before = fiber::timeout(3_300 * SECOND, || first.outcome());
                assert!(before.is_err(), "{before:?}");
                let lost = fiber::timeout(400 * SECOND, || first.outcome());
                assert_eq!(lost.unwrap().unwrap(), Outcome::DroppedByPolicy);
                // It is not found again by the next process either.
                assert!(checked.recovered().queued.is_empty());
                message(client, "behind", QoS::AtLeastOnce, Wait::Ack);
                let reports = reports.borrow();
                let is_damage = |report: &&Report| matches!(report, Report::MessageDamaged { .. });
                assert_eq!(reports.iter().filter(is_damage).count(), 1, "{reports:?}");
                assert_eq!(reports.len(), 64, "{reports:?}");
            },
        );
    }
}

/// A QoS 2 message that had an identifier in a session that was lost, and is not done.
fn of_a_lost_session(store: &SlowDisk) -> (Key, StorePos) {
    let key = Key::new("two").unwrap();
    let record = MessageRecord {
        key: Some(key),
        qos: QoS::ExactlyOnce,
        retain: false,
        published: 0,
        expires: 0,
        topic: "m",
        payload: b"two",
    };
    let two = store.append(&Record::Publish(record)).unwrap();
    let (message, packet_id) = (two, id(1));
    let assigned = Record::Assigned { message, packet_id };
    store.append(&assigned).unwrap();
    (key, two)
}

#[test]
fn what_never_left_is_published_by_the_next_process_also_where_others_are_given_up() {
    let store = SlowDisk::new(SECOND);
    of_a_lost_session(&store);
    // A client gives up what it had sent before it records that the session is lost; this it had not.
    store.append(&Record::SessionLost).unwrap();
    let finish = options().on_session_loss(OnSessionLoss::Finish);
    play_open(
        finish.store(store),
        |links| {
            let mut broker = links.accept(false);
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            self::finish(&mut broker, 1);
            expect_disconnect(&mut broker);
        },
        |client| {
            let (_, mut ticket) = client.stored().pop().unwrap();
            assert!(matches!(ticket.outcome().unwrap(), Outcome::Acked { .. }));
        },
    );
}

#[test]
fn what_was_in_flight_under_another_client_identifier_is_given_up_where_nothing_may_double() {
    let store = SlowDisk::new(SECOND);
    let another = ClientId::new("another").unwrap();
    store.claim(&another, None).unwrap();
    let (key, two) = of_a_lost_session(&store);
    store.release();
    let finish = options().on_session_loss(OnSessionLoss::Finish);
    play_open(
        finish.store(store.clone()),
        |links| {
            let mut broker = links.accept(true);
            broker.expect(&qos_1(b"one", 1, false));
            broker.send(&puback(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            sleep(5 * SECOND).unwrap();
            message(client, "one", QoS::AtLeastOnce, Wait::Ack);
            assert!(client.stored().is_empty());
        },
    );
    let done = KeyState::Done(two, DoneCause::SessionLost);
    assert_eq!(store.key(&key), Some(done));
}

fn virtually(main: impl FnOnce() + 'static) {
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

fn open_in_vain(options: ClientOptions) -> Result<Client, Error> {
    Client::open_by(|| Err(unreachable_broker()), options)
}

#[test]
fn a_store_is_for_one_client_at_a_time() {
    virtually(|| {
        let store = SlowDisk::new(SECOND);
        let first = open_in_vain(options().store(store.clone())).unwrap();
        // That it was refused does not take it from the first.
        for _ in 0..2 {
            let second = open_in_vain(options().store(store.clone()));
            assert!(matches!(second, Err(Error::Store(ClaimError::InUse))));
        }
        first.close(Duration::ZERO).unwrap();
        open_in_vain(options().store(store)).unwrap();
    });
}

#[test]
fn what_was_in_flight_for_another_client_is_a_new_message() {
    let store = three_in_flight();
    play_open(
        ClientOptions::new(ClientId::new("other").unwrap()).store(store),
        |links| {
            let mut broker = links.accept(false);
            let came = crate::durable::take_all(&mut broker);
            assert_eq!(came.len(), 3, "{came:?}");
        },
        |client| {
            for (_, mut ticket) in client.stored() {
                let twice = Outcome::Acked { maybe_twice: true };
                assert_eq!(ticket.outcome().unwrap(), twice);
            }
        },
    );
}

#[test]
fn a_store_has_its_fibers_or_the_client_is_not_opened() {
    let mut opened = 0;
    for fibers_max in 1..10 {
        let runtime = fiber::Runtime::builder().paused_clock(true);
        let main = || match open_in_vain(options().store(SlowDisk::new(SECOND))) {
            Ok(client) => {
                message(&client, "one", QoS::ExactlyOnce, Wait::Stored);
                client.close(Duration::ZERO).unwrap();
                true
            }
            Err(Error::Spawn(_)) => false,
            Err(error) => panic!("{error}"),
        };
        let is_open = runtime.fibers_max(fibers_max).run(main).unwrap();
        assert!(is_open || opened == 0, "{fibers_max} fibers are enough");
        opened += usize::from(is_open);
    }
    assert!((3..8).contains(&opened), "{opened}");
}

#[test]
fn a_large_message_at_qos_2_is_not_passed_for_ever_by_small_ones() {
    const SMALL: usize = 100 * 1024;
    const LARGE: usize = 3 * 1024 * 1024;
    play_open(
        options().store(SlowDisk::new(SECOND)),
        |links| {
            let mut broker = links.accept(false);
            sleep(10 * SECOND).unwrap();
            let mut before = 0;
            loop {
                let is_large = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => publish.payload().len() == LARGE,
                    other => panic!("{other:?}"),
                });
                if is_large {
                    break;
                }
                before += 1;
                sleep(SECOND / 10).unwrap();
            }
            // What was in the log and on its way when it came.
            assert!(before < 150, "{before}");
            broker.send(&pubrec(1));
            let mut small = before;
            let mut released = false;
            while small < 300 || !released {
                broker.receive(|packet| match packet {
                    PacketRef::Publish(_) => small += 1,
                    PacketRef::PubRel(_) => released = true,
                    other => panic!("{other:?}"),
                });
            }
            broker.send(&pubcomp(1));
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            let small = client.clone();
            let mut publisher = fiber::spawn(move || {
                for _ in 0..300 {
                    small.publish(Publish::to("m", &[0; SMALL])).unwrap();
                }
            })
            .unwrap();
            sleep(SECOND).unwrap();
            let payload = vec![0; LARGE];
            let large = Publish::to("m", &payload).qos(QoS::ExactlyOnce);
            client.publish(large.wait(Wait::Ack)).unwrap();
            publisher.join().unwrap();
        },
    );
}

#[test]
fn a_message_that_is_known_needs_no_room() {
    virtually(|| {
        let store = SlowDisk::with(SECOND, mqtt::store::Memory::new(1, 1 << 20));
        let client = open_in_vain(options().store(store)).unwrap();
        let key = Key::new("one").unwrap();
        let one = || client.publish(Publish::to("m", "1").qos(QoS::AtLeastOnce).key(key));
        one().unwrap();
        let other = client.clone();
        let mut waiting = fiber::spawn(move || {
            let two = Publish::to("m", "2").qos(QoS::AtLeastOnce);
            assert!(other.publish(two).is_err());
        })
        .unwrap();
        sleep(SECOND).unwrap();
        let again = fiber::timeout(SECOND, one);
        assert_eq!(again.unwrap().unwrap().poll(), None);
        client.close(Duration::ZERO).unwrap();
        waiting.join().unwrap();
    });
}
