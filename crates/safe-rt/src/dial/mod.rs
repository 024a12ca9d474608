//! From an endpoint to a connected socket: name, addresses, TCP, proxy, TLS, under one deadline; or
//! to a Unix socket.
//!
//! [`Dialling::attempt`] is the list of the phases that each address goes through. The addresses
//! are tried one after the other, each within its share of the time that is left, so that one black
//! hole cannot eat the whole. Whether there is TLS is decided by the endpoint's scheme alone; if it
//! and the options do not fit together, the answer is an error and never plain text. Trying again
//! later is left to whoever dials.

mod attempts;
mod observe;
mod options;
mod plain;
mod proxy;
mod refusal;
mod transport;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::Path;

use fiber::Stopped;
use fiber::net::{TcpStream, UnixStream};

pub(crate) use self::attempts::with_default_deadline;
pub use self::observe::Step;
pub use self::options::{DialOptions, INTERFACE_BYTES_MAX};
pub use self::plain::{Connecting, begin_dial};
pub use self::proxy::{
    PROXY_CREDENTIAL_BYTES_MAX, PROXY_HEAD_BYTES_MAX, PROXY_HEADERS_MAX, Proxy, ProxyEnvironment,
    ProxyError, ProxyUrlError,
};
pub use self::refusal::DialRefusal;
pub use self::transport::{
    TCP_KEEP_ALIVE_IDLE_DEFAULT, TCP_KEEP_ALIVE_INTERVAL_DEFAULT, TCP_KEEP_ALIVE_PROBES_DEFAULT,
    TcpKeepAlive,
};

use self::attempts::{Turn, is_stopped, try_each};
use self::observe::{Observer, observed};
use crate::address::Shown;
use crate::dns::{Came, Candidates, Resolver};
use crate::endpoint::{Endpoint, HostPort, Place};
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
/// or the last good address is taken; each address is tried within its share of the time left: while
/// others remain an equal one, but at least 3 s, for the connection, and half of the rest, but at least
/// 5 s, for what follows. Those that the time does not suffice for go first in the next dial.
/// Through a proxy it is the proxy that is looked up and connected to, and it is told the host's name.
///
/// # Errors
/// The phase, the address and the cause. When several addresses failed, it is the error of the
/// attempt that got furthest, the last one of equals. What does not fit together, as an endpoint
/// that asks for TLS without TLS options or the other way round, is a [`DialRefusal`] before
/// anything is sent.
pub fn dial(endpoint: &Endpoint, options: &DialOptions) -> Result<Socket, Error> {
    dial_observed(endpoint, options, None)
}

/// As [`dial`], and tells `observer` of each phase when it is over.
///
/// # Errors
/// As [`dial`]. The observer is not told of a dial that is refused before anything is sent.
///
/// # Examples
/// ```
/// use safe_rt::{DialOptions, Phase, dial_traced};
///
/// let phases = fiber::run(|| {
///     let endpoint = "mqtt://127.0.0.1:1".parse().expect("an endpoint");
///     let mut phases = Vec::new();
///     dial_traced(&endpoint, &DialOptions::new(), |step| {
///         phases.push((step.phase(), step.error().is_some()));
///     })
///     .expect_err("nobody listens on port 1");
///     phases
/// })
/// .expect("the runtime ran");
/// assert_eq!(phases, [(Phase::Resolve, false), (Phase::Connect, true)]);
/// ```
pub fn dial_traced(
    endpoint: &Endpoint,
    options: &DialOptions,
    mut observer: impl FnMut(&Step<'_>),
) -> Result<Socket, Error> {
    dial_observed(endpoint, options, Some(&mut observer))
}

fn dial_observed<'a>(
    endpoint: &'a Endpoint,
    options: &'a DialOptions,
    observer: Option<&'a mut Observer<'a>>,
) -> Result<Socket, Error> {
    stats::count_dial(|| {
        let mut dialling = Dialling::plan(endpoint, options, observer)
            .map_err(|refusal| refusal.into_error(endpoint))?;
        with_default_deadline(DIAL_TIMEOUT_DEFAULT, || match dialling.first_hop() {
            FirstHop::File(path) => dialling.connect_file(path),
            FirstHop::Host(at) => dialling.try_candidates(at),
        })
    })
}

