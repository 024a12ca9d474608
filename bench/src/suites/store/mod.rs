//! The suite of the durable store: what it costs to keep messages in memory, in files, and until the disk
//! is sure of them, beside a loop that does nothing but append and wait for the disk.

use std::process::Command;

use crate::child::{Program, Values};
use crate::counts::Count;
use crate::durable::{Errand, KEEPS, Keep};
use crate::error::Failure;
use crate::figure::{self, Figure, Goal, PeerValue};
use crate::folder::{self, Folder};
use crate::machine;
use crate::mqtt::task::{Kind, Task};
use crate::program::{CPU_VARIABLE, KEEP_VARIABLE};
use crate::rounds::{self, Samples};
use crate::suites::Options;

/// The program of ours.
const OURS: &str = "store_ours";
/// Fibers that publish, each of which waits for its message.
const WINDOW: usize = 100;
/// Messages of a run with a server.
const MESSAGES: usize = 50_000;
/// Messages of a run in which all are stored.
const COUNTED: usize = 20_000;
/// Messages of a run of paho's, which takes that much longer.
const PAHO_MESSAGES: usize = 5_000;
/// How paho is run: whether it keeps messages in files, one for each.
const PAHO: [(&str, bool); 2] = [("paho", false), ("paho, files", true)];
/// Bytes of a payload, of ours as well.
const PAYLOAD_BYTES: usize = 256;
/// Appends of the loop beside.
const APPENDS: usize = 300;
/// What is measured of a run without a server, in this order.
const STORED: [&str; 3] = ["ns", "cpu_ns", "written"];
/// And with one.
const ACKED: [&str; 5] = ["ns", "cpu_ns", "written", "p50_us", "p99_us"];

/// Measures everything that is asked for and prints a line for each figure.
///
/// # Errors
/// [`Failure`] when nothing can be measured at all.
pub fn run(options: &Options) -> Result<bool, Failure> {
    println!("{}", machine::describe());
    println!(
        "load before: {}, rounds: {}",
        machine::load(),
        options.rounds
    );
    let place = folder::place();
    println!(
        "folder: {} on {}",
        place.display(),
        file_system(&place.display().to_string())
    );
    println!("{}", figure::heading());
    let show = |figure: Figure| {
        if options.wants(&figure.name) {
            println!("{}", figure.line());
        }
    };
    let synced = match syncs(Keep::Synced) {
        Ok(synced) => Some(synced),
        Err(failure) => {
            println!(
                "{}",
                figure::line_without("syncs", &format!("not run: {failure}"))
            );
            None
        }
    };
    let stored = stored(options.rounds, synced)?;
    for (side, (keep, word)) in KEEPS.iter().enumerate() {
        let of = |value| value_of(&stored, side, value);
        let name = format!("{word}, no connection");
        show(shown(format!("{name}: messages"), 1e9 / of(0), "/s"));
        show(shown(format!("{name}: CPU time"), of(1), "ns"));
        if matches!(keep, Keep::Flushed | Keep::Synced) {
            show(shown(format!("{name}: written"), of(2), "bytes"));
        }
        if *keep == Keep::Synced
            && let Some(syncs) = synced
        {
            show(shown(
                format!("{name}: messages of a sync"),
                1.0 / syncs,
                "msgs",
            ));
            show(shown(format!("{name}: syncs"), syncs * 1e9 / of(0), "/s"));
            let alone = value_of(&stored, KEEPS.len(), 0);
            show(shown(
                "an append and its sync, alone".to_owned(),
                alone,
                "us",
            ));
            let share = alone * 1e3 / of(0) / WINDOW as f64;
            show(Figure {
                goal: Goal::AtLeast(0.8),
                more_is_better: true,
                ..shown(
                    "synced: of a window for each sync".to_owned(),
                    share,
                    "share",
                )
            });
        }
    }
    let acked = acked(options.rounds)?;
    if !paho().exists() {
        println!("{}", figure::line_without("paho", "not built: no cmake"));
    }
    for (side, (_, word)) in KEEPS.iter().enumerate() {
        let of = |value| value_of(&acked, side, value);
        let name = format!("{word}, acknowledged");
        let is_file = matches!(KEEPS[side].0, Keep::Flushed | Keep::Synced);
        let peer = PAHO.iter().position(|(_, keeps)| *keeps == is_file);
        let peer = peer.filter(|_| paho().exists());
        let theirs = |value| peer.map(|peer| value_of(&acked, KEEPS.len() + peer, value));
        let beside = |figure: Figure, value: Option<f64>| Figure {
            peers: peer_value(peer, figure.ours, value),
            ..figure
        };
        let messages = shown(format!("{name}: messages"), 1e9 / of(0), "/s");
        show(Figure {
            more_is_better: true,
            ..beside(messages, theirs(0).map(|ns| 1e9 / ns))
        });
        show(beside(
            shown(format!("{name}: CPU time"), of(1), "ns"),
            theirs(1),
        ));
        // Of theirs what is written without files as well are packets.
        let files = theirs(2).map(|bytes| bytes - value_of(&acked, KEEPS.len(), 2));
        show(beside(
            shown(format!("{name}: written"), of(2), "bytes"),
            files.filter(|_| is_file),
        ));
    }
    // Ours is the last side here, `Memory` the second.
    for (value, of_what, goal) in [
        (3, "median", Goal::Ratio(1.1)),
        (4, "99 of 100", Goal::None),
    ] {
        let [memory, ours] = [1, 3].map(|side| value_of(&acked, side, value));
        show(Figure {
            peers: vec![PeerValue {
                name: "memory",
                value: memory,
                ratio: ours / memory,
                expected: None,
            }],
            goal,
            ..shown(format!("synced: control round trip, {of_what}"), ours, "us")
        });
    }
    println!("load after: {}", machine::load());
    Ok(true)
}

