//! Properties: the list that MQTT 5 puts into its packets and MQTT 3.1.1 does not know.
//!
//! Every packet type has a place for them, so that one type serves every version. In MQTT 3.1.1
//! they take no byte and the only value is the empty list.

use super::reader::Reader;
use super::version::Version;
use super::writer::Writer;

/// The properties of a packet as the bytes on the wire; always empty in MQTT 3.1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// No properties: what every packet of MQTT 3.1.1 has.
    pub const EMPTY: Self = Self(&[]);

    /// Returns the encoded properties, without the length in front of them.
    #[inline]
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns whether there is no property.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many bytes the properties, with their length, take in a packet.
    #[inline]
    pub(super) const fn encoded_len(self, version: Version) -> usize {
        match version {
            Version::V311 => 0,
        }
    }

    /// Writes [`Properties::encoded_len`] bytes.
    #[inline]
    pub(super) const fn encode(self, version: Version, _writer: &mut Writer<'_>) {
        match version {
            Version::V311 => {}
        }
    }

    /// Reads the properties where a packet of this version has them.
    #[inline]
    pub(super) const fn decode(version: Version, _reader: &mut Reader<'a>) -> Self {
        match version {
            Version::V311 => Self::EMPTY,
        }
    }
}
