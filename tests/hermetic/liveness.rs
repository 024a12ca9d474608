//! Links that are slow, stuck or dead, in virtual time: when a client gives one up, and when it does
//! not.

use std::time::Duration;

use fiber::Instant;
use mqtt::packet::PacketRef;
use mqtt::session::CloseCause;
use mqtt::{ClientOptions, EndCause, Publish, QoS, Wait};

use crate::harness::{Broker, options, play_connected, play_over};

const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Half the keep-alive.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const PIPE_BYTES: usize = 16 * 1024;

fn quick() -> ClientOptions {
    options().keep_alive(KEEP_ALIVE)
}

/// Reads so many bytes each second, for so long, and answers nothing.
fn read_slowly(broker: &Broker, bytes_per_second: usize, length: Duration) {
    let mut buffer = vec![0; bytes_per_second];
    let end = Instant::now() + length;
    while Instant::now() < end {
        fiber::sleep(Duration::from_secs(1)).unwrap();
        if broker.stream().try_read(&mut buffer).unwrap() == Some(0) {
            return;
        }
    }
}

#[track_caller]
fn expect_dead(client: &mqtt::Client, expected: CloseCause) {
    let cause = client.ended().unwrap();
    let EndCause::Dead(found) = &*cause else {
        panic!("{cause}")
    };
    assert_eq!(*found, expected);
}

#[test]
fn a_ping_behind_slow_data_does_not_end_a_link_that_makes_progress() {
    play_over(
        PIPE_BYTES,
        quick(),
        |broker| {
            broker.accept(false, |_| ());
            // 300 kB take 300 s, and the ping that is due meanwhile is behind some of them.
            read_slowly(broker, 1_000, Duration::from_secs(25));
            // The broker says something only every half minute.
            for _ in 0..8 {
                broker.send(&PacketRef::PingResp);
                read_slowly(broker, 1_000, Duration::from_secs(30));
            }
        },
        |client| {
            client.connect().unwrap();
            let began = Instant::now();
            client.publish(Publish::to("m", &[0; 300_000])).unwrap();
            client.ended().unwrap();
            // The script's end.
            assert!(
                began.elapsed() >= Duration::from_secs(25 + 8 * 30),
                "{:?}",
                began.elapsed()
            );
        },
    );
}

#[test]
fn a_link_that_takes_bytes_and_never_answers_is_given_up_at_four_times_the_time() {
    play_over(
        PIPE_BYTES,
        quick(),
        |broker| {
            broker.accept(false, |_| ());
            read_slowly(broker, 1_000, Duration::from_secs(3_600));
        },
        |client| {
            client.connect().unwrap();
            let began = Instant::now();
            for _ in 0..100 {
                client.publish(Publish::to("m", &[0; 10_000])).unwrap();
            }
            expect_dead(client, CloseCause::PingTimeout);
            // The ping waits for the rest of a packet of 10 kB, which takes 10 s.
            let least = KEEP_ALIVE + 4 * PING_TIMEOUT;
            let most = least + Duration::from_secs(12);
            let took = began.elapsed();
            assert!((least..=most).contains(&took), "{took:?}");
        },
    );
}

#[test]
fn a_link_that_takes_nothing_is_given_up_after_one_time_in_every_state() {
    // While it is up.
    play_over(
        PIPE_BYTES,
        quick(),
        |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(Duration::from_secs(3_600)).unwrap();
        },
        |client| {
            client.connect().unwrap();
            let began = Instant::now();
            client.publish(Publish::to("m", &[0; 100_000])).unwrap();
            expect_dead(client, CloseCause::WriteStall);
            assert_eq!(began.elapsed(), PING_TIMEOUT);
        },
    );
    // While CONNECT is on its way.
    play_over(
        5,
        quick(),
        |_| fiber::sleep(Duration::from_secs(3_600)).unwrap(),
        |client| {
            let began = Instant::now();
            client.connect().unwrap_err();
            expect_dead(client, CloseCause::WriteStall);
            assert_eq!(began.elapsed(), PING_TIMEOUT);
        },
    );
    // While it is left.
    play_over(
        PIPE_BYTES,
        quick(),
        |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(Duration::from_secs(3_600)).unwrap();
        },
        |client| {
            client.connect().unwrap();
            client.publish(Publish::to("m", &[0; 100_000])).unwrap();
            let began = Instant::now();
            client.close(Duration::ZERO).unwrap();
            assert_eq!(began.elapsed(), Duration::from_secs(2));
        },
    );
}

#[test]
fn a_black_hole_is_noticed_within_the_sum_whatever_the_client_does() {
    type Does = fn(&mqtt::Client);
    let does: [(Does, Duration); 3] = [
        (|_| (), KEEP_ALIVE + PING_TIMEOUT),
        // What is sent does not count as received.
        (
            |client| {
                let client = client.clone();
                fiber::spawn(move || {
                    while client.publish(Publish::to("m", "x")).is_ok() {
                        fiber::sleep(Duration::from_secs(1)).unwrap();
                    }
                })
                .map(drop)
                .unwrap();
            },
            KEEP_ALIVE + 4 * PING_TIMEOUT,
        ),
        (
            |client| {
                let publish = Publish::to("m", "x").qos(QoS::AtLeastOnce);
                drop(client.publish(publish.wait(Wait::Sent)).unwrap());
            },
            KEEP_ALIVE + PING_TIMEOUT,
        ),
    ];
    for (does, most) in does {
        play_connected(
            quick(),
            // It takes everything, and nothing of it arrives.
            |_| fiber::sleep(Duration::from_secs(3_600)).unwrap(),
            move |client| {
                let began = Instant::now();
                does(client);
                expect_dead(client, CloseCause::PingTimeout);
                let took = began.elapsed();
                assert!(
                    took <= most + Duration::from_secs(1),
                    "{took:?} of {most:?}"
                );
            },
        );
    }
}

#[test]
fn a_link_without_keep_alive_is_tried_all_the_same_where_that_is_asked_for() {
    play_connected(
        options()
            .keep_alive(Duration::ZERO)
            .ping_after(Duration::from_secs(7)),
        |broker| {
            let began = Instant::now();
            broker.expect(&PacketRef::PingReq);
            assert_eq!(began.elapsed(), Duration::from_secs(7));
            broker.expect_end();
        },
        |client| {
            let began = Instant::now();
            expect_dead(client, CloseCause::PingTimeout);
            assert_eq!(began.elapsed(), Duration::from_secs(12));
        },
    );
}
