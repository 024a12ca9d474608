//! What the service manager is told (systemd's notification protocol, `sd_notify(3)`): ready, stopping,
//! a line of status, and that the agent is alive.
//!
//! ```text
//!   started ─► READY=1 ─► every third of the time: is anything stuck? ─ no ─► WATCHDOG=1, STATUS=...
//!                                                        └─ yes ─► nothing, and a line in the log
//!   stop ─► STOPPING=1
//! ```
//! The watchdog means something: its fiber runs only if the scheduler turns, so that one that keeps its
//! turn for ever ends the pings; and it asks [`Supervisor::stuck`] whether the connection still does
//! what it promised. Whether there *is* a connection makes no difference: a device without a network is
//! healthy, and starting it again would help nobody. Without a service manager nothing is sent.

use std::time::Duration;

use fiber::{FiberBuilder, Instant, JoinHandle, SpawnError, Stopped};
use sd_notify::NotifyState;

use crate::agent::Agent;
use crate::memory::Memory;
use crate::supervise::{HealthCode, Link, Supervisor};

/// How often the agent looks whether it is stuck where no service manager watches it.
const BEAT_DEFAULT: Duration = Duration::from_secs(30);
/// The shortest time between two pings.
const BEAT_MIN: Duration = Duration::from_millis(50);

/// Says that the agent is ready. Yields.
pub(crate) fn ready(agent: &Agent) {
    send(vec![Line::Ready, Line::Status(status_line(agent))]);
}

/// Says that the agent is about to end. Yields.
pub(crate) fn stopping() {
    send(vec![Line::Stopping]);
}

/// Says that the configuration is read again; [`ready`] tells its end. Yields.
pub(crate) fn reloading() {
    send(vec![Line::Reloading]);
}

/// Pings until it is dropped, as [`serve_before`] does.
pub(crate) struct Alive(JoinHandle<Result<(), Stopped>>);

impl Alive {
    /// Starts to. Does not yield.
    pub(crate) fn start() -> Result<Self, SpawnError> {
        let spawned = FiberBuilder::new().name("alive").spawn(serve_before);
        spawned.map(Self)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Pings while the agent finds out who it is and opens its queue, and says that it is ready if that takes longer than a moment:
/// getting an identity may take weeks, and nobody is to give up on it. The body of a fiber, until it is
/// stopped. Yields.
///
/// # Errors
///
/// [`Stopped`], always.
fn serve_before() -> Result<(), Stopped> {
    fiber::sleep(ATTACH_PAUSE)?;
    send(vec![
        Line::Ready,
        Line::Status("getting an identity".to_owned()),
    ]);
    let watchdog = sd_notify::watchdog_enabled();
    let beat = watchdog.map_or(BEAT_DEFAULT, |limit| (limit / 3).max(BEAT_MIN));
    let mut interval = fiber::interval(beat);
    loop {
        interval.tick()?;
        if watchdog.is_some() {
            send(vec![Line::Watchdog]);
        }
    }
}

/// Pings as long as nothing is stuck, until it is stopped: the body of a fiber. Yields.
///
/// # Errors
///
/// [`Stopped`], always.
pub(crate) fn serve(agent: &Agent, memory: Option<&Memory>) -> Result<(), Stopped> {
    let watchdog = sd_notify::watchdog_enabled();
    let beat = watchdog.map_or(BEAT_DEFAULT, |limit| (limit / 3).max(BEAT_MIN));
    let mut interval = fiber::interval(beat);
    let mut was_stuck = false;
    loop {
        interval.tick()?;
        match memory.and_then(Memory::shortage) {
            Some(text) => agent.raise(HealthCode::Memory, text),
            None => agent.clear(HealthCode::Memory),
        }
        let stuck = agent.stuck();
        if let Some(text) = &stuck {
            if !was_stuck {
                log::error!("{text}");
            }
            agent.raise(HealthCode::LinkStuck, text.clone());
        } else {
            let mut lines = vec![Line::Status(status_line(agent))];
            if watchdog.is_some() {
                lines.push(Line::Watchdog);
            }
            send(lines);
        }
        was_stuck = stuck.is_some();
    }
}

/// How long the look for an identity, and the hooks of a start, may take before the service manager is told
/// that the agent is ready.
pub(crate) const ATTACH_PAUSE: Duration = Duration::from_secs(5);

/// What is sent, as it can go to another thread.
enum Line {
    Ready,
    Stopping,
    Reloading,
    Watchdog,
    Status(String),
}

fn send(lines: Vec<Line>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    // A manager that reads nothing must not stop the fibers.
    let sent = fiber::offload(move || {
        let mut states = Vec::with_capacity(lines.len() + 1);
        for line in &lines {
            if let Line::Reloading = line {
                // It wants to know since when.
                states.push(NotifyState::monotonic_usec_now()?);
            }
            states.push(match line {
                Line::Ready => NotifyState::Ready,
                Line::Stopping => NotifyState::Stopping,
                Line::Reloading => NotifyState::Reloading,
                Line::Watchdog => NotifyState::Watchdog,
                Line::Status(text) => NotifyState::Status(text),
            });
        }
        sd_notify::notify(&states)
    });
    match sent.map_err(std::io::Error::from).and_then(|sent| sent) {
        Ok(()) => {}
        Err(error) if fiber::cause(&error).is_some() => {}
        Err(error) => log::warn!("the service manager cannot be told: {error}"),
    }
}

/// One line for people: how the connection stands, since when, and how much waits.
fn status_line(agent: &Agent) -> String {
    let waiting = agent.mqtt().unacknowledged();
    line_of(&agent.supervisor(), waiting, Instant::now())
}

fn line_of(supervisor: &Supervisor, waiting: usize, now: Instant) -> String {
    let since = spelled(now - supervisor.since());
    let link = supervisor.link();
    let mut line = format!("{} for {since}, {waiting} queued", link.name());
    if let Link::Down { cause, retry_at } = link {
        line.push_str(": ");
        line.push_str(cause);
        if let Some(at) = retry_at {
            line.push_str(&format!("; next attempt in {}", spelled(*at - now)));
        }
    }
    line
}

/// A length of time in its largest whole unit.
pub(crate) fn spelled(length: Duration) -> String {
    match length.as_secs() {
        secs @ 0..=119 => format!("{secs} s"),
        secs @ 120..=7_199 => format!("{} min", secs / 60),
        secs @ 7_200..=172_799 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mqtt::{EndCause, Event};

    use super::*;

    #[test]
    fn the_line_says_how_the_connection_stands_and_what_waits() {
        let start = Instant::from_nanos(0);
        let at = |secs| start + Duration::from_secs(secs);
        let mut supervisor = Supervisor::new(start);
        assert_eq!(
            line_of(&supervisor, 0, at(5)),
            "connecting for 5 s, 0 queued"
        );
        let failed = Event::ConnectFailed {
            cause: Arc::new(EndCause::ClosedByPeer),
            retry_in: Some(Duration::from_secs(40)),
        };
        supervisor.event(&failed, at(10));
        assert_eq!(
            line_of(&supervisor, 7, at(20)),
            "offline for 10 s, 7 queued: the broker closed the connection; next attempt in 30 s"
        );
        let up = Event::Connected {
            session_present: true,
        };
        supervisor.event(&up, at(50));
        assert_eq!(
            line_of(&supervisor, 0, at(50 + 3 * 3_600)),
            "online for 3 h, 0 queued"
        );
        assert_eq!(spelled(Duration::from_secs(500)), "8 min");
        assert_eq!(spelled(Duration::from_secs(864_000)), "10 days");
    }
}
