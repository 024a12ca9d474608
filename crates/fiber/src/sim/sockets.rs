//! The sockets of the simulated world: one table of all kinds, and what each is ready for.
//!
//! It stands below the readiness bits of `world/net.rs`, where a kernel stands otherwise: sockets
//! have numbers, calls answer at once or with "would block", and edges tell of what changed. How
//! bytes travel from one to the other is in `net.rs`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::core::{self, Core};
use crate::sim::signals::Inlet;
use crate::sim::state::State;
use crate::sim::udp::Datagrams;
use crate::world::net::Readiness;

/// Bytes of one direction that were sent and not yet read; of a socket for datagrams those that have
/// not left.
pub(crate) const SEND_BUFFER_BYTES: usize = 64 * 1024;
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
    /// It never leaves its machine: nothing of the network's trouble is its own.
    pub(crate) is_unix: bool,
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
        /// None for a Unix listener, which is found by its path or name.
        local: Option<SocketAddr>,
        backlog: VecDeque<RawFd>,
    },
    End(Box<End>),
    Datagrams(Box<Datagrams>),
    Signals(Inlet),
}

/// What a socket is ready for.
pub(crate) struct ReadyFor {
    readable: bool,
    writable: bool,
    closed: bool,
}

impl Socket {
    pub(crate) fn host(&self) -> u32 {
        match self {
            Self::Listener { host, .. } => *host,
            Self::End(end) => end.host,
            Self::Datagrams(socket) => socket.host,
            Self::Signals(inlet) => inlet.host,
        }
    }

    fn ready_for(&self) -> ReadyFor {
        let (readable, writable, closed) = match self {
            Self::Listener { backlog, .. } => (!backlog.is_empty(), false, false),
            Self::End(end) => {
                let closed = end.fin_received || end.read_shut;
                (end.is_readable(), end.is_writable(), closed)
            }
            Self::Datagrams(socket) => (socket.is_readable(), socket.is_writable(), false),
            Self::Signals(inlet) => (inlet.is_pending(), false, false),
        };
        ReadyFor {
            readable,
            writable,
            closed,
        }
    }
}

/// All sockets by their numbers, which are below -1 and never used again.
pub(crate) struct Net {
    pub(crate) sockets: RefCell<BTreeMap<RawFd, Socket>>,
    watched: RefCell<BTreeMap<RawFd, Rc<Readiness>>>,
    /// Abstract names of Unix listeners, by machine.
    names: RefCell<BTreeMap<(u32, Vec<u8>), RawFd>>,
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
            names: RefCell::new(BTreeMap::new()),
            next_fd: Cell::new(-2),
            next_port: Cell::new(FIRST_PORT),
        }
    }

    pub(crate) fn add(&self, socket: Socket) -> RawFd {
        let fd = self.next_fd.get();
        self.next_fd.set(fd - 1);
        self.sockets.borrow_mut().insert(fd, socket);
        fd
    }

    pub(crate) fn listener_at(&self, at: u32, address: SocketAddr) -> Option<RawFd> {
        let sockets = self.sockets.borrow();
        let found = sockets.iter().find(|(_, socket)| match socket {
            Socket::Listener { host, local, .. } => local.is_some_and(|local| {
                *host == at
                    && local.port() == address.port()
                    && (local.ip().is_unspecified() || local.ip() == address.ip())
            }),
            Socket::End(_) | Socket::Datagrams(_) | Socket::Signals(_) => false,
        });
        found.map(|(&fd, _)| fd)
    }

    pub(crate) fn port(&self) -> u16 {
        let port = self.next_port.get();
        self.next_port
            .set(port.checked_add(1).unwrap_or(FIRST_PORT));
        port
    }

    pub(crate) fn name(&self, host: u32, name: &[u8]) -> Option<RawFd> {
        self.names.borrow().get(&(host, name.to_vec())).copied()
    }

    pub(crate) fn set_name(&self, host: u32, name: &[u8], fd: RawFd) {
        self.names.borrow_mut().insert((host, name.to_vec()), fd);
    }

    /// Looks at one end, if it is there.
    pub(crate) fn end<T>(&self, fd: RawFd, look: impl FnOnce(&mut End) -> T) -> Option<T> {
        match self.sockets.borrow_mut().get_mut(&fd) {
            Some(Socket::End(end)) => Some(look(end)),
            _ => None,
        }
    }

    /// Looks at a socket for datagrams, if it is there.
    pub(crate) fn datagrams<T>(
        &self,
        fd: RawFd,
        look: impl FnOnce(&mut Datagrams) -> T,
    ) -> Option<T> {
        match self.sockets.borrow_mut().get_mut(&fd) {
            Some(Socket::Datagrams(socket)) => Some(look(socket)),
            _ => None,
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
    /// Tells whoever watches the socket what it is ready for, soon.
    pub(crate) fn edge(&self, fd: RawFd) {
        self.schedule_at(self.now(), move |state, core| state.raise(core, fd));
    }

    fn raise(&self, core: &Core, fd: RawFd) {
        let Some(readiness) = self.net.watched.borrow().get(&fd).cloned() else {
            return;
        };
        let ready = self.net.sockets.borrow().get(&fd).map(Socket::ready_for);
        if let Some(ready) = ready {
            readiness.report(core, ready.readable, ready.writable, ready.closed);
        }
    }
}
