//! What waits to be handled for one subscription, in order of arrival.
//!
//! QoS 0 beyond the bounds drops the oldest of its kind; QoS 1 and 2 are bounded for the whole client
//! (`ClientOptions::inbound_bytes` and `inbound_window`). Nothing here waits.

use std::collections::VecDeque;

use super::message::Message;
use crate::packet::{PacketId, QoS};
use crate::session::AckToken;
use crate::sorted::take_out;

/// Unhandled QoS 0 messages of one subscription; one more drops the oldest of them.
pub const QOS_0_QUEUE_MAX: usize = 1_024;
/// Bytes of unhandled QoS 0 messages of one subscription; more drop the oldest of them.
pub const QOS_0_QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// A message in a queue, and what acknowledges it.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) ack: Option<AckToken>,
    /// Its handler was called with it, and failed.
    pub(super) failed: bool,
}

impl Arrived {
    /// A message that nobody has handled yet.
    #[inline(always)]
    pub(super) const fn new(message: Message, ack: Option<AckToken>) -> Self {
        Self {
            message,
            ack,
            failed: false,
        }
    }

    /// Whether it is the message that `ack` acknowledges.
    pub(super) fn is_for(&self, ack: AckToken) -> bool {
        self.ack.is_some_and(|own| own.is_same_message(ack))
    }

    /// Whether it is one of QoS 0, which may be dropped.
    fn may_be_dropped(&self) -> bool {
        self.ack.is_none() && self.message.qos == QoS::AtMostOnce
    }

    /// Whether it is one of QoS 1 or 2 that was acknowledged before it is handled.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.ack.is_none() && self.message.qos != QoS::AtMostOnce
    }

    /// Whether it is a QoS 1 message with this identifier and content.
    pub(super) fn is_same(&self, packet_id: PacketId, topic: &str, payload: &[u8]) -> bool {
        self.ack
            .is_some_and(|ack| !ack.is_exactly_once() && ack.packet_id() == packet_id)
            && self.message.topic == *topic
            && self.message.data == *payload
    }

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
    /// That one has come again since: who took it has an acknowledgement that is good no more.
    renewed: bool,
    qos_0: Count,
    /// Those that were acknowledged when they came.
    acknowledged: Count,
}

/// How many messages of one kind are in a queue.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    len: usize,
    bytes: usize,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.len += 1;
        self.bytes += bytes;
    }

    fn subtract(&mut self, message: &Message) {
        self.len -= 1;
        self.bytes -= message.len();
    }
}

impl Inbox {
    /// Adds a message; returns how many older ones of QoS 0 were dropped for it.
    pub(super) fn push(&mut self, arrived: Arrived) -> u64 {
        let (message, ack) = (&arrived.message, arrived.ack);
        self.push_with(message.qos, message.len(), ack, || arrived)
    }

    /// As [`Inbox::push`], for a message of this QoS and length that is made where it is kept.
    // Always, so that it is.
    #[inline(always)]
    pub(super) fn push_with(
        &mut self,
        qos: QoS,
        len: usize,
        ack: Option<AckToken>,
        arrived: impl FnOnce() -> Arrived,
    ) -> u64 {
        let mut dropped = 0;
        if ack.is_none() {
            if qos == QoS::AtMostOnce {
                self.qos_0.add(len);
                dropped = self.drop_oldest();
            } else {
                self.acknowledged.add(len);
            }
        }
        self.queue.push_back(arrived());
        dropped
    }

    /// Drops the oldest messages of QoS 0 that are too many with one more, which counts already.
    #[inline]
    fn drop_oldest(&mut self) -> u64 {
        let mut dropped = 0;
        while self.qos_0.len > QOS_0_QUEUE_MAX
            || (self.qos_0.bytes > QOS_0_QUEUE_BYTES_MAX && self.qos_0.len > 1)
        {
            if !self.drop_one() {
                break;
            }
            dropped += 1;
        }
        dropped
    }

    #[cold]
    fn drop_one(&mut self) -> bool {
        let oldest = self.queue.iter().position(Arrived::may_be_dropped);
        let Some(queued) = oldest.and_then(|at| take_out(&mut self.queue, at)) else {
            return false;
        };
        self.qos_0.subtract(&queued.message);
        true
    }

    /// Puts a message before all others, which came later.
    pub(super) fn push_first(&mut self, arrived: Arrived) {
        if arrived.may_be_dropped() {
            self.qos_0.add(arrived.message.len());
        } else if arrived.is_acknowledged() {
            self.acknowledged.add(arrived.message.len());
        }
        self.queue.push_front(arrived);
    }

    /// Takes the oldest message.
    // Always, as `push`. It is looked at where it is and moved once.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Arrived> {
        let arrived = self.queue.front()?;
        if arrived.ack.is_some() {
            self.taken = Some(arrived.clone());
            self.renewed = false;
        } else if arrived.message.qos == QoS::AtMostOnce {
            self.qos_0.subtract(&arrived.message);
        } else {
            self.acknowledged.subtract(&arrived.message);
        }
        self.queue.pop_front()
    }

    /// Returns what acknowledges the message that was taken with `ack`: it may have come again since.
    #[inline]
    pub(super) fn finish(&mut self, ack: AckToken) -> AckToken {
        let taken = self.taken.as_ref().and_then(|taken| taken.ack);
        // Where it is: it is large for a value.
        self.taken = None;
        taken.unwrap_or(ack)
    }

    /// Gives a message of an earlier connection that has come again its new acknowledgement; returns
    /// the one before.
    pub(super) fn renew(&mut self, topic: &str, payload: &[u8], ack: AckToken) -> Option<AckToken> {
        let again = |arrived: &&mut Arrived| arrived.is_repeated_by(topic, payload, ack);
        let found = match self.queue.iter_mut().find(again) {
            Some(queued) => queued,
            None => {
                let taken = self.taken.as_mut().filter(again)?;
                self.renewed = true;
                taken
            }
        };
        found.ack.replace(ack)
    }

    /// What acknowledges the message taken last, if who took it cannot know of that.
    pub(super) fn renewed(&self) -> Option<AckToken> {
        let taken = self.taken.as_ref().filter(|_| self.renewed)?;
        taken.ack
    }

    /// Whether one more may be acknowledged before it is handled.
    pub(super) fn may_acknowledge(&self, message: &Message) -> bool {
        let Count { len, bytes } = self.acknowledged;
        len < QOS_0_QUEUE_MAX && (len == 0 || bytes + message.len() <= QOS_0_QUEUE_BYTES_MAX)
    }

    /// Whether it has the message that `ack` acknowledges, in the queue or taken last.
    pub(super) fn holds(&self, ack: AckToken) -> bool {
        let mut all = self.queue.iter().chain(&self.taken);
        all.any(|arrived| arrived.is_for(ack))
    }

    /// The message taken last, if it awaits an acknowledgement.
    pub(super) fn taken(&self) -> Option<&Arrived> {
        self.taken.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arrived> {
        self.queue.iter()
    }
}
