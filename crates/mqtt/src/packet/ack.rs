//! PUBACK, PUBREC, PUBREL, PUBCOMP: the answers of the QoS 1 and QoS 2 exchanges (MQTT3-3.4 to
//! MQTT3-3.7).
//!
//! In MQTT 3.1.1 each is a packet identifier, that of the PUBLISH it belongs to (MQTT3-2.3.1-6),
//! and nothing else.

use super::error::DecodeError;
use super::fixed_header::PacketType;
use super::packet_id::PacketId;
use super::properties::Properties;
use super::reader::Reader;
use super::version::Version;
use super::writer::{Writer, packet_len};

/// Defines one of the four, which differ in name and first byte alone.
macro_rules! acknowledgement {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name<'a> {
            /// The identifier of the PUBLISH.
            pub packet_id: PacketId,
            /// The properties.
            pub properties: Properties<'a>,
        }

        impl<'a> $name<'a> {
            /// Makes a packet to be sent.
            #[inline]
            #[must_use]
            pub const fn new(packet_id: PacketId) -> Self {
                Self { packet_id, properties: Properties::EMPTY }
            }

            /// Returns the length of the encoded packet in bytes.
            #[inline]
            #[must_use]
            pub const fn encoded_len(&self, version: Version) -> usize {
                packet_len(remaining_length(self.properties, version))
            }

            /// Writes the packet into the first `encoded_len` bytes of `out` and returns how many
            /// these are.
            ///
            /// # Panics
            ///
            /// When `out` is shorter than that.
            #[inline]
            pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
                let remaining_length = remaining_length(self.properties, version);
                let first = PacketType::$name.first_byte();
                let mut writer = Writer::start(out, first, remaining_length);
                writer.packet_id(self.packet_id);
                self.properties.encode(version, &mut writer);
                writer.end()
            }

            /// Reads what follows the fixed header.
            #[inline]
            pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
                let (packet_id, properties) = decode(PacketType::$name, version, body)?;
                Ok(Self { packet_id, properties })
            }
        }
    };
}

acknowledgement! {
    /// A PUBACK packet: the receiver of a QoS 1 message has taken it over (MQTT3-3.4).
    PubAck
}
acknowledgement! {
    /// A PUBREC packet: the receiver of a QoS 2 message has it (MQTT3-3.5).
    PubRec
}
acknowledgement! {
    /// A PUBREL packet: the sender of a QoS 2 message will not send it again (MQTT3-3.6).
    PubRel
}
acknowledgement! {
    /// A PUBCOMP packet: the receiver of a QoS 2 message has forgotten its identifier (MQTT3-3.7).
    PubComp
}

/// Returns the number of bytes that follow the fixed header.
#[inline]
const fn remaining_length(properties: Properties<'_>, version: Version) -> usize {
    size_of::<PacketId>() + properties.encoded_len(version)
}

/// Reads the body of any of the four.
#[inline]
fn decode<'a>(
    packet_type: PacketType,
    version: Version,
    body: &'a [u8],
) -> Result<(PacketId, Properties<'a>), DecodeError> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id(packet_type)?;
    let properties = Properties::decode(version, &mut reader);
    reader.end(packet_type)?;
    Ok((packet_id, properties))
}
