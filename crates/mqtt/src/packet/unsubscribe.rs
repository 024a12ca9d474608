//! UNSUBSCRIBE and its answer UNSUBACK: topic filters that are no longer wanted (MQTT3-3.10,
//! MQTT3-3.11).

use super::check_packet_len;
use super::error::{DecodeError, EncodeError};
use super::fixed_header::PacketType;
use super::list::List;
use super::packet_id::PacketId;
use super::properties::Properties;
use super::reader::Reader;
use super::version::Version;
use super::writer::{Writer, packet_len};

/// An UNSUBSCRIBE packet, valid by construction except for the wildcards of its filters, which
/// [`crate::topic`] judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    packet_id: PacketId,
    filters: List<'a, &'a str>,
    properties: Properties<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// Makes a packet to be sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoFilter`] for an empty slice; for a single filter
    /// [`EncodeError::FilterEmpty`], [`EncodeError::NullCharacter`] and
    /// [`EncodeError::FieldTooLong`]; [`EncodeError::PacketTooLarge`] when all of them exceed a
    /// remaining length of 268 435 455.
    pub fn new(
        version: Version,
        packet_id: PacketId,
        filters: &'a [&'a str],
    ) -> Result<Self, EncodeError> {
        let packet_type = PacketType::Unsubscribe;
        let filters = List::to_send(filters, EncodeError::NoFilter { packet_type })?;
        let packet = Self {
            packet_id,
            filters,
            properties: Properties::EMPTY,
        };
        check_packet_len(packet_type, packet.remaining_length(version))?;
        Ok(packet)
    }

    /// Returns the identifier that UNSUBACK repeats.
    #[must_use]
    pub const fn packet_id(&self) -> PacketId {
        self.packet_id
    }

    /// Returns the filters, one at least.
    #[must_use]
    pub const fn filters(&self) -> List<'a, &'a str> {
        self.filters
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

    /// Writes the packet into the first [`Unsubscribe::encoded_len`] bytes of `out` and returns how
    /// many these are. `version` is the one that the packet was made for.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let remaining_length = self.remaining_length(version);
        let first = PacketType::Unsubscribe.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        writer.packet_id(self.packet_id);
        self.properties.encode(version, &mut writer);
        self.filters.encode(&mut writer);
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let packet_type = PacketType::Unsubscribe;
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id(packet_type)?;
        let properties = Properties::decode(version, &mut reader);
        let filters = List::received(reader, DecodeError::NoFilter { packet_type })?;
        Ok(Self {
            packet_id,
            filters,
            properties,
        })
    }

    /// Returns the number of bytes that follow the fixed header.
    fn remaining_length(&self, version: Version) -> usize {
        let fixed = size_of::<PacketId>() + self.properties.encoded_len(version);
        fixed.saturating_add(self.filters.encoded_len())
    }
}

/// An UNSUBACK packet: the subscriptions are gone (MQTT3-3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsubAck<'a> {
    /// The identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> UnsubAck<'a> {
    /// Makes a packet to be sent.
    #[must_use]
    pub const fn new(packet_id: PacketId) -> Self {
        Self {
            packet_id,
            properties: Properties::EMPTY,
        }
    }

    /// Returns the length of the encoded packet in bytes.
    #[must_use]
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_length(version))
    }

    /// Writes the packet into the first [`UnsubAck::encoded_len`] bytes of `out` and returns how
    /// many these are.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let remaining_length = self.remaining_length(version);
        let first = PacketType::UnsubAck.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        writer.packet_id(self.packet_id);
        self.properties.encode(version, &mut writer);
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id(PacketType::UnsubAck)?;
        let properties = Properties::decode(version, &mut reader);
        reader.end(PacketType::UnsubAck)?;
        Ok(Self {
            packet_id,
            properties,
        })
    }

    /// Returns the number of bytes that follow the fixed header.
    const fn remaining_length(&self, version: Version) -> usize {
        size_of::<PacketId>() + self.properties.encoded_len(version)
    }
}
