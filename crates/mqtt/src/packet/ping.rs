//! PINGREQ and PINGRESP: a sign of life and its answer (MQTT3-3.12, MQTT3-3.13).

use super::error::DecodeError;
use super::fixed_header::PacketType;
use super::reader::Reader;
use super::version::Version;
use super::writer::{Writer, packet_len};

/// A PINGREQ packet: the client is alive and wants to know whether the server is (MQTT3-3.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingReq;

/// A PINGRESP packet: the server is alive (MQTT3-3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingResp;

impl PingReq {
    /// Returns the length of the encoded packet in bytes, which is 2 in every version.
    #[must_use]
    pub const fn encoded_len(&self, _version: Version) -> usize {
        packet_len(0)
    }

    /// Writes the packet into the first two bytes of `out` and returns their number.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, _version: Version, out: &mut [u8]) -> usize {
        encode(PacketType::PingReq, out)
    }

    /// Reads what follows the fixed header, which is nothing.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Reader::new(body).end(PacketType::PingReq)?;
        Ok(Self)
    }
}

impl PingResp {
    /// Returns the length of the encoded packet in bytes, which is 2 in every version.
    #[must_use]
    pub const fn encoded_len(&self, _version: Version) -> usize {
        packet_len(0)
    }

    /// Writes the packet into the first two bytes of `out` and returns their number.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, _version: Version, out: &mut [u8]) -> usize {
        encode(PacketType::PingResp, out)
    }

    /// Reads what follows the fixed header, which is nothing.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Reader::new(body).end(PacketType::PingResp)?;
        Ok(Self)
    }
}

/// Writes a packet that is a fixed header alone.
fn encode(packet_type: PacketType, out: &mut [u8]) -> usize {
    Writer::start(out, packet_type.first_byte(), 0).end()
}
