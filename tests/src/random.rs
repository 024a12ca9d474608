//! Numbers drawn from a seed: what a test does at random moments can be had again.

use std::env;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The variable that chooses the seed.
pub const SEED_VARIABLE: &str = "SEED";

/// A sequence of numbers that its seed decides (SplitMix64). When a test fails, its seed is told.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Returns the sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// Returns the sequence of the seed in the environment, or of another one each time.
    ///
    /// # Panics
    /// When the variable `SEED` is no number.
    #[must_use]
    #[track_caller]
    pub fn of_run() -> Self {
        let Some(text) = env::var_os(SEED_VARIABLE) else {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let nanos = now.unwrap_or_default().subsec_nanos();
            return Self::new(u64::from(nanos));
        };
        let seed = text.to_str().and_then(|text| text.parse().ok());
        Self::new(seed.unwrap_or_else(|| panic!("{SEED_VARIABLE} is no number: {text:?}")))
    }

    /// Returns what it was made from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Draws a number.
    pub const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number of a range.
    pub const fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        let choices = (*range.end() - *range.start()).saturating_add(1);
        *range.start() + self.draw() % choices
    }

    /// Draws a length of time between two, in whole microseconds.
    pub fn time(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let micros = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.within(&(micros(range.start())..=micros(range.end()))))
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if thread::panicking() {
            let line = format!("--- drawn from {SEED_VARIABLE}={} ---\n", self.seed);
            // Nothing can be done about a closed error output.
            drop(io::stderr().write_all(line.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..20).map(|_| random.draw()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn what_is_drawn_of_a_range_lies_in_it_and_reaches_both_ends() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..1_000).map(|_| random.within(&(3..=9))).collect();
        assert_eq!(
            (drawn.iter().min(), drawn.iter().max()),
            (Some(&3), Some(&9))
        );
        let (short, long) = (Duration::from_millis(20), Duration::from_millis(150));
        assert!((0..1_000).all(|_| (short..=long).contains(&random.time(&(short..=long)))));
        assert_eq!(random.within(&(5..=5)), 5);
    }
}
