//! Laws of waiting: what must hold however fibers interleave.
//!
//! Each law is a small program that draws what it does and asserts what must hold. It runs on the
//! real backend some times, and where the simulator is built in under many seeds, of which one in
//! four runs fibers first in, first out and the others in an order that is drawn. `SIM_SEEDS` sets
//! how many. The table of laws is in `docs/testing.md`.

mod channels;
mod locks;
#[cfg(feature = "sim")]
mod planted;
mod scopes;
mod turns;
mod waits;

use std::time::Duration;

use super::patiently;
use crate::{random, sleep, yield_now};

const MILLISECOND: Duration = Duration::from_millis(1);
/// How often a law runs on the real backend.
const REAL_RUNS: u32 = 10;

/// Where a law runs, which decides how exact its times are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Real,
    #[cfg(feature = "sim")]
    Sim,
    /// Fibers run first in, first out.
    #[cfg(feature = "sim")]
    SimFifo,
}

impl Side {
    /// How late something may be.
    fn late_max(self) -> Duration {
        match self {
            Self::Real => Duration::from_secs(10),
            #[cfg(feature = "sim")]
            Self::Sim | Self::SimFifo => MILLISECOND,
        }
    }

    fn is_fifo(self) -> bool {
        match self {
            Self::Real => true,
            #[cfg(feature = "sim")]
            Self::Sim => false,
            #[cfg(feature = "sim")]
            Self::SimFifo => true,
        }
    }
}

type Law = fn(Side);

/// A number below `bound`, drawn from the seed.
fn draw(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    random::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % bound
}

fn milliseconds(count: u64) -> Duration {
    MILLISECOND * u32::try_from(count).unwrap()
}

/// Waits or not.
fn pause() {
    match draw(4) {
        0 => yield_now().unwrap(),
        1 => sleep(Duration::from_micros(draw(500))).unwrap(),
        _ => {}
    }
}

fn handle(body: impl FnOnce() + 'static) -> crate::JoinHandle<()> {
    crate::spawn(body).unwrap()
}

/// Waits for all of them to end.
fn join_all(fibers: Vec<crate::JoinHandle<()>>) {
    for mut fiber in fibers {
        fiber.join().unwrap();
    }
}

#[cfg(feature = "sim")]
fn under(
    sim: crate::sim::SimBuilder,
    law: Law,
) -> Result<crate::sim::Run<()>, crate::sim::Failure> {
    use crate::sim::Order;
    let (order, side) = if sim.seed().is_multiple_of(4) {
        (Order::Fifo, Side::SimFifo)
    } else {
        (Order::Random, Side::Sim)
    };
    sim.order(order).steps_max(200_000).run(move |_| law(side))
}

/// Checks a law on every backend.
#[track_caller]
fn holds(law: Law) {
    for _ in 0..REAL_RUNS {
        patiently(move || law(Side::Real));
    }
    #[cfg(feature = "sim")]
    crate::sim::check(200, |sim| under(sim, law));
}
