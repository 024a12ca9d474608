//! What the events of a connection and the rest of a close say, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::store::Memory;
use mqtt::{Client, Event, Publish, QoS, Remaining, Wait};

use crate::harness::{
    answer_subscribe, expect_disconnect, expect_qos_1, options, play_open, puback,
    unreachable_broker,
};
use crate::slow_disk::SlowDisk;

const SECOND: Duration = Duration::from_secs(1);

fn message(qos: QoS) -> Publish<'static> {
    Publish::to("m", "1234").qos(qos)
}

#[test]
fn a_transport_is_told_before_what_comes_of_connect() {
    play_open(
        options(),
        |links| {
            drop(links.next());
            drop(links.accept(false));
            expect_disconnect(&mut links.accept(true));
        },
        |client| {
            let told = Rc::new(RefCell::new(Vec::new()));
            let noted = Rc::clone(&told);
            client.on_event(move |_, event| {
                noted.borrow_mut().push(match event {
                    Event::Attach => "attach",
                    Event::Connected { .. } => "connected",
                    Event::Disconnected { .. } => "disconnected",
                    Event::ConnectFailed { .. } => "failed",
                    other => panic!("{other:?}"),
                });
            });
            fiber::sleep(60 * SECOND).unwrap();
            client.close(SECOND).unwrap();
            fiber::sleep(SECOND).unwrap();
            let [failed, short] = [["attach", "failed"], ["attach", "connected"]];
            let expected = [
                &failed[..],
                &short,
                &["disconnected"],
                &short,
                &["disconnected"],
            ];
            assert_eq!(*told.borrow(), expected.concat());
        },
    );
}

