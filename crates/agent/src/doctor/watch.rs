//! The agent's own doctor: called when it cannot connect, it tells the first thing to fix in one line.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Instant, JoinHandle};
use mqtt::{EndCause, Event};
use safe_rt::Identity;

use super::{Options, Outcome, Subject, examine};
use crate::config::Config;
use crate::explain;

/// Attempts to connect that fail in a row before the doctor is called.
pub const WATCH_FAILURES_MIN: u32 = 3;
/// The least time between two of its visits.
pub const WATCH_PAUSE_MIN: Duration = Duration::from_secs(3_600);

/// What it looks at beside the agent's own attempts, which go as far as the handshake and beyond.
pub(super) const LOOKED_AT: [&str; 9] = [
    "state-dir",
    "clock",
    "identity",
    "link",
    "dns",
    "proxy",
    "tcp",
    "tls",
    "tls-client",
];

/// Counts attempts that fail. A clone is the same one; when the last one is dropped an examination
/// that runs is ended.
#[derive(Clone, Debug)]
pub struct Watch(Rc<Inner>);

/// Tells what a device shows of itself.
type Shown = Box<dyn Fn() -> Option<Identity>>;

struct Inner {
    options: RefCell<Options>,
    /// What the device shows of itself by now.
    identity: RefCell<Option<Shown>>,
    failures: Cell<u32>,
    called_at: Cell<Option<Instant>>,
    visit: RefCell<Option<JoinHandle<()>>>,
}

impl Watch {
    /// Makes one for an agent with this configuration.
    #[must_use]
    pub fn new(config: Rc<Config>) -> Self {
        let mut options = Options::new(Subject::Loaded(config, None));
        options.only = LOOKED_AT.to_vec();
        Self(Rc::new(Inner {
            options: RefCell::new(options),
            identity: RefCell::default(),
            failures: Cell::new(0),
            called_at: Cell::new(None),
            visit: RefCell::default(),
        }))
    }

    /// Changes what is examined: another configuration, or what the device shows of itself.
    pub fn set(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.0.options.borrow_mut());
    }

    /// Asks this function at each visit what the device shows of itself, in place of what the
    /// configuration has: it may have been renewed since. It must not wait.
    pub fn identity_by(&self, identity: impl Fn() -> Option<Identity> + 'static) {
        *self.0.identity.borrow_mut() = Some(Box::new(identity));
    }

    /// What is examined by now.
    pub(crate) fn options(&self) -> Options {
        let mut options = self.0.options.borrow().clone();
        let identity = self.0.identity.borrow();
        let identity = identity.as_ref().and_then(|identity| identity());
        if let (Some(identity), Subject::Loaded(config, _)) = (identity, &mut options.subject) {
            let mut renewed = Config::clone(config);
            renewed.cloud.identity = Some(identity);
            *config = Rc::new(renewed);
        }
        options
    }

    /// Notes what happened to the connection; calls the doctor after the third attempt in a row that
    /// failed, and then once an hour at most. Does not yield: the doctor has a fiber of its own, and
    /// logs one line.
    pub fn note(&self, event: &Event) {
        match event {
            Event::Connected { .. } => self.0.failures.set(0),
            Event::ConnectFailed { cause, .. } => {
                let failures = self.0.failures.get() + 1;
                self.0.failures.set(failures);
                if failures >= WATCH_FAILURES_MIN && self.is_due() {
                    self.call(cause);
                }
            }
            _ => {}
        }
    }

    /// Whether the last visit is long enough ago, and over.
    fn is_due(&self) -> bool {
        let rested = |at: Instant| at.elapsed() >= WATCH_PAUSE_MIN;
        let visit = self.0.visit.borrow();
        self.0.called_at.get().is_none_or(rested)
            && visit.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn call(&self, cause: &EndCause) {
        self.0.called_at.set(Some(Instant::now()));
        let options = self.options();
        let failures = self.0.failures.get();
        let last = explain::code_of_end(cause).map(|code| (code, cause.to_string()));
        let visit = FiberBuilder::new().name("doctor").spawn(move || {
            log::warn!(
                "{failures} attempts to connect failed: {}",
                tell(options, last)
            );
        });
        match visit {
            Ok(visit) => *self.0.visit.borrow_mut() = Some(visit),
            Err(error) => log::warn!("no fiber for the doctor: {error}"),
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("failures", &self.failures)
            .field("called_at", &self.called_at)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(visit) = self.visit.take() {
            visit.cancel();
        }
    }
}

/// Examines, and says the first thing to fix: what a check found, else what the last attempt met.
fn tell(options: Options, last: Option<(&'static str, String)>) -> String {
    let report = examine(options);
    let failed = report
        .first()
        .filter(|first| first.outcome == Outcome::Fail);
    match (failed, last) {
        (Some(first), _) => {
            let fix = first.fix().map_or(String::new(), |fix| format!(". {fix}"));
            format!("{}{fix}", report.verdict())
        }
        (None, Some((code, text))) => {
            let fix = explain::find(code).map_or("", |found| found.fix);
            format!("the first thing to fix is mqtt-connect: {text} [{code}]. {fix}")
        }
        (None, None) => report.verdict(),
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;
    use crate::local_cloud::LocalAuthority;

    #[test]
    fn what_was_renewed_since_the_start_is_shown() {
        let body = || {
            let authority = LocalAuthority::new("test authority").unwrap();
            let of = |name: &str| {
                let issued = authority.issue(name, Duration::from_secs(60)).unwrap();
                Identity::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap()
            };
            let mut config = Config::new("mqtts://127.0.0.1:1".parse().unwrap());
            config.cloud.identity = Some(of("old"));
            let watch = Watch::new(Rc::new(config));
            let shown = || match watch.options().subject {
                Subject::Loaded(config, _) => {
                    let identity = config.cloud.identity.clone().unwrap();
                    identity.facts().unwrap().subject().to_string()
                }
                Subject::Layers(_) => unreachable!("it was loaded"),
            };
            assert!(shown().contains("old"), "{}", shown());
            let renewed = of("new");
            watch.identity_by(move || Some(renewed.clone()));
            assert!(shown().contains("new"), "{}", shown());
            watch.identity_by(|| None);
            assert!(shown().contains("old"), "{}", shown());
        };
        fiber::run(body).unwrap();
    }
}
