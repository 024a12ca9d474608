//! The queue of messages that were never sent: when they are too old.

use std::time::Duration;

use fiber::{Instant, sleep};
use mqtt::{Client, Outcome, QueuePolicy, Ticket, Wait};

use crate::harness::{Broker, options, play_connected, play_open, puback, unreachable_broker};
use crate::queue::{EXPIRED, SECOND, every_kind, offline, publish, qos_1, take_all};

const NO_BYTES: usize = usize::MAX;

#[test]
fn what_waits_for_a_connection_expires_on_time_and_wakes_who_waits_for_it() {
    offline(options().queue_age_max(Some(10 * SECOND)), |client| {
        let began = Instant::now();
        let old = every_kind(client, None);
        let older = every_kind(client, Some(4 * SECOND));
        // The age of the client is the limit.
        let later = every_kind(client, Some(60 * SECOND));
        for (tickets, at) in [(older, 4), (old, 10), (later, 10)] {
            for mut ticket in tickets {
                assert_eq!(ticket.outcome().ok(), EXPIRED);
                assert_eq!(began.elapsed(), at * SECOND);
                assert_eq!(ticket.abandon(), Ok(()));
                assert_eq!(ticket.poll(), EXPIRED);
            }
        }
        assert_eq!(client.stats().expired, 9);
        assert_eq!(client.unacknowledged(), 0);
    });
}

#[test]
fn a_dial_that_hangs_does_not_keep_messages_from_expiring() {
    let hang = || {
        sleep(1_000 * SECOND).map_err(|_| unreachable_broker())?;
        Err(unreachable_broker())
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    let main = move || {
        let client = Client::open_by(hang, options()).unwrap();
        sleep(SECOND).unwrap();
        let began = Instant::now();
        let publish = qos_1("m", "21.5").expires_after(3 * SECOND);
        let mut ticket = client.publish(publish).unwrap();
        assert_eq!(ticket.outcome().ok(), EXPIRED);
        assert_eq!(began.elapsed(), 3 * SECOND);
        client.close(Duration::ZERO).unwrap();
    };
    runtime.run(main).unwrap();
}

#[test]
fn a_client_that_was_given_its_connection_lets_messages_expire_before_and_after() {
    let main = || {
        let (ours, theirs) = fiber::net::pipe(1_000);
        let client = Client::over(ours, options());
        let expiring = || client.publish(qos_1("m", "21.5").expires_after(SECOND));
        let mut early = expiring().unwrap();
        assert_eq!(early.outcome().ok(), EXPIRED);
        let mut broker = fiber::spawn(move || {
            let mut broker = Broker::new(theirs);
            broker.accept(false, |_| ());
            let _in_flight = crate::harness::expect_qos_1(&mut broker);
        })
        .unwrap();
        client.connect().unwrap();
        let sent = expiring().unwrap();
        broker.join().unwrap();
        client.ended().unwrap();
        sleep(10 * SECOND).unwrap();
        assert_eq!((sent.poll(), client.stats().expired), (None, 1));
        client.close(Duration::ZERO).unwrap();
        assert_eq!(sent.poll(), Some(Outcome::SessionLost));
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn what_was_sent_never_expires_and_what_waits_for_a_reconnect_does() {
    play_open(
        options().window(2).queue_age_max(Some(5 * SECOND)),
        |links| {
            let mut first = links.accept(true);
            for _ in 0..2 {
                crate::harness::expect_qos_1(&mut first);
            }
            drop(first);
            // Longer than any of them may wait.
            let mut second = links.next();
            sleep(20 * SECOND).unwrap();
            second.accept(true, |_| ());
            assert_eq!(take_all(&mut second), ["m 1", "m 2", "m 5"]);
        },
        |client| {
            client.wait_connected().unwrap();
            let all = ["1", "2", "3", "4"].map(|text| client.publish(qos_1("m", text)).unwrap());
            sleep(20 * SECOND).unwrap();
            let twice = Some(Outcome::Acked { maybe_twice: true });
            assert_eq!(
                [&all[2], &all[3]].map(Ticket::poll),
                [EXPIRED, EXPIRED],
                "they were never sent"
            );
            let publish = qos_1("m", "5").wait(Wait::Ack);
            client.publish(publish).unwrap();
            assert_eq!([&all[0], &all[1]].map(Ticket::poll), [twice, twice]);
            assert_eq!(client.stats().expired, 2);
        },
    );
}

#[test]
fn a_message_may_expire_while_its_publish_waits_for_room_and_others_get_the_room() {
    play_connected(
        options().window(1).queue_max(1, NO_BYTES),
        |broker| {
            let id = crate::harness::expect_qos_1(broker);
            sleep(10 * SECOND).unwrap();
            broker.send(&puback(id));
            assert_eq!(take_all(broker), ["m patient"]);
        },
        |client| {
            publish(client, "sent", QueuePolicy::Wait);
            let queued = client.publish(qos_1("m", "queued").expires_after(4 * SECOND));
            let began = Instant::now();
            let waiting = client.clone();
            let mut waiting = fiber::spawn(move || {
                let publish = qos_1("m", "waiting").expires_after(2 * SECOND);
                let ticket = waiting.publish(publish.wait(Wait::Ack)).unwrap();
                (ticket.poll(), began.elapsed())
            })
            .unwrap();
            fiber::yield_now().unwrap();
            // Behind the other; it has its place when the one that is queued expires.
            publish(client, "patient", QueuePolicy::Wait);
            assert_eq!(began.elapsed(), 4 * SECOND);
            assert_eq!(queued.unwrap().poll(), EXPIRED);
            assert_eq!(waiting.join().unwrap(), (EXPIRED, 2 * SECOND));
            assert_eq!(client.stats().expired, 2);
            client.close(60 * SECOND).unwrap();
        },
    );
}
