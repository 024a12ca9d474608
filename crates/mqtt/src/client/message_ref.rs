//! What an inline handler is given: a message where it was read to.

use std::fmt;

use super::ack::AckHandle;
use super::message::{Message, Shown};
use crate::packet::{PacketId, Publish, QoS};

/// A message that arrived (MQTT3-3.3), borrowed from the buffer it was read into; see
/// [`Client::subscribe_inline`](super::Client::subscribe_inline).
///
/// It is gone when the handler returns; [`MessageRef::detach`] makes a [`Message`] of it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct MessageRef<'a> {
    /// The topic name it was published under.
    pub topic: &'a str,
    /// The application message; it may be empty.
    pub data: &'a [u8],
    /// The quality of service it was delivered with.
    pub qos: QoS,
    /// Whether it was kept by the broker from before the subscription (MQTT3-3.3.1-8).
    pub retain: bool,
    /// Whether the broker may have sent it before (MQTT3-3.3.1-1).
    pub dup: bool,
    /// The identifier it has on its way here (MQTT3-2.3.1); none at QoS 0.
    pub packet_id: Option<PacketId>,
    /// What acknowledges it, where the program is to do that.
    ack: Option<&'a AckHandle>,
}

impl<'a> MessageRef<'a> {
    /// The message of a packet, in the memory that the packet is in.
    pub(super) const fn new(publish: &Publish<'a>, ack: Option<&'a AckHandle>) -> Self {
        Self {
            topic: publish.topic(),
            data: publish.payload(),
            qos: publish.qos(),
            retain: publish.retain(),
            dup: publish.dup(),
            packet_id: publish.packet_id(),
            ack,
        }
    }

    /// Copies topic and payload into memory of their own, for keeping. Does not yield.
    #[must_use]
    pub fn detach(&self) -> Message {
        Message::copied(*self)
    }

    /// What acknowledges the message: for QoS 1 and 2 of a subscription with
    /// [`Ack::Manual`](super::Ack::Manual). Does not yield.
    #[must_use]
    pub fn ack_handle(&self) -> Option<AckHandle> {
        self.ack.cloned()
    }

    /// Acknowledges the message as [`AckHandle::acknowledge`] does; false also where the
    /// subscription is not one with [`Ack::Manual`](super::Ack::Manual). Does not yield.
    #[allow(
        clippy::must_use_candidate,
        reason = "that it was acknowledged before is mostly no matter"
    )]
    pub fn acknowledge(&self) -> bool {
        self.ack.is_some_and(AckHandle::acknowledge)
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            topic: &message.topic,
            data: &message.data,
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
            packet_id: message.packet_id,
            ack: message.ack.as_ref(),
        }
    }
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageRef")
            .field("topic", &self.topic)
            .field("data", &Shown(self.data))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .finish_non_exhaustive()
    }
}
