//! A simulated TCP socket as a program holds it, and what ends many at once.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use crate::core::Core;
use crate::sim::host::address_of;
use crate::sim::sockets::{Packet, Socket, system};
use crate::sim::state::State;
use crate::sim::{stand_in, world};

/// Once in so many per million a call moves less than it could.
const SHORT_PER_MILLION: u32 = 200_000;

/// A socket of the simulated world.
pub(crate) struct Tcp {
    state: Rc<State>,
    fd: RawFd,
    stand_in: Rc<OwnedFd>,
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp")
            .field("number", &self.fd)
            .finish_non_exhaustive()
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.state.close(self.fd);
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stand_in.as_fd()
    }
}

impl Tcp {
    pub(crate) fn new(state: Rc<State>, fd: RawFd, stand_in: Rc<OwnedFd>) -> Self {
        Self {
            state,
            fd,
            stand_in,
        }
    }

    pub(crate) fn number(&self) -> RawFd {
        self.fd
    }

    pub(crate) fn listen(core: &Core, address: SocketAddr) -> io::Result<Self> {
        let state = world(core)?;
        let host = state.current_host(core);
        let ip = address.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && ip != address_of(host) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let fd = state.listen(host, address)?;
        Ok(Self::new(state, fd, stand_in()?))
    }

    pub(crate) fn connect(core: &Core, address: SocketAddr) -> io::Result<Self> {
        let state = world(core)?;
        let host = state.current_host(core);
        let peer_host = if address.ip().is_loopback() {
            host
        } else {
            // A network knows its machines: what is none of them is told at once.
            state
                .machines
                .at(address.ip())
                .ok_or_else(|| system(libc::EHOSTUNREACH))?
        };
        let own = if peer_host == host {
            address.ip()
        } else {
            address_of(host)
        };
        let local = SocketAddr::new(own, state.net.port());
        let fd = state.new_end(host, (local, address, peer_host), None, false);
        state.send(fd, Packet::Syn(address));
        Ok(Self::new(state, fd, stand_in()?))
    }

    pub(crate) fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        let accepted = match self.state.net.sockets.borrow_mut().get_mut(&self.fd) {
            Some(Socket::Listener { backlog, .. }) => backlog.pop_front(),
            _ => None,
        };
        let fd = accepted.ok_or(ErrorKind::WouldBlock)?;
        let from = self.state.net.end(fd, |end| end.peer);
        let stream = Self::new(Rc::clone(&self.state), fd, Rc::clone(&self.stand_in));
        Ok((stream, from.ok_or(ErrorKind::ConnectionAborted)?))
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.state
            .net
            .end(self.fd, |end| end.error.take())
            .flatten()
            .map(system)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        let peer = self
            .state
            .net
            .end(self.fd, |end| end.connected.then_some(end.peer));
        peer.flatten().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.state.net.sockets.borrow().get(&self.fd) {
            Some(Socket::Listener {
                local: Some(local), ..
            }) => Ok(*local),
            Some(Socket::End(end)) => Ok(end.local),
            // Its machine crashed: nobody is left to ask.
            _ => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// How much of `n` a call moves.
    fn part_of(&self, n: usize) -> usize {
        if n > 1 && self.state.chances.chance(SHORT_PER_MILLION) {
            1 + self.state.chances.index(n - 1)
        } else {
            n
        }
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.state.net.end(self.fd, |end| {
            if end.received.is_empty() {
                return match end.error.take() {
                    Some(code) => Err(system(code)),
                    None if end.fin_received || end.read_shut => Ok((0, false)),
                    None if !end.connected => Err(ErrorKind::NotConnected.into()),
                    None => Err(ErrorKind::WouldBlock.into()),
                };
            }
            let n = self.part_of(end.received.len().min(buffer.len()));
            for (to, from) in buffer.iter_mut().zip(end.received.drain(..n)) {
                *to = from;
            }
            Ok((n, !end.received.is_empty()))
        });
        let (n, has_more) = read.ok_or(ErrorKind::NotConnected)??;
        if n > 0 {
            self.state.send(self.fd, Packet::Ack(n));
        }
        if has_more && n < buffer.len() {
            // A short read has taken all there was; the rest came right after it.
            self.state.edge(self.fd);
        }
        Ok(n)
    }

    /// As `read`, and leaves it there.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peeked = self.state.net.end(self.fd, |end| {
            if end.received.is_empty() {
                return match end.error.take() {
                    Some(code) => Err(system(code)),
                    None if end.fin_received || end.read_shut => Ok(0),
                    None if !end.connected => Err(ErrorKind::NotConnected.into()),
                    None => Err(ErrorKind::WouldBlock.into()),
                };
            }
            for (to, from) in buffer.iter_mut().zip(&end.received) {
                *to = *from;
            }
            Ok(end.received.len().min(buffer.len()))
        });
        peeked.ok_or(ErrorKind::NotConnected)?
    }

    pub(crate) fn write(&self, data: &[u8]) -> io::Result<usize> {
        let state = &self.state;
        let room = state.net.end(self.fd, |end| match end.error.take() {
            Some(code) => Err(system(code)),
            None if end.dead || end.write_shut => Err(ErrorKind::BrokenPipe.into()),
            None if !end.connected => Err(ErrorKind::NotConnected.into()),
            None if end.is_unix => Ok((end.room(), Err(end.peer_fd))),
            None => Ok((end.room(), Ok((end.host, end.peer_host)))),
        });
        let (room, way) = room.ok_or(ErrorKind::NotConnected)??;
        if let Err(peer) = way
            && !state.is_read(peer)
        {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let fits = room.min(data.len());
        if fits == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = self.part_of(fits);
        let cut = way.ok().and_then(|way| {
            state.links.with(way, |way| {
                let left = way.cut_after?;
                let passes = usize::try_from(left).unwrap_or(usize::MAX);
                let is_cut = n > passes;
                way.cut_after = (!is_cut).then(|| left - n as u64);
                is_cut.then_some(passes)
            })
        });
        state.net.end(self.fd, |end| end.outstanding += n);
        for segment in State::segments(&data[..cut.unwrap_or(n)]) {
            state.send(self.fd, Packet::Data(segment));
        }
        if cut.is_some() {
            state.send(self.fd, Packet::Cut);
        }
        if n < fits {
            state.edge(self.fd);
        }
        Ok(n)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let says_end = self.state.net.end(self.fd, |end| {
            if !end.connected || end.dead {
                return Err(ErrorKind::NotConnected.into());
            }
            let writes = matches!(how, Shutdown::Write | Shutdown::Both);
            end.read_shut |= matches!(how, Shutdown::Read | Shutdown::Both);
            let says_end = writes && !end.write_shut;
            end.write_shut |= writes;
            Ok(says_end)
        });
        let says_end: io::Result<bool> = says_end.ok_or(ErrorKind::NotConnected)?;
        if says_end? {
            self.state.send(self.fd, Packet::Fin);
        }
        self.state.edge(self.fd);
        Ok(())
    }
}

