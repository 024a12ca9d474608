//! More QoS 1 and 2 messages than there is room for.
//!
//! ```text
//!   no room ─► nothing is read ──┬─ room in time ──────► reading goes on
//!                                └─ none (the grace) ──► the connection ends
//!                                                              │
//!   the next connection ◄── half of what was there is handled ─┘
//! ```
//! Room comes back with each acknowledgement that leaves, so a connection ends only if the handlers
//! finished nothing for that long that was next in order. What they finish later is acknowledged when
//! it comes again (`settled`): each connection gets further than the one before.

use std::rc::Rc;
use std::time::Duration;

use super::error::EndCause;
use super::event::Event;
use super::shared::{Shared, State, now};
use super::standby;
use crate::packet::{Publish, QoS};
use crate::time::Time;

/// Received QoS 1 and 2 messages that may await their acknowledgement by the client at once.
pub const INBOUND_WINDOW_DEFAULT: u16 = 1_024;
/// Bytes of unhandled QoS 1 and 2 messages of one client, counted for each handler that gets them and
/// with [`QUEUED_OVERHEAD`](super::QUEUED_OVERHEAD) for each.
pub const INBOUND_BYTES_DEFAULT: usize = 4 * 1024 * 1024;
/// How long the handlers may take to make room before the connection ends.
pub const OVERRUN_GRACE_DEFAULT: Duration = Duration::from_secs(10);

/// QoS 1 and 2 messages that are not handled, counted for each handler that is to have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Backlog {
    /// What may be left when the next connection is made.
    const fn half(self) -> Self {
        Self {
            messages: self.messages / 2,
            bytes: self.bytes / 2,
        }
    }

    const fn is_within(self, bound: Self) -> bool {
        self.messages <= bound.messages && self.bytes <= bound.bytes
    }
}

impl State {
    /// Whether a QoS 1 or 2 message has room, or needs none because it has come before.
    #[inline]
    pub(super) fn has_room_for(&self, publish: &Publish<'_>) -> bool {
        let len = publish.topic().len() + publish.payload().len();
        self.subscriptions.has_room(len) || self.is_held(publish)
    }

    /// Whether a message is one that has come before, and is still here or was handled.
    #[cold]
    fn is_held(&self, publish: &Publish<'_>) -> bool {
        let Some(packet_id) = publish.packet_id().filter(|_| publish.dup()) else {
            return false;
        };
        let (topic, payload) = (publish.topic(), publish.payload());
        match publish.qos() {
            QoS::ExactlyOnce => self.session.remembers(packet_id),
            QoS::AtMostOnce | QoS::AtLeastOnce => {
                self.settled.has(packet_id, topic, payload)
                    || self.subscriptions.has_message(packet_id, topic, payload)
            }
        }
    }

    /// The cause with which a connection ends on which there was no room for too long; tells of it.
    pub(super) fn overrun(&mut self) -> EndCause {
        let Backlog { messages, bytes } = self.subscriptions.backlog();
        self.events.push(Event::Overrun { messages, bytes });
        EndCause::Overrun { messages, bytes }
    }

    /// Whether somebody may wait for what only a connection brings.
    fn awaits_broker(&self) -> bool {
        self.wants_connection() || self.has_open_answers()
    }
}

/// Waits without a connection until half of the messages are handled, or it is asked for one; the cause
/// if there will be none.
///
/// Handlers may wait for an answer of the broker, which comes on a connection alone: where that may
/// be, and none of the messages is handled for as long as the grace is, that is waited for no longer.
pub(super) fn recover(shared: &Rc<Shared>) -> Result<(), EndCause> {
    let mut left = shared.state().subscriptions.backlog();
    let target = left.half();
    let grace = shared.options.overrun_grace;
    let mut until = now() + grace;
    shared.state().recovering = true;
    let recovered = standby::serve_until(shared, |state| -> Result<(), Option<Time>> {
        let backlog = state.subscriptions.backlog();
        if backlog != left {
            left = backlog;
            until = now() + grace;
        }
        let is_stuck = state.awaits_broker() && until <= now();
        if backlog.is_within(target) || state.standby.retry_now || is_stuck {
            return Ok(());
        }
        Err(Some(until).filter(|until| *until > now()))
    });
    shared.state().recovering = false;
    recovered
}
