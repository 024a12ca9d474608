//! `clock`: whether the clock can be right.

use safe_rt::{ClockFloor, ClockVerdict, Utc};

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

/// Where systemd notes that the clock was set by the network.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

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
            let set = match fiber::fs::permissions(SYNCHRONISED) {
                Ok(_) => ", set by the network",
                Err(_) => "",
            };
            Finding::ok(format!("{}{set}", Utc(wall)))
        }
    }
}
