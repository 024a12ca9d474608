//! Unix sockets, of the kernel or of the simulated world. Without the feature `sim` they are mio's
//! own.

#[cfg(feature = "sim")]
pub(crate) use self::two_sides::{Listener, Stream};
#[cfg(not(feature = "sim"))]
pub(crate) use mio::net::{UnixListener as Listener, UnixStream as Stream};

#[cfg(feature = "sim")]
mod two_sides {
    use std::io::{self, IoSlice, IoSliceMut, Read, Write};
    use std::net::Shutdown;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
    use std::path::Path;

    use mio::net::{UnixListener, UnixStream};

    use crate::net::UnixSocketAddr;
    use crate::sim;
    use crate::world::sides::{in_simulator, read_parts, write_parts};

    #[derive(Debug)]
    pub(crate) enum Stream {
        Real(UnixStream),
        Sim(Box<sim::UnixStream>),
    }

    #[derive(Debug)]
    pub(crate) enum Listener {
        Real(UnixListener),
        Sim(sim::UnixListener),
    }

    /// One call of whichever side it is.
    macro_rules! either {
        ($self:ident, $io:ident => $call:expr) => {
            match $self {
                Self::Real($io) => $call,
                Self::Sim($io) => $call,
            }
        };
    }

    impl Stream {
        fn simulated(io: sim::UnixStream) -> Self {
            Self::Sim(Box::new(io))
        }

        pub(crate) fn connect(path: &Path) -> io::Result<Self> {
            if in_simulator() {
                return sim::UnixStream::connect(path).map(Self::simulated);
            }
            UnixStream::connect(path).map(Self::Real)
        }

        pub(crate) fn connect_addr(address: &UnixSocketAddr) -> io::Result<Self> {
            if in_simulator() {
                return sim::UnixStream::connect_addr(address).map(Self::simulated);
            }
            UnixStream::connect_addr(address).map(Self::Real)
        }

        pub(crate) fn pair() -> io::Result<(Self, Self)> {
            if in_simulator() {
                let (one, other) = sim::UnixStream::pair()?;
                return Ok((Self::simulated(one), Self::simulated(other)));
            }
            let (one, other) = UnixStream::pair()?;
            Ok((Self::Real(one), Self::Real(other)))
        }

        pub(crate) fn local_addr(&self) -> io::Result<UnixSocketAddr> {
            either!(self, io => io.local_addr())
        }

        pub(crate) fn peer_addr(&self) -> io::Result<UnixSocketAddr> {
            either!(self, io => io.peer_addr())
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            either!(self, io => io.take_error())
        }

        pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            either!(self, io => io.shutdown(how))
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
            either!(self, io => io.as_fd())
        }
    }

    impl Listener {
        pub(crate) fn bind(path: &Path) -> io::Result<Self> {
            if in_simulator() {
                return sim::UnixListener::bind(path).map(Self::Sim);
            }
            UnixListener::bind(path).map(Self::Real)
        }

        pub(crate) fn bind_addr(address: &UnixSocketAddr) -> io::Result<Self> {
            if in_simulator() {
                return sim::UnixListener::bind_addr(address).map(Self::Sim);
            }
            UnixListener::bind_addr(address).map(Self::Real)
        }

        pub(crate) fn local_addr(&self) -> io::Result<UnixSocketAddr> {
            either!(self, io => io.local_addr())
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            either!(self, io => io.take_error())
        }

        pub(crate) fn accept(&self) -> io::Result<(Stream, UnixSocketAddr)> {
            match self {
                Self::Real(io) => io.accept().map(|(io, from)| (Stream::Real(io), from)),
                Self::Sim(io) => io.accept().map(|(io, from)| (Stream::simulated(io), from)),
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

    impl AsFd for Listener {
        fn as_fd(&self) -> BorrowedFd<'_> {
            either!(self, io => io.as_fd())
        }
    }
}
