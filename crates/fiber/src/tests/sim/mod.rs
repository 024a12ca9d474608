//! The simulator itself, and what it finds out about the runtime.

mod disk;
mod disk_faults;
mod hosts;
mod knobs;
mod names;
mod net;
mod seeds;
mod signals;
mod time;
mod udp;
mod unix;

use crate::sim::{Run, SimBuilder, World};

/// Runs `main` under one seed.
#[track_caller]
fn run<T: 'static>(seed: u64, main: impl FnOnce(&World) -> T + 'static) -> Run<T> {
    SimBuilder::new(seed).run(main).unwrap()
}
