//! The network door's second side: a connection in memory, for tests and for peers in the same
//! process. It behaves as a TCP connection between two ends of one runtime.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use crate::core::{self, Core};
use crate::error::Stopped;
use crate::net::{Kind, Readiness, begin_call, reason};
use crate::park::{Link, Unparker, WaitList};
use crate::world::net::Direction;

/// One way of a pipe.
struct Way {
    bytes: RefCell<VecDeque<u8>>,
    capacity: usize,
    /// The writer said that no more comes.
    ended: Cell<bool>,
    /// The reader is gone: writing is an error.
    abandoned: Cell<bool>,
    readers: WaitList,
    writers: WaitList,
}

impl Way {
    fn new(capacity: usize) -> Rc<Self> {
        Rc::new(Self {
            bytes: RefCell::new(VecDeque::with_capacity(capacity)),
            capacity,
            ended: Cell::new(false),
            abandoned: Cell::new(false),
            readers: WaitList::new(),
            writers: WaitList::new(),
        })
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
        f.debug_struct("PipeStream")
            .field("unread", &self.incoming.bytes.borrow().len())
            .field("unsent", &self.outgoing.bytes.borrow().len())
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
    /// [`Stopped::NoRuntime`] outside a runtime.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let core = core::required()?;
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        core.spend();
        let way = &self.incoming;
        let n = way.bytes.borrow_mut().read(buffer)?;
        if n == 0 && !way.ended.get() {
            return Ok(None);
        }
        if n > 0 {
            way.writers.wake_all(&core);
        }
        core.counters.reads.add(1);
        core.counters.bytes_read.add(n as u64);
        Ok(Some(n))
    }

    /// Writes what there is room for. Neither waits nor yields.
    ///
    /// `None` = no room now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BrokenPipe`] when the other end is gone or this one was shut down;
    /// [`Stopped::NoRuntime`] outside a runtime.
    pub fn try_write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        let core = core::required()?;
        core.spend();
        let way = &self.outgoing;
        if way.abandoned.get() || way.ended.get() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if data.is_empty() {
            return Ok(Some(0));
        }
        let mut bytes = way.bytes.borrow_mut();
        let n = (way.capacity - bytes.len()).min(data.len());
        if n == 0 {
            return Ok(None);
        }
        bytes.extend(&data[..n]);
        drop(bytes);
        way.readers.wake_all(&core);
        core.counters.writes.add(1);
        core.counters.bytes_written.add(n as u64);
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

    fn waiters(&self, direction: Direction) -> &WaitList {
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

    fn wait(&self, core: &Core, direction: Direction) -> Result<(), Stopped> {
        crate::park::wait_on(core, self.waiters(direction), reason(direction))
    }
}

impl Drop for PipeStream {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.abandon();
    }
}

impl Read for &PipeStream {
    /// Reads what is there, yielding until something is, or the end of data.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let core = core::required()?;
        begin_call(&core)?;
        loop {
            if let Some(n) = self.try_read(buffer)? {
                return Ok(n);
            }
            self.wait(&core, Direction::Read)?;
        }
    }
}

impl Write for &PipeStream {
    /// Writes what there is room for, yielding until there is some.
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let core = core::required()?;
        begin_call(&core)?;
        loop {
            if let Some(n) = self.try_write(data)? {
                return Ok(n);
            }
            self.wait(&core, Direction::Write)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for PipeStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for PipeStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
