//! Prints what the basic moves of the scheduler cost, in nanoseconds: the median of nine runs.
//!
//! `cargo run --release -p fiber --example yield_bench`

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints its figures and ends at the first surprise"
)]

use std::time::Duration;

/// Times each figure is taken.
const RUNS: usize = 9;

fn main() {
    for fibers in [1, 10, 1_000, 10_000] {
        report(&format!("yield, {fibers} fibers"), || yields(fibers));
    }
    report("spawn + join", spawn_and_join);
    report("channel hop", channel_hop);
    report("event hop", event_hop);
    report("arm and cancel a timeout", timeouts);
}

/// Prints the median of some runs of `measure`, which gives one operation's share of its time.
fn report(name: &str, measure: impl Fn() -> f64) {
    let mut figures: Vec<f64> = (0..RUNS).map(|_| measure()).collect();
    figures.sort_by(f64::total_cmp);
    println!(
        "{name:>26}: {:7.1} ns (least {:.1})",
        figures[RUNS / 2],
        figures[0]
    );
}

fn per_operation(elapsed: Duration, operations: usize) -> f64 {
    elapsed.as_nanos() as f64 / operations as f64
}

fn yields(fibers: usize) -> f64 {
    let rounds = (2_000_000 / fibers).max(20);
    fiber::run(move || {
        let body = move || {
            for _ in 0..rounds {
                fiber::yield_now().unwrap();
            }
        };
        let mut children: Vec<_> = (0..fibers).map(|_| fiber::spawn(body).unwrap()).collect();
        // Everyone has started, and so has a stack page, before the time is taken.
        fiber::yield_now().unwrap();
        let began = fiber::Instant::now();
        for child in &mut children {
            child.join().unwrap();
        }
        per_operation(began.elapsed(), rounds * fibers)
    })
    .unwrap()
}

fn spawn_and_join() -> f64 {
    const COUNT: usize = 300_000;
    fiber::run(|| {
        let began = fiber::Instant::now();
        for _ in 0..COUNT {
            fiber::spawn(|| ()).unwrap().join().unwrap();
        }
        per_operation(began.elapsed(), COUNT)
    })
    .unwrap()
}

fn channel_hop() -> f64 {
    const ROUNDS: usize = 500_000;
    fiber::run(|| {
        let (to, from_main) = fiber::channel(1);
        let (back, from_child) = fiber::channel(1);
        fiber::spawn(move || {
            while let Ok(Some(value)) = from_main.recv() {
                if back.send(value).is_err() {
                    break;
                }
            }
        })
        .unwrap();
        let began = fiber::Instant::now();
        for round in 0..ROUNDS {
            to.send(round).unwrap();
            from_child.recv().unwrap();
        }
        per_operation(began.elapsed(), 2 * ROUNDS)
    })
    .unwrap()
}

fn event_hop() -> f64 {
    const ROUNDS: usize = 500_000;
    fiber::run(|| {
        let (ping, pong) = (fiber::Event::new(), fiber::Event::new());
        let (heard, answer) = (ping.clone(), pong.clone());
        fiber::spawn(move || {
            while heard.wait().is_ok() {
                heard.clear();
                answer.set();
            }
        })
        .unwrap();
        let began = fiber::Instant::now();
        for _ in 0..ROUNDS {
            ping.set();
            pong.wait().unwrap();
            pong.clear();
        }
        per_operation(began.elapsed(), 2 * ROUNDS)
    })
    .unwrap()
}

fn timeouts() -> f64 {
    const ROUNDS: usize = 1_000_000;
    fiber::run(|| {
        let began = fiber::Instant::now();
        for _ in 0..ROUNDS {
            fiber::timeout(Duration::from_secs(1), || ()).unwrap();
        }
        per_operation(began.elapsed(), ROUNDS)
    })
    .unwrap()
}
