//! TCP sockets, of the kernel or of the simulated world. Without the feature `sim` they are mio's
//! own.

#[cfg(feature = "sim")]
pub(crate) use self::two_sides::{Listener, Stream};
#[cfg(not(feature = "sim"))]
pub(crate) use mio::net::{TcpListener as Listener, TcpStream as Stream};

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Begins to connect a socket of the kernel that `prepare` was given first.
fn connect_prepared(
    address: SocketAddr,
    prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<mio::net::TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    let stream = Type::STREAM.nonblocking();
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let stream = Type::STREAM;
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, stream, Some(Protocol::TCP))?;
    // There it takes no call of its own.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    socket.set_nonblocking(true)?;
    prepare(socket.as_fd())?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(mio::net::TcpStream::from_std(socket.into())),
    }
}

/// As `Stream::connect`, with a socket that `prepare` was given before; in the simulated world there
/// is nothing to give it.
pub(crate) fn connect_with(
    address: SocketAddr,
    prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<Stream> {
    #[cfg(feature = "sim")]
    if crate::world::sides::in_simulator() {
        return Stream::connect(address);
    }
    let stream = connect_prepared(address, prepare)?;
    #[cfg(feature = "sim")]
    let stream = Stream::Real(stream);
    Ok(stream)
}

#[cfg(feature = "sim")]
mod two_sides {
    use std::io::{self, IoSlice, IoSliceMut, Read, Write};
    use std::net::{Shutdown, SocketAddr};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use mio::net::{TcpListener, TcpStream};

    use crate::core;
    use crate::sim::Tcp;
    use crate::world::sides::{read_parts, write_parts};

    /// A connection.
    #[derive(Debug)]
    pub(crate) enum Stream {
        Real(TcpStream),
        Sim(Tcp),
    }

    impl Stream {
        pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
            match core::current() {
                Some(core) if core.sim.is_some() => Tcp::connect(&core, address).map(Self::Sim),
                _ => TcpStream::connect(address).map(Self::Real),
            }
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            match self {
                Self::Real(io) => io.take_error(),
                Self::Sim(io) => Ok(io.take_error()),
            }
        }

        pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
            match self {
                Self::Real(io) => io.peer_addr(),
                Self::Sim(io) => io.peer_addr(),
            }
        }

        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            match self {
                Self::Real(io) => io.local_addr(),
                Self::Sim(io) => io.local_addr(),
            }
        }

        pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
            match self {
                Self::Real(io) => io.peek(buffer),
                Self::Sim(io) => io.peek(buffer),
            }
        }

        pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
            match self {
                Self::Real(io) => io.set_nodelay(nodelay),
                // Nothing is ever held back in the simulated network.
                Self::Sim(_) => Ok(()),
            }
        }

        pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            match self {
                Self::Real(io) => io.shutdown(how),
                Self::Sim(io) => io.shutdown(how),
            }
        }
    }

    impl Read for &Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self {
                Stream::Real(io) => (&*io).read(buffer),
                Stream::Sim(io) => io.read(buffer),
            }
        }

        fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            match self {
                Stream::Real(io) => (&*io).read_vectored(buffers),
                Stream::Sim(io) => read_parts(buffers, |bytes| io.read(bytes)),
            }
        }
    }

    impl Write for &Stream {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            match self {
                Stream::Real(io) => (&*io).write(data),
                Stream::Sim(io) => io.write(data),
            }
        }

        fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            match self {
                Stream::Real(io) => (&*io).write_vectored(buffers),
                Stream::Sim(io) => write_parts(buffers, |bytes| io.write(bytes)),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsRawFd for Stream {
        fn as_raw_fd(&self) -> RawFd {
            match self {
                Self::Real(io) => io.as_raw_fd(),
                Self::Sim(io) => io.number(),
            }
        }
    }

    impl AsFd for Stream {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self {
                Self::Real(io) => io.as_fd(),
                Self::Sim(io) => io.as_fd(),
            }
        }
    }

    /// A socket that waits for connections.
    #[derive(Debug)]
    pub(crate) enum Listener {
        Real(TcpListener),
        Sim(Tcp),
    }

    impl Listener {
        pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
            match core::current() {
                Some(core) if core.sim.is_some() => Tcp::listen(&core, address).map(Self::Sim),
                _ => TcpListener::bind(address).map(Self::Real),
            }
        }

        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            match self {
                Self::Real(io) => io.local_addr(),
                Self::Sim(io) => io.local_addr(),
            }
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            match self {
                Self::Real(io) => io.take_error(),
                Self::Sim(io) => Ok(io.take_error()),
            }
        }

        pub(crate) fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
            match self {
                Self::Real(io) => io.accept().map(|(io, from)| (Stream::Real(io), from)),
                Self::Sim(io) => io.accept().map(|(io, from)| (Stream::Sim(io), from)),
            }
        }
    }

    impl AsFd for Listener {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match self {
                Self::Real(io) => io.as_fd(),
                Self::Sim(io) => io.as_fd(),
            }
        }
    }

    impl AsRawFd for Listener {
        fn as_raw_fd(&self) -> RawFd {
            match self {
                Self::Real(io) => io.as_raw_fd(),
                Self::Sim(io) => io.number(),
            }
        }
    }
}
