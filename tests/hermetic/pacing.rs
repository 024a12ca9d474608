//! What is held back before it is sent: by a rate, by the length of a packet, and for
//! acknowledgements that are on their way.

use std::time::Duration;

use fiber::Instant;
use mqtt::packet::PacketRef;
use mqtt::session::{ArgumentError, PublishRate};
use mqtt::{Outcome, Publish, PublishError, QoS, QueuePolicy, Remaining, Wait};

use crate::harness::{
    expect_disconnect, expect_qos_1, note, options, play_connected, play_open, play_over, puback,
    qos_0,
};

fn at_least_once(payload: &str) -> Publish<'_> {
    Publish::to("m", payload).qos(QoS::AtLeastOnce)
}

#[test]
fn messages_beyond_the_rate_wait_their_time_and_that_is_told_once() {
    play_connected(
        options().publish_rate(PublishRate::per_second(10, 5)),
        |broker| {
            let began = Instant::now();
            for number in 0..25_u64 {
                broker.expect(&qos_0("m", b"x"));
                let due =
                    Duration::from_millis(100) * u32::try_from(number.saturating_sub(4)).unwrap();
                assert_eq!(began.elapsed(), due, "message {number}");
            }
            expect_disconnect(broker);
        },
        |client| {
            let events = note(client);
            for _ in 0..24 {
                client.publish(Publish::to("m", "x")).unwrap();
            }
            client
                .publish(Publish::to("m", "x").wait(Wait::Sent))
                .unwrap();
            fiber::yield_now().unwrap();
            assert_eq!(*events.borrow(), ["throttled"]);
        },
    );
}

#[test]
fn a_rate_that_is_kept_holds_nothing_back() {
    play_connected(
        options().publish_rate(PublishRate::per_second(10, 1)),
        |broker| {
            for _ in 0..30 {
                broker.expect(&qos_0("m", b"x"));
            }
            expect_disconnect(broker);
        },
        |client| {
            let events = note(client);
            for _ in 0..30 {
                let began = Instant::now();
                client
                    .publish(Publish::to("m", "x").wait(Wait::Sent))
                    .unwrap();
                assert_eq!(began.elapsed(), Duration::ZERO);
                fiber::sleep(Duration::from_millis(100)).unwrap();
            }
            assert_eq!(*events.borrow(), [""; 0]);
        },
    );
}

#[test]
fn what_was_held_back_for_the_rate_is_left_in_order_when_the_client_goes() {
    play_connected(
        options().publish_rate(PublishRate::per_second(1, 1)),
        |broker| {
            let began = Instant::now();
            // At once, after one second, and after two.
            for _ in 0..3 {
                broker.expect(&qos_0("m", b"x"));
            }
            expect_disconnect(broker);
            assert_eq!(began.elapsed(), Duration::from_secs(2));
        },
        |client| {
            for _ in 0..100 {
                client.publish(Publish::to("m", "x")).unwrap();
            }
        },
    );
}

#[test]
fn a_backlog_of_an_outage_keeps_the_rate() {
    play_open(
        options().publish_rate(PublishRate::per_second(100, 10)),
        |links| {
            fiber::sleep(Duration::from_secs(5)).unwrap();
            let mut broker = links.accept(false);
            let began = Instant::now();
            for number in 0..500_u32 {
                let id = expect_qos_1(&mut broker);
                broker.send(&puback(id));
                let due = Duration::from_millis(10) * number.saturating_sub(9);
                assert!(began.elapsed() >= due, "message {number}");
            }
            assert!(
                began.elapsed() < Duration::from_secs(6),
                "{:?}",
                began.elapsed()
            );
            expect_disconnect(&mut broker);
        },
        |client| {
            let events = note(client);
            for _ in 0..500 {
                client.publish(at_least_once("x")).unwrap();
            }
            let remaining = client.close(Duration::from_secs(60)).unwrap();
            assert_eq!(remaining, Remaining::default(), "{events:?}");
        },
    );
}

