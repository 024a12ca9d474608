//! Links: flapping, away for weeks, and names that nobody answers for.

use agent::HealthCode;

use crate::machines::{DAY, HOUR, MINUTE, SECOND, live};

#[test]
fn a_link_that_flaps_loses_nothing() {
    live(SECOND, |day| {
        let _device = day.boot();
        for turn in 0..60 {
            day.world.partition("device", "broker");
            day.pass(SECOND * (1 + turn % 17));
            day.world.heal("device", "broker");
            day.pass(SECOND * (2 + turn % 23));
        }
        day.pass(10 * MINUTE);
        day.all_is_well();
    });
}

#[test]
fn weeks_without_a_network_end_with_everything_delivered() {
    live(10 * MINUTE, |day| {
        day.world.partition("device", "broker");
        let device = day.boot();
        day.pass(10 * DAY);
        day.device.power_cut();
        drop(device);
        let _device = day.boot();
        day.pass(11 * DAY);
        day.had(HealthCode::Offline);
        assert!(day.came.borrow().is_empty());
        day.world.heal("device", "broker");
        day.pass(HOUR);
        day.all_is_well();
        // Three weeks of readings, less what two boots take.
        assert!(day.said.taken.borrow().len() > 3_000);
    });
}

#[test]
fn a_device_boots_without_names_and_finds_a_live_server_at_its_last_good_address() {
    live(SECOND, |day| {
        let _device = day.boot();
        day.pass(MINUTE);
        day.world.names().failing(1_000_000);
        day.world.way("device", "broker").reset_now();
        day.pass(10 * MINUTE);
        assert!(day.said.is_online.get());
        day.all_is_well();
    });
}
