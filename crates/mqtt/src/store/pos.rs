//! Positions in a store.

use std::fmt;

/// The position of a record in a store. Each record has a higher one than those before it, also over
/// restarts; a message keeps the position of its record for its life, so it also names the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePos(pub u64);

impl StorePos {
    /// Returns the position that follows.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for StorePos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
