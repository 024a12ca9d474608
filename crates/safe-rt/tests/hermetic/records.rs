//! From plaintext to records: small writes fill them while there is no room, and what was accepted
//! is never more than one record ahead of the transport.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use fiber::net::PipeStream;
use safe_rt::{RECORD_PLAINTEXT_MAX, Socket, TlsVersion};

use crate::pki::SERVER_NAME;
use crate::support::{ROOMY, configurations, connected, paused};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];
const TICK: Duration = Duration::from_millis(10);
/// The type of records with content of the application.
const CONTENT: u8 = 23;

/// Carries records from one pipe to the other, as many bytes at a time as `slowly` says once the
/// handshake is over; returns the types and lengths of those behind the handshake.
fn carry_records(from: &PipeStream, to: &PipeStream, slowly: usize) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    let mut buf = vec![0; 20_000];
    loop {
        for at in 0..5 {
            if (&*from).read_exact(&mut buf[at..=at]).is_err() {
                return records;
            }
        }
        let len = usize::from(u16::from_be_bytes([buf[3], buf[4]]));
        records.push((buf[0], len));
        for part in buf[5..5 + len].chunks_mut(slowly) {
            fiber::sleep(TICK).expect("no scope is over");
            (&*from).read_exact(part).expect("the rest of a record");
        }
        (&*to).write_all(&buf[..5 + len]).expect("room");
    }
}

#[test]
fn many_small_writes_fill_records_while_there_is_no_room() {
    const WRITES: usize = 1_000;
    for version in VERSIONS {
        paused(move || {
            let (client, server) = configurations(version);
            let (ours, near) = fiber::net::pipe(2_000);
            let (far, theirs) = fiber::net::pipe(ROOMY);
            let (near, far) = (std::rc::Rc::new(near), std::rc::Rc::new(far));
            let (near_too, far_too) = (std::rc::Rc::clone(&near), std::rc::Rc::clone(&far));
            let mut carrying = fiber::spawn(move || {
                let records = carry_records(&near_too, &far_too, 1_000);
                far_too.shutdown(fiber::net::Shutdown::Write);
                records
            })
            .expect("a fiber");
            drop(fiber::spawn(move || std::io::copy(&mut &*far, &mut &*near)).expect("a fiber"));
            let mut serving = fiber::spawn(move || {
                let socket = Socket::tls_server(theirs, &server).expect("a server");
                let mut received = Vec::new();
                (&socket).read_to_end(&mut received).expect("all of it");
                received
            })
            .expect("a fiber");
            let client = Socket::tls_client(ours, &client, SERVER_NAME).expect("a client");
            let texts: Vec<Vec<u8>> = (0..WRITES).map(|n| vec![n as u8; 100]).collect();
            for text in &texts {
                (&client).write_all(text).expect("room in the end");
            }
            fiber::timeout(1_000 * TICK, || client.close())
                .expect("in time")
                .expect("room in the end");
            assert!(
                serving.join().expect("no panic") == texts.concat(),
                "other bytes"
            );

            let records = carrying.join().expect("no panic");
            let contents = records.iter().filter(|(sort, _)| *sort == CONTENT);
            let lengths: Vec<usize> = contents.map(|&(_, len)| len).collect();
            // At first there is room, and nothing waits for more to come.
            assert!(lengths.len() <= 100, "{version:?}: {lengths:?}");
            let full = lengths
                .iter()
                .filter(|&&len| len > RECORD_PLAINTEXT_MAX - 200);
            assert!(full.count() >= 5, "{version:?}: {lengths:?}");
        });
    }
}

#[test]
fn small_writes_leave_at_once_while_there_is_room() {
    for version in VERSIONS {
        paused(move || {
            let (one, other) = connected(version, ROOMY);
            for text in ["a", "bc", "def"] {
                (&one).write_all(text.as_bytes()).expect("room");
                let mut buf = [0; 10];
                let len = other.try_read(&mut buf).expect("no failure");
                assert_eq!(len.map(|len| &buf[..len]), Some(text.as_bytes()));
            }
        });
    }
}

/// A generator without pattern, from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

/// Writes, flushes and reads in an order that a seed draws.
///
/// The peer decrypts whatever left, so what it received are the bytes that were with the transport.
fn positions_hold(version: TlsVersion, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let capacity = [1, 100, 5_000, 20_000, 100_000][random.below(5)];
    let (one, other) = connected(version, capacity);
    let (mut accepted, mut received) = (Vec::new(), Vec::new());
    let mut buf = vec![0; 50_000];
    let mut next = 0_u8;
    for step in 0..200 {
        let most = [1, 200, 20_000, 70_000][random.below(4)];
        let text: Vec<u8> = (0..=random.below(most))
            .map(|_| {
                next = next.wrapping_add(1);
                next
            })
            .collect();
        let taken = one.try_write(&text).expect("no failure").unwrap_or(0);
        accepted.extend_from_slice(&text[..taken]);
        next = accepted.last().copied().unwrap_or(0);
        let flushed = random.below(3) == 0 && one.try_flush().expect("no failure");
        // All that left is taken away without a chance for more to leave.
        while random.below(4) > 0 || flushed {
            let Some(len) = other.try_read(&mut buf).expect("no failure") else {
                let ahead = accepted.len() - received.len();
                assert!(
                    ahead <= RECORD_PLAINTEXT_MAX,
                    "seed {seed} step {step}: {ahead}"
                );
                assert!(!flushed || ahead == 0, "seed {seed} step {step}: {ahead}");
                break;
            };
            received.extend_from_slice(&buf[..len]);
        }
        assert!(accepted.starts_with(&received), "seed {seed} step {step}");
    }
    let mut closing = fiber::spawn(move || {
        fiber::timeout(Duration::from_secs(3600), || one.close()).expect("in time")
    })
    .expect("a fiber");
    (&other).read_to_end(&mut received).expect("all of it");
    closing.join().expect("no panic").expect("room in the end");
    assert!(received == accepted, "seed {seed}: other bytes");
}

#[test]
fn what_was_accepted_is_at_most_one_record_ahead_after_any_sequence() {
    for version in VERSIONS {
        for seed in 0..60 {
            paused(move || positions_hold(version, seed));
        }
    }
}

#[test]
fn what_waits_for_room_is_lost_with_its_connection_and_never_said_to_have_left() {
    for version in VERSIONS {
        paused(move || {
            let (one, other) = connected(version, 100);
            while one.try_write(&[7; 1_000]).expect("no failure").is_some() {}
            drop(other);
            let error = one.try_flush().expect_err("nobody reads");
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            one.close().expect_err("nobody reads");
        });
    }
}
