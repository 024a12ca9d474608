//! What became of the numbers 1, 2, 3 and so on of a stream.
//!
//! Its size depends on the gaps, not on how many numbers there were.

use std::collections::BTreeMap;

/// A set of numbers that mostly come one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// From the first to the last number of each run; no two runs touch.
    runs: BTreeMap<u64, u64>,
}

impl Numbers {
    /// Adds a number and tells whether it is new.
    pub fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back();
        let before = before.map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        let touched = before.filter(|(_, last)| *last + 1 == number);
        let first = touched.map_or(number, |(first, _)| first);
        let last = number
            .checked_add(1)
            .and_then(|next| self.runs.remove(&next));
        self.runs.insert(first, last.unwrap_or(number));
        true
    }

    /// Returns the highest number; 0 when there is none.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// Returns how many numbers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns the gaps in 1 to `top`, each as its first and last number.
    #[must_use]
    pub fn missing(&self, top: u64) -> Vec<(u64, u64)> {
        let ends = self.runs.iter().map(|(first, last)| (*first, *last));
        let mut next = 1;
        let mut gaps = Vec::new();
        for (first, last) in ends.chain([(top.saturating_add(1), top)]) {
            if next < first && next <= top {
                gaps.push((next, top.min(first - 1)));
            }
            next = next.max(last.saturating_add(1));
        }
        gaps
    }
}

/// The numbers of a stream as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    numbers: Numbers,
    doubled: u64,
    out_of_order: u64,
}

impl Arrivals {
    /// Notes that a number came, and tells whether for the first time.
    pub fn note(&mut self, number: u64) -> bool {
        let highest = self.numbers.highest();
        let first = self.numbers.insert(number);
        if !first {
            self.doubled += 1;
        } else if number < highest {
            self.out_of_order += 1;
        }
        first
    }

    /// Returns the numbers that came.
    #[must_use]
    pub const fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Returns how often a number came that had come before.
    #[must_use]
    pub const fn doubled(&self) -> u64 {
        self.doubled
    }

    /// Returns how many numbers came for the first time after a higher one.
    #[must_use]
    pub const fn out_of_order(&self) -> u64 {
        self.out_of_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(of: &[u64]) -> Numbers {
        let mut numbers = Numbers::default();
        for number in of {
            numbers.insert(*number);
        }
        numbers
    }

    #[test]
    fn a_number_is_new_once() {
        let mut set = numbers(&[1, 2, 4, u64::MAX]);
        assert!(
            [1, 2, 4, u64::MAX]
                .iter()
                .all(|number| !set.insert(*number))
        );
        assert!(set.insert(3) && !set.insert(3));
        assert_eq!(set, numbers(&[3, 4, 1, 2, u64::MAX]));
        assert_eq!((set.len(), set.highest()), (5, u64::MAX));
    }

    #[test]
    fn runs_that_come_to_touch_become_one() {
        let mut all: Vec<u64> = (1..=100).collect();
        let mut random = crate::random::Random::new(3);
        for at in (1..all.len()).rev() {
            all.swap(at, random.within(&(0..=at as u64)) as usize);
        }
        let set = numbers(&all);
        assert_eq!(set.runs, BTreeMap::from([(1, 100)]));
        assert!(set.missing(100).is_empty() && !set.is_empty());
    }

    #[test]
    fn gaps_are_found_at_both_ends_and_between() {
        let set = numbers(&[3, 4, 7]);
        assert_eq!(set.missing(9), [(1, 2), (5, 6), (8, 9)]);
        assert_eq!(set.missing(7), [(1, 2), (5, 6)]);
        assert_eq!(set.missing(5), [(1, 2), (5, 5)]);
        assert_eq!(set.missing(4), [(1, 2)]);
        assert!(numbers(&[1, 2]).missing(2).is_empty());
        assert!(numbers(&[1, 9]).missing(1).is_empty());
        assert_eq!(Numbers::default().missing(3), [(1, 3)]);
        assert!(Numbers::default().missing(0).is_empty());
    }

    #[test]
    fn doubles_and_what_comes_late_are_told_apart() {
        let mut arrivals = Arrivals::default();
        for number in [1, 2, 4, 3, 3, 1, 5] {
            arrivals.note(number);
        }
        assert_eq!(arrivals.out_of_order(), 1, "3 came after 4");
        assert_eq!(arrivals.doubled(), 2, "3 and 1");
        assert_eq!(arrivals.numbers(), &numbers(&[1, 2, 3, 4, 5]));
    }
}
