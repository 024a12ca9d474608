//! What was sent and not acknowledged, for the end of a connection.

use super::{Entry, Exchange, InFlight};
use crate::outbound_log::LogOffset;
use crate::session::TicketKey;

/// The packet that was sent first of those that were not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum First {
    /// A SUBSCRIBE or UNSUBSCRIBE.
    Request(TicketKey),
    /// A PUBLISH, and where it lies in the log.
    Publish(LogOffset, LogOffset),
}

impl InFlight {
    /// Returns the first packet that begins before `sent`, and how many there are. A PUBREL is none of
    /// them: the message that it is about was taken. Looks at all that is in flight.
    pub(in crate::session) fn unanswered(&self, sent: LogOffset) -> Option<(First, usize)> {
        let is_asked = |entry: &&Entry| match entry.exchange {
            Exchange::AtLeastOnce | Exchange::ExactlyOnce => entry.start < sent,
            // One that went ahead lies where the others were then.
            Exchange::Subscribe { .. } | Exchange::Unsubscribe => {
                entry.start < sent || (entry.len == 0 && entry.start <= sent)
            }
            Exchange::Reserved | Exchange::Recording | Exchange::Release { .. } => false,
        };
        let asked = || self.slots.iter().flatten().filter(is_asked);
        // What went ahead of a packet was sent before it.
        let first = asked().min_by_key(|entry| (entry.start, entry.len != 0))?;
        let first = if first.exchange.is_request() {
            First::Request(first.key)
        } else {
            First::Publish(first.start, first.end())
        };
        Some((first, asked().count()))
    }
}
