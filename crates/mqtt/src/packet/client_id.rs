//! Client Identifier: the name under which a server keeps a client's session (MQTT3-3.1.3.1).

use std::fmt;
use std::ops::Deref;

use super::error::EncodeError;
use super::field::Field;
use super::text;

/// A client identifier that fits into a CONNECT: at most 65 535 bytes without U+0000.
///
/// The empty one asks the server to choose, which only a session that ends with its connection may
/// (MQTT3-3.1.3-7); that is checked where both are known, in
/// [`Connect::new`](super::Connect::new). Servers must take up to 23 bytes of `0-9a-zA-Z`
/// (MQTT3-3.1.3-5); all known ones take more.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// Takes a text as client identifier.
    ///
    /// # Errors
    ///
    /// [`EncodeError::FieldTooLong`] above 65 535 bytes, [`EncodeError::NullCharacter`] with a
    /// U+0000.
    pub fn new(id: impl Into<String>) -> Result<Self, EncodeError> {
        let id = id.into();
        check(&id)?;
        Ok(Self(id))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a client identifier apart from its emptiness.
pub(super) fn check(id: &str) -> Result<(), EncodeError> {
    text::check_field_len(id.as_bytes(), Field::ClientId)?;
    text::check_string(id).map_err(|error| error.encoding(Field::ClientId))
}

impl Deref for ClientId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ClientId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_as_it_is() {
        for text in ["", "meter-17", "\u{feff}x", "Zähler/#+"] {
            let id = ClientId::new(text).unwrap();
            assert_eq!((id.as_str(), &*id, id.as_ref()), (text, text, text));
            assert_eq!(id.to_string(), text);
        }
        assert!(ClientId::new("x".repeat(65_535)).is_ok());
    }

    #[test]
    fn a_text_that_no_packet_can_carry_is_refused() {
        let field = Field::ClientId;
        let too_long = EncodeError::FieldTooLong {
            field,
            found: 65_536,
        };
        assert_eq!(ClientId::new("x".repeat(65_536)), Err(too_long));
        assert_eq!(
            ClientId::new("ab\0"),
            Err(EncodeError::NullCharacter { field, at: 2 })
        );
    }
}
