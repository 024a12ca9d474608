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
        if self.soonest.is_empty() && self.later.is_some() {
            self.refill(others);
        }
    }

    /// Takes the soonest of all that there are, in a time that grows as their number does.
    fn refill(&mut self, all: impl Iterator<Item = (Time, StorePos)>) {
        let mut soonest = Vec::with_capacity(2 * DEADLINES_MAX);
        self.later = None;
        for deadline in all {
            if self.later.is_none_or(|later| deadline < later) {
                soonest.push(deadline);
            }
            if soonest.len() == 2 * DEADLINES_MAX {
                self.later = cut(&mut soonest);
            }
        }
        self.later = cut(&mut soonest).or(self.later);
        self.soonest = soonest.into_iter().collect();
    }

    pub(super) fn first(&self) -> Option<(Time, StorePos)> {
        self.soonest.first().copied()
    }
}

/// Leaves the soonest, and returns the first of those that are let go, if there are any.
fn cut(deadlines: &mut Vec<(Time, StorePos)>) -> Option<(Time, StorePos)> {
    if deadlines.len() <= DEADLINES_MAX {
        return None;
    }
    let (_, later, _) = deadlines.select_nth_unstable(DEADLINES_MAX);
    let later = *later;
    deadlines.truncate(DEADLINES_MAX);
    Some(later)
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

    #[test]
    fn the_soonest_are_found_among_many_in_whichever_order_these_lie() {
        const COUNT: u64 = 10 * DEADLINES_MAX as u64 + 7;
        let orders: [fn(u64) -> u64; 4] = [
            |number| number,
            |number| COUNT - number,
            |number| number * 7_919 % COUNT,
            // All at the same time.
            |_| 0,
        ];
        for order in orders {
            let all = (0..COUNT).map(|number| (Time(order(number)), StorePos(number)));
            let sorted: BTreeSet<_> = all.clone().collect();
            let mut deadlines = Deadlines::default();
            for count in [
                DEADLINES_MAX - 1,
                DEADLINES_MAX,
                DEADLINES_MAX + 1,
                sorted.len(),
            ] {
                let all = || sorted.iter().rev().take(count).copied();
                deadlines.refill(all());
                let mut soonest: Vec<_> = all().collect();
                soonest.reverse();
                let later = soonest.get(DEADLINES_MAX).copied();
                soonest.truncate(DEADLINES_MAX);
                assert!(deadlines.soonest.iter().eq(&soonest));
                assert_eq!(deadlines.later, later);
            }
            deadlines.refill(all);
            assert!(
                deadlines
                    .soonest
                    .iter()
                    .eq(sorted.iter().take(DEADLINES_MAX))
            );
            assert_eq!(deadlines.later.as_ref(), sorted.iter().nth(DEADLINES_MAX));
        }
    }
}
