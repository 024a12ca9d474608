//! Simulated sockets for datagrams. What is sent is lost, doubled and overtaken as the way says;
//! where nobody waits for it a connected sender learns so, as by ICMP.
//!
//! Not here: broadcast and multicast, which are `Unsupported`.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use crate::core;
use crate::sim::host::address_of;
use crate::sim::sockets::{SEND_BUFFER_BYTES, Socket, system};
use crate::sim::state::State;
use crate::sim::{stand_in, world};

/// Bytes of a datagram, at most.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Bytes of datagrams that came and were not received yet; one more is lost.
const RECEIVE_BUFFER_BYTES: usize = 208 * 1024;

/// What the kernel keeps of one socket.
pub(crate) struct Datagrams {
    pub(crate) host: u32,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    received: VecDeque<(SocketAddr, Vec<u8>)>,
    received_bytes: usize,
    /// Bytes that have not left.
    outstanding: usize,
    free_at: u64,
    last_arrival: u64,
    error: Option<i32>,
    may_broadcast: bool,
}

impl Datagrams {
    pub(crate) fn is_readable(&self) -> bool {
        !self.received.is_empty() || self.error.is_some()
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.error.is_some() || self.outstanding < SEND_BUFFER_BYTES
    }

    fn check(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |code| Err(system(code)))
    }

    /// Whether a datagram from one address to another is this socket's; a connected one is meant
    /// before one that takes all.
    fn takes(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let ip = self.local.ip();
        self.local.port() == to.port()
            && (ip.is_unspecified() || ip == to.ip())
            && self.peer.is_none_or(|peer| peer == from)
    }
}

/// A socket as the program holds it.
pub(crate) struct Udp {
    state: Rc<State>,
    fd: RawFd,
    stand_in: Rc<OwnedFd>,
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp")
            .field("number", &self.fd)
            .finish_non_exhaustive()
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.state.close(self.fd);
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stand_in.as_fd()
    }
}

fn loopback_like(address: SocketAddr) -> IpAddr {
    match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

impl Udp {
    pub(crate) fn number(&self) -> RawFd {
        self.fd
    }

    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let core = core::required()?;
        let state = world(&core)?;
        let host = state.current_host(&core);
        let ip = address.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && ip != address_of(host) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let mut local = address;
        if local.port() == 0 {
            local.set_port(state.net.port());
        } else if state.is_bound(host, local) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let stand_in = stand_in()?;
        let fd = state.net.add(Socket::Datagrams(Box::new(Datagrams {
            host,
            local,
            peer: None,
            received: VecDeque::new(),
            received_bytes: 0,
            outstanding: 0,
            free_at: 0,
            last_arrival: 0,
            error: None,
            may_broadcast: false,
        })));
        Ok(Self {
            state,
            fd,
            stand_in,
        })
    }

    /// Looks at the socket; its machine may have crashed.
    fn with<T>(&self, look: impl FnOnce(&mut Datagrams) -> io::Result<T>) -> io::Result<T> {
        let looked = self.state.net.datagrams(self.fd, look);
        looked.ok_or(ErrorKind::NotConnected)?
    }

    pub(crate) fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.with(|socket| {
            socket.peer = Some(peer);
            if socket.local.ip().is_unspecified() {
                let ip = source(socket, peer);
                socket.local.set_ip(ip);
            }
            Ok(())
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with(|socket| Ok(socket.local))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.with(|socket| socket.peer.ok_or_else(|| ErrorKind::NotConnected.into()))
    }

    pub(crate) fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.with(|socket| {
            socket.may_broadcast = broadcast;
            Ok(())
        })
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.with(|socket| Ok(socket.error.take().map(system)))
    }

    pub(crate) fn send(&self, data: &[u8]) -> io::Result<usize> {
        let peer = self.with(|socket| socket.peer.ok_or_else(|| system(libc::EDESTADDRREQ)))?;
        self.send_to(data, peer)
    }

    pub(crate) fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        let way = self.with(|socket| {
            socket.check()?;
            if data.len() > DATAGRAM_BYTES_MAX {
                return Err(system(libc::EMSGSIZE));
            }
            if socket.outstanding > 0 && socket.outstanding + data.len() > SEND_BUFFER_BYTES {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.state.way_of(socket, to)
        })?;
        self.state.send_datagram(self.fd, way, to, data);
        Ok(data.len())
    }

    /// What is there, as much as fits into `buffer`, which is taken or left.
    fn next(&self, buffer: &mut [u8], takes: bool) -> io::Result<(usize, SocketAddr)> {
        self.with(|socket| {
            socket.check()?;
            let (from, data) = socket.received.front().ok_or(ErrorKind::WouldBlock)?;
            let (from, len) = (*from, data.len());
            let n = len.min(buffer.len());
            buffer[..n].copy_from_slice(&data[..n]);
            if takes {
                socket.received_bytes -= len;
                socket.received.pop_front();
            }
            Ok((n, from))
        })
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer, true).map(|(n, _)| n)
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.next(buffer, true)
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer, false).map(|(n, _)| n)
    }

    pub(crate) fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.next(buffer, false)
    }
}

