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
pub struct ControlBuffer {
    packets: OutboundLog,
    /// The end of the packets at the start of those unsent that may wait for messages.
    companions: LogOffset,
}

impl ControlBuffer {
    /// Makes an empty buffer; it takes no memory before the first packet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            packets: OutboundLog::sized(CONTROL_BYTES_MIN, CONTROL_BYTES_MAX),
            companions: LogOffset::default(),
        }
    }

    /// Appends a packet of exactly `len` bytes and returns them for the caller to fill.
    ///
    /// # Errors
    /// [`LogFull`] when [`CONTROL_BYTES_MAX`] does not suffice.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], LogFull> {
        self.packets.reserve(len)
    }

    /// As [`ControlBuffer::reserve`], of a packet that may wait for the message in the log that it goes
    /// before.
    ///
    /// # Errors
    /// As of [`ControlBuffer::reserve`].
    pub fn reserve_companion(&mut self, len: usize) -> Result<&mut [u8], LogFull> {
        let are_companions = self.may_wait();
        let end = self.packets.tail().plus(len);
        let packet = self.packets.reserve(len)?;
        if are_companions {
            self.companions = end;
        }
        Ok(packet)
    }

    /// Tells whether nothing is unsent but packets that may wait for the messages that they go before.
    #[inline]
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.packets.is_empty() || self.companions == self.packets.tail()
    }

    /// Returns the bytes to be sent.
    #[inline]
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.packets.from(self.packets.head())
    }

    /// Gives up the first `n` unsent bytes, because they were sent. A buffer that is larger than it
    /// need be is given back when it is empty.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        self.packets.release(self.packets.head().plus(n));
        // What is left may begin within a packet, which nobody holds up.
        self.companions = self.packets.head();
        if self.packets.capacity() > CONTROL_BYTES_KEPT {
            self.packets.trim();
        }
    }

    /// Gives the buffer back while it is empty, whatever its size.
    pub(crate) fn give_back(&mut self) {
        self.packets.give_back();
    }

    /// Returns the position behind the last byte sent.
    #[inline]
    #[must_use]
    pub const fn sent(&self) -> LogOffset {
        self.packets.head()
    }

    /// Returns the position behind the last packet.
    #[inline]
    #[must_use]
    pub const fn end(&self) -> LogOffset {
        self.packets.tail()
    }

    /// Returns how many bytes are not sent yet.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.packets.len()
    }

    /// Tells whether everything was sent.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
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
        assert_eq!(control.packets.capacity(), CONTROL_BYTES_MIN);
        push(&mut control, &[2; CONTROL_BYTES_KEPT]);
        control.advance(CONTROL_BYTES_KEPT + 99);
        assert_eq!(control.packets.capacity(), 2 * CONTROL_BYTES_KEPT);
        control.advance(1);
        assert_eq!(control.packets.capacity(), 0);
        push(&mut control, b"x");
        assert_eq!(control.unsent(), b"x");
    }

    #[test]
    fn what_may_wait_is_over_with_the_first_packet_that_may_not() {
        let mut control = ControlBuffer::new();
        assert!(control.may_wait());
        for _ in 0..2 {
            control.reserve_companion(4).unwrap().fill(1);
            assert!(control.may_wait());
        }
        push(&mut control, b"x");
        control.reserve_companion(4).unwrap().fill(1);
        assert!(!control.may_wait());
        // Half of a packet of the first kind, then up to the last.
        for sent in [2, 6, 1, 3] {
            control.advance(sent);
            assert!(!control.may_wait());
        }
        control.advance(1);
        control.reserve_companion(4).unwrap().fill(1);
        assert!(control.may_wait());
        control.advance(2);
        assert!(!control.may_wait(), "the rest of a packet");
        control.reserve_companion(4).unwrap().fill(1);
        assert!(!control.may_wait());
        control.advance(6);
        control.reserve_companion(4).unwrap().fill(1);
        push(&mut control, b"x");
        control.advance(4);
        assert!(!control.may_wait(), "what may not is left alone");
        control.advance(1);
        assert!(control.may_wait());
    }

    #[test]
    fn a_buffer_for_acknowledgements_is_kept() {
        let mut control = ControlBuffer::new();
        push(&mut control, &[1; 4 * 1024]);
        control.advance(4 * 1024);
        assert_eq!(control.packets.capacity(), 4 * 1024);
    }

    #[test]
    fn an_empty_buffer_is_given_back_on_demand() {
        let mut control = ControlBuffer::new();
        push(&mut control, b"abc");
        control.give_back();
        assert_eq!(control.unsent(), b"abc");
        control.advance(3);
        control.give_back();
        assert_eq!(
            (control.packets.capacity(), control.sent(), control.end()),
            (0, LogOffset(3), LogOffset(3))
        );
        push(&mut control, b"d");
        assert_eq!(control.unsent(), b"d");
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
