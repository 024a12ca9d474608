//! How to dial: what a program chooses, and whether it fits the endpoint.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use fiber::net::TcpStream;

use super::proxy::{Proxy, ProxyEnvironment, ProxyUrlError, connect_on};
use super::refusal::DialRefusal;
use super::transport::{TcpKeepAlive, TcpOptions};
use crate::clock::ClockFloor;
use crate::dns::Resolver;
use crate::endpoint::{Endpoint, Scheme};
use crate::tls::ClientTls;
use crate::ws::{self, WsOptions};

/// Longest name of a network interface, in bytes: `IFNAMSIZ` of Linux without the NUL.
pub const INTERFACE_BYTES_MAX: usize = 15;

/// How to dial. Clones share their [`Resolver`].
///
/// # Examples
/// ```
/// let options = safe_rt::DialOptions::new();
/// let endpoint = "mqtt://127.0.0.1:1".parse()?;
/// let outcome = fiber::run(move || safe_rt::dial(&endpoint, &options)).expect("the runtime ran");
/// let error = outcome.expect_err("nobody listens on port 1");
/// assert_eq!(error.phase(), safe_rt::Phase::Connect);
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DialOptions {
    tls: Option<ClientTls>,
    ws: Option<WsOptions>,
    resolver: Resolver,
    tcp: TcpOptions,
    proxy: ProxyChoice,
    /// How a proxy is passed, where there can be one: a program without has nothing of it.
    pass_proxy: Option<PassProxy>,
}

/// Has a proxy connect a stream to it to a target.
pub(super) type PassProxy = fn(&TcpStream, &Proxy, &str) -> io::Result<()>;

#[derive(Clone, Debug)]
enum ProxyChoice {
    None,
    This(Rc<Proxy>),
    /// A program that names none has nothing of them.
    Environment(Rc<dyn NamesProxy>),
}

/// An environment that names proxies.
trait NamesProxy: fmt::Debug {
    fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, ProxyUrlError>;
}

impl NamesProxy for ProxyEnvironment {
    fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, ProxyUrlError> {
        Self::proxy_for(self, endpoint)
    }
}

impl Default for DialOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DialOptions {
    /// Starts with plain TCP alone, without a proxy; small writes go out at once and idle peers are
    /// probed, see [`nodelay`](Self::nodelay) and [`keep_alive`](Self::keep_alive).
    #[must_use]
    pub fn new() -> Self {
        Self {
            tls: None,
            ws: None,
            resolver: Resolver::default(),
            tcp: TcpOptions::DEFAULT,
            proxy: ProxyChoice::None,
            pass_proxy: None,
        }
    }

