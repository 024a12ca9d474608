//! What the next client with a store goes on with where something is in its way: little room, a disk
//! that cannot read.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::sleep;
use mqtt::packet::PacketRef;
use mqtt::store::Report;
use mqtt::{Client, Event, Outcome, Publish, QoS, Wait};

use crate::durable::{ACKED, SECOND, SlowDisk, message, qos_1, qos_2};
use crate::harness::{
    Broker, expect_disconnect, options, play_open, puback, pubcomp, pubrec, pubrel,
};

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
fn reports(client: &Client) -> Rc<RefCell<Vec<Report>>> {
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
fn finish(broker: &mut Broker, number: u16) {
    broker.send(&pubrec(number));
    broker.expect(&pubrel(number));
    broker.send(&pubcomp(number));
}

#[test]
fn what_does_not_fit_at_once_is_sent_again_as_it_was_and_in_order() {
    const LARGE: [&[u8]; 5] = [
        &[b'1'; 1 << 20],
        &[b'2'; 1 << 20],
        &[b'3'; 1 << 20],
        &[b'4'; 1 << 20],
        &[b'5'; 1 << 20],
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
            for number in 1..=2 {
                finish(&mut broker, number);
                broker.expect(&qos_2(LARGE[usize::from(number) + 2], number + 3, true));
            }
            broker.expect(&qos_1(b"new", 6, false));
            broker.send(&puback(6));
            for number in 3..=5 {
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
            finish(&mut broker, 1);
            finish(&mut broker, 2);
            broker.send(&puback(3));
            expect_disconnect(&mut broker);
        },
        |client| {
            let reports = reports(client);
            let twice = Outcome::Acked { maybe_twice: true };
            let outcomes = client.stored().into_iter();
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
        options().store(store),
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
