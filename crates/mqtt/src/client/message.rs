//! What arrives: a message with its topic and payload.

use std::fmt;
use std::ops::{Deref, Range};

use super::ack::AckHandle;
use super::message_ref::MessageRef;
use super::read_buffer::{Part, Shared};
use crate::packet;
use crate::packet::{PacketId, QoS};

/// A message that arrived (MQTT3-3.3).
///
/// Topic and payload are parts of what was read from the socket, kept alive by the message;
/// [`Message::detach`] copies them out for keeping.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The topic name it was published under.
    pub topic: Topic,
    /// The application message; it may be empty.
    pub data: Payload,
    /// The quality of service it was delivered with.
    pub qos: QoS,
    /// Whether it was kept by the broker from before the subscription (MQTT3-3.3.1-8).
    pub retain: bool,
    /// Whether the broker may have sent it before (MQTT3-3.3.1-1).
    pub dup: bool,
    /// The identifier it has on its way here (MQTT3-2.3.1); none at QoS 0.
    pub packet_id: Option<PacketId>,
    /// What acknowledges it, where the program is to do that.
    pub(super) ack: Option<AckHandle>,
}

impl Message {
    /// Takes a packet out of the buffer it was decoded from, without copying where that is
    /// possible. `packet` is the part of `shared` that holds the packet.
    pub(crate) fn hold(
        shared: &Shared,
        packet: Range<usize>,
        publish: &packet::Publish<'_>,
    ) -> Self {
        // Topic, packet identifier and payload stand in this order at the packet's end.
        let payload_len = publish.payload().len();
        let topic_len = publish.topic().len();
        let id_len = if publish.packet_id().is_some() { 2 } else { 0 };
        let start = packet.end - payload_len - id_len - topic_len;
        let part = Part::hold(shared, start..packet.end);
        let topic = Topic {
            part: part.clone(),
            range: 0..topic_len,
        };
        let data = Payload {
            range: topic_len + id_len..part.len(),
            part,
        };
        Self {
            topic,
            data,
            qos: publish.qos(),
            retain: publish.retain(),
            dup: publish.dup(),
            packet_id: publish.packet_id(),
            ack: None,
        }
    }

    /// Copies topic and payload into memory of their own size.
    ///
    /// A message that is kept for long should be detached: as it arrives it may keep a buffer of
    /// 64 KiB alive.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::copied(self.into())
    }

    /// A copy of a message in memory of its own size.
    pub(super) fn copied(message: MessageRef<'_>) -> Self {
        Self {
            topic: Topic {
                part: Part::copied(message.topic.as_bytes()),
                range: 0..message.topic.len(),
            },
            data: Payload {
                part: Part::copied(message.data),
                range: 0..message.data.len(),
            },
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
            packet_id: message.packet_id,
            ack: message.ack_handle(),
        }
    }

    /// Bytes of topic and payload.
    pub(crate) fn len(&self) -> usize {
        self.topic.range.len() + self.data.range.len()
    }
}

/// The topic name of a [`Message`].
#[derive(Clone)]
pub struct Topic {
    part: Part,
    range: Range<usize>,
}

impl Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(self.part.get(&self.range)).expect("the decoder checked the topic")
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq<str> for Topic {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Topic {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

/// The application message of a [`Message`].
#[derive(Clone)]
pub struct Payload {
    part: Part,
    range: Range<usize>,
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.part.get(&self.range)
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// A payload as it is shown: text where it is text, else its length and first bytes.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 256;
        let Self(data) = self;
        let shown = &data[..data.len().min(SHOWN_MAX)];
        match std::str::from_utf8(shown) {
            Ok(text) if shown.len() == data.len() => fmt::Debug::fmt(text, f),
            Ok(text) => write!(f, "{text:?}.. ({} bytes)", data.len()),
            Err(_) => write!(f, "{shown:02x?} ({} bytes)", data.len()),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self).fmt(f)
    }
}

impl PartialEq<[u8]> for Payload {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<[u8; N]> for Payload {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == other[..]
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Payload {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == other[..]
    }
}
