//! The network of the simulated world: what the kernels of its machines do with TCP.
//!
//! It stands below the readiness bits of `world/net.rs`, where a kernel stands otherwise: sockets
//! have numbers, calls answer at once or with "would block", and edges tell of what changed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::core::{self, Core};
use crate::sim::state::State;
use crate::world::net::Readiness;

/// Connections that wait to be accepted at one listener; one more is refused.
const BACKLOG_MAX: usize = 128;
/// Bytes of one direction that were sent and not yet read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of a segment, so that a large write arrives in parts.
const SEGMENT_BYTES: usize = 1460;
/// How long a connection is tried where nothing comes back, in nanoseconds: as Linux does.
const CONNECT_TIMEOUT: u64 = 127_000_000_000;
/// How long data is sent again and again before the connection is given up.
const RESEND_TIMEOUT: u64 = 924_000_000_000;
/// The first port that is given out where none is asked for.
const FIRST_PORT: u16 = 49_152;

/// What travels.
pub(crate) enum Packet {
    /// A connection is asked for at this address.
    Syn(SocketAddr),
    /// It is there; the other end is this socket.
    SynAck(RawFd),
    Data(Vec<u8>),
    /// So many bytes were read.
    Ack(usize),
    Fin,
    Rst,
    /// The way ends the connection, for both.
    Cut,
}

/// One end of a connection.
pub(crate) struct End {
    pub(crate) host: u32,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_host: u32,
    pub(crate) peer_fd: Option<RawFd>,
    pub(crate) connected: bool,
    /// The program let go of it.
    pub(crate) closed: bool,
    pub(crate) received: VecDeque<u8>,
    pub(crate) fin_received: bool,
    pub(crate) read_shut: bool,
    pub(crate) write_shut: bool,
    pub(crate) error: Option<i32>,
    /// It was reset: nothing goes out any more.
    pub(crate) dead: bool,
    pub(crate) outstanding: usize,
    pub(crate) queue: VecDeque<(u64, Packet)>,
    /// When the last packet arrives, and until when the sender is busy.
    pub(crate) last_arrival: u64,
    pub(crate) free_at: u64,
    pub(crate) silent: bool,
    pub(crate) held_since: Option<u64>,
}

pub(crate) enum Socket {
    Listener {
        host: u32,
        local: SocketAddr,
        backlog: VecDeque<RawFd>,
    },
    End(Box<End>),
}

/// All sockets by their numbers, which are below -1 and never used again.
pub(crate) struct Net {
    pub(crate) sockets: RefCell<BTreeMap<RawFd, Socket>>,
    watched: RefCell<BTreeMap<RawFd, Rc<Readiness>>>,
    next_fd: Cell<RawFd>,
    next_port: Cell<u16>,
}

/// Whether a descriptor is the number of a simulated socket.
pub(crate) fn is_simulated(fd: RawFd) -> bool {
    fd < -1
}

/// Watches a simulated socket; the first edge tells what it is ready for.
pub(crate) fn watch(fd: RawFd, readiness: &Rc<Readiness>) {
    if let Some(sim) = core::current().and_then(|core| core.sim.clone()) {
        sim.net
            .watched
            .borrow_mut()
            .insert(fd, Rc::clone(readiness));
        sim.edge(fd);
    }
}

/// Forgets a simulated socket.
pub(crate) fn unwatch(fd: RawFd) {
    if let Some(sim) = core::current().and_then(|core| core.sim.clone()) {
        sim.net.watched.borrow_mut().remove(&fd);
    }
}

