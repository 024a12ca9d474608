//! The suite of the footprint: how large the smallest program is that connects, subscribes, publishes and
//! waits, what it is made of, what memory it takes, and how long it is until the broker has let it in.

mod budget;
mod build;
mod live;

use std::path::Path;

pub use budget::{check, write};

use crate::error::Failure;
use crate::figure::{self, Figure, Goal, PeerValue};
use crate::machine;
use crate::rounds::Samples;
use crate::suites::Options;

use build::Built;
use live::Server;

/// Our program without TLS.
const PLAIN: &str = "size_plain";
/// Our program with TLS.
const TLS: &str = "size_tls";
/// The standard library alone.
const FLOOR: &str = "size_floor";
/// rumqttc without TLS.
const PEER_PLAIN: [(&str, &str); 1] = [("rumqttc", "size_peer_plain")];
/// rumqttc with TLS: as its default features make it, and with the cryptography that ours has.
const PEERS_TLS: [(&str, &str); 2] = [
    ("rumqttc", "size_peer_tls"),
    ("rumqttc+ring", "size_peer_ring"),
];
/// To whom code belongs that mentions several crates.
const OWN: [&str; 6] = ["mqtt", "safe_rt", "fiber", "rustls", "webpki", "ring"];
/// A crate with less code, in bytes, has no line.
const SHOWN: u64 = 10_000;
/// Bytes of a message of a flood.
const FLOOD_MESSAGE: usize = 4_096;

/// A program beside its peers, which do the same by the same means.
struct Kind {
    name: &'static str,
    ours: Built,
    peers: Vec<(&'static str, Built)>,
    /// Goals: kilobytes of the file, megabytes of memory, milliseconds of the start.
    goals: [Goal; 3],
    tls: bool,
}

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
    println!("{}", figure::heading());
    let floor = build::small(FLOOR)?;
    show(
        options,
        shown("std alone: file", "KB", floor.bytes()? / 1e3),
    );
    let kinds = [
        Kind {
            name: "without TLS",
            ours: build::small(PLAIN)?,
            peers: peers(&PEER_PLAIN)?,
            goals: [Goal::AtMost(380.0), Goal::None, Goal::None],
            tls: false,
        },
        Kind {
            name: "TLS",
            ours: build::small(TLS)?,
            peers: peers(&PEERS_TLS)?,
            goals: [Goal::AtMost(1_300.0), Goal::AtMost(5.0), Goal::AtMost(10.0)],
            tls: true,
        },
    ];
    for kind in &kinds {
        kind.print_size(options)?;
    }
    print_others(options)?;
    for kind in &kinds {
        kind.print_code(options)?;
    }
    for kind in &kinds {
        kind.print_live(options)?;
    }
    Ok(print_agent(options))
}

/// The same programs otherwise built: with more features, and with less of what is linked along.
fn print_others(options: &Options) -> Result<(), Failure> {
    let name = "default features: file";
    if options.wants(name) {
        let bytes = build::whole(TLS)?.bytes()?;
        show(options, shown(name, "KB", bytes / 1e3));
    }
    for (of, ours, peer) in [
        ("without TLS", PLAIN, PEER_PLAIN[0]),
        ("TLS", TLS, PEERS_TLS[1]),
    ] {
        let figure = format!("{of}, no unwind tables: file");
        if !options.wants(&figure) {
            continue;
        }
        let ours = build::linked(ours)?.bytes()? / 1e3;
        let value = build::linked(peer.1)?.bytes()? / 1e3;
        let peers = vec![PeerValue {
            name: peer.0,
            value,
            ratio: ours / value,
            expected: None,
        }];
        let figure = shown(&figure, "KB", ours);
        show(options, Figure { peers, ..figure });
    }
    Ok(())
}

fn peers(peers: &[(&'static str, &'static str)]) -> Result<Vec<(&'static str, Built)>, Failure> {
    let built = peers
        .iter()
        .map(|(name, package)| Ok((*name, build::small(package)?)));
    built.collect()
}

impl Kind {
    fn print_size(&self, options: &Options) -> Result<(), Failure> {
        let ours = self.ours.bytes()? / 1e3;
        let mut peers = Vec::new();
        for (name, peer) in &self.peers {
            let value = peer.bytes()? / 1e3;
            peers.push(PeerValue {
                name,
                value,
                ratio: ours / value,
                expected: None,
            });
        }
        let figure = Figure {
            peers,
            goal: self.goals[0],
            ..shown(&format!("{}: file", self.name), "KB", ours)
        };
        show(options, figure);
        Ok(())
    }

