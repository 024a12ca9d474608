//! Reading the configuration again while the agent runs.
//!
//! It is read whole and checked whole, and compared with the one in use. What can count at once does:
//! the rate of `[limits]`. The rest is named, and counts when the agent is started again. One that is
//! faulty changes nothing, and the agent says that it is there.

use std::rc::Rc;

use fiber::Stopped;

use crate::agent::Agent;
use crate::config::{self, Applies, Effective, GOOD_AFTER, Rejected, Source};
use crate::notify;
use crate::profile::Profile;
use crate::supervise::{HealthCode, Link};

/// What a new configuration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The settings that count now.
    pub changed: Vec<String>,
    /// Those that count when the agent is started again.
    pub restart: Vec<String>,
}

/// Where the configuration came from, and what it was.
#[derive(Debug)]
pub(crate) struct Loaded {
    source: Rc<Source>,
    effective: Effective,
    /// Why that is not the present configuration, if it is the last good one.
    rejected: Option<Rejected>,
}

impl Loaded {
    pub(crate) fn new(source: Source, effective: Effective, rejected: Option<Rejected>) -> Self {
        Self {
            source: Rc::new(source),
            effective,
            rejected,
        }
    }

    /// Says that the present configuration was passed over at the start, if it was.
    pub(crate) fn tell_rejected(&self, agent: &Agent) {
        if let Some(rejected) = &self.rejected {
            let text = rejected.to_string();
            log::error!("{text}");
            agent.raise(HealthCode::ConfigRejected, first_line(&text));
        }
    }

    /// Keeps the configuration as one that is good, unless it is that already. Yields.
    pub(crate) fn keep(&self) {
        if self.rejected.is_none()
            && let Err(error) = config::keep(&self.effective)
        {
            log::warn!("the configuration is not kept as the last good one: {error}");
        }
    }

    /// Reads it again, and returns what there is then. Yields.
    pub(crate) fn reload(&self, agent: &Agent) -> Result<(Reloaded, Self), String> {
        notify::reloading();
        let read = self.source.load();
        let result = match read {
            Err(errors) => {
                let text = errors.to_string();
                agent.raise(HealthCode::ConfigRejected, first_line(&text));
                log::error!("the configuration stays as it is: {text}");
                Err(text)
            }
            Ok(effective) => Ok(self.take(agent, effective)),
        };
        notify::ready(agent);
        result
    }

    fn take(&self, agent: &Agent, effective: Effective) -> (Reloaded, Self) {
        agent.clear(HealthCode::ConfigRejected);
        let changes = effective.changes(&self.effective);
        let mut reloaded = Reloaded::default();
        for change in changes.iter() {
            log::info!("{change}");
            if change.applies == Applies::Live {
                reloaded.changed.push(change.path.clone());
            } else {
                reloaded.restart.push(change.path.clone());
            }
        }
        if !reloaded.changed.is_empty() {
            let rate = Profile::of_config(effective.config()).publish_rate();
            agent.throttle().set_usual(rate);
        }
        let loaded = Self {
            source: Rc::clone(&self.source),
            effective,
            rejected: None,
        };
        (reloaded, loaded)
    }
}

/// Keeps the configuration once a connection was stable on it, until it is stopped: the body of a fiber.
/// Yields.
///
/// # Errors
///
/// [`Stopped`], always.
pub(crate) fn keep_when_good(agent: &Agent) -> Result<(), Stopped> {
    let mut interval = fiber::interval(GOOD_AFTER / 10);
    loop {
        interval.tick()?;
        let supervisor = agent.supervisor();
        let is_up = matches!(supervisor.link(), Link::Up { .. });
        if is_up
            && supervisor.since().elapsed() >= GOOD_AFTER
            && let Some(loaded) = agent.loaded()
        {
            loaded.keep();
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
