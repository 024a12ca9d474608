//! The control buffer: the packets of one connection that go ahead of everything in the outbound
//! log.
//!
//! CONNECT, acknowledgements of received messages, PINGREQ and DISCONNECT belong to a connection
//! and die with it; a ping or an acknowledgement behind a megabyte of publishes would come too
//! late. When its bytes may go, and that they never go into the middle of another packet, is
//! decided by the session. It is a small [`OutboundLog`] whose sent bytes are released at once.

use crate::outbound_log::{LogFull, LogOffset, OutboundLog};

/// The first size of the buffer in bytes.
const CONTROL_BYTES_MIN: usize = 256;

/// A larger buffer is given back when it is empty; so much suffices for the acknowledgements of a
/// whole inbound window.
const CONTROL_BYTES_KEPT: usize = 8 * 1024;

/// The bound of the buffer in bytes: above the longest CONNECT of MQTT 3.1.1, which has five
/// fields of at most 65 537 bytes each.
pub const CONTROL_BYTES_MAX: usize = 512 * 1024;

/// Encoded control packets that were not sent yet.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct ControlBuffer(OutboundLog);

impl ControlBuffer {
    /// Makes an empty buffer; it takes no memory before the first packet.
    #[must_use]
    pub fn new() -> Self {
        Self(OutboundLog::sized(CONTROL_BYTES_MIN, CONTROL_BYTES_MAX))
    }

    /// Appends a packet of exactly `len` bytes and returns them for the caller to fill.
    ///
    /// # Errors
    /// [`LogFull`] when [`CONTROL_BYTES_MAX`] does not suffice.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], LogFull> {
        self.0.reserve(len)
    }

    /// Returns the bytes to be sent.
    #[inline]
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.0.from(self.0.head())
    }

    /// Gives up the first `n` unsent bytes, because they were sent. A buffer that is larger than it
    /// need be is given back when it is empty.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.0.release(self.0.head().plus(n));
        if self.0.capacity() > CONTROL_BYTES_KEPT {
            self.0.trim();
        }
    }

    /// Returns the position behind the last byte sent.
    #[inline]
    #[must_use]
    pub const fn sent(&self) -> LogOffset {
        self.0.head()
    }

    /// Returns the position behind the last packet.
    #[inline]
    #[must_use]
    pub const fn end(&self) -> LogOffset {
        self.0.tail()
    }

    /// Returns how many bytes are not sent yet.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether everything was sent.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for ControlBuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(control: &mut ControlBuffer, bytes: &[u8]) {
        control.reserve(bytes.len()).unwrap().copy_from_slice(bytes);
    }

    #[test]
    fn packets_leave_in_order_and_in_pieces() {
        let mut control = ControlBuffer::new();
        assert!(control.is_empty() && control.unsent().is_empty());
        push(&mut control, b"abc");
        push(&mut control, b"de");
        assert_eq!((control.unsent(), control.len()), (&b"abcde"[..], 5));
        control.advance(4);
        push(&mut control, b"f");
        assert_eq!(control.unsent(), b"ef");
        assert_eq!(
            (control.sent(), control.end()),
            (LogOffset(4), LogOffset(6))
        );
        control.advance(2);
        assert!(control.is_empty());
        assert_eq!(control.sent(), control.end());
    }

    #[test]
    fn a_large_buffer_is_given_back_once_it_is_empty() {
        let mut control = ControlBuffer::new();
        push(&mut control, &[1; 100]);
        assert_eq!(control.0.capacity(), CONTROL_BYTES_MIN);
        push(&mut control, &[2; CONTROL_BYTES_KEPT]);
        control.advance(CONTROL_BYTES_KEPT + 99);
        assert_eq!(control.0.capacity(), 2 * CONTROL_BYTES_KEPT);
        control.advance(1);
        assert_eq!(control.0.capacity(), 0);
        push(&mut control, b"x");
        assert_eq!(control.unsent(), b"x");
    }

    #[test]
    fn a_buffer_for_acknowledgements_is_kept() {
        let mut control = ControlBuffer::new();
        push(&mut control, &[1; 4 * 1024]);
        control.advance(4 * 1024);
        assert_eq!(control.0.capacity(), 4 * 1024);
    }

    #[test]
    fn a_full_buffer_refuses_and_keeps_what_it_has() {
        let mut control = ControlBuffer::new();
        push(&mut control, b"ab");
        let wanted = CONTROL_BYTES_MAX - 1;
        let full = control.reserve(wanted).map(|_| ()).unwrap_err();
        assert_eq!(
            full,
            LogFull {
                kept: 2,
                wanted,
                bound: CONTROL_BYTES_MAX
            }
        );
        assert_eq!(control.unsent(), b"ab");
    }
}
