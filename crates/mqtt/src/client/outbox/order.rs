//! Pairs of numbers in their order, for little code: a B-tree of the standard library is five kilobytes
//! of it, this is one.
//!
//! ```text
//!   chunks:  [ (1,7) (2,9) (4,0) ]  [ (5,3) .. ]  [ .. ]     each sorted, each below the next
//! ```
//!
//! What is looked for is found by halving, and what is moved for it are the pairs of one chunk; with so
//! many pairs that there are thousands of chunks, their list as well, once for each that comes or goes.

/// Pairs in a chunk at most.
const CHUNK_LEN: usize = 128;

/// Pairs for which an order that is empty keeps room: one that is now and then used allocates nothing.
const KEPT_LEN_MAX: usize = 16;

/// A sorted set.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// None is empty but for the first.
    chunks: Vec<Vec<(u64, u64)>>,
    len: usize,
}

impl Order {
    /// Adds a pair that is not in it.
    pub(super) fn insert(&mut self, pair: (u64, u64)) {
        let mut at = self.chunk_of(pair);
        match self.chunks.get_mut(at) {
            None => self.chunks.push(Vec::new()),
            Some(chunk) if chunk.len() == CHUNK_LEN => {
                // Mostly pairs come in their order: then the chunk stays full.
                let is_last = chunk.last().is_some_and(|last| *last < pair);
                let cut = if is_last { CHUNK_LEN } else { CHUNK_LEN / 2 };
                let rest = chunk.split_off(cut);
                let goes_on = rest.first().is_none_or(|first| *first < pair);
                self.chunks.insert(at + 1, rest);
                at += usize::from(goes_on);
            }
            Some(_) => {}
        }
        let chunk = &mut self.chunks[at];
        chunk.insert(place(chunk, pair), pair);
        self.len += 1;
    }

    /// Takes a pair out, if it is in it.
    pub(super) fn remove(&mut self, pair: (u64, u64)) {
        let at = self.chunk_of(pair);
        let Some(chunk) = self.chunks.get_mut(at) else {
            return;
        };
        let place = place(chunk, pair);
        if chunk.get(place) != Some(&pair) {
            return;
        }
        chunk.remove(place);
        self.len -= 1;
        if self.len == 0 && chunk.capacity() > KEPT_LEN_MAX {
            self.chunks = Vec::new();
        } else if chunk.is_empty() && self.chunks.len() > 1 {
            self.chunks.remove(at);
        }
    }

    /// The first pair.
    #[inline]
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.chunks.first()?.first().copied()
    }

    /// The first pair that is not below this one.
    pub(super) fn at_least(&self, pair: (u64, u64)) -> Option<(u64, u64)> {
        let at = self.chunk_of(pair);
        let chunk = self.chunks.get(at)?;
        let found = chunk.get(place(chunk, pair));
        let next = || self.chunks.get(at + 1)?.first();
        found.or_else(next).copied()
    }

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The last chunk that does not begin above the pair, or the first.
    fn chunk_of(&self, pair: (u64, u64)) -> usize {
        let begins_below = |chunk: &Vec<_>| chunk.first().is_some_and(|first| *first <= pair);
        let above = self.chunks.partition_point(begins_below);
        above.saturating_sub(1)
    }
}

/// Where the pair is in a chunk, or would be.
fn place(chunk: &[(u64, u64)], pair: (u64, u64)) -> usize {
    chunk.partition_point(|one| *one < pair)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CHUNK_LEN, Order};

    /// Numbers from 0 to `below` without an order; a linear congruential generator.
    fn numbers(count: usize, below: u64) -> impl Iterator<Item = u64> {
        let mut state: u64 = 1;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        })
        .take(count)
    }

    #[track_caller]
    fn check(order: &Order, model: &BTreeSet<(u64, u64)>) {
        assert_eq!(order.len(), model.len());
        assert_eq!(order.is_empty(), model.is_empty());
        assert_eq!(order.first(), model.first().copied());
        let all: Vec<_> = order.chunks.iter().flatten().copied().collect();
        assert!(all.iter().eq(model));
        let is_full = |chunk: &Vec<_>| (1..=CHUNK_LEN).contains(&chunk.len());
        assert!(order.chunks.len() < 2 || order.chunks.iter().all(is_full));
    }

    #[test]
    fn it_is_a_sorted_set_whatever_comes_and_goes() {
        for below in [5, 300, 2_000] {
            let (mut order, mut model) = (Order::default(), BTreeSet::new());
            for (turn, number) in numbers(6_000, below).enumerate() {
                let pair = (number / 3, number % 3);
                let next = model.range(pair..).next().copied();
                assert_eq!(order.at_least(pair), next);
                if model.insert(pair) {
                    order.insert(pair);
                } else {
                    model.remove(&pair);
                    order.remove(pair);
                    order.remove(pair);
                }
                if turn % 97 == 0 {
                    check(&order, &model);
                }
            }
            check(&order, &model);
        }
    }

    #[test]
    fn a_queue_that_is_filled_in_order_wastes_no_room_and_is_emptied_from_the_front() {
        let (mut order, mut model) = (Order::default(), BTreeSet::new());
        for number in 0..1_000 {
            order.insert((number, 0));
            model.insert((number, 0));
        }
        check(&order, &model);
        assert_eq!(order.chunks.len(), 1_000_usize.div_ceil(CHUNK_LEN));
        while let Some(first) = model.pop_first() {
            order.remove(first);
            check(&order, &model);
        }
        assert_eq!(order.chunks.len(), 0);
        assert_eq!(order.at_least((0, 0)), None);
    }
}