/// The address that a socket's datagrams to `to` come from.
fn source(socket: &Datagrams, to: SocketAddr) -> IpAddr {
    let ip = socket.local.ip();
    if !ip.is_unspecified() {
        ip
    } else if to.ip().is_loopback() {
        loopback_like(to)
    } else {
        address_of(socket.host)
    }
}

impl State {
    fn is_bound(&self, at: u32, address: SocketAddr) -> bool {
        let sockets = self.net.sockets.borrow();
        sockets.values().any(|socket| match socket {
            Socket::Datagrams(other) => {
                let (ip, own) = (address.ip(), other.local.ip());
                other.host == at
                    && other.local.port() == address.port()
                    && (ip == own || ip.is_unspecified() || own.is_unspecified())
            }
            _ => false,
        })
    }

    /// The machines that a datagram leads from and to.
    fn way_of(&self, socket: &Datagrams, to: SocketAddr) -> io::Result<(u32, u32)> {
        let ip = to.ip();
        if socket.local.is_ipv4() != to.is_ipv4() {
            return Err(system(libc::EAFNOSUPPORT));
        }
        if ip == IpAddr::V4(Ipv4Addr::BROADCAST) && !socket.may_broadcast {
            return Err(system(libc::EACCES));
        }
        if ip == IpAddr::V4(Ipv4Addr::BROADCAST) || ip.is_multicast() {
            return Err(ErrorKind::Unsupported.into());
        }
        if to.port() == 0 {
            return Err(system(libc::EINVAL));
        }
        if ip.is_loopback() {
            return Ok((socket.host, socket.host));
        }
        if socket.local.ip().is_loopback() {
            return Err(system(libc::EINVAL));
        }
        let peer = self.machines.at(ip);
        let peer = peer.ok_or_else(|| system(libc::EHOSTUNREACH))?;
        Ok((socket.host, peer))
    }

    /// Sends a datagram on its way, which may be the last that is heard of it.
    fn send_datagram(&self, fd: RawFd, way: (u32, u32), to: SocketAddr, data: &[u8]) {
        let now = self.now();
        let len = data.len();
        let (sending, copies) = self
            .links
            .with(way, |way| (way.sending(len), way.copies(&self.chances)));
        let left = self.net.datagrams(fd, |socket| {
            socket.free_at = socket.free_at.max(now).saturating_add(sending);
            socket.outstanding += len;
            let from = SocketAddr::new(source(socket, to), socket.local.port());
            (from, socket.free_at)
        });
        let Some((from, left)) = left else { return };
        if sending > 0 {
            self.schedule_at(left, move |state, _| state.datagram_left(fd, len));
        } else {
            self.net.datagrams(fd, |socket| socket.outstanding -= len);
        }
        for copy in copies {
            let at = self.net.datagrams(fd, |socket| {
                let at = left.saturating_add(copy.nanos);
                if copy.is_overtaken {
                    return at;
                }
                socket.last_arrival = at.max(socket.last_arrival + 1);
                socket.last_arrival
            });
            let Some(at) = at else { return };
            let data = data.to_vec();
            self.schedule_at(at, move |state, _| {
                state.datagram_came(fd, way, from, to, data)
            });
        }
    }

    fn datagram_left(&self, fd: RawFd, len: usize) {
        self.net.datagrams(fd, |socket| socket.outstanding -= len);
        self.edge(fd);
    }

    fn datagram_came(
        &self,
        sender: RawFd,
        way: (u32, u32),
        from: SocketAddr,
        to: SocketAddr,
        data: Vec<u8>,
    ) {
        if !self.is_open(way) {
            return;
        }
        let meant = {
            let sockets = self.net.sockets.borrow();
            let meant = sockets.iter().filter_map(|(&fd, socket)| match socket {
                Socket::Datagrams(socket) if socket.host == way.1 && socket.takes(from, to) => {
                    Some((socket.peer.is_some(), fd))
                }
                _ => None,
            });
            meant.max().map(|(_, fd)| fd)
        };
        let Some(meant) = meant else {
            self.refuse_datagram(sender, (way.1, way.0), to);
            return;
        };
        self.net.datagrams(meant, |socket| {
            if socket.received_bytes + data.len() <= RECEIVE_BUFFER_BYTES {
                socket.received_bytes += data.len();
                socket.received.push_back((from, data));
            }
        });
        self.edge(meant);
    }

    /// A sender that is connected learns that nobody is there, if the word of it comes back.
    fn refuse_datagram(&self, sender: RawFd, back: (u32, u32), to: SocketAddr) {
        let copies = self.links.with(back, |way| way.copies(&self.chances));
        for copy in copies {
            let at = self.now().saturating_add(copy.nanos);
            self.schedule_at(at, move |state, _| {
                if !state.is_open(back) {
                    return;
                }
                state.net.datagrams(sender, |socket| {
                    if socket.peer == Some(to) {
                        socket.error = Some(libc::ECONNREFUSED);
                    }
                });
                state.edge(sender);
            });
        }
    }
}
