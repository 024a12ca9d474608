//! Quality of Service: how often an application message may arrive (MQTT3-4.3).

use std::fmt;

/// The delivery promise of a message or the highest one a subscription asks for (MQTT3-4.3).
///
/// Ordered by strength, so `a.min(b)` is what a broker grants when `b` is the most it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// QoS 0: sent once and never acknowledged; it arrives once or not at all.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent until a PUBACK comes; it arrives once or more often.
    AtLeastOnce = 1,
    /// QoS 2: a four-packet exchange; it arrives exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// Returns the level for the number a packet carries; `None` for 3, which is reserved
    /// (MQTT3-3.3.1-4), and for anything above.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Returns the number a packet carries for this level: 0, 1 or 2.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QoS {}", self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_maps_to_a_level_and_back_or_to_none() {
        for bits in 0..=u8::MAX {
            assert_eq!(
                QoS::from_bits(bits).map(QoS::bits),
                (bits < 3).then_some(bits)
            );
        }
    }

    #[test]
    fn stronger_levels_compare_greater() {
        assert!(QoS::AtMostOnce < QoS::AtLeastOnce && QoS::AtLeastOnce < QoS::ExactlyOnce);
        assert_eq!(QoS::default(), QoS::AtMostOnce);
        assert_eq!(QoS::ExactlyOnce.to_string(), "QoS 2");
    }
}
