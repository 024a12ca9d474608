//! A sorted map that takes hardly more memory than its entries do, however it came to them: nothing is
//! ever moved to a place twice as large, and what is taken out leaves no room behind.
//!
//! ```text
//!   leaves:  17 ──► [ 17 18 19 .. ] full      keys that only grow fill each leaf
//!           145 ──► [ 145 152 .. ]            neighbours that have become small are merged
//! ```
//! Keys and values lie in arrays of their own, so that neither pays for the alignment of the other. An
//! operation costs a search and moves at most what a leaf holds.

use std::collections::BTreeMap;
use std::ops::Bound;

/// How many entries a leaf has at most.
const LEAF_LEN: usize = 128;

/// For how many more entries a leaf gets room at once; of more than twice as much it gives back.
const SPARE_LEN: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct PackedMap<K, V> {
    /// By a key that is at most its first.
    leaves: BTreeMap<K, Leaf<K, V>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Leaf<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for PackedMap<K, V> {
    fn default() -> Self {
        Self {
            leaves: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<K: Copy + Ord, V: Copy> PackedMap<K, V> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn leaf(&self, key: &K) -> Option<&Leaf<K, V>> {
        // Most are looked for soon after they were inserted.
        let (bound, last) = self.leaves.last_key_value()?;
        if bound <= key {
            return Some(last);
        }
        self.leaves.range(..=key).next_back().map(|(_, leaf)| leaf)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.leaf(key)
            .is_some_and(|leaf| leaf.keys.binary_search(key).is_ok())
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let leaf = self.leaf(key)?;
        let at = leaf.keys.binary_search(key).ok()?;
        leaf.values.get(at).copied()
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (_, leaf) = leaf_mut(&mut self.leaves, key)?;
        let at = leaf.keys.binary_search(key).ok()?;
        leaf.values.get_mut(at)
    }

    /// Returns the value that was there before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let first = (key, value);
        let Some((_, leaf)) = leaf_mut(&mut self.leaves, &key) else {
            self.insert_first(first);
            return None;
        };
        let at = match leaf.keys.binary_search(&key) {
            Ok(at) => return Some(std::mem::replace(&mut leaf.values[at], value)),
            Err(at) => at,
        };
        self.len += 1;
        if leaf.len() < LEAF_LEN {
            leaf.insert(at, first);
        } else if at == leaf.len() {
            // Many more may come here, and each move to a larger place leaves a hole in the heap.
            self.leaves.insert(key, Leaf::of(first, LEAF_LEN));
        } else {
            let mut upper = leaf.split_off(LEAF_LEN / 2);
            match at.checked_sub(LEAF_LEN / 2) {
                Some(at) if at > 0 => upper.insert(at, first),
                Some(_) | None => leaf.insert(at, first),
            }
            self.leaves.insert(upper.keys[0], upper);
        }
        None
    }

    /// Inserts what goes before all others.
    fn insert_first(&mut self, (key, value): (K, V)) {
        self.len += 1;
        let next = self
            .leaves
            .first_entry()
            .filter(|it| it.get().len() < LEAF_LEN);
        let leaf = match next.map(|it| it.remove()) {
            Some(mut leaf) => {
                leaf.insert(0, (key, value));
                leaf
            }
            None => Leaf::of((key, value), 1),
        };
        self.leaves.insert(key, leaf);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (bound, leaf) = leaf_mut(&mut self.leaves, key)?;
        let at = leaf.keys.binary_search(key).ok()?;
        let (bound, value) = (*bound, leaf.remove(at));
        self.len -= 1;
        if leaf.len() == 0 {
            self.leaves.remove(&bound);
        } else if leaf.len() <= LEAF_LEN / 4 {
            self.merge(bound);
        }
        Some(value)
    }

    /// Merges a leaf with a neighbour where both are small.
    fn merge(&mut self, bound: K) {
        let before = self.leaves.range(..bound).next_back();
        let after = (Bound::Excluded(bound), Bound::Unbounded);
        let after = self.leaves.range(after).next();
        let [before, after] = [before, after].map(|it| it.map(|(bound, _)| *bound));
        let pairs = [before.zip(Some(bound)), Some(bound).zip(after)];
        for (lower, upper) in pairs.into_iter().flatten() {
            let len = |bound| self.leaves.get(bound).map_or(0, Leaf::len);
            if len(&lower) + len(&upper) <= LEAF_LEN / 2 {
                let upper = self.leaves.remove(&upper);
                if let (Some(lower), Some(upper)) = (self.leaves.get_mut(&lower), upper) {
                    lower.append(upper);
                }
                return;
            }
        }
    }

    pub(crate) fn first(&self) -> Option<(K, V)> {
        self.iter().next()
    }

    /// Returns all entries in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, V)> + '_ {
        self.leaves.values().flat_map(Leaf::iter)
    }

    /// Returns the entries from a key on, in order.
    pub(crate) fn range(&self, from: K) -> impl Iterator<Item = (K, V)> + '_ {
        let first = self.leaves.range(..=from).next_back();
        let first = first.map_or(from, |(bound, _)| *bound);
        let mut leaves = self.leaves.range(first..).map(|(_, leaf)| leaf);
        let rest = leaves.next().map(move |leaf| leaf.iter_from(from));
        rest.into_iter()
            .flatten()
            .chain(leaves.flat_map(Leaf::iter))
    }

    /// For how many entries there is room.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.leaves.values().map(|leaf| leaf.keys.capacity()).sum()
    }
}

