//! The network of the simulated world: what the kernels of its machines do with TCP, and how what
//! one end sends comes to the other.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::sim::sockets::{End, Packet, Socket};
use crate::sim::state::State;

/// Connections that wait to be accepted at one listener; one more is refused.
pub(crate) const BACKLOG_MAX: usize = 128;
/// Bytes of a segment, so that a large write arrives in parts.
const SEGMENT_BYTES: usize = 1460;
/// How long a connection is tried where nothing comes back, in nanoseconds: as Linux does.
const CONNECT_TIMEOUT: u64 = 127_000_000_000;
/// How long data is sent again and again before the connection is given up.
const RESEND_TIMEOUT: u64 = 924_000_000_000;
/// Nanoseconds that bytes need from one program of a machine to another.
const UNIX_NANOS: RangeInclusive<u64> = 1_000..=20_000;

impl State {
    pub(crate) fn new_end(
        &self,
        host: u32,
        (local, peer, peer_host): (SocketAddr, SocketAddr, u32),
        peer_fd: Option<RawFd>,
        is_unix: bool,
    ) -> RawFd {
        self.net.add(Socket::End(Box::new(End {
            host,
            is_unix,
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
            local: Some(local),
            backlog: VecDeque::new(),
        }))
    }

    /// Sends a packet from an end to its peer. It arrives after those before it.
    pub(crate) fn send(&self, fd: RawFd, packet: Packet) {
        let now = self.now();
        let at = self.net.end(fd, |end| {
            let bytes = match &packet {
                Packet::Data(data) => data.len(),
                _ => 0,
            };
            let (sending, travelling, reset, silenced) = if end.is_unix {
                (0, self.chances.within(&UNIX_NANOS), false, false)
            } else {
                self.links.with((end.host, end.peer_host), |way| {
                    let is_data = bytes > 0;
                    (
                        way.sending(bytes),
                        way.travelling(&self.chances),
                        is_data && self.chances.chance(way.reset),
                        is_data && self.chances.chance(way.silenced),
                    )
                })
            };
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
                let way = (end.host, end.peer_host);
                if end.silent || !(end.is_unix || self.is_open(way)) {
                    if end.held_since.is_none() {
                        end.held_since = Some(now);
                        self.give_up_later(fd, now, end.connected);
                    }
                    return None;
                }
                end.held_since = None;
                let (_, packet) = end.queue.pop_front()?;
                Some((packet, end.peer_fd, way, end.local))
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
        let server = self.new_end(way.1, (to, from, way.0), Some(client), false);
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
            Socket::Datagrams(_) | Socket::Signals(_) => {}
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
