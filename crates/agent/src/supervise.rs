//! What the agent knows about itself: how its connection stands, since when, and what is wrong.
//!
//! Told what happens by the client's events; time is an argument, so that all of it is pure.
//!
//! ```text
//!            ┌──────────────────────────────────────────────┐
//!            ▼                                              │
//!   Connecting ──► Up ──► Down (cause, next attempt) ───────┘
//!        ▲          └───► Resting (nothing to do) ──► Connecting
//!        └── Paused (asked to keep away until a time) ◄── any but Up
//! ```
//! [`Supervisor::stuck`] is what a watchdog asks: each state but `Up` and `Resting` promises when the
//! next event is there at the latest. A device without a network keeps that promise: it goes on
//! trying. One whose connecting fiber hangs does not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::time::Duration;

use fiber::Instant;
use mqtt::{CONNECT_TIMEOUT_DEFAULT, EndCause, Event, SentPacket, Unanswered};
use safe_rt::{BACKOFF_LONG_CAP_DEFAULT, DIAL_TIMEOUT_DEFAULT};

use crate::explain;
use crate::lasted::Ended;

/// How long after the time at which something was to happen to the connection it counts as stuck:
/// all that one attempt may take, credentials and the delay after a pause included, twice over.
pub const STUCK_GRACE: Duration = Duration::from_secs(
    2 * (DIAL_TIMEOUT_DEFAULT.as_secs()
        + 2 * CONNECT_TIMEOUT_DEFAULT.as_secs()
        + BACKOFF_LONG_CAP_DEFAULT.as_secs()),
);

/// How the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// The first attempt, or one after a rest, is due or under way.
    Connecting,
    /// Connected.
    Up {
        /// The broker had kept the session.
        session_present: bool,
    },
    /// Not connected; another attempt is made by itself.
    Down {
        /// Why, in one line.
        cause: String,
        /// When the next attempt is due.
        retry_at: Option<Instant>,
    },
    /// Left because there is nothing to do, or the window of the schedule is over.
    Resting,
    /// Keeps away until then.
    Paused {
        /// When it may connect again.
        until: Instant,
    },
}

impl Link {
    /// Its name, as `status` tells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up { .. } => "online",
            Self::Down { .. } => "offline",
            Self::Resting => "resting",
            Self::Paused { .. } => "paused",
        }
    }
}

/// What is wrong, each with a name that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HealthCode {
    /// There is no connection, and there should be.
    Offline,
    /// Another client uses the same client identifier, as far as the pattern of ends tells.
    DuplicateIdentity,
    /// The broker refuses subscriptions.
    SubscribeRefused,
    /// A message is not handled, and holds back the acknowledgements of all later ones.
    HandlerStalled,
    /// The clock shows a time that is past for certain.
    ClockImplausible,
    /// The queue cannot write to its disk.
    QueueFailing,
    /// The state directory cannot be written: the queue is in memory.
    StateReadonly,
    /// The configuration that was found is not in use: the last good one is.
    ConfigRejected,
    /// Messages are held back by the rate that is allowed.
    Throttled,
    /// The cloud asked to be left alone.
    Blocked,
    /// The broker ends one connection after the other with the same packet not acknowledged.
    RefusedTopic,
    /// Messages were dropped for want of room.
    QueueDropped,
    /// Little is left of the memory that the agent may have.
    Memory,
    /// The fiber that keeps the connection does not do what it promised.
    LinkStuck,
    /// A service ended that was to go on; it was begun again.
    ServiceEnded,
}

impl HealthCode {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Offline,
        Self::DuplicateIdentity,
        Self::SubscribeRefused,
        Self::HandlerStalled,
        Self::ClockImplausible,
        Self::QueueFailing,
        Self::StateReadonly,
        Self::ConfigRejected,
        Self::Throttled,
        Self::Blocked,
        Self::RefusedTopic,
        Self::QueueDropped,
        Self::Memory,
        Self::LinkStuck,
        Self::ServiceEnded,
    ];

    /// Its name, as `status` tells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::DuplicateIdentity => "duplicate-identity",
            Self::SubscribeRefused => "subscribe-refused",
            Self::HandlerStalled => "handler-stalled",
            Self::ClockImplausible => "clock-implausible",
            Self::QueueFailing => "queue-failing",
            Self::StateReadonly => "state-readonly",
            Self::ConfigRejected => "config-rejected",
            Self::Throttled => "throttled",
            Self::Blocked => "blocked",
            Self::RefusedTopic => "refused-topic",
            Self::QueueDropped => "queue-dropped",
            Self::Memory => "memory",
            Self::LinkStuck => "link-stuck",
            Self::ServiceEnded => "service-ended",
        }
    }
}

impl fmt::Display for HealthCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailment {
    /// Since when.
    pub since: Instant,
    /// What it is, in one line.
    pub text: String,
}

