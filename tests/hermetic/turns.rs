//! The turns that a connection takes: none where nothing happens, and never all of them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::PacketRef;
use mqtt::{Publish, QoS, Wait};

use crate::harness::{expect_disconnect, options, play_connected, play_over, play_tls};

/// Counts the turns of a fiber that never waits, as long as it lives.
fn count_turns() -> (Rc<Cell<u32>>, fiber::JoinHandle<()>) {
    let turns = Rc::new(Cell::new(0));
    let counter = Rc::clone(&turns);
    let count = move || {
        while fiber::yield_now().is_ok() {
            counter.set(counter.get() + 1);
        }
    };
    (turns, fiber::spawn(count).unwrap())
}

#[test]
fn writing_much_to_a_fast_peer_lets_other_fibers_run() {
    play_connected(
        options(),
        |broker| {
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Publish(_))));
            expect_disconnect(broker);
        },
        |client| {
            let payload = vec![0; 3 << 20];
            let (turns, counting) = count_turns();
            let publish = Publish::to("m", &payload);
            client.publish(publish.wait(Wait::Sent)).unwrap();
            assert!(turns.get() >= 10, "{} turns", turns.get());
            counting.cancel();
        },
    );
}

#[test]
fn reading_much_from_a_fast_tls_peer_lets_other_fibers_run() {
    const COUNT: usize = 3_000;
    play_tls(
        4 << 20,
        options(),
        |broker| {
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Subscribe(_))));
            broker.send_bytes(&[0x90, 3, 0, 1, 0]);
            // Each in a record of its own, and all of them there before the client looks.
            for _ in 0..COUNT {
                let sent = broker.stream().try_write(b"\x30\x03\x00\x01a");
                assert_eq!(sent.unwrap(), Some(5));
            }
            broker.receive(|packet| assert!(matches!(packet, PacketRef::Disconnect(_))));
        },
        |client| {
            client
                .subscribe("a", QoS::AtMostOnce, |_, _| Ok(()))
                .unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let stats = client.stats();
            assert_eq!((stats.received, stats.dropped), (COUNT as u64, 0));
        },
    );
}

#[test]
fn a_peer_that_reads_slowly_or_not_at_all_costs_no_turns() {
    play_over(
        1_000,
        options(),
        |broker| {
            broker.accept(false, |_| ());
            fiber::sleep(Duration::from_secs(20)).unwrap();
            let mut buffer = [0; 500];
            for _ in 0..100 {
                std::io::Read::read_exact(&mut broker.stream(), &mut buffer).unwrap();
                fiber::sleep(Duration::from_secs(1)).unwrap();
            }
        },
        |client| {
            client.connect().unwrap();
            client.publish(Publish::to("m", &[0; 100_000])).unwrap();
            fiber::sleep(Duration::from_secs(1)).unwrap();
            let resumes = || fiber::stats().resumes;
            let before = resumes();
            fiber::sleep(Duration::from_secs(18)).unwrap();
            assert!(resumes() - before <= 1, "{} turns", resumes() - before);
            client.ended().unwrap();
            assert!(resumes() - before <= 500, "{} turns", resumes() - before);
        },
    );
}

#[test]
fn without_keep_alive_nothing_wakes_an_idle_client() {
    play_connected(
        options().keep_alive(Duration::ZERO),
        |broker| {
            broker.expect_silence(Duration::from_secs(80_000));
            expect_disconnect(broker);
        },
        |client| {
            // The log's buffer is looked after once.
            fiber::sleep(Duration::from_secs(60)).unwrap();
            let resumes = fiber::stats().resumes;
            fiber::sleep(Duration::from_secs(80_000)).unwrap();
            assert!(fiber::stats().resumes - resumes <= 2);
            assert!(client.is_connected());
        },
    );
}
