//! Reading the configuration again while the agent runs.
//!
//! It is read whole and checked whole, and compared with the one in use. What can count at once does;
//! what the next connection needs anew is ready for it; the rest is named, and counts when the agent is
//! started again. One that is faulty changes nothing, and the agent says that it is there.
//!
//! ```text
//!   SIGHUP, `agent reload` ─► read and check all ─► compare ─┬─► at once: log, schedule, subscriptions, ..
//!                                 │ faulty                   ├─► next connection: certificate, password, ..
//!                                 └─► stays as it is         └─► next start: endpoint, queue, ..
//! ```

mod apply;

use std::cell::RefCell;
use std::rc::Rc;

use fiber::{Instant, Stopped};

use crate::agent::Agent;
use crate::config::{self, Applies, Config, Effective, GOOD_AFTER, Rejected, Source};
use crate::notify;
use crate::service::ServiceSettings;
use crate::supervise::{HealthCode, Link};

/// What a new configuration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// The settings that count now.
    pub changed: Vec<String>,
    /// Those that count with the next connection.
    pub reconnect: Vec<String>,
    /// Those that count when the agent is started again, of this change and of earlier ones.
    pub restart: Vec<String>,
}

/// What the program does to a configuration that was read.
pub(crate) type OnConfig = Box<dyn FnMut(&mut Config)>;

/// What a program says beside the configuration, each time that it is read.
#[derive(Clone, Default)]
pub(crate) struct Given {
    pub(crate) on_config: Rc<RefCell<Vec<OnConfig>>>,
    /// What it set itself.
    pub(crate) services: ServiceSettings,
}

/// Where the configuration came from, and what it was.
pub(crate) struct Loaded {
    source: Rc<Source>,
    program: Given,
    /// What the agent was started with.
    started: Rc<Effective>,
    effective: Rc<Effective>,
    /// When that was read.
    read_at: Instant,
    /// When something came that counts with the next connection.
    reconnect_from: Instant,
    /// What of it counts at the next start only.
    restart: Vec<String>,
    /// Why that is not the present configuration, if it is the last good one.
    rejected: Option<Rejected>,
}