/// The leaf of a key, as [`PackedMap::leaf`], with its bound.
fn leaf_mut<'a, K: Ord, V>(
    leaves: &'a mut BTreeMap<K, Leaf<K, V>>,
    key: &K,
) -> Option<(&'a K, &'a mut Leaf<K, V>)> {
    let (bound, _) = leaves.last_key_value()?;
    if bound <= key {
        leaves.iter_mut().next_back()
    } else {
        leaves.range_mut(..=key).next_back()
    }
}

impl<K: Copy + Ord, V: Copy> Leaf<K, V> {
    /// A leaf with one entry, and room for so many.
    fn of(first: (K, V), capacity: usize) -> Self {
        let mut leaf = Self {
            keys: Vec::with_capacity(capacity),
            values: Vec::with_capacity(capacity),
        };
        leaf.insert(0, first);
        leaf
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn iter(&self) -> impl Iterator<Item = (K, V)> + '_ {
        self.keys.iter().copied().zip(self.values.iter().copied())
    }

    fn iter_from(&self, from: K) -> impl Iterator<Item = (K, V)> + '_ {
        let at = self.keys.partition_point(|key| *key < from);
        let (keys, values) = (self.keys[at..].iter(), self.values[at..].iter());
        keys.copied().zip(values.copied())
    }

    fn insert(&mut self, at: usize, (key, value): (K, V)) {
        if self.keys.capacity() == self.len() {
            self.keys.reserve_exact(SPARE_LEN);
            self.values.reserve_exact(SPARE_LEN);
        }
        self.keys.insert(at, key);
        self.values.insert(at, value);
    }

    fn remove(&mut self, at: usize) -> V {
        self.keys.remove(at);
        let value = self.values.remove(at);
        self.shrink();
        value
    }

    fn split_off(&mut self, at: usize) -> Self {
        let upper = Self {
            keys: self.keys.split_off(at),
            values: self.values.split_off(at),
        };
        self.shrink();
        upper
    }

    fn append(&mut self, later: Self) {
        self.keys.reserve_exact(later.len());
        self.values.reserve_exact(later.len());
        self.keys.extend(later.keys);
        self.values.extend(later.values);
    }

    /// Gives back what is not needed soon.
    fn shrink(&mut self) {
        if self.keys.capacity() > self.len() + 2 * SPARE_LEN {
            self.keys.shrink_to(self.len() + SPARE_LEN);
            self.values.shrink_to(self.len() + SPARE_LEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
            self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 24) % bound
        }
    }

    fn entries(map: &PackedMap<u64, u8>) -> Vec<(u64, u8)> {
        map.iter().collect()
    }

    #[test]
    fn it_is_as_an_ordinary_map_whatever_is_done() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let (mut map, mut model) = (PackedMap::default(), BTreeMap::new());
            // Ever more, then ever fewer, of keys that are close together and of some far apart.
            for step in 0..20_000_u64 {
                let key = match random.below(8) {
                    0 => random.below(1 << 40),
                    1 => step,
                    _ => 100_000 + random.below(2_000),
                };
                let is_growing = step / 4_000 % 2 == 0;
                if random.below(8) < if is_growing { 6 } else { 2 } {
                    let value = random.below(256) as u8;
                    assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    let near = model.range(key..).next().map_or(key, |(key, _)| *key);
                    assert_eq!(map.remove(&near), model.remove(&near));
                }
                assert_eq!(map.get(&key), model.get(&key).copied());
                assert_eq!(map.contains_key(&key), model.contains_key(&key));
                assert_eq!(map.len(), model.len());
                if step % 500 == 0 {
                    assert!(entries(&map).into_iter().eq(model.clone()), "{seed}");
                    let from: Vec<_> = map.range(key).collect();
                    assert!(from.into_iter().eq(model.clone().split_off(&key)));
                    assert_eq!(map.first(), model.clone().pop_first());
                    if let Some(value) = map.get_mut(&key) {
                        *value ^= 1;
                        *model.get_mut(&key).unwrap() ^= 1;
                    }
                }
            }
            for key in model.into_keys() {
                assert!(map.remove(&key).is_some());
            }
            assert!(map.is_empty() && map.capacity() == 0 && map.leaves.is_empty());
        }
    }

    #[test]
    fn keys_that_only_grow_or_only_fall_leave_no_room_between() {
        const COUNT: u64 = 10_000;
        let (mut growing, mut falling) = (PackedMap::default(), PackedMap::default());
        for key in 0..COUNT {
            growing.insert(key, ());
            falling.insert(COUNT - key, ());
        }
        for map in [growing, falling] {
            assert!(map.capacity() <= COUNT as usize + LEAF_LEN);
        }
    }

    #[test]
    fn keys_in_no_order_leave_little_room_between() {
        const COUNT: u64 = 65_521;
        let mut map = PackedMap::default();
        for number in 0..COUNT {
            // A prime: each comes once.
            map.insert(number * 40_503 % COUNT, ());
        }
        assert_eq!(map.len() as u64, COUNT);
        assert!(map.capacity() <= map.len() * 5 / 4, "{}", map.capacity());
    }

    #[test]
    fn what_is_left_of_many_takes_no_more_than_it_would_alone() {
        let mut map = PackedMap::default();
        for key in 0..100_000_u64 {
            map.insert(key, ());
        }
        for every in [10, 100, 1_000] {
            for key in (0..100_000).filter(|key| key % every != 0) {
                map.remove(&key);
            }
            assert_eq!(map.len() as u64, 100_000 / every);
            assert!(map.leaves.len() <= 1 + map.len() / (LEAF_LEN / 4));
            assert!(map.capacity() <= map.len() + map.leaves.len() * 2 * SPARE_LEN);
        }
    }
}
