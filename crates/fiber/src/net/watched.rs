//! What every socket of the kernel consists of: the thing itself, what is known of its readiness,
//! and the runtime it belongs to. It knows nothing of protocols.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::AsRawFd;
use std::rc::Rc;

use crate::core::{self, Core};
use crate::net::stream::VECTORED_BUFFERS_MAX;
use crate::net::{Kind, Readiness, Waits, begin_call, reason};
use crate::park::{Link, Unparker};
use crate::world::net::{Direction, Readiness as Bits};

/// The readiness of one descriptor, and the runtime that watches it.
pub(super) struct Watch {
    bits: Rc<Bits>,
    core: Rc<Core>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bits.fmt(f)
    }
}

impl Watch {
    #[inline]
    pub(super) fn is_ready(&self, direction: Direction) -> bool {
        self.bits.is_ready(direction)
    }

    #[inline]
    pub(super) fn link(&self, direction: Direction, waiter: Unparker) -> io::Result<Link> {
        self.bits.link(&self.core, direction, waiter)
    }

    #[inline]
    pub(super) fn stand(&self, direction: Direction, waiter: Unparker) -> io::Result<Option<Link>> {
        self.bits.stand(&self.core, direction, waiter)
    }

    #[inline]
    pub(super) fn unlink(&self, direction: Direction, link: Link) {
        self.bits.unlink(&self.core, direction, link);
    }

    pub(super) fn watch(&self) -> io::Result<()> {
        self.bits.ask(&self.core)
    }

    pub(super) fn unwatch(&self) {
        self.bits.unwatch(&self.core);
    }

    /// Waits until the kernel reported readiness; a descriptor that is not watched yet is watched
    /// from here on, so that its bit is no guess.
    fn wait_ready(&self, direction: Direction) -> io::Result<()> {
        self.begin()?;
        self.core.spend();
        loop {
            // In each round: another fiber may have unwatched it meanwhile.
            self.bits.ask(&self.core)?;
            if self.is_ready(direction) {
                return Ok(());
            }
            self.wait(direction)?;
        }
    }
}

impl Waits for Watch {
    #[inline(always)]
    fn begin(&self) -> io::Result<()> {
        Ok(begin_call(&self.core)?)
    }

    fn wait(&self, direction: Direction) -> io::Result<()> {
        let token = self.core.prepare()?;
        let link = self.link(direction, token)?;
        let woken = self.core.park(reason(direction));
        self.unlink(direction, link);
        Ok(woken?)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bits.close(&self.core);
    }
}

/// A kind of socket.
pub(super) trait Socket: AsRawFd {
    /// Whether a read that fills less than it was given has taken all there was. Only then may it
    /// clear the readable bit, which saves the read that finds nothing.
    const SHORT_READ_IS_ALL: bool = false;
    /// Whether an end or an error of one direction is there to stay: so for streams. A socket for
    /// datagrams reports the refusal of a single one as an error and lives on.
    const ENDS: bool = true;
}

/// A socket with its readiness.
pub(super) struct Watched<T> {
    /// Stands first to be dropped first: the reactor forgets a descriptor before it is closed.
    watch: Watch,
    io: T,
}

impl<T: Socket> Watched<T> {
    /// A socket of this thread's runtime.
    ///
    /// # Errors
    ///
    /// [`crate::Stopped::NoRuntime`].
    pub(super) fn here(make: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        let core = core::required()?;
        Ok(Self::new(make()?, core))
    }

    fn new(io: T, core: Rc<Core>) -> Self {
        let bits = if T::ENDS {
            Bits::new(io.as_raw_fd())
        } else {
            Bits::datagrams(io.as_raw_fd())
        };
        let watch = Watch { bits, core };
        Self { watch, io }
    }

    /// A socket that another one accepted.
    pub(super) fn beside<U>(&self, io: U) -> Watched<U>
    where
        U: Socket,
    {
        Watched::new(io, Rc::clone(&self.watch.core))
    }

    /// A socket that still connects: it is once it can be written to, see [`Self::is_connected`].
    pub(super) fn connecting(io: T) -> io::Result<Self> {
        let core = core::required()?;
        let bits = Bits::connecting(io.as_raw_fd());
        let watch = Watch { bits, core };
        Ok(Self { watch, io })
    }

    /// A socket that still connects, once it is connected. Yields.
    pub(super) fn connected(
        io: T,
        error: impl Fn(&T) -> io::Result<Option<io::Error>>,
        peer: impl Fn(&T) -> io::Result<()>,
    ) -> io::Result<Self> {
        let this = Self::connecting(io)?;
        loop {
            this.watch.wait(Direction::Write)?;
            if this.is_connected(&error, &peer)? {
                return Ok(this);
            }
        }
    }

