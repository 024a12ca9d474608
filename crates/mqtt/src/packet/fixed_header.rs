//! Fixed Header: the packet type, its flags and the Remaining Length (MQTT3-2.2).
//!
//! A header is judged as soon as its bytes are there: a first byte that no packet starts with and a
//! packet above the reader's bound are refused before anything of the rest is waited for.

use std::fmt;

use super::error::DecodeError;
use super::var_int;

/// The fourteen kinds of control packet (MQTT3-2.2.1); the discriminant is the number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum PacketType {
    /// CONNECT, client to server: the first packet of a connection.
    Connect = 1,
    /// CONNACK, server to client: the answer to CONNECT.
    ConnAck = 2,
    /// PUBLISH, both ways: an application message.
    Publish = 3,
    /// PUBACK, both ways: the answer to a QoS 1 PUBLISH.
    PubAck = 4,
    /// PUBREC, both ways: the first answer to a QoS 2 PUBLISH.
    PubRec = 5,
    /// PUBREL, both ways: the answer to PUBREC.
    PubRel = 6,
    /// PUBCOMP, both ways: the answer to PUBREL.
    PubComp = 7,
    /// SUBSCRIBE, client to server.
    Subscribe = 8,
    /// SUBACK, server to client: the answer to SUBSCRIBE.
    SubAck = 9,
    /// UNSUBSCRIBE, client to server.
    Unsubscribe = 10,
    /// UNSUBACK, server to client: the answer to UNSUBSCRIBE.
    UnsubAck = 11,
    /// PINGREQ, client to server.
    PingReq = 12,
    /// PINGRESP, server to client: the answer to PINGREQ.
    PingResp = 13,
    /// DISCONNECT, client to server: the last packet of a connection.
    Disconnect = 14,
}

impl PacketType {
    /// Returns the type in the upper half of a packet's first byte; `None` for the reserved 0 and
    /// 15.
    #[inline]
    #[must_use]
    pub const fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// Returns the first byte of a packet of this type with its reserved flags (MQTT3-2.2.2-1). For
    /// PUBLISH, whose flags mean something, this is the byte with all of them zero.
    #[inline]
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.reserved_flags()
    }

    /// Returns the value the lower half of the first byte must have.
    const fn reserved_flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            Self::Connect
            | Self::ConnAck
            | Self::Publish
            | Self::PubAck
            | Self::PubRec
            | Self::PubComp
            | Self::SubAck
            | Self::UnsubAck
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect => 0,
        }
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
        })
    }
}

/// The DUP bit in the first byte of a PUBLISH (MQTT3-3.3.1.1).
pub(super) const DUP: u8 = 0b1000;
/// The RETAIN bit in the first byte of a PUBLISH (MQTT3-3.3.1.3).
pub(super) const RETAIN: u8 = 0b0001;
/// The two QoS bits in the first byte of a PUBLISH (MQTT3-3.3.1.2).
pub(super) const QOS_MASK: u8 = 0b0110;
/// Where these begin.
pub(super) const QOS_SHIFT: u8 = 1;

/// What [`check_first_byte`] says about every first byte, so that a packet costs one look here.
static IS_FIRST_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut first = 0;
    while first < table.len() {
        table[first] = check_first_byte(first as u8).is_ok();
        first += 1;
    }
    table
};

/// A decoded fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixedHeader {
    /// The first byte, which is one that a packet may start with.
    pub(super) first: u8,
    /// Length of the header itself in bytes, 2 to 5.
    pub(super) header_len: usize,
    /// Length of the whole packet in bytes.
    pub(super) packet_len: usize,
}

impl FixedHeader {
    /// Reads the header at the start of `buf`; `None` while it is not complete.
    #[inline]
    pub(super) fn decode(
        buf: &[u8],
        maximum_packet_size: usize,
    ) -> Result<Option<Self>, DecodeError> {
        // Nearly every packet has a remaining length of one or two bytes.
        let (first, header_len, remaining_length) = match *buf {
            [first, a, ..] if a < 0x80 => (first, 2, usize::from(a)),
            [first, a, b, ..] if b < 0x80 => {
                (first, 3, usize::from(a & 0x7f) | usize::from(b) << 7)
            }
            _ => match decode_long(buf)? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        let packet_len = header_len + remaining_length;
        if !IS_FIRST_BYTE[usize::from(first)] || packet_len > maximum_packet_size {
            return Err(refusal(first, maximum_packet_size, packet_len));
        }
        Ok(Some(Self {
            first,
            header_len,
            packet_len,
        }))
    }
}

/// Reads a header whose remaining length has three or four bytes, or finds out what is missing or
/// wrong. Returns the first byte, the length of the header and the remaining length.
#[cold]
fn decode_long(buf: &[u8]) -> Result<Option<(u8, usize, usize)>, DecodeError> {
    let Some((&first, length)) = buf.split_first() else {
        return Ok(None);
    };
    // A first byte that is wrong stays wrong, however the rest goes on.
    check_first_byte(first)?;
    let Some((remaining_length, size)) = var_int::decode(length)? else {
        return Ok(None);
    };
    Ok(Some((first, 1 + size, remaining_length)))
}

/// Says why a complete header is refused.
#[cold]
fn refusal(first: u8, maximum: usize, packet_len: usize) -> DecodeError {
    match check_first_byte(first) {
        Ok(packet_type) => DecodeError::PacketTooLarge {
            packet_type,
            maximum,
            found: packet_len,
        },
        Err(error) => error,
    }
}

/// Checks packet type and flags (MQTT3-2.2.2-1, MQTT3-2.2.2-2, MQTT3-3.3.1-2, MQTT3-3.3.1-4).
pub(super) const fn check_first_byte(first: u8) -> Result<PacketType, DecodeError> {
    let Some(packet_type) = PacketType::from_first_byte(first) else {
        return Err(DecodeError::UnknownPacketType { found: first >> 4 });
    };
    if matches!(packet_type, PacketType::Publish) {
        let qos = first & QOS_MASK;
        if qos == QOS_MASK {
            return Err(DecodeError::PublishQoS);
        }
        if first & DUP != 0 && qos == 0 {
            return Err(DecodeError::DupWithoutQoS);
        }
    } else if first != packet_type.first_byte() {
        return Err(DecodeError::ReservedFlags {
            packet_type,
            expected: packet_type.first_byte() & 0x0f,
            found: first & 0x0f,
        });
    }
    Ok(packet_type)
}
