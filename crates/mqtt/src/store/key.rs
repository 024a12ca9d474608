//! Names that the program gives its messages.

use std::fmt;

/// The longest key of a message, in bytes.
pub const KEY_BYTES_MAX: usize = 16;

/// A name that the program gives a message, so that publishing it again after a crash does nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) len: u8,
    pub(super) bytes: [u8; KEY_BYTES_MAX],
}

/// A key that is empty or longer than [`KEY_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLength {
    /// Its length in bytes.
    pub found: usize,
}

impl Key {
    /// Makes a key of 1 to [`KEY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`KeyLength`] for any other number.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, KeyLength> {
        let from = bytes.as_ref();
        let found = from.len();
        let mut bytes = [0; KEY_BYTES_MAX];
        match bytes.get_mut(..found) {
            Some(to) if found > 0 => to.copy_from_slice(from),
            Some(_) | None => return Err(KeyLength { found }),
        }
        let len = found as u8;
        Ok(Self { len, bytes })
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.as_bytes().escape_ascii())
    }
}

impl fmt::Display for KeyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found;
        write!(
            f,
            "expected a key of 1 to {KEY_BYTES_MAX} bytes, found {found}"
        )
    }
}

impl std::error::Error for KeyLength {}
