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

impl Total {
    pub(crate) fn add(&self, counts: &Counts) {
        *self.runs.borrow_mut() += 1;
        let mut total = self.counts.borrow_mut();
        for (what, count) in counts {
            *total.entry(what.clone()).or_default() += count;
        }
    }

    /// Prints what was seen. Where there were enough runs, each of these was seen in one of them.
    pub(crate) fn report(&self, test: &str, expected: &[&str]) {
        let (counts, runs) = (self.counts.borrow(), *self.runs.borrow());
        let mut text = format!("{test}: {runs} runs came by\n");
        for (what, count) in &*counts {
            text += &format!("{count:>10}  {what}\n");
        }
        say(&text);
        let is_missing = |what: &&&str| !counts.contains_key(**what);
        let missing: Vec<_> = expected.iter().filter(is_missing).collect();
        assert!(
            runs < RUNS_FOR_COVERAGE || missing.is_empty(),
            "never seen: {missing:?}"
        );
    }
}
