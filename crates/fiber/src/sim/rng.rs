//! The two numbers everything of a simulated run comes down to: the state of a generator that was
//! seeded, and the hash of what was decided. Pure.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::time::Duration;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64: small, fast, equal on every machine. Not for keys.
#[derive(Debug)]
pub(crate) struct Rng(Cell<u64>);

impl Rng {
    /// The stream of `seed` that belongs to one use; streams of different uses are unrelated, so
    /// that one more draw of one leaves the others as they were.
    pub(crate) fn stream(seed: u64, usage: u64) -> Self {
        Self(Cell::new(mix(seed ^ mix(usage.wrapping_mul(GOLDEN)))))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(GOLDEN);
        self.0.set(state);
        mix(state)
    }

    /// A number below `bound`, or zero if that is zero.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("below a u64")
    }

    /// As [`Rng::below`], for indexes.
    pub(crate) fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    pub(crate) fn within(&self, range: &RangeInclusive<u64>) -> u64 {
        let width = range.end().saturating_sub(*range.start());
        range.start() + self.below(width.saturating_add(1))
    }

    /// A duration of the range, in nanoseconds.
    pub(crate) fn nanos(&self, range: &RangeInclusive<Duration>) -> u64 {
        self.within(&(nanos(*range.start())..=nanos(*range.end())))
    }

    /// True once in `per_million` / 1 000 000 draws.
    pub(crate) fn chance(&self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Nanoseconds of a duration, at most some 580 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What kind of decision entered the trace.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Decision {
    /// A fiber was resumed: its index, the time.
    Resume = 1,
    /// Time moved on while all waited: to when.
    Advance,
    /// An event of the world happened: when, its rank among its like.
    Event,
    /// Random bytes were given to the program: how many.
    Random,
}

/// The hash of all decisions in their order. Equal for equal runs.
#[derive(Debug, Default)]
pub(crate) struct Trace(Cell<u64>);

impl Trace {
    pub(crate) fn note(&self, decision: Decision, a: u64, b: u64) {
        let mut hash = self.0.get();
        for word in [decision as u64, a, b] {
            hash = (hash ^ word).wrapping_mul(GOLDEN).rotate_left(29);
        }
        self.0.set(hash);
    }

    pub(crate) fn hash(&self) -> u64 {
        mix(self.0.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_their_bound_and_reach_all_of_it() {
        let rng = Rng::stream(1, 1);
        let mut seen = [0_u32; 7];
        for _ in 0..7_000 {
            seen[rng.index(7)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 800 && n < 1_200), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert!(!rng.chance(0) && rng.chance(1_000_000));
        assert_eq!(rng.within(&(3..=3)), 3);
    }

    #[test]
    fn streams_of_one_seed_differ_and_come_again() {
        let draw = |usage| Rng::stream(9, usage).next();
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1), draw(1));
    }

    #[test]
    fn the_trace_depends_on_order_and_value() {
        let hash = |steps: &[(Decision, u64)]| {
            let trace = Trace::default();
            for &(decision, a) in steps {
                trace.note(decision, a, 0);
            }
            trace.hash()
        };
        let one = hash(&[(Decision::Resume, 1), (Decision::Resume, 2)]);
        assert_ne!(one, hash(&[(Decision::Resume, 2), (Decision::Resume, 1)]));
        assert_ne!(one, hash(&[(Decision::Resume, 1), (Decision::Advance, 2)]));
        assert_eq!(one, hash(&[(Decision::Resume, 1), (Decision::Resume, 2)]));
    }
}
