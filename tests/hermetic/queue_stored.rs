//! Policies, age and withdrawal of messages that are in a store and were never sent.

use std::time::Duration;

use fiber::{Instant, sleep};
use mqtt::session::ArgumentError;
use mqtt::store::{Memory, RECORD_BYTES_MAX, Refused};
use mqtt::{
    AlreadySent, Client, Outcome, Publish, PublishError, QoS, QueuePolicy, Ticket, Wait, WaitCause,
};

use crate::durable::{publish_in_vain, take_all};
use crate::harness::{Broker, expect_qos_1, options, play_open, puback, unreachable_broker};
use crate::restarts::reports;
use crate::slow_disk::SlowDisk;

const SECOND: Duration = Duration::from_secs(1);
const ACKED: Option<Outcome> = Some(Outcome::Acked { maybe_twice: false });
const DROPPED: Option<Outcome> = Some(Outcome::DroppedByPolicy);
const EXPIRED: Option<Outcome> = Some(Outcome::Expired);
const WITHDRAWN: Option<Outcome> = Some(Outcome::Withdrawn);

fn two_messages() -> SlowDisk {
    SlowDisk::with(SECOND / 10, Memory::new(2, 1 << 20))
}

fn message(payload: &str) -> Publish<'_> {
    Publish::to("m", payload).qos(QoS::AtLeastOnce)
}

fn publish(client: &Client, payload: &str, policy: QueuePolicy) -> Ticket {
    let publish = message(payload).queue_policy(policy);
    client.publish(publish).unwrap()
}

