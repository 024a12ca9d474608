//! Matches of the topics seen last.
//!
//! One entry per value of a short hash of the topic; the entry used last is looked at first, so a
//! stream on one topic costs a single comparison. Entries keep their memory when their content is
//! replaced: a warm cache does not allocate.

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
    topic: String,
    routes: Vec<RouteId>,
}

impl Entry {
    #[inline]
    fn answers(&self, topic: &str, generation: u64) -> bool {
        self.generation == generation && self.topic == topic
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
            Some(entry) if entry.answers(topic, self.generation) => &self.entries[last].routes,
            _ => self.find_by_hash(topic, trie),
        }
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
        let at = (hash(topic.as_bytes()) >> (u64::BITS - CACHE_ENTRIES.ilog2())) as usize;
        let entry = &mut self.entries[at];
        if !entry.answers(topic, self.generation) {
            trie.find(topic, &mut self.scratch);
            if self.scratch.len() > CACHED_ROUTES_MAX {
                return &self.scratch;
            }
            entry.generation = self.generation;
            entry.topic.clear();
            entry.topic.push_str(topic);
            entry.routes.clear();
            entry.routes.extend_from_slice(&self.scratch);
        }
        self.last = at;
        &self.entries[at].routes
    }
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
