//! The network door's second side: a connection in memory, for tests and for peers in the same
//! process. It behaves as a TCP connection between two ends of one runtime.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::rc::Rc;

use crate::cell::RefCell;
use crate::core;
use crate::net::stream::read_and_write;
use crate::net::{Kind, Readiness, Waits, begin_call, reason};
use crate::park::{FrontList, Line as _, Link, Unparker, wait_on};
use crate::world::net::Direction;

/// One way of a pipe.
struct Way {
    bytes: RefCell<VecDeque<u8>>,
    capacity: usize,
    /// The writer said that no more comes.
    ended: Cell<bool>,
    /// The reader is gone: writing is an error.
    abandoned: Cell<bool>,
    readers: FrontList,
    writers: FrontList,
}

impl Way {
    fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::new(VecDeque::with_capacity(capacity)),
            capacity,
            ended: Cell::new(false),
            abandoned: Cell::new(false),
            readers: FrontList::new(),
            writers: FrontList::new(),
        })
    }

    /// Moves bytes into `buffer` as far as there are any.
    fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.bytes.borrow_mut();
        // The queue is in two pieces where it goes round the end of its memory.
        let first = bytes.read(buffer)?;
        Ok(first + bytes.read(&mut buffer[first..])?)
    }

    /// Takes bytes of `data` as far as there is room.
    fn put(&self, data: &[u8]) -> usize {
        let mut bytes = self.bytes.borrow_mut();
        let n = (self.capacity - bytes.len()).min(data.len());
        bytes.extend(&data[..n]);
        n
    }

    fn end(&self) {
        self.ended.set(true);
        if let Some(core) = core::current() {
            self.readers.wake_all(&core);
        }
    }

    fn abandon(&self) {
        self.abandoned.set(true);
        if let Some(core) = core::current() {
            self.writers.wake_all(&core);
        }
    }
}

/// One end of a connection in memory, see [`pipe`].
pub struct PipeStream {
    incoming: Rc<Way>,
    outgoing: Rc<Way>,
}

impl fmt::Debug for PipeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever is written to may wait: no borrow is held meanwhile.
        let unread = self.incoming.bytes.borrow().len();
        let unsent = self.outgoing.bytes.borrow().len();
        f.debug_struct("PipeStream")
            .field("unread", &unread)
            .field("unsent", &unsent)
            .finish_non_exhaustive()
    }
}

/// Makes a connection in memory that holds up to `capacity` bytes (at least 1) each way.
#[must_use]
pub fn pipe(capacity: usize) -> (PipeStream, PipeStream) {
    let (one, other) = (Way::new(capacity.max(1)), Way::new(capacity.max(1)));
    let left = PipeStream {
        incoming: Rc::clone(&one),
        outgoing: Rc::clone(&other),
    };
    let right = PipeStream {
        incoming: other,
        outgoing: one,
    };
    (left, right)
}

impl PipeStream {
    /// Reads what is there. Neither waits nor yields.
    ///
    /// `None` = nothing now; `Some(0)` = the end of data, or an empty buffer.
    ///
    /// # Errors
    ///
    /// [`crate::Stopped::NoRuntime`] outside a runtime.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.try_read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    /// As [`Self::try_read`], into several buffers, one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::try_read`].
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        let core = core::required()?;
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(Some(0));
        }
        core.spend();
        let way = &self.incoming;
        let mut n = 0;
        for buffer in buffers {
            n += way.take(buffer)?;
        }
        if n == 0 && !way.ended.get() {
            return Ok(None);
        }
        if n > 0 {
            way.writers.wake_all(&core);
        }
        core.count_read(n);
        Ok(Some(n))
    }

    /// Writes what there is room for. Neither waits nor yields.
    ///
    /// `None` = no room now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BrokenPipe`] when the other end is gone or this one was shut down;
    /// [`crate::Stopped::NoRuntime`] outside a runtime.
    pub fn try_write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        self.try_write_vectored(&[IoSlice::new(data)])
    }

    /// As [`Self::try_write`], out of several buffers, one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::try_write`].
    pub fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let core = core::required()?;
        core.spend();
        let way = &self.outgoing;
        if way.abandoned.get() || way.ended.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if data.iter().all(|part| part.is_empty()) {
            return Ok(Some(0));
        }
        let n = data.iter().map(|part| way.put(part)).sum();
        if n == 0 {
            return Ok(None);
        }
        way.readers.wake_all(&core);
        core.count_write(n);
        Ok(Some(n))
    }

    /// Closes one direction or both, as for a TCP stream. Does not yield.
    pub fn shutdown(&self, how: Shutdown) {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.outgoing.end();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.incoming.end();
            self.incoming.abandon();
        }
    }

    /// Waits until data is there, or its end. Yields.
    ///
    /// # Errors
    ///
    /// That the wait ended early, see [`crate::cause`].
    pub fn wait_readable(&self) -> io::Result<()> {
        self.wait_ready(Direction::Read)
    }

    /// Waits until there is room for data, or nobody to take it. Yields.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_readable`].
    pub fn wait_writable(&self) -> io::Result<()> {
        self.wait_ready(Direction::Write)
    }

    /// The coming of data, or of its end, as something to select on.
    #[must_use]
    pub fn readable(&self) -> Readiness<'_> {
        Readiness(Kind::Pipe(self, Direction::Read))
    }

    /// The coming of room for data, as something to select on.
    #[must_use]
    pub fn writable(&self) -> Readiness<'_> {
        Readiness(Kind::Pipe(self, Direction::Write))
    }

    fn waiters(&self, direction: Direction) -> &FrontList {
        match direction {
            Direction::Read => &self.incoming.readers,
            Direction::Write => &self.outgoing.writers,
        }
    }

    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => {
                let way = &self.incoming;
                way.ended.get() || !way.bytes.borrow().is_empty()
            }
            Direction::Write => {
                let way = &self.outgoing;
                way.abandoned.get() || way.ended.get() || way.bytes.borrow().len() < way.capacity
            }
        }
    }

    pub(super) fn link(&self, direction: Direction, waiter: Unparker) -> io::Result<Link> {
        let core = core::required()?;
        Ok(self.waiters(direction).link(&core, waiter))
    }

    pub(super) fn unlink(&self, direction: Direction, link: Link) {
        if let Some(core) = core::current() {
            self.waiters(direction).unlink(&core, link);
        }
    }

    fn wait_ready(&self, direction: Direction) -> io::Result<()> {
        self.begin()?;
        core::required()?.spend();
        while !self.is_ready(direction) {
            self.wait(direction)?;
        }
        Ok(())
    }
}

impl Waits for PipeStream {
    fn begin(&self) -> io::Result<()> {
        Ok(begin_call(&*core::required()?)?)
    }

    fn wait(&self, direction: Direction) -> io::Result<()> {
        let core = core::required()?;
        Ok(wait_on(&core, self.waiters(direction), reason(direction))?)
    }
}

impl Drop for PipeStream {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.abandon();
    }
}

read_and_write!(PipeStream);
