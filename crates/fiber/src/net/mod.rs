//! Sockets and pipes with the names of std, whose calls park only the calling fiber.
//!
//! `&T` reads and writes as well as `T`, so that one fiber can read while another writes. Any
//! number of fibers may wait in each direction. A call is tried first and waits only when the
//! kernel has nothing; after 128 calls without a wait a fiber gives up its turn. The `try_` form
//! of a call neither waits nor yields, and answers `None` where the other would wait.

mod pipe;
mod stream;
mod tcp;
mod udp;
mod unix;
mod watched;

pub use std::net::Shutdown;

pub use self::pipe::{PipeStream, pipe};
pub use self::stream::VECTORED_BUFFERS_MAX;
pub use self::tcp::{TcpConnecting, TcpListener, TcpStream};
pub use self::udp::UdpSocket;
pub use self::unix::{
    UNIX_CONNECT_PAUSE_MAX, UNIX_CONNECT_PAUSE_MIN, UnixListener, UnixSocketAddr, UnixStream,
};

use std::io;

use self::watched::Watch;
use crate::core::Core;
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitReason};
use crate::sync::Source;
use crate::world::net::Direction;

/// One direction of a socket or pipe, as something to [`crate::select`] on.
#[derive(Clone, Copy, Debug)]
pub struct Readiness<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Kernel(&'a Watch, Direction),
    Pipe(&'a PipeStream, Direction),
}

impl Readiness<'_> {
    /// Has the kernel tell nothing of this socket any more, in either direction, until a call finds it not
    /// ready or somebody waits for it: what comes meanwhile does not wake the event loop. For who knows
    /// when to look at it next. The socket counts as ready from here on, as one that is new does: the next call
    /// finds out. A fiber that reads or writes it now looks again, waits on, and so has it watched again; one that
    /// selects on it is told that it is ready. Where the kernel then has no memory to watch it, that call fails. Nothing
    /// happens to a pipe in memory, which the kernel knows nothing of. Does not yield.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn poll(stream: &fiber::net::TcpStream) -> std::io::Result<()> {
    /// use std::time::Duration;
    ///
    /// // A meter that speaks up to ten thousand times a second is heard a thousand times.
    /// let mut buffer = [0; 4096];
    /// while stream.try_read(&mut buffer)? != Some(0) {
    ///     stream.readable().unwatch();
    ///     fiber::sleep(Duration::from_millis(1))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn unwatch(&self) {
        if let Kind::Kernel(watch, _) = self.0 {
            watch.unwatch();
        }
    }

    /// Has the kernel tell of this socket, if it does not yet: from here on it counts as ready only once
    /// the kernel has said so. For who looks whether it is ready, and does not try. Does not yield.
    ///
    /// # Errors
    ///
    /// What the system answered when it could not watch the descriptor.
    pub fn watch(&self) -> io::Result<()> {
        match self.0 {
            Kind::Kernel(watch, _) => watch.watch(),
            Kind::Pipe(..) => Ok(()),
        }
    }
}

impl Source for Readiness<'_> {
    #[inline]
    fn is_ready(&self) -> bool {
        match self.0 {
            Kind::Kernel(watch, direction) => watch.is_ready(direction),
            Kind::Pipe(pipe, direction) => pipe.is_ready(direction),
        }
    }

    #[inline]
    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        match self.0 {
            Kind::Kernel(watch, direction) => watch.link(direction, waiter),
            Kind::Pipe(pipe, direction) => pipe.link(direction, waiter),
        }
    }

    #[inline]
    fn stand(&self, waiter: Unparker) -> io::Result<Option<Link>> {
        match self.0 {
            Kind::Kernel(watch, direction) => watch.stand(direction, waiter),
            Kind::Pipe(pipe, direction) => pipe.link(direction, waiter).map(Some),
        }
    }

    #[inline]
    fn unlink(&self, link: Link) {
        match self.0 {
            Kind::Kernel(watch, direction) => watch.unlink(direction, link),
            Kind::Pipe(pipe, direction) => pipe.unlink(direction, link),
        }
    }
}

/// What the waiting form of a call stands on.
trait Waits {
    /// What comes before each call that may wait: the scope is not over, and the turn is given up
    /// from time to time.
    fn begin(&self) -> io::Result<()>;

    /// Parks until something changed in one direction. It may be nothing: look again.
    fn wait(&self, direction: Direction) -> io::Result<()>;
}

/// Makes the waiting form of a call out of the one that does not wait.
#[inline(always)]
fn until<T>(
    waits: &impl Waits,
    direction: Direction,
    mut attempt: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    waits.begin()?;
    loop {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        waits.wait(direction)?;
    }
}

fn reason(direction: Direction) -> WaitReason {
    match direction {
        Direction::Read => WaitReason::Readable,
        Direction::Write => WaitReason::Writable,
    }
}

#[inline(always)]
fn begin_call(core: &Core) -> Result<(), Stopped> {
    core.check()?;
    core.yield_if_spent()
}

impl Core {
    /// Counts a read that succeeded, and what it moved.
    #[inline(always)]
    fn count_read(&self, bytes: usize) {
        self.spend_bytes(bytes);
        self.counters.reads.add(1);
        self.counters.bytes_read.add(bytes as u64);
    }

    /// As [`Core::count_read`], for a write.
    #[inline(always)]
    fn count_write(&self, bytes: usize) {
        self.spend_bytes(bytes);
        self.counters.writes.add(1);
        self.counters.bytes_written.add(bytes as u64);
    }
}
