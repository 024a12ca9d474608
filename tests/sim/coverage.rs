//! What the runs came by: faults, states, events and ends, counted over all seeds. A fault that never
//! happened, or never at some stage, was not tested.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Write as _};
use std::rc::Rc;

use mqtt::Event;

/// Runs from which on everything that is named must have been seen: the rarest comes in one of 60.
const RUNS_FOR_COVERAGE: u64 = 200;
/// Runs from which on each fault must have been seen at each stage [`PAIR_MIN`] times: the rarest of
/// these pairs comes in one run of 170.
const RUNS_FOR_PAIRS: u64 = 20_000;
const PAIR_MIN: u64 = 100;
/// The end of a report's first line.
const CAME_BY: &str = "runs came by";

/// How often what was seen.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The counts of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(Rc<RefCell<Counts>>);

impl Coverage {
    pub(crate) fn note(&self, what: impl Into<String>) {
        *self.0.borrow_mut().entry(what.into()).or_default() += 1;
    }

    pub(crate) fn note_event(&self, event: &Event) {
        match event {
            Event::Connected { session_present } => {
                let with = if *session_present { "with" } else { "without" };
                self.note(format!("connected {with} a session"));
            }
            Event::Disconnected { cause, .. } => self.note(format!("ended: {}", name(cause))),
            Event::ConnectFailed { cause, .. } => self.note(format!("failed: {}", name(cause))),
            Event::Store { report } => self.note(format!("store: {}", name(report))),
            other => self.note(format!("event: {}", name(other))),
        }
    }

    pub(crate) fn take(&self) -> Counts {
        self.0.take()
    }
}

/// Tells the terminal.
pub(crate) fn say(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

/// The name of a variant.
pub(crate) fn name(of: &impl Debug) -> String {
    let text = format!("{of:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The counts of all runs of a test.
#[derive(Default)]
pub(crate) struct Total {
    counts: RefCell<Counts>,
    runs: RefCell<u64>,
}

/// What many runs are expected to come by.
#[derive(Clone, Default)]
pub(crate) struct Expected {
    /// Each of these at least once.
    pub(crate) seen: Vec<&'static str>,
    /// Faults, each of which at each of these stages at least [`PAIR_MIN`] times.
    pub(crate) faults: Vec<String>,
    pub(crate) stages: &'static [&'static str],
}

impl Total {
    pub(crate) fn add(&self, runs: u64, counts: &Counts) {
        *self.runs.borrow_mut() += runs;
        let mut total = self.counts.borrow_mut();
        for (what, count) in counts {
            *total.entry(what.clone()).or_default() += count;
        }
    }

    /// Prints what was seen. Where there were enough runs, it is checked against what is expected.
    pub(crate) fn report(&self, test: &str, expected: &Expected) {
        let (counts, runs) = (self.counts.borrow(), *self.runs.borrow());
        let mut text = format!("{test}: {runs} {CAME_BY}\n");
        for (what, count) in &*counts {
            text += &format!("{count:>10}  {what}\n");
        }
        say(&text);
        let is_missing = |what: &&&str| !counts.contains_key(**what);
        let missing: Vec<_> = expected.seen.iter().filter(is_missing).collect();
        assert!(
            runs < RUNS_FOR_COVERAGE || missing.is_empty(),
            "never seen: {missing:?}"
        );
        let count = |fault: &str, stage: &str| {
            let pair = format!("{fault} at: {stage}");
            let count = counts.get(&pair).copied().unwrap_or(0);
            (pair, count)
        };
        let faults = expected.faults.iter();
        let pairs = faults.flat_map(|fault| expected.stages.iter().map(|it| count(fault, it)));
        let rare: Vec<_> = pairs.filter(|(_, count)| *count < PAIR_MIN).collect();
        assert!(
            runs < RUNS_FOR_PAIRS || rare.is_empty(),
            "seen too rarely: {rare:?}"
        );
    }
}

/// Reads a report of another process; `None` if there is none.
pub(crate) fn parse(text: &str) -> Option<(u64, Counts)> {
    let mut lines = text.lines();
    let head = lines.find_map(|line| line.strip_suffix(CAME_BY))?;
    let runs = head.split_whitespace().last()?.parse().ok()?;
    let counts = lines.map_while(|line| {
        let (count, what) = line.trim_start().split_once("  ")?;
        Some((what.to_owned(), count.parse().ok()?))
    });
    Some((runs, counts.collect()))
}