/// What the connection did so far. Every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Connections that the broker accepted.
    pub connects: u64,
    /// Connections that ended.
    pub disconnects: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Time without a connection, by whole states that are over.
    pub offline: Duration,
    /// Time with one, likewise.
    pub online: Duration,
}

/// Connections that end at once one after the other, by the hand of the broker, before that counts as
/// a fight for the client identifier.
const TAKEOVERS: u32 = 3;
/// A connection that lasts so long is nobody else's: the longest pause between two attempts of the other
/// one, and half as much.
const FIGHT_OVER_AFTER: Duration = Duration::from_secs(BACKOFF_LONG_CAP_DEFAULT.as_secs() * 3 / 2);
/// Connections in a row that end with the same packet not acknowledged, before it counts as refused.
const REFUSALS: u32 = 3;
/// How many topic filters that the broker refused are remembered.
const REFUSED_FILTERS_MAX: usize = 256;
/// A connection that ends sooner counts as one of them.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

/// What the agent knows about its connection and about what is wrong.
#[derive(Clone, Debug)]
pub struct Supervisor {
    link: Link,
    since: Instant,
    health: BTreeMap<HealthCode, Ailment>,
    stats: LinkStats,
    /// When the next event is there at the latest.
    due: Option<Instant>,
    /// Short connections, running, that the broker ended.
    short: u32,
    /// What was not acknowledged at the end of the last connection that the broker ended, and how
    /// often that was so in a row.
    suspect: Option<(SentPacket, u32)>,
    /// Topic filters that the broker refused, until they are asked for again.
    refused: BTreeSet<String>,
    /// Why the last connection ended, and the code of that.
    last_end: Option<String>,
    last_code: Option<&'static str>,
}