    /// Who looks names up, and remembers what was found; a [`Resolver`] of these options and their
    /// clones alone, which asks the system, unless set.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    pub(super) const fn resolver_in_use(&self) -> &Resolver {
        &self.resolver
    }

    /// Returns the earliest time that it can be for the TLS options that were given, if any were:
    /// while the wall clock is behind it, certificates are judged as of this time.
    #[must_use]
    pub fn clock_floor(&self) -> Option<&ClockFloor> {
        self.tls.as_ref().map(ClientTls::clock_floor)
    }

    /// Sends small writes at once (`TCP_NODELAY`), which is the default, or collects them.
    #[must_use]
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.tcp.nodelay = nodelay;
        self
    }

    /// Has the kernel probe an idle peer (`SO_KEEPALIVE`), by default as [`TcpKeepAlive`] says;
    /// `None` leaves it to the system, which does not. Probes cost an idle radio link some bytes.
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Option<TcpKeepAlive>) -> Self {
        self.tcp.keep_alive = keep_alive;
        self.tcp.keep_alive_is_chosen = true;
        self
    }

    /// As [`DialOptions::keep_alive`], but only where that was not called: for a protocol that asks a silent
    /// peer itself, and is given the options of a program.
    #[must_use]
    pub const fn keep_alive_unless_chosen(mut self, keep_alive: Option<TcpKeepAlive>) -> Self {
        if !self.tcp.keep_alive_is_chosen {
            self.tcp.keep_alive = keep_alive;
        }
        self
    }

    /// Limits how long the kernel keeps bytes that the peer does not acknowledge, as
    /// [`Socket::set_user_timeout`](crate::Socket::set_user_timeout) does, from the start on: also
    /// for the connection itself.
    #[must_use]
    pub const fn user_timeout(mut self, timeout: Duration) -> Self {
        self.tcp.user_timeout = Some(timeout);
        self
    }

    /// Sets up to how many unsent bytes the kernel takes more, as
    /// [`Socket::set_not_sent_low_water`](crate::Socket::set_not_sent_low_water) does.
    #[must_use]
    pub const fn not_sent_low_water(mut self, bytes: u32) -> Self {
        self.tcp.not_sent_low_water = Some(bytes);
        self
    }

    /// Connects from this local address; port 0 lets the system choose one. Addresses of another
    /// family are then not reached. The simulator takes no notice of it, and neither does a Unix
    /// socket.
    #[must_use]
    pub const fn local_address(mut self, local: SocketAddr) -> Self {
        self.tcp.local = Some(local);
        self
    }

    /// Connects through this network interface alone, for example `wwan0` (`SO_BINDTODEVICE`). Only
    /// Linux can: elsewhere a dial is refused, and so it is anywhere with what is no name of one. The
    /// simulator takes no notice of it, and neither does a Unix socket.
    ///
    /// **Names are not looked up through it**: the questions to name servers go as the system routes
    /// them. Where that matters give the endpoint by its address.
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.tcp.interface = Some(name.into());
        self
    }

    /// Connects through this proxy. For a Unix socket that is an error.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = ProxyChoice::This(Rc::new(proxy));
        self.pass_proxy = Some(connect_on);
        self
    }

    /// Connects through the proxy that the environment names for the endpoint, as it is now; see
    /// [`ProxyEnvironment`].
    #[must_use]
    pub fn proxy_from_env(self) -> Self {
        self.proxy_from(ProxyEnvironment::from_env())
    }

    /// Connects through the proxy that this environment names for the endpoint.
    #[must_use]
    pub fn proxy_from(mut self, environment: ProxyEnvironment) -> Self {
        self.proxy = ProxyChoice::Environment(Rc::new(environment));
        self.pass_proxy = Some(connect_on);
        self
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: ClientTls) {
        self.tls = Some(tls);
    }

    #[cfg(feature = "ws")]
    pub(crate) fn set_ws(&mut self, ws: WsOptions) {
        self.ws = Some(ws);
    }

    /// Returns how to ask for a WebSocket, if the endpoint is one and what was given fits it.
    pub(super) fn ws_for(&self, endpoint: &Endpoint) -> Result<Option<WsOptions>, DialRefusal> {
        let scheme = endpoint.scheme();
        match (scheme.is_web_socket(), &self.ws) {
            (false, None) => Ok(None),
            (false, Some(_)) => Err(DialRefusal::WsForOther(scheme)),
            (true, chosen) => {
                let chosen = chosen.clone().or_else(ws::default_options);
                chosen.map(Some).ok_or(DialRefusal::NoWebSocket(scheme))
            }
        }
    }

    pub(super) const fn tcp(&self) -> &TcpOptions {
        &self.tcp
    }

    /// Returns the TLS options to use, if the endpoint and what was given fit together.
    pub(super) fn tls_for(&self, endpoint: &Endpoint) -> Result<Option<&ClientTls>, DialRefusal> {
        let scheme = endpoint.scheme();
        match (scheme.is_tls(), &self.tls) {
            (false, None) => Ok(None),
            (true, Some(tls)) => Ok(Some(tls)),
            (false, Some(_)) => Err(DialRefusal::TlsForPlain(scheme)),
            (true, None) => Err(DialRefusal::TlsMissing(scheme)),
        }
    }

    pub(super) const fn pass_proxy(&self) -> Option<PassProxy> {
        self.pass_proxy
    }

    /// Returns the proxy to use, if there is to be one.
    pub(super) fn proxy_for(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, DialRefusal> {
        match &self.proxy {
            ProxyChoice::None => Ok(None),
            ProxyChoice::This(_) if endpoint.scheme() == Scheme::Unix => {
                Err(DialRefusal::ProxyForUnix)
            }
            ProxyChoice::This(proxy) => Ok(Some(proxy)),
            ProxyChoice::Environment(environment) => environment
                .proxy_for(endpoint)
                .map_err(DialRefusal::ProxyUrl),
        }
    }

    /// Refuses an interface where a socket cannot be bound to one, and what is no name of one. With
    /// an empty name the kernel would unbind the socket, and of one that is too long take a part.
    pub(super) fn check_interface(&self) -> Result<(), DialRefusal> {
        let can = cfg!(any(target_os = "linux", target_os = "android"));
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= INTERFACE_BYTES_MAX && !name.contains(['\0', '/'])
        };
        match &self.tcp.interface {
            Some(_) if !can => Err(DialRefusal::NoInterfaces),
            Some(name) if !is_name(name) => Err(DialRefusal::BadInterface(name.clone())),
            _ => Ok(()),
        }
    }
}
