//! The list at the end of SUBSCRIBE, SUBACK and UNSUBSCRIBE: one type for both directions.
//!
//! A packet to be sent borrows the caller's slice; a received one borrows the bytes it came in.
//! Both give the same entries in the same order, and neither allocates.

use std::fmt;
use std::iter::FusedIterator;

use super::error::{DecodeError, EncodeError};
use super::reader::Reader;
use super::writer::Writer;

/// One or more entries of a packet: `(&str, QoS)` in SUBSCRIBE, `&str` in UNSUBSCRIBE,
/// [`SubscribeReason`](super::SubscribeReason) in SUBACK.
///
/// Two lists are equal when their entries are, wherever those lie.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Entries<'a, T>);

/// Where the entries lie.
#[derive(Clone, Copy)]
enum Entries<'a, T> {
    /// In the caller's slice; checked by [`List::to_send`].
    Slice(&'a [T]),
    /// In the bytes of a packet; checked by [`List::received`].
    Encoded(&'a [u8]),
}

/// An entry of a [`List`], with its codec. Only this crate makes lists, so an entry of another kind
/// would be of no use.
pub trait ListEntry<'a>: Copy {
    /// Checks that the entry can be sent.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn check(self) -> Result<(), EncodeError>;

    /// Returns the length of the encoded entry in bytes.
    fn encoded_len(self) -> usize;

    /// Fills `out`, which is exactly [`ListEntry::encoded_len`] bytes long.
    fn encode(self, out: &mut [u8]);

    /// Takes an entry from the start of `bytes` and returns it with the bytes behind it.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, too few of them included.
    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError>;
}

impl<'a, T: ListEntry<'a>> List<'a, T> {
    /// Checks the entries of a packet to be sent; `none` is the error where there is none.
    pub(super) fn to_send(entries: &'a [T], none: EncodeError) -> Result<Self, EncodeError> {
        if entries.is_empty() {
            return Err(none);
        }
        entries.iter().try_for_each(|entry| entry.check())?;
        Ok(Self(Entries::Slice(entries)))
    }

    /// Checks the entries that reach to the end of a received packet; `none` is the error where
    /// there is none.
    pub(super) fn received(reader: Reader<'a>, none: DecodeError) -> Result<Self, DecodeError> {
        let encoded = reader.rest();
        if encoded.is_empty() {
            return Err(none);
        }
        let mut rest = encoded;
        while !rest.is_empty() {
            (_, rest) = T::decode(rest)?;
        }
        Ok(Self(Entries::Encoded(encoded)))
    }

    /// Returns the length of all entries in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        match self.0 {
            Entries::Slice(entries) => {
                let lengths = entries.iter().map(|entry| entry.encoded_len());
                lengths.fold(0, usize::saturating_add)
            }
            Entries::Encoded(bytes) => bytes.len(),
        }
    }

    /// Writes [`List::encoded_len`] bytes.
    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        match self.0 {
            Entries::Slice(entries) => {
                entries
                    .iter()
                    .for_each(|entry| entry.encode(writer.take(entry.encoded_len())));
            }
            Entries::Encoded(bytes) => writer.bytes(bytes),
        }
    }

    /// Returns the entries in their order.
    #[must_use]
    pub fn iter(&self) -> ListIter<'a, T> {
        ListIter(self.0)
    }
}

impl<'a, T: ListEntry<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: ListEntry<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl<'a, T: ListEntry<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: ListEntry<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// The entries of a [`List`], one after the other.
#[derive(Clone)]
pub struct ListIter<'a, T>(Entries<'a, T>);

impl<'a, T: ListEntry<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Entries::Slice(entries) => entries.split_off_first().copied(),
            Entries::Encoded([]) => None,
            Entries::Encoded(bytes) => {
                let (entry, rest) = decode_checked(bytes);
                *bytes = rest;
                Some(entry)
            }
        }
    }
}

impl<'a, T: ListEntry<'a>> FusedIterator for ListIter<'a, T> {}

impl<'a, T: ListEntry<'a> + fmt::Debug> fmt::Debug for ListIter<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListIter").field(&List(self.0)).finish()
    }
}

/// Takes an entry from bytes that [`List::received`] has gone through.
fn decode_checked<'a, T: ListEntry<'a>>(bytes: &'a [u8]) -> (T, &'a [u8]) {
    T::decode(bytes).expect("every entry was decoded once when the packet was")
}
