//! Received QoS 2 messages, remembered by identifier from PUBLISH until PUBREL (MQTT3-4.3.3-2).
//!
//! A message is delivered at its first PUBLISH; while its identifier is remembered, a PUBLISH with
//! it is the same message again, on whatever connection it comes. This is what outlives a
//! connection: the place in the ring of acknowledgements does not.
//!
//! ```text
//!            PUBLISH             handled            PUBREL
//!   unknown ─────────► Delivered ───────► Handled ─────────► unknown
//!            delivered           PUBREC            PUBCOMP
//! ```
//! A session that asks its caller for a record forgets an identifier when that says so, instead of at
//! PUBREL. A PUBLISH again is answered when the handler is done, by whatever connection there is then.

use std::collections::VecDeque;

use super::inbound::AckToken;
use crate::packet::PacketId;
use crate::sorted::{put_in, take_out};

/// A larger list is given back when it is empty.
const RECEIVED_KEPT: usize = 1_024;

/// One remembered message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    packet_id: PacketId,
    /// The token with which it was delivered.
    delivered: AckToken,
    /// The token of the latest PUBLISH: its PUBREC is owed.
    pub(super) owed: AckToken,
    pub(super) handled: bool,
    /// Its PUBREL came, and the end of the identifier is being recorded.
    pub(super) released: bool,
}

/// The remembered messages, in order of their identifiers; at most one for each identifier there is.
///
/// Servers give identifiers in a circle, so additions and removals are near the ends.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct ReceivedIds(VecDeque<Received>);

impl ReceivedIds {
    /// Returns the message with this identifier.
    #[inline]
    pub(super) fn get_mut(&mut self, packet_id: PacketId) -> Option<&mut Received> {
        let at = self.find(packet_id).ok()?;
        self.0.get_mut(at)
    }

    /// Remembers a message that is delivered with this token, unless its identifier is remembered.
    #[inline]
    pub(super) fn insert(&mut self, packet_id: PacketId, token: AckToken) {
        if let Err(at) = self.find(packet_id) {
            let received = Received {
                packet_id,
                delivered: token,
                owed: token,
                handled: false,
                released: false,
            };
            put_in(&mut self.0, at, received);
        }
    }

    /// Remembers a message that an earlier process has handled, unless its identifier is remembered.
    pub(super) fn restore(&mut self, packet_id: PacketId) {
        self.insert(packet_id, AckToken::of_none(packet_id));
        if let Some(received) = self.get_mut(packet_id)
            && !received.delivered.is_exactly_once()
        {
            received.handled = true;
        }
    }

    /// Marks the message that was delivered with this token as handled; `None` if it was before, or
    /// is not remembered. Returns the token of the PUBREC that is owed for it.
    #[inline]
    pub(super) fn handled(&mut self, token: AckToken) -> Option<AckToken> {
        let received = self.get_mut(token.packet_id())?;
        if received.handled || received.delivered != token {
            return None;
        }
        received.handled = true;
        Some(received.owed)
    }

    /// Tells whether the message that was delivered with this token is remembered, and not handled.
    pub(super) fn awaits(&self, token: AckToken) -> bool {
        let received = self.find(token.packet_id()).ok().map(|at| &self.0[at]);
        received.is_some_and(|received| !received.handled && received.delivered == token)
    }

    /// Forgets the message with this identifier and returns what was known of it.
    #[inline]
    pub(super) fn remove(&mut self, packet_id: PacketId) -> Option<Received> {
        let at = self.find(packet_id).ok()?;
        let received = take_out(&mut self.0, at);
        if self.0.is_empty() && self.0.capacity() > RECEIVED_KEPT {
            self.0 = VecDeque::new();
        }
        received
    }

    /// Tells whether a message with this identifier is remembered.
    pub(super) fn has(&self, packet_id: PacketId) -> bool {
        self.find(packet_id).is_ok()
    }

    /// Forgets everything, because the server has lost the session.
    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    /// Returns how many messages are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Says what is remembered, for a comparison of sessions.
    #[cfg(test)]
    pub(super) fn describe(&self, canon: &mut super::tests::Canon) {
        for received in &self.0 {
            canon.number(received.packet_id.get().into());
            canon.number(2 * u64::from(received.handled) + u64::from(received.released));
            // Both tokens mean nothing any more once the message is handled.
            if !received.handled {
                canon.token(received.delivered);
                canon.token(received.owed);
            }
        }
        canon.end();
    }

    #[inline]
    fn find(&self, packet_id: PacketId) -> Result<usize, usize> {
        // The next in the circle comes last, the one that is released is mostly the first.
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else {
            return Err(0);
        };
        if last.packet_id <= packet_id {
            let is_last = last.packet_id == packet_id;
            let len = self.0.len();
            return if is_last { Ok(len - 1) } else { Err(len) };
        }
        if first.packet_id == packet_id {
            return Ok(0);
        }
        self.0
            .binary_search_by_key(&packet_id, |received| received.packet_id)
    }
}
