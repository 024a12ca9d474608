//! A client that finds records of which the disk is not sure: a power cut may still take them.

use std::io::ErrorKind;
use std::time::Duration;

use fiber::sleep;
use mqtt::packet::Delivery;
use mqtt::session::OnSessionLoss;
use mqtt::store::{Memory, MessageRecord, Record, Store, StorePos};
use mqtt::{Outcome, QoS, Wait, WaitCause};

use crate::durable::{ACKED, SECOND, message, qos_1, qos_2};
use crate::harness::{
    Links, expect_disconnect, id, options, play_open, puback, pubcomp, publish, pubrec, pubrel,
};
use crate::restarts::finish;
use crate::slow_disk::SlowDisk;

const MAYBE_TWICE: Outcome = Outcome::Acked { maybe_twice: true };

fn store_message(store: &impl Store, payload: &[u8], qos: QoS) -> StorePos {
    let message = MessageRecord {
        key: None,
        qos,
        retain: false,
        published: 0,
        expires: 0,
        topic: "m",
        payload,
    };
    store.append(&Record::Publish(message)).unwrap()
}

fn assign(store: &Memory, message: StorePos, number: u16) {
    let packet_id = id(number);
    store
        .append(&Record::Assigned { message, packet_id })
        .unwrap();
}

/// Messages that are released, and in flight at both QoS; one that came.
fn all_kinds() -> Memory {
    let store = Memory::default();
    for (number, (payload, qos)) in (1..).zip([
        (b"1", QoS::ExactlyOnce),
        (b"2", QoS::ExactlyOnce),
        (b"3", QoS::AtLeastOnce),
        (b"4", QoS::ExactlyOnce),
    ]) {
        let message = store_message(&store, payload, qos);
        assign(&store, message, number);
        if number == 1 {
            store.append(&Record::Recorded { message }).unwrap();
        }
    }
    store.append(&Record::Received(id(9))).unwrap();
    store
}

#[test]
fn a_close_keeps_what_was_there_before() {
    let disk = SlowDisk::unsure(SECOND, all_kinds());
    store_message(&disk, b"5", QoS::AtLeastOnce);
    disk.fail_commits(Some(ErrorKind::Other));
    let store = disk.clone();
    play_open(
        options().store(disk),
        |_: &Links| {},
        move |client| {
            let mut found = client.stored();
            assert_eq!(found.len(), 5);
            // Nobody was told that it is stored.
            let new = message(client, "new", QoS::AtLeastOnce, Wait::None);
            sleep(3 * SECOND).unwrap();
            let remaining = client.close(Duration::ZERO).unwrap();
            assert_eq!((remaining.unacknowledged, remaining.kept), (6, 5));
            for (_, ticket) in &mut found {
                assert_eq!(ticket.poll(), Some(Outcome::Kept));
                // That is no promise.
                let stored = ticket.wait(Wait::Stored);
                assert!(
                    matches!(stored, Err(WaitCause::ConnectionLost(_))),
                    "{stored:?}"
                );
            }
            assert_eq!(new.poll(), Some(Outcome::Withdrawn));
            let found = store.recovered();
            let found = [&found.queued, &found.in_flight, &found.released].map(Vec::len);
            assert_eq!(found, [1, 3, 1]);
        },
    );
}

#[test]
fn nothing_of_qos_2_leaves_before_the_disk_is_sure() {
    let disk = SlowDisk::unsure(3 * SECOND, all_kinds());
    play_open(
        options().store(disk).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(true);
            let (packet_id, dup) = (id(9), true);
            broker.send(&publish(
                "x",
                b"again",
                Delivery::ExactlyOnce { packet_id, dup },
            ));
            broker.expect_silence(2 * SECOND);
            broker.expect(&pubrec(9));
            broker.expect(&pubrel(1));
            broker.expect(&qos_2(b"2", 2, true));
            broker.expect(&qos_1(b"3", 3, true));
            broker.expect(&qos_2(b"4", 4, true));
            broker.send(&pubcomp(1));
            broker.send(&puback(3));
            for number in [2, 4] {
                finish(&mut broker, number);
            }
            broker.send(&pubrel(9));
            broker.expect(&pubcomp(9));
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            let outcomes = client
                .stored()
                .into_iter()
                .map(|(_, mut it)| it.outcome().unwrap());
            // The third is of QoS 1.
            assert_eq!(Vec::from_iter(outcomes), [ACKED, ACKED, MAYBE_TWICE, ACKED]);
            assert_eq!(client.stats().received, 0);
            sleep(20 * SECOND).unwrap();
        },
    );
}

