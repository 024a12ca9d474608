//! Disks: read-only, full, lost, damaged, failing.

use agent::HealthCode;

use crate::machines::{HOUR, MINUTE, SECOND, live};

#[test]
fn a_state_directory_that_is_read_only_means_a_queue_in_memory_and_a_word_about_it() {
    live(SECOND, |day| {
        day.device.set_disk_read_only(true);
        let _device = day.boot();
        day.pass(MINUTE);
        assert!(!day.said.is_durable.get());
        assert!(day.said.is_online.get());
        day.had(HealthCode::StateReadonly);
        assert!(day.said.taken.borrow().len() > 30);
        assert!(day.came.borrow().len() > 30);
    });
}

#[test]
fn a_disk_that_is_full_stops_nobody_and_is_told_of() {
    live(SECOND, |day| {
        let _device = day.boot();
        day.pass(MINUTE);
        day.world.partition("device", "broker");
        day.device.set_disk_capacity(Some(1_000));
        day.pass(10 * MINUTE);
        day.device.set_disk_capacity(None);
        day.world.heal("device", "broker");
        // What had to be dropped is told for ten minutes.
        day.pass(21 * MINUTE);
        day.had(HealthCode::QueueFailing);
        assert!(day.said.is_online.get() && !day.said.is_ill.get());
        // What is taken with room again comes; the oldest may have had to go meanwhile.
        let before = day.came.borrow().len();
        day.pass(MINUTE);
        assert!(day.came.borrow().len() > before + 50);
        assert_eq!(day.said.starts.get(), 1);
    });
}

#[test]
fn a_disk_that_fails_is_told_of_and_what_was_taken_arrives() {
    live(SECOND, |day| {
        let _device = day.boot();
        day.pass(MINUTE);
        day.world.partition("device", "broker");
        day.device.set_failing_writes(500_000);
        day.device.set_failing_syncs(500_000);
        day.pass(10 * MINUTE);
        day.device.set_failing_writes(0);
        day.device.set_failing_syncs(0);
        day.world.heal("device", "broker");
        day.pass(10 * MINUTE);
        day.had(HealthCode::QueueFailing);
        day.all_is_well();
    });
}

#[test]
fn power_cuts_again_and_again_lose_nothing_that_was_taken() {
    live(SECOND, |day| {
        for life in 0..20 {
            let _device = day.boot();
            day.pass(SECOND * (7 + life));
            if life % 3 == 0 {
                day.world.partition("device", "broker");
            } else {
                day.world.heal("device", "broker");
            }
            day.pass(SECOND * (3 + life % 5));
            day.device.power_cut();
        }
        day.world.heal("device", "broker");
        let _device = day.boot();
        day.pass(HOUR);
        day.all_is_well();
        assert_eq!(day.said.starts.get(), 21);
    });
}
