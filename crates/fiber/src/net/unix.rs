//! Unix domain sockets: streams between programs of one machine.
//!
//! An address is a path in the file system or, on Linux, an abstract name that ends with its last
//! socket, see [`UnixSocketAddr`]. The file of a path is made by `bind` and stays when the listener
//! is dropped: as in std, removing it, and deciding that one found there is stale, is up to the
//! caller. A path has at most about a hundred bytes, `sun_path` of the system.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

pub use std::os::unix::net::SocketAddr as UnixSocketAddr;

use crate::core::{self, Core};
use crate::net::begin_call;
use crate::net::stream::{listener_calls, stream_calls};
use crate::net::watched::{Socket, Watched};
use crate::sync;
use crate::world::net::Direction;
use crate::world::unix::{Listener, Stream};

/// The first pause before another attempt to connect to a listener whose queue is full.
pub const UNIX_CONNECT_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest such pause; they double from [`UNIX_CONNECT_PAUSE_MIN`].
pub const UNIX_CONNECT_PAUSE_MAX: Duration = Duration::from_millis(64);

/// A read stops early at a descriptor that the peer passed along, with more behind it.
impl Socket for Stream {
    const SHORT_READ_IS_ALL: bool = false;
}

impl Socket for Listener {}

/// A stream to another program of this machine, or to this one.
pub struct UnixStream(Watched<Stream>);

impl UnixStream {
    /// Connects to the listener at `path`. Yields if that listener's queue is full, and tries
    /// again from time to time, because the system tells nobody when it has room.
    ///
    /// # Errors
    ///
    /// What the kernel answered, for example [`ErrorKind::ConnectionRefused`] for a file without a
    /// listener, or that the wait ended early, see [`crate::cause`].
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::connect_with(|| Stream::connect(path.as_ref()))
    }

    /// As [`Self::connect`], for an address of any kind.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub fn connect_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        Self::connect_with(|| Stream::connect_addr(address))
    }

    fn connect_with(attempt: impl FnMut() -> io::Result<Stream>) -> io::Result<Self> {
        let core = core::required()?;
        begin_call(&core)?;
        let io = while_full(&core, attempt)?;
        // Connecting takes no time but where the listener is on another system's terms.
        if io.peer_addr().is_ok() {
            return Watched::here(|| Ok(io)).map(Self);
        }
        let connected = Watched::connected(
            io,
            |io| io.take_error(),
            |io| io.peer_addr().map(|_address| ()),
        )?;
        Ok(Self(connected))
    }

    /// Makes two streams that are connected to each other. Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or [`crate::Stopped::NoRuntime`].
    pub fn pair() -> io::Result<(Self, Self)> {
        let mut other = None;
        let one = Watched::here(|| {
            let (one, two) = Stream::pair()?;
            other = Some(two);
            Ok(one)
        })?;
        let other = other.ok_or(ErrorKind::NotConnected)?;
        let other = one.beside(other);
        Ok((Self(one), Self(other)))
    }

    /// The address of the other end; unnamed where that end connected.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn peer_addr(&self) -> io::Result<UnixSocketAddr> {
        self.0.io().peer_addr()
    }

    /// The address of this end; unnamed where this end connected.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn local_addr(&self) -> io::Result<UnixSocketAddr> {
        self.0.io().local_addr()
    }
}

stream_calls!(UnixStream);

/// Makes an attempt, and another after a pause as long as the listener's queue is full.
fn while_full<T>(core: &Core, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = UNIX_CONNECT_PAUSE_MIN;
    loop {
        core.spend();
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                sync::sleep(pause)?;
                pause = (2 * pause).min(UNIX_CONNECT_PAUSE_MAX);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// A socket that waits for connections of programs of this machine.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::linux::net::SocketAddrExt;
/// use fiber::net::{UnixListener, UnixSocketAddr, UnixStream};
///
/// fiber::run(|| -> std::io::Result<()> {
///     let name = format!("example of {}", std::process::id());
///     let listener = UnixListener::bind_addr(&UnixSocketAddr::from_abstract_name(&name)?)?;
///     let mut near = UnixStream::connect_addr(&listener.local_addr()?)?;
///     let (mut far, _) = listener.accept()?;
///     near.write_all(b"hello")?;
///     let mut text = [0; 5];
///     far.read_exact(&mut text)?;
///     assert_eq!(&text, b"hello");
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener(Watched<Listener>);

impl UnixListener {
    /// Listens at `path`, where it makes a file. Does not yield.
    ///
    /// The file is left behind when the listener is dropped. Who may connect is up to the
    /// permissions of the file and of the folders above it.
    ///
    /// # Errors
    ///
    /// What the kernel answered, for example [`ErrorKind::AddrInUse`] when there is a file already,
    /// whoever left it; [`crate::Stopped::NoRuntime`].
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Watched::here(|| Listener::bind(path.as_ref())).map(Self)
    }

    /// As [`Self::bind`], for an address of any kind.
    ///
    /// # Errors
    ///
    /// As [`Self::bind`].
    pub fn bind_addr(address: &UnixSocketAddr) -> io::Result<Self> {
        Watched::here(|| Listener::bind_addr(address)).map(Self)
    }
}

listener_calls!(UnixListener, UnixStream, UnixSocketAddr);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instant, Runtime, Stopped, cause, timeout};

    /// Answers that the queue is full `times` times, and notes when it was asked.
    fn full(times: usize, asked: &mut Vec<Instant>) -> io::Result<()> {
        asked.push(Instant::now());
        if asked.len() > times {
            return Ok(());
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn on_paused_clock(body: impl FnOnce(&Core) + 'static) {
        let run = || body(&core::required().unwrap());
        Runtime::builder().paused_clock(true).run(run).unwrap();
    }

    #[test]
    fn a_full_queue_is_asked_again_after_pauses_that_grow_to_a_bound() {
        on_paused_clock(|core| {
            let mut asked = Vec::new();
            while_full(core, || full(9, &mut asked)).unwrap();
            let pauses: Vec<_> = asked
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).as_millis())
                .collect();
            assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        });
    }

    #[test]
    fn the_wait_for_a_full_queue_obeys_the_scope_around_it() {
        on_paused_clock(|core| {
            let limit = Duration::from_millis(10);
            let ended = timeout(limit, || {
                while_full(core, || full(usize::MAX, &mut Vec::new()))
            });
            let error = ended.unwrap_err().0.unwrap_err();
            assert_eq!(cause(&error), Some(Stopped::TimedOut));
        });
    }
}
