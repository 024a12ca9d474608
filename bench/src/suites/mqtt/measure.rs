//! How a workload is measured, and the figures that come from it.

use crate::child::{Program, Values};
use crate::counts::Count;
use crate::error::Failure;
use crate::figure::{Figure, Goal, PeerValue};
use crate::mqtt::task::{Kind, Task};
use crate::rounds::{self, Samples};
use crate::suites::Options;
use crate::suites::mqtt::peers::{self, RAW, RUMQTTC};
use crate::suites::mqtt::server::{Pinned, Place, Server};

/// The program of ours.
const OURS: &str = "mqtt_ours";
/// A peer does so many times less than ours does where it is counted.
const PEER_SHARE_COUNTED: usize = 4;

/// A workload: what is done, and what it has to reach.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// With the number of messages that are timed.
    pub(super) task: Task,
    /// How many messages are counted, if they are.
    pub(super) counted: Option<usize>,
    /// The others that do it; of these, those that were built.
    pub(super) peers: Vec<&'static str>,
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
    /// At most so much of rumqttc's time on a processor.
    pub(super) cpu_of_rumqttc: Option<f64>,
}

/// Instructions, or system calls, of one message of a task that ours does with the server that only
/// answers.
///
/// # Errors
/// [`Failure`].
pub(super) fn count_ours(count: Count, task: Task) -> Result<f64, Failure> {
    count_of(Place::Sink, &Program::ours(OURS), count, task)
}

/// The difference between a task and one twice as long, by message.
fn count_of(place: Place, program: &Program, count: Count, task: Task) -> Result<f64, Failure> {
    let server = Server::start(place, task, Pinned::No)?;
    let total = |messages| {
        let run = server.run(program, task.of(messages), |one| count.over(one))?;
        count.total(&run)
    };
    let (short, long) = (total(task.count)?, total(2 * task.count)?);
    Ok((long - short) / task.count as f64)
}

/// What was measured of a workload.
pub(super) struct Measured {
    pub(super) figures: Vec<Figure>,
    /// Peers that failed, and why.
    pub(super) failed: Vec<(&'static str, Failure)>,
}

/// A figure of a workload that is timed.
struct Timed {
    of: &'static str,
    unit: &'static str,
    /// Which of the values that a run gives.
    value: usize,
    /// Beside whom: all but the raw loop, or one.
    beside: Option<&'static str>,
    goal: Goal,
}

impl Spec {
    /// The name of a figure of it.
    pub(super) fn figure_name(&self, of: &str) -> String {
        format!("{}: {of}", self.name)
    }

    /// The names of what comes from timing it.
    pub(super) fn timed_names(&self) -> Vec<String> {
        let figures = self.timed();
        figures.iter().map(|one| self.figure_name(one.of)).collect()
    }

    /// Whether two runs of different length have a difference that means something. How many reads it takes
    /// to receive depends on how the writes of the broker fall together, and a client under a tool is slow.
    fn is_countable(&self, count: Count) -> bool {
        let receives = matches!(self.task.kind, Kind::Receive | Kind::Inline);
        count != Count::Calls || self.place != Place::Mosquitto || !receives
    }

    /// What is counted of one message.
    pub(super) fn count(&self, count: Count, counted: usize) -> Result<Measured, Failure> {
        count.check()?;
        let ours = count_of(
            self.place,
            &Program::ours(OURS),
            count,
            self.task.of(counted),
        )?;
        let mut failed = Vec::new();
        let mut peers = Vec::new();
        for name in self.peers.iter().copied().filter(|name| *name != RAW) {
            let fewer = self.task.of((counted / PEER_SHARE_COUNTED).max(1));
            match count_of(self.place, &peers::program(name), count, fewer) {
                Ok(value) => peers.push(PeerValue {
                    name,
                    value,
                    ratio: ours / value,
                    expected: match count {
                        Count::Instructions if name == RUMQTTC => peers::expected(self.name),
                        _ => None,
                    },
                }),
                Err(failure) => failed.push((name, failure)),
            }
        }
        let (unit, goal) = match count {
            Count::Instructions => ("instr", self.goals.instructions),
            Count::Calls => ("calls", self.goals.calls),
        };
        let figure = Figure {
            name: self.figure_name(of(count)),
            unit,
            ours,
            peers,
            goal: goal.map_or(Goal::None, Goal::AtMost),
            more_is_better: false,
        };
        Ok(Measured {
            figures: vec![figure],
            failed,
        })
    }

