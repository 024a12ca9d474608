//! TCP.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;

use crate::core::{self, Core};
use crate::net::{Kind, Readiness, begin_call, wait_ready};
use crate::world::net::{Direction, Readiness as Bits};

/// A TCP connection.
pub struct TcpStream {
    io: mio::net::TcpStream,
    bits: Rc<Bits>,
    core: Rc<Core>,
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}

impl TcpStream {
    /// Connects to `address`. Yields until connected; dropped halfway when its scope is over.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or that the wait ended early, see [`crate::cause`].
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let core = core::required()?;
        begin_call(&core)?;
        let io = mio::net::TcpStream::connect(address)?;
        let bits = Bits::connecting(io.as_raw_fd());
        let stream = Self { io, bits, core };
        loop {
            wait_ready(&stream.core, &stream.bits, Direction::Write)?;
            if let Some(error) = stream.io.take_error()? {
                return Err(error);
            }
            match stream.io.peer_addr() {
                Ok(_) => return Ok(stream),
                // A spurious edge: the connection is still being made.
                Err(error) if error.kind() == ErrorKind::NotConnected => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn accepted(io: mio::net::TcpStream, core: &Rc<Core>) -> Self {
        let bits = Bits::new(io.as_raw_fd());
        Self {
            io,
            bits,
            core: Rc::clone(core),
        }
    }

    pub(crate) fn bits(&self) -> &Rc<Bits> {
        &self.bits
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Sends small writes at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.set_nodelay(nodelay)
    }

    /// Closes one direction or both. Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.shutdown(how)
    }

    /// Reads what is there. Neither waits nor yields.
    ///
    /// `None` = nothing now; `Some(0)` = the end of data, or an empty buffer.
    ///
    /// # Errors
    ///
    /// What the kernel answered, also when it could not watch the socket.
    #[inline]
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        if !self.bits.is_ready(Direction::Read) {
            return Ok(None);
        }
        let asked = buffer.len();
        let read = self.attempt(Direction::Read, || (&self.io).read(buffer))?;
        if let Some(n) = read {
            if n > 0 && n < asked {
                // A short read of a stream took all there was: the next edge tells of more.
                self.bits.fell_short(Direction::Read);
            }
            self.core.counters.reads.add(1);
            self.core.counters.bytes_read.add(n as u64);
        }
        Ok(read)
    }

    /// Writes what the kernel takes. Neither waits nor yields.
    ///
    /// `None` = nothing now.
    ///
    /// # Errors
    ///
    /// What the kernel answered, also when it could not watch the socket.
    #[inline]
    pub fn try_write(&self, data: &[u8]) -> io::Result<Option<usize>> {
        if data.is_empty() {
            return Ok(Some(0));
        }
        if !self.bits.is_ready(Direction::Write) {
            return Ok(None);
        }
        let written = self.attempt(Direction::Write, || (&self.io).write(data))?;
        if let Some(n) = written {
            if n < data.len() {
                self.bits.fell_short(Direction::Write);
            }
            self.core.counters.writes.add(1);
            self.core.counters.bytes_written.add(n as u64);
        }
        Ok(written)
    }

    #[inline(always)]
    fn attempt(
        &self,
        direction: Direction,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        self.core.spend();
        loop {
            match call() {
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.bits.would_block(&self.core, direction)?;
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The coming of data, or of its end, as something to select on.
    #[must_use]
    pub fn readable(&self) -> Readiness<'_> {
        Readiness(Kind::Tcp(self, Direction::Read))
    }

    /// The coming of room for data, as something to select on.
    #[must_use]
    pub fn writable(&self) -> Readiness<'_> {
        Readiness(Kind::Tcp(self, Direction::Write))
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.bits.close(&self.core);
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Read for &TcpStream {
    /// Reads what is there, yielding until something is, or the end of data.
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        begin_call(&self.core)?;
        loop {
            if let Some(n) = self.try_read(buffer)? {
                return Ok(n);
            }
            wait_ready(&self.core, &self.bits, Direction::Read)?;
        }
    }
}

impl Write for &TcpStream {
    /// Writes what the kernel takes, yielding until it takes something.
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        begin_call(&self.core)?;
        loop {
            if let Some(n) = self.try_write(data)? {
                return Ok(n);
            }
            wait_ready(&self.core, &self.bits, Direction::Write)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for TcpStream {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that waits for TCP connections.
pub struct TcpListener {
    io: mio::net::TcpListener,
    bits: Rc<Bits>,
    core: Rc<Core>,
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}

impl TcpListener {
    /// Listens on `address`; port 0 lets the system choose. Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or [`crate::Stopped::NoRuntime`].
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let core = core::required()?;
        let io = mio::net::TcpListener::bind(address)?;
        let bits = Bits::new(io.as_raw_fd());
        Ok(Self { io, bits, core })
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Takes the next connection. Yields until there is one.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or that the wait ended early, see [`crate::cause`]. The
    /// listener stays good after every error.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        begin_call(&self.core)?;
        self.core.spend();
        loop {
            if self.bits.is_ready(Direction::Read) {
                match self.io.accept() {
                    Ok((io, address)) => return Ok((TcpStream::accepted(io, &self.core), address)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.bits.would_block(&self.core, Direction::Read)?;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            }
            wait_ready(&self.core, &self.bits, Direction::Read)?;
        }
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.bits.close(&self.core);
    }
}