impl Loaded {
    pub(crate) fn new(
        source: Source,
        program: Given,
        effective: Effective,
        rejected: Option<Rejected>,
    ) -> Self {
        let (started, now) = (Rc::new(effective), Instant::now());
        Self {
            source: Rc::new(source),
            program,
            effective: Rc::clone(&started),
            started,
            read_at: now,
            reconnect_from: now,
            restart: Vec::new(),
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

    /// Keeps the configuration as one that is good, unless it is that already; one that was read again
    /// only if all of it is in use. Yields.
    fn keep(&self) {
        if let Err(error) = config::keep(&self.effective) {
            log::warn!("the configuration is not kept as the last good one: {error}");
        }
    }

    /// Whether all of it has been in use for long enough, on a connection that has lasted since then.
    fn is_good(&self, connected_at: Instant) -> bool {
        let in_use = self.rejected.is_none() && self.restart.is_empty();
        // What counts with the next connection has not shown before whether it is any good.
        in_use
            && connected_at >= self.reconnect_from
            && connected_at.max(self.read_at).elapsed() >= GOOD_AFTER
    }

    /// Reads it again, has it count, and returns what there is then. Yields.
    pub(crate) fn reload(&self, agent: &Agent) -> Result<(Reloaded, Self), String> {
        notify::reloading();
        let result = self.source.load().map_err(|errors| errors.to_string());
        let result = result.and_then(|effective| self.take(agent, effective));
        match &result {
            Ok(_) => agent.clear(HealthCode::ConfigRejected),
            Err(text) => {
                agent.raise(HealthCode::ConfigRejected, first_line(text));
                log::error!("the configuration stays as it is: {text}");
            }
        }
        notify::ready(agent);
        result
    }

    fn take(&self, agent: &Agent, effective: Effective) -> Result<(Reloaded, Self), String> {
        let mut config = Box::new(effective.config().clone());
        for hook in self.program.on_config.borrow_mut().iter_mut() {
            hook(&mut config);
        }
        let changes = effective.changes(&self.effective);
        let prepared = apply::prepare(agent, &self.program, config)?;
        let needs_start = prepared.apply(agent, &changes);
        let mut reloaded = Reloaded::default();
        for change in changes.iter() {
            log::info!("{change}");
            let path = change.path.clone();
            match change.applies {
                _ if needs_start.contains(&path) => {}
                Applies::Live => reloaded.changed.push(path),
                Applies::Reconnect => reloaded.reconnect.push(path),
                Applies::Restart => {}
            }
        }
        // What was to wait for a start before waits on.
        let since_start = effective.changes(&self.started);
        let waiting = since_start
            .iter()
            .map(|change| (change.path.clone(), change.applies));
        let waiting = waiting.filter(|(path, applies)| {
            let waits_on = self.restart.contains(path) && !changes.has(path);
            *applies == Applies::Restart || needs_start.contains(path) || waits_on
        });
        reloaded.restart = waiting.map(|(path, _)| path).collect();
        // Also what the start had not, and this configuration has no more: it is in use all the same.
        let still = self.restart.iter().filter(|path| !changes.has(path));
        for path in needs_start.iter().chain(still) {
            if !reloaded.restart.contains(path) {
                reloaded.restart.push(path.clone());
            }
        }
        for path in &needs_start {
            log::info!("{path}: at the next start, as it is");
        }
        let now = Instant::now();
        let loaded = Self {
            source: Rc::clone(&self.source),
            program: self.program.clone(),
            started: Rc::clone(&self.started),
            effective: Rc::new(effective),
            read_at: if changes.is_empty() {
                self.read_at
            } else {
                now
            },
            reconnect_from: match reloaded.reconnect.is_empty() {
                true => self.reconnect_from,
                false => now,
            },
            restart: reloaded.restart.clone(),
            rejected: None,
        };
        Ok((reloaded, loaded))
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
        if matches!(supervisor.link(), Link::Up { .. })
            && let Some(loaded) = agent.loaded()
            && loaded.is_good(supervisor.since())
        {
            loaded.keep();
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn loaded() -> Loaded {
        let source = Source::system().root("/nonexistent").variables([]);
        let source = source.set("cloud.endpoint=mqtts://broker.example").unwrap();
        let effective = source.load().unwrap_or_else(|errors| panic!("{errors}"));
        Loaded::new(source, Given::default(), effective, None)
    }

    /// The first minute in which it is good, on a connection of the start.
    fn good_after(loaded: &Loaded, connected_at: Instant) -> Option<u64> {
        (0..30).find(|_| {
            let is_good = loaded.is_good(connected_at);
            fiber::sleep(Duration::from_secs(60)).unwrap();
            is_good
        })
    }

    #[test]
    fn a_configuration_is_good_when_all_of_it_was_in_use_for_long_enough() {
        let run = || {
            let start = Instant::now();
            assert_eq!(good_after(&loaded(), start), Some(5));
            // What was read again has its own time.
            let mut read_again = loaded();
            read_again.reconnect_from = start;
            assert_eq!(good_after(&read_again, start), Some(5));
            // What counts with the next connection says nothing on the one that there is.
            read_again.reconnect_from = Instant::now();
            assert_eq!(good_after(&read_again, start), None);
            assert_eq!(good_after(&read_again, Instant::now()), Some(5));
            // What waits for a start was never tried.
            let mut waits = loaded();
            waits.reconnect_from = start;
            waits.restart.push("cloud.endpoint".to_owned());
            assert_eq!(good_after(&waits, start), None);
        };
        let runtime = fiber::Runtime::builder().paused_clock(true);
        runtime.run(run).unwrap();
    }
}