#[test]
fn a_dial_that_fails_attaches_nothing_and_a_given_connection_is_attached_by_connect() {
    let main = || {
        let told = Rc::new(RefCell::new(Vec::new()));
        let note = |client: &Client| {
            let noted = Rc::clone(&told);
            client.on_event(move |_, event| {
                noted.borrow_mut().push(matches!(event, Event::Attach));
            });
        };
        let client = Client::open_by(|| Err(unreachable_broker()), options()).unwrap();
        note(&client);
        fiber::sleep(10 * SECOND).unwrap();
        client.close(Duration::ZERO).unwrap();
        assert!(!told.borrow().contains(&true));
        told.borrow_mut().clear();

        let client = Client::over(fiber::net::pipe(100).0, options());
        note(&client);
        fiber::sleep(SECOND).unwrap();
        assert!(told.borrow().is_empty());
        client.connect_as(Wait::None).unwrap();
        fiber::sleep(SECOND / 10).unwrap();
        assert!(told.borrow()[0]);
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn the_end_of_a_connection_says_when_something_was_last_sent_and_acknowledged() {
    play_open(
        options().keep_alive(Duration::ZERO),
        |links| {
            let mut broker = links.accept(false);
            fiber::sleep(3 * SECOND).unwrap();
            drop(broker);
            broker = links.accept(true);
            answer_subscribe(&mut broker, &[]);
            let number = expect_qos_1(&mut broker);
            fiber::sleep(5 * SECOND).unwrap();
            broker.send(&puback(number));
            expect_qos_1(&mut broker);
            fiber::sleep(7 * SECOND).unwrap();
            drop(broker);
            let mut broker = links.accept(true);
            let number = expect_qos_1(&mut broker);
            broker.send(&puback(number));
            expect_disconnect(&mut broker);
        },
        |client| {
            let told = Rc::new(RefCell::new(Vec::new()));
            let noted = Rc::clone(&told);
            client.on_event(move |_, event| {
                if let Event::Disconnected {
                    last_sent,
                    last_acked,
                    ..
                } = event
                {
                    noted
                        .borrow_mut()
                        .push((Instant::now(), *last_sent, *last_acked));
                }
            });
            client.wait_connected().unwrap();
            let connected = Instant::now();
            fiber::sleep(4 * SECOND).unwrap();
            client.wait_connected().unwrap();
            client
                .subscribe("a", QoS::AtLeastOnce, |_, _| Ok(()))
                .unwrap();
            client
                .publish(message(QoS::AtLeastOnce).wait(Wait::Ack))
                .unwrap();
            let acknowledged = Instant::now();
            fiber::sleep(2 * SECOND).unwrap();
            let mut ticket = client
                .publish(message(QoS::AtLeastOnce).wait(Wait::Sent))
                .unwrap();
            let sent = Instant::now();
            ticket.outcome().unwrap();
            client.close(SECOND).unwrap();
            let told = told.borrow();
            let (at, last_sent, last_acked) = told[0];
            assert_eq!((at, last_acked), (connected + 3 * SECOND, None));
            assert_eq!(last_sent, Some(connected));
            let (at, last_sent, last_acked) = told[1];
            assert_eq!(at, sent + 7 * SECOND);
            assert_eq!((last_sent, last_acked), (Some(sent), Some(acknowledged)));
        },
    );
}

/// What a client has left that never reached anybody, with a message of each QoS.
#[track_caller]
fn left_offline(options: mqtt::ClientOptions) -> Remaining {
    let main = move || {
        let client = Client::open_by(|| Err(unreachable_broker()), options).unwrap();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            client.publish(message(qos)).unwrap();
        }
        client.close(SECOND).unwrap()
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap()
}

#[track_caller]
fn assert_left(remaining: Remaining, unacknowledged: usize, unsent_bytes: usize, kept: usize) {
    let found = (
        remaining.unacknowledged,
        remaining.unsent_bytes,
        remaining.kept,
    );
    assert_eq!(found, (unacknowledged, unsent_bytes, kept));
}

#[test]
fn what_a_close_left_counts_what_waited_in_the_queue_and_in_the_store() {
    // A topic of one byte and a payload of four.
    assert_left(left_offline(options()), 2, 15, 0);
    let quick = SlowDisk::new(SECOND / 100);
    assert_left(left_offline(options().store(quick)), 2, 15, 2);
    // The disk had not got so far, and was not waited for any longer.
    let stuck = SlowDisk::new(3600 * SECOND);
    assert_left(left_offline(options().store(stuck)), 2, 15, 0);
    // A store that ends with the program keeps nothing.
    assert_left(left_offline(options().store(Memory::default())), 2, 15, 0);
}

/// What a client has left whose broker acknowledges one message of those that were sent.
#[track_caller]
fn left_online(options: mqtt::ClientOptions) -> Remaining {
    let left = Rc::new(RefCell::new(None));
    let noted = Rc::clone(&left);
    play_open(
        // Two are sent, and two wait.
        options.window(2),
        |links| {
            let mut broker = links.accept(false);
            let first = expect_qos_1(&mut broker);
            expect_qos_1(&mut broker);
            fiber::sleep(SECOND).unwrap();
            broker.send(&puback(first));
            expect_qos_1(&mut broker);
            expect_disconnect(&mut broker);
        },
        move |client| {
            client.wait_connected().unwrap();
            for _ in 0..4 {
                client.publish(message(QoS::AtLeastOnce)).unwrap();
            }
            *noted.borrow_mut() = Some(client.close(5 * SECOND).unwrap());
        },
    );
    left.take().unwrap()
}

#[test]
fn what_a_close_left_counts_what_was_sent_and_not_acknowledged() {
    assert_left(left_online(options()), 3, 5, 0);
    let quick = SlowDisk::new(SECOND / 100);
    assert_left(left_online(options().store(quick)), 3, 5, 3);
}

#[test]
fn every_close_says_the_same() {
    play_open(
        options(),
        |links| {
            let mut broker = links.accept(false);
            expect_qos_1(&mut broker);
            expect_disconnect(&mut broker);
        },
        |client| {
            client.wait_connected().unwrap();
            client.publish(message(QoS::AtLeastOnce)).unwrap();
            let remaining = client.close(SECOND).unwrap();
            assert_left(remaining, 1, 0, 0);
            assert_eq!(client.close(SECOND).unwrap(), remaining);
        },
    );
}
