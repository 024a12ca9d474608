//! UDP.

use std::io;
use std::net::SocketAddr;

use crate::net::stream::{socket_calls, writable_calls};
use crate::net::until;
use crate::net::watched::{Socket, Watched};
use crate::world::net::Direction;
use crate::world::udp::Datagrams;

impl Socket for Datagrams {
    const ENDS: bool = false;
}

/// A socket for UDP datagrams.
///
/// A datagram is sent and received whole: what does not fit into the buffer it is received into is
/// lost. Where the network told that an earlier datagram was refused, the next call fails with
/// that; the socket stays good.
///
/// # Examples
///
/// ```
/// use fiber::net::UdpSocket;
///
/// fiber::run(|| -> std::io::Result<()> {
///     let here = "127.0.0.1:0".parse().expect("an address");
///     let (one, other) = (UdpSocket::bind(here)?, UdpSocket::bind(here)?);
///     one.send_to(b"hello", other.local_addr()?)?;
///     let mut buffer = [0; 16];
///     let (len, from) = other.recv_from(&mut buffer)?;
///     assert_eq!((&buffer[..len], from), (&b"hello"[..], one.local_addr()?));
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket(Watched<Datagrams>);

impl UdpSocket {
    /// Makes a socket at `address`; port 0 lets the system choose. Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or [`crate::Stopped::NoRuntime`].
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Watched::here(|| Datagrams::bind(address)).map(Self)
    }

    /// Sets the one address that [`Self::send`] sends to and that datagrams are received from.
    /// Does not yield.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn connect(&self, address: SocketAddr) -> io::Result<()> {
        self.0.io().connect(address)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().local_addr()
    }

    /// The address that was set by [`Self::connect`].
    ///
    /// # Errors
    ///
    /// What the kernel answered: that there is none, for example.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.io().peer_addr()
    }

    /// Allows sending to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// What the kernel answered.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.0.io().set_broadcast(broadcast)
    }

    /// Sends a datagram to the address set by [`Self::connect`]. Yields until the kernel takes it.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or that the wait ended early, see [`crate::cause`].
    pub fn send(&self, data: &[u8]) -> io::Result<usize> {
        until(&self.0, Direction::Write, || self.try_send(data))
    }

    /// As [`Self::send`], but `None` where that would wait. Neither waits nor yields.
    ///
    /// # Errors
    ///
    /// What the kernel answered, also when it could not watch the socket.
    pub fn try_send(&self, data: &[u8]) -> io::Result<Option<usize>> {
        self.send_with(|io| io.send(data))
    }

    /// Sends a datagram to `address`. Yields until the kernel takes it.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn send_to(&self, data: &[u8], address: SocketAddr) -> io::Result<usize> {
        until(&self.0, Direction::Write, || {
            self.try_send_to(data, address)
        })
    }

    /// As [`Self::send_to`], but `None` where that would wait. Neither waits nor yields.
    ///
    /// # Errors
    ///
    /// As [`Self::try_send`].
    pub fn try_send_to(&self, data: &[u8], address: SocketAddr) -> io::Result<Option<usize>> {
        self.send_with(|io| io.send_to(data, address))
    }

    /// Receives a datagram; without a connected address from anybody. Yields until there is one.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or that the wait ended early, see [`crate::cause`].
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        until(&self.0, Direction::Read, || self.try_recv(buffer))
    }

    /// Receives a datagram that is there; `Some(0)` is an empty one. Neither waits nor yields.
    ///
    /// # Errors
    ///
    /// What the kernel answered, also when it could not watch the socket.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let received = self.0.attempt(Direction::Read, |io| io.recv(buffer))?;
        if let Some(n) = received {
            self.0.count_read(n);
        }
        Ok(received)
    }

    /// Receives a datagram, with the address it came from. Yields until there is one.
    ///
    /// # Errors
    ///
    /// As [`Self::recv`].
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        until(&self.0, Direction::Read, || self.try_recv_from(buffer))
    }

    /// As [`Self::try_recv`], with the address it came from. Neither waits nor yields.
    ///
    /// # Errors
    ///
    /// As [`Self::try_recv`].
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        let received = self.0.attempt(Direction::Read, |io| io.recv_from(buffer))?;
        if let Some((n, _)) = received {
            self.0.count_read(n);
        }
        Ok(received)
    }

    /// As [`Self::recv`], and leaves the datagram to be received.
    ///
    /// # Errors
    ///
    /// As [`Self::recv`].
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        until(&self.0, Direction::Read, || {
            self.0.attempt(Direction::Read, |io| io.peek(buffer))
        })
    }

    /// As [`Self::recv_from`], and leaves the datagram to be received.
    ///
    /// # Errors
    ///
    /// As [`Self::recv`].
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        until(&self.0, Direction::Read, || {
            self.0.attempt(Direction::Read, |io| io.peek_from(buffer))
        })
    }

    fn send_with(
        &self,
        call: impl FnMut(&Datagrams) -> io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        let sent = self.0.attempt(Direction::Write, call)?;
        if let Some(n) = sent {
            self.0.count_write(n);
        }
        Ok(sent)
    }
}

socket_calls!(UdpSocket);
writable_calls!(UdpSocket);
