//! The outbound log: send buffer and resend store in one.
//!
//! Packets are encoded into it once, leave from it, and those that await an acknowledgement stay in
//! it: no memory per packet, and already in resend order. Every byte has an absolute offset that
//! only grows; it lies at index `offset - base` of one buffer:
//!
//! ```text
//!          base        head                               tail      base + capacity
//!           │           │                                   │           │
//!           ▼           ▼                                   ▼           ▼
//!  bytes   [  free      | A: unacknowledged | .. | unsent   |   free    ]
//! ```
//! `[head..tail]` is what must be kept. When nothing is (`head == tail`), the next packet begins at
//! index 0 again, so a busy log stays in the cache of the processor. When a packet does not fit
//! behind `tail`, the kept bytes move down to index 0, or the buffer doubles.
//!
//! One packet whose acknowledgement never comes would hold `head` back for ever, and everything
//! sent after it with it. Therefore the owner first [shifts](OutboundLog::shift_up) the few live
//! packets up to the first one that is not sent, and releases the rest:
//!
//! ```text
//!                head                                    cut         tail
//!  before         [ A |  dead, dead, dead,  | B |  dead    | unsent   |
//!                                                head
//!  after                                          [ A | B | unsent   |
//! ```
//! A shifted packet gets a new offset, higher than before and still below `cut`. So every live
//! packet can be found by subtraction at all times, order is kept, and "everything before this
//! offset was sent" stays true for every offset handed out. Only the owner knows the packets that
//! are shifted, so only the owner has offsets to correct.
//!
//! What is live and what was sent is the session's business; this module knows bytes alone.

use std::fmt;

/// The size in bytes up to which the buffer is kept in a quiet time.
pub const LOG_BYTES_MIN: usize = 16 * 1024;

/// The first size of the buffer in bytes: room for what a device has under way that now and then says
/// something.
const LOG_FIRST_BYTES: usize = 1024;

/// The default bound of the buffer in bytes.
pub const LOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// By how many bytes at least the buffer grows beyond its bound, for packets that cannot wait.
const BEYOND_STEP: usize = 4 * 1024;

/// A position in the outbound log: bytes since it was made. Never given to another byte later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogOffset(pub u64);

impl LogOffset {
    /// Returns the position `len` bytes later.
    #[inline]
    #[must_use]
    pub const fn plus(self, len: usize) -> Self {
        Self(self.0 + len as u64)
    }

    /// Returns the distance in bytes from `earlier`, zero if that is the later one.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> usize {
        self.0.saturating_sub(earlier.0) as usize
    }
}

/// Encoded packets that were not sent or not acknowledged yet.
///
/// There is no buffer before the first packet; then it is small and doubles up to the bound. It does not
/// shrink by itself: its owner [trims](OutboundLog::trim) it in a quiet time.
/// Nothing here yields.
#[cfg_attr(test, derive(Clone))]
pub struct OutboundLog {
    /// [`LOG_FIRST_BYTES`] times a power of two, `minimum` where that is less,, or `bound` long; empty before the first packet.
    bytes: Box<[u8]>,
    /// The offset of `bytes[0]`.
    base: u64,
    /// Bytes before this one may be overwritten.
    head: u64,
    /// The end of the last packet.
    tail: u64,
    minimum: usize,
    bound: usize,
    /// Packets end before this index; the length of the buffer, but not above the bound, beyond
    /// which only [`OutboundLog::reserve_beyond`] goes.
    limit: usize,
}

