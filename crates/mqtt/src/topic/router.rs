//! The router: from the topic of a message to everything that was inserted for it.
//!
//! ```text
//!  topic ──► the same as last time? ──► the cached match of its hash? ──► the trie
//! ```
//! Nearly every message comes on a topic seen shortly before, and walking a trie costs more than
//! all the rest of receiving. Any insertion or removal empties both caches by moving on to the next
//! generation, so a cached match is never out of date.
//!
//! The router holds values and does not know what they are; it neither checks topics for wildcards
//! nor knows QoS. [`TopicFilter::matches`] is the definition that it is tested against.

mod cache;
mod trie;

use std::fmt;
#[cfg(feature = "client")]
use std::rc::Rc;

use super::TopicFilter;
use crate::seldom::Seldom;
use cache::MatchCache;
use trie::Trie;

/// Names one inserted route; never given twice by one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// Counts insertions, and so orders routes.
    sequence: u64,
    /// Place in `Router::slots`.
    slot: u32,
}

/// Maps topic filters to values; several routes may have the same filter.
///
/// Routes are always visited in the order of their insertion. Memory: a trie node for each level of
/// each filter, and for the cache at most 64 matches, each of a topic of at most 256 bytes and of at
/// most 64 routes. A topic or match beyond that is found by walking the trie each time. Nothing is
/// allocated before the first insertion or the first message.
pub struct Router<T> {
    /// Counts insertions and removals.
    changes: u64,
    made: Seldom<Routes<T>>,
}

/// The routes, from the first one on.
struct Routes<T> {
    trie: Trie,
    cache: MatchCache,
    slots: Vec<Option<Route<T>>>,
    free: Vec<u32>,
    next_sequence: u64,
}

struct Route<T> {
    id: RouteId,
    filter: TopicFilter,
    value: T,
}

impl<T> Router<T> {
    /// Makes a router without routes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            changes: 0,
            made: Seldom::new(),
        }
    }

    /// Adds a route; from now on each message that `filter` matches leads to `value` as well.
    ///
    /// # Panics
    /// With more than 2^32 routes.
    pub fn insert(&mut self, filter: TopicFilter, value: T) -> RouteId {
        self.changes += 1;
        let made = &mut *self.made;
        let slot = made.free.pop().unwrap_or_else(|| {
            made.slots.push(None);
            u32::try_from(made.slots.len() - 1).expect("memory ends before 2^32 routes")
        });
        let id = RouteId {
            sequence: made.next_sequence,
            slot,
        };
        made.next_sequence += 1;
        made.trie.insert(&filter, id);
        made.cache.forget_all();
        made.slots[slot as usize] = Some(Route { id, filter, value });
        id
    }

    /// Takes out this one route and returns its value; `None` if it was taken out before.
    pub fn remove(&mut self, id: RouteId) -> Option<T> {
        let made = self.made.get_mut()?;
        let slot = made.slots.get_mut(id.slot as usize)?;
        let route = slot.take_if(|route| route.id == id)?;
        self.changes += 1;
        made.free.push(id.slot);
        made.trie.remove(&route.filter, id);
        made.cache.forget_all();
        Some(route.value)
    }

    /// Calls `visit` for every route whose filter matches `topic`, in the order of insertion.
    ///
    /// Allocates nothing while the match is in the cache.
    #[inline]
    pub fn route(&mut self, topic: &str, visit: &mut dyn FnMut(RouteId, &T)) {
        let Some(made) = self.made.get_mut() else {
            return;
        };
        let Routes {
            trie, cache, slots, ..
        } = made;
        for id in cache.find(topic, trie) {
            if let Some(route) = &slots[id.slot as usize] {
                visit(*id, &route.value);
            }
        }
    }

    /// Returns the routes whose filters match `topic`, in the order of insertion, for callers that
    /// must not hold the router while they act on them.
    ///
    /// Allocates nothing while the match is in the cache.
    #[inline]
    pub fn find(&mut self, topic: &str) -> &[RouteId] {
        match self.made.get_mut() {
            Some(made) => made.cache.find(topic, &mut made.trie),
            None => &[],
        }
    }

    /// Returns the text and the routes of a topic that was routed not long ago, with no change of the
    /// routes since; else `None`, be it a topic name or not. The text is shared with the cache.
    #[cfg(feature = "client")]
    #[inline]
    pub(crate) fn known(&mut self, topic: &[u8]) -> Option<(&Rc<String>, &[RouteId])> {
        self.made.get_mut()?.cache.known(topic)
    }

    /// Counts insertions and removals.
    #[cfg(feature = "client")]
    #[inline]
    pub(crate) const fn generation(&self) -> u64 {
        self.changes
    }

    /// Returns the value of a route; `None` once it was removed.
    #[inline]
    pub fn get_mut(&mut self, id: RouteId) -> Option<&mut T> {
        let made = self.made.get_mut()?;
        let route = made.slots.get_mut(id.slot as usize)?.as_mut()?;
        (route.id == id).then_some(&mut route.value)
    }

    /// Returns the value of a route; `None` once it was removed.
    #[inline]
    #[must_use]
    pub fn get(&self, id: RouteId) -> Option<&T> {
        let made = self.made.get()?;
        let route = made.slots.get(id.slot as usize)?.as_ref()?;
        (route.id == id).then_some(&route.value)
    }

    /// Returns the filter of a route; `None` once it was removed.
    #[must_use]
    pub fn filter(&self, id: RouteId) -> Option<&TopicFilter> {
        let made = self.made.get()?;
        let route = made.slots.get(id.slot as usize)?.as_ref()?;
        (route.id == id).then_some(&route.filter)
    }

    /// Returns how many routes have exactly this filter: with the last of them the subscription may
    /// go.
    #[must_use]
    pub fn count(&self, filter: &TopicFilter) -> usize {
        self.made.get().map_or(0, |made| made.trie.count(filter))
    }

    /// Returns how many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let made = self.made.get();
        made.map_or(0, |made| made.slots.len() - made.free.len())
    }

    /// Tells whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self {
            trie: Trie::new(),
            cache: MatchCache::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next_sequence: 0,
        }
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.made.get();
        let routes = made
            .into_iter()
            .flat_map(|made| made.slots.iter().flatten());
        f.debug_map()
            .entries(routes.map(|route| (route.filter.as_str(), &route.value)))
            .finish()
    }
}

#[cfg(test)]
mod tests;