#[test]
fn what_waits_for_the_disk_is_published_anew_in_a_new_session() {
    let disk = SlowDisk::unsure(3 * SECOND, all_kinds());
    let resend = options().on_session_loss(OnSessionLoss::Resend);
    play_open(
        resend.store(disk).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(false);
            // The others have identifiers, and wait for the record of that.
            broker.expect(&qos_1(b"3", 7, false));
            broker.send(&puback(7));
            for (payload, number) in [(b"1", 5), (b"2", 6), (b"4", 8)] {
                broker.expect(&qos_2(payload, number, false));
            }
            for number in [5, 6, 8] {
                finish(&mut broker, number);
            }
            expect_disconnect(&mut broker);
        },
        |client| {
            for (_, mut ticket) in client.stored() {
                assert_eq!(ticket.outcome().unwrap(), MAYBE_TWICE);
            }
        },
    );
}

/// A QoS 2 message whose identifier is not known, and a later one that has its own.
fn overtaken() -> Memory {
    let store = Memory::default();
    let _first = store_message(&store, b"first", QoS::ExactlyOnce);
    let second = store_message(&store, b"second", QoS::ExactlyOnce);
    assign(&store, second, 1);
    store
}

#[test]
fn a_message_whose_identifier_is_lost_goes_before_the_later_one_that_has_its_own() {
    let disk = SlowDisk::with(3 * SECOND, overtaken());
    play_open(
        options().store(disk).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(true);
            broker.expect_silence(2 * SECOND);
            // What the broker may hold under the new identifier is something else.
            broker.expect(&pubrel(2));
            broker.expect(&qos_2(b"first", 2, false));
            broker.expect(&qos_2(b"second", 1, true));
            broker.send(&pubcomp(2));
            for number in [2, 1] {
                finish(&mut broker, number);
            }
            expect_disconnect(&mut broker);
        },
        |client| {
            for (_, mut ticket) in client.stored() {
                assert_eq!(ticket.outcome().unwrap(), ACKED);
            }
        },
    );
}

#[test]
fn a_message_whose_identifier_is_lost_is_not_given_up_with_the_session() {
    let disk = SlowDisk::with(3 * SECOND, overtaken());
    let gives_up = options().on_session_loss(OnSessionLoss::Finish);
    play_open(
        gives_up.store(disk).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(false);
            broker.expect(&qos_2(b"first", 2, false));
            finish(&mut broker, 2);
            expect_disconnect(&mut broker);
        },
        |client| {
            let stored = client.stored().into_iter();
            let outcomes = stored.map(|(_, mut ticket)| ticket.outcome().unwrap());
            assert_eq!(Vec::from_iter(outcomes), [ACKED, Outcome::SessionLost]);
        },
    );
}

#[test]
fn while_the_disk_fails_messages_of_qos_1_do_not_wait_behind_others() {
    let disk = SlowDisk::unsure(SECOND, all_kinds());
    disk.fail_commits(Some(ErrorKind::Other));
    let broken = disk.clone();
    play_open(
        options().store(disk).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(true);
            broker.expect(&qos_1(b"3", 3, true));
            broker.send(&puback(3));
            broker.expect(&qos_1(b"new", 5, false));
            broker.send(&puback(5));
            broker.expect_silence(10 * SECOND);
            broker.expect(&pubrel(1));
            broker.send(&pubcomp(1));
            for (payload, number) in [(b"2", 2), (b"4", 4)] {
                broker.expect(&qos_2(payload, number, true));
            }
            for number in [2, 4] {
                finish(&mut broker, number);
            }
            expect_disconnect(&mut broker);
        },
        move |client| {
            client.wait_connected().unwrap();
            sleep(4 * SECOND).unwrap();
            let new = message(client, "new", QoS::AtLeastOnce, Wait::None);
            sleep(20 * SECOND).unwrap();
            assert_eq!(new.poll(), Some(ACKED));
            broken.fail_commits(None);
            for (_, mut ticket) in client.stored() {
                assert!(matches!(ticket.outcome().unwrap(), Outcome::Acked { .. }));
            }
        },
    );
}
