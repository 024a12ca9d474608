//! Sockets for datagrams, of the kernel or of the simulated world. Without the feature `sim` they
//! are mio's own.

#[cfg(feature = "sim")]
pub(crate) use self::two_sides::Datagrams;
#[cfg(not(feature = "sim"))]
pub(crate) use mio::net::UdpSocket as Datagrams;

#[cfg(feature = "sim")]
mod two_sides {
    use std::io;
    use std::net::SocketAddr;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use mio::net::UdpSocket;

    use crate::sim::Udp;
    use crate::world::sides::in_simulator;

    #[derive(Debug)]
    pub(crate) enum Datagrams {
        Real(UdpSocket),
        Sim(Udp),
    }

    /// One call of whichever side it is.
    macro_rules! either {
        ($self:ident, $io:ident => $call:expr) => {
            match $self {
                Datagrams::Real($io) => $call,
                Datagrams::Sim($io) => $call,
            }
        };
    }

    impl Datagrams {
        pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
            if in_simulator() {
                return Udp::bind(address).map(Self::Sim);
            }
            UdpSocket::bind(address).map(Self::Real)
        }

        pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<()> {
            either!(self, io => io.connect(address))
        }

        pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
            either!(self, io => io.local_addr())
        }

        pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
            either!(self, io => io.peer_addr())
        }

        pub(crate) fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
            either!(self, io => io.set_broadcast(broadcast))
        }

        pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
            either!(self, io => io.take_error())
        }

        pub(crate) fn send(&self, data: &[u8]) -> io::Result<usize> {
            either!(self, io => io.send(data))
        }

        pub(crate) fn send_to(&self, data: &[u8], address: SocketAddr) -> io::Result<usize> {
            either!(self, io => io.send_to(data, address))
        }

        pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
            either!(self, io => io.recv(buffer))
        }

        pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
            either!(self, io => io.recv_from(buffer))
        }

        pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
            either!(self, io => io.peek(buffer))
        }

        pub(crate) fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
            either!(self, io => io.peek_from(buffer))
        }
    }

    impl AsRawFd for Datagrams {
        fn as_raw_fd(&self) -> RawFd {
            match self {
                Self::Real(io) => io.as_raw_fd(),
                Self::Sim(io) => io.number(),
            }
        }
    }

    impl AsFd for Datagrams {
        fn as_fd(&self) -> BorrowedFd<'_> {
            either!(self, io => io.as_fd())
        }
    }
}
