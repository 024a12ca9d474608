//! Topic names: what a message is published to.
//!
//! Clauses: MQTT3-3.3.2-2 and 4.7.1-1 (no wildcards), 4.7.3-1 (at least one character), 4.7.3-2
//! (no null character), 4.7.3-3 (at most 65 535 bytes).

use std::fmt;
use std::ops::Deref;

use super::TOPIC_BYTES_MAX;
use crate::debug_is_text::debug_is_text;

/// A checked topic name.
///
/// Derefs to `str`. Levels are separated by `/`; an empty level is a level (`a//b` has three).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Box<str>);

impl TopicName {
    /// Takes `text` as a topic name.
    ///
    /// # Errors
    /// One variant of [`TopicError`] for each rule of MQTT3-4.7 that binds names.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, TopicError> {
        let text = text.into();
        check_topic_name(&text)?;
        Ok(Self(text))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for TopicName {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

/// Checks that `topic` may stand in a PUBLISH; allocates nothing.
///
/// # Errors
/// As [`TopicName::new`].
#[inline]
pub fn check_topic_name(topic: &str) -> Result<(), TopicError> {
    check_size(topic)?;
    if is_topic_name(topic.as_bytes()) {
        return Ok(());
    }
    check_characters_of_name(topic)
}

/// Returns whether there is a byte, and none of them is `0`, `+` or `#`. It takes sixteen bytes at a
/// time, since every PUBLISH in either direction comes here, and stays out of line to keep what is
/// inlined around it small.
#[inline(never)]
pub(crate) fn is_topic_name(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        // The last one overlaps the one before it where the length is no multiple of sixteen.
        let (chunks, _) = bytes.as_chunks::<16>();
        !chunks.iter().any(has_forbidden_byte) && !has_forbidden_byte(last)
    } else if let (Some(&first), Some(&last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        has_no_forbidden_byte(first) && has_no_forbidden_byte(last)
    } else if let (Some(&[a, b, c, d]), Some(&[e, f, g, h])) =
        (bytes.first_chunk(), bytes.last_chunk())
    {
        has_no_forbidden_byte([a, b, c, d, e, f, g, h])
    } else {
        !bytes.is_empty() && !bytes.iter().any(|&byte| matches!(byte, 0 | b'+' | b'#'))
    }
}

/// Returns whether one of sixteen bytes is `0`, `+` or `#`: without a way out in between, so that all are
/// compared at once.
#[inline]
fn has_forbidden_byte(bytes: &[u8; 16]) -> bool {
    let is_forbidden = |byte| (byte == 0) | (byte == b'+') | (byte == b'#');
    let found = bytes.iter().map(|&byte| u8::from(is_forbidden(byte)));
    found.fold(0, |all, one| all | one) != 0
}

/// Returns whether none of eight bytes is `0`, `+` or `#`.
#[inline]
const fn has_no_forbidden_byte(bytes: [u8; 8]) -> bool {
    /// The one bit in which `+` and `#` differ, in every byte.
    const DIFFERENCE: u64 = u64::from_le_bytes([b'+' ^ b'#'; 8]);
    const WILDCARDS: u64 = u64::from_le_bytes([b'+' | b'#'; 8]);
    let word = u64::from_le_bytes(bytes);
    (zero_bytes(word) | zero_bytes((word | DIFFERENCE) ^ WILDCARDS)) == 0
}

/// Returns a word that differs from zero exactly when a byte of `word` is zero: taking one from
/// each byte sets a top bit that was not set only where the byte, or one below it, was zero.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    word.wrapping_sub(ONES) & !word & TOPS
}

/// Finds the first character that no topic name may hold: what [`is_topic_name`] found, in detail.
#[cold]
pub(crate) fn check_characters_of_name(topic: &str) -> Result<(), TopicError> {
    let forbidden = |byte| matches!(byte, b'+' | b'#' | 0);
    match topic.bytes().position(forbidden) {
        None => Ok(()),
        Some(at) if topic.as_bytes()[at] == 0 => Err(TopicError::Null { at }),
        Some(at) => Err(TopicError::WildcardInName { at }),
    }
}

/// Checks the two limits on size that names and filters share.
#[inline]
pub(super) fn check_size(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=TOPIC_BYTES_MAX => Ok(()),
        len => Err(TopicError::TooLong { len }),
    }
}

