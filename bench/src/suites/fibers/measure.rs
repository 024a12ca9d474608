//! How a figure of the suite is measured.

use crate::child::Program;
use crate::counts::{self, Count};
use crate::echo::{self, Processors};
use crate::error::Failure;
use crate::figure::{Figure, PeerValue};
use crate::machine;
use crate::rounds;
use crate::suites::fibers::{Spec, table};
use crate::work::Work;

/// The program of the peers.
pub(super) const PEERS: &str = "fibers_peers";
/// The program of ours; it takes the same work.
pub(super) const OURS: &str = "fibers_ours";
/// Which guards ours uses.
const GUARDS_VARIABLE: &str = "FIBER_GUARDS";
/// KiB that a fiber takes with its page table and the suite's list, rounded up.
const KIB_PER_FIBER: usize = 6;

/// A way to measure.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// The time of an operation, in rounds.
    Time(Work),
    /// A value that the work prints, in rounds.
    Value { work: Work, value: &'static str },
    /// As many fibers as can be, once; ours with a kind of guards.
    Most {
        fibers: usize,
        guards: Option<&'static str>,
    },
    /// Instructions of an operation, counted once.
    Instructions(Work),
    /// Instructions or system calls of an echo request, counted once.
    PerRequest {
        count: Count,
        connections: usize,
        runs: (usize, usize),
    },
    /// CPU time per request, requests per second and how busy the server was, in rounds.
    EchoTime { connections: usize, requests: usize },
    /// How late a quiet fiber runs beside one that never waits, in rounds.
    Firehose { quiet: usize, millis: usize },
    /// How often an idle process wakes up in a second: the difference between `millis` and three
    /// times as many, once.
    Idle { millis: usize },
}

impl Spec {
    /// Measures ours and the peers in turns.
    pub(super) fn measure(&self, rounds: usize) -> Result<Vec<Figure>, Failure> {
        self.how.check()?;
        let rounds = if self.how.is_steady() { 1 } else { rounds };
        let samples = rounds::measure(rounds, self.peers.len(), self.values.len(), |side| {
            self.how.value_of(&self.side(side))
        })?;
        let figures = self
            .values
            .iter()
            .zip(samples)
            .map(|(value, sample)| Figure {
                name: value.name.clone(),
                unit: value.unit,
                ours: sample.ours(),
                peers: (self.peers.iter().enumerate())
                    .map(|(peer, name)| PeerValue {
                        name,
                        value: sample.peer(peer),
                        ratio: sample.ratio(peer),
                        expected: table::expected(&value.name, name),
                    })
                    .collect(),
                goal: value.goal,
                more_is_better: value.more_is_better,
            });
        Ok(figures.collect())
    }

    /// The program of a side: ours is 0.
    fn side(&self, side: usize) -> Program {
        match side.checked_sub(1) {
            Some(peer) => Program::ours(PEERS).with(&[self.peers[peer].to_owned()]),
            None => match self.how {
                How::Most {
                    guards: Some(guards),
                    ..
                } => Program::ours(OURS).variable(GUARDS_VARIABLE, guards),
                _ => Program::ours(OURS),
            },
        }
    }
}

impl How {
    /// Whether it gives the same every time.
    fn is_steady(self) -> bool {
        match self {
            Self::Most { .. }
            | Self::Instructions(_)
            | Self::PerRequest { .. }
            | Self::Idle { .. } => true,
            Self::Time(_) | Self::Value { .. } | Self::EchoTime { .. } | Self::Firehose { .. } => {
                false
            }
        }
    }

    /// Whether the machine has what it takes.
    fn check(self) -> Result<(), Failure> {
        match self {
            Self::Instructions(_) => Count::Instructions.check(),
            Self::PerRequest { count, .. } => count.check(),
            Self::Most {
                fibers,
                guards: None,
            } => {
                let wanted = fibers * KIB_PER_FIBER;
                match machine::available() {
                    available if available >= wanted => Ok(()),
                    available => Err(Failure::Lacking(format!(
                        "takes {wanted} KiB of memory, {available} are available"
                    ))),
                }
            }
            _ => Ok(()),
        }
    }

    /// Measures one side once.
    fn value_of(self, program: &Program) -> Result<Vec<f64>, Failure> {
        let run = |work: Work, name: &str| program.clone().with(&work.words()).run()?.get(name);
        match self {
            Self::Time(work) => Ok(vec![run(work, "ns")?]),
            Self::Value { work, value } => Ok(vec![run(work, value)?]),
            Self::Most { fibers, .. } => Ok(vec![run(Work::Most { fibers }, "made")?]),
            Self::Instructions(work) => Ok(vec![counts::per_operation(program, work)?]),
            Self::PerRequest {
                count,
                connections,
                runs,
            } => Ok(vec![echo::per_request(count, program, connections, runs)?]),
            Self::EchoTime {
                connections,
                requests,
            } => {
                let processors = if connections == 1 {
                    Processors::Same
                } else {
                    Processors::OneEach
                };
                let load = echo::requests(connections, requests, 0);
                let values = echo::serve(program, Work::Echo { connections }, &load, processors)?;
                ["cpu_ns", "per_second", "busy"]
                    .into_iter()
                    .map(|name| values.get(name))
                    .collect()
            }
            Self::Firehose { quiet, millis } => {
                let load = ["firehose".to_owned(), quiet.to_string(), millis.to_string()];
                let values =
                    echo::serve(program, Work::Firehose { quiet }, &load, Processors::Any)?;
                Ok(vec![values.get("p99_us")?])
            }
            Self::Idle { millis } => {
                let short = run(Work::Idle { millis }, "switches")?;
                let long = run(Work::Idle { millis: 3 * millis }, "switches")?;
                Ok(vec![(long - short) / (2.0 * millis as f64 / 1_000.0)])
            }
        }
    }
}
