//! `ping`: how long an answer of the broker takes.

use fiber::Instant;

use crate::doctor::case::Case;
use crate::doctor::finding::Finding;

/// How often it is asked.
const PINGS: usize = 5;

pub(super) fn run(case: &Case) -> Finding {
    if case.is_beside() {
        return Finding::because_of("daemon");
    }
    let Some(client) = case.client.borrow().clone() else {
        return Finding::skip("there is no connection");
    };
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = Instant::now();
        if let Err(error) = client.ping() {
            return Finding::warn(format!("no answer: {error}")).code("T091");
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times[PINGS / 2];
    Finding::ok(format!(
        "{:.1} ms, the middle of {PINGS}",
        median.as_secs_f64() * 1_000.0
    ))
}
