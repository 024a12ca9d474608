//! The control packets of MQTT and their codec (MQTT3-2, MQTT3-3).
//!
//! Pure functions over bytes: nothing here waits, allocates, logs or keeps state. A received packet
//! borrows the buffer it came in ([`decode`]); a packet to be sent borrows what its caller has and
//! is written into a slice of exactly its length (`encoded_len`, `encode`).
//!
//! A value of a packet type is a valid packet. Whatever could be wrong with one that is to be sent
//! is an [`EncodeError`] of its constructor, so that writing it cannot fail; whatever is wrong with
//! received bytes is a [`DecodeError`], after which the connection must be closed (MQTT3-4.8.0-1).
//! What packets mean for a session, and the syntax of topic filters, is not decided here.
//!
//! # Examples
//!
//! ```
//! use mqtt::packet::{self, Delivery, PacketRef, Publish, Version};
//!
//! let publish = Publish::new(Version::V311, "a/b", b"hi", Delivery::AtMostOnce, false)?;
//! let mut bytes = vec![0; publish.encoded_len(Version::V311)];
//! publish.encode(Version::V311, &mut bytes);
//! assert_eq!(bytes, b"\x30\x07\x00\x03a/bhi");
//!
//! let decoded = packet::decode(&bytes, Version::V311, 1024)?;
//! assert_eq!(decoded, Some((PacketRef::Publish(publish), bytes.len())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ack;
mod client_id;
mod connack;
mod connect;
mod disconnect;
mod error;
mod field;
mod fixed_header;
mod list;
mod packet_id;
mod ping;
mod properties;
mod publish;
mod qos;
mod reader;
mod suback;
mod subscribe;
mod text;
mod unsubscribe;
mod var_int;
mod version;
mod writer;

#[cfg(test)]
mod tests;

pub use ack::{PubAck, PubComp, PubRec, PubRel};
pub use client_id::ClientId;
pub use connack::{ConnAck, ConnectReason};
pub use connect::{Connect, ConnectFields, Will};
pub use disconnect::Disconnect;
pub use error::{DecodeError, EncodeError};
pub use field::Field;
pub use fixed_header::PacketType;
pub use list::{List, ListEntry, ListIter};
pub use packet_id::PacketId;
pub use ping::{PingReq, PingResp};
pub use properties::Properties;
#[cfg(feature = "client")]
pub(crate) use publish::{Alike, PUBLISH_HEAD_BYTES_MAX, decode_publish_head, split_publish};
pub use publish::{Delivery, Publish};
pub use qos::QoS;
pub use suback::{SubAck, SubscribeReason};
pub use subscribe::Subscribe;
pub use text::MAX_FIELD_LEN;
pub use unsubscribe::{UnsubAck, Unsubscribe};
pub use version::Version;

use fixed_header::FixedHeader;

/// The most bytes of a packet, fixed header included: five bytes and the largest remaining length
/// (MQTT3-2.2.3).
pub const MAX_PACKET_LEN: usize = 5 + var_int::MAX;

