//! Sorted lists, for maps of few things and where speed does not matter.
//!
//! A map of the standard library is four kilobytes of code for each pair of types that it is made of,
//! a sort three. Here it is a few hundred bytes: on a device with little room that counts for more
//! than how fast it is with many.

use std::collections::{BinaryHeap, VecDeque};

/// A map in a list in the order of its keys. To look something up takes the logarithm of how many there
/// are; to enter or remove one moves those behind it.
#[derive(Clone, Debug)]
pub(crate) struct SortedMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> SortedMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Enters a value in place of the one that is there; returns that.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let at = self.find(key).ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(any(test, feature = "client"))]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        Some(&mut self.0[at].1)
    }

    #[cfg(any(test, feature = "client"))]
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }
}

/// Sorts a list.
pub(crate) fn sorted<T: Ord>(list: Vec<T>) -> Vec<T> {
    BinaryHeap::from(list).into_sorted_vec()
}

/// Enters an item behind the last one that `is_before` it, which is mostly the last of all: those behind
/// are passed one by one.
pub(crate) fn insert_behind<T>(queue: &mut VecDeque<T>, item: T, is_before: impl Fn(&T) -> bool) {
    let mut at = queue.len();
    queue.push_back(item);
    while at > 0 && queue.get(at - 1).is_some_and(|other| !is_before(other)) {
        queue.swap(at - 1, at);
        at -= 1;
    }
}

/// Enters an item at a place, which is mostly near an end: others are passed one by one, from the nearer
/// end.
pub(crate) fn put_in<T>(queue: &mut VecDeque<T>, at: usize, item: T) {
    if at < queue.len() / 2 {
        queue.push_front(item);
        (0..at).for_each(|at| queue.swap(at, at + 1));
    } else {
        queue.push_back(item);
        (at + 1..queue.len())
            .rev()
            .for_each(|at| queue.swap(at - 1, at));
    }
}

/// Takes out the item at a place, as [`put_in`] enters one.
pub(crate) fn take_out<T>(queue: &mut VecDeque<T>, at: usize) -> Option<T> {
    if at >= queue.len() {
        return None;
    }
    if at < queue.len() / 2 {
        (0..at).rev().for_each(|at| queue.swap(at, at + 1));
        queue.pop_front()
    } else {
        (at + 1..queue.len()).for_each(|at| queue.swap(at - 1, at));
        queue.pop_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_each_key_once_with_its_last_value_and_in_order() {
        let mut map = SortedMap::default();
        for (key, value) in [(5, 'a'), (1, 'b'), (3, 'c'), (9, 'd')] {
            assert_eq!(map.insert(key, value), None);
        }
        assert_eq!(map.insert(3, 'e'), Some('c'));
        assert!(map.keys().eq(&[1, 3, 5, 9]));
        assert_eq!(
            [0, 1, 3, 4].map(|key| map.get(&key).copied()),
            [None, Some('b'), Some('e'), None]
        );
        *map.get_mut(&1).unwrap() = 'f';
        assert!(map.get_mut(&2).is_none() && map.len() == 4);
        assert_eq!([map.remove(&1), map.remove(&1)], [Some('f'), None]);
        map.clear();
        assert_eq!((map.len(), map.get(&9)), (0, None));
    }

    #[test]
    fn a_queue_takes_and_gives_an_item_at_any_place() {
        for len in 0..9 {
            for at in 0..=len {
                let mut queue: VecDeque<usize> = (0..len).collect();
                let mut expected = queue.clone();
                put_in(&mut queue, at, 99);
                expected.insert(at, 99);
                assert_eq!(queue, expected);
                assert_eq!(take_out(&mut queue, at), Some(99));
                assert!(queue.into_iter().eq(0..len));
            }
        }
        assert_eq!(take_out(&mut VecDeque::<u8>::new(), 0), None);
    }

    #[test]
    fn a_list_is_sorted_whatever_its_order_was() {
        for len in 0..40_u32 {
            let list: Vec<_> = (0..len).map(|at| at * 7 % 11).collect();
            let mut expected = list.clone();
            expected.sort_unstable();
            assert_eq!(sorted(list), expected);
        }
    }

    #[test]
    fn an_item_is_entered_behind_all_that_are_before_it() {
        let mut queue = VecDeque::new();
        for (item, number) in [(3, 0), (5, 0), (5, 1), (1, 0), (4, 0), (5, 2)] {
            insert_behind(&mut queue, (item, number), |(other, _)| *other <= item);
        }
        assert_eq!(queue, [(1, 0), (3, 0), (4, 0), (5, 0), (5, 1), (5, 2)]);
    }
}
