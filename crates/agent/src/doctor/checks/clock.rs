//! `clock`: whether the clock can be right.

use std::time::Duration;

use safe_rt::{ClockFloor, ClockVerdict, Utc};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

/// Where systemd notes that the clock was set by the network.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// How long after the earliest time that it can be a clock shows a time that it hardly is: ten years.
const AHEAD_MIN: Duration = Duration::from_secs(3_653 * 86_400);

pub(super) fn run(case: &Case) -> Finding {
    let setup = case.setup();
    let floor = setup
        .as_ref()
        .and_then(|setup| setup.connection.dial.clock_floor());
    let floor = floor.map_or_else(ClockFloor::new, ClockFloor::clone);
    let wall = case.wall();
    let earliest = floor.earliest();
    match floor.check(wall) {
        ClockVerdict::Behind { by } => {
            let finding = Finding::warn_by("T106")
                .evidence(format!("it says {}", Utc(wall)))
                .evidence(format!("it is {} at the least", Utc(earliest)));
            finding.evidence(format!(
                "it is {} days behind, or more",
                by.as_secs() / 86_400
            ))
        }
        _ => {
            let is_set = fiber::fs::permissions(SYNCHRONISED).is_ok();
            if wall > earliest + AHEAD_MIN && !is_set {
                // Before certificates are blamed that have ended by it.
                return Finding::fail_by("T106")
                    .evidence(format!(
                        "it says {}, and the network has not set it",
                        Utc(wall)
                    ))
                    .evidence(format!(
                        "it was {} when this program was made, or later",
                        Utc(earliest)
                    ))
                    .evidence("certificates of either side seem to have ended");
            }
            let set = if is_set { ", set by the network" } else { "" };
            Finding::ok(format!("{}{set}", Utc(wall)))
        }
    }
}
