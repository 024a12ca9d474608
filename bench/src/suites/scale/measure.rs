//! How the cost at each number is measured.

use crate::child::{Program, Running};
use crate::counts::Count;
use crate::error::Failure;
use crate::machine;
use crate::program::CPU_VARIABLE;
use crate::rounds;
use crate::suites::scale::table::{Spec, numbers};
use crate::sweep::{Beside, Sweep};

/// The program of ours.
pub(super) const OURS: &str = "scale_ours";
/// The server.
const SINK: &str = "mqtt_sink";
/// The largest number of a short run.
const SHORT: usize = 1_000;
/// So many times fewer messages are timed in one.
const SHORT_SHARE: usize = 10;
/// What a parked fiber takes, in KiB, with some room.
const FIBER_KIB: usize = 6;

/// Costs by number.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// It is the memory that each takes.
    pub(super) is_each: bool,
    pub(super) points: Vec<(usize, f64)>,
}

impl Spec {
    /// Instructions of a message, its time on a processor, and what each takes, where these can be measured.
    pub(super) fn measure(&self, rounds: usize, short: bool) -> Result<Vec<Series>, Failure> {
        let to = if short { self.to.min(SHORT) } else { self.to };
        let numbers: Vec<usize> = numbers(to).filter(|n| self.has_room(*n)).collect();
        let timed = if short {
            self.timed / SHORT_SHARE
        } else {
            self.timed
        };
        let mut all = Vec::new();
        if Count::Instructions.check().is_ok() {
            all.push(self.series(self.name, "instr", self.count(&numbers)?));
        }
        let mut times = Vec::new();
        let mut memory = Vec::new();
        for n in numbers.into_iter().filter(|n| *n >= self.timed_from) {
            let (time, each) = self.time(n, timed, rounds)?;
            times.push((n, time));
            memory.extend(each.map(|each| (n, each)));
        }
        all.push(self.series(self.name, "ns", times));
        if let Some(name) = self.each {
            all.push(Series {
                is_each: true,
                ..self.series(name, "bytes", memory)
            });
        }
        Ok(all)
    }

    fn series(&self, name: &'static str, unit: &'static str, points: Vec<(usize, f64)>) -> Series {
        Series {
            name,
            unit,
            is_each: false,
            points,
        }
    }

    /// Whether the machine has memory for so many.
    fn has_room(&self, n: usize) -> bool {
        let fits = self.beside != Beside::Fibers || n * FIBER_KIB < machine::available();
        if !fits {
            println!("{}, {n}: not run: too little memory", self.name);
        }
        fits
    }

    fn count(&self, numbers: &[usize]) -> Result<Vec<(usize, f64)>, Failure> {
        let server = Server::start()?;
        let numbers = numbers.iter().copied().filter(|n| *n <= self.counted_to);
        if self.counted == 0 {
            // The messages are what there is a number of.
            let alone = server.count(self.sweep(1, 1))?;
            let costs = numbers.filter(|n| *n > 1);
            return costs
                .map(|n| {
                    Ok((
                        n,
                        (server.count(self.sweep(n, n))? - alone) / (n - 1) as f64,
                    ))
                })
                .collect();
        }
        let costs = numbers.map(|n| {
            let [once, twice] =
                [1, 2].map(|times| server.count(self.sweep(n, times * self.counted)));
            Ok((n, (twice? - once?) / self.counted as f64))
        });
        costs.collect()
    }

    /// The time on a processor, and the memory of each.
    fn time(&self, n: usize, timed: usize, rounds: usize) -> Result<(f64, Option<f64>), Failure> {
        let mut times = Vec::new();
        let mut memory = Vec::new();
        for _ in 0..rounds {
            let server = Server::start()?;
            let client = server.client(self.sweep(n, timed.max(n)));
            let values = client.variable(CPU_VARIABLE, "0").run()?;
            times.push(values.get("cpu_ns")?);
            if self.each.is_some() {
                memory.push(values.get("each")?);
            }
        }
        let each = self.each.map(|_| rounds::median(&memory));
        Ok((rounds::median(&times), each))
    }

    const fn sweep(&self, n: usize, count: usize) -> Sweep {
        Sweep {
            beside: self.beside,
            n,
            count,
        }
    }
}

/// The server, until this is dropped.
struct Server {
    port: String,
    _running: Running,
}

impl Server {
    fn start() -> Result<Self, Failure> {
        let mut running = Program::ours(SINK).variable(CPU_VARIABLE, "1").start()?;
        let port = running.wait_for("port")?;
        Ok(Self {
            port: port.to_string(),
            _running: running,
        })
    }

    fn client(&self, sweep: Sweep) -> Program {
        let port = [self.port.clone()];
        Program::ours(OURS).with(&port).with(&sweep.words())
    }

    fn count(&self, sweep: Sweep) -> Result<f64, Failure> {
        let count = Count::Instructions;
        count.total(&count.over(self.client(sweep)).run()?)
    }
}