/// One dial: where to, and what was found to fit before anything is sent.
struct Dialling<'a> {
    endpoint: &'a Endpoint,
    options: &'a DialOptions,
    tls: Option<&'a ClientTls>,
    ws: Option<WsOptions>,
    resolver: &'a Resolver,
    proxy: Option<&'a Proxy>,
    observer: Option<&'a mut Observer<'a>>,
}

/// What the transport connection is made to.
enum FirstHop<'a> {
    /// The host of the endpoint, or of the proxy.
    Host(&'a HostPort),
    /// A Unix socket.
    File(&'a Path),
}

impl<'a> Dialling<'a> {
    /// Refuses what does not fit together.
    fn plan(
        endpoint: &'a Endpoint,
        options: &'a DialOptions,
        observer: Option<&'a mut Observer<'a>>,
    ) -> Result<Self, DialRefusal> {
        let tls = options.tls_for(endpoint)?;
        let proxy = options.proxy_for(endpoint)?;
        let ws = options.ws_for(endpoint)?;
        options.check_interface()?;
        Ok(Self {
            endpoint,
            options,
            tls,
            proxy,
            ws,
            resolver: options.resolver_in_use(),
            observer,
        })
    }

    /// Looks the name up, tries what was found, and remembers what came of it.
    fn try_candidates(&mut self, at: &HostPort) -> Result<Socket, Error> {
        let candidates = self.resolve(at)?;
        let mut came = Came::default();
        let outcome = self.try_these(at, &candidates, &mut came);
        let outcome = match outcome {
            Err(error) if candidates.look_up_error.is_some() && !is_stopped(&error) => {
                self.try_found_since(at, error, &mut came)
            }
            outcome => outcome,
        };
        let cancelled = |error: &Error| fiber::cause(error) == Some(Stopped::Cancelled);
        let is_told = !outcome.as_ref().is_err_and(cancelled);
        if is_told && at.literal().is_none() {
            let was_looked_up = candidates.look_up_error.is_none();
            let (host, port) = (at.host(), at.port());
            self.resolver.note(host, port, &came, was_looked_up);
        }
        outcome.map_err(|error| error.after_look_up(candidates.look_up_error))
    }

    /// Tries each address, and adds to what came of them.
    fn try_these(
        &mut self,
        at: &HostPort,
        candidates: &Candidates,
        came: &mut Came,
    ) -> Result<Socket, Error> {
        try_each(&candidates.addresses, |address, turn| {
            if candidates.last_good == Some(address) {
                Resolver::note_last_good(at.host(), address, candidates.look_up_error.as_ref());
            }
            let outcome = self.attempt(address, turn);
            match &outcome {
                Ok(_) => came.good = Some(address),
                Err(error) if self.is_behind_proxy(error) => came.answered.push(address),
                Err(_) => came.failed.push(address),
            }
            outcome
        })
    }

    /// Tries what the look-up found that took too long at first, now that the last good address failed
    /// with `error` and there is time left.
    fn try_found_since(
        &mut self,
        at: &HostPort,
        error: Error,
        came: &mut Came,
    ) -> Result<Socket, Error> {
        match self.resolver.found_since(at.host(), at.port(), came) {
            Ok(candidates) => self.try_these(at, &candidates, came),
            Err(stop) if fiber::cause(&stop) == Some(Stopped::Cancelled) => {
                Err(Error::new(Phase::Resolve, at.to_string(), stop))
            }
            Err(_) => Err(error),
        }
    }

    /// Makes the connection by way of one address, phase by phase.
    fn attempt(&mut self, address: SocketAddr, turn: Turn) -> Result<Socket, Error> {
        let stream = turn.connecting(|| self.connect(address))?;
        turn.connected(|| {
            let stream = self.pass_proxy(stream, address)?;
            let socket = self.secure(Socket::dialled(stream, address), address)?;
            self.upgrade(socket, address)
        })
    }

    /// Whether there is a proxy and it did its part: then its address is right, whatever became of
    /// the dial.
    fn is_behind_proxy(&self, error: &Error) -> bool {
        self.proxy.is_some()
            && (error.phase() > Phase::Proxy
                || ProxyError::of(error).is_some_and(ProxyError::is_answer))
    }

    fn first_hop(&self) -> FirstHop<'a> {
        match (self.proxy, self.endpoint.place()) {
            (Some(proxy), _) => FirstHop::Host(proxy.at()),
            (None, Place::Network { at, .. }) => FirstHop::Host(at),
            (None, Place::File(path)) => FirstHop::File(Path::new(&**path)),
        }
    }

    /// The phase [`Phase::Resolve`].
    fn resolve(&mut self, at: &HostPort) -> Result<Candidates, Error> {
        let (resolver, is_authentic) = (self.resolver, self.tls.is_some());
        observed(
            self.observer.as_deref_mut(),
            Phase::Resolve,
            || at.to_string(),
            |found: &Candidates| &found.addresses,
            || match at.literal() {
                Some(address) => Ok(Candidates::only(address)),
                None => resolver.candidates(at.host(), at.port(), is_authentic),
            },
        )
    }

    /// The phase [`Phase::Connect`].
    fn connect(&mut self, address: SocketAddr) -> Result<TcpStream, Error> {
        let tcp = self.options.tcp();
        self.phase(
            Phase::Connect,
            || Shown(address).to_string(),
            || tcp.connect(address),
        )
    }

    /// The phase [`Phase::Connect`] of a Unix socket, its only one.
    fn connect_file(&mut self, path: &Path) -> Result<Socket, Error> {
        let endpoint = self.endpoint;
        self.phase(
            Phase::Connect,
            || endpoint.authority(),
            || UnixStream::connect(path).map(Socket::from),
        )
    }

    /// The phase [`Phase::Proxy`], where there is one.
    fn pass_proxy(&mut self, stream: TcpStream, address: SocketAddr) -> Result<TcpStream, Error> {
        let (Some(proxy), Some(pass)) = (self.proxy, self.options.pass_proxy()) else {
            return Ok(stream);
        };
        let endpoint = self.endpoint;
        let target = endpoint.authority();
        self.phase(
            Phase::Proxy,
            || named(endpoint, Some(proxy), address),
            || pass(&stream, proxy, &target).map(|()| stream),
        )
    }

    /// The phase [`Phase::Tls`], where the scheme asks for it.
    fn secure(&mut self, socket: Socket, address: SocketAddr) -> Result<Socket, Error> {
        let Some(tls) = self.tls else {
            return Ok(socket);
        };
        let (endpoint, proxy) = (self.endpoint, self.proxy);
        let host = endpoint.host();
        self.phase(
            Phase::Tls,
            || named(endpoint, proxy, address),
            || tls.handshake(socket, host).map(Socket::from_tls),
        )
    }

    /// The phase [`Phase::WebSocket`], where the scheme asks for it.
    fn upgrade(&mut self, socket: Socket, address: SocketAddr) -> Result<Socket, Error> {
        let Some(ws) = &self.ws else {
            return Ok(socket);
        };
        let (host, path) = (host_header(self.endpoint), self.endpoint.path());
        observed(
            self.observer.as_deref_mut(),
            Phase::WebSocket,
            || named(self.endpoint, self.proxy, address),
            |_| &[],
            || ws.handshake(socket, &host, path).map(Socket::from_ws),
        )
    }

    /// Runs one phase; `name` puts into words what is being reached.
    fn phase<T>(
        &mut self,
        phase: Phase,
        name: impl Fn() -> String,
        body: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, Error> {
        observed(self.observer.as_deref_mut(), phase, name, |_| &[], body)
    }
}

/// What was asked for, and the address where it was looked for.
fn named(endpoint: &Endpoint, proxy: Option<&Proxy>, address: SocketAddr) -> String {
    let (asked, address) = (endpoint.authority(), Shown(address));
    match (proxy, endpoint.literal()) {
        (Some(proxy), _) => match proxy.at().literal() {
            Some(_) => format!("{asked} (through {address})"),
            None => format!("{asked} (through {} at {address})", proxy.at()),
        },
        (None, Some(_)) => asked,
        (None, None) => format!("{asked} ({address})"),
    }
}

/// The host as HTTP names it, with a port only if it is not the usual one (RFC 9110 section 7.2): a
/// signed address is signed for that.
fn host_header(endpoint: &Endpoint) -> String {
    let mut host = endpoint.authority();
    let port = endpoint.port();
    if port == endpoint.scheme().default_port() {
        host.truncate(host.len() - format!(":{port}").len());
    }
    host
}

#[cfg(test)]
mod tests;
