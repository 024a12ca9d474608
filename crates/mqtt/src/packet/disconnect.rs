//! DISCONNECT: the last packet of a client that means to go (MQTT3-3.14).

use super::error::DecodeError;
use super::fixed_header::PacketType;
use super::properties::Properties;
use super::reader::Reader;
use super::version::Version;
use super::writer::{Writer, packet_len};

/// A DISCONNECT packet: the server drops the will and nothing is sent after it (MQTT3-3.14.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disconnect<'a> {
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Makes a packet to be sent.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            properties: Properties::EMPTY,
        }
    }

    /// Returns the length of the encoded packet in bytes.
    #[must_use]
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.properties.encoded_len(version))
    }

    /// Writes the packet into the first [`Disconnect::encoded_len`] bytes of `out` and returns how
    /// many these are.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let remaining_length = self.properties.encoded_len(version);
        let first = PacketType::Disconnect.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        self.properties.encode(version, &mut writer);
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let properties = Properties::decode(version, &mut reader);
        reader.end(PacketType::Disconnect)?;
        Ok(Self { properties })
    }
}
