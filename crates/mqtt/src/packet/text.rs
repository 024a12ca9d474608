//! The rules for strings and topic names, told once for both directions (MQTT3-1.5.3, MQTT3-4.7).
//!
//! A `&str` is well-formed UTF-8 by its type, without surrogates (MQTT3-1.5.3-1), and nothing here
//! strips U+FEFF (MQTT3-1.5.3-3). What makes a topic name is known in [`crate::topic`] alone, and so
//! is the syntax of topic filters; here a filter is a string of at least one character.

use super::error::{DecodeError, EncodeError};
use super::field::Field;
use crate::topic::{TopicError, check_characters_of_name, is_topic_name};

/// The most bytes of a string or of binary data: what its two-byte length can say (MQTT3-1.5.3).
pub const MAX_FIELD_LEN: usize = 65_535;

/// What is wrong with a text, on the way in or out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextError {
    /// A topic name or filter without a character.
    Empty,
    /// U+0000.
    Null { at: usize },
    /// A wildcard in a topic name.
    Wildcard { found: char, at: usize },
}

impl TextError {
    /// Returns the error of a received packet.
    #[cold]
    pub(super) fn decoding(self, field: Field) -> DecodeError {
        match self {
            Self::Empty if matches!(field, Field::TopicFilter) => DecodeError::FilterEmpty,
            Self::Empty => DecodeError::TopicEmpty { field },
            Self::Null { at } => DecodeError::NullCharacter { field, at },
            Self::Wildcard { found, at } => DecodeError::TopicWildcard { field, found, at },
        }
    }

    /// Returns the error of a packet to be sent.
    #[cold]
    pub(super) fn encoding(self, field: Field) -> EncodeError {
        match self {
            Self::Empty if matches!(field, Field::TopicFilter) => EncodeError::FilterEmpty,
            Self::Empty => EncodeError::TopicEmpty { field },
            Self::Null { at } => EncodeError::NullCharacter { field, at },
            Self::Wildcard { found, at } => EncodeError::TopicWildcard { field, found, at },
        }
    }
}

/// Checks that the two-byte length in front of `data` can say its length (MQTT3-1.5.3).
#[inline]
pub(super) fn check_field_len(data: &[u8], field: Field) -> Result<(), EncodeError> {
    if data.len() > MAX_FIELD_LEN {
        return Err(EncodeError::FieldTooLong {
            field,
            found: data.len(),
        });
    }
    Ok(())
}

/// Checks what holds for every string: no U+0000.
pub(super) fn check_string(text: &str) -> Result<(), TextError> {
    match text.bytes().position(|byte| byte == 0) {
        Some(at) => Err(TextError::Null { at }),
        None => Ok(()),
    }
}

/// Checks a topic filter as far as the codec goes: a character at least, no U+0000.
pub(super) fn check_filter(text: &str) -> Result<(), TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    check_string(text)
}

/// Checks the topic name of a packet to be sent, its length included.
#[inline]
pub(super) fn check_topic_name_to_send(text: &str, field: Field) -> Result<(), EncodeError> {
    check_field_len(text.as_bytes(), field)?;
    match check_topic_name(text) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.encoding(field)),
    }
}

/// Checks a topic name: a character at least, no U+0000, no wildcard (MQTT3-3.3.2-2).
#[inline]
pub(super) fn check_topic_name(text: &str) -> Result<(), TextError> {
    if is_topic_name(text.as_bytes()) {
        Ok(())
    } else {
        Err(topic_name_error(text))
    }
}

/// Finds out what [`check_topic_name`] found.
#[cold]
fn topic_name_error(text: &str) -> TextError {
    match check_characters_of_name(text) {
        Err(TopicError::Null { at }) => TextError::Null { at },
        Err(TopicError::WildcardInName { at }) => TextError::Wildcard {
            found: char::from(text.as_bytes()[at]),
            at,
        },
        // What is left to a text without a forbidden character.
        Ok(()) | Err(_) => TextError::Empty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_character_is_found_at_every_place_of_every_length() {
        for len in 1..40 {
            let clean = "x".repeat(len);
            assert_eq!(check_topic_name(&clean), Ok(()));
            assert_eq!(check_filter(&clean), Ok(()));
            for at in 0..len {
                let with = |c: &str| format!("{}{c}{}", &clean[..at], &clean[at + 1..]);
                assert_eq!(check_topic_name(&with("\0")), Err(TextError::Null { at }));
                assert_eq!(check_filter(&with("\0")), Err(TextError::Null { at }));
                assert_eq!(check_string(&with("\0")), Err(TextError::Null { at }));
                for found in ['+', '#'] {
                    let text = with(&found.to_string());
                    assert_eq!(
                        check_topic_name(&text),
                        Err(TextError::Wildcard { found, at })
                    );
                    assert_eq!(check_filter(&text), Ok(()));
                }
            }
        }
    }

    #[test]
    fn no_other_character_is_forbidden() {
        for c in '\u{1}'..=char::MAX {
            if c == '+' || c == '#' {
                continue;
            }
            let mut buf = [b'x'; 12];
            c.encode_utf8(&mut buf[3..]);
            let text = std::str::from_utf8(&buf).unwrap();
            assert_eq!(check_topic_name(text), Ok(()), "{c:?}");
        }
    }

    #[test]
    fn an_empty_text_is_a_string_and_no_topic() {
        assert_eq!(check_string(""), Ok(()));
        assert_eq!(check_topic_name(""), Err(TextError::Empty));
        assert_eq!(check_filter(""), Err(TextError::Empty));
    }
}
