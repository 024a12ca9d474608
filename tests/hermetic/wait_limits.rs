//! When waits for an acknowledgement end that does not come: those that begin with the publish have no
//! timer of their own, and end to the nanosecond as if they had.

use std::time::Duration;

use fiber::{Instant, Stopped};
use mqtt::{Client, Publish, QoS, Wait};

use crate::harness::{expect_disconnect, expect_qos_1, options, play_connected, play_open, puback};

/// Long enough to be counted from the turn's time.
const LIMIT: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// How long a publish waits for its acknowledgement, and whether that came.
fn publish(client: &Client) -> (Duration, bool) {
    let began = Instant::now();
    let message = Publish::to("m", "x").qos(QoS::AtLeastOnce);
    match client.publish(message.wait(Wait::Ack)) {
        Ok(_) => (began.elapsed(), true),
        Err(error) => {
            assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
            (began.elapsed(), false)
        }
    }
}

fn spawn(client: &Client, after: Duration) -> fiber::JoinHandle<(Duration, bool)> {
    let client = client.clone();
    let publish_later = move || {
        fiber::sleep(after).unwrap();
        publish(&client)
    };
    fiber::spawn(publish_later).unwrap()
}

fn quiet() -> mqtt::ClientOptions {
    let options = options().operation_timeout(Some(LIMIT));
    options.keep_alive(Duration::ZERO).coalesce(false)
}

#[test]
fn each_wait_ends_at_its_own_time() {
    play_connected(
        quiet(),
        |broker| {
            for number in 1..=3 {
                assert_eq!(expect_qos_1(broker), number);
            }
            fiber::sleep(5 * SECOND).unwrap();
            broker.send(&puback(2));
            expect_disconnect(broker);
        },
        |client| {
            let delays = [Duration::ZERO, 3 * SECOND, 9 * SECOND];
            let waits = delays.map(|after| spawn(client, after));
            let ends = waits.map(|mut wait| wait.join().unwrap());
            let acked = (11 * SECOND, true);
            assert_eq!(ends, [(LIMIT, false), acked, (LIMIT, false)]);
        },
    );
}

#[test]
fn a_wait_after_a_long_quiet_time_has_all_of_its_own() {
    play_connected(
        quiet(),
        |broker| {
            let number = expect_qos_1(broker);
            broker.send(&puback(number));
            expect_qos_1(broker);
            expect_disconnect(broker);
        },
        |client| {
            assert!(publish(client).1);
            fiber::sleep(5 * LIMIT).unwrap();
            assert_eq!(publish(client), (LIMIT, false));
        },
    );
}

#[test]
fn a_wait_ends_in_time_also_where_its_connection_does_earlier() {
    play_open(
        quiet(),
        |links| {
            let mut broker = links.accept(false);
            expect_qos_1(&mut broker);
            fiber::sleep(5 * SECOND).unwrap();
            drop(broker);
            let mut broker = links.accept(true);
            expect_qos_1(&mut broker);
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            assert_eq!(publish(client), (LIMIT, false));
        },
    );
}