    /// Times all sides in turns. A peer that fails is left out from then on.
    pub(super) fn time(&self, rounds: usize) -> Result<Measured, Failure> {
        let mut failed: Vec<(&'static str, Failure)> = Vec::new();
        let samples = rounds::measure(rounds, self.peers.len(), 2, |side| {
            let Some(peer) = side.checked_sub(1) else {
                return self.time_of(&Program::ours(OURS), self.task);
            };
            let name = self.peers[peer];
            if failed.iter().any(|(peer, _)| *peer == name) {
                return Ok(vec![f64::NAN; 2]);
            }
            let share = peers::share(name, self.place);
            let fewer = self.task.of((self.task.count / share).max(1));
            Ok(self
                .time_of(&peers::program(name), fewer)
                .unwrap_or_else(|failure| {
                    failed.push((name, failure));
                    vec![f64::NAN; 2]
                }))
        })?;
        Ok(Measured {
            figures: self.figures(&samples, &failed),
            failed,
        })
    }

    fn time_of(&self, program: &Program, task: Task) -> Result<Vec<f64>, Failure> {
        let server = Server::start(self.place, task, Pinned::Yes)?;
        let values = server.run(program, task, |program| program)?;
        self.values(&values)
    }

    fn values(&self, values: &Values) -> Result<Vec<f64>, Failure> {
        match self.task.kind {
            Kind::Delay => Ok(vec![values.get("p50_us")?, values.get("p99_us")?]),
            _ => Ok(vec![1e9 / values.get("ns")?, values.get("cpu_ns")?]),
        }
    }

    /// What is shown of the values of a run, the surest first.
    fn timed(&self) -> Vec<Timed> {
        let figure = |of, unit, value, beside| Timed {
            of,
            unit,
            value,
            beside,
            goal: Goal::None,
        };
        if self.task.kind == Kind::Delay {
            return vec![
                figure("median", "us", 0, None),
                figure("99 of 100", "us", 1, None),
            ];
        }
        let mut all = Vec::new();
        if self.peers.contains(&RAW) {
            all.push(Timed {
                goal: self.goals.of_raw.map_or(Goal::None, Goal::RatioAtLeast),
                ..figure("beside raw", "/s", 0, Some(RAW))
            });
        }
        all.push(Timed {
            goal: self.goals.of_rumqttc.map_or(Goal::None, Goal::RatioAtLeast),
            ..figure("beside rumqttc", "/s", 0, Some(RUMQTTC))
        });
        all.push(figure("messages", "/s", 0, None));
        all.push(figure("CPU time", "ns", 1, None));
        if let Some(most) = self.goals.cpu_of_rumqttc {
            all.push(Timed {
                goal: Goal::Ratio(most),
                ..figure("CPU beside rumqttc", "ns", 1, Some(RUMQTTC))
            });
        }
        all
    }

    fn figures(&self, samples: &[Samples], failed: &[(&str, Failure)]) -> Vec<Figure> {
        let figure = |timed: &Timed| {
            let sample = samples.get(timed.value)?;
            let is_shown = |name: &str| match (timed.beside, self.task.kind) {
                (Some(one), _) => name == one,
                (None, Kind::Delay) => true,
                (None, _) => name != RAW,
            };
            let peers = self.peers.iter().enumerate().filter(|(_, name)| {
                is_shown(name) && !failed.iter().any(|(peer, _)| peer == *name)
            });
            let peers = peers.map(|(peer, name)| PeerValue {
                name,
                value: sample.peer(peer),
                ratio: sample.ratio(peer),
                expected: None,
            });
            Some(Figure {
                name: self.figure_name(timed.of),
                unit: timed.unit,
                ours: sample.ours(),
                peers: peers.collect(),
                goal: timed.goal,
                more_is_better: timed.unit == "/s",
            })
        };
        self.timed().iter().filter_map(figure).collect()
    }

    /// Measures what is asked for; calls `show` with the names of figures and what they are.
    pub(super) fn measure(
        &self,
        options: &Options,
        mut show: impl FnMut(&[String], Result<Measured, Failure>),
    ) {
        for count in [Count::Instructions, Count::Calls] {
            let name = self.figure_name(of(count));
            if self.is_countable(count)
                && let Some(counted) = self.counted
                && options.wants(&name)
            {
                show(&[name], self.count(count, counted));
            }
        }
        let names = self.timed_names();
        if names.iter().any(|name| options.wants(name)) {
            show(&names, self.time(options.rounds));
        }
    }
}

const fn of(count: Count) -> &'static str {
    match count {
        Count::Instructions => "instructions",
        Count::Calls => "system calls",
    }
}

#[cfg(test)]
mod tests {
    use super::{Goals, Spec};
    use crate::error::Failure;
    use crate::mqtt::task::{Kind, Task};
    use crate::rounds;
    use crate::suites::mqtt::peers::{RAW, RUMQTTC};
    use crate::suites::mqtt::server::Place;

