//! The workloads of the suite, and what is to be reached.

use crate::mqtt::task::{Kind, Task};
use crate::suites::mqtt::measure::{Goals, Spec};
use crate::suites::mqtt::peers;
use crate::suites::mqtt::server::Place;

/// Bytes of a payload unless a name says otherwise.
const PAYLOAD: usize = 256;
/// Messages on their way unless a name says otherwise.
const WINDOW: usize = 100;
/// Messages that are counted: so many that what is published at QoS 0 has to wait for room.
const COUNTED: usize = 20_000;
/// The same where they go one by one.
const COUNTED_SINGLE: usize = 2_000;
/// Connections that are counted.
const COUNTED_CONNECTIONS: usize = 100;

fn task(kind: Kind, qos: u8, count: usize) -> Task {
    Task {
        kind,
        qos,
        bytes: PAYLOAD,
        window: WINDOW,
        count,
    }
}

fn spec(name: &'static str, place: Place, task: Task, counted: Option<usize>) -> Spec {
    Spec {
        name,
        place,
        task,
        counted,
        peers: peers::of(place, task),
        goals: Goals::default(),
    }
}

/// Everything, in the order in which it is measured and printed.
pub(super) fn specs() -> Vec<Spec> {
    let mut specs = publishing();
    specs.extend(receiving());
    specs.extend(one_by_one());
    specs.extend(sizes());
    specs.extend(windows());
    specs.extend(mosquitto());
    specs.extend(tls());
    specs
}

/// `all`: instructions, system calls, share of raw, times rumqttc.
fn goals(all: [Option<f64>; 4]) -> Goals {
    let [instructions, calls, of_raw, of_rumqttc] = all;
    Goals {
        instructions,
        calls,
        of_raw,
        of_rumqttc,
        ..Goals::default()
    }
}

fn publishing() -> Vec<Spec> {
    let all = |values: [f64; 4]| goals(values.map(Some));
    let rows = [
        (
            "publish QoS 0",
            task(Kind::Publish, 0, 1_000_000),
            all([160.0, 0.006, 0.45, 30.0]),
        ),
        (
            "publish QoS 1",
            task(Kind::Publish, 1, 500_000),
            all([550.0, 0.035, 0.6, 12.0]),
        ),
        (
            "publish QoS 1, one fiber",
            task(Kind::Stream, 1, 500_000),
            goals([Some(400.0), None, None, None]),
        ),
        (
            "publish QoS 2",
            task(Kind::Publish, 2, 300_000),
            all([750.0, 0.07, 0.6, 10.0]),
        ),
    ];
    rows.map(|(name, task, goals)| Spec {
        goals,
        ..spec(name, Place::Sink, task, Some(COUNTED))
    })
    .into()
}

fn receiving() -> Vec<Spec> {
    let rows = [
        (
            "receive QoS 0, inline",
            task(Kind::Inline, 0, 1_000_000),
            [Some(200.0), Some(0.006), Some(0.7), Some(5.0)],
        ),
        (
            "receive QoS 0",
            task(Kind::Receive, 0, 1_000_000),
            [Some(250.0), Some(0.006), None, Some(5.0)],
        ),
        (
            "receive QoS 1, inline",
            task(Kind::Inline, 1, 500_000),
            [Some(250.0), Some(0.035), Some(0.8), Some(3.5)],
        ),
        (
            "receive QoS 1",
            task(Kind::Receive, 1, 500_000),
            [Some(350.0), Some(0.035), None, Some(3.5)],
        ),
        (
            "receive QoS 2, inline",
            task(Kind::Inline, 2, 300_000),
            [None; 4],
        ),
        ("receive QoS 2", task(Kind::Receive, 2, 300_000), [None; 4]),
    ];
    rows.map(|(name, task, all)| Spec {
        goals: goals(all),
        ..spec(name, Place::Sink, task, Some(COUNTED))
    })
    .into()
}

/// One message, or one connection, at a time.
fn single(kind: Kind, qos: u8, count: usize) -> Task {
    Task {
        window: 1,
        ..task(kind, qos, count)
    }
}

fn one_by_one() -> Vec<Spec> {
    let trip = single(Kind::Trip, 1, 50_000);
    let delay = single(Kind::Delay, 1, 20_000);
    let connect = single(Kind::Connect, 0, 2_000);
    vec![
        Spec {
            goals: goals([Some(1_400.0), Some(3.0), None, None]),
            ..spec("round trip", Place::Sink, trip, Some(COUNTED_SINGLE))
        },
        spec("round trip", Place::Sink, delay, None),
        Spec {
            goals: goals([Some(4_000.0), None, None, None]),
            ..spec(
                "connect and disconnect",
                Place::Sink,
                connect,
                Some(COUNTED_CONNECTIONS),
            )
        },
    ]
}

fn beside_quick(mut spec: Spec) -> Spec {
    spec.peers = peers::quick(spec.peers);
    spec
}

