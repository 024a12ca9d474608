//! Messages that come before their subscription.
//!
//! A broker that kept the session sends what it holds right after CONNACK, perhaps before the
//! program has said what it wants to handle. Such messages are held for a short time, in order, and
//! given to the subscription that comes. What is left is for the default handler, or is
//! acknowledged and counted.

use std::collections::VecDeque;
use std::time::Duration;

use super::inbox::Arrived;
use super::shared::State;
use crate::session::AckToken;
use crate::time::Time;

/// How long after the beginning of a connection messages are held for a later subscription.
pub const EARLY_WINDOW: Duration = Duration::from_secs(5);
/// Messages that are held; one more lets the oldest go.
pub const EARLY_MESSAGES_MAX: usize = 64;
/// Bytes of messages that are held; more let the oldest go.
pub const EARLY_BYTES_MAX: usize = 1024 * 1024;

/// The messages that are held.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Messages are held until then.
    until: Option<Time>,
    held: VecDeque<Arrived>,
    bytes: usize,
}

impl Early {
    /// Begins to hold messages.
    pub(super) fn begin(&mut self, now: Time) {
        self.until = Some(now + EARLY_WINDOW);
    }

    /// Whether messages are held now.
    pub(super) fn is_open(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// When those that are held are to be let go.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Time> {
        self.until.filter(|_| self.len() > 0)
    }

    /// Holds a message; returns an older one that has to go for it, if one has to.
    ///
    /// To be called until it gives `None`, from the second time on without a message.
    pub(super) fn hold(&mut self, arrived: Option<Arrived>) -> Option<Arrived> {
        if let Some(arrived) = arrived {
            self.bytes += arrived.message.len();
            self.held.push_back(arrived);
        }
        if self.len() > EARLY_MESSAGES_MAX || self.bytes > EARLY_BYTES_MAX {
            self.pop()
        } else {
            None
        }
    }

    /// Takes the oldest one.
    pub(super) fn pop(&mut self) -> Option<Arrived> {
        let arrived = self.held.pop_front()?;
        self.bytes -= arrived.message.len();
        Some(arrived)
    }

    /// Gives a message of an earlier connection that has come again its new acknowledgement; returns
    /// whether there is one.
    pub(super) fn renew(&mut self, topic: &str, payload: &[u8], ack: AckToken) -> bool {
        let mut held = self.held.iter_mut();
        let found = held.find(|arrived| arrived.is_repeated_by(topic, payload, ack));
        found.is_some_and(|arrived| arrived.ack.replace(ack).is_some())
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

impl State {
    /// When the messages that are held are to be let go.
    #[inline]
    pub(super) fn early_deadline(&self) -> Option<Time> {
        self.early.get()?.deadline()
    }
}