/// A packet of any type, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketRef<'a> {
    /// CONNECT.
    Connect(Connect<'a>),
    /// CONNACK.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(PubAck<'a>),
    /// PUBREC.
    PubRec(PubRec<'a>),
    /// PUBREL.
    PubRel(PubRel<'a>),
    /// PUBCOMP.
    PubComp(PubComp<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
}

impl PacketRef<'_> {
    /// Returns the type of the packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
        }
    }

    /// Returns the length of the encoded packet in bytes.
    #[must_use]
    pub fn encoded_len(&self, version: Version) -> usize {
        match self {
            Self::Connect(packet) => packet.encoded_len(version),
            Self::ConnAck(packet) => packet.encoded_len(version),
            Self::Publish(packet) => packet.encoded_len(version),
            Self::PubAck(packet) => packet.encoded_len(version),
            Self::PubRec(packet) => packet.encoded_len(version),
            Self::PubRel(packet) => packet.encoded_len(version),
            Self::PubComp(packet) => packet.encoded_len(version),
            Self::Subscribe(packet) => packet.encoded_len(version),
            Self::SubAck(packet) => packet.encoded_len(version),
            Self::Unsubscribe(packet) => packet.encoded_len(version),
            Self::UnsubAck(packet) => packet.encoded_len(version),
            Self::PingReq => PingReq.encoded_len(version),
            Self::PingResp => PingResp.encoded_len(version),
            Self::Disconnect(packet) => packet.encoded_len(version),
        }
    }

    /// Writes the packet into the first [`PacketRef::encoded_len`] bytes of `out` and returns how
    /// many these are.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        match self {
            Self::Connect(packet) => packet.encode(version, out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(packet) => packet.encode(version, out),
            Self::PubRec(packet) => packet.encode(version, out),
            Self::PubRel(packet) => packet.encode(version, out),
            Self::PubComp(packet) => packet.encode(version, out),
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::SubAck(packet) => packet.encode(version, out),
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::UnsubAck(packet) => packet.encode(version, out),
            Self::PingReq => PingReq.encode(version, out),
            Self::PingResp => PingResp.encode(version, out),
            Self::Disconnect(packet) => packet.encode(version, out),
        }
    }
}

/// Decodes the packet at the start of `buf` and says how many bytes it took; `None` while it is not
/// complete.
///
/// `maximum_packet_size` bounds the whole packet in bytes, fixed header included: a longer one is
/// refused as soon as its length is known.
///
/// # Errors
///
/// Any [`DecodeError`]. One that a server answers with a CONNACK says so in
/// [`DecodeError::connect_reason`].
#[inline]
pub fn decode(
    buf: &[u8],
    version: Version,
    maximum_packet_size: usize,
) -> Result<Option<(PacketRef<'_>, usize)>, DecodeError> {
    let Some(header) = FixedHeader::decode(buf, maximum_packet_size)? else {
        return Ok(None);
    };
    let Some(body) = buf.get(header.header_len..header.packet_len) else {
        return Ok(None);
    };
    // Those that come by the thousand first.
    const PUBACK: u8 = PacketType::PubAck.first_byte();
    const PUBREC: u8 = PacketType::PubRec.first_byte();
    const PUBREL: u8 = PacketType::PubRel.first_byte();
    const PUBCOMP: u8 = PacketType::PubComp.first_byte();
    let packet = match header.first {
        PUBACK => PacketRef::PubAck(PubAck::decode(version, body)?),
        first if is_publish(first) => PacketRef::Publish(Publish::decode(version, first, body)?),
        PUBREC => PacketRef::PubRec(PubRec::decode(version, body)?),
        PUBREL => PacketRef::PubRel(PubRel::decode(version, body)?),
        PUBCOMP => PacketRef::PubComp(PubComp::decode(version, body)?),
        first => decode_other(version, first, body)?,
    };
    Ok(Some((packet, header.packet_len)))
}

/// Tells whether a packet with this first byte is a PUBLISH that its receiver acknowledges, at QoS
/// 1 or 2 (MQTT3-3.3.1.2).
#[cfg(feature = "client")]
#[inline]
pub(crate) const fn is_acknowledged(first: u8) -> bool {
    first >> 4 == PacketType::Publish.first_byte() >> 4 && first & fixed_header::QOS_MASK != 0
}

/// Bytes of an answer of MQTT 3.1.1 to a PUBLISH or a PUBREL.
pub(crate) const ANSWER_LEN: usize = 4;

