//! Packet Identifier: the number that ties an acknowledgement to what it acknowledges (MQTT3-2.3.1).

use std::fmt;
use std::num::NonZeroU16;

use super::error::DecodeError;
use super::fixed_header::PacketType;

/// A Packet Identifier, 1 to 65 535; zero does not exist (MQTT3-2.3.1-1).
///
/// Which identifiers are free is the session's business; this type only holds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The largest identifier.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// Returns the identifier with this number; `None` for zero.
    #[inline]
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number, which is never zero.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Returns the identifier in the two bytes of a packet.
    #[inline]
    pub(super) fn decode(bytes: [u8; 2], packet_type: PacketType) -> Result<Self, DecodeError> {
        Self::new(u16::from_be_bytes(bytes)).ok_or(DecodeError::PacketIdZero { packet_type })
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_but_zero_is_an_identifier() {
        assert_eq!(PacketId::new(0), None);
        for number in 1..=u16::MAX {
            assert_eq!(PacketId::new(number).map(PacketId::get), Some(number));
        }
        assert_eq!((PacketId::MIN.get(), PacketId::MAX.get()), (1, 65_535));
        assert_eq!(PacketId::MAX.to_string(), "65535");
    }

    #[test]
    fn an_optional_identifier_is_as_small_as_an_identifier() {
        assert_eq!(size_of::<Option<PacketId>>(), 2);
    }
}
