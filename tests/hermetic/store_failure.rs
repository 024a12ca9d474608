//! A client whose store fails: what it takes, what it says of it, and that it goes on when that is over.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fiber::{sleep, spawn};
use mqtt::packet::Delivery;
use mqtt::store::{Memory, STORED_BYTES_DEFAULT};
use mqtt::{
    Client, Event, OnStoreFailure, Publish, PublishError, QoS, RemoteError, StoreFailure, Ticket,
    Wait, WaitCause, WaitError,
};

use crate::durable::{ACKED, SECOND, message, qos_1, qos_2};
use crate::harness::{
    expect_disconnect, options, play_open, puback, pubcomp, publish, pubrec, pubrel,
};
use crate::slow_disk::SlowDisk;

const READ_ONLY: StoreFailure = StoreFailure::Disk(ErrorKind::ReadOnlyFilesystem);

/// Notes what the client tells of its store: why it failed, and `None` when it was well again.
fn failures(client: &Client) -> Rc<RefCell<Vec<Option<StoreFailure>>>> {
    let failures = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&failures);
    client.on_event(move |_, event| match event {
        Event::StoreFailed { failure } => noted.borrow_mut().push(Some(*failure)),
        Event::StoreRecovered => noted.borrow_mut().push(None),
        _ => {}
    });
    failures
}

fn try_message(client: &Client, payload: &str, wait: Wait) -> Result<Ticket, PublishError> {
    client.publish(Publish::to("m", payload).qos(QoS::AtLeastOnce).wait(wait))
}