impl Supervisor {
    /// One that is about to connect.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            link: Link::Connecting,
            since: now,
            health: BTreeMap::new(),
            stats: LinkStats::default(),
            due: Some(now + STUCK_GRACE),
            short: 0,
            suspect: None,
            refused: BTreeSet::new(),
            last_end: None,
            last_code: None,
        }
    }

    /// How the connection stands.
    #[must_use]
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Since when it stands so.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// What is wrong, in the order of the codes.
    #[must_use]
    pub const fn health(&self) -> &BTreeMap<HealthCode, Ailment> {
        &self.health
    }

    /// Why the last connection ended, in one line.
    #[must_use]
    pub fn last_end(&self) -> Option<&str> {
        self.last_end.as_deref()
    }

    /// The code of that for `agent explain`, if it has one.
    #[must_use]
    pub const fn last_code(&self) -> Option<&'static str> {
        self.last_code
    }

    /// What the connection did so far, the present state included.
    #[must_use]
    pub fn stats(&self, now: Instant) -> LinkStats {
        let mut stats = self.stats;
        let lasting = now - self.since;
        match self.link {
            Link::Up { .. } => stats.online += lasting,
            _ => stats.offline += lasting,
        }
        stats
    }

    /// Notes that something is wrong; since when counts from the first time.
    pub fn raise(&mut self, code: HealthCode, text: impl Into<String>, now: Instant) {
        let text = text.into();
        match self.health.get_mut(&code) {
            Some(ailment) => ailment.text = text,
            None => {
                self.health.insert(code, Ailment { since: now, text });
            }
        }
    }

    /// Notes that it is not wrong any more.
    pub fn clear(&mut self, code: HealthCode) {
        self.health.remove(&code);
    }

    /// Notes what time alone tells: on a connection that lasts nothing was refused, and nobody disputes
    /// it.
    pub fn settle(&mut self, now: Instant) {
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        let lasts = now - self.since;
        if lasts >= TAKEN_OVER_WITHIN {
            self.clear(HealthCode::RefusedTopic);
        }
        if lasts >= FIGHT_OVER_AFTER {
            self.short = 0;
            self.clear(HealthCode::DuplicateIdentity);
        }
    }

    /// The topic filters that the broker refused, which are to be asked for again: what was wrong with
    /// them counts no more.
    pub(crate) fn take_refused(&mut self) -> BTreeSet<String> {
        self.clear(HealthCode::SubscribeRefused);
        std::mem::take(&mut self.refused)
    }

    /// Says what is stuck, if the promise of the present state was not kept.
    #[must_use]
    pub fn stuck(&self, now: Instant) -> Option<String> {
        let due = self.due.filter(|due| now > *due)?;
        let late = (now - due).as_secs();
        Some(format!(
            "the connection is {}, and nothing has happened to it for {late} s longer than it may take",
            self.link.name()
        ))
    }

    fn enter(&mut self, link: Link, due: Option<Instant>, now: Instant) {
        self.stats = self.stats(now);
        self.link = link;
        self.since = now;
        self.due = due.map(|due| due + STUCK_GRACE);
    }

    /// Notes what happened to the connection.
    pub fn event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Attach => self.due = Some(now + STUCK_GRACE),
            Event::Connected { session_present } => {
                self.stats.connects += 1;
                self.clear(HealthCode::Offline);
                self.clear(HealthCode::LinkStuck);
                let session_present = *session_present;
                self.enter(Link::Up { session_present }, None, now);
            }
            Event::Disconnected {
                cause,
                retry_in,
                unanswered,
                ..
            } => {
                self.stats.disconnects += 1;
                self.count_refusal(cause, unanswered.as_deref(), now);
                self.count_takeover(cause, now);
                let accepted = matches!(self.link, Link::Up { .. }).then_some(self.since);
                let line = Ended::of(event, accepted, now).map(|ended| ended.to_string());
                self.down(cause, *retry_in, now);
                self.last_end = line.or_else(|| self.last_end.take());
            }
            Event::ConnectFailed { cause, retry_in } => {
                self.stats.failures += 1;
                self.down(cause, *retry_in, now);
            }
            Event::Idle => {
                self.clear(HealthCode::Offline);
                self.enter(Link::Resting, None, now);
            }
            // A connection that there is stays.
            Event::Paused { until } if !matches!(self.link, Link::Up { .. } | Link::Resting) => {
                self.enter(Link::Paused { until: *until }, Some(*until), now);
            }
            Event::SubscribeRefused { filters } => {
                let text = format!("the broker refuses subscriptions to {}", filters.join(", "));
                self.raise(HealthCode::SubscribeRefused, text, now);
                let room = REFUSED_FILTERS_MAX.saturating_sub(self.refused.len());
                self.refused.extend(filters.iter().take(room).cloned());
            }
            Event::AckStalled { filter, .. } => {
                let filter = filter.as_deref().unwrap_or("a topic nobody subscribed to");
                let text =
                    format!("a message of {filter} is not handled and holds back the others");
                self.raise(HealthCode::HandlerStalled, text, now);
            }
            Event::ClockImplausible { .. } => {
                let text = "the clock shows a time that is past for certain";
                self.raise(HealthCode::ClockImplausible, text, now);
            }
            Event::StoreFailed { failure } => {
                self.raise(HealthCode::QueueFailing, failure.to_string(), now);
            }
            Event::StoreRecovered => self.clear(HealthCode::QueueFailing),
            Event::Throttled => {
                let text = "messages wait for the rate that is allowed";
                self.raise(HealthCode::Throttled, text, now);
            }
            _ => {}
        }
    }

    fn down(&mut self, cause: &EndCause, retry_in: Option<Duration>, now: Instant) {
        self.last_code = explain::code_of_end(cause);
        let cause = cause.to_string();
        self.raise(HealthCode::Offline, cause.clone(), now);
        self.last_end = Some(cause.clone());
        let retry_at = retry_in.map(|delay| now + delay);
        self.enter(Link::Down { cause, retry_at }, retry_at, now);
    }

    /// A broker that hangs up on what it does not allow does so on each connection.
    fn count_refusal(&mut self, cause: &EndCause, unanswered: Option<&Unanswered>, now: Instant) {
        let is_by_peer = match cause {
            EndCause::ClosedByPeer => true,
            EndCause::Transport(error) => error.kind() == io::ErrorKind::ConnectionReset,
            _ => false,
        };
        let packet = unanswered.filter(|_| is_by_peer).map(|found| &found.packet);
        let times = match (&self.suspect, packet) {
            (Some((before, times)), Some(packet)) if before == packet => times.saturating_add(1),
            _ => 1,
        };
        self.suspect = packet.map(|packet| (packet.clone(), times));
        match packet {
            Some(packet) if times >= REFUSALS => {
                let text = format!(
                    "{times} connections in a row were ended by the broker with {packet} not \
                     acknowledged: is the right to it missing?"
                );
                self.raise(HealthCode::RefusedTopic, text, now);
            }
            _ => self.clear(HealthCode::RefusedTopic),
        }
    }

    /// Two clients with one identifier throw each other out in turns.
    fn count_takeover(&mut self, cause: &EndCause, now: Instant) {
        let lasted = now - self.since;
        match cause {
            EndCause::ClosedByPeer if lasted < TAKEN_OVER_WITHIN => {
                self.short = self.short.saturating_add(1);
            }
            // The other one waits longer and longer between its attempts.
            EndCause::ClosedByPeer if self.short >= TAKEOVERS && lasted < FIGHT_OVER_AFTER => {}
            _ => self.short = 0,
        }
        let is_explained = self.health.contains_key(&HealthCode::RefusedTopic);
        if self.short >= TAKEOVERS && !is_explained {
            let text = "the broker ends each connection soon: is the client identifier used twice?";
            self.raise(HealthCode::DuplicateIdentity, text, now);
        } else {
            self.clear(HealthCode::DuplicateIdentity);
        }
    }
}
