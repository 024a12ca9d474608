//! Prints by how much waits for time overshoot, in microseconds: the median and the worst of many.
//!
//! `cargo run --release -p fiber --example timer_bench`, on a machine that is otherwise idle.

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures and ends at the first surprise"
)]

use std::time::Duration;

/// Waits of each length, and how many.
const LENGTHS: [(u64, usize); 6] = [
    (50, 1_000),
    (250, 1_000),
    (999, 1_000),
    (1_100, 1_000),
    (20_300, 50),
    (1_000_300, 3),
];

fn main() {
    for (micros, count) in LENGTHS {
        let mut overshoots = fiber::run(move || {
            let wait = Duration::from_micros(micros);
            let overshoot = |_| {
                let until = fiber::Instant::now() + wait;
                fiber::sleep_until(until).unwrap();
                until.elapsed()
            };
            (0..count).map(overshoot).collect::<Vec<_>>()
        })
        .unwrap();
        overshoots.sort();
        let median = overshoots[count / 2].as_nanos() as f64 / 1_000.0;
        let worst = overshoots[count - 1].as_nanos() as f64 / 1_000.0;
        println!("sleep of {micros:>9} us: median {median:6.1} us too long, worst {worst:8.1} us");
    }
}
