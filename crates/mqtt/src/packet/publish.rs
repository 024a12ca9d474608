//! PUBLISH: an application message under a topic name (MQTT3-3.3).

use super::check_packet_len;
use super::error::{DecodeError, EncodeError};
use super::field::Field;
#[cfg(feature = "client")]
use super::fixed_header::FixedHeader;
use super::fixed_header::{DUP, PacketType, QOS_MASK, QOS_SHIFT, RETAIN};
#[cfg(feature = "client")]
use super::is_publish;
use super::packet_id::PacketId;
use super::properties::Properties;
use super::qos::QoS;
use super::reader::Reader;
use super::text;
#[cfg(feature = "client")]
use super::text::MAX_FIELD_LEN;
use super::version::Version;
use super::writer::{Writer, field_len, packet_len};

// The QoS bits in the first byte.
const QOS_1: u8 = QoS::AtLeastOnce.bits() << QOS_SHIFT;
const QOS_2: u8 = QoS::ExactlyOnce.bits() << QOS_SHIFT;

/// How a message is delivered: its QoS with what goes with it and with nothing else.
///
/// QoS 0 has neither packet identifier (MQTT3-2.3.1-5) nor DUP (MQTT3-3.3.1-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// The identifier that PUBACK repeats.
        packet_id: PacketId,
        /// Whether this may be a repetition of an earlier attempt (MQTT3-3.3.1-1).
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// The identifier that PUBREC, PUBREL and PUBCOMP repeat.
        packet_id: PacketId,
        /// Whether this may be a repetition of an earlier attempt (MQTT3-3.3.1-1).
        dup: bool,
    },
}

/// Bytes of a PUBLISH before its payload, at most: fixed header, topic name and packet identifier.
#[cfg(feature = "client")]
pub(crate) const PUBLISH_HEAD_BYTES_MAX: usize = 5 + 2 + MAX_FIELD_LEN + 2;

/// Reads what comes before the payload of the PUBLISH at the start of `buf`, and returns it as a message
/// without one, and its length. `None` while not all of it has come. The payload may have any length, and
/// need not be there.
///
/// # Errors
///
/// As [`decode`](super::decode), but for [`DecodeError::PacketTooLarge`].
#[cfg(feature = "client")]
pub(crate) fn decode_publish_head(
    buf: &[u8],
    version: Version,
) -> Result<Option<(Publish<'_>, usize)>, DecodeError> {
    let Some(header) = FixedHeader::decode(buf, usize::MAX)? else {
        return Ok(None);
    };
    let at = header.header_len;
    let Some(&[high, low]) = buf.get(at..at + 2) else {
        return Ok(None);
    };
    let id_len = if header.first & QOS_MASK == 0 { 0 } else { 2 };
    let topic_len = usize::from(u16::from_be_bytes([high, low]));
    // A topic name that is longer than its packet is told by the decoder.
    let head_len = (at + 2 + topic_len + id_len).min(header.packet_len);
    let Some(body) = buf.get(at..head_len) else {
        return Ok(None);
    };
    Ok(Some((
        Publish::decode(version, header.first, body)?,
        head_len,
    )))
}

/// A whole PUBLISH whose topic name is not checked yet.
#[cfg(feature = "client")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unchecked<'a> {
    topic: &'a [u8],
    payload: &'a [u8],
    packet_id: Option<PacketId>,
    first: u8,
    /// Bytes of the whole packet.
    pub(crate) len: usize,
}

/// Takes the PUBLISH of MQTT 3.1.1 at the start of `buf` apart. `None` for whatever else is there, a part
/// of one too, and for what is wrong: [`decode`](super::decode) tells.
// Always, as `new`.
#[cfg(feature = "client")]
#[inline(always)]
pub(crate) fn split_publish(buf: &[u8], maximum_packet_size: usize) -> Option<Unchecked<'_>> {
    let header = FixedHeader::decode(buf, maximum_packet_size).ok()??;
    if !is_publish(header.first) {
        return None;
    }
    let body = buf.get(header.header_len..header.packet_len)?;
    let (len, rest) = body.split_first_chunk()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (packet_id, payload) = if header.first & QOS_MASK == 0 {
        (None, rest)
    } else {
        let (id, rest) = rest.split_first_chunk()?;
        (Some(PacketId::decode(*id, PacketType::Publish).ok()?), rest)
    };
    Some(Unchecked {
        topic,
        payload,
        packet_id,
        first: header.first,
        len: header.packet_len,
    })
}

#[cfg(feature = "client")]
impl<'a> Unchecked<'a> {
    /// Returns the bytes of the topic name.
    #[inline]
    pub(crate) const fn topic(&self) -> &'a [u8] {
        self.topic
    }

    /// Returns the packet if its topic name is this one, which was checked when it came before: a
    /// comparison stands in for both checks.
    #[inline(always)]
    pub(crate) fn with_topic(self, topic: &'a str) -> Option<Publish<'a>> {
        (self.topic == topic.as_bytes()).then_some(Publish {
            topic,
            payload: self.payload,
            properties: Properties::EMPTY,
            packet_id: self.packet_id,
            first: self.first,
        })
    }
}

