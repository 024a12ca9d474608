//! The server side of a connection: listen, accept, and run the handshake.
//!
//! [`Listener::serve`] is the whole of a server: a fiber for each connection, handshake included, a
//! bound on how many there are, and rest instead of failure while something is short. Underneath,
//! accepting and the handshake are two steps, so that a client that dawdles keeps its own fiber
//! waiting and not the listener: [`Listener::accept`] gives an [`Incoming`], which another fiber
//! turns into a socket by [`Incoming::handshake`].

use core::cell::Cell;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use fiber::Instant;
use fiber::net::{TcpListener, TcpStream};

use crate::dial::HANDSHAKE_TIMEOUT_DEFAULT;
use crate::error::{Error, Phase};
use crate::log_gate::LogGate;
use crate::socket::Socket;
use crate::tls::ServerTls;
use crate::ws::ServerWs;

/// How long a listener rests when the process or the system is out of file descriptors, memory or
/// fibers: connections stay in the kernel's queue and are taken later.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed connections that a listener passes over in a row before it rests as well.
const PASSED_OVER_MAX: u32 = 64;

/// A TCP port that takes connections, plain or with TLS, and with WebSocket over either.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use safe_rt::{Listener, ServeOptions};
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
///     let address = listener.local_addr()?;
///     fiber::spawn(move || {
///         // Each client has a fiber of its own, from the handshake on.
///         listener.serve(&ServeOptions::new(), |socket| {
///             (&socket).write_all(b"hello")?;
///             socket.close()
///         })
///     })?;
///     let mut text = String::new();
///     fiber::net::TcpStream::connect(address)?.read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    tls: Option<ServerTls>,
    ws: Option<ServerWs>,
    /// Set once a shortage was told, so that the log names each of them once.
    short: Cell<bool>,
    shortages_told: LogGate,
    stats: Cell<ListenerStats>,
}

/// What a listener did so far. But for `serving`, every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Connections taken from the kernel's queue.
    pub accepted: u64,
    /// Connections that failed while they waited there, and were passed over.
    pub passed_over: u64,
    /// Rests of [`ACCEPT_PAUSE`] for want of descriptors, memory or fibers.
    pub rests: u64,
    /// Times that [`Listener::serve`] waited because it had as many connections as it may have.
    pub full: u64,
    /// Connections that are being served now, those in their handshake included.
    pub serving: usize,
    /// Connections that did not come through their handshake.
    pub handshakes_failed: u64,
    /// Connections whose handler returned an error.
    pub failed: u64,
    /// Connections whose handler panicked.
    pub panicked: u64,
}

impl Listener {
    /// Listens at `address` for plain connections; port 0 lets the system choose one.
    ///
    /// # Errors
    /// [`Phase::Bind`], for example when the address is in use.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        Self::open(address, None)
    }

    /// Listens at `address`, with TLS if a configuration is given.
    pub(crate) fn open(address: SocketAddr, tls: Option<ServerTls>) -> Result<Self, Error> {
        let listener = TcpListener::bind(address)
            .map_err(|source| Error::new(Phase::Bind, address.to_string(), source))?;
        Ok(Self {
            listener,
            tls,
            ws: None,
            short: Cell::new(false),
            shortages_told: LogGate::default(),
            stats: Cell::default(),
        })
    }

    /// Has connections become WebSockets before they are served.
    #[cfg(feature = "ws")]
    pub(crate) fn set_ws(&mut self, ws: ServerWs) {
        self.ws = Some(ws);
    }

    /// Returns the address it listens at, with the port that the system chose.
    ///
    /// # Errors
    /// That of the system call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns what it did so far. Does not yield.
    #[must_use]
    pub fn stats(&self) -> ListenerStats {
        self.stats.get()
    }

    /// Waits for the next connection and takes it, without any handshake.
    ///
    /// A connection that failed while it waited in the queue is passed over. When descriptors or
    /// memory are short it rests for [`ACCEPT_PAUSE`] and tries again: the shortage is in the log,
    /// once, and costs no connection.
    ///
    /// # Errors
    /// [`Phase::Accept`]: an ambient scope is over, or the listener is broken.
    pub fn accept(&self) -> Result<Incoming, Error> {
        let mut passed_over = 0;
        loop {
            let failed = match self.listener.accept() {
                Ok((stream, peer)) => {
                    self.short.set(false);
                    self.count(|stats| stats.accepted += 1);
                    // A peer that is gone already makes this fail; its socket will tell.
                    let _ = stream.set_nodelay(true);
                    return Ok(Incoming {
                        stream,
                        peer,
                        tls: self.tls.clone(),
                        ws: self.ws.clone(),
                    });
                }
                Err(error) => error,
            };
            match judge(&failed) {
                Judgement::PassOver if passed_over < PASSED_OVER_MAX => {
                    passed_over += 1;
                    self.count(|stats| stats.passed_over += 1);
                }
                Judgement::PassOver | Judgement::Rest => {
                    passed_over = 0;
                    self.rest(&failed)?;
                }
                Judgement::Report => return Err(self.failed(failed)),
            }
        }
    }

    /// Waits for [`ACCEPT_PAUSE`] because something is short; the log names each shortage once.
    pub(crate) fn rest(&self, why: &dyn core::fmt::Display) -> Result<(), Error> {
        self.count(|stats| stats.rests += 1);
        if !self.short.get() && self.shortages_told.pass(Instant::recent()).is_some() {
            self.short.set(true);
            log::warn!("cannot take connections for now, they wait in the queue: {why}");
        }
        fiber::sleep(ACCEPT_PAUSE).map_err(|stopped| self.failed(stopped.into()))
    }

    /// Changes the counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut ListenerStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    pub(crate) fn failed(&self, source: io::Error) -> Error {
        let address = self
            .local_addr()
            .map_or_else(|_| "a listener".to_owned(), |address| address.to_string());
        Error::new(Phase::Accept, address, source)
    }
}

