//! SUBSCRIBE: topic filters with the highest QoS that is wanted for each (MQTT3-3.8).

use super::check_packet_len;
use super::error::{DecodeError, EncodeError};
use super::field::Field;
use super::fixed_header::PacketType;
use super::list::{List, ListEntry};
use super::packet_id::PacketId;
use super::properties::Properties;
use super::qos::QoS;
use super::reader::Reader;
use super::text;
use super::version::Version;
use super::writer::{Writer, field_len, packet_len};

/// A SUBSCRIBE packet, valid by construction except for the wildcards of its filters, which
/// [`crate::topic`] judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    packet_id: PacketId,
    filters: List<'a, (&'a str, QoS)>,
    properties: Properties<'a>,
}

impl<'a> Subscribe<'a> {
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
        filters: &'a [(&'a str, QoS)],
    ) -> Result<Self, EncodeError> {
        let packet_type = PacketType::Subscribe;
        let filters = List::to_send(filters, EncodeError::NoFilter { packet_type })?;
        let packet = Self {
            packet_id,
            filters,
            properties: Properties::EMPTY,
        };
        check_packet_len(packet_type, packet.remaining_length(version))?;
        Ok(packet)
    }

    /// Returns the identifier that SUBACK repeats.
    #[must_use]
    pub const fn packet_id(&self) -> PacketId {
        self.packet_id
    }

    /// Returns the filters, one at least, with the QoS requested for each.
    #[must_use]
    pub const fn filters(&self) -> List<'a, (&'a str, QoS)> {
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

    /// Writes the packet into the first [`Subscribe::encoded_len`] bytes of `out` and returns how
    /// many these are. `version` is the one that the packet was made for.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let remaining_length = self.remaining_length(version);
        let first = PacketType::Subscribe.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        writer.packet_id(self.packet_id);
        self.properties.encode(version, &mut writer);
        self.filters.encode(&mut writer);
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let packet_type = PacketType::Subscribe;
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

/// The filter of a SUBSCRIBE with its byte of options, of which MQTT 3.1.1 knows the QoS alone.
impl<'a> ListEntry<'a> for (&'a str, QoS) {
    fn check(self) -> Result<(), EncodeError> {
        self.0.check()
    }

    fn encoded_len(self) -> usize {
        self.0.encoded_len() + 1
    }

    fn encode(self, out: &mut [u8]) {
        let (filter, qos) = self;
        let (options, place) = out.split_last_mut().expect("the options are a byte");
        filter.encode(place);
        *options = qos.bits();
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (filter, rest) = <&str>::decode(bytes)?;
        let mut reader = Reader::new(rest);
        let options = reader.byte(Field::RequestedQoS)?;
        if options & 0b1111_1100 != 0 {
            return Err(DecodeError::RequestedQoSReserved { found: options });
        }
        let Some(qos) = QoS::from_bits(options) else {
            return Err(DecodeError::RequestedQoS);
        };
        Ok(((filter, qos), reader.rest()))
    }
}

/// The filter of an UNSUBSCRIBE, and of a SUBSCRIBE without its options.
impl<'a> ListEntry<'a> for &'a str {
    fn check(self) -> Result<(), EncodeError> {
        text::check_field_len(self.as_bytes(), Field::TopicFilter)?;
        text::check_filter(self).map_err(|error| error.encoding(Field::TopicFilter))
    }

    fn encoded_len(self) -> usize {
        field_len(self.as_bytes())
    }

    fn encode(self, out: &mut [u8]) {
        Writer::over(out).field(self.as_bytes());
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok((reader.topic_filter()?, reader.rest()))
    }
}