/// How many syncs one message takes that is stored, in a run beside strace.
fn syncs(keep: Keep) -> Result<f64, Failure> {
    Count::Calls.check()?;
    let wrapper = [
        "strace",
        "-f",
        "-c",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,fdatasync",
    ];
    let wrapper = wrapper.map(str::to_owned);
    let values = publish(keep, COUNTED, 0, |program| program.under(&wrapper))?;
    Ok(Count::Calls.total(&values)? / COUNTED as f64)
}

/// All sides in turns without a connection, so that every message is stored; the last one is the loop that
/// appends as much as one sync of ours does.
fn stored(rounds: usize, synced: Option<f64>) -> Result<Vec<Samples>, Failure> {
    let mut written = 0.0;
    rounds::measure(rounds, KEEPS.len(), STORED.len(), |side| {
        let Some((keep, _)) = KEEPS.get(side) else {
            let bytes: f64 = written / synced.unwrap_or(1.0 / WINDOW as f64);
            return append(bytes.max(1.0)).map(|time| vec![time; STORED.len()]);
        };
        let values = publish(*keep, COUNTED, 0, |program| program)?;
        let measured = all(&values, &STORED)?;
        if *keep == Keep::Synced {
            written = measured[2];
        }
        Ok(measured)
    })
}

/// All sides in turns with a server that acknowledges at once: what is done is not written any more. The
/// last ones are paho's, where it was built.
fn acked(rounds: usize) -> Result<Vec<Samples>, Failure> {
    let others = if paho().exists() { PAHO.len() } else { 0 };
    rounds::measure(rounds, KEEPS.len() - 1 + others, ACKED.len(), |side| {
        let mut server = Program::ours("mqtt_sink")
            .variable(CPU_VARIABLE, "1")
            .start()?;
        let port = server.wait_for("port")?;
        let Some((keep, _)) = KEEPS.get(side) else {
            let (_, keeps) = PAHO[side - KEEPS.len()];
            let values = publish_by_paho(port as u16, keeps)?;
            let times = all(&values, &STORED)?;
            // It is not asked for round trips beside.
            return Ok([&times[..], &[f64::NAN, f64::NAN]].concat());
        };
        let values = publish(*keep, MESSAGES, port as u16, |program| program)?;
        all(&values, &ACKED)
    })
}

fn all(values: &Values, names: &[&str]) -> Result<Vec<f64>, Failure> {
    names.iter().map(|name| values.get(name)).collect()
}

fn publish(
    keep: Keep,
    count: usize,
    port: u16,
    wrap: impl FnOnce(Program) -> Program,
) -> Result<Values, Failure> {
    let folder = Folder::new()?;
    let errand = Errand::Publish {
        port,
        keep,
        folder: folder.file("store"),
        window: WINDOW,
        count,
    };
    wrap(Program::ours(OURS).with(&errand.words())).run()
}

/// The other client that keeps messages in files. It is built where there is a cmake.
fn paho() -> Program {
    Program::ours("mqtt_paho")
}

fn publish_by_paho(port: u16, keeps: bool) -> Result<Values, Failure> {
    let folder = Folder::new()?;
    let task = Task {
        kind: Kind::Publish,
        qos: 1,
        bytes: PAYLOAD_BYTES,
        window: WINDOW,
        count: PAHO_MESSAGES,
    };
    let words: Vec<String> = format!("{port} {task}")
        .split(' ')
        .map(str::to_owned)
        .collect();
    let keep = if keeps {
        folder.path().display().to_string()
    } else {
        String::new()
    };
    let program = paho().with(&words).variable(KEEP_VARIABLE, &keep);
    program.run()
}

/// Theirs beside ours, where it was measured.
fn peer_value(peer: Option<usize>, ours: f64, theirs: Option<f64>) -> Vec<PeerValue> {
    let peer = peer.zip(theirs).map(|(peer, value)| PeerValue {
        name: PAHO[peer].0,
        value,
        ratio: ours / value,
        expected: None,
    });
    peer.into_iter().collect()
}

/// Microseconds of one append with its sync.
fn append(bytes: f64) -> Result<f64, Failure> {
    let folder = Folder::new()?;
    let errand = Errand::Append {
        folder: folder.path().display().to_string(),
        bytes: bytes as usize,
        count: APPENDS,
    };
    Program::ours(OURS)
        .with(&errand.words())
        .run()?
        .get("sync_us")
}

/// The median of a value of one side.
fn value_of(samples: &[Samples], side: usize, value: usize) -> f64 {
    let samples = &samples[value];
    side.checked_sub(1)
        .map_or_else(|| samples.ours(), |peer| samples.peer(peer))
}

fn shown(name: String, ours: f64, unit: &'static str) -> Figure {
    Figure {
        name,
        unit,
        ours,
        peers: Vec::new(),
        goal: Goal::None,
        more_is_better: false,
    }
}

/// The kind of file system that a folder is on, as `stat` tells it.
fn file_system(folder: &str) -> String {
    let output = Command::new("stat")
        .args(["-f", "-c", "%T", folder])
        .output();
    output.map_or_else(
        |_| "an unknown file system".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