/// What PUBLISH packets of MQTT 3.1.1 on one topic have in common that are of one length and have the
/// same flags: all up to the end of the topic name.
#[cfg(feature = "client")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alike<'a> {
    head: &'a [u8],
    topic: &'a str,
    /// Bytes of a whole packet.
    pub(crate) len: usize,
}

#[cfg(feature = "client")]
impl<'a> Alike<'a> {
    /// What the PUBLISH at the start of `buf`, which is `packet`, has in common with others.
    #[inline]
    pub(crate) fn of(buf: &'a [u8], packet: &Unchecked<'_>, publish: &Publish<'a>) -> Self {
        let id_len = if publish.packet_id.is_some() { 2 } else { 0 };
        Self {
            head: &buf[..packet.len - publish.payload.len() - id_len],
            topic: publish.topic,
            len: packet.len,
        }
    }

    /// Returns the PUBLISH at the start of `buf` if it is whole and one of these: a comparison stands in
    /// for the whole decoding.
    #[inline(always)]
    pub(crate) fn decode(&self, buf: &'a [u8]) -> Option<Publish<'a>> {
        let (head, rest) = buf.get(..self.len)?.split_at_checked(self.head.len())?;
        if head != self.head {
            return None;
        }
        let first = *head.first()?;
        let (packet_id, payload) = if first & QOS_MASK == 0 {
            (None, rest)
        } else {
            let (id, rest) = rest.split_first_chunk()?;
            (Some(PacketId::decode(*id, PacketType::Publish).ok()?), rest)
        };
        Some(Publish {
            topic: self.topic,
            payload,
            properties: Properties::EMPTY,
            packet_id,
            first,
        })
    }
}

/// A PUBLISH packet, valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    topic: &'a str,
    payload: &'a [u8],
    properties: Properties<'a>,
    /// There is one exactly when the QoS in `first` is not 0.
    packet_id: Option<PacketId>,
    /// The first byte on the wire, which holds QoS, DUP and RETAIN.
    first: u8,
}

impl<'a> Publish<'a> {
    /// Makes a packet to be sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TopicEmpty`], [`EncodeError::TopicWildcard`] and
    /// [`EncodeError::NullCharacter`] for what is no topic name, [`EncodeError::FieldTooLong`] for
    /// one above 65 535 bytes, [`EncodeError::PacketTooLarge`] when topic and payload exceed a
    /// remaining length of 268 435 455.
    // Always: left to itself the compiler passes the packet through memory from here to `encode`,
    // which costs a third of the whole.
    #[inline(always)]
    pub fn new(
        version: Version,
        topic: &'a str,
        payload: &'a [u8],
        delivery: Delivery,
        retain: bool,
    ) -> Result<Self, EncodeError> {
        text::check_topic_name_to_send(topic, Field::TopicName)?;
        let (first, packet_id) = delivery.encode();
        let first = if retain { first | RETAIN } else { first };
        let packet = Self {
            topic,
            payload,
            properties: Properties::EMPTY,
            packet_id,
            first,
        };
        check_packet_len(PacketType::Publish, packet.remaining_length(version))?;
        Ok(packet)
    }

    /// Returns the topic name.
    #[inline]
    #[must_use]
    pub const fn topic(&self) -> &'a str {
        self.topic
    }

    /// Returns the application message; it may be empty.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns QoS, packet identifier and DUP in one.
    #[inline]
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        let dup = self.dup();
        match (self.packet_id, self.qos()) {
            (None, _) => Delivery::AtMostOnce,
            (Some(packet_id), QoS::ExactlyOnce) => Delivery::ExactlyOnce { packet_id, dup },
            (Some(packet_id), _) => Delivery::AtLeastOnce { packet_id, dup },
        }
    }

    /// Returns the QoS.
    #[inline]
    #[must_use]
    pub const fn qos(&self) -> QoS {
        match self.first & QOS_MASK {
            0 => QoS::AtMostOnce,
            QOS_1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// Returns the packet identifier, which QoS 0 does not have.
    #[inline]
    #[must_use]
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.packet_id
    }

    /// Returns whether this may be a repetition of an earlier attempt.
    #[inline]
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.first & DUP != 0
    }

    /// Returns the RETAIN flag (MQTT3-3.3.1.3).
    #[inline]
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.first & RETAIN != 0
    }

    /// Returns the properties.
    #[inline]
    #[must_use]
    pub const fn properties(&self) -> Properties<'a> {
        self.properties
    }

    /// Returns the length of the encoded packet in bytes.
    #[inline]
    #[must_use]
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_length(version))
    }

    /// Writes the packet into the first [`Publish::encoded_len`] bytes of `out` and returns how
    /// many these are. `version` is the one that the packet was made for.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    // Always, as `new`.
    #[inline(always)]
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let mut writer = Writer::start(out, self.first, self.remaining_length(version));
        writer.field(self.topic.as_bytes());
        if let Some(packet_id) = self.packet_id {
            writer.packet_id(packet_id);
        }
        self.properties.encode(version, &mut writer);
        writer.bytes(self.payload);
        writer.end()
    }

    /// Reads what follows the fixed header, whose first byte `first` is one of a PUBLISH.
    #[inline]
    pub(super) fn decode(version: Version, first: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let topic = reader.topic_name(Field::TopicName)?;
        let packet_id = if first & QOS_MASK != 0 {
            Some(reader.packet_id(PacketType::Publish)?)
        } else {
            None
        };
        let properties = Properties::decode(version, &mut reader);
        Ok(Self {
            topic,
            payload: reader.rest(),
            properties,
            packet_id,
            first,
        })
    }

    /// Returns the number of bytes that follow the fixed header.
    #[inline]
    const fn remaining_length(&self, version: Version) -> usize {
        let packet_id = if self.packet_id.is_some() {
            size_of::<PacketId>()
        } else {
            0
        };
        let properties = self.properties.encoded_len(version);
        field_len(self.topic.as_bytes()) + packet_id + properties + self.payload.len()
    }
}

