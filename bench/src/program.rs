//! The side of the programs that are measured: what they are asked, what they print.

use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::mqtt::address::Address;
use crate::mqtt::task::Task;
use crate::work::Work;

/// The environment variable with the number of the processor that a program is to stay on.
pub const CPU_VARIABLE: &str = "BENCH_CPU";

/// The environment variable with the folder that a peer keeps its messages in until they are acknowledged.
pub const KEEP_VARIABLE: &str = "BENCH_KEEP";

/// Bytes of an echo message.
pub const MESSAGE: usize = 64;
/// Bytes of the buffer that a server reads into.
pub const BUFFER: usize = 4096;
/// Bytes of a read of the connection that never runs dry.
pub const FLOOD: usize = 64 * 1024;
/// Bytes of locals that each waiting fiber of [`Work::Memory`] and [`Work::Most`] holds.
pub const LOCALS: usize = 1024;

/// Does the work of the command line with `perform`. For a program with several sides the words
/// before the work choose one; they are given to `perform` as well.
pub fn main(
    choices: usize,
    perform: impl FnOnce(&[String], Work) -> Result<(), String>,
) -> ExitCode {
    run(choices, Work::parse, perform)
}

/// As [`main`], for a client of the mqtt suite: the last word before the task is the address of its
/// server.
pub fn client(
    choices: usize,
    perform: impl FnOnce(&[String], &Address, Task) -> Result<(), String>,
) -> ExitCode {
    run(choices + 1, Task::parse, |words, task| {
        let (chosen, word) = words.split_at(choices);
        let address = word.first().and_then(|word| Address::parse(word));
        let address = address.ok_or("an address is a port, with TLS a comma and a file as well")?;
        perform(chosen, &address, task)
    })
}

pub(crate) fn run<T>(
    choices: usize,
    parse: impl FnOnce(&[String]) -> Option<T>,
    perform: impl FnOnce(&[String], T) -> Result<(), String>,
) -> ExitCode {
    pin();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (chosen, rest) = words.split_at(choices.min(words.len()));
    let outcome = match parse(rest) {
        Some(asked) => perform(chosen, asked),
        None => Err(format!("no such work: {}", words.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps this process on one processor if [`CPU_VARIABLE`] says which.
pub fn pin() {
    let Some(cpu) = std::env::var(CPU_VARIABLE)
        .ok()
        .and_then(|cpu| cpu.parse().ok())
    else {
        return;
    };
    keep_on(Pid::this(), cpu);
}

/// Keeps a process on one processor.
pub fn keep_on(process: Pid, cpu: usize) {
    let mut set = CpuSet::new();
    // Where it is not allowed the figures are merely less steady.
    let _ = set.set(cpu).and_then(|()| sched_setaffinity(process, &set));
}

/// Prints one value for the runner.
pub fn report(name: &str, value: f64) {
    println!("{name} {value}");
}

/// Prints the port that a server listens on.
pub fn report_port(port: u16) {
    report("port", f64::from(port));
}

/// Prints `ns`: the share of one operation of the time since `began`.
pub fn report_share(began: Instant, operations: usize) {
    report("ns", began.elapsed().as_nanos() as f64 / operations as f64);
}

/// Lengths for timers that are armed while others are live: between half an hour and an hour and a
/// half, without any order, the same in every run.
pub fn timer_lengths() -> impl FnMut() -> Duration {
    let mut state = 0x9e37_79b9_u32;
    move || {
        // xorshift: it only has to be quick, and to have no order.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        Duration::from_millis(1_800_000 + u64::from(state % 3_600_000))
    }
}

/// A point on the clock that all processes of this machine share, in nanoseconds.
#[must_use]
pub fn stamp() -> u64 {
    nanos(ClockId::CLOCK_MONOTONIC)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("every Linux has these clocks");
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec())
}

/// What a server took from the moment all clients were there.
#[derive(Debug)]
pub struct Meter {
    cpu: u64,
    wall: u64,
}

impl Meter {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            cpu: nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID),
            wall: stamp(),
        }
    }

    /// Prints `cpu_ns` of the process for each request, `per_second` requests, and `busy`: per cent
    /// of the time in which the process ran.
    pub fn report(&self, requests: u64) {
        let cpu = (nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID) - self.cpu) as f64;
        let wall = (stamp() - self.wall) as f64;
        report("requests", requests as f64);
        report("cpu_ns", cpu / requests as f64);
        report("per_second", requests as f64 * 1e9 / wall);
        report("busy", 100.0 * cpu / wall);
    }
}

/// What a task took, of which each message has a share.
#[derive(Debug)]
pub struct Share {
    cpu: u64,
    wall: u64,
}

impl Share {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            cpu: nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID),
            wall: stamp(),
        }
    }

    /// Prints `ns` and `cpu_ns`: the share of one of `count` messages of the time, and of the process's
    /// time on a processor.
    pub fn report(&self, count: usize) {
        let cpu = nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID) - self.cpu;
        let wall = stamp() - self.wall;
        report("ns", wall as f64 / count as f64);
        report("cpu_ns", cpu as f64 / count as f64);
    }
}

/// Bytes that calls of `write` took so far: those to files, and eight for each wake-up. Sockets of ours are
/// written to by another call.
///
/// # Errors
/// Where the system does not count them.
pub fn written() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let number = text.lines().find_map(|line| line.strip_prefix("wchar:"));
    let number = number.and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| io::Error::other("the system counts no writes"))
}

/// Prints `p50_us` and `p99_us` of what round trips took.
pub fn report_trips(mut trips: Vec<Duration>) {
    trips.sort_unstable();
    let at = |per_cent: usize| trips.get(trips.len() * per_cent / 100).copied();
    for (name, per_cent) in [("p50_us", 50), ("p99_us", 99)] {
        let trip = at(per_cent).unwrap_or_default();
        report(name, trip.as_nanos() as f64 / 1_000.0);
    }
}

/// Prints `p99_us` and `samples` of times in nanoseconds.
pub fn report_delays(mut delays: Vec<u64>) {
    delays.sort_unstable();
    let at = delays.len() * 99 / 100;
    let p99 = delays.get(at).copied().unwrap_or(0);
    report("samples", delays.len() as f64);
    report("p99_us", p99 as f64 / 1_000.0);
}

/// Prints `overshoot_us`, the median.
pub fn report_overshoots(mut overshoots: Vec<Duration>) {
    overshoots.sort_unstable();
    let median = overshoots[overshoots.len() / 2];
    report("overshoot_us", median.as_nanos() as f64 / 1_000.0);
}

/// Resident memory of this process, in bytes.
#[must_use]
pub fn resident() -> usize {
    field("/proc/self/status", "VmRSS:") * 1024
}

/// How often the threads of this process went to sleep by themselves so far.
#[must_use]
pub fn switches() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("the system shows a process its threads");
    tasks
        .flatten()
        .map(|task| {
            field(
                &task.path().join("status").display().to_string(),
                "voluntary_ctxt_switches:",
            )
        })
        .sum()
}

/// The first number after a name in a file of lines; 0 where there is none.
pub(crate) fn field(path: &str, name: &str) -> usize {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
