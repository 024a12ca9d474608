//! The program's names for messages: those of stored ones, and the last of those that are done.
//!
//! A stored message is found by a digest of its key, so that the key itself is there but once.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::key::Key;
use super::pos::StorePos;
use super::record::DoneCause;
use crate::packed_map::PackedMap;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// The message is stored and will be delivered.
    Stored(StorePos),
    /// The message is done.
    Done(StorePos, DoneCause),
}

impl KeyState {
    const fn message(self) -> StorePos {
        match self {
            Self::Stored(message) | Self::Done(message, _) => message,
        }
    }
}

/// A key is in `stored` or in `done`, or in neither: what counts is the last message with it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The key of each stored message that has one.
    of: PackedMap<StorePos, Key>,
    /// The stored message that counts for a key, behind the digest of that.
    stored: PackedMap<(u64, StorePos), ()>,
    /// As many as there are outcomes.
    done: BTreeMap<Key, (StorePos, DoneCause)>,
}

fn digest(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Keys {
    /// Returns the key of a stored message.
    pub(super) fn of(&self, message: StorePos) -> Option<Key> {
        self.of.get(&message)
    }

    pub(super) fn get(&self, key: &Key) -> Option<KeyState> {
        if let Some((message, cause)) = self.done.get(key) {
            return Some(KeyState::Done(*message, *cause));
        }
        let digest = digest(key);
        let alike = self.stored.range((digest, StorePos::default()));
        alike
            .map(|(entry, ())| entry)
            .take_while(|(other, _)| *other == digest)
            .find(|(_, message)| self.of(*message).as_ref() == Some(key))
            .map(|(_, message)| KeyState::Stored(message))
    }

    /// Notes the key of a message that is stored.
    pub(super) fn store(&mut self, message: StorePos, key: Key) {
        self.of.insert(message, key);
        if self.take_place(&key, message) {
            self.stored.insert((digest(&key), message), ());
        }
    }

    /// Notes that a message is stored no more.
    pub(super) fn drop_stored(&mut self, message: StorePos) {
        if let Some(key) = self.of.remove(&message) {
            self.stored.remove(&(digest(&key), message));
        }
    }

    /// Notes what became of the message with a key, which may have been used again since.
    pub(super) fn remember(&mut self, key: Key, message: StorePos, cause: DoneCause) {
        if self.take_place(&key, message) {
            self.done.insert(key, (message, cause));
        }
    }

    /// Forgets what became of a message.
    pub(super) fn forget(&mut self, key: &Key, message: StorePos, cause: DoneCause) {
        if self.done.get(key) == Some(&(message, cause)) {
            self.done.remove(key);
        }
    }

    /// Makes place for a message with this key; false where a later one counts.
    fn take_place(&mut self, key: &Key, message: StorePos) -> bool {
        let Some(state) = self.get(key) else {
            return true;
        };
        if state.message() > message {
            return false;
        }
        match state {
            KeyState::Stored(before) => drop(self.stored.remove(&(digest(key), before))),
            KeyState::Done(..) => drop(self.done.remove(key)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of each key, as one map says it.
    #[derive(Default)]
    struct Model {
        of: BTreeMap<StorePos, Key>,
        states: BTreeMap<Key, KeyState>,
    }

    impl Model {
        fn put(&mut self, key: Key, state: KeyState) {
            let before = self.states.get(&key);
            if before.is_none_or(|before| before.message() <= state.message()) {
                self.states.insert(key, state);
            }
        }

        fn take(&mut self, key: Key, state: KeyState) {
            if self.states.get(&key) == Some(&state) {
                self.states.remove(&key);
            }
        }
    }

    #[test]
    fn the_last_message_with_a_key_is_the_one_that_counts() {
        let (mut keys, mut model) = (Keys::default(), Model::default());
        let mut draw = 1_u64;
        let mut below = |bound: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005);
            draw = draw.wrapping_add(1_442_695_040_888_963_407);
            (draw >> 33) % bound
        };
        for _ in 0..20_000 {
            let key = Key::new([b'a' + below(5) as u8]).unwrap();
            let message = StorePos(below(40));
            let cause = DoneCause::Dropped;
            match below(4) {
                // A position is that of one message.
                0 if !model.of.contains_key(&message) => {
                    keys.store(message, key);
                    model.of.insert(message, key);
                    model.put(key, KeyState::Stored(message));
                }
                1 => {
                    keys.drop_stored(message);
                    if let Some(key) = model.of.remove(&message) {
                        model.take(key, KeyState::Stored(message));
                    }
                }
                2 => {
                    keys.remember(key, message, cause);
                    model.put(key, KeyState::Done(message, cause));
                }
                _ => {
                    keys.forget(&key, message, cause);
                    model.take(key, KeyState::Done(message, cause));
                }
            }
            assert_eq!(keys.of(message), model.of.get(&message).copied());
            assert_eq!(keys.get(&key), model.states.get(&key).copied());
            assert!(keys.stored.len() + keys.done.len() == model.states.len());
        }
    }
}