/// Other payloads. Only timed.
fn sizes() -> Vec<Spec> {
    let rows = [
        ("publish QoS 0, 16 B", Kind::Publish, 0, 16, 1_000_000),
        ("publish QoS 0, 4 KiB", Kind::Publish, 0, 4_096, 200_000),
        ("publish QoS 0, 64 KiB", Kind::Publish, 0, 65_536, 15_000),
        ("publish QoS 1, 16 B", Kind::Publish, 1, 16, 500_000),
        ("publish QoS 1, 4 KiB", Kind::Publish, 1, 4_096, 150_000),
        ("publish QoS 1, 64 KiB", Kind::Publish, 1, 65_536, 15_000),
        ("publish QoS 2, 16 B", Kind::Publish, 2, 16, 300_000),
        ("publish QoS 2, 4 KiB", Kind::Publish, 2, 4_096, 100_000),
        ("publish QoS 2, 64 KiB", Kind::Publish, 2, 65_536, 15_000),
        ("receive QoS 0, 16 B", Kind::Receive, 0, 16, 1_000_000),
        ("receive QoS 0, 4 KiB", Kind::Receive, 0, 4_096, 200_000),
        ("receive QoS 0, 64 KiB", Kind::Receive, 0, 65_536, 15_000),
        ("receive QoS 1, 16 B", Kind::Receive, 1, 16, 500_000),
        ("receive QoS 1, 4 KiB", Kind::Receive, 1, 4_096, 150_000),
        ("receive QoS 1, 64 KiB", Kind::Receive, 1, 65_536, 15_000),
    ];
    rows.map(|(name, kind, qos, bytes, count)| {
        let task = Task {
            bytes,
            ..task(kind, qos, count)
        };
        beside_quick(spec(name, Place::Sink, task, None))
    })
    .into()
}

/// Other windows. Only timed.
fn windows() -> Vec<Spec> {
    let rows = [
        ("publish QoS 1, window 1", Kind::Publish, 1, 1, 50_000),
        ("publish QoS 1, window 20", Kind::Publish, 1, 20, 300_000),
        (
            "publish QoS 1, window 1 000",
            Kind::Publish,
            1,
            1_000,
            500_000,
        ),
        ("publish QoS 2, window 20", Kind::Publish, 2, 20, 200_000),
        (
            "publish QoS 2, window 1 000",
            Kind::Publish,
            2,
            1_000,
            300_000,
        ),
        ("receive QoS 1, window 1", Kind::Receive, 1, 1, 50_000),
        ("receive QoS 1, window 20", Kind::Receive, 1, 20, 300_000),
        (
            "receive QoS 1, window 1 000",
            Kind::Receive,
            1,
            1_000,
            500_000,
        ),
    ];
    rows.map(|(name, kind, qos, window, count)| {
        let task = Task {
            window,
            ..task(kind, qos, count)
        };
        beside_quick(spec(name, Place::Sink, task, None))
    })
    .into()
}

/// A server that is in use, where acknowledgements come one by one.
fn mosquitto() -> Vec<Spec> {
    let rows = [
        (
            "Mosquitto: publish QoS 0",
            task(Kind::Publish, 0, 100_000),
            Some(COUNTED),
        ),
        (
            "Mosquitto: publish QoS 1",
            task(Kind::Publish, 1, 30_000),
            Some(COUNTED),
        ),
        (
            "Mosquitto: publish QoS 2",
            task(Kind::Publish, 2, 20_000),
            Some(COUNTED),
        ),
        (
            "Mosquitto: receive QoS 1",
            task(Kind::Receive, 1, 30_000),
            Some(COUNTED),
        ),
        (
            "Mosquitto: round trip",
            single(Kind::Trip, 1, 10_000),
            Some(COUNTED_SINGLE),
        ),
        (
            "Mosquitto: round trip",
            single(Kind::Delay, 1, 10_000),
            None,
        ),
    ];
    rows.map(|(name, task, counted)| spec(name, Place::Mosquitto, task, counted))
        .into()
}

fn tls() -> Vec<Spec> {
    let publish = Spec {
        goals: Goals {
            instructions: Some(4_000.0),
            of_rumqttc: Some(1.3),
            cpu_of_rumqttc: Some(0.65),
            ..Goals::default()
        },
        ..spec(
            "TLS: publish QoS 1",
            Place::Tls,
            task(Kind::Publish, 1, 30_000),
            Some(COUNTED),
        )
    };
    let rows = [
        (
            "TLS: round trip",
            single(Kind::Trip, 1, 10_000),
            Some(COUNTED_SINGLE),
        ),
        ("TLS: round trip", single(Kind::Delay, 1, 10_000), None),
        (
            "TLS: connect and disconnect",
            single(Kind::Connect, 0, 200),
            Some(COUNTED_CONNECTIONS),
        ),
    ];
    let rest = rows.map(|(name, task, counted)| spec(name, Place::Tls, task, counted));
    [publish].into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::specs;

    #[test]
    fn no_two_figures_have_one_name() {
        let mut names = BTreeSet::new();
        for spec in specs() {
            for name in spec.timed_names() {
                assert!(names.insert(name.clone()), "{name}");
            }
        }
    }
}