/// Takes the answer to a PUBLISH, or to a PUBREL, at the start of `buf` apart: its type, PUBACK, PUBREC or
/// PUBCOMP, and its identifier. `None` for whatever else is there, a part of one too, and for what is wrong:
/// [`decode`] tells.
#[inline(always)]
pub(crate) fn split_answer(buf: &[u8]) -> Option<(PacketType, PacketId)> {
    const PUBACK: u8 = PacketType::PubAck.first_byte();
    const PUBREC: u8 = PacketType::PubRec.first_byte();
    const PUBCOMP: u8 = PacketType::PubComp.first_byte();
    let &[first, len, high, low] = buf.first_chunk::<ANSWER_LEN>()?;
    if usize::from(len) != size_of::<PacketId>() {
        return None;
    }
    let packet_type = match first {
        PUBACK => PacketType::PubAck,
        PUBREC => PacketType::PubRec,
        PUBCOMP => PacketType::PubComp,
        _ => return None,
    };
    Some((packet_type, PacketId::new(u16::from_be_bytes([high, low]))?))
}

/// Tells whether a packet with this first byte is a PUBLISH that did not come before (MQTT3-3.3.1-1).
#[cfg(feature = "client")]
#[inline]
pub(crate) const fn is_new_publish(first: u8) -> bool {
    is_publish(first) && first & fixed_header::DUP == 0
}

/// Tells whether a packet with this first byte is a PUBLISH.
#[inline]
pub(crate) const fn is_publish(first: u8) -> bool {
    first >> 4 == PacketType::Publish.first_byte() >> 4
}

/// Returns the length in bytes of the packet at the start of `buf`; `None` while its fixed header
/// is not complete. What follows the header is not looked at.
///
/// # Errors
///
/// Those of a fixed header: [`DecodeError::UnknownPacketType`], [`DecodeError::ReservedFlags`],
/// [`DecodeError::PublishQoS`], [`DecodeError::DupWithoutQoS`],
/// [`DecodeError::RemainingLengthTooLong`], [`DecodeError::PacketTooLarge`].
#[inline]
pub fn peek_len(buf: &[u8], maximum_packet_size: usize) -> Result<Option<usize>, DecodeError> {
    Ok(FixedHeader::decode(buf, maximum_packet_size)?.map(|header| header.packet_len))
}

/// Decodes the packets that do not come by the thousand; kept out of line so that [`decode`] stays
/// small where it is inlined.
#[inline(never)]
fn decode_other(version: Version, first: u8, body: &[u8]) -> Result<PacketRef<'_>, DecodeError> {
    Ok(match fixed_header::check_first_byte(first)? {
        PacketType::Connect => PacketRef::Connect(Connect::decode(version, body)?),
        PacketType::ConnAck => PacketRef::ConnAck(ConnAck::decode(version, body)?),
        PacketType::Publish => PacketRef::Publish(Publish::decode(version, first, body)?),
        PacketType::PubAck => PacketRef::PubAck(PubAck::decode(version, body)?),
        PacketType::PubRec => PacketRef::PubRec(PubRec::decode(version, body)?),
        PacketType::PubRel => PacketRef::PubRel(PubRel::decode(version, body)?),
        PacketType::PubComp => PacketRef::PubComp(PubComp::decode(version, body)?),
        PacketType::Subscribe => PacketRef::Subscribe(Subscribe::decode(version, body)?),
        PacketType::SubAck => PacketRef::SubAck(SubAck::decode(version, body)?),
        PacketType::Unsubscribe => PacketRef::Unsubscribe(Unsubscribe::decode(version, body)?),
        PacketType::UnsubAck => PacketRef::UnsubAck(UnsubAck::decode(version, body)?),
        PacketType::PingReq => {
            PingReq::decode(body)?;
            PacketRef::PingReq
        }
        PacketType::PingResp => {
            PingResp::decode(body)?;
            PacketRef::PingResp
        }
        PacketType::Disconnect => PacketRef::Disconnect(Disconnect::decode(version, body)?),
    })
}

/// Checks that a packet to be sent has a length that its header can say (MQTT3-2.2.3).
#[inline]
fn check_packet_len(packet_type: PacketType, remaining_length: usize) -> Result<(), EncodeError> {
    if remaining_length > var_int::MAX {
        return Err(EncodeError::PacketTooLarge {
            packet_type,
            found: remaining_length,
        });
    }
    Ok(())
}
