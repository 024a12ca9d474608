//! A cursor that fills the bytes of one packet.
//!
//! Every length was found and every rule was checked when the packet was made, so there is nothing
//! left that could fail here but a slice that is too short, which is a mistake of our own.

use std::mem;

use super::packet_id::PacketId;
use super::var_int;

/// Returns the length of a whole packet with this remaining length, in bytes.
#[inline]
pub(super) const fn packet_len(remaining_length: usize) -> usize {
    1 + var_int::encoded_len(remaining_length) + remaining_length
}

/// Returns how many bytes a string or binary data takes with its length in front.
#[inline]
pub(super) const fn field_len(data: &[u8]) -> usize {
    2 + data.len()
}

/// Fills a packet field by field.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    /// What is still to be filled.
    rest: &'a mut [u8],
    /// Length of the whole packet.
    packet_len: usize,
}

impl<'a> Writer<'a> {
    /// Writes the fixed header of a packet into `out` and stands at the first byte behind it. What
    /// is written must add up to `remaining_length`.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than the packet.
    // Always, as the rest of what is done for every message that is published.
    #[inline(always)]
    pub(super) fn start(out: &'a mut [u8], first: u8, remaining_length: usize) -> Self {
        let room = out.len();
        let (header_len, behind) = match (remaining_length, out) {
            (0..=127, [type_and_flags, length, behind @ ..]) => {
                *type_and_flags = first;
                *length = remaining_length as u8;
                (2, behind)
            }
            (128..=16_383, [type_and_flags, low, high, behind @ ..]) => {
                *type_and_flags = first;
                *low = remaining_length as u8 | 0x80;
                *high = (remaining_length >> 7) as u8;
                (3, behind)
            }
            (_, out) => start_long(out, first, remaining_length),
        };
        let packet_len = header_len + remaining_length;
        let Some(rest) = behind.get_mut(..remaining_length) else {
            no_room(packet_len, room);
        };
        Self { rest, packet_len }
    }

    /// Fills `out` without a header.
    #[inline]
    pub(super) const fn over(out: &'a mut [u8]) -> Self {
        let packet_len = out.len();
        Self {
            rest: out,
            packet_len,
        }
    }

    /// Writes one byte.
    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    /// Writes a number in two bytes, the higher one first (MQTT3-1.5.2).
    #[inline]
    pub(super) fn number(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    /// Writes a packet identifier.
    #[inline]
    pub(super) fn packet_id(&mut self, packet_id: PacketId) {
        self.number(packet_id.get());
    }

    /// Writes a string or binary data with its length in front; the packet's constructor saw to it
    /// that the length fits.
    #[inline(always)]
    pub(super) fn field(&mut self, data: &[u8]) {
        debug_assert!(
            data.len() <= super::text::MAX_FIELD_LEN,
            "found {} bytes",
            data.len()
        );
        self.number(data.len() as u16);
        self.bytes(data);
    }

    /// Writes bytes as they are.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.take(bytes.len()).copy_from_slice(bytes);
    }

    /// Hands out the place of the next `len` bytes for the caller to fill.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> &'a mut [u8] {
        let (place, rest) = mem::take(&mut self.rest).split_at_mut(len);
        self.rest = rest;
        place
    }

    /// Ends the packet, whose remaining length must be used up, and returns its whole length.
    #[inline]
    pub(super) fn end(self) -> usize {
        debug_assert!(
            self.rest.is_empty(),
            "{} bytes were announced too many",
            self.rest.len()
        );
        self.packet_len
    }
}

/// Writes a fixed header whose remaining length has three or four bytes. Returns its length and
/// what lies behind it.
#[cold]
fn start_long(out: &mut [u8], first: u8, remaining_length: usize) -> (usize, &mut [u8]) {
    let header_len = 1 + var_int::encoded_len(remaining_length);
    if out.len() < header_len {
        no_room(header_len + remaining_length, out.len());
    }
    out[0] = first;
    var_int::encode(remaining_length, &mut out[1..]);
    (header_len, &mut out[header_len..])
}

/// Reports a slice that is shorter than the packet.
#[cold]
fn no_room(packet_len: usize, room: usize) -> ! {
    panic!("room for {packet_len} bytes, found {room}");
}
