//! The workloads of the suite, and what is to be reached.

use crate::mqtt::task::{Kind, Task};
use crate::suites::mqtt::measure::{Goals, Spec};

const ALL: &[&str] = &["rumqttc", "rumqttc-next"];
/// Bytes of a payload unless a name says otherwise.
const PAYLOAD: usize = 256;
/// Messages on their way unless a name says otherwise.
const WINDOW: usize = 100;

fn task(kind: Kind, qos: u8, count: usize) -> Task {
    Task {
        kind,
        qos,
        bytes: PAYLOAD,
        window: WINDOW,
        count,
    }
}

/// Everything, in the order in which it is measured and printed.
pub(super) fn specs() -> Vec<Spec> {
    let mut specs = publishing();
    specs.extend(receiving());
    specs.extend(one_by_one());
    specs.extend(sizes());
    specs.extend(windows());
    specs
}

/// `goals`: instructions, system calls, share of raw, times rumqttc.
fn spec(name: &'static str, task: Task, counted: usize, goals: [Option<f64>; 4]) -> Spec {
    let [instructions, calls, of_raw, of_rumqttc] = goals;
    Spec {
        name,
        task,
        counted: Some(counted),
        peers: ALL,
        goals: Goals {
            instructions,
            calls,
            of_raw,
            of_rumqttc,
        },
    }
}

fn publishing() -> Vec<Spec> {
    let all = |goals: [f64; 4]| goals.map(Some);
    let rows = [
        (
            "publish QoS 0",
            Kind::Publish,
            0,
            1_000_000,
            all([160.0, 0.006, 0.45, 30.0]),
        ),
        (
            "publish QoS 1",
            Kind::Publish,
            1,
            500_000,
            all([550.0, 0.035, 0.6, 12.0]),
        ),
        (
            "publish QoS 1, one fiber",
            Kind::Stream,
            1,
            500_000,
            [Some(400.0), None, None, None],
        ),
        (
            "publish QoS 2",
            Kind::Publish,
            2,
            300_000,
            all([750.0, 0.07, 0.6, 10.0]),
        ),
    ];
    rows.map(|(name, kind, qos, count, goals)| spec(name, task(kind, qos, count), 20_000, goals))
        .into()
}

fn receiving() -> Vec<Spec> {
    let rows = [
        (
            "receive QoS 0, inline",
            Kind::Inline,
            0,
            1_000_000,
            [Some(200.0), Some(0.006), Some(0.7), Some(5.0)],
        ),
        (
            "receive QoS 0",
            Kind::Receive,
            0,
            1_000_000,
            [Some(250.0), Some(0.006), None, Some(5.0)],
        ),
        (
            "receive QoS 1, inline",
            Kind::Inline,
            1,
            500_000,
            [Some(250.0), Some(0.035), Some(0.8), Some(3.5)],
        ),
        (
            "receive QoS 1",
            Kind::Receive,
            1,
            500_000,
            [Some(350.0), Some(0.035), None, Some(3.5)],
        ),
        ("receive QoS 2, inline", Kind::Inline, 2, 300_000, [None; 4]),
        ("receive QoS 2", Kind::Receive, 2, 300_000, [None; 4]),
    ];
    rows.map(|(name, kind, qos, count, goals)| spec(name, task(kind, qos, count), 20_000, goals))
        .into()
}

/// One message, or one connection, at a time.
fn one_by_one() -> Vec<Spec> {
    let single = |kind, qos, count| Task {
        window: 1,
        ..task(kind, qos, count)
    };
    let trip = spec(
        "round trip",
        single(Kind::Trip, 1, 50_000),
        2_000,
        [Some(1_400.0), Some(3.0), None, None],
    );
    let delay = Spec {
        counted: None,
        ..spec("round trip", single(Kind::Delay, 1, 20_000), 0, [None; 4])
    };
    let connect = spec(
        "connect and disconnect",
        single(Kind::Connect, 0, 2_000),
        200,
        [Some(4_000.0), None, None, None],
    );
    vec![trip, delay, connect]
}

/// Other payloads. Only timed.
fn sizes() -> Vec<Spec> {
    let rows = [
        ("publish QoS 0, 16 B", Kind::Publish, 0, 16, 1_000_000),
        ("publish QoS 0, 4 KiB", Kind::Publish, 0, 4_096, 300_000),
        ("publish QoS 0, 64 KiB", Kind::Publish, 0, 65_536, 30_000),
        ("publish QoS 1, 16 B", Kind::Publish, 1, 16, 500_000),
        ("publish QoS 1, 4 KiB", Kind::Publish, 1, 4_096, 200_000),
        ("publish QoS 1, 64 KiB", Kind::Publish, 1, 65_536, 20_000),
        ("receive QoS 1, 16 B", Kind::Receive, 1, 16, 500_000),
        ("receive QoS 1, 4 KiB", Kind::Receive, 1, 4_096, 200_000),
        ("receive QoS 1, 64 KiB", Kind::Receive, 1, 65_536, 20_000),
    ];
    rows.map(|(name, kind, qos, bytes, count)| Spec {
        counted: None,
        ..spec(
            name,
            Task {
                bytes,
                ..task(kind, qos, count)
            },
            0,
            [None; 4],
        )
    })
    .into()
}

/// Other windows. Only timed.
fn windows() -> Vec<Spec> {
    let rows = [
        ("publish QoS 1, window 20", Kind::Publish, 20),
        ("publish QoS 1, window 1 000", Kind::Publish, 1_000),
        ("receive QoS 1, window 20", Kind::Receive, 20),
        ("receive QoS 1, window 1 000", Kind::Receive, 1_000),
    ];
    rows.map(|(name, kind, window)| Spec {
        counted: None,
        ..spec(
            name,
            Task {
                window,
                ..task(kind, 1, 300_000)
            },
            0,
            [None; 4],
        )
    })
    .into()
}
