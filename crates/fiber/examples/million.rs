//! A million guarded fibers with 1 KiB of locals each, all parked, then all woken and joined.
//!
//! `cargo run --release -p fiber --example million [COUNT]`, with `FIBER_GUARDS=pages` for the guards
//! of kernels before Linux 6.13, where it ends at the bound of the process's mappings and says so.
//! A million takes about 5 GB of memory.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures and ends at the first surprise"
)]

use std::hint::black_box;
use std::time::Duration;

use fiber::{Event, Instant, JoinHandle, SpawnError};

/// Fibers unless the command line says otherwise.
const FIBERS: usize = 1_000_000;
/// Bytes of locals that each holds while it waits.
const LOCALS: usize = 1024;

fn main() {
    let asked = match std::env::args().nth(1) {
        Some(count) => count.parse().unwrap(),
        None => FIBERS,
    };
    fiber::Runtime::builder()
        .fibers_max(asked + 1)
        .run(move || measure(asked))
        .unwrap();
}

fn measure(asked: usize) {
    println!(
        "{asked} fibers are asked for, guards: {:?}",
        fiber::stack_guards().unwrap()
    );
    // Whatever reading the file takes is there before the first figure.
    let _ = memory();
    let before = memory();
    let event = Event::new();
    let mut waiting = Vec::with_capacity(asked);

    let began = Instant::now();
    let refused = spawn_all(asked, &event, &mut waiting);
    report("spawned", began.elapsed(), waiting.len());

    let began = Instant::now();
    fiber::yield_now().unwrap();
    report("started and parked", began.elapsed(), waiting.len());

    let after = memory();
    let each = |of: fn(&Memory) -> usize| (of(&after) - of(&before)) / waiting.len().max(1);
    println!(
        "{:>20}: {} B of memory and {} B of page tables each, {} mappings in all",
        "parked",
        each(|memory| memory.resident),
        each(|memory| memory.page_tables),
        after.mappings,
    );

    let began = Instant::now();
    event.set();
    fiber::yield_now().unwrap();
    report("woken and ended", began.elapsed(), waiting.len());

    let began = Instant::now();
    let sum: usize = waiting.iter_mut().map(|fiber| fiber.join().unwrap()).sum();
    report("joined", began.elapsed(), waiting.len());
    assert_eq!(sum, waiting.len() * LOCALS, "every fiber has its locals");

    match refused {
        None => println!("all {asked} were parked at once"),
        Some(error) => println!("only {} of {asked}: {error}", waiting.len()),
    }
}

/// Spawns until all are there or one is refused.
fn spawn_all(
    count: usize,
    event: &Event,
    waiting: &mut Vec<JoinHandle<usize>>,
) -> Option<SpawnError> {
    while waiting.len() < count {
        let event = event.clone();
        let body = move || {
            let locals = [1_u8; LOCALS];
            black_box(&locals);
            event.wait().unwrap();
            black_box(&locals).iter().copied().map(usize::from).sum()
        };
        match fiber::spawn(body) {
            Ok(fiber) => waiting.push(fiber),
            Err(error) => return Some(error),
        }
    }
    None
}

fn report(what: &str, elapsed: Duration, fibers: usize) {
    println!(
        "{what:>20}: {:.3} s, {:.0} ns each",
        elapsed.as_secs_f64(),
        elapsed.as_nanos() as f64 / fibers.max(1) as f64
    );
}

/// What the system says of this process, in bytes.
struct Memory {
    resident: usize,
    page_tables: usize,
    mappings: usize,
}

fn memory() -> Memory {
    let status = fiber::fs::read("/proc/self/status").unwrap();
    let status = String::from_utf8(status).unwrap();
    let kib = |name: &str| -> usize {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let maps = fiber::fs::read("/proc/self/maps").unwrap();
    Memory {
        resident: kib("VmRSS:") * 1024,
        page_tables: kib("VmPTE:") * 1024,
        mappings: maps.iter().filter(|byte| **byte == b'\n').count(),
    }
}