impl Delivery {
    /// Returns the first byte of a packet delivered so, without RETAIN, and its identifier.
    #[inline]
    const fn encode(self) -> (u8, Option<PacketId>) {
        const QOS_0: u8 = PacketType::Publish.first_byte();
        const fn dup_flag(dup: bool) -> u8 {
            if dup { DUP } else { 0 }
        }
        match self {
            Self::AtMostOnce => (QOS_0, None),
            Self::AtLeastOnce { packet_id, dup } => {
                (QOS_0 | QOS_1 | dup_flag(dup), Some(packet_id))
            }
            Self::ExactlyOnce { packet_id, dup } => {
                (QOS_0 | QOS_2 | dup_flag(dup), Some(packet_id))
            }
        }
    }
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use super::super::decode;
    use super::*;

    const BOUND: usize = 400;

    /// What the short ways find at the start of `buf`, where both must find the same.
    fn find<'a>(buf: &'a [u8], topic: &'a str, alike: &Alike<'a>) -> Option<(Publish<'a>, usize)> {
        let packet = split_publish(buf, BOUND)?;
        let publish = packet.with_topic(topic)?;
        let found = alike.decode(buf);
        if packet.len == alike.len && publish.first == alike.head[0] {
            assert_eq!(found, Some(publish), "{buf:x?}");
        } else {
            assert_eq!(found, None, "{buf:x?}");
        }
        Some((publish, packet.len))
    }

    #[test]
    fn the_short_ways_find_what_the_decoder_finds_or_nothing() {
        let at_least_once = |number| Delivery::AtLeastOnce {
            packet_id: PacketId::new(number).unwrap(),
            dup: number == 3,
        };
        let deliveries = [
            Delivery::AtMostOnce,
            at_least_once(3),
            at_least_once(4),
            Delivery::ExactlyOnce {
                packet_id: PacketId::MIN,
                dup: false,
            },
        ];
        for payload in [&b""[..], b"21.5", &[b'x'; 130], &[b'x'; BOUND]] {
            for delivery in deliveries {
                let packet = Publish::new(Version::V311, "a/b", payload, delivery, false).unwrap();
                let mut bytes = vec![0; packet.encoded_len(Version::V311) + 3];
                let len = packet.encode(Version::V311, &mut bytes);
                let model = bytes.clone();
                let split = split_publish(&model, BOUND);
                assert_eq!(split.is_some(), len <= BOUND);
                let Some(split) = split else { continue };
                let publish = split.with_topic("a/b").unwrap();
                assert_eq!((publish, split.len), (packet, len));
                let alike = Alike::of(&model, &split, &publish);
                for end in 0..len {
                    assert_eq!(find(&bytes[..end], "a/b", &alike), None);
                    assert_eq!(alike.decode(&bytes[..end]), None);
                }
                for at in 0..len {
                    for flip in 1..=255 {
                        bytes[at] ^= flip;
                        let decoded = decode(&bytes, Version::V311, BOUND);
                        let on_topic =
                            decoded
                                .ok()
                                .flatten()
                                .and_then(|(packet, len)| match packet {
                                    super::super::PacketRef::Publish(publish) => {
                                        (publish.topic() == "a/b").then_some((publish, len))
                                    }
                                    _ => None,
                                });
                        assert_eq!(find(&bytes, "a/b", &alike), on_topic, "{at} {flip}");
                        if on_topic.is_none() {
                            assert_eq!(alike.decode(&bytes), None, "{at} {flip}");
                        }
                        bytes[at] ^= flip;
                    }
                }
                assert!(split.with_topic("a/c").is_none());
            }
        }
    }
}
