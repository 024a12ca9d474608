//! What a client counts.

use super::Client;
use super::shared::State;

/// Counts of what a client did, and of what it had to let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Messages that arrived.
    pub received: u64,
    /// Messages that were larger than the client takes; they were read past and acknowledged, and are
    /// none of those that arrived.
    pub oversized: u64,
    /// Messages that no subscription wanted; they were acknowledged.
    pub unrouted: u64,
    /// QoS 0 messages that were dropped because a subscription had too many unhandled ones.
    pub dropped: u64,
    /// Handlers that returned an error.
    pub handler_errors: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
    /// Calls of handlers with a message that they had failed to handle before.
    pub redelivered: u64,
    /// Messages that a handler with [`OnError::Redeliver`](super::OnError::Redeliver) failed to
    /// handle for good.
    pub dead_letters: u64,
    /// Answers to requests that nobody waited for any more; they were dropped.
    pub late_answers: u64,
    /// Messages that the program did not acknowledge in time.
    pub acks_expired: u64,
    /// Messages that were dropped, never sent, for later ones
    /// ([`QueuePolicy::DropOldest`](super::QueuePolicy::DropOldest)).
    pub dropped_oldest: u64,
    /// Messages that were dropped as they were published, because there was no room
    /// ([`QueuePolicy::DropNewest`](super::QueuePolicy::DropNewest), and `DropOldest` where there was
    /// nothing older to drop).
    pub dropped_newest: u64,
    /// Messages whose place a later one took
    /// ([`QueuePolicy::KeepLast`](super::QueuePolicy::KeepLast)).
    pub replaced: u64,
    /// Publishes that failed because there was no room
    /// ([`QueuePolicy::Reject`](super::QueuePolicy::Reject), and
    /// [`Client::try_publish`](super::Client::try_publish)).
    pub rejected: u64,
    /// How often the store began to fail ([`Event::StoreFailed`](super::Event::StoreFailed)).
    pub store_failures: u64,
    /// Publishes that failed because the store did
    /// ([`OnStoreFailure::Refuse`](super::OnStoreFailure::Refuse)).
    pub store_refused: u64,
    /// Messages that got too old before they were sent.
    pub expired: u64,
    /// Messages of an earlier client that were given up, because the broker would not take them
    /// ([`Event::Unsendable`](super::Event::Unsendable)).
    pub unsendable: u64,
    /// Messages that the program withdrew ([`Ticket::abandon`](super::Ticket::abandon)).
    pub withdrawn: u64,
}

impl State {
    /// Counts messages that were dropped for later ones, if any were.
    #[inline]
    pub(super) fn count_dropped(&mut self, dropped: u64) {
        if dropped > 0 {
            self.stats.dropped += dropped;
        }
    }
}

impl Client {
    /// What the client did so far. Does not yield.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let state = self.shared.state();
        ClientStats {
            received: state.received,
            ..state.stats.get().copied().unwrap_or_default()
        }
    }
}
