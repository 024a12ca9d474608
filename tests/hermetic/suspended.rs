//! A program that is stopped for longer than its keep-alive, as a laptop's lid or a debugger does, and
//! goes on: `agent run` as a process of its own, against a scripted broker on the loopback interface.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fiber::net::{TcpListener, TcpStream};
use mqtt::packet::PacketRef;
use tests::process::{PROCESS_TIMEOUT, Running};
use tests::scripted::ScriptedBroker;
use tests::temp_dir::TempDir;

use crate::agent_run::{agent, agent_run, configured, number};
use crate::harness::puback;

const LIMIT: Duration = Duration::from_secs(60);
/// The least that the program takes.
const KEEP_ALIVE_SECS: u16 = 5;
const STOPPED: Duration = Duration::from_secs(KEEP_ALIVE_SECS as u64 + 1);

/// What the program sends.
enum Sent {
    Reading { sequence: u32, id: u16, dup: bool },
    Ping,
    Disconnect,
}

fn next(broker: &mut ScriptedBroker<TcpStream>) -> Sent {
    broker.receive(|packet| match packet {
        PacketRef::Publish(publish) => Sent::Reading {
            sequence: number(&String::from_utf8_lossy(publish.payload()), "sequence") as u32,
            id: publish.packet_id().expect("QoS 1").get(),
            dup: publish.dup(),
        },
        PacketRef::PingReq => Sent::Ping,
        PacketRef::Disconnect(_) => Sent::Disconnect,
        other => panic!("{other:?}"),
    })
}

fn accept(listener: &TcpListener, session_present: bool) -> ScriptedBroker<TcpStream> {
    let (stream, _) = listener.accept().unwrap();
    let mut broker = ScriptedBroker::new(stream);
    broker.accept(session_present, |connect| {
        assert_eq!(connect.fields().keep_alive_secs, KEEP_ALIVE_SECS);
    });
    broker
}

fn stop_and_go_on() {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let endpoint = format!("mqtt://{}", listener.local_addr().unwrap());
    let folder = TempDir::new("suspended");
    let rest = format!(
        "keep_alive = \"{KEEP_ALIVE_SECS}s\"\n\
         [telemetry]\ntopic = \"up\"\ninterval = \"100ms\"\nqos = 1\n"
    );
    let running = Running::start(&mut agent_run(&configured(&folder, &endpoint, &rest))).unwrap();
    let mut broker = accept(&listener, false);
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        if let Sent::Reading { sequence, id, .. } = next(&mut broker) {
            seen.insert(sequence);
            broker.send(&puback(id));
        }
    }

    running.signal("STOP");
    fiber::sleep(STOPPED).unwrap();
    running.signal("CONT");
    // Whatever else it sends, it asks at once whether the broker is there.
    let began = Instant::now();
    let mut unacknowledged = Vec::new();
    loop {
        match next(&mut broker) {
            Sent::Reading { sequence, id, .. } => {
                seen.insert(sequence);
                unacknowledged.push(id);
            }
            Sent::Ping => break,
            Sent::Disconnect => panic!("it has left"),
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    broker.send(&PacketRef::PingResp);
    for id in unacknowledged {
        broker.send(&puback(id));
    }
    // Once: it goes on as if nothing had been.
    while began.elapsed() < Duration::from_secs(3) {
        let Sent::Reading { sequence, id, dup } = next(&mut broker) else {
            panic!("it asks again, or has left");
        };
        assert!(!dup);
        seen.insert(sequence);
        broker.send(&puback(id));
    }

    // Stopped again, and the broker gives it up meanwhile: it comes back with what is unacknowledged.
    let Sent::Reading { sequence: lost, .. } = next(&mut broker) else {
        panic!("it asks again, or has left");
    };
    running.signal("STOP");
    drop(broker);
    fiber::sleep(Duration::from_secs(1)).unwrap();
    running.signal("CONT");
    let began = Instant::now();
    let mut broker = accept(&listener, true);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let mut term = Some(());
    loop {
        match next(&mut broker) {
            Sent::Reading { sequence, id, dup } => {
                assert!(dup || sequence > lost, "{sequence} was sent before");
                seen.insert(sequence);
                broker.send(&puback(id));
                if sequence > lost + 5 && term.take().is_some() {
                    running.signal("TERM");
                }
            }
            Sent::Ping => broker.send(&PacketRef::PingResp),
            Sent::Disconnect => break,
        }
    }
    let finished = running.finish(PROCESS_TIMEOUT).unwrap();
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let last = *seen.last().unwrap();
    assert_eq!(seen, (1..=last).collect(), "readings are lost");
}

#[test]
fn a_program_that_was_stopped_asks_once_at_once_comes_back_and_loses_nothing() {
    agent();
    let played = fiber::run(|| fiber::timeout(LIMIT, stop_and_go_on).map_err(|_| "too long"));
    played.unwrap().unwrap();
}