/// The ticket of a message that is in memory alone.
#[track_caller]
fn in_memory(published: Result<Ticket, PublishError>, why: StoreFailure) -> Ticket {
    match published {
        Err(PublishError::Wait(WaitError {
            cause: WaitCause::StoreFailed(failure),
            ticket,
        })) if failure == why => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_goes_on_in_memory_while_its_store_fails_and_says_so() {
    let store = SlowDisk::new(SECOND);
    let disk = store.clone();
    play_open(
        options().store(store).keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(false);
            broker.expect(&qos_1(b"one", 1, false));
            broker.expect_silence(5 * SECOND);
            broker.send(&puback(1));
            broker.expect(&qos_1(b"two", 2, false));
            broker.send(&puback(2));
            // What must not leave before it is recorded waits for the disk.
            broker.expect_silence(99 * SECOND);
            broker.expect(&qos_2(b"three", 3, false));
            broker.send(&pubrec(3));
            broker.expect(&pubrel(3));
            broker.send(&pubcomp(3));
            broker.expect(&qos_1(b"four", 4, false));
            broker.send(&puback(4));
            expect_disconnect(&mut broker);
        },
        move |client| {
            let told = failures(client);
            client.wait_connected().unwrap();
            sleep(5 * SECOND).unwrap();
            disk.fail_commits(Some(ErrorKind::ReadOnlyFilesystem));
            // That it fails shows when it is written: who waits is told then, and before it is acked.
            let mut one = in_memory(try_message(client, "one", Wait::Stored), READ_ONLY);
            assert_eq!(one.outcome().unwrap(), ACKED);
            // Once it is known nobody waits.
            let began = fiber::Instant::now();
            let mut two = in_memory(try_message(client, "two", Wait::Stored), READ_ONLY);
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert_eq!(two.outcome().unwrap(), ACKED);
            let mut three = message(client, "three", QoS::ExactlyOnce, Wait::None);
            sleep(100 * SECOND).unwrap();
            let failed = three.wait(Wait::Stored);
            assert!(
                matches!(failed, Err(WaitCause::StoreFailed(READ_ONLY))),
                "{failed:?}"
            );
            assert_eq!(
                (three.poll(), &*told.borrow()),
                (None, &vec![Some(READ_ONLY)])
            );
            disk.fail_commits(None);
            assert_eq!(three.outcome().unwrap(), ACKED);
            assert_eq!(*told.borrow(), [Some(READ_ONLY), None]);
            message(client, "four", QoS::AtLeastOnce, Wait::Stored);
            let stats = client.stats();
            assert_eq!((stats.store_failures, stats.store_refused), (1, 0));
        },
    );
}

#[test]
fn a_client_may_refuse_what_its_store_cannot_take() {
    let refuse = options().on_store_failure(OnStoreFailure::Refuse);
    // There is room for one message.
    let store = SlowDisk::with(SECOND, Memory::new(1, STORED_BYTES_DEFAULT));
    let disk = store.clone();
    play_open(
        refuse.store(store),
        |links| {
            let mut broker = links.accept(false);
            broker.expect(&qos_1(b"one", 1, false));
            broker.expect_silence(9 * SECOND);
            let payload = b"not stored";
            let passed = publish("m", payload, Delivery::AtMostOnce);
            broker.expect(&passed);
            // What was accepted before comes to its end.
            broker.send(&puback(1));
            broker.expect(&qos_1(b"two", 2, false));
            broker.send(&puback(2));
            expect_disconnect(&mut broker);
        },
        move |client| {
            let told = failures(client);
            let refused = |published: Result<Ticket, PublishError>| {
                let is_right = matches!(published, Err(PublishError::StoreFailed(READ_ONLY)));
                assert!(is_right, "{published:?}");
            };
            client.wait_connected().unwrap();
            let mut one = message(client, "one", QoS::AtLeastOnce, Wait::Stored);
            disk.fail_commits(Some(ErrorKind::ReadOnlyFilesystem));
            // Who waits for room is told.
            let waiting = client.clone();
            let mut waits = spawn(move || try_message(&waiting, "waits", Wait::None)).unwrap();
            sleep(10 * SECOND).unwrap();
            refused(waits.join().unwrap());
            refused(try_message(client, "refused", Wait::None));
            let remote = client.remote().unwrap();
            let from_there = Publish::to("m", "remote").qos(QoS::AtLeastOnce);
            let mut ticket = remote.try_publish(from_there).unwrap();
            sleep(SECOND).unwrap();
            let polled = Pin::new(&mut ticket).poll(&mut Context::from_waker(Waker::noop()));
            let failed = RemoteError::StoreFailed(READ_ONLY);
            assert_eq!(polled, Poll::Ready(Err(failed)));
            drop(remote);
            // What is not stored is not refused.
            client.publish(Publish::to("m", "not stored")).unwrap();
            assert_eq!(one.outcome().unwrap(), ACKED);
            disk.fail_commits(None);
            sleep(5 * SECOND).unwrap();
            message(client, "two", QoS::AtLeastOnce, Wait::Ack);
            assert_eq!(*told.borrow(), [Some(READ_ONLY), None]);
            let stats = client.stats();
            assert_eq!((stats.store_failures, stats.store_refused), (1, 3));
        },
    );
}

#[test]
fn a_store_that_panics_has_failed_and_its_client_goes_on() {
    for on_failure in [OnStoreFailure::Degrade, OnStoreFailure::Refuse] {
        let store = SlowDisk::new(SECOND);
        let disk = store.clone();
        play_open(
            options()
                .keep_alive(Duration::ZERO)
                .on_store_failure(on_failure)
                .store(store),
            move |links| {
                let mut broker = links.accept(false);
                broker.expect(&qos_1(b"one", 1, false));
                broker.expect_silence(5 * SECOND);
                broker.send(&puback(1));
                if on_failure == OnStoreFailure::Degrade {
                    broker.expect(&qos_1(b"two", 2, false));
                    broker.send(&puback(2));
                }
                expect_disconnect(&mut broker);
            },
            move |client| {
                let told = failures(client);
                client.wait_connected().unwrap();
                sleep(5 * SECOND).unwrap();
                disk.panic();
                let mut one = in_memory(
                    try_message(client, "one", Wait::Stored),
                    StoreFailure::Panicked,
                );
                assert_eq!(one.outcome().unwrap(), ACKED);
                assert_eq!(*told.borrow(), [Some(StoreFailure::Panicked)]);
                let two = try_message(client, "two", Wait::Stored);
                match on_failure {
                    OnStoreFailure::Refuse => {
                        let refused = PublishError::StoreFailed(StoreFailure::Panicked);
                        assert_eq!(two.unwrap_err().to_string(), refused.to_string());
                    }
                    _ => {
                        let mut two = in_memory(two, StoreFailure::Panicked);
                        assert_eq!(two.outcome().unwrap(), ACKED);
                    }
                }
                sleep(100 * SECOND).unwrap();
                assert!(client.is_connected());
                assert_eq!(client.stats().store_failures, 1);
            },
        );
    }
}
