//! How a workload is measured, and the figures that come from it.

use crate::child::{Program, Running, Values};
use crate::counts::{self, Count};
use crate::error::Failure;
use crate::figure::{self, Figure, Goal, PeerValue};
use crate::mqtt::task::{Kind, Task};
use crate::program::CPU_VARIABLE;
use crate::rounds::{self, Samples};
use crate::suites::Options;

/// The program of ours.
const OURS: &str = "mqtt_ours";
/// The program of the peers.
pub(super) const PEERS: &str = "mqtt_peers";
/// The limit.
const RAW: &str = "mqtt_raw";
/// The server.
const SINK: &str = "mqtt_sink";
/// A peer does so many times less than ours does, in rounds: it takes that much longer.
const PEER_SHARE: usize = 10;

/// A workload: what is done, and what it has to reach.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// With the number of messages that are timed.
    pub(super) task: Task,
    /// How many messages are counted, if they are.
    pub(super) counted: Option<usize>,
    pub(super) peers: &'static [&'static str],
    pub(super) goals: Goals,
}

/// What a workload has to reach.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goals {
    /// At most so many instructions.
    pub(super) instructions: Option<f64>,
    /// At most so many system calls.
    pub(super) calls: Option<f64>,
    /// At least so much of what the raw loop does.
    pub(super) of_raw: Option<f64>,
    /// At least so many times what rumqttc does.
    pub(super) of_rumqttc: Option<f64>,
}

impl Spec {
    /// Measures what is asked for and prints a line for each figure; false where one failed.
    pub(super) fn print(&self, options: &Options) -> Result<bool, Failure> {
        let mut complete = true;
        for (count, of) in [
            (Count::Instructions, "instructions"),
            (Count::Calls, "system calls"),
        ] {
            let name = format!("{}: {of}", self.name);
            if let Some(counted) = self.counted
                && options.wants(&name)
            {
                complete &= show(&[name], self.count(count, counted).map(|one| vec![one]));
            }
        }
        let names = self.timed_names();
        if names.iter().any(|name| options.wants(name)) {
            let figures = self.time(options.rounds).map(|figures| {
                let wanted = figures.into_iter().filter(|one| options.wants(&one.name));
                wanted.collect()
            });
            complete &= show(&names, figures);
        }
        Ok(complete)
    }

    /// What is counted of one message.
    fn count(&self, count: Count, counted: usize) -> Result<Figure, Failure> {
        count.check()?;
        let of = |program: &Program| {
            let server = Server::start(Pinned::No)?;
            let runs = [counted, 2 * counted]
                .map(|messages| server.client(program, self.task.of(messages), Pinned::No));
            counts::difference(count, runs, counted)
        };
        let ours = of(&Program::ours(OURS))?;
        let mut peers = Vec::new();
        for name in self.peers {
            let value = of(&peer(name))?;
            peers.push(PeerValue {
                name,
                value,
                ratio: ours / value,
                expected: None,
            });
        }
        let (of, unit, goal) = match count {
            Count::Instructions => ("instructions", "instr", self.goals.instructions),
            Count::Calls => ("system calls", "calls", self.goals.calls),
        };
        Ok(Figure {
            name: format!("{}: {of}", self.name),
            unit,
            ours,
            peers,
            goal: goal.map_or(Goal::None, Goal::AtMost),
            more_is_better: false,
        })
    }

    fn timed_names(&self) -> Vec<String> {
        let of: &[&str] = match self.task.kind {
            Kind::Delay => &["median", "99 of 100"],
            _ => &["messages", "beside raw", "beside rumqttc", "CPU time"],
        };
        let names = of.iter().map(|of| format!("{}: {of}", self.name));
        names.collect()
    }

    /// Times all sides in turns.
    fn time(&self, rounds: usize) -> Result<Vec<Figure>, Failure> {
        // The raw loop is the first of the others.
        let sides = 1 + self.peers.len();
        let samples = rounds::measure(rounds, sides, 2, |side| {
            let (program, task) = match side {
                0 => (Program::ours(OURS), self.task),
                1 => (Program::ours(RAW), self.task),
                _ => {
                    let fewer = (self.task.count / PEER_SHARE).max(1);
                    (peer(self.peers[side - 2]), self.task.of(fewer))
                }
            };
            let server = Server::start(Pinned::To(1))?;
            let values = server.client(&program, task, Pinned::To(0)).run()?;
            self.values(&values)
        })?;
        Ok(self.figures(&samples))
    }

