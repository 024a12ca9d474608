//! What arrives: a message with its topic and payload.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use super::ack::AckHandle;
use super::message_ref::MessageRef;
use super::read_buffer::{Part, Shared};
use crate::packet;
use crate::packet::{PacketId, QoS};

/// A message that arrived (MQTT3-3.3).
///
/// The payload is part of what was read from the socket, kept alive by the message;
/// [`Message::detach`] copies it out for keeping. The topic is shared by the messages that came on it.
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
    /// possible. The packet ends there in `shared`, and its topic is this one.
    // Always, as the queue that it goes to.
    #[inline(always)]
    pub(super) fn hold(
        shared: &Shared,
        end: usize,
        publish: &packet::Publish<'_>,
        topic: Topic,
    ) -> Self {
        // The payload is all that follows the topic and the packet identifier.
        let data = Payload(Part::hold(shared, end - publish.payload().len()..end));
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
            topic: Topic::new(message.topic),
            data: Payload(Part::copied(message.data)),
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
            packet_id: message.packet_id,
            ack: message.ack_handle(),
        }
    }

    /// Bytes of topic and payload.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.topic.len() + self.data.0.len()
    }
}

/// The topic name of a [`Message`].
#[derive(Clone)]
pub struct Topic(Rc<String>);

impl Topic {
    /// A copy of the text.
    pub(super) fn new(text: &str) -> Self {
        Self(Rc::new(text.to_owned()))
    }

    /// A text that is shared with others.
    #[inline]
    pub(super) fn shared(text: &Rc<String>) -> Self {
        Self(Rc::clone(text))
    }
}

impl Deref for Topic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
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
pub struct Payload(Part);

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.get()
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
