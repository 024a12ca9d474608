//! Buffers that bytes are read into, lent by the thread.
//!
//! A buffer is taken when there is something to read and given back when nothing partial is left
//! in it, so an idle connection has none. Messages keep the buffer they were read into alive:
//! nothing is copied or allocated for them. Only while [`SHARED_MAX`] buffers are kept alive by
//! unhandled messages are further ones copied out, so that a slow handler holds its own bytes
//! and not 64 KiB for each of them.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

/// Size of a buffer, and so of the largest read.
pub(crate) const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Buffers kept by a thread for later use.
const SPARE_BUFFERS_MAX: usize = 4;
/// Buffers of one thread that messages may keep alive before messages are copied out.
pub(crate) const SHARED_MAX: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Rc<Bytes>>> = const { RefCell::new(Vec::new()) };
    /// Full-size buffers that are not spare.
    static LENT: Cell<usize> = const { Cell::new(0) };
}

/// Memory that is written by its one owner and then shared for reading.
#[derive(Debug)]
struct Bytes {
    data: Box<[u8]>,
    /// Of full size and counted in [`LENT`]; not a copy or a buffer for one large packet.
    lent: bool,
}

/// Shared bytes. The last share of a full-size buffer makes it spare again.
#[derive(Debug)]
pub(crate) struct Shared(Option<Rc<Bytes>>);

impl Shared {
    /// A copy of `bytes` of their own size.
    fn copied(bytes: &[u8]) -> Self {
        Self(Some(Rc::new(Bytes {
            data: bytes.into(),
            lent: false,
        })))
    }

    #[inline]
    fn bytes(&self) -> &Rc<Bytes> {
        self.0.as_ref().expect("only drop takes the bytes out")
    }

    #[inline]
    pub(crate) fn get(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes().data[range.clone()]
    }
}

impl Clone for Shared {
    #[inline]
    fn clone(&self) -> Self {
        Self(Some(Rc::clone(self.bytes())))
    }
}

impl Drop for Shared {
    #[inline]
    fn drop(&mut self) {
        if self
            .0
            .as_ref()
            .is_some_and(|bytes| Rc::strong_count(bytes) == 1)
        {
            self.give_back();
        }
    }
}

impl Shared {
    /// Makes a full-size buffer spare, as its last share.
    #[cold]
    fn give_back(&mut self) {
        let Some(bytes) = self.0.take_if(|bytes| bytes.lent) else {
            return;
        };
        // A thread that ends has no use for either.
        let _ = LENT.try_with(|lent| lent.set(lent.get() - 1));
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_BUFFERS_MAX {
                spare.push(bytes);
            }
        });
    }
}

/// The buffer that a connection reads into.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    buffer: Option<Shared>,
    /// Bytes that were read and are not consumed.
    filled: Range<usize>,
}

impl ReadBuffer {
    /// Where to read to: room for at least `wanted` bytes in all, from the first unconsumed one.
    ///
    /// Takes a buffer if there is none, moves a partial packet to its front, and changes to
    /// another one while messages still use this one.
    pub(crate) fn space(&mut self, wanted: usize) -> &mut [u8] {
        let size = wanted.max(READ_BUFFER_BYTES);
        let fits = match &mut self.buffer {
            Some(shared) => match shared.0.as_mut().and_then(Rc::get_mut) {
                Some(bytes) if bytes.data.len() >= size => {
                    if self.filled.start > 0 {
                        bytes.data.copy_within(self.filled.clone(), 0);
                    }
                    true
                }
                _ => false,
            },
            None => false,
        };
        if !fits {
            let mut next = take(size);
            let partial = self.filled.len();
            if let (Some(old), Some(new)) = (&self.buffer, next.0.as_mut().and_then(Rc::get_mut)) {
                new.data[..partial].copy_from_slice(old.get(&self.filled));
            }
            self.buffer = Some(next);
        }
        self.filled = 0..self.filled.len();
        let bytes = self
            .buffer
            .as_mut()
            .and_then(|shared| shared.0.as_mut())
            .and_then(Rc::get_mut);
        &mut bytes
            .expect("the buffer was just found or made unshared")
            .data[self.filled.end..]
    }

    /// Notes that `n` bytes were read into [`ReadBuffer::space`].
    pub(crate) fn filled(&mut self, n: usize) {
        self.filled.end += n;
    }