impl OutboundLog {
    /// Makes a log whose buffer takes at most `bound` bytes (at least [`LOG_BYTES_MIN`]).
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self::sized(LOG_BYTES_MIN, bound)
    }

    /// Makes a log whose buffer is kept at up to `minimum` bytes, and takes at most `bound`.
    pub(crate) fn sized(minimum: usize, bound: usize) -> Self {
        let bound = bound.max(minimum);
        Self {
            bytes: Box::default(),
            base: 0,
            head: 0,
            tail: 0,
            minimum,
            bound,
            limit: 0,
        }
    }

    /// Appends a packet of exactly `len` bytes and returns them for the caller to fill.
    ///
    /// # Errors
    /// [`LogFull`] when the kept bytes and this packet do not fit into the bound. Nothing has
    /// changed then.
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], LogFull> {
        self.reserve_sparing(len, 0)
    }

    /// As [`OutboundLog::reserve`], and leaves room for `spare` more bytes behind the packet: no
    /// append of up to so many bytes will move or enlarge the buffer.
    ///
    /// # Errors
    /// [`LogFull`] when the kept bytes, this packet and the spare do not fit into the bound.
    #[inline]
    pub fn reserve_sparing(&mut self, len: usize, spare: usize) -> Result<&mut [u8], LogFull> {
        if !self.fits(len + spare) {
            self.make_room(len + spare)?;
        }
        Ok(self.append(len))
    }

    /// Appends a packet of exactly `len` bytes that cannot wait and returns them: where they do not
    /// fit, kept bytes are moved or the buffer grows beyond its bound, whatever that costs. The
    /// caller bounds what it appends so.
    pub fn reserve_beyond(&mut self, len: usize) -> &mut [u8] {
        if len > self.bytes.len() - self.index(self.tail) && self.make_room(len).is_err() {
            if self.len() + len <= self.bytes.len() {
                self.move_down();
            } else {
                self.rebuild(self.len() + len.max(BEYOND_STEP));
            }
        }
        self.append(len)
    }

    #[inline]
    fn append(&mut self, len: usize) -> &mut [u8] {
        let start = self.index(self.tail);
        self.tail += len as u64;
        &mut self.bytes[start..start + len]
    }

    /// Tells whether `len` bytes fit behind the last packet as the buffer is now. If not, it pays
    /// to shift live packets up and release the rest before [`OutboundLog::reserve`] moves or
    /// doubles the buffer.
    #[inline]
    #[must_use]
    pub fn fits(&self, len: usize) -> bool {
        self.index(self.tail) + len <= self.limit
    }

    /// Gives up all bytes before `head`. Going back is not possible: a lower value changes nothing.
    ///
    /// # Panics
    /// If `head` lies behind the last packet.
    #[inline]
    pub fn release(&mut self, head: LogOffset) {
        assert!(head.0 <= self.tail, "released more than was written");
        self.head = self.head.max(head.0);
        if self.head == self.tail {
            self.base = self.tail;
        }
    }

    /// Moves the packet of `len` bytes at `from` up so that it ends at `end`, and returns its new
    /// offset. The bytes in between must not be needed any more.
    ///
    /// # Panics
    /// If the packet is not within the kept bytes, or ends behind `end`, or `end` behind the tail.
    pub fn shift_up(&mut self, from: LogOffset, len: usize, end: LogOffset) -> LogOffset {
        assert!(self.head <= from.0 && from.plus(len) <= end && end.0 <= self.tail);
        let to = LogOffset(end.0 - len as u64);
        if to == from {
            return from;
        }
        let source = self.index(from.0);
        self.bytes
            .copy_within(source..source + len, self.index(to.0));
        to
    }

    /// Gives the buffer back if it [has grown](OutboundLog::has_grown) and nothing is kept.
    pub fn trim(&mut self) {
        if self.has_grown() {
            self.give_back();
        }
    }

    /// Gives the buffer back if nothing is kept, whatever its size.
    pub(crate) fn give_back(&mut self) {
        if self.is_empty() {
            self.bytes = Box::default();
            self.limit = 0;
            self.base = self.tail;
        }
    }

    /// Returns the bytes from `from` to the end of the last packet.
    ///
    /// # Panics
    /// If `from` was released or lies behind the last packet.
    #[inline]
    #[must_use]
    pub fn from(&self, from: LogOffset) -> &[u8] {
        self.slice(from, LogOffset(self.tail))
    }

    /// Returns the bytes of `[from..end]`.
    ///
    /// # Panics
    /// If the range is not within the kept bytes.
    #[inline]
    #[must_use]
    pub fn slice(&self, from: LogOffset, end: LogOffset) -> &[u8] {
        assert!(
            self.head <= from.0 && from <= end && end.0 <= self.tail,
            "bytes not in the log"
        );
        &self.bytes[self.index(from.0)..self.index(end.0)]
    }

    /// Returns the bytes of `[from..end]`, to be changed in place.
    ///
    /// # Panics
    /// If the range is not within the kept bytes.
    #[must_use]
    pub fn slice_mut(&mut self, from: LogOffset, end: LogOffset) -> &mut [u8] {
        assert!(
            self.head <= from.0 && from <= end && end.0 <= self.tail,
            "bytes not in the log"
        );
        let range = self.index(from.0)..self.index(end.0);
        &mut self.bytes[range]
    }

    /// Returns the first byte of the packet at `at`, where its flags are.
    ///
    /// # Panics
    /// If the offset is not within the kept bytes.
    #[inline]
    #[must_use]
    pub fn first_byte_mut(&mut self, at: LogOffset) -> &mut u8 {
        assert!(self.head <= at.0 && at.0 < self.tail, "byte not in the log");
        let index = self.index(at.0);
        &mut self.bytes[index]
    }

    /// Returns the offset of the first kept byte.
    #[inline]
    #[must_use]
    pub const fn head(&self) -> LogOffset {
        LogOffset(self.head)
    }

    /// Returns the offset at which the next packet will begin.
    #[inline]
    #[must_use]
    pub const fn tail(&self) -> LogOffset {
        LogOffset(self.tail)
    }

    /// Returns how many bytes are kept.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// Tells whether nothing is kept.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Returns the present size of the buffer in bytes.
    #[inline]
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the size in bytes beyond which the buffer does not grow but for
    /// [`OutboundLog::reserve_beyond`]: no packet may be longer.
    #[inline]
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// Tells whether the buffer is larger than what is kept in a quiet time.
    #[inline]
    #[must_use]
    pub const fn has_grown(&self) -> bool {
        self.bytes.len() > self.minimum
    }

    #[inline]
    const fn index(&self, offset: u64) -> usize {
        (offset - self.base) as usize
    }

    /// Makes room for `len` bytes behind the tail, by moving the kept bytes down or by growing.
    ///
    /// Bytes are moved down only if that frees at least as much as it moves, or an eighth of a
    /// buffer that may not grow any more: so the cost for each byte appended is bounded.
    #[cold]
    fn make_room(&mut self, len: usize) -> Result<(), LogFull> {
        let needed = self.len().saturating_add(len);
        let full = LogFull {
            kept: self.len(),
            wanted: len,
            bound: self.bound,
        };
        if needed > self.bound {
            return Err(full);
        }
        let capacity = self.bytes.len();
        let gain = self.index(self.head);
        if needed <= capacity && self.len() <= gain {
            self.move_down();
        } else if capacity < self.bound {
            let mut grown = if capacity == 0 {
                self.minimum.min(LOG_FIRST_BYTES)
            } else {
                capacity * 2
            };
            while grown < needed {
                grown *= 2;
            }
            self.rebuild(grown.min(self.bound));
        } else if gain >= capacity / 8 {
            self.move_down();
        } else {
            return Err(full);
        }
        Ok(())
    }

    fn move_down(&mut self) {
        let kept = self.index(self.head)..self.index(self.tail);
        self.bytes.copy_within(kept, 0);
        self.base = self.head;
    }

    fn rebuild(&mut self, len: usize) {
        let mut bytes = vec![0; len].into_boxed_slice();
        let kept = &self.bytes[self.index(self.head)..self.index(self.tail)];
        bytes[..kept.len()].copy_from_slice(kept);
        self.bytes = bytes;
        self.limit = len.min(self.bound);
        self.base = self.head;
    }
}

impl Default for OutboundLog {
    fn default() -> Self {
        Self::new(LOG_BYTES_MAX)
    }
}

impl fmt::Debug for OutboundLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundLog")
            .field("base", &self.base)
            .field("head", &self.head)
            .field("tail", &self.tail)
            .field("capacity", &self.bytes.len())
            .field("bound", &self.bound)
            .finish()
    }
}

/// There is no room in the outbound log until packets are sent or acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFull {
    /// Bytes that are kept, in part perhaps of packets no longer needed.
    pub kept: usize,
    /// Bytes that were asked for.
    pub wanted: usize,
    /// The bound in bytes.
    pub bound: usize,
}

impl fmt::Display for LogFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kept,
            wanted,
            bound,
        } = self;
        write!(
            f,
            "expected room for {wanted} bytes in the outbound log, found {kept} of {bound} in use"
        )
    }
}

impl std::error::Error for LogFull {}

#[cfg(test)]
mod tests;
