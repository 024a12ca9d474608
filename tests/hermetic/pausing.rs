//! The pause that a server asks for, and dials that do not return.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::{ConnAck, PacketRef};
use mqtt::{Client, ConnectReason, Publish, QoS, Remaining};

use crate::harness::{expect_disconnect, note, options, play_open, unreachable_broker};

const HOUR: Duration = Duration::from_secs(3_600);

/// A client whose every attempt fails at once; returns when they were made.
fn never_reached() -> (Client, Rc<RefCell<Vec<Instant>>>) {
    let attempts = Rc::new(RefCell::new(Vec::new()));
    let times = Rc::clone(&attempts);
    let dial = move || -> Result<safe_rt::Socket, safe_rt::Error> {
        times.borrow_mut().push(Instant::now());
        Err(unreachable_broker())
    };
    (Client::open_by(dial, options()).unwrap(), attempts)
}

fn in_virtual_time(main: impl FnOnce() + 'static) {
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn no_attempt_is_made_during_a_pause_whoever_asks_for_one_and_then_they_go_on() {
    in_virtual_time(|| {
        let (client, attempts) = never_reached();
        let events = note(&client);
        fiber::sleep(Duration::from_secs(600)).unwrap();
        let before = attempts.borrow().len();
        events.borrow_mut().clear();
        let begin = Instant::now();
        client.pause_for(HOUR);
        for _ in 0..3_500 {
            fiber::sleep(Duration::from_secs(1)).unwrap();
            client.retry_now();
        }
        assert_eq!(*events.borrow(), ["paused"]);
        assert_eq!(attempts.borrow().len(), before);
        fiber::sleep(HOUR).unwrap();
        let attempts = attempts.borrow();
        let first = attempts[before] - begin;
        assert!(first >= HOUR, "{first:?}");
        assert!(first <= HOUR + Duration::from_secs(30), "{first:?}");
        assert!(attempts.len() > before + 20, "{} attempts", attempts.len());
    });
}

#[test]
fn clients_that_were_told_the_same_come_back_one_by_one() {
    in_virtual_time(|| {
        let clients: Vec<_> = (0..100).map(|_| never_reached()).collect();
        let end = Instant::now() + HOUR;
        for (client, _) in &clients {
            client.pause_until(end);
        }
        fiber::sleep(HOUR + Duration::from_secs(31)).unwrap();
        let firsts = clients
            .iter()
            .map(|(_, attempts)| attempts.borrow()[0] - end);
        let mut by_second = [0; 31];
        for first in firsts {
            by_second[first.as_secs() as usize] += 1;
        }
        assert!(by_second.iter().all(|count| *count < 20), "{by_second:?}");
    });
}

#[test]
fn the_last_pause_counts_and_one_that_has_passed_ends_it() {
    in_virtual_time(|| {
        let (client, attempts) = never_reached();
        client.pause_for(HOUR);
        client.pause_for(10 * HOUR);
        fiber::sleep(2 * HOUR).unwrap();
        assert_eq!(attempts.borrow().len(), 0);
        client.pause_until(Instant::now());
        fiber::sleep(Duration::from_secs(31)).unwrap();
        assert_ne!(attempts.borrow().len(), 0);
        // An end of a pause may be asked to be short.
        client.pause_for(HOUR);
        let before = attempts.borrow().len();
        fiber::sleep(HOUR).unwrap();
        client.retry_now();
        fiber::sleep(Duration::from_millis(1_001)).unwrap();
        // The one that was asked for, and perhaps the next.
        let made = attempts.borrow().len() - before;
        assert!((1..=2).contains(&made), "{made}");
    });
}

#[test]
fn a_pause_leaves_the_connection_and_holds_back_the_next_one() {
    play_open(
        options().keep_alive(Duration::ZERO),
        |links| {
            let mut first = links.accept(false);
            first.expect(&crate::harness::qos_0("m", b"during the pause"));
            drop(first);
            let began = Instant::now();
            let mut second = links.accept(true);
            let waited = began.elapsed();
            assert!(waited > Duration::from_secs(3_500), "{waited:?}");
            expect_disconnect(&mut second);
        },
        |client| {
            client.wait_connected().unwrap();
            let events = note(client);
            client.pause_for(HOUR);
            fiber::sleep(Duration::from_secs(10)).unwrap();
            assert!(client.is_connected());
            client
                .publish(Publish::to("m", "during the pause"))
                .unwrap();
            fiber::sleep(Duration::from_secs(4_000)).unwrap();
            let told = events.borrow();
            let again = "disconnected, the broker closed the connection, again: true";
            assert_eq!(told.len(), 3, "{told:?}");
            assert_eq!(told[..2], ["paused", again]);
        },
    );
}

#[test]
fn a_refusal_that_asks_for_a_pause_gets_it() {
    play_open(
        options(),
        |links| {
            let mut broker = links.next();
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Connect(_))));
            let busy = ConnAck::refused(ConnectReason::ServerUnavailable);
            broker.send(&PacketRef::ConnAck(busy));
            broker.expect_end();
            let began = Instant::now();
            let mut broker = links.accept(false);
            assert!(began.elapsed() >= HOUR);
            expect_disconnect(&mut broker);
        },
        |client| {
            client.on_event(|client, event| {
                if matches!(event, mqtt::Event::ConnectFailed { .. }) {
                    client.pause_for(HOUR);
                }
            });
            client.wait_connected().unwrap();
        },
    );
}