    /// The buffer and the part of it that was read and not consumed.
    pub(crate) fn unconsumed(&self) -> Option<(&Shared, Range<usize>)> {
        self.buffer
            .as_ref()
            .map(|buffer| (buffer, self.filled.clone()))
    }

    /// How many bytes were read and are not consumed.
    pub(crate) fn len(&self) -> usize {
        self.filled.len()
    }

    /// Notes that the first `n` unconsumed bytes are done with.
    pub(crate) fn consume(&mut self, n: usize) {
        self.filled.start += n;
    }

    /// Gives the buffer back unless a partial packet is left in it.
    pub(crate) fn release(&mut self) {
        if self.filled.is_empty() {
            self.filled = 0..0;
            self.buffer = None;
        }
    }
}

/// A spare buffer, or a new one.
fn take(size: usize) -> Shared {
    if size > READ_BUFFER_BYTES {
        // Without room for more: what is behind a packet that fills a queue is read when that was handled.
        return Shared(Some(Rc::new(Bytes {
            data: vec![0; size].into(),
            lent: false,
        })));
    }
    LENT.with(|lent| lent.set(lent.get() + 1));
    let spare = SPARE.with(|spare| spare.borrow_mut().pop());
    Shared(Some(spare.unwrap_or_else(|| {
        Rc::new(Bytes {
            data: vec![0; READ_BUFFER_BYTES].into(),
            lent: true,
        })
    })))
}

/// Part of a buffer, held by a message.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    shared: Shared,
    range: Range<usize>,
}

impl Part {
    /// Keeps `range` of `shared` alive, or a copy of it while too many buffers are held.
    #[inline]
    pub(crate) fn hold(shared: &Shared, range: Range<usize>) -> Self {
        if !shared.bytes().lent || LENT.with(Cell::get) > SHARED_MAX {
            return Self::copied(shared.get(&range));
        }
        Self {
            shared: shared.clone(),
            range,
        }
    }

    /// A copy of `bytes` of its own size.
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self {
            shared: Shared::copied(bytes),
            range: 0..bytes.len(),
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> &[u8] {
        self.shared.get(&self.range)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut ReadBuffer, bytes: &[u8]) {
        buffer.space(0)[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    fn unconsumed(buffer: &ReadBuffer) -> Vec<u8> {
        let (shared, range) = buffer.unconsumed().unwrap();
        shared.get(&range).to_vec()
    }

    #[test]
    fn a_partial_packet_survives_the_change_of_buffers() {
        let mut buffer = ReadBuffer::default();
        fill(&mut buffer, b"wholepart");
        let (shared, range) = buffer.unconsumed().unwrap();
        let held = Part::hold(shared, range.start..range.start + 5);
        buffer.consume(5);
        fill(&mut buffer, b"ial");
        assert_eq!(unconsumed(&buffer), b"partial");
        assert_eq!(held.get(), b"whole");
    }

    #[test]
    fn a_buffer_grows_for_a_large_packet_and_keeps_what_was_read() {
        let mut buffer = ReadBuffer::default();
        fill(&mut buffer, b"head");
        assert!(buffer.space(3 * READ_BUFFER_BYTES).len() >= 3 * READ_BUFFER_BYTES - 4);
        assert_eq!(unconsumed(&buffer), b"head");
    }

    #[test]
    fn messages_are_copied_out_once_too_many_buffers_are_held() {
        let mut buffer = ReadBuffer::default();
        let mut held = Vec::new();
        for n in 0..20_u8 {
            fill(&mut buffer, &[n]);
            let (shared, range) = buffer.unconsumed().unwrap();
            held.push(Part::hold(shared, range));
            buffer.consume(1);
        }
        assert!(LENT.with(Cell::get) <= SHARED_MAX + 1);
        assert!((0..20).zip(&held).all(|(n, part)| part.get() == [n]));
        drop((held, buffer));
        assert_eq!(LENT.with(Cell::get), 0);
    }

    #[test]
    fn an_idle_connection_has_no_buffer() {
        let mut buffer = ReadBuffer::default();
        fill(&mut buffer, b"x");
        buffer.release();
        assert!(buffer.unconsumed().is_some(), "a partial packet stays");
        buffer.consume(1);
        buffer.release();
        assert!(buffer.unconsumed().is_none());
    }
}