    /// Finds out what became of connecting, once the socket was said to be ready to be written to: a
    /// socket that has a peer is connected.
    pub(super) fn is_connected(
        &self,
        error: impl Fn(&T) -> io::Result<Option<io::Error>>,
        peer: impl Fn(&T) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Err(state) = peer(&self.io) else {
            return Ok(true);
        };
        if let Some(error) = error(&self.io)? {
            return Err(error);
        }
        if state.kind() != ErrorKind::NotConnected {
            return Err(state);
        }
        // A spurious edge: the connection is still being made.
        self.watch
            .bits
            .would_block(&self.watch.core, Direction::Write)?;
        Ok(false)
    }

    /// Tries a call, unless the socket is known not to be ready. `None` = it is not.
    #[inline(always)]
    pub(super) fn attempt<V>(
        &self,
        direction: Direction,
        mut call: impl FnMut(&T) -> io::Result<V>,
    ) -> io::Result<Option<V>> {
        if !self.watch.bits.is_ready(direction) {
            return Ok(None);
        }
        self.watch.core.spend();
        loop {
            match call(&self.io) {
                Ok(value) => return Ok(Some(value)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.watch.bits.would_block(&self.watch.core, direction)?;
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[inline(always)]
    pub(super) fn count_read(&self, bytes: usize) {
        self.watch.core.count_read(bytes);
    }

    #[inline(always)]
    pub(super) fn count_write(&self, bytes: usize) {
        self.watch.core.count_write(bytes);
    }
}

impl<T> Watched<T> {
    #[inline]
    pub(super) fn io(&self) -> &T {
        &self.io
    }

    #[cfg(test)]
    pub(super) fn bits(&self) -> &Rc<Bits> {
        &self.watch.bits
    }

    #[inline]
    pub(super) fn readiness(&self, direction: Direction) -> Readiness<'_> {
        Readiness(Kind::Kernel(&self.watch, direction))
    }

    pub(super) fn wait_ready(&self, direction: Direction) -> io::Result<()> {
        self.watch.wait_ready(direction)
    }
}

impl<T> Waits for Watched<T> {
    #[inline(always)]
    fn begin(&self) -> io::Result<()> {
        self.watch.begin()
    }

    fn wait(&self, direction: Direction) -> io::Result<()> {
        self.watch.wait(direction)
    }
}

/// The calls of streams. Each is one call of the system, also with several buffers.
impl<T: Socket> Watched<T>
where
    for<'a> &'a T: Read + Write,
{
    #[inline]
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.read_with(buffer.len(), |mut io| io.read(buffer))
    }

    pub(super) fn try_read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
    ) -> io::Result<Option<usize>> {
        let count = buffers.len().min(VECTORED_BUFFERS_MAX);
        let buffers = &mut buffers[..count];
        let asked = buffers.iter().map(|buffer| buffer.len()).sum();
        self.read_with(asked, |mut io| io.read_vectored(buffers))
    }

    #[inline]
    pub(super) fn try_write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        self.write_with(data.len(), |mut io| io.write(data))
    }

    pub(super) fn try_write_vectored(&self, data: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let data = &data[..data.len().min(VECTORED_BUFFERS_MAX)];
        // Slices may overlap, and so be longer together than memory is.
        let asked = data
            .iter()
            .fold(0_usize, |n, part| n.saturating_add(part.len()));
        self.write_with(asked, |mut io| io.write_vectored(data))
    }

    #[inline(always)]
    fn read_with(
        &self,
        asked: usize,
        call: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        if asked == 0 {
            return Ok(Some(0));
        }
        let read = self.attempt(Direction::Read, call)?;
        if let Some(n) = read {
            if T::SHORT_READ_IS_ALL && n > 0 && n < asked {
                // The next edge tells of more.
                self.watch.bits.fell_short(Direction::Read);
            }
            self.count_read(n);
        }
        Ok(read)
    }

    #[inline(always)]
    fn write_with(
        &self,
        asked: usize,
        call: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        if asked == 0 {
            return Ok(Some(0));
        }
        let written = self
            .attempt(Direction::Write, call)
            .inspect_err(|_| self.watch.bits.write_failed())?;
        if let Some(n) = written {
            if n < asked {
                self.watch.bits.fell_short(Direction::Write);
            }
            self.count_write(n);
        }
        Ok(written)
    }
}

impl<T: fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}
