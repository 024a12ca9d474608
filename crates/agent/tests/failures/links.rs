//! Links: flapping, away for weeks, and names that nobody answers for.

use std::rc::Rc;

use agent::HealthCode;

use crate::machines::{DAY, HOUR, MINUTE, SECOND, Said, live};

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

#[test]
fn two_devices_of_one_image_say_so_and_do_not_fight_for_long() {
    live(10 * MINUTE, |day| {
        let other = Rc::<Said>::default();
        let _device = day.boot();
        let clone = day.boot_clone(&other);
        day.pass(HOUR);
        for said in [&day.said, &other] {
            let code = HealthCode::DuplicateIdentity.name();
            let ailments = said.ailments.borrow();
            assert!(ailments.contains(code), "{ailments:?}");
        }
        // One waits for up to ten minutes, and then each comes once.
        let connects = || day.said.connects.get() + other.connects.get();
        let before = connects();
        day.pass(6 * HOUR);
        let often = connects() - before;
        assert!(
            (10..=6 * 60).contains(&often),
            "{often} connections in 6 hours"
        );
        // The other one is taken away.
        drop(clone);
        day.world.host("clone").power_cut();
        day.pass(HOUR);
        day.all_is_well();
    });
}
