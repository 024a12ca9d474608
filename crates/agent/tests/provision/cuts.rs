//! The power is cut while the device gets its identity.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{SimBuilder, World};

use crate::machines::{CloudMachine, Told, start, wait_for_identity};

fn cut(world: &World, after: &[Duration]) -> Duration {
    let cloud = CloudMachine::start(world);
    let (told, device) = (Rc::new(RefCell::new(Told::default())), world.host("device"));
    device.set_disk_latency(Duration::from_millis(2)..=Duration::from_millis(2));
    device.set_sync_latency(Duration::from_millis(2)..=Duration::from_millis(2));
    fiber::sleep(Duration::from_millis(10)).expect("no scope is over");
    for after in after {
        start(&device, &told);
        fiber::sleep(*after).expect("no scope is over");
        device.power_cut();
    }
    let began = fiber::Instant::now();
    start(&device, &told);
    wait_for_identity(&told, Duration::from_secs(3_600));
    let stats = cloud.stats();
    // One key for the whole attempt, unless it was made and not even noted; at most one certificate
    // more for each cut.
    assert!(stats.certificates <= 1 + after.len(), "{stats:?}");
    assert!(stats.keys == 1 && stats.things.len() == 1, "{stats:?}");
    let registrations: usize = stats.things.values().sum();
    assert!(registrations <= 1 + after.len(), "{stats:?}");
    began.elapsed()
}

fn run(seed: u64, after: Vec<Duration>) -> Duration {
    let run = SimBuilder::new(seed).run(move |world| cut(world, &after));
    run.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
        .value
}

#[test]
fn a_power_cut_at_any_moment_of_provisioning_costs_one_request_at_most_and_no_key() {
    // The proof waits for ten seconds in the end; all that is written is written before and after.
    let whole = run(0, Vec::new());
    assert!(whole > Duration::from_secs(10));
    let moments = |from: Duration, to: Duration| {
        let step = Duration::from_millis(3);
        let count = (to.saturating_sub(from)).as_millis() as u32 / 3;
        (0..count).map(move |number| from + step * number)
    };
    let busy = whole - Duration::from_secs(10);
    let (early, late) = (busy, whole.saturating_sub(busy));
    for (seed, after) in moments(Duration::ZERO, early)
        .chain(moments(late, whole))
        .enumerate()
    {
        run(seed as u64, vec![after]);
    }
}

#[test]
fn power_cuts_that_follow_each_other_end_with_one_identity() {
    for seed in 0..150_u64 {
        let after = |of: u64| Duration::from_millis((seed * 7_919 + of * 104_729) % 12_000);
        run(seed, (0..4).map(after).collect());
    }
}