#[test]
fn a_rate_lets_go_what_finds_room_only_when_all_before_it_is_sent() {
    // Two of them do not fit into the outbound log.
    const LARGE: usize = 3 * 1024 * 1024;
    play_connected(
        options()
            .publish_rate(PublishRate::per_second(10, 5))
            .queue_max(8, 4 * LARGE),
        |broker| {
            let began = Instant::now();
            for _ in 0..3 {
                broker.expect(&qos_0("m", &vec![0; LARGE]));
            }
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "{:?}",
                began.elapsed()
            );
            expect_disconnect(broker);
        },
        |client| {
            for _ in 0..3 {
                client.publish(Publish::to("m", &vec![0; LARGE])).unwrap();
            }
            fiber::sleep(Duration::from_secs(60)).unwrap();
        },
    );
}

#[test]
fn a_packet_longer_than_the_broker_takes_is_an_argument_error_and_goes_nowhere() {
    play_connected(
        options().server_maximum_packet_size(100),
        |broker| {
            broker.expect(&qos_0("m", &[b'x'; 95]));
            expect_disconnect(broker);
        },
        |client| {
            client.publish(Publish::to("m", &[b'x'; 95])).unwrap();
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let refused = client.publish(Publish::to("m", &[b'x'; 96]).qos(qos));
                let Err(PublishError::Argument(ArgumentError::TooLarge { bound, .. })) = refused
                else {
                    panic!("{refused:?}")
                };
                assert_eq!(bound, 100);
            }
            assert_eq!(client.unacknowledged(), 0);
        },
    );
}

/// How many writes it takes until `count` messages have come of which each batch is published while
/// three others are unacknowledged; a batch is what one read of the broker finds.
fn reads_until(coalesce: bool, then: fn(&mqtt::Client)) -> Vec<(usize, Duration)> {
    let reads = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let noted = std::rc::Rc::clone(&reads);
    play_connected(
        options().coalesce(coalesce),
        move |broker| {
            for _ in 0..4 {
                expect_qos_1(broker);
            }
            let began = Instant::now();
            let mut buffer = [0; 1_000];
            // Without an acknowledgement, until DISCONNECT.
            loop {
                fiber::sleep(Duration::from_micros(100)).unwrap();
                match broker.stream().try_read(&mut buffer).unwrap() {
                    Some(0) => break,
                    Some(len) => noted.borrow_mut().push((len, began.elapsed())),
                    None => {}
                }
            }
        },
        move |client| {
            for _ in 0..4 {
                client.publish(at_least_once("x")).unwrap();
            }
            fiber::yield_now().unwrap();
            fiber::sleep(Duration::from_micros(10)).unwrap();
            for _ in 0..3 {
                client.publish(at_least_once("x")).unwrap();
                fiber::sleep(Duration::from_micros(200)).unwrap();
            }
            then(client);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            client.close(Duration::ZERO).unwrap();
        },
    );
    reads.take()
}

/// PUBLISH at QoS 1 of one byte under a topic of one byte.
const PUBLISH_LEN: usize = 8;

#[test]
fn messages_wait_a_millisecond_for_acknowledgements_and_leave_in_one_write() {
    let alone = reads_until(false, |_| ());
    assert_eq!(alone[0].0, PUBLISH_LEN, "{alone:?}");
    assert_eq!(alone[1].0, PUBLISH_LEN, "{alone:?}");
    let together = reads_until(true, |_| ());
    assert_eq!(together[0].0, 3 * PUBLISH_LEN, "{together:?}");
    let waited = together[0].1;
    assert!(waited >= Duration::from_micros(900), "{waited:?}");
    assert!(waited <= Duration::from_micros(1_300), "{waited:?}");
}

#[test]
fn whatever_else_is_to_be_sent_ends_the_hold() {
    type Then = fn(&mqtt::Client);
    let thens: [(Then, usize); 4] = [
        (|client| client.ping().unwrap(), 2),
        (
            |client| drop(client.publish(Publish::to("m", "x")).unwrap()),
            PUBLISH_LEN - 2,
        ),
        (
            |client| {
                let sent = at_least_once("x").wait(Wait::Sent);
                drop(client.publish(sent).unwrap());
            },
            PUBLISH_LEN,
        ),
        (
            |client| {
                let wait = Wait::None;
                client.unsubscribe_as("x", wait).unwrap();
            },
            7,
        ),
    ];
    for (number, (then, len)) in thens.into_iter().enumerate() {
        let reads = reads_until(true, then);
        let total: usize = reads.iter().take(2).map(|(len, _)| len).sum();
        assert!(
            reads[0].1 < Duration::from_micros(900),
            "{number}: {reads:?}"
        );
        let wanted = 3 * PUBLISH_LEN + len;
        assert!(
            reads[0].0 == wanted || total == wanted,
            "{number}: {wanted} of {reads:?}"
        );
    }
}