pub(crate) fn system(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Net {
    pub(crate) fn new() -> Self {
        Self {
            sockets: RefCell::new(BTreeMap::new()),
            watched: RefCell::new(BTreeMap::new()),
            next_fd: Cell::new(-2),
            next_port: Cell::new(FIRST_PORT),
        }
    }

    fn add(&self, socket: Socket) -> RawFd {
        let fd = self.next_fd.get();
        self.next_fd.set(fd - 1);
        self.sockets.borrow_mut().insert(fd, socket);
        fd
    }

    fn listener_at(&self, at: u32, address: SocketAddr) -> Option<RawFd> {
        let sockets = self.sockets.borrow();
        let found = sockets.iter().find(|(_, socket)| match socket {
            Socket::Listener { host, local, .. } => {
                *host == at
                    && local.port() == address.port()
                    && (local.ip().is_unspecified() || local.ip() == address.ip())
            }
            Socket::End(_) => false,
        });
        found.map(|(&fd, _)| fd)
    }

    pub(crate) fn port(&self) -> u16 {
        let port = self.next_port.get();
        self.next_port
            .set(port.checked_add(1).unwrap_or(FIRST_PORT));
        port
    }

    /// Looks at one end, if it is there.
    pub(crate) fn end<T>(&self, fd: RawFd, look: impl FnOnce(&mut End) -> T) -> Option<T> {
        match self.sockets.borrow_mut().get_mut(&fd) {
            Some(Socket::End(end)) => Some(look(end)),
            Some(Socket::Listener { .. }) | None => None,
        }
    }
}

impl End {
    pub(crate) fn is_readable(&self) -> bool {
        !self.received.is_empty() || self.fin_received || self.read_shut || self.error.is_some()
    }

    fn is_writable(&self) -> bool {
        self.error.is_some()
            || self.dead
            || (self.connected && (self.write_shut || self.outstanding < SEND_BUFFER_BYTES))
    }

    pub(crate) fn room(&self) -> usize {
        SEND_BUFFER_BYTES.saturating_sub(self.outstanding)
    }

    /// The connection is no more, for this reason.
    pub(crate) fn fail(&mut self, code: i32) {
        if !self.dead {
            self.dead = true;
            self.error = Some(code);
            self.fin_received = true;
            self.queue.clear();
        }
    }
}

impl State {
    pub(crate) fn new_end(
        &self,
        host: u32,
        (local, peer, peer_host): (SocketAddr, SocketAddr, u32),
        peer_fd: Option<RawFd>,
    ) -> RawFd {
        self.net.add(Socket::End(Box::new(End {
            host,
            local,
            peer,
            peer_host,
            peer_fd,
            connected: peer_fd.is_some(),
            closed: false,
            received: VecDeque::new(),
            fin_received: false,
            read_shut: false,
            write_shut: false,
            error: None,
            dead: false,
            outstanding: 0,
            queue: VecDeque::new(),
            last_arrival: 0,
            free_at: 0,
            silent: false,
            held_since: None,
        })))
    }

    pub(crate) fn listen(&self, host: u32, local: SocketAddr) -> io::Result<RawFd> {
        let is_taken = self.net.listener_at(host, local).is_some();
        if local.port() != 0 && is_taken {
            return Err(ErrorKind::AddrInUse.into());
        }
        let mut local = local;
        if local.port() == 0 {
            local.set_port(self.net.port());
        }
        Ok(self.net.add(Socket::Listener {
            host,
            local,
            backlog: VecDeque::new(),
        }))
    }

    /// Tells whoever watches the socket what it is ready for, soon.
    pub(crate) fn edge(&self, fd: RawFd) {
        self.schedule_at(self.now(), move |state, core| state.raise(core, fd));
    }

    fn raise(&self, core: &Core, fd: RawFd) {
        let Some(readiness) = self.net.watched.borrow().get(&fd).cloned() else {
            return;
        };
        let (readable, writable, closed) = match self.net.sockets.borrow().get(&fd) {
            Some(Socket::Listener { backlog, .. }) => (!backlog.is_empty(), false, false),
            Some(Socket::End(end)) => {
                let closed = end.fin_received || end.read_shut;
                (end.is_readable(), end.is_writable(), closed)
            }
            None => return,
        };
        readiness.report(core, readable, writable, closed);
    }

    /// Sends a packet from an end to its peer. It arrives after those before it.
    pub(crate) fn send(&self, fd: RawFd, packet: Packet) {
        let now = self.now();
        let at = self.net.end(fd, |end| {
            let bytes = match &packet {
                Packet::Data(data) => data.len(),
                _ => 0,
            };
            let (sending, travelling, reset, silenced) =
                self.links.with((end.host, end.peer_host), |way| {
                    let is_data = bytes > 0;
                    (
                        way.sending(bytes),
                        way.travelling(&self.chances),
                        is_data && self.chances.chance(way.reset),
                        is_data && self.chances.chance(way.silenced),
                    )
                });
            end.free_at = end.free_at.max(now).saturating_add(sending);
            let arrival = end.free_at.saturating_add(travelling);
            end.last_arrival = arrival.max(end.last_arrival + 1);
            let packet = if reset { Packet::Cut } else { packet };
            end.queue.push_back((end.last_arrival, packet));
            end.silent |= silenced;
            end.last_arrival
        });
        if let Some(at) = at {
            self.schedule_at(at, move |state, _| state.pump(fd));
        }
    }

    /// Lets arrive what is due of what an end sent.
    pub(crate) fn pump(self: &Rc<Self>, fd: RawFd) {
        loop {
            let now = self.now();
            let next = self.net.end(fd, |end| {
                if end.queue.front().is_none_or(|&(at, _)| at > now) {
                    return None;
                }
                if end.silent || !self.is_open((end.host, end.peer_host)) {
                    if end.held_since.is_none() {
                        end.held_since = Some(now);
                        self.give_up_later(fd, now, end.connected);
                    }
                    return None;
                }
                end.held_since = None;
                let (_, packet) = end.queue.pop_front()?;
                Some((packet, end.peer_fd, (end.host, end.peer_host), end.local))
            });
            let Some((packet, peer, way, from)) = next.flatten() else {
                break;
            };
            match (packet, peer) {
                (Packet::Syn(address), _) => self.asked(fd, way, from, address),
                (packet, Some(peer)) => self.arrived(fd, peer, packet),
                (_, None) => {}
            }
        }
        self.forget(fd);
    }

    fn give_up_later(&self, fd: RawFd, since: u64, connected: bool) {
        let wait = if connected {
            RESEND_TIMEOUT
        } else {
            CONNECT_TIMEOUT
        };
        self.schedule_at(since.saturating_add(wait), move |state, _| {
            let gave_up = state.net.end(fd, |end| {
                let is_still_held = end.held_since == Some(since);
                if is_still_held {
                    end.fail(libc::ETIMEDOUT);
                }
                is_still_held
            });
            if gave_up == Some(true) {
                state.edge(fd);
                state.forget(fd);
            }
        });
    }

    /// A connection is asked for.
    fn asked(self: &Rc<Self>, client: RawFd, way: (u32, u32), from: SocketAddr, to: SocketAddr) {
        let refused = self.links.with(way, |way| self.chances.chance(way.refused));
        let listener = self.net.listener_at(way.1, to).filter(|_| !refused);
        let room = listener.filter(|fd| {
            let sockets = self.net.sockets.borrow();
            matches!(sockets.get(fd), Some(Socket::Listener { backlog, .. }) if backlog.len() < BACKLOG_MAX)
        });
        let Some(listener) = room else {
            self.answer_reset(client, libc::ECONNREFUSED);
            return;
        };
        let server = self.new_end(way.1, (to, from, way.0), Some(client));
        if let Some(Socket::Listener { backlog, .. }) =
            self.net.sockets.borrow_mut().get_mut(&listener)
        {
            backlog.push_back(server);
        }
        self.edge(listener);
        self.send(server, Packet::SynAck(server));
    }

    /// What reaches nobody is answered with a reset, which takes its time too.
    fn answer_reset(&self, sender: RawFd, code: i32) {
        let way = self.net.end(sender, |end| (end.peer_host, end.host));
        let Some(way) = way else { return };
        let travelling = self.links.with(way, |way| way.travelling(&self.chances));
        let at = self.now().saturating_add(travelling);
        self.schedule_at(at, move |state, _| {
            // A reset is sent once: where the way is closed it is lost.
            if state.is_open(way) {
                state.net.end(sender, |end| end.fail(code));
                state.edge(sender);
                state.forget(sender);
            }
        });
    }

    fn arrived(self: &Rc<Self>, sender: RawFd, peer: RawFd, packet: Packet) {
        if let Packet::Cut = packet {
            for end in [sender, peer] {
                self.net.end(end, |end| end.fail(libc::ECONNRESET));
                self.edge(end);
                self.forget(end);
            }
            return;
        }
        let is_data = matches!(packet, Packet::Data(_) | Packet::SynAck(_));
        let taken = self.net.end(peer, |end| {
            if (end.closed || end.dead) && is_data {
                return false;
            }
            match packet {
                Packet::Data(data) if !end.read_shut => end.received.extend(data),
                Packet::Ack(n) => end.outstanding = end.outstanding.saturating_sub(n),
                Packet::Fin => end.fin_received = true,
                Packet::Rst => end.fail(libc::ECONNRESET),
                Packet::SynAck(server) => {
                    end.connected = true;
                    end.peer_fd = Some(server);
                }
                Packet::Data(_) | Packet::Syn(_) | Packet::Cut => {}
            }
            true
        });
        match taken {
            Some(true) => {
                self.edge(peer);
                self.forget(peer);
            }
            Some(false) => self.answer_reset(sender, libc::ECONNRESET),
            None if is_data => self.answer_reset(sender, libc::ECONNRESET),
            None => {}
        }
    }

    /// Removes an end that nobody holds and that has nothing left to send.
    fn forget(&self, fd: RawFd) {
        let is_over = self.net.end(fd, |end| {
            end.closed && (end.dead || (end.queue.is_empty() && end.write_shut && end.fin_received))
        });
        if is_over == Some(true) {
            self.net.sockets.borrow_mut().remove(&fd);
        }
    }

    /// The program lets go of a socket.
    pub(crate) fn close(&self, fd: RawFd) {
        let Some(socket) = self.net.sockets.borrow_mut().remove(&fd) else {
            return;
        };
        match socket {
            Socket::Listener { backlog, .. } => {
                for waiting in backlog {
                    self.reset(waiting);
                }
            }
            Socket::End(mut end) => {
                end.closed = true;
                let has_unread = !end.received.is_empty();
                let says_end = !end.write_shut && !end.dead;
                end.write_shut = true;
                self.net.sockets.borrow_mut().insert(fd, Socket::End(end));
                if has_unread {
                    self.send(fd, Packet::Rst);
                } else if says_end {
                    self.send(fd, Packet::Fin);
                }
                self.forget(fd);
            }
        }
    }

    /// Ends a connection by a reset from this end.
    fn reset(&self, fd: RawFd) {
        self.send(fd, Packet::Rst);
        self.net.end(fd, |end| {
            end.closed = true;
            end.write_shut = true;
            end.fin_received = true;
        });
    }

    pub(crate) fn segments(data: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
        data.chunks(SEGMENT_BYTES).map(<[u8]>::to_vec)
    }
}
