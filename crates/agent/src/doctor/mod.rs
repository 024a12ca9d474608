//! The doctor: ordered checks of everything between this device and its broker, each with what was
//! found, why, and what helps.
//!
//! ```text
//!  config ─► state-dir daemon clock identity link dns ─► proxy tcp ─► tls ─► tls-client ws
//!         ─► mqtt-connect ─► stays-up ─► rights-subscribe ─► rights-publish ─► ping      limits
//! ```
//! A check needs others; where one of them failed it is left out, and says because of which. Checks
//! that need the same run side by side, each within its time and all within [`DOCTOR_TIMEOUT`].
//!
//! **It must not be the disease.** A second connection with the device's client identifier ends the
//! first one, so while the agent runs it is asked what it sees, with checks of its own in its own
//! surroundings, and nothing is sent beyond the handshake, unless that is asked for.
//! Where the broker keeps the device's session the doctor keeps it too, and acknowledges nothing: what
//! waits there is for the agent. The agent has a doctor of its own, see [`Watch`].

mod case;
mod checks;
mod finding;
mod report;
mod session;
mod statement;
mod tool;
mod view;
mod watch;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use safe_rt::Identity;

use crate::config::{self, Config};

pub use checks::CHECKS;
pub use finding::{Finding, Outcome};
pub use report::{REPORT_SCHEMA, Report};
pub use statement::{Right, Who, statement};
pub use tool::run;
pub use view::AGENT_CHECKS_TIMEOUT;
pub(crate) use view::own_checks;
pub use watch::{WATCH_FAILURES_MIN, WATCH_PAUSE_MIN, Watch};

use case::Case;

/// Time for all checks together.
pub const DOCTOR_TIMEOUT: Duration = Duration::from_secs(30);

/// One check: what it looks at, what it needs, and how long it may take.
#[derive(Debug)]
pub struct Check {
    /// Its name.
    pub id: &'static str,
    /// What it looks at, in a few words.
    pub looks_at: &'static str,
    /// The checks that must not have failed for it.
    pub needs: &'static [&'static str],
    /// The checks that are made before it, whatever they find.
    pub after: &'static [&'static str],
    /// Time for it.
    pub timeout: Duration,
    run: fn(&Case) -> Finding,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Its layers, which are read.
    Layers(Box<config::Source>),
    /// It was read before, and this is what the device shows of itself if it says nothing of that.
    Loaded(Rc<Config>, Option<Identity>),
}

/// What is to be examined, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The configuration.
    pub subject: Subject,
    /// The folder for what is kept; that of the configuration unless set.
    pub state_dir: Option<PathBuf>,
    /// Connect even where that ends the connection of an agent that runs.
    pub takeover: bool,
    /// Publish to the topics themselves, and not only to a leaf `doctor` below them.
    pub touch: bool,
    /// These checks alone, and what they need; all if it is empty.
    pub only: Vec<&'static str>,
    /// Not these.
    pub skip: Vec<&'static str>,
    /// Other ports that are tried beside the endpoint's; those that brokers usually have, for a
    /// public provider, unless set.
    pub ports: Option<Vec<u16>>,
    /// What the clock of the device shows; its own clock unless set.
    pub wall: Option<SystemTime>,
}

impl Options {
    /// Examines everything, as far as that does no harm.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self {
            subject,
            state_dir: None,
            takeover: false,
            touch: false,
            only: Vec::new(),
            skip: Vec::new(),
            ports: None,
            wall: None,
        }
    }
}

/// Runs the checks. Yields; within [`DOCTOR_TIMEOUT`], or the ambient deadline if that comes before.
#[must_use]
pub fn examine(options: Options) -> Report {
    let case = Case::new(options);
    let run = || checks::run(&case);
    let mut findings = fiber::timeout(DOCTOR_TIMEOUT, run).unwrap_or_else(|elapsed| elapsed.0);
    if let Some(left) = case.leave()
        && let Some(found) = findings.iter_mut().find(|it| it.id == "rights-publish")
    {
        found.outcome = found.outcome.max(Outcome::Warn);
        found.evidence.push(left);
    }
    Report::new(&case, findings)
}

/// Finds a check by its name.
#[must_use]
pub fn check(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}
