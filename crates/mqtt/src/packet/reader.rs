//! A cursor over the body of one complete packet.

use std::str;

use super::error::DecodeError;
use super::field::Field;
use super::fixed_header::PacketType;
use super::packet_id::PacketId;
use super::text::{self, TextError};

/// Reads the fields of a packet one after the other; each names itself for the error.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte after the fixed header.
    #[inline]
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Takes one byte.
    #[inline]
    pub(super) fn byte(&mut self, field: Field) -> Result<u8, DecodeError> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    /// Takes a two-byte number, the higher byte first (MQTT3-1.5.2).
    #[inline]
    pub(super) fn number(&mut self, field: Field) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    /// Takes the packet identifier of a packet of this type; never zero (MQTT3-2.3.1-1).
    #[inline]
    pub(super) fn packet_id(&mut self, packet_type: PacketType) -> Result<PacketId, DecodeError> {
        PacketId::decode(self.array(Field::PacketId)?, packet_type)
    }

    /// Takes binary data with its two-byte length in front.
    #[inline]
    pub(super) fn binary(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.number(field)?);
        let Some((data, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.beyond_end(field, len));
        };
        self.rest = rest;
        Ok(data)
    }

    /// Takes a string: UTF-8 (MQTT3-1.5.3-1) without U+0000 (MQTT3-1.5.3-2).
    pub(super) fn string(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        self.text(field, text::check_string)
    }

    /// Takes a topic name: a string of one character at least, without wildcards (MQTT3-3.3.2-2).
    #[inline]
    pub(super) fn topic_name(&mut self, field: Field) -> Result<&'a str, DecodeError> {
        self.text(field, text::check_topic_name)
    }

    /// Takes a topic filter: a string of one character at least.
    pub(super) fn topic_filter(&mut self) -> Result<&'a str, DecodeError> {
        self.text(Field::TopicFilter, text::check_filter)
    }

    /// Takes everything up to the end of the packet.
    #[inline]
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends a packet whose last field was taken.
    pub(super) const fn end(self, packet_type: PacketType) -> Result<(), DecodeError> {
        if !self.rest.is_empty() {
            return Err(DecodeError::TrailingBytes {
                packet_type,
                found: self.rest.len(),
            });
        }
        Ok(())
    }

    /// Takes a string that passes `check`.
    #[inline]
    fn text(
        &mut self,
        field: Field,
        check: impl FnOnce(&str) -> Result<(), TextError>,
    ) -> Result<&'a str, DecodeError> {
        let bytes = self.binary(field)?;
        let text = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                return Err(DecodeError::Utf8 {
                    field,
                    at: error.valid_up_to(),
                });
            }
        };
        match check(text) {
            Ok(()) => Ok(text),
            Err(error) => Err(error.decoding(field)),
        }
    }

    /// Takes `N` bytes.
    #[inline]
    fn array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], DecodeError> {
        let Some((&array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.beyond_end(field, N));
        };
        self.rest = rest;
        Ok(array)
    }

    /// Returns the error of a field longer than what is left.
    #[cold]
    const fn beyond_end(&self, field: Field, expected: usize) -> DecodeError {
        DecodeError::FieldBeyondEnd {
            field,
            expected,
            found: self.rest.len(),
        }
    }
}
