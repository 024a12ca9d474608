//! What distinguishes two sessions, without what does not: positions in the log count by their order
//! alone, connections by whether they are over.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::*;

/// How many identifiers from the first one, and of those that are cleared ahead, are used in a world that
/// is searched.
const IDS_MAX: u16 = 6;

/// The identifiers that are cleared ahead are the other half of all.
const AHEAD: u16 = 1 << 15;

/// Returns the identifiers that are used in a world that is searched.
pub(in crate::session) fn ids() -> impl Iterator<Item = PacketId> {
    let all = (1..=IDS_MAX).chain(AHEAD + 1..=AHEAD + IDS_MAX);
    all.filter_map(PacketId::new)
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Number(u64),
    Place(LogOffset),
    Age(LogOffset),
    Token(AckToken),
    End,
}

/// A description of a state, part by part.
#[derive(Debug, Default)]
pub(in crate::session) struct Canon {
    parts: Vec<Part>,
    /// The connection whose acknowledgements are owed, the number of the oldest, and how many.
    ring: (u32, u32, usize),
}

impl Canon {
    pub(in crate::session) fn number(&mut self, number: u64) {
        self.parts.push(Part::Number(number));
    }

    pub(in crate::session) fn bytes(&mut self, bytes: &[u8]) {
        let numbers = bytes.iter().map(|byte| Part::Number((*byte).into()));
        self.parts.extend(numbers);
        self.end();
    }

    /// A position in the log, of which only the order among all counts.
    pub(in crate::session) fn place(&mut self, place: LogOffset) {
        self.parts.push(Part::Place(place));
    }

    /// A position that is compared with others of its kind alone.
    pub(in crate::session) fn age(&mut self, age: LogOffset) {
        self.parts.push(Part::Age(age));
    }

    pub(in crate::session) fn token(&mut self, token: AckToken) {
        self.parts.push(Part::Token(token));
    }

    /// Ends a list, so that no two descriptions run into each other.
    pub(in crate::session) fn end(&mut self) {
        self.parts.push(Part::End);
    }

    pub(in crate::session) fn ring(&mut self, connection: u32, front: u32, len: usize) {
        self.ring = (connection, front, len);
    }

    /// A number that is the same for descriptions of the same state.
    pub(super) fn hash(&self) -> u64 {
        let ranks = |of: fn(&Part) -> Option<LogOffset>| {
            let mut offsets: Vec<_> = self.parts.iter().filter_map(of).collect();
            offsets.sort_unstable();
            offsets.dedup();
            offsets
        };
        let places = ranks(|part| match part {
            Part::Place(place) => Some(*place),
            _ => None,
        });
        let ages = ranks(|part| match part {
            Part::Age(age) => Some(*age),
            _ => None,
        });
        let rank = |of: &[LogOffset], offset| of.partition_point(|other| *other < offset) as u64;
        let (connection, front, len) = self.ring;
        let mut old = BTreeMap::new();
        let mut hasher = DefaultHasher::new();
        for part in &self.parts {
            let (kind, value) = match *part {
                Part::Number(number) => (0_u8, number),
                Part::Place(place) => (1, rank(&places, place)),
                Part::Age(age) => (2, rank(&ages, age)),
                Part::Token(token) => {
                    let (of, number) = token.parts();
                    let at = number.wrapping_sub(front) as usize;
                    if of == connection && at < len {
                        (3, at as u64)
                    } else if !token.is_exactly_once() {
                        // It does nothing any more.
                        (4, 0)
                    } else {
                        let next = old.len() as u64;
                        (5, *old.entry(token).or_insert(next))
                    }
                }
                Part::End => (6, 0),
            };
            (kind, value).hash(&mut hasher);
        }
        hasher.finish()
    }
}
