//! Matches of the topics seen last.
//!
//! One entry per value of a short hash of the topic; the entry used last is looked at first, so a
//! stream on one topic costs a single comparison. Entries keep their memory when their content is
//! replaced: a warm cache does not allocate.

use std::rc::Rc;

use super::RouteId;
use super::trie::Trie;

/// How many matches are kept, a power of two.
pub(super) const CACHE_ENTRIES: usize = 64;
/// A longer topic, in bytes, is matched anew each time.
pub(super) const CACHED_TOPIC_BYTES_MAX: usize = 256;
/// A match of more routes is found anew each time.
pub(super) const CACHED_ROUTES_MAX: usize = 64;

/// The matches of the topics seen last.
pub(super) struct MatchCache {
    /// Empty before the first message, then `CACHE_ENTRIES` long.
    entries: Vec<Entry>,
    /// The entry that answered last.
    last: usize,
    /// Counts changes of the trie; an entry of another generation is empty.
    generation: u64,
    /// The match of a topic that is not cached.
    scratch: Vec<RouteId>,
}

#[derive(Clone, Default)]
struct Entry {
    /// Zero, which no generation is, while unused.
    generation: u64,
    /// Shared with the messages that came on it.
    topic: Rc<String>,
    routes: Vec<RouteId>,
}

impl Entry {
    #[inline]
    fn answers(&self, topic: &[u8], generation: u64) -> bool {
        self.generation == generation && self.topic.as_bytes() == topic
    }
}

impl MatchCache {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            last: 0,
            generation: 1,
            scratch: Vec::new(),
        }
    }

    /// Empties the cache, because the trie has changed.
    pub(super) fn forget_all(&mut self) {
        self.generation += 1;
    }

    /// Returns the routes that match `topic`, from the cache or from the trie.
    #[inline]
    pub(super) fn find(&mut self, topic: &str, trie: &mut Trie) -> &[RouteId] {
        let last = self.last;
        match self.entries.get(last) {
            Some(entry) if entry.answers(topic.as_bytes(), self.generation) => {
                &self.entries[last].routes
            }
            _ => self.find_by_hash(topic, trie),
        }
    }

    /// Returns the text and the routes of `topic` if they are in the cache. Then it is a topic name, for
    /// one was asked for with [`MatchCache::find`].
    #[cfg(feature = "client")]
    #[inline]
    pub(super) fn known(&mut self, topic: &[u8]) -> Option<(&Rc<String>, &[RouteId])> {
        let generation = self.generation;
        let is_known = |entry: &Entry| entry.answers(topic, generation);
        if !self.entries.get(self.last).is_some_and(is_known) {
            let at = place(topic);
            if topic.len() > CACHED_TOPIC_BYTES_MAX || !self.entries.get(at).is_some_and(is_known) {
                return None;
            }
            self.last = at;
        }
        let entry = &self.entries[self.last];
        Some((&entry.topic, &entry.routes))
    }

    /// Returns how many routes are in the cached matches.
    #[cfg(test)]
    pub(super) fn cached_routes(&self) -> usize {
        self.entries.iter().map(|entry| entry.routes.len()).sum()
    }

    #[inline(never)]
    fn find_by_hash(&mut self, topic: &str, trie: &mut Trie) -> &[RouteId] {
        if topic.len() > CACHED_TOPIC_BYTES_MAX {
            trie.find(topic, &mut self.scratch);
            return &self.scratch;
        }
        if self.entries.is_empty() {
            self.entries = vec![Entry::default(); CACHE_ENTRIES];
        }
        let at = place(topic.as_bytes());
        let entry = &mut self.entries[at];
        if !entry.answers(topic.as_bytes(), self.generation) {
            trie.find(topic, &mut self.scratch);
            if self.scratch.len() > CACHED_ROUTES_MAX {
                return &self.scratch;
            }
            entry.generation = self.generation;
            match Rc::get_mut(&mut entry.topic) {
                Some(text) => topic.clone_into(text),
                None => entry.topic = Rc::new(topic.to_owned()),
            }
            entry.routes.clear();
            entry.routes.extend_from_slice(&self.scratch);
        }
        self.last = at;
        &self.entries[at].routes
    }
}

/// Where the match of a topic is, if it is in the cache.
fn place(topic: &[u8]) -> usize {
    (hash(topic) >> (u64::BITS - CACHE_ENTRIES.ilog2())) as usize
}

/// Mixes the bytes of a topic, eight at a time, in the manner of FNV-1a. The upper bits are the
/// good ones. The seed is fixed: whoever can choose topics can at worst make each message walk the
/// trie.
fn hash(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let hash = words
        .iter()
        .fold(SEED, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let rest = rest
        .iter()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix(hash, rest).wrapping_mul(PRIME)
}
