//! The protocol version, an argument of every encoding and decoding function.

use std::fmt;

/// The version of MQTT that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4 (MQTT3-3.1.2.2).
    #[default]
    V311,
}

impl Version {
    /// Returns the Protocol Level byte that CONNECT carries for this version.
    #[inline]
    #[must_use]
    pub const fn protocol_level(self) -> u8 {
        match self {
            Self::V311 => 4,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V311 => f.write_str("MQTT 3.1.1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_3_1_1_is_protocol_level_four() {
        assert_eq!(Version::default(), Version::V311);
        assert_eq!(Version::V311.protocol_level(), 4);
        assert_eq!(Version::V311.to_string(), "MQTT 3.1.1");
    }
}
