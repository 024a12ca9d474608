//! Brokers that let nobody stay: how often the client comes back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::packet::{ConnAck, PacketRef};
use mqtt::{Broker, BrokerOptions, Client, ConnectReason, QoS, Subscribe, Wait};

use crate::harness::{answer_subscribe, note, options, play_open, qos_0};

const HOUR: Duration = Duration::from_secs(3_600);

/// Plays a broker that does the same with each connection, until the client has tried that often;
/// returns the pauses from the end of one to the next.
fn pauses(count: usize, play: impl Fn(&mut crate::harness::Broker) + 'static) -> Vec<Duration> {
    let pauses = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&pauses);
    let done = Rc::new(Cell::new(false));
    let is_done = Rc::clone(&done);
    play_open(
        options(),
        move |links| {
            let mut ended: Option<Instant> = None;
            for _ in 0..count {
                let mut broker = links.next();
                noted.borrow_mut().extend(ended.map(|at| at.elapsed()));
                play(&mut broker);
                drop(broker);
                ended = Some(Instant::now());
            }
            is_done.set(true);
        },
        move |client| {
            while !done.get() {
                fiber::sleep(Duration::from_secs(1)).unwrap();
            }
            client.close(Duration::ZERO).unwrap();
        },
    );
    pauses.take()
}

fn mean(pauses: &[Duration]) -> Duration {
    pauses.iter().sum::<Duration>() / u32::try_from(pauses.len()).unwrap()
}

#[test]
fn each_refusal_is_paced_by_what_it_means() {
    for code in 1..=5 {
        let reason = ConnectReason::from_code(code).unwrap();
        let pauses = pauses(40, move |broker| {
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Connect(_))));
            broker.send(&PacketRef::ConnAck(ConnAck::refused(reason)));
            broker.expect_end();
        });
        let later = mean(&pauses[10..]);
        // Half of the cap, evenly spread.
        let expected = if reason == ConnectReason::ServerUnavailable {
            30..90
        } else {
            150..450
        };
        assert!(expected.contains(&later.as_secs()), "{reason:?}: {later:?}");
        let most = if reason == ConnectReason::ServerUnavailable {
            1
        } else {
            30
        };
        assert!(
            pauses[0] <= Duration::from_secs(most),
            "{reason:?}: {:?}",
            pauses[0]
        );
    }
}

#[test]
fn from_the_third_short_connection_running_pauses_are_long() {
    let pauses = pauses(40, |broker| {
        broker.accept(true, |_| ());
        fiber::sleep(Duration::from_secs(59)).unwrap();
    });
    let second = Duration::from_secs(1);
    assert!(
        pauses[..2].iter().all(|pause| *pause <= 2 * second),
        "{pauses:?}"
    );
    let later = mean(&pauses[10..]);
    assert!((150..450).contains(&later.as_secs()), "{later:?}");
    assert!(
        pauses.iter().all(|pause| *pause <= 600 * second),
        "{pauses:?}"
    );
}

#[test]
fn the_pauses_begin_anew_after_a_connection_that_was_stable_and_answered() {
    // Connections of 61 s do not flap. Without a word of the broker behind CONNACK none is good.
    for answers in [false, true] {
        let pauses = pauses(30, move |broker| {
            broker.accept(true, |_| ());
            fiber::sleep(Duration::from_secs(1)).unwrap();
            if answers {
                broker.send(&PacketRef::PingResp);
            }
            fiber::sleep(Duration::from_secs(60)).unwrap();
        });
        let longest = pauses.iter().max().unwrap();
        if answers {
            assert!(*longest <= Duration::from_secs(1), "{pauses:?}");
        } else {
            assert!(*longest > Duration::from_secs(30), "{pauses:?}");
        }
    }
    // Shorter than 30 s is not stable, however much was said.
    let pauses = pauses(12, |broker| {
        broker.accept(true, |_| ());
        fiber::sleep(Duration::from_secs(1)).unwrap();
        broker.send(&PacketRef::PingResp);
        fiber::sleep(Duration::from_secs(28)).unwrap();
    });
    assert!(
        pauses[4..].iter().max().unwrap() > &Duration::from_secs(30),
        "{pauses:?}"
    );
}

#[test]
fn two_clients_with_one_identifier_do_not_fight_in_a_loop() {
    let main = || {
        let broker = Broker::new(BrokerOptions::new());
        let attempts = Rc::new(RefCell::new(Vec::new()));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (broker, attempts) = (broker.clone(), Rc::clone(&attempts));
                let dial = move || {
                    attempts.borrow_mut().push(Instant::now());
                    let (ours, theirs) = fiber::net::pipe(10_000);
                    broker.attach(theirs).unwrap();
                    Ok(ours.into())
                };
                Client::open_by(dial, options()).unwrap()
            })
            .collect();
        let began = Instant::now();
        fiber::sleep(2 * HOUR).unwrap();
        let attempts = attempts.borrow();
        let in_first_minute = attempts
            .iter()
            .filter(|at| **at - began < Duration::from_secs(60))
            .count();
        assert!(in_first_minute < 20, "{in_first_minute}");
        let later = attempts.iter().filter(|at| **at - began >= HOUR).count();
        assert!((2..60).contains(&later), "{later} attempts in an hour");
        for client in &clients {
            client.close(Duration::ZERO).unwrap();
        }
    };
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

#[test]
fn the_same_malformed_packet_three_times_running_is_told_and_pauses_are_long() {
    let events = Rc::new(RefCell::new(Rc::default()));
    let told = Rc::clone(&events);
    let main_pauses = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&main_pauses);
    play_open(
        options().keep_alive(Duration::ZERO),
        move |links| {
            let mut ended: Option<Instant> = None;
            for turn in 0..8 {
                let mut broker = links.accept(turn > 0);
                noted.borrow_mut().extend(ended.map(|at| at.elapsed()));
                if turn == 0 {
                    answer_subscribe(&mut broker, &[]);
                }
                // Long enough for this not to be flapping.
                fiber::sleep(Duration::from_secs(61)).unwrap();
                let dup = if turn > 0 { 0x3a } else { 0x32 };
                // QoS 1 under the identifier 0.
                broker.send_bytes(&[dup, 5, 0, 1, b'a', 0, 0]);
                broker.expect_end();
                ended = Some(Instant::now());
            }
            let mut last = links.accept(true);
            last.send(&qos_0("a", b""));
            fiber::sleep(Duration::from_secs(1)).unwrap();
        },
        move |client| {
            told.replace(note(client));
            let subscribe = Subscribe::to("a", QoS::AtLeastOnce).wait(Wait::None);
            let came = Rc::new(Cell::new(false));
            let comes = Rc::clone(&came);
            let handler = move |_: &Client, _: &mqtt::Message| {
                comes.set(true);
                Ok(())
            };
            client.subscribe_as(subscribe, handler).unwrap();
            for _ in 0..10_000 {
                if !came.get() {
                    fiber::sleep(Duration::from_secs(1)).unwrap();
                }
            }
            assert!(came.get());
            client.close(Duration::ZERO).unwrap();
        },
    );
    let told = events.take().take();
    let poison = told.iter().filter(|event| event.starts_with("poison, "));
    assert_eq!(poison.count(), 6, "{told:?}");
    let pauses = main_pauses.take();
    assert!(
        pauses[..2]
            .iter()
            .all(|pause| *pause <= Duration::from_secs(4)),
        "{pauses:?}"
    );
    let longest = pauses[2..].iter().max().unwrap();
    assert!(*longest > Duration::from_secs(5), "{pauses:?}");
}