impl State {
    fn ends(&self, is_meant: impl Fn((u32, u32)) -> bool) -> Vec<RawFd> {
        let sockets = self.net.sockets.borrow();
        let meant = sockets.iter().filter(|(_, socket)| match socket {
            Socket::End(end) => !end.is_unix && is_meant((end.host, end.peer_host)),
            _ => false,
        });
        meant.map(|(&fd, _)| fd).collect()
    }

    /// What could not arrive so far is sent again on the ways that are meant.
    pub(crate) fn resend(&self, is_meant: impl Fn((u32, u32)) -> bool) {
        for fd in self.ends(is_meant) {
            let way = self.net.end(fd, |end| (end.host, end.peer_host));
            let Some(way) = way else { continue };
            let travelling = self.links.with(way, |way| self.chances.nanos(&way.latency));
            let at = self.now().saturating_add(travelling);
            let held = self.net.end(fd, |end| {
                let first = end.queue.front_mut().filter(|_| end.held_since.is_some())?;
                first.0 = first.0.max(at);
                end.last_arrival = end.last_arrival.max(at);
                Some(())
            });
            if held.flatten().is_some() {
                self.schedule_at(at, move |state, _| state.pump(fd));
            }
        }
    }

    pub(crate) fn reset_between(&self, way: (u32, u32)) {
        for fd in self.ends(|(from, to)| (from, to) == way || (to, from) == way) {
            self.net.end(fd, |end| end.fail(libc::ECONNRESET));
            self.edge(fd);
        }
    }

    pub(crate) fn silence(&self, way: (u32, u32)) {
        for fd in self.ends(|of| of == way) {
            self.net.end(fd, |end| end.silent = true);
        }
    }

    /// What becomes of the sockets of a machine that crashed: its system closes them, or nothing
    /// of them is left.
    pub(crate) fn crash_sockets(&self, host: u32, stays_on: bool) {
        let own: Vec<RawFd> = {
            let sockets = self.net.sockets.borrow();
            let own = sockets.iter().filter(|(_, socket)| socket.host() == host);
            own.map(|(&fd, _)| fd).collect()
        };
        for fd in own {
            if stays_on {
                self.close(fd);
            } else {
                self.net.sockets.borrow_mut().remove(&fd);
            }
        }
    }

    /// Whether the other end of a Unix stream still takes anything.
    fn is_read(&self, peer: Option<RawFd>) -> bool {
        let peer = peer.and_then(|fd| self.net.end(fd, |end| !end.closed && !end.read_shut));
        peer == Some(true)
    }
}
