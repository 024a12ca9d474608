//! SUBACK: what became of each filter of a SUBSCRIBE (MQTT3-3.9).

use std::fmt;

use super::check_packet_len;
use super::error::{DecodeError, EncodeError};
use super::field::Field;
use super::fixed_header::PacketType;
use super::list::{List, ListEntry};
use super::packet_id::PacketId;
use super::properties::Properties;
use super::qos::QoS;
use super::reader::Reader;
use super::version::Version;
use super::writer::{Writer, packet_len};

/// What became of one filter (MQTT3-3.9.3): a return code of SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscribeReason {
    /// Subscribed; messages come with at most this QoS, which may be less than requested.
    Granted(QoS),
    /// Refused, for a reason that MQTT 3.1.1 does not tell.
    Failure,
}

impl SubscribeReason {
    /// Returns the return code of SUBACK: 0, 1, 2 or 0x80.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Granted(qos) => qos.bits(),
            Self::Failure => 0x80,
        }
    }

    /// Returns the meaning of a return code; `None` for a reserved one (MQTT3-3.9.3-2).
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match (QoS::from_bits(code), code) {
            (Some(qos), _) => Some(Self::Granted(qos)),
            (None, 0x80) => Some(Self::Failure),
            (None, _) => None,
        }
    }
}

impl fmt::Display for SubscribeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(qos) => write!(f, "granted with {qos}"),
            Self::Failure => f.write_str("refused"),
        }
    }
}

/// A SUBACK packet, valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    packet_id: PacketId,
    reasons: List<'a, SubscribeReason>,
    properties: Properties<'a>,
}

impl<'a> SubAck<'a> {
    /// Makes a packet to be sent, with one reason for each filter in its order (MQTT3-3.9.3-1).
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoReturnCode`] for an empty slice, [`EncodeError::PacketTooLarge`] when the
    /// remaining length exceeds 268 435 455.
    pub fn new(
        version: Version,
        packet_id: PacketId,
        reasons: &'a [SubscribeReason],
    ) -> Result<Self, EncodeError> {
        let reasons = List::to_send(reasons, EncodeError::NoReturnCode)?;
        let packet = Self {
            packet_id,
            reasons,
            properties: Properties::EMPTY,
        };
        check_packet_len(PacketType::SubAck, packet.remaining_length(version))?;
        Ok(packet)
    }

    /// Returns the identifier of the SUBSCRIBE.
    #[must_use]
    pub const fn packet_id(&self) -> PacketId {
        self.packet_id
    }

    /// Returns what became of the filters, one at least, in their order.
    #[must_use]
    pub const fn reasons(&self) -> List<'a, SubscribeReason> {
        self.reasons
    }

    /// Returns the properties.
    #[must_use]
    pub const fn properties(&self) -> Properties<'a> {
        self.properties
    }

    /// Returns the length of the encoded packet in bytes.
    #[must_use]
    pub fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_length(version))
    }

    /// Writes the packet into the first [`SubAck::encoded_len`] bytes of `out` and returns how many
    /// these are. `version` is the one that the packet was made for.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let remaining_length = self.remaining_length(version);
        let first = PacketType::SubAck.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        writer.packet_id(self.packet_id);
        self.properties.encode(version, &mut writer);
        self.reasons.encode(&mut writer);
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id(PacketType::SubAck)?;
        let properties = Properties::decode(version, &mut reader);
        let reasons = List::received(reader, DecodeError::NoReturnCode)?;
        Ok(Self {
            packet_id,
            reasons,
            properties,
        })
    }

    /// Returns the number of bytes that follow the fixed header.
    fn remaining_length(&self, version: Version) -> usize {
        let fixed = size_of::<PacketId>() + self.properties.encoded_len(version);
        fixed.saturating_add(self.reasons.encoded_len())
    }
}

impl<'a> ListEntry<'a> for SubscribeReason {
    fn check(self) -> Result<(), EncodeError> {
        Ok(())
    }

    fn encoded_len(self) -> usize {
        1
    }

    fn encode(self, out: &mut [u8]) {
        Writer::over(out).byte(self.code());
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(bytes);
        let code = reader.byte(Field::ReturnCode)?;
        match Self::from_code(code) {
            Some(reason) => Ok((reason, reader.rest())),
            None => Err(DecodeError::ReturnCode { found: code }),
        }
    }
}
