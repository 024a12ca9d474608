//! Clocks: of 1970, ahead, behind, and jumping.

use std::time::Duration;

use agent::HealthCode;

use crate::machines::{DAY, MINUTE, SECOND, live};

#[test]
fn a_clock_of_1970_stops_nobody() {
    live(SECOND, |day| {
        day.device.set_clock_behind(56 * 365 * DAY);
        let _device = day.boot();
        day.pass(10 * MINUTE);
        assert!(day.said.is_online.get());
        day.had(HealthCode::ClockImplausible);
        // The network brings the time.
        day.device.set_clock_ahead(Duration::ZERO);
        day.pass(10 * MINUTE);
        day.all_is_well();
    });
}

#[test]
fn a_clock_that_jumps_changes_nothing() {
    live(SECOND, |day| {
        let _device = day.boot();
        day.pass(10 * MINUTE);
        let connected = day.came.borrow().len();
        for years in [10, 0, 3, 0] {
            day.device.set_clock_ahead(years * 365 * DAY);
            day.pass(5 * MINUTE);
            day.device.set_clock_behind(years * 30 * DAY);
            day.pass(5 * MINUTE);
        }
        assert!(day.came.borrow().len() > connected + 1_000);
        day.device.set_clock_ahead(Duration::ZERO);
        day.pass(MINUTE);
        day.all_is_well();
    });
}
