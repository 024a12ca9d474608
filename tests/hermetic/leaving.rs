//! Leaving: `close`, the last handle, the end of the runtime.

use std::time::Duration;

use mqtt::packet::PacketRef;
use mqtt::{EndCause, Outcome, Publish, PublishError, QoS, Wait, WaitCause};

use crate::harness::{
    Broker, answer_subscribe, expect_disconnect, expect_qos_1, options, play, play_connected,
    play_over, play_tls, puback, qos_0,
};
use crate::publishing::{ACKED, at_least_once};

#[test]
fn close_waits_for_acknowledgements_and_says_what_remains() {
    play_connected(
        options(),
        |broker| {
            let first = expect_qos_1(broker);
            expect_qos_1(broker);
            fiber::sleep(Duration::from_secs(1)).unwrap();
            broker.send(&puback(first));
            expect_disconnect(broker);
        },
        |client| {
            let first = at_least_once(client, Wait::None).unwrap();
            let second = at_least_once(client, Wait::None).unwrap();
            let began = fiber::Instant::now();
            let remaining = client.close(Duration::from_secs(5)).unwrap();
            assert_eq!(began.elapsed(), Duration::from_secs(5));
            assert_eq!((remaining.unacknowledged, remaining.unsent_bytes), (1, 0));
            assert_eq!(first.poll(), ACKED);
            assert_eq!(second.poll(), Some(Outcome::SessionLost));
            assert!(matches!(*client.ended().unwrap(), EndCause::Closed));
        },
    );
}

#[test]
fn close_with_nothing_open_takes_no_time() {
    play_connected(options(), expect_disconnect, |client| {
        let began = fiber::Instant::now();
        let remaining = client.close(Duration::from_secs(5)).unwrap();
        assert_eq!(remaining, mqtt::Remaining::default());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!client.is_connected());
        let refused = at_least_once(client, Wait::None).unwrap_err();
        assert!(matches!(refused, PublishError::Full(_)));
    });
}

#[test]
fn any_number_of_fibers_may_close_and_those_who_wait_for_room_are_told_at_once() {
    play_connected(
        options().window(1).queue_max(1, 0),
        |broker| {
            let id = expect_qos_1(broker);
            fiber::sleep(Duration::from_secs(3)).unwrap();
            broker.send(&puback(id));
            let id = expect_qos_1(broker);
            broker.send(&puback(id));
            expect_disconnect(broker);
        },
        |client| {
            at_least_once(client, Wait::None).unwrap();
            let mut ticket = at_least_once(client, Wait::None).unwrap();
            let began = fiber::Instant::now();
            let start = |wait_for_room: bool| {
                let client = client.clone();
                let body = move || {
                    if wait_for_room {
                        let refused = at_least_once(&client, Wait::None).unwrap_err();
                        assert!(matches!(refused, PublishError::Full(WaitCause::Closed)));
                    } else {
                        let remaining = client.close(Duration::from_secs(50)).unwrap();
                        assert_eq!(remaining, mqtt::Remaining::default());
                    }
                    began.elapsed()
                };
                fiber::spawn(body).unwrap()
            };
            let fibers = [true, true, false, false, false].map(start);
            let took = fibers.map(|mut fiber| fiber.join().unwrap().as_secs());
            assert_eq!(took, [0, 0, 3, 3, 3]);
            assert_eq!(ticket.outcome().ok(), ACKED);
        },
    );
}

#[test]
fn close_waits_for_qos_0_to_be_sent_as_well() {
    play_over(
        10_000,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            for _ in 0..10 {
                fiber::sleep(Duration::from_secs(1)).unwrap();
                broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            }
            expect_disconnect(broker);
        },
        |client| {
            client.connect().unwrap();
            for _ in 0..10 {
                client.publish(Publish::to("m", &[0; 10_000])).unwrap();
            }
            let remaining = client.close(Duration::from_secs(20)).unwrap();
            assert_eq!(remaining, mqtt::Remaining::default());
            assert!(matches!(*client.ended().unwrap(), EndCause::Closed));
        },
    );
}

#[test]
fn dropping_the_last_handle_sends_what_was_published_and_then_disconnect() {
    play_connected(
        options(),
        |broker| {
            broker.expect(&qos_0("last", b"words"));
            expect_disconnect(broker);
        },
        |client| {
            let other = client.clone();
            other.publish(Publish::to("last", "words")).unwrap();
        },
    );
}

#[test]
fn a_client_that_is_dropped_in_a_hurry_still_says_goodbye() {
    // The main fiber returns at once: the runtime shuts down with the connection open.
    let said = std::rc::Rc::new(std::cell::Cell::new(false));
    let goodbye = std::rc::Rc::clone(&said);
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(move || {
            let (ours, theirs) = fiber::net::pipe(4096);
            let client = mqtt::Client::over(ours, options());
            let mut broker = Broker::new(theirs);
            fiber::scope(|s| {
                s.spawn(|| {
                    broker.accept(false, |_| ());
                    Ok(())
                })
                .unwrap();
                client.connect().map(drop)
            })
            .unwrap();
            fiber::spawn(move || {
                // Its waits fail, what is there can be read without waiting.
                let _ = fiber::yield_now();
                let _ = fiber::yield_now();
                let mut buffer = [0; 16];
                let n = broker.stream().try_read(&mut buffer).unwrap();
                goodbye.set(n.is_some_and(|n| buffer[..n] == [0xe0, 0]));
            })
            .unwrap();
        })
        .unwrap();
    assert!(said.get(), "expected DISCONNECT");
}

