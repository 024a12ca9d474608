//! When the link is cut, and at which byte: drawn from a seed, so that a run can be had again.
//!
//! Pure: a seed always gives the same cuts.

use std::ops::RangeInclusive;

/// Messages that arrive on a connection before its link fails.
const MESSAGES_BEFORE: RangeInclusive<u64> = 30..=70;
/// Messages that arrive and are not acknowledged any more before the cut.
const MESSAGES_UNACKNOWLEDGED: RangeInclusive<u64> = 6..=12;
/// Where in a packet the cut is, in thousandths of its length: away from both ends, so that a
/// short packet in between does not move it to a boundary.
const PLACE: RangeInclusive<u64> = 250..=750;

/// One cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Messages that arrive before the acknowledgements stop.
    pub(super) before: u64,
    /// Messages that arrive from there on before the cut.
    pub(super) unacknowledged: u64,
    /// Where in a packet, in thousandths of its length.
    place: u64,
}

impl Cut {
    /// Returns how many bytes arrive of a packet that has `len`: some, and not all.
    pub(super) fn bytes_of(self, len: u64) -> u64 {
        (len * self.place / 1000).clamp(1, (len - 1).max(1))
    }
}

/// All the cuts of a seed, one after the other. There is no end of them.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    state: u64,
}

impl Plan {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Draws a number (SplitMix64, which makes neighbouring seeds unlike each other).
    const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    const fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        let choices = *range.end() - *range.start() + 1;
        *range.start() + self.draw() % choices
    }

    /// Draws the next cut. There is no end of them.
    pub(super) const fn draw_cut(&mut self) -> Cut {
        Cut {
            before: self.within(&MESSAGES_BEFORE),
            unacknowledged: self.within(&MESSAGES_UNACKNOWLEDGED),
            place: self.within(&PLACE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::verdict::IN_FLIGHT_MIN;
    use std::collections::BTreeSet;

    fn cuts(seed: u64) -> Vec<Cut> {
        let mut plan = Plan::new(seed);
        (0..20).map(|_| plan.draw_cut()).collect()
    }

    #[test]
    fn a_seed_always_gives_the_same_cuts_and_another_seed_others() {
        assert_eq!(cuts(7), cuts(7));
        let first: BTreeSet<String> = (0..200).map(|seed| format!("{:?}", cuts(seed))).collect();
        assert_eq!(first.len(), 200);
        let moments: BTreeSet<u64> = (0..200).map(|seed| cuts(seed)[0].before).collect();
        assert!(moments.len() > 30, "{} moments", moments.len());
    }

    #[test]
    fn every_cut_is_inside_a_packet_and_leaves_enough_in_flight() {
        for seed in 0..200 {
            for cut in cuts(seed) {
                assert!(MESSAGES_BEFORE.contains(&cut.before), "{cut:?}");
                assert!(cut.unacknowledged >= IN_FLIGHT_MIN as u64, "{cut:?}");
                for len in 2..200 {
                    let bytes = cut.bytes_of(len);
                    assert!((1..len).contains(&bytes), "{bytes} of {len}: {cut:?}");
                }
                // Two acknowledgements in between do not make it a boundary.
                assert!((9..52).contains(&cut.bytes_of(61)), "{cut:?}");
            }
        }
    }
}
