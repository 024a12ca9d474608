//! Publishing: the four levels of waiting, tickets and their outcomes.

use std::time::Duration;

use fiber::Stopped;
use mqtt::packet::PacketRef;
use mqtt::session::ArgumentError;
use mqtt::{Client, Outcome, Publish, PublishError, QoS, Ticket, Wait, WaitCause};

use crate::harness::{
    expect_disconnect, expect_qos_1, options, play, play_connected, play_over, play_tls, puback,
    qos_0,
};

pub(crate) const ACKED: Option<Outcome> = Some(Outcome::Acked { maybe_twice: false });

pub(crate) fn at_least_once(client: &Client, wait: Wait) -> Result<Ticket, PublishError> {
    client.publish(Publish::to("m", "21.5").qos(QoS::AtLeastOnce).wait(wait))
}

#[test]
fn none_and_stored_return_before_anything_is_written() {
    play_connected(
        options(),
        |broker| {
            for _ in 0..2 {
                let id = expect_qos_1(broker);
                broker.send(&puback(id));
            }
            broker.expect(&qos_0("m", b"21.5"));
            expect_disconnect(broker);
        },
        |client| {
            let written = fiber::stats().bytes_written;
            let mut first = at_least_once(client, Wait::None).unwrap();
            let mut second = at_least_once(client, Wait::Stored).unwrap();
            let mut third = client.publish(Publish::to("m", "21.5")).unwrap();
            assert_eq!(fiber::stats().bytes_written, written);
            assert_eq!(
                (first.poll(), second.poll(), third.poll()),
                (None, None, None)
            );
            assert_eq!(first.outcome().ok(), ACKED);
            assert_eq!(second.outcome().ok(), ACKED);
            assert_eq!(third.outcome().ok(), Some(Outcome::Sent));
        },
    );
}

#[test]
fn sent_returns_with_the_last_byte_and_not_with_the_acknowledgement() {
    play_connected(
        options(),
        |broker| {
            let id = expect_qos_1(broker);
            broker.expect_silence(Duration::from_secs(5));
            broker.send(&puback(id));
            expect_disconnect(broker);
        },
        |client| {
            let began = fiber::Instant::now();
            let mut ticket = at_least_once(client, Wait::Sent).unwrap();
            assert_eq!(began.elapsed(), Duration::ZERO);
            assert_eq!(ticket.poll(), None);
            assert_eq!(ticket.outcome().ok(), ACKED);
            assert_eq!(began.elapsed(), Duration::from_secs(5));
        },
    );
}

#[test]
fn sent_waits_until_the_kernel_took_the_last_byte() {
    play_over(
        64,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(Duration::from_secs(3)).unwrap();
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            let began = fiber::Instant::now();
            let payload = [0; 1_000];
            client
                .publish(Publish::to("m", &payload).wait(Wait::Sent))
                .unwrap();
            assert_eq!(began.elapsed(), Duration::from_secs(3));
        },
    );
}

#[test]
fn ack_returns_with_the_acknowledgement() {
    play_connected(
        options(),
        |broker| {
            let first = expect_qos_1(broker);
            let second = expect_qos_1(broker);
            assert_ne!(first, second);
            // Out of order: each waits for its own.
            broker.send(&puback(second));
            fiber::sleep(Duration::from_secs(1)).unwrap();
            broker.send(&puback(first));
            expect_disconnect(broker);
        },
        |client| {
            let mut first = at_least_once(client, Wait::None).unwrap();
            let second = at_least_once(client, Wait::Ack).unwrap();
            assert_eq!((first.poll(), second.poll()), (None, ACKED));
            assert_eq!(first.outcome().ok(), ACKED);
        },
    );
}

#[test]
fn a_deadline_ends_the_wait_and_not_the_message() {
    play_connected(
        options(),
        |broker| {
            let id = expect_qos_1(broker);
            fiber::sleep(Duration::from_secs(10)).unwrap();
            broker.send(&puback(id));
            expect_disconnect(broker);
        },
        |client| {
            let waited =
                fiber::timeout(Duration::from_secs(2), || at_least_once(client, Wait::Ack));
            let Err(fiber::Elapsed(Err(PublishError::Wait(error)))) = waited else {
                panic!("expected the wait to end early, found {waited:?}");
            };
            assert!(matches!(error.cause, WaitCause::Stopped(Stopped::TimedOut)));
            let mut ticket = error.ticket;
            assert_eq!(ticket.poll(), None);
            assert_eq!(ticket.outcome().ok(), ACKED);
        },
    );
}

#[test]
fn without_a_deadline_the_operation_timeout_ends_the_wait() {
    play_connected(
        options()
            .operation_timeout(Some(Duration::from_secs(7)))
            .keep_alive(Duration::ZERO),
        |broker| {
            expect_qos_1(broker);
            expect_disconnect(broker);
        },
        |client| {
            let began = fiber::Instant::now();
            let error = at_least_once(client, Wait::Ack).unwrap_err();
            assert_eq!(began.elapsed(), Duration::from_secs(7));
            assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        },
    );
}