fn in_virtual_time(main: impl FnOnce() + 'static) {
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

/// What the next client with this store sends.
fn sent_by_the_next(store: &SlowDisk) -> Vec<String> {
    let (ours, theirs) = fiber::net::pipe(1 << 20);
    let mut broker = fiber::spawn(move || {
        let mut broker = Broker::new(theirs);
        broker.accept(false, |_| ());
        take_all(&mut broker)
    })
    .unwrap();
    let mut ours = Some(ours.into());
    let dial = move || ours.take().ok_or_else(unreachable_broker);
    let client = Client::open_by(dial, options().store(store.clone())).unwrap();
    client.wait_connected().unwrap();
    client.close(60 * SECOND).unwrap();
    broker.join().unwrap()
}

#[test]
fn what_was_dropped_expired_or_withdrawn_does_not_come_back() {
    in_virtual_time(|| {
        let store = two_messages();
        publish_in_vain(&store, |client| {
            let oldest = QueuePolicy::DropOldest;
            let first = publish(client, "1", oldest);
            let second = publish(client, "2", oldest);
            let third = publish(client, "3", oldest);
            assert_eq!((first.poll(), second.poll()), (DROPPED, None));
            assert_eq!(second.abandon(), Ok(()));
            assert_eq!(second.poll(), WITHDRAWN);
            let began = Instant::now();
            let fourth = message("4").expires_after(5 * SECOND);
            let mut fourth = client.publish(fourth).unwrap();
            assert_eq!(fourth.outcome().ok(), EXPIRED);
            assert_eq!(began.elapsed(), 5 * SECOND);
            assert_eq!(third.poll(), None);
            let stats = client.stats();
            let counted = (stats.dropped_oldest, stats.withdrawn, stats.expired);
            assert_eq!(counted, (1, 1, 1));
            assert_eq!(client.unacknowledged(), 1);
        });
        assert_eq!(sent_by_the_next(&store), ["3"]);
    });
}

#[test]
fn age_counts_across_a_restart() {
    in_virtual_time(|| {
        let store = SlowDisk::new(SECOND / 10);
        publish_in_vain(&store, |client| {
            client
                .publish(message("old").expires_after(60 * SECOND))
                .unwrap();
            client.publish(message("kept")).unwrap();
            sleep(20 * SECOND).unwrap();
        });
        let began = Instant::now();
        publish_in_vain(&store, |client| {
            let mut stored = client.stored().into_iter().map(|(_, ticket)| ticket);
            let (mut old, kept) = (stored.next().unwrap(), stored.next().unwrap());
            assert_eq!(old.poll(), None);
            assert_eq!(old.outcome().ok(), EXPIRED);
            let waited = began.elapsed().as_secs();
            assert!((38..=40).contains(&waited), "{waited} s");
            assert_eq!(kept.poll(), None);
        });
        assert_eq!(sent_by_the_next(&store), ["kept"]);
    });
}

#[test]
fn thousands_that_expire_at_once_do_so_one_after_the_other() {
    const COUNT: u64 = 20_000;
    in_virtual_time(|| {
        let store = SlowDisk::new(SECOND / 10);
        publish_in_vain(&store, |client| {
            // One that is in no store waits beside them.
            client.publish(Publish::to("m", "qos 0")).unwrap();
            for _ in 0..COUNT {
                client.publish(message("x").expires_after(SECOND)).unwrap();
            }
            sleep(2 * SECOND).unwrap();
            assert_eq!(client.stats().expired, COUNT);
            assert_eq!(client.unacknowledged(), 0);
        });
    });
}

#[test]
fn thousands_that_expire_beside_a_connection_are_not_sent_and_let_others_run() {
    const COUNT: u64 = 10_000;
    play_open(
        options().store(Memory::default()).window(1),
        |links| {
            let mut broker = links.accept(false);
            let id = expect_qos_1(&mut broker);
            // The next one has its turn when the others are too old.
            sleep(10 * SECOND).unwrap();
            broker.send(&puback(id));
            assert_eq!(take_all(&mut broker), ["last"]);
        },
        |client| {
            client.wait_connected().unwrap();
            let mut first = client.publish(message("first")).unwrap();
            for _ in 0..COUNT {
                client
                    .publish(message("x").expires_after(10 * SECOND))
                    .unwrap();
            }
            let mut last = client.publish(message("last")).unwrap();
            sleep(10 * SECOND).unwrap();
            let (mut before, mut turns) = (0, 0);
            // No time passes while somebody runs.
            while before < COUNT {
                let expired = client.stats().expired;
                assert!(expired - before < COUNT / 4, "{expired} after {before}");
                before = expired;
                turns += 1;
                assert!(turns < COUNT, "the rest is forgotten: {before}");
                fiber::yield_now().unwrap();
            }
            assert_eq!(first.outcome().ok(), ACKED);
            assert_eq!(last.outcome().ok(), ACKED);
        },
    );
}

#[test]
fn at_the_bound_of_the_store_each_policy_does_what_it_says() {
    in_virtual_time(|| {
        let store = two_messages();
        publish_in_vain(&store, |client| {
            let first = publish(client, "1", QueuePolicy::Wait);
            let second = publish(client, "2", QueuePolicy::KeepLast);
            let rejected = message("3").queue_policy(QueuePolicy::Reject);
            let rejected = client.publish(rejected).unwrap_err();
            assert!(matches!(rejected, PublishError::QueueFull), "{rejected:?}");
            for policy in [QueuePolicy::DropNewest, QueuePolicy::DropOldest] {
                assert_eq!(publish(client, "3", policy).poll(), DROPPED);
            }
            let waited = fiber::timeout(SECOND, || client.publish(message("3")));
            assert!(matches!(
                waited.unwrap_err().0,
                Err(PublishError::Full(WaitCause::Stopped(_)))
            ));
            let waiting = client.publish(message("3").expires_after(SECOND)).unwrap();
            assert_eq!(waiting.poll(), EXPIRED);
            assert_eq!((first.poll(), second.poll()), (None, None));
            assert_eq!(first.abandon(), Ok(()));
            let last = publish(client, "4", QueuePolicy::KeepLast);
            assert_eq!((second.poll(), last.poll()), (DROPPED, None));
            let stats = client.stats();
            let counted = (stats.rejected, stats.dropped_newest, stats.replaced);
            assert_eq!(counted, (1, 2, 1));
            // What the disk is not sure of would be withdrawn with its client.
            sleep(SECOND).unwrap();
        });
        assert_eq!(sent_by_the_next(&store), ["4"]);
    });
}

#[test]
fn a_stored_message_is_out_of_reach_once_it_is_sent() {
    play_open(
        options().store(SlowDisk::new(SECOND / 10)).window(1),
        |links| {
            let mut first = links.accept(false);
            let id = expect_qos_1(&mut first);
            sleep(10 * SECOND).unwrap();
            drop(first);
            let mut second = links.accept(true);
            assert_eq!(expect_qos_1(&mut second), id);
            second.send(&puback(id));
            assert_eq!(take_all(&mut second), ["2"]);
        },
        |client| {
            client.wait_connected().unwrap();
            let all = ["1", "2", "3"].map(|text| {
                let publish = message(text).queue_policy(QueuePolicy::DropOldest);
                let publish = if text == "2" {
                    publish
                } else {
                    publish.expires_after(2 * SECOND)
                };
                client.publish(publish).unwrap()
            });
            sleep(5 * SECOND).unwrap();
            assert_eq!(all.each_ref().map(Ticket::poll), [None, None, EXPIRED]);
            assert_eq!(all[0].abandon(), Err(AlreadySent));
            let [mut first, mut second, _] = all;
            let twice = Some(Outcome::Acked { maybe_twice: true });
            assert_eq!(first.outcome().ok(), twice);
            assert_eq!(second.outcome().ok(), ACKED);
        },
    );
}

#[test]
fn a_message_that_is_withdrawn_while_it_is_read_is_not_told_as_damaged() {
    let store = SlowDisk::new(SECOND / 10);
    in_virtual_time({
        let store = store.clone();
        move || {
            publish_in_vain(&store, |client| {
                drop(publish(client, "1", QueuePolicy::Wait))
            })
        }
    });
    store.slow_reads(SECOND);
    play_open(
        options().store(store),
        |links| assert_eq!(take_all(&mut links.accept(false)), ["2"]),
        |client| {
            let reports = reports(client);
            client.wait_connected().unwrap();
            sleep(SECOND / 2).unwrap();
            let (_, ticket) = client.stored().pop().unwrap();
            assert_eq!(ticket.abandon(), Ok(()));
            sleep(SECOND).unwrap();
            let mut next = publish(client, "2", QueuePolicy::Wait);
            assert_eq!(next.outcome().ok(), ACKED);
            assert!(reports.borrow().is_empty(), "{:?}", reports.borrow());
        },
    );
}

/// Publishes on a fiber of its own, and returns when that waits for room or is through.
fn publish_aside(client: &Client) -> fiber::JoinHandle<()> {
    let other = client.clone();
    let waits = move || drop(fiber::timeout(SECOND, || other.publish(message("aside"))));
    let aside = fiber::spawn(waits).unwrap();
    fiber::yield_now().unwrap();
    aside
}

#[test]
fn nothing_is_dropped_for_a_message_that_finds_no_room_all_the_same() {
    let bytes = Refused::Bytes { bound: 1 };
    let pending = Refused::Pending { bound: 1 };
    for refused in [Refused::DiskFull, pending, bytes] {
        for is_crowded in [false, true] {
            in_virtual_time(move || {
                let store = two_messages();
                publish_in_vain(&store, |client| {
                    let old = publish(client, "old", QueuePolicy::DropOldest);
                    store.refuse(Some(refused));
                    let aside = is_crowded.then(|| publish_aside(client));
                    let new = publish(client, "new", QueuePolicy::DropOldest);
                    assert_eq!((old.poll(), new.poll()), (None, DROPPED), "{refused}");
                    assert_eq!(client.stats().dropped_oldest, 0);
                    drop(aside.map(|mut aside| aside.join()));
                });
            });
        }
    }
}

#[test]
fn what_may_be_dropped_is_dropped_only_where_that_is_enough() {
    let large = vec![b'x'; RECORD_BYTES_MAX];
    in_virtual_time(move || {
        let oldest = QueuePolicy::DropOldest;
        let publish_bytes = |client: &Client, bytes: &[u8]| {
            let publish = Publish::to("m", bytes).qos(QoS::AtLeastOnce);
            client.publish(publish.queue_policy(oldest))
        };
        let store = SlowDisk::with(SECOND / 10, Memory::new(10, 1_000));
        publish_in_vain(&store, |client| {
            client.publish(message(&"x".repeat(400))).unwrap();
            let old = publish(client, "old", oldest);
            let new = publish_bytes(client, &large[..600]).unwrap();
            assert_eq!((old.poll(), new.poll()), (None, DROPPED));
            let new = publish_bytes(client, &large[..200]).unwrap();
            assert_eq!((old.poll(), new.poll()), (DROPPED, None));
        });
        // Somebody else comes first: what is free counts for nothing.
        publish_in_vain(&two_messages(), |client| {
            publish(client, "1", QueuePolicy::Wait);
            let old = publish(client, "2", oldest);
            let mut aside = publish_aside(client);
            let error = publish_bytes(client, &large).unwrap_err();
            let is_too_large = matches!(
                error,
                PublishError::Argument(ArgumentError::TooLarge { .. })
            );
            assert!(is_too_large, "{error:?}");
            let new = publish_bytes(client, &large[..100]).unwrap();
            assert_eq!((old.poll(), new.poll()), (None, DROPPED));
            let new = publish(client, "3", oldest);
            assert_eq!((old.poll(), new.poll()), (DROPPED, None));
            let stats = client.stats();
            assert_eq!((stats.dropped_oldest, stats.dropped_newest), (1, 1));
            aside.join().unwrap();
        });
    });
}

#[test]
fn who_waits_for_the_disk_is_told_what_became_of_the_message_before() {
    in_virtual_time(|| {
        let store = SlowDisk::new(3_600 * SECOND);
        publish_in_vain(&store, |client| {
            let began = Instant::now();
            let expiring = message("old").expires_after(SECOND).wait(Wait::Stored);
            assert_eq!(client.publish(expiring).unwrap().poll(), EXPIRED);
            assert_eq!(began.elapsed(), SECOND);
            let other = client.clone();
            let mut waiting = fiber::spawn(move || {
                let waiting = other.publish(message("x").wait(Wait::Stored));
                waiting.unwrap().poll()
            })
            .unwrap();
            fiber::yield_now().unwrap();
            let (_, ticket) = client.stored().pop().unwrap();
            assert_eq!(ticket.abandon(), Ok(()));
            assert_eq!(waiting.join().unwrap(), WITHDRAWN);
            assert_eq!(began.elapsed(), SECOND);
        });
    });
}
