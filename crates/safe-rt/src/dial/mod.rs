//! From an endpoint to a connected socket: name, addresses, TCP, TLS, under one deadline; or to a
//! Unix socket.
//!
//! [`Dialling::attempt`] is the list of the phases that each address goes through. The addresses
//! are tried one after the other, each within its share of the time that is left, so that one black
//! hole cannot eat the whole. Whether there is TLS is decided by the endpoint's scheme alone; if it
//! and the options do not fit together, the answer is an error and never plain text. Trying again
//! later is left to whoever dials.

mod attempts;
mod options;
mod refusal;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::Path;

use fiber::Stopped;
use fiber::net::{TcpStream, UnixStream};

pub(crate) use self::attempts::with_default_deadline;
pub use self::options::DialOptions;
pub use self::refusal::DialRefusal;

use self::attempts::try_each;
use crate::dns::{Candidates, Resolver};
use crate::endpoint::Endpoint;
use crate::error::{Error, Phase};
use crate::socket::Socket;
use crate::stats;
use crate::tls::ClientTls;
use crate::ws::WsOptions;

/// How long a dial may take when no deadline is set around it.
pub const DIAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take on its own: for a client when no deadline is set around it,
/// for a server in any case.
pub const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Connects to `endpoint`; over TLS the handshake is done and the peer checked.
///
/// Waits under the ambient deadline, else under [`DIAL_TIMEOUT_DEFAULT`], while other fibers run.
/// The name is looked up by the options' [`Resolver`] within its share of the time, off the thread,
/// or the last good address is taken; each address is tried within its share of the time left; small
/// writes go out at once (`TCP_NODELAY`).
///
/// # Errors
/// The phase, the address and the cause. When several addresses failed, it is the error of the
/// attempt that got furthest, the last one of equals. What does not fit together, as an endpoint
/// that asks for TLS without TLS options or the other way round, is a [`DialRefusal`] before
/// anything is sent.
pub fn dial(endpoint: &Endpoint, options: &DialOptions) -> Result<Socket, Error> {
    stats::count_dial(|| {
        let dialling =
            Dialling::plan(endpoint, options).map_err(|refusal| refusal.into_error(endpoint))?;
        with_default_deadline(DIAL_TIMEOUT_DEFAULT, || match endpoint.unix_path() {
            Some(path) => dialling.connect_file(path),
            None => dialling.try_candidates(),
        })
    })
}

/// One dial: where to, and what was found to fit before anything is sent.
struct Dialling<'a> {
    endpoint: &'a Endpoint,
    tls: Option<&'a ClientTls>,
    ws: Option<WsOptions>,
    resolver: &'a Resolver,
}

impl<'a> Dialling<'a> {
    /// Refuses what does not fit together.
    fn plan(endpoint: &'a Endpoint, options: &'a DialOptions) -> Result<Self, DialRefusal> {
        let tls = options.tls_for(endpoint)?;
        let ws = options.ws_for(endpoint)?;
        Ok(Self {
            endpoint,
            tls,
            ws,
            resolver: options.resolver_in_use(),
        })
    }

    /// Looks the name up, tries what was found, and remembers what came of it.
    fn try_candidates(&self) -> Result<Socket, Error> {
        let candidates = self.resolve()?;
        let (mut failed, mut good) = (Vec::new(), None);
        let outcome = try_each(&candidates.addresses, |address| {
            let outcome = self.attempt(address);
            match outcome {
                Ok(_) => good = Some(address),
                Err(_) => failed.push(address),
            }
            outcome
        });
        let cancelled = |error: &Error| fiber::cause(error) == Some(Stopped::Cancelled);
        let is_told = !outcome.as_ref().is_err_and(cancelled);
        if is_told && self.endpoint.literal().is_none() {
            let (host, port) = (self.endpoint.host(), self.endpoint.port());
            self.resolver.note(host, port, &failed, good);
        }
        outcome.map_err(|error| error.after_look_up(candidates.look_up_error))
    }

    /// Makes the connection by way of one address, phase by phase.
    fn attempt(&self, address: SocketAddr) -> Result<Socket, Error> {
        let socket = self.connect(address)?;
        let socket = self.secure(socket, address)?;
        self.upgrade(socket, address)
    }

    /// The phase [`Phase::Resolve`].
    fn resolve(&self) -> Result<Candidates, Error> {
        if let Some(address) = self.endpoint.literal() {
            return Ok(Candidates {
                addresses: vec![address],
                look_up_error: None,
            });
        }
        let asked = || self.endpoint.authority();
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        phase(Phase::Resolve, asked, || {
            self.resolver.candidates(host, port)
        })
    }

    /// The phase [`Phase::Connect`].
    fn connect(&self, address: SocketAddr) -> Result<Socket, Error> {
        let named = || address.to_string();
        phase(Phase::Connect, named, || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(stream.into())
        })
    }

    /// The phase [`Phase::Connect`] of a Unix socket, its only one.
    fn connect_file(&self, path: &Path) -> Result<Socket, Error> {
        let named = || self.endpoint.authority();
        phase(Phase::Connect, named, || {
            UnixStream::connect(path).map(Socket::from)
        })
    }

    /// The phase [`Phase::Tls`], where the scheme asks for it.
    fn secure(&self, socket: Socket, address: SocketAddr) -> Result<Socket, Error> {
        let Some(tls) = self.tls else {
            return Ok(socket);
        };
        let named = || self.named(address);
        phase(Phase::Tls, named, || {
            let stream = tls.handshake(socket, self.endpoint.host())?;
            Ok(Socket::from_tls(stream))
        })
    }

    /// The phase [`Phase::WebSocket`], where the scheme asks for it.
    fn upgrade(&self, socket: Socket, address: SocketAddr) -> Result<Socket, Error> {
        let Some(ws) = &self.ws else {
            return Ok(socket);
        };
        let named = || self.named(address);
        phase(Phase::WebSocket, named, || {
            let stream = ws.handshake(socket, &self.host_header(), self.endpoint.path())?;
            Ok(Socket::from_ws(stream))
        })
    }

    /// The host as HTTP names it, with a port only if it is not the usual one (RFC 9110 section
    /// 7.2): a signed address is signed for that.
    fn host_header(&self) -> String {
        let mut host = self.endpoint.authority();
        let port = self.endpoint.port();
        if port == self.endpoint.scheme().default_port() {
            host.truncate(host.len() - format!(":{port}").len());
        }
        host
    }

    /// What was asked for, and the address where it was looked for.
    fn named(&self, address: SocketAddr) -> String {
        let asked = self.endpoint.authority();
        match self.endpoint.literal() {
            Some(_) => asked,
            None => format!("{asked} ({address})"),
        }
    }
}

/// Runs one phase, whose error then names it and what was being reached.
fn phase<T>(
    phase: Phase,
    address: impl FnOnce() -> String,
    body: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    body().map_err(|source| Error::new(phase, address(), source))
}

#[cfg(test)]
mod tests;