#[test]
fn a_thousand_fibers_wait_for_their_own_acknowledgement() {
    play_connected(
        options().window(100),
        |broker| {
            for _ in 0..1_000 {
                let id = expect_qos_1(broker);
                broker.send(&puback(id));
            }
            expect_disconnect(broker);
        },
        |client| {
            let fibers: Vec<_> = (0..1_000)
                .map(|_| {
                    let client = client.clone();
                    fiber::spawn(move || at_least_once(&client, Wait::Ack).unwrap().poll()).unwrap()
                })
                .collect();
            for mut fiber in fibers {
                assert_eq!(fiber.join().unwrap(), ACKED);
            }
        },
    );
}

#[test]
fn a_bad_argument_is_an_error_value_and_never_touches_the_connection() {
    play_connected(
        options(),
        |broker| {
            broker.expect(&qos_0("good", b""));
            expect_disconnect(broker);
        },
        |client| {
            let long = "x".repeat(65_536);
            for topic in ["", "a/+", "a/#", "nul\0", &long] {
                let error = client.publish(Publish::to(topic, "")).unwrap_err();
                assert!(
                    matches!(error, PublishError::Argument(ArgumentError::Packet(_))),
                    "{topic:.20} gave {error:?}"
                );
            }
            let payload = vec![0; mqtt::LOG_BYTES_MAX];
            let error = client.publish(Publish::to("m", &payload)).unwrap_err();
            assert!(matches!(
                error,
                PublishError::Argument(ArgumentError::TooLarge { .. })
            ));
            client
                .publish(Publish::to("good", "").wait(Wait::Sent))
                .unwrap();
        },
    );
}

#[test]
fn what_is_published_before_the_connection_is_up_is_sent_once_it_is() {
    play(
        options(),
        |broker| {
            broker.accept(false, |_| ());
            broker.expect(&qos_0("early", b"1"));
            expect_disconnect(broker);
        },
        |client| {
            let mut ticket = client.publish(Publish::to("early", "1")).unwrap();
            client.connect().unwrap();
            assert_eq!(ticket.outcome().ok(), Some(Outcome::Sent));
        },
    );
}

#[test]
fn the_end_of_the_connection_ends_every_wait_and_the_close_settles_every_ticket() {
    play_over(
        200,
        options().window(3),
        |broker| {
            broker.accept(false, |_| ());
            expect_qos_1(broker);
            // Gone, with the second message half received and a third waiting for room.
        },
        |client| {
            client.connect().unwrap();
            let mut sent = at_least_once(client, Wait::Sent).unwrap();
            let payload = [0; 1_000];
            let unsent = client
                .publish(Publish::to("m", &payload).qos(QoS::AtLeastOnce))
                .unwrap();
            let quiet = client.publish(Publish::to("m", "after it")).unwrap();
            let error = at_least_once(client, Wait::Ack).unwrap_err();
            let PublishError::Wait(error) = error else {
                panic!("{error:?}")
            };
            assert!(
                matches!(error.cause, WaitCause::ConnectionLost(_)),
                "{:?}",
                error.cause
            );
            // Another connection may be given to the client, which would go on with them.
            assert!(matches!(sent.outcome(), Err(WaitCause::ConnectionLost(_))));
            for ticket in [&error.ticket, &sent, &unsent, &quiet] {
                assert_eq!(ticket.poll(), None);
            }
            let refused = at_least_once(client, Wait::None).unwrap_err();
            assert!(matches!(
                refused,
                PublishError::Full(WaitCause::ConnectionLost(_))
            ));
            let remaining = client.close(Duration::ZERO).unwrap();
            assert_eq!(remaining.unacknowledged, 3);
            assert_eq!(error.ticket.poll(), Some(Outcome::Withdrawn));
            assert_eq!(sent.poll(), Some(Outcome::SessionLost));
            assert_eq!(unsent.poll(), Some(Outcome::Withdrawn));
            assert_eq!(quiet.poll(), Some(Outcome::Withdrawn));
            assert!(matches!(sent.outcome(), Err(WaitCause::ConnectionLost(_))));
        },
    );
}

#[test]
fn sent_over_tls_does_not_wait_for_what_was_published_later() {
    play_tls(
        20_000,
        options().keep_alive(Duration::ZERO),
        |broker| {
            for _ in 0..101 {
                fiber::sleep(Duration::from_secs(1)).unwrap();
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            }
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Disconnect(_))));
        },
        |client| {
            let mut first = client.publish(Publish::to("m", "")).unwrap();
            for _ in 0..100 {
                client.publish(Publish::to("m", &[0; 20_000])).unwrap();
            }
            let began = fiber::Instant::now();
            first.wait(Wait::Sent).unwrap();
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(5), "{waited:?}");
            client.close(Duration::from_secs(200)).unwrap();
        },
    );
}