#[test]
fn close_returns_when_a_tls_transport_has_let_the_last_byte_go() {
    play_tls(
        10,
        options(),
        |broker| {
            std::io::Write::flush(&mut broker.stream()).unwrap();
            fiber::sleep(Duration::from_millis(1_500)).unwrap();
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Disconnect(_))));
            // A stream that was cut off would be an error here.
            broker.expect_end();
        },
        |client| {
            let began = fiber::Instant::now();
            client.close(Duration::from_secs(5)).unwrap();
            assert_eq!(began.elapsed(), Duration::from_millis(1_500));
        },
    );
}

#[test]
fn the_end_of_the_connection_lets_go_of_the_handlers_and_what_they_hold() {
    play_connected(
        options(),
        |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            broker.send(&qos_0("busy", b""));
            expect_disconnect(broker);
        },
        |client| {
            let held = std::rc::Rc::new(());
            for filter in ["idle", "busy"] {
                let (held, client_too) = (std::rc::Rc::clone(&held), client.clone());
                let handler = move |_: &_, _: &_| {
                    let _ = (&held, client_too.is_connected());
                    Ok(fiber::sleep(Duration::from_secs(1))?)
                };
                client.subscribe(filter, QoS::AtMostOnce, handler).unwrap();
            }
            fiber::yield_now().unwrap();
            client.close(Duration::from_secs(1)).unwrap();
            fiber::sleep(Duration::from_secs(5)).unwrap();
            assert_eq!(std::rc::Rc::strong_count(&held), 1);
        },
    );
}

#[test]
fn close_while_connecting_still_sends_what_was_published() {
    play(
        options(),
        |broker| {
            fiber::sleep(Duration::from_secs(1)).unwrap();
            broker.accept(false, |_| ());
            let id = expect_qos_1(broker);
            broker.send(&puback(id));
            expect_disconnect(broker);
        },
        |client| {
            let ticket = at_least_once(client, Wait::None).unwrap();
            let other = client.clone();
            let mut connecting = fiber::spawn(move || other.connect()).unwrap();
            fiber::yield_now().unwrap();
            let remaining = client.close(Duration::from_secs(5)).unwrap();
            assert_eq!(remaining, mqtt::Remaining::default());
            assert_eq!(ticket.poll(), ACKED);
            assert!(!connecting.join().unwrap().unwrap());
        },
    );
}

#[test]
fn tickets_outlive_their_client_and_its_runtime() {
    let mut tickets = fiber::Runtime::builder()
        .paused_clock(true)
        .run(|| {
            let (ours, _theirs) = fiber::net::pipe(1_000);
            let client = mqtt::Client::over(ours, options());
            let at_least_once = at_least_once(&client, Wait::None).unwrap();
            let at_most_once = client.publish(Publish::to("m", "")).unwrap();
            assert_eq!((at_least_once.poll(), at_most_once.poll()), (None, None));
            [at_least_once, at_most_once]
        })
        .unwrap();
    for ticket in &mut tickets {
        assert_eq!(ticket.poll(), Some(Outcome::Withdrawn));
        assert!(matches!(
            ticket.outcome(),
            Err(WaitCause::ConnectionLost(_))
        ));
    }
}

#[test]
fn the_end_of_the_runtime_ends_every_phase_in_time_and_closes_the_socket() {
    for phase in 0..4 {
        let (ours, theirs) = fiber::net::pipe(100);
        let closed = std::rc::Rc::new(std::cell::Cell::new(false));
        let say_closed = std::rc::Rc::clone(&closed);
        let began = fiber::Instant::now();
        fiber::Runtime::builder()
            .run(move || {
                let client = mqtt::Client::over(ours, options());
                let mut broker = Broker::new(theirs);
                let connect = client.clone();
                let connecting = fiber::spawn(move || connect.connect().map(drop)).unwrap();
                if phase > 0 {
                    broker.accept(false, |_| ());
                    let mut connecting = connecting;
                    connecting.join().unwrap().unwrap();
                }
                if phase > 1 {
                    // More than the pipe takes.
                    client.publish(Publish::to("m", &[0; 10_000])).unwrap();
                    fiber::yield_now().unwrap();
                }
                if phase > 2 {
                    fiber::spawn(move || client.close(Duration::from_secs(60))).unwrap();
                    fiber::yield_now().unwrap();
                }
                fiber::spawn(move || {
                    // This wait fails by the end of the runtime, and then all do: what is there is
                    // read without.
                    let _ = fiber::sleep(Duration::from_secs(60));
                    let mut buffer = [0; 1_000];
                    for _ in 0..10 {
                        let _ = fiber::yield_now();
                        if let Ok(Some(0)) = broker.stream().try_read(&mut buffer) {
                            say_closed.set(true);
                        }
                    }
                })
                .map(drop)
                .unwrap();
            })
            .unwrap();
        assert!(closed.get(), "the socket is open in phase {phase}");
        assert!(began.elapsed() < Duration::from_secs(1), "phase {phase}");
    }
}
