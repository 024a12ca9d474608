//! What waits to be handled for one subscription, in order of arrival.
//!
//! QoS 0 beyond the bounds drops the oldest of its kind; QoS 1 and 2 are bounded for the whole client
//! (`INBOUND_BYTES_MAX`, and the window of the session). Nothing here waits.

use std::collections::VecDeque;

use super::message::Message;
use crate::session::AckToken;

/// Unhandled QoS 0 messages of one subscription; one more drops the oldest of them.
pub const QOS_0_QUEUE_MAX: usize = 1_024;
/// Bytes of unhandled QoS 0 messages of one subscription; more drop the oldest of them.
pub const QOS_0_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// A message in a queue, and what acknowledges it.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) ack: Option<AckToken>,
}

impl Arrived {
    /// Whether this message, of an earlier connection, has come again under `ack`.
    pub(super) fn is_repeated_by(&self, topic: &str, payload: &[u8], ack: AckToken) -> bool {
        self.ack.is_some_and(|earlier| earlier.is_repeated_by(ack))
            && self.message.topic == *topic
            && self.message.data == *payload
    }
}

/// The queue of one subscription.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: VecDeque<Arrived>,
    /// The message taken last, if it awaits an acknowledgement.
    taken: Option<Arrived>,
    qos_0_len: usize,
    qos_0_bytes: usize,
}

impl Inbox {
    /// Adds a message; returns how many older ones of QoS 0 were dropped for it.
    pub(super) fn push(&mut self, arrived: Arrived) -> u64 {
        let mut dropped = 0;
        if arrived.ack.is_none() {
            self.qos_0_len += 1;
            self.qos_0_bytes += arrived.message.len();
            while self.qos_0_len > QOS_0_QUEUE_MAX
                || (self.qos_0_bytes > QOS_0_QUEUE_BYTES_MAX && self.qos_0_len > 1)
            {
                let oldest = self.queue.iter().position(|queued| queued.ack.is_none());
                let Some(queued) = oldest.and_then(|at| self.queue.remove(at)) else {
                    break;
                };
                self.qos_0_len -= 1;
                self.qos_0_bytes -= queued.message.len();
                dropped += 1;
            }
        }
        self.queue.push_back(arrived);
        dropped
    }

    /// Takes the oldest message.
    pub(super) fn pop(&mut self) -> Option<Arrived> {
        let arrived = self.queue.pop_front()?;
        if arrived.ack.is_some() {
            self.taken = Some(arrived.clone());
        } else {
            self.qos_0_len -= 1;
            self.qos_0_bytes -= arrived.message.len();
        }
        Some(arrived)
    }

    /// Returns what acknowledges the message that was taken with `ack`: it may have come again since.
    pub(super) fn finish(&mut self, ack: AckToken) -> AckToken {
        self.taken.take().and_then(|taken| taken.ack).unwrap_or(ack)
    }

    /// Gives a message of an earlier connection that has come again its new acknowledgement; returns
    /// the one before.
    pub(super) fn renew(&mut self, topic: &str, payload: &[u8], ack: AckToken) -> Option<AckToken> {
        let mut all = self.queue.iter_mut().chain(&mut self.taken);
        let found = all.find(|arrived| arrived.is_repeated_by(topic, payload, ack));
        found.and_then(|arrived| arrived.ack.replace(ack))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arrived> {
        self.queue.iter()
    }
}
