//! The work of the fibers suite, done by this project's fibers.

#![forbid(unsafe_code)]

mod moves;
mod sockets;
mod waiting;

use std::process::ExitCode;

use bench::program;
use bench::work::Work;

fn main() -> ExitCode {
    program::main(0, |_, work| perform(work))
}

fn perform(work: Work) -> Result<(), String> {
    // One more than the work asks for: the main fiber.
    let runtime = fiber::Runtime::builder().fibers_max(work.operations().max(100_000) + 1_000);
    let outcome = runtime.run(move || match work {
        Work::Yield { fibers, count } => moves::yields(fibers, count),
        Work::Spawn { count } => moves::spawns(count),
        Work::Hop { count } => moves::hops(count),
        Work::Event { count } => moves::events(count),
        Work::Timer { live, count } => waiting::timers(live, count),
        Work::Tcp { pairs, count } => sockets::ping_pong(pairs, count),
        Work::Memory { fibers } => waiting::memory(fibers),
        Work::Most { fibers } => waiting::most(fibers),
        Work::Echo { connections } => sockets::echo(connections),
        Work::Firehose { quiet } => sockets::firehose(quiet),
        Work::Overshoot { micros, count } => waiting::overshoot(micros, count),
        Work::Idle { millis } => waiting::idle(millis),
    });
    match outcome {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What goes wrong in a piece of work.
type Done = Result<(), Box<dyn std::error::Error>>;
