//! The figures of the suite: what is measured, against whom, and what is to be reached.

use crate::counts::Count;
use crate::figure::Goal;
use crate::suites::fibers::measure::How;
use crate::suites::fibers::{Spec, Value};
use crate::work::Work;

/// What the peers are known to reach, measured on two processors under Linux 6.18. Where one is worse
/// by more than a fifth the figure is marked: it may be driven badly here.
const EXPECTED: [(&str, &str, f64); 24] = [
    ("yield, 10 fibers", "tokio", 187.0),
    ("yield, 10 fibers", "may", 162.0),
    ("yield, 10 fibers", "smol", 309.0),
    ("yield, 1 000 fibers", "tokio", 155.0),
    ("yield, 1 000 fibers", "may", 410.0),
    ("yield, 1 000 fibers", "smol", 336.0),
    ("yield, 10 000 fibers", "tokio", 118.0),
    ("yield, 10 000 fibers", "may", 1_340.0),
    ("yield, 10 000 fibers", "smol", 364.0),
    ("spawn and join", "tokio", 844.0),
    ("spawn and join", "may", 4_262.0),
    ("spawn and join", "smol", 612.0),
    ("channel hop", "tokio", 580.0),
    ("channel hop", "may", 585.0),
    ("parked fiber with 1 KiB of locals", "may", 8_650.0),
    ("most guarded fibers", "may", 32_750.0),
    ("arm and cancel a timer, 100 000 live", "tokio", 849.0),
    ("sleep of 250 us, overshoot", "tokio", 811.0),
    ("echo, 1 connection: instructions", "tokio", 1_669.0),
    ("echo, 100 connections: instructions", "tokio", 1_224.0),
    ("echo, 1 000 connections: instructions", "tokio", 1_227.0),
    ("echo, 1 connection: system calls", "tokio", 3.0),
    ("echo, 100 connections: system calls", "tokio", 2.02),
    ("echo, 1 000 connections: system calls", "tokio", 2.11),
];

/// What `peer` is known to reach in a figure.
pub(super) fn expected(figure: &str, peer: &str) -> Option<f64> {
    let row = EXPECTED
        .iter()
        .find(|(name, who, _)| *name == figure && *who == peer);
    row.map(|(_, _, value)| *value)
}

const ALL: &[&str] = &["tokio", "may", "smol"];
const TOKIO: &[&str] = &["tokio"];
/// Those whose instructions are the same in every run; may's threads take turns as they like.
const COUNTABLE: &[&str] = &["tokio", "smol"];
const MAY: &[&str] = &["may"];

fn one(
    name: &str,
    unit: &'static str,
    goal: Goal,
    how: How,
    peers: &'static [&'static str],
) -> Spec {
    let value = Value {
        name: name.to_owned(),
        unit,
        goal,
        more_is_better: matches!(how, How::Most { .. }),
    };
    Spec {
        how,
        peers,
        values: vec![value],
    }
}

/// Everything, in the order in which it is measured and printed.
pub(super) fn specs() -> Vec<Spec> {
    let mut specs = times();
    specs.extend(memory());
    specs.extend(instructions());
    for (connections, name) in [
        (1, "1 connection"),
        (10, "10 connections"),
        (100, "100 connections"),
        (1_000, "1 000 connections"),
    ] {
        specs.extend(echo(connections, name));
    }
    specs.extend(waiting());
    specs
}

fn times() -> Vec<Spec> {
    let time =
        |name, goal, work, peers| one(name, "ns", Goal::AtMost(goal), How::Time(work), peers);
    vec![
        time(
            "yield, 10 fibers",
            20.0,
            Work::Yield {
                fibers: 10,
                count: 200_000,
            },
            ALL,
        ),
        time(
            "yield, 1 000 fibers",
            35.0,
            Work::Yield {
                fibers: 1_000,
                count: 2_000,
            },
            ALL,
        ),
        time(
            "yield, 10 000 fibers",
            80.0,
            Work::Yield {
                fibers: 10_000,
                count: 100,
            },
            ALL,
        ),
        time("spawn and join", 100.0, Work::Spawn { count: 300_000 }, ALL),
        time("channel hop", 40.0, Work::Hop { count: 1_000_000 }, ALL),
        one(
            "event hop",
            "ns",
            Goal::None,
            How::Time(Work::Event { count: 1_000_000 }),
            TOKIO,
        ),
        time(
            "arm and cancel a timer, 100 000 live",
            40.0,
            Work::Timer {
                live: 100_000,
                count: 300_000,
            },
            COUNTABLE,
        ),
    ]
}

