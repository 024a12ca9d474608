//! TCP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::core;
use crate::net::stream::{listener_calls, stream_calls};
use crate::net::watched::{Socket, Watched};
use crate::net::{Readiness, begin_call, until};
use crate::sync::Source as _;
use crate::world::net::Direction;
use crate::world::tcp::{Listener, Stream, connect_with};

impl Socket for Stream {
    const SHORT_READ_IS_ALL: bool = true;
}

impl Socket for Listener {}

/// A TCP connection.
pub struct TcpStream(Watched<Stream>);

impl TcpStream {
    /// Connects to `address`. Yields until connected; dropped halfway when its scope is over.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or that the wait ended early, see [`crate::cause`].
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_by(|| Stream::connect(address))
    }

    /// As [`Self::connect`], by a socket that `prepare` is given before, not connected yet: to set
    /// options, or to bind it to an address of its own. In the simulator `prepare` is not called,
    /// because there is no socket of the kernel.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`], and what `prepare` answers.
    pub fn connect_with(
        address: SocketAddr,
        prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<Self> {
        Self::connect_by(|| connect_with(address, prepare))
    }

    fn connect_by(begin: impl FnOnce() -> io::Result<Stream>) -> io::Result<Self> {
        begin_call(&*core::required()?)?;
        let connected = Watched::connected(begin()?, Stream::take_error, has_peer)?;
        Ok(Self(connected))
    }

    /// Begins what [`Self::connect_with`] does. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`Self::connect_with`], as far as it comes.
    pub fn begin(
        address: SocketAddr,
        prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<TcpConnecting> {
        begin_call(&*core::required()?)?;
        Watched::connecting(connect_with(address, prepare)?).map(TcpConnecting)
    }

    #[cfg(test)]
    pub(crate) fn bits(&self) -> &crate::world::net::Readiness {
        self.0.bits()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().local_addr()
    }

    /// Sends small writes at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.io().set_nodelay(nodelay)
    }

    /// Reads what is there and leaves it there. Yields until something is, or the end of data.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or that the wait ended early, see [`crate::cause`].
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        until(self, Direction::Read, || {
            self.0.attempt(Direction::Read, |io| io.peek(buffer))
        })
    }
}

stream_calls!(TcpStream);

fn has_peer(io: &Stream) -> io::Result<()> {
    io.peer_addr().map(|_address| ())
}

/// A TCP connection that is being made, for who does other things meanwhile. Dropping it gives it up.
pub struct TcpConnecting(Watched<Stream>);

impl TcpConnecting {
    /// The end of connecting, well or not, as something to select on.
    #[must_use]
    pub fn ended(&self) -> Readiness<'_> {
        self.0.readiness(Direction::Write)
    }

    /// The connection, or this as it is while that is still being made. Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn finish(self) -> io::Result<Result<TcpStream, Self>> {
        if !self.ended().is_ready() || !self.0.is_connected(Stream::take_error, has_peer)? {
            return Ok(Err(self));
        }
        Ok(Ok(TcpStream(self.0)))
    }
}

impl fmt::Debug for TcpConnecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A socket that waits for TCP connections.
pub struct TcpListener(Watched<Listener>);

impl TcpListener {
    /// Listens on `address`; port 0 lets the system choose. Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or [`crate::Stopped::NoRuntime`].
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Watched::here(|| Listener::bind(address)).map(Self)
    }
}

listener_calls!(TcpListener, TcpStream, SocketAddr);