/// What a failed accept calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    PassOver,
    Rest,
    Report,
}

/// Sorts the errors of accept(2): some are of one connection, some of the whole machine. Linux
/// reports what the network did to a connection that waits as an error of accept.
fn judge(error: &io::Error) -> Judgement {
    /// ENFILE and EMFILE, the same numbers on every Unix; std has no kind for them.
    const DESCRIPTORS_SHORT: [i32; 2] = [23, 24];
    /// ENOBUFS on Linux and on the BSDs.
    const BUFFERS_SHORT: [i32; 2] = [105, 55];
    /// EPROTO, ENOPROTOOPT, ENONET, EOPNOTSUPP and EHOSTDOWN, by their numbers on Linux.
    const OF_ONE_CONNECTION: [i32; 5] = [71, 92, 64, 95, 112];

    if fiber::cause(error).is_some() {
        return Judgement::Report;
    }
    match (error.kind(), error.raw_os_error()) {
        (
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            // A firewall forbids this one.
            | io::ErrorKind::PermissionDenied,
            _,
        ) => Judgement::PassOver,
        (io::ErrorKind::OutOfMemory, _) => Judgement::Rest,
        (_, Some(code)) if DESCRIPTORS_SHORT.contains(&code) || BUFFERS_SHORT.contains(&code) => {
            Judgement::Rest
        }
        (_, Some(code)) if cfg!(target_os = "linux") && OF_ONE_CONNECTION.contains(&code) => {
            Judgement::PassOver
        }
        _ => Judgement::Report,
    }
}

/// A connection that was accepted and has done no handshake yet.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<ServerTls>,
    ws: Option<ServerWs>,
}

impl Incoming {
    /// Returns the address of the client.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Becomes a socket: at once if the listener is plain, else after the handshakes of TLS and of
    /// WebSocket, which each wait under the ambient deadline and never longer than
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`].
    ///
    /// # Errors
    /// [`Phase::Tls`], [`Phase::WebSocket`].
    pub fn handshake(self) -> Result<Socket, Error> {
        let peer = || self.peer.to_string();
        let socket = match &self.tls {
            None => self.stream.into(),
            Some(tls) => server_handshake(self.stream.into(), tls, peer)?,
        };
        match &self.ws {
            None => Ok(socket),
            Some(ws) => ws_server_handshake(socket, ws, peer),
        }
    }
}

/// Runs the server side of a TLS handshake; a client that dawdles must not hold a connection for
/// as long as the server runs, so the limit holds whatever deadline is ambient.
pub(crate) fn server_handshake(
    transport: Socket,
    tls: &ServerTls,
    peer: impl FnOnce() -> String,
) -> Result<Socket, Error> {
    fiber::timeout(HANDSHAKE_TIMEOUT_DEFAULT, || tls.handshake(transport))
        .unwrap_or_else(|elapsed| elapsed.0)
        .map(Socket::from_tls)
        .map_err(|source| Error::new(Phase::Tls, peer(), source))
}

/// As [`server_handshake`], for a WebSocket.
pub(crate) fn ws_server_handshake(
    transport: Socket,
    ws: &ServerWs,
    peer: impl FnOnce() -> String,
) -> Result<Socket, Error> {
    fiber::timeout(HANDSHAKE_TIMEOUT_DEFAULT, || ws.handshake(transport))
        .unwrap_or_else(|elapsed| elapsed.0)
        .map(Socket::from_ws)
        .map_err(|source| Error::new(Phase::WebSocket, peer(), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_accepts_are_sorted() {
        let table = [
            (io::Error::from_raw_os_error(23), Judgement::Rest),
            (io::Error::from_raw_os_error(24), Judgement::Rest),
            (io::Error::from_raw_os_error(12), Judgement::Rest),
            (io::ErrorKind::ConnectionAborted.into(), Judgement::PassOver),
            (io::ErrorKind::ConnectionReset.into(), Judgement::PassOver),
            (io::ErrorKind::NetworkDown.into(), Judgement::PassOver),
            (io::ErrorKind::HostUnreachable.into(), Judgement::PassOver),
            (io::Error::from_raw_os_error(1), Judgement::PassOver),
            (io::Error::from_raw_os_error(9), Judgement::Report),
            (io::Error::from_raw_os_error(22), Judgement::Report),
            (fiber::Stopped::Cancelled.into(), Judgement::Report),
            (fiber::Stopped::TimedOut.into(), Judgement::Report),
        ];
        for (error, expected) in table {
            assert_eq!(judge(&error), expected, "{error}");
        }
        // All that accept(2) of Linux says to treat as if nothing had come.
        if cfg!(target_os = "linux") {
            for code in [100, 71, 92, 112, 64, 113, 95, 101] {
                let error = io::Error::from_raw_os_error(code);
                assert_eq!(judge(&error), Judgement::PassOver, "{error}");
            }
        }
    }
}