fn memory() -> Vec<Spec> {
    let million = 1_000_000;
    vec![
        one(
            "parked fiber with 1 KiB of locals",
            "bytes",
            Goal::AtMost(4_250.0),
            How::Value {
                work: Work::Memory { fibers: 30_000 },
                value: "bytes",
            },
            ALL,
        ),
        one(
            "most guarded fibers",
            "fibers",
            Goal::AtLeast(1e6),
            How::Most {
                fibers: million,
                guards: None,
            },
            MAY,
        ),
        one(
            "most guarded fibers, guards are pages",
            "fibers",
            Goal::AtLeast(26_000.0),
            How::Most {
                fibers: million,
                guards: Some("pages"),
            },
            MAY,
        ),
    ]
}

fn instructions() -> Vec<Spec> {
    let count = |name, work, peers| one(name, "instr", Goal::None, How::Instructions(work), peers);
    vec![
        count(
            "yield: instructions",
            Work::Yield {
                fibers: 10,
                count: 20_000,
            },
            COUNTABLE,
        ),
        count(
            "spawn and join: instructions",
            Work::Spawn { count: 20_000 },
            COUNTABLE,
        ),
        count(
            "channel hop: instructions",
            Work::Hop { count: 50_000 },
            COUNTABLE,
        ),
        count(
            "event hop: instructions",
            Work::Event { count: 50_000 },
            TOKIO,
        ),
        count(
            "arm and cancel a timer: instructions",
            Work::Timer {
                live: 1_000,
                count: 20_000,
            },
            COUNTABLE,
        ),
        count(
            "TCP hop, both ends: instructions",
            Work::Tcp {
                pairs: 1,
                count: 10_000,
            },
            COUNTABLE,
        ),
    ]
}

fn echo(connections: usize, name: &str) -> Vec<Spec> {
    let named = |what: &str| format!("echo, {name}: {what}");
    // Not smol: a server that is slow because it is counted finds the next request as soon as it has
    // answered one, and smol, which looks at once, then never waits. The others wait all the same.
    let runs = (4_000, 12_000);
    let instructions = How::PerRequest {
        count: Count::Instructions,
        connections,
        runs,
    };
    let calls = How::PerRequest {
        count: Count::Calls,
        connections,
        runs,
    };
    let most_calls = match connections {
        100 => Goal::AtMost(2.02),
        _ => Goal::None,
    };
    let cpu = Goal::Ratio(if connections == 1_000 { 1.05 } else { 1.0 });
    let value = |what, unit, goal, more_is_better| Value {
        name: named(what),
        unit,
        goal,
        more_is_better,
    };
    vec![
        one(
            &named("instructions"),
            "instr",
            Goal::AtMost(450.0),
            instructions,
            TOKIO,
        ),
        one(&named("system calls"), "calls", most_calls, calls, TOKIO),
        Spec {
            how: How::EchoTime {
                connections,
                requests: if connections == 1 { 30_000 } else { 60_000 },
            },
            peers: TOKIO,
            values: vec![
                value("CPU time", "ns", cpu, false),
                value("requests", "/s", Goal::None, true),
                value("server is busy", "%", Goal::None, true),
            ],
        },
    ]
}

fn waiting() -> Vec<Spec> {
    let sleep = |micros, count, name, goal| {
        let work = Work::Overshoot { micros, count };
        one(
            name,
            "us",
            goal,
            How::Value {
                work,
                value: "overshoot_us",
            },
            ALL,
        )
    };
    vec![
        one(
            "firehose, 1 000 quiet: p99 of a wake",
            "us",
            Goal::AtMost(2_000.0),
            How::Firehose {
                quiet: 1_000,
                millis: 1_000,
            },
            ALL,
        ),
        sleep(250, 400, "sleep of 250 us, overshoot", Goal::AtMost(20.0)),
        sleep(1_100, 200, "sleep of 1 100 us, overshoot", Goal::None),
        sleep(20_300, 20, "sleep of 20 300 us, overshoot", Goal::None),
        one(
            "idle: wake-ups",
            "/s",
            Goal::AtMost(0.0),
            How::Idle { millis: 1_000 },
            ALL,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{EXPECTED, specs};

    #[test]
    fn every_expectation_is_of_a_peer_that_is_measured() {
        let specs = specs();
        for (figure, peer, _) in EXPECTED {
            let measured = specs
                .iter()
                .any(|spec| spec.values[0].name == figure && spec.peers.contains(&peer));
            assert!(measured, "{figure}: {peer}");
        }
    }

    #[test]
    fn every_name_is_there_once() {
        let specs = specs();
        let names: Vec<&str> = specs
            .iter()
            .flat_map(|spec| &spec.values)
            .map(|value| value.name.as_str())
            .collect();
        for name in &names {
            assert_eq!(
                names.iter().filter(|other| *other == name).count(),
                1,
                "{name}"
            );
        }
    }
}
