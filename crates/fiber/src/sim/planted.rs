//! Faults of the runtime, planted by tests to see that they are found. In no build but the tests'.

use crate::core::Core;

/// A fault of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Some wakes of parked fibers do nothing.
    LostWake,
    /// Some tokens wake a later wait than theirs.
    DoubleWake,
    /// Some timers do nothing when they are due.
    ForgottenTimer,
}

/// Once in so many per million a planted fault bites.
const BITES_PER_MILLION: u32 = 50_000;

/// Whether the fault is planted and bites now.
pub(crate) fn bites(core: &Core, fault: Planted) -> bool {
    core.sim.as_ref().is_some_and(|sim| {
        sim.options.planted == Some(fault) && sim.schedule.chance(BITES_PER_MILLION)
    })
}
