//! When messages are too old, the soonest first, in memory of a fixed size: the rest is looked through
//! when these are over.

use std::collections::BTreeSet;

use crate::store::StorePos;
use crate::time::Time;

/// How many deadlines are kept in order.
const DEADLINES_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    soonest: BTreeSet<(Time, StorePos)>,
    /// All before this are among the soonest, and nothing else is; `None` if all are.
    later: Option<(Time, StorePos)>,
}

impl Deadlines {
    pub(super) fn insert(&mut self, deadline: (Time, StorePos)) {
        if self.later.is_some_and(|later| deadline >= later) {
            return;
        }
        self.soonest.insert(deadline);
        if self.soonest.len() > DEADLINES_MAX {
            self.later = self.soonest.pop_last();
        }
    }

    /// Takes one out; `others` are all that are left.
    pub(super) fn remove(
        &mut self,
        deadline: (Time, StorePos),
        others: impl Iterator<Item = (Time, StorePos)>,
    ) {
        self.soonest.remove(&deadline);
        if self.soonest.is_empty() && self.later.take().is_some() {
            others.for_each(|deadline| self.insert(deadline));
        }
    }

    pub(super) fn first(&self) -> Option<(Time, StorePos)> {
        self.soonest.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_however_many_there_are() {
        const COUNT: u64 = 3 * DEADLINES_MAX as u64;
        let mut deadlines = Deadlines::default();
        let mut all = BTreeSet::new();
        for number in 0..COUNT {
            // A prime that does not divide the count: each comes once, in no order.
            let deadline = (Time(number * 1_009 % COUNT), StorePos(number));
            deadlines.insert(deadline);
            all.insert(deadline);
        }
        for step in 0.. {
            assert_eq!(deadlines.first(), all.first().copied());
            assert!(deadlines.soonest.len() <= DEADLINES_MAX);
            // From the front, from the back, and one more comes between.
            let deadline = match step % 3 {
                0 => all.pop_first(),
                1 => all.pop_last(),
                _ => all.iter().nth(all.len() / 2).copied(),
            };
            let Some(deadline) = deadline else {
                break;
            };
            all.remove(&deadline);
            deadlines.remove(deadline, all.iter().copied());
            if step % 5 == 0 && step < COUNT {
                let more = (Time(deadline.0.0 / 2), StorePos(COUNT + step));
                all.insert(more);
                deadlines.insert(more);
            }
        }
        assert!(deadlines.first().is_none());
    }
}