    fn spec() -> Spec {
        Spec {
            name: "publish",
            place: Place::Sink,
            task: Task {
                kind: Kind::Publish,
                qos: 1,
                bytes: 1,
                window: 1,
                count: 1,
            },
            counted: None,
            peers: vec![RAW, RUMQTTC, "ntex-mqtt"],
            goals: Goals {
                of_raw: Some(0.5),
                of_rumqttc: Some(2.0),
                cpu_of_rumqttc: Some(0.5),
                ..Goals::default()
            },
        }
    }

    /// Ours does 100 messages a second in 10 ns each, and so on.
    fn samples() -> Vec<rounds::Samples> {
        let sides = [[100.0, 10.0], [200.0, 5.0], [40.0, 30.0], [60.0, 15.0]];
        rounds::measure(1, 3, 2, |side| Ok(sides[side].to_vec())).unwrap()
    }

    #[test]
    fn each_figure_is_beside_those_that_it_is_about() {
        let lines: Vec<String> = spec()
            .figures(&samples(), &[])
            .iter()
            .map(|one| one.line())
            .collect();
        let words = |line: &String| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let found: Vec<Vec<String>> = lines.iter().map(words).collect();
        let wanted = [
            "publish: beside raw 100 200 raw 0.500 /s ratio >= 0.5 ok",
            "publish: beside rumqttc 100 40 rumqttc 2.500 /s ratio >= 2 ok",
            "publish: messages 100 60 ntex-mqtt 1.667 /s - -",
            "publish: CPU time 10 15 ntex-mqtt 0.667 ns - -",
            "publish: CPU beside rumqttc 10 30 rumqttc 0.333 ns ratio <= 0.5 ok",
        ];
        let wanted: Vec<Vec<String>> = wanted.map(|line| words(&line.to_owned())).into();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_peer_that_failed_is_left_out() {
        let failed = [("ntex-mqtt", Failure::Lacking("it is slow".to_owned()))];
        let figures = spec().figures(&samples(), &failed);
        let names = figures[2].peers.iter().map(|peer| peer.name);
        assert_eq!(names.collect::<Vec<_>>(), [RUMQTTC]);
    }

    #[test]
    fn the_names_of_figures_are_known_before_they_are_measured() {
        let figures = spec().figures(&samples(), &[]);
        let names: Vec<String> = figures.into_iter().map(|one| one.name).collect();
        assert_eq!(spec().timed_names(), names);
    }
}