#[test]
fn a_publisher_goes_at_the_pace_of_the_network() {
    const PAYLOAD: [u8; 4_096] = [b'x'; 4_096];
    const READ_AT: Duration = Duration::from_secs(1);
    let message = || Publish::to("m", &PAYLOAD);
    let timed = |publish: &dyn Fn()| {
        let began = Instant::now();
        publish();
        began.elapsed()
    };
    let pace = Duration::from_millis(10);
    play_over(
        4_096,
        options(),
        move |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(READ_AT).unwrap();
            let mut last = false;
            while !last {
                last = broker.receive(|packet| match packet {
                    PacketRef::Publish(publish) => {
                        assert_eq!(publish.payload(), PAYLOAD);
                        false
                    }
                    other => matches!(other, PacketRef::Disconnect(_)),
                });
            }
            broker.expect_end();
        },
        move |client| {
            client.connect().unwrap();
            let began = Instant::now();
            let publish = || drop(client.publish(message()).unwrap());
            let mut len = 0;
            while timed(&publish).is_zero() {
                len += PAYLOAD.len();
            }
            assert!(
                (64 * 1024..100 * 1024).contains(&len),
                "{len} bytes at once"
            );
            // It goes on where nothing is sent, as long as there is room.
            assert_eq!(timed(&publish), pace);
            let at_once: [&dyn Fn(); 3] = [
                &|| drop(client.try_publish(message()).unwrap()),
                &|| {
                    drop(
                        client
                            .publish(message().queue_policy(QueuePolicy::Reject))
                            .unwrap(),
                    )
                },
                &|| fiber::no_park(publish),
            ];
            for publish in at_once {
                assert_eq!(timed(publish), Duration::ZERO);
            }
            let old = client.publish(message().expires_after(pace)).unwrap();
            assert_eq!(old.poll(), Some(Outcome::Expired));
            // The end of a scope ends the wait, and the message is accepted.
            let limit = pace / 2;
            let limited = || {
                let _ended = fiber::timeout(limit, publish);
            };
            assert_eq!(timed(&limited), limit);
            fiber::sleep(READ_AT - pace / 2 - began.elapsed()).unwrap();
            assert_eq!(timed(&publish), pace / 2);
            assert_eq!(timed(&publish), Duration::ZERO);
        },
    );
}

#[test]
fn four_large_messages_go_before_the_network_sets_the_pace() {
    const PIPE: usize = 4_096;
    // Payload, and what is published at once of such.
    for (payload, least) in [(1, 64), (16, 64), (32, 128), (64, 256), (300, 256)] {
        let (payload, least) = (payload * 1_024, least * 1_024);
        play_over(
            PIPE,
            options(),
            move |broker| {
                broker.accept(false, |_| ());
                fiber::sleep(Duration::from_secs(1)).unwrap();
                while !broker.receive(|packet| matches!(packet, PacketRef::Disconnect(_))) {}
                broker.expect_end();
            },
            move |client| {
                client.connect().unwrap();
                let payload = vec![b'x'; payload];
                let began = Instant::now();
                let mut len = 0;
                while began.elapsed().is_zero() {
                    client.publish(Publish::to("m", &payload)).unwrap();
                    len += payload.len();
                }
                // The last one waited, and was added then.
                let most = least + 2 * payload.len() + 2 * PIPE;
                assert!((least..most).contains(&len), "{len} bytes of {least}");
            },
        );
    }
}

#[test]
fn a_publisher_does_not_wait_for_what_a_rate_holds_back() {
    const COUNT: usize = 40;
    const PAYLOAD: [u8; 4_096] = [b'x'; 4_096];
    play_connected(
        options().publish_rate(PublishRate::per_second(100, 1)),
        |broker| {
            for _ in 0..COUNT {
                broker.expect(&qos_0("m", &PAYLOAD));
            }
            expect_disconnect(broker);
        },
        |client| {
            let began = Instant::now();
            for _ in 0..COUNT {
                client.publish(Publish::to("m", &PAYLOAD)).unwrap();
            }
            assert_eq!(began.elapsed(), Duration::ZERO);
        },
    );
}