    /// What the program is made of.
    fn print_code(&self, options: &Options) -> Result<(), Failure> {
        let anatomy = self.ours.anatomy()?;
        for (section, of) in [
            (".text", "code"),
            (".rodata", "constants"),
            (".eh_frame", "unwind tables"),
            (".rela.dyn", "relocations"),
        ] {
            let bytes = anatomy.section(section) as f64 / 1e3;
            show(options, shown(&format!("{}: {of}", self.name), "KB", bytes));
        }
        for (owner, bytes) in anatomy.by_crate(&OWN) {
            let figure = shown(
                &format!("{}: code of {owner}", self.name),
                "KB",
                bytes as f64 / 1e3,
            );
            if owner == "mqtt" && !self.tls {
                let goal = Goal::AtMost(40.0);
                show(options, Figure { goal, ..figure });
            } else if bytes >= SHOWN {
                show(options, figure);
            }
        }
        Ok(())
    }

    /// Memory, and the time of the start.
    fn print_live(&self, options: &Options) -> Result<(), Failure> {
        let names = [
            "start to CONNACK",
            "most memory",
            "memory of its own",
            "memory of files",
        ]
        .map(|of| format!("{}: {of}", self.name));
        let server = Server::start(self.tls)?;
        if names.iter().any(|name| options.wants(name)) {
            let peers = self.peers.iter().map(|(_, built)| built);
            let programs: Vec<&Path> = [&self.ours]
                .into_iter()
                .chain(peers)
                .map(|built| built.stripped.as_path())
                .collect();
            let samples = live::quiet(&server, &programs, options.rounds)?;
            let units = [("ms", 1.0), ("MB", 1e6), ("MB", 1e6), ("MB", 1e6)];
            let goals = [self.goals[2], self.goals[1], Goal::None, Goal::None];
            for (((name, sample), (unit, scale)), goal) in
                names.iter().zip(&samples).zip(units).zip(goals)
            {
                let figure = Figure {
                    peers: self.peer_values(sample, scale),
                    goal,
                    ..shown(name, unit, sample.ours() / scale)
                };
                show(options, figure);
            }
        }
        for qos in [0, 1] {
            let name = format!("{}: memory, flood at QoS {qos}", self.name);
            if options.wants(&name) {
                let flooded = |built: &Built| {
                    let bytes = live::flooded(&server, &built.stripped, qos, FLOOD_MESSAGE);
                    bytes.map(|bytes| bytes / (1024.0 * 1024.0))
                };
                let ours = flooded(&self.ours)?;
                let mut peers = Vec::new();
                for (name, built) in &self.peers {
                    let value = flooded(built)?;
                    peers.push(PeerValue {
                        name,
                        value,
                        ratio: ours / value,
                        expected: None,
                    });
                }
                let figure = Figure {
                    peers,
                    goal: Goal::AtMost(8.0),
                    ..shown(&name, "MiB", ours)
                };
                show(options, figure);
            }
        }
        Ok(())
    }

    fn peer_values(&self, sample: &Samples, scale: f64) -> Vec<PeerValue> {
        let peers = self.peers.iter().enumerate();
        peers
            .map(|(peer, (name, _))| PeerValue {
                name,
                value: sample.peer(peer) / scale,
                ratio: sample.ratio(peer),
                expected: None,
            })
            .collect()
    }
}

/// The agent; false where it cannot be built.
fn print_agent(options: &Options) -> bool {
    let mut complete = true;
    for (name, default_features) in [
        ("agent as packaged: file", true),
        ("agent without provisioning: file", false),
    ] {
        if !options.wants(name) {
            continue;
        }
        match build::agent(default_features).and_then(|built| built.bytes()) {
            Ok(bytes) => println!("{}", shown(name, "KB", bytes / 1e3).line()),
            Err(failure) => {
                complete = false;
                let reason = format!("failed: {failure}");
                println!("{}", figure::line_without(name, &reason));
            }
        }
    }
    complete
}

/// A figure without peers and goal.
fn shown(name: &str, unit: &'static str, ours: f64) -> Figure {
    Figure {
        name: name.to_owned(),
        unit,
        ours,
        peers: Vec::new(),
        goal: Goal::None,
        more_is_better: false,
    }
}

fn show(options: &Options, figure: Figure) {
    if options.wants(&figure.name) {
        println!("{}", figure.line());
    }
}