    fn values(&self, values: &Values) -> Result<Vec<f64>, Failure> {
        match self.task.kind {
            Kind::Delay => Ok(vec![values.get("p50_us")?, values.get("p99_us")?]),
            _ => Ok(vec![1e9 / values.get("ns")?, values.get("cpu_ns")?]),
        }
    }

    fn figures(&self, samples: &[Samples]) -> Vec<Figure> {
        let all: Vec<&'static str> = ["raw"].into_iter().chain(self.peers.to_vec()).collect();
        let peers = |sample: &Samples, wanted: &dyn Fn(&str) -> bool| {
            let peers = all.iter().enumerate().filter(|(_, name)| wanted(name));
            peers
                .map(|(peer, name)| PeerValue {
                    name,
                    value: sample.peer(peer),
                    ratio: sample.ratio(peer),
                    expected: None,
                })
                .collect()
        };
        let at_least = |goal: Option<f64>| goal.map_or(Goal::None, Goal::RatioAtLeast);
        let names = self.timed_names();
        let figure =
            |name: &String, sample: &Samples, unit, wanted: &dyn Fn(&str) -> bool| Figure {
                name: name.clone(),
                unit,
                ours: sample.ours(),
                peers: peers(sample, wanted),
                goal: Goal::None,
                more_is_better: unit == "/s",
            };
        match (self.task.kind, samples, names.as_slice()) {
            (Kind::Delay, [median, late], [of_median, of_late]) => vec![
                figure(of_median, median, "us", &|_| true),
                figure(of_late, late, "us", &|_| true),
            ],
            (_, [rate, cpu], [messages, raw, rumqttc, time]) => vec![
                figure(messages, rate, "/s", &|name| name != "raw"),
                Figure {
                    goal: at_least(self.goals.of_raw),
                    ..figure(raw, rate, "/s", &|name| name == "raw")
                },
                Figure {
                    goal: at_least(self.goals.of_rumqttc),
                    ..figure(rumqttc, rate, "/s", &|name| name == "rumqttc")
                },
                figure(time, cpu, "ns", &|name| name != "raw"),
            ],
            _ => Vec::new(),
        }
    }
}

/// Prints figures, or why there are none; false where that is a fault.
fn show(names: &[String], figures: Result<Vec<Figure>, Failure>) -> bool {
    match figures {
        Ok(figures) => {
            for figure in figures {
                println!("{}", figure.line());
            }
            true
        }
        Err(failure) => {
            let is_lacking = matches!(failure, Failure::Lacking(_));
            let what = if is_lacking { "not run" } else { "failed" };
            for name in names {
                println!(
                    "{}",
                    figure::line_without(name, &format!("{what}: {failure}"))
                );
            }
            is_lacking
        }
    }
}

fn peer(name: &str) -> Program {
    Program::ours(PEERS).with(&[name.to_owned()])
}

/// Whether a program stays on one processor.
#[derive(Clone, Copy, Debug)]
enum Pinned {
    No,
    To(usize),
}

impl Pinned {
    fn apply(self, program: Program) -> Program {
        match self {
            Self::No => program,
            Self::To(cpu) => program.variable(CPU_VARIABLE, &cpu.to_string()),
        }
    }
}

/// The server, until this is dropped.
struct Server {
    port: String,
    _running: Running,
}

impl Server {
    fn start(pinned: Pinned) -> Result<Self, Failure> {
        let mut running = pinned.apply(Program::ours(SINK)).start()?;
        let port = running.wait_for("port")?;
        Ok(Self {
            port: port.to_string(),
            _running: running,
        })
    }

    /// A client of it.
    fn client(&self, program: &Program, task: Task, pinned: Pinned) -> Program {
        let port = [self.port.clone()];
        pinned.apply(program.clone().with(&port).with(&task.words()))
    }
}
