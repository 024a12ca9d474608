//! Outages, refusals, an expired certificate and a clock that says 1970: none of them costs a device
//! what it has.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use fiber::sim::SimBuilder;

use crate::machines::{CloudMachine, Told, start, wait_for_identity};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn pause(length: Duration) {
    fiber::sleep(length).expect("no scope is over");
}

#[track_caller]
fn check<T: 'static>(builder: SimBuilder, body: impl FnOnce(&fiber::sim::World) -> T + 'static) {
    let run = builder.time_max(1_000 * DAY).steps_max(50_000_000);
    if let Err(failure) = run.run(body) {
        panic!("{failure}");
    }
}

#[test]
fn an_outage_of_weeks_deletes_no_identity_and_no_start_needs_the_cloud() {
    check(SimBuilder::new(1), |world| {
        let cloud = CloudMachine::start(world);
        let (told, device) = (Rc::new(RefCell::new(Told::default())), world.host("device"));
        start(&device, &told);
        wait_for_identity(&told, HOUR);
        world.host("cloud").power_cut();
        for _ in 0..5 {
            pause(7 * DAY);
            device.power_cut();
            start(&device, &told);
            wait_for_identity(&told, Duration::from_secs(1));
        }
        assert_eq!(told.borrow().starts, 6);
        assert_eq!(cloud.stats().certificates, 1);
    });
}

#[test]
fn a_device_that_finds_no_cloud_at_first_gets_its_identity_when_there_is_one() {
    check(SimBuilder::new(2), |world| {
        let (told, device) = (Rc::new(RefCell::new(Told::default())), world.host("device"));
        start(&device, &told);
        pause(3 * DAY);
        device.power_cut();
        start(&device, &told);
        pause(DAY);
        assert!(told.borrow().certificate.is_none());
        let cloud = CloudMachine::start(world);
        wait_for_identity(&told, HOUR);
        let stats = cloud.stats();
        assert_eq!((stats.certificates, stats.keys), (1, 1));
    });
}

#[test]
fn a_certificate_that_has_expired_stays_and_is_used() {
    check(SimBuilder::new(3), |world| {
        let _cloud = CloudMachine::start(world);
        let (told, device) = (Rc::new(RefCell::new(Told::default())), world.host("device"));
        start(&device, &told);
        wait_for_identity(&told, HOUR);
        // The certificate is good for a year.
        device.set_clock_ahead(800 * DAY);
        for _ in 0..3 {
            device.power_cut();
            start(&device, &told);
            wait_for_identity(&told, Duration::from_secs(1));
        }
    });
}

#[test]
fn a_clock_that_says_1970_neither_costs_an_identity_nor_keeps_a_device_from_getting_one() {
    check(SimBuilder::new(4).wall_start(UNIX_EPOCH + HOUR), |world| {
        let _cloud = CloudMachine::start(world);
        let (told, device) = (Rc::new(RefCell::new(Told::default())), world.host("device"));
        start(&device, &told);
        wait_for_identity(&told, HOUR);
        // It has learned the time, and forgets it again.
        device.set_clock_ahead(20_000 * DAY);
        for behind in [false, true, false] {
            device.power_cut();
            if behind {
                device.set_clock_ahead(Duration::ZERO);
            }
            start(&device, &told);
            wait_for_identity(&told, Duration::from_secs(1));
        }
    });
}