#[test]
fn a_pause_ends_an_attempt_before_connect_is_sent() {
    for returns_a_socket in [false, true] {
        in_virtual_time(move || {
            let attempts = Rc::new(Cell::new(0));
            let count = Rc::clone(&attempts);
            let peers = Rc::new(RefCell::new(Vec::new()));
            let kept = Rc::clone(&peers);
            let dial = move || -> Result<safe_rt::Socket, safe_rt::Error> {
                count.set(count.get() + 1);
                let waited = fiber::sleep(Duration::from_secs(20));
                if returns_a_socket {
                    // Though it was told to stop.
                    let (ours, theirs) = fiber::net::pipe(1_000);
                    kept.borrow_mut().push(theirs);
                    return Ok(ours.into());
                }
                waited.unwrap_err();
                Err(unreachable_broker())
            };
            let client = Client::open_by(dial, options()).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            client.pause_for(HOUR);
            fiber::sleep(HOUR).unwrap();
            assert_eq!(attempts.get(), 1);
            for peer in &*peers.borrow() {
                let mut byte = [0];
                assert_eq!(
                    peer.try_read(&mut byte).unwrap(),
                    Some(0),
                    "nothing was sent"
                );
            }
            client.close(Duration::ZERO).unwrap();
        });
    }
}

#[test]
fn a_dial_that_ignores_its_end_holds_up_no_close() {
    in_virtual_time(|| {
        let dial = || -> Result<safe_rt::Socket, safe_rt::Error> {
            let end = Instant::now() + HOUR;
            while Instant::now() < end {
                // Waits that fail are taken for nothing.
                let _ = fiber::shield(HOUR, || fiber::sleep(Duration::from_secs(1)));
            }
            Err(unreachable_broker())
        };
        let client = Client::open_by(dial, options()).unwrap();
        fiber::sleep(Duration::from_secs(10)).unwrap();
        let publish = Publish::to("m", "1").qos(QoS::AtLeastOnce);
        let ticket = client.publish(publish).unwrap();
        let began = Instant::now();
        let remaining = client.close(Duration::from_secs(2)).unwrap();
        assert_eq!(remaining.unacknowledged, 1);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert_eq!(ticket.poll(), Some(mqtt::Outcome::Withdrawn));
        assert_ne!(remaining, Remaining::default());
    });
}

#[test]
fn the_client_keeps_its_time_while_a_dial_takes_its_own() {
    play_open(
        options().manual_ack_timeout(Duration::from_secs(5)),
        |links| {
            let mut first = links.accept(false);
            crate::harness::answer_subscribe(&mut first, &[]);
            first.send(&crate::harness::qos_1("a", b"", 1));
            fiber::sleep(Duration::from_secs(1)).unwrap();
            drop(first);
            // CONNECT comes, and no answer.
            let mut second = links.next();
            second.receive(|_| ());
            fiber::sleep(Duration::from_secs(20)).unwrap();
        },
        |client| {
            let manual = mqtt::Subscribe::to("a", QoS::AtLeastOnce).ack(mqtt::Ack::Manual);
            client.subscribe_as(manual, |_, _| Ok(())).unwrap();
            fiber::sleep(Duration::from_secs(10)).unwrap();
            assert_eq!(client.stats().acks_expired, 1);
            client.close(Duration::ZERO).unwrap();
        },
    );
}