/// Why a text is no topic name or no topic filter. Positions are bytes from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// There is no character (MQTT3-4.7.3-1).
    Empty,
    /// The text takes more than 65 535 bytes (MQTT3-4.7.3-3).
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A null character, U+0000 (MQTT3-4.7.3-2).
    Null {
        /// Where it stands.
        at: usize,
    },
    /// `+` or `#` in a topic name (MQTT3-3.3.2-2, 4.7.1-1).
    WildcardInName {
        /// Where it stands.
        at: usize,
    },
    /// `#` that does not fill the last level of a filter (MQTT3-4.7.1-2).
    MultiLevelWildcard {
        /// Where it stands.
        at: usize,
    },
    /// `+` that does not fill a whole level of a filter (MQTT3-4.7.1-3).
    SingleLevelWildcard {
        /// Where it stands.
        at: usize,
    },
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("expected at least one character of topic, found none"),
            Self::TooLong { len } => {
                write!(
                    f,
                    "expected a topic of at most {TOPIC_BYTES_MAX} bytes, found {len}"
                )
            }
            Self::Null { at } => {
                write!(
                    f,
                    "expected no null character in a topic, found one at byte {at}"
                )
            }
            Self::WildcardInName { at } => {
                write!(
                    f,
                    "expected no wildcard in a topic name, found one at byte {at}"
                )
            }
            Self::MultiLevelWildcard { at } => write!(
                f,
                "expected '#' alone on the last level of a topic filter, found another use of it \
                 at byte {at}"
            ),
            Self::SingleLevelWildcard { at } => write!(
                f,
                "expected '+' alone on its level of a topic filter, found another use of it at \
                 byte {at}"
            ),
        }
    }
}

debug_is_text!(TopicError);

impl std::error::Error for TopicError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), TopicError>) {
        assert_eq!(check_topic_name(text), expected, "{text:?}");
        assert_eq!(
            TopicName::new(text).map(|name| name.to_string()),
            expected.map(|()| text.into())
        );
        assert_eq!(TopicName::try_from(text).map(|_| ()), expected);
    }

    #[test]
    fn names_hold_any_text_but_wildcards_and_null() {
        for text in [
            "a", "/", "//", "a/b", "/a", "a/", " ", "$SYS/x", "a b/ü", "\u{feff}", "\u{1}",
        ] {
            check(text, Ok(()));
        }
        check("", Err(TopicError::Empty));
        check("+", Err(TopicError::WildcardInName { at: 0 }));
        check("a/#", Err(TopicError::WildcardInName { at: 2 }));
        check("ü+", Err(TopicError::WildcardInName { at: 2 }));
        check("a+b#", Err(TopicError::WildcardInName { at: 1 }));
        check("a\0", Err(TopicError::Null { at: 1 }));
        check("a\0#", Err(TopicError::Null { at: 1 }));
    }

    #[test]
    fn names_take_at_most_65_535_bytes() {
        check(&"x".repeat(65_535), Ok(()));
        check(
            &"x".repeat(65_536),
            Err(TopicError::TooLong { len: 65_536 }),
        );
        // Bytes count, not characters.
        check(
            &"ü".repeat(32_768),
            Err(TopicError::TooLong { len: 65_536 }),
        );
    }

    #[test]
    fn a_name_is_text() {
        let name = TopicName::new("site/4").unwrap();
        assert_eq!(
            (&*name, name.as_str(), name.as_ref()),
            ("site/4", "site/4", "site/4")
        );
        assert!(name.starts_with("site"));
    }

    #[test]
    fn every_error_says_what_was_expected_and_found() {
        for (error, text) in [
            (
                TopicError::Empty,
                "expected at least one character of topic, found none",
            ),
            (
                TopicError::TooLong { len: 70_000 },
                "expected a topic of at most 65535 bytes, found 70000",
            ),
            (
                TopicError::Null { at: 3 },
                "expected no null character in a topic, found one at byte 3",
            ),
            (
                TopicError::WildcardInName { at: 3 },
                "expected no wildcard in a topic name, found one at byte 3",
            ),
            (
                TopicError::MultiLevelWildcard { at: 3 },
                "expected '#' alone on the last level of a topic filter, found another use of it \
                 at byte 3",
            ),
            (
                TopicError::SingleLevelWildcard { at: 3 },
                "expected '+' alone on its level of a topic filter, found another use of it at \
                 byte 3",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
