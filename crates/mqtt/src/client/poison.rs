//! The same malformed packet again and again: one that the broker delivers on each connection.

use crate::packet::{self, DecodeError};

/// The bit that says that PUBLISH was sent before (MQTT3-3.3.1.1).
const DUP: u8 = 0x08;

/// Connections running that the same malformed packet ends, until the next attempts are made as
/// seldom as after refusals.
const POISON_TIMES_MAX: u32 = 3;

/// As much of a malformed packet as tells whether it is the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Its fixed header, without DUP; only the first byte where the rest is what is wrong.
    header: (u8, Option<usize>),
    pub(super) error: DecodeError,
}

impl Malformed {
    pub(super) fn new(bytes: &[u8], error: DecodeError) -> Self {
        let first = bytes.first().copied().unwrap_or_default();
        let dup = if packet::is_publish(first) { DUP } else { 0 };
        let len = packet::peek_len(bytes, packet::MAX_PACKET_LEN);
        Self {
            header: (first & !dup, len.ok().flatten()),
            error,
        }
    }
}

/// Whether the broker sends the same malformed packet again and again.
#[derive(Debug, Default)]
pub(super) struct Poison {
    last: Option<Malformed>,
    times: u32,
}

impl Poison {
    /// Notes what ended a connection; tells whether it is the same as that of those before.
    ///
    /// An attempt that did not get so far says nothing about it.
    pub(super) fn look(&mut self, malformed: Option<Malformed>, was_up: bool) -> bool {
        if malformed.is_none() && !was_up {
            return false;
        }
        let is_same = malformed.is_some() && malformed == self.last;
        self.times = if is_same {
            self.times.saturating_add(1)
        } else {
            1
        };
        self.last = malformed;
        malformed.is_some() && self.times >= POISON_TIMES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malformed(bytes: &[u8]) -> Option<Malformed> {
        let error = packet::decode(bytes, packet::Version::V311, 1_000).unwrap_err();
        Some(Malformed::new(bytes, error))
    }

    #[test]
    fn the_third_time_running_is_told_and_every_further_one() {
        let first = malformed(b"\x32\x03\x00\x00\x00");
        // Delivered again.
        let again = malformed(b"\x3a\x03\x00\x00\x00");
        let other = malformed(b"\xf0\x00");
        let mut poison = Poison::default();
        let looks = [
            (first, true, false),
            (again, true, false),
            (None, false, false),
            (again, true, true),
            (again, true, true),
            (other, true, false),
            (again, true, false),
            (None, true, false),
            (again, true, false),
            (again, true, false),
            (again, true, true),
        ];
        for (index, (malformed, was_up, expected)) in looks.into_iter().enumerate() {
            assert_eq!(poison.look(malformed, was_up), expected, "{index}");
        }
    }

    #[test]
    fn packets_of_other_kinds_lengths_and_faults_are_others() {
        let packets = [
            &b"\x32\x03\x00\x00\x00"[..],
            b"\x32\x04\x00\x00\x00\x00",
            b"\xf0\x00",
            b"\x36\x00",
            b"\x30\xff\xff\xff\xff",
        ];
        for (at, one) in packets.iter().enumerate() {
            for other in &packets[at + 1..] {
                assert_ne!(malformed(one), malformed(other), "{one:?} {other:?}");
            }
        }
    }
}
