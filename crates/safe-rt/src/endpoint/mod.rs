//! Where a broker is: `mqtt://host[:port]`, `mqtts://host[:port]`, the same with a path for `ws://`
//! and `wss://`, or `unix:/path`, parsed once.
//!
//! The scheme alone decides between plain text and TLS; nothing else in the crate guesses it. The
//! syntax is that of a URI (RFC 3986 section 3.2) without user information: credentials and topics
//! have their own places. The query of a WebSocket may be a signature, so no text of this module
//! repeats one. The module does not look names up.

mod error;
mod parse;

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use std::path::Path;

use crate::address::Shown;

pub use self::error::EndpointError;

/// Longest host name accepted, in bytes (RFC 1035 section 2.3.4).
pub const HOST_LEN_MAX: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_LEN_MAX: usize = 63;
/// Longest path of a WebSocket with its query, in bytes: what every server is told to take
/// (RFC 9110 section 4.1).
pub const TARGET_LEN_MAX: usize = 8000;
/// Longest path of a Unix socket, in bytes: `sun_path` of Linux. Where the system has less room it
/// refuses when the connection is made.
pub const UNIX_PATH_LEN_MAX: usize = 107;

/// The path of a WebSocket where none is written: the one most brokers serve MQTT at.
const MQTT_TARGET: &str = "/mqtt";

/// How bytes travel to an [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// MQTT over plain TCP, `mqtt://`, port 1883 unless given.
    Mqtt,
    /// MQTT over TLS over TCP, `mqtts://`, port 8883 unless given.
    Mqtts,
    /// MQTT over WebSocket over plain TCP, `ws://`, port 80 unless given.
    Ws,
    /// MQTT over WebSocket over TLS over TCP, `wss://`, port 443 unless given.
    Wss,
    /// MQTT over a Unix domain socket, `unix:/path`: plain text that does not leave the machine.
    Unix,
}

impl Scheme {
    const ALL: [Self; 5] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss, Self::Unix];

    /// Returns the scheme as it is written in an endpoint, without `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// Returns the port registered for the scheme; 0 for a Unix socket, which has none.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
            Self::Unix => 0,
        }
    }

    /// Returns whether bytes are protected by TLS.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Returns whether MQTT travels in the messages of a WebSocket.
    #[must_use]
    pub const fn is_web_socket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// Returns whether this build can dial it: TLS needs the feature `tls`, a WebSocket `ws`.
    #[must_use]
    pub const fn is_available(self) -> bool {
        (cfg!(feature = "tls") || !self.is_tls()) && (cfg!(feature = "ws") || !self.is_web_socket())
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }
}

/// The place of a broker: scheme, host, port and path, or the path of a Unix socket.
///
/// Its texts, [`Display`](fmt::Display) and [`Debug`], leave out what a query holds.
///
/// # Examples
/// ```
/// use safe_rt::{Endpoint, Scheme};
///
/// let endpoint: Endpoint = "mqtts://broker.example".parse()?;
/// assert_eq!(endpoint.scheme(), Scheme::Mqtts);
/// assert_eq!((endpoint.host(), endpoint.port()), ("broker.example", 8883));
/// assert_eq!(Endpoint::new(Scheme::Mqtt, "[::1]:1884")?.to_string(), "mqtt://[::1]:1884");
///
/// let endpoint: Endpoint = "wss://broker.example".parse()?;
/// assert_eq!((endpoint.port(), endpoint.path()), (443, "/mqtt"));
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    place: Place,
}

/// What it is that is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Network {
        at: HostPort,
        /// Path and query of a WebSocket; empty for the others.
        target: Box<str>,
    },
    File(Box<str>),
}

/// A host and a port; written with a colon between them, an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    host: Host,
    port: u16,
}

impl HostPort {
    /// Parses `host[:port]`; `None` if there is no port and none to take instead.
    pub(crate) fn parse(text: &str, default: Option<u16>) -> Result<Option<Self>, EndpointError> {
        let (host, port) = parse::split_authority(text)?;
        let port = match port {
            Some(port) => Some(parse::parse_port(port)?),
            None => default,
        };
        Ok(port.map(|port| Self { host, port }))
    }

    /// The host as a resolver takes it: an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        match &self.host {
            Host::Name(text) | Host::Literal(_, text) => text,
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The socket address, if the host is an address.
    pub(crate) const fn literal(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Literal(address, _) => Some(SocketAddr::new(*address, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Literal(address, _) => Shown(SocketAddr::new(*address, self.port)).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A host, in the form that decides whether a look-up is needed.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Host {
    Name(Box<str>),
    /// The address and its text, so that both can be handed out by reference.
    Literal(IpAddr, Box<str>),
}

impl Endpoint {
    /// Parses what stands behind `scheme://` for a scheme that is already known: `host[:port]`,
    /// for a WebSocket with a path and a query if wanted, and the path alone for a Unix socket.
    ///
    /// # Errors
    /// The first rule of the syntax that the text breaks.
    pub fn new(scheme: Scheme, rest: &str) -> Result<Self, EndpointError> {
        if scheme == Scheme::Unix {
            let place = Place::File(parse::parse_unix_path(rest)?);
            return Ok(Self { scheme, place });
        }
        let (authority, target) = parse::split_target(rest);
        // Only behind a host and its port is an `@` a character of the path; else what stands
        // before it may be a password, in whichever way it breaks the rest.
        let user_info = authority.as_bytes().contains(&b'@')
            || rest.as_bytes().contains(&b'@')
                && (!scheme.is_web_socket() || HostPort::parse(authority, None).is_err());
        if user_info {
            return Err(EndpointError::UserInfo);
        }
        let target = match target {
            _ if scheme.is_web_socket() => parse::parse_target(target)?,
            "" => "".into(),
            _ => return Err(EndpointError::Path(parse::without_query(target))),
        };
        let at = HostPort::parse(authority, Some(scheme.default_port()))?
            .ok_or(EndpointError::NoHost)?;
        Ok(Self {
            scheme,
            place: Place::Network { at, target },
        })
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host as a TLS server name or a resolver takes it: an IPv6 address without
    /// brackets. Empty for a Unix socket, which has none.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host_port().map_or("", HostPort::host)
    }

    /// Returns the port; 0 for a Unix socket, which has none.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self.host_port() {
            Some(at) => at.port(),
            None => 0,
        }
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Host and port, which a Unix socket has not.
    pub(crate) const fn host_port(&self) -> Option<&HostPort> {
        match &self.place {
            Place::Network { at, .. } => Some(at),
            Place::File(_) => None,
        }
    }

    /// Returns the path: of a WebSocket with its query, as the request asks for it, `/mqtt` where
    /// none is written; of a Unix socket that of its file; else empty.
    ///
    /// A query may be a signature: it is not for logs.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.place {
            Place::Network { target, .. } => target,
            Place::File(path) => path,
        }
    }

    /// Returns the file of a Unix socket, if it is one.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Network { .. } => None,
            Place::File(path) => Some(Path::new(&**path)),
        }
    }

    /// Returns the socket address when the host is an address and no look-up is needed.
    #[must_use]
    pub const fn literal(&self) -> Option<SocketAddr> {
        match self.host_port() {
            Some(at) => at.literal(),
            None => None,
        }
    }

    /// Returns `host:port`, an IPv6 address in brackets, and nothing of a path or query; for a Unix
    /// socket the path of its file.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Network { at, .. } => at.to_string(),
            Place::File(path) => path.to_string(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Parses `scheme://host[:port]`, with a path for a WebSocket, or `unix:/path`; the scheme in
    /// any case. Where there is no path, one slash at the end is tolerated.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = match parse::split_at_byte(text, b':') {
            None | Some(("", _)) => return Err(EndpointError::NoScheme),
            Some(split) => split,
        };
        let slashes = rest.strip_prefix("//");
        match (Scheme::parse(scheme), slashes) {
            (Some(Scheme::Unix), _) => Self::new(Scheme::Unix, slashes.unwrap_or(rest)),
            (Some(scheme), Some(rest)) if scheme.is_web_socket() => Self::new(scheme, rest),
            (Some(scheme), Some(rest)) => Self::new(scheme, rest.strip_suffix('/').unwrap_or(rest)),
            (None, Some(_)) => Err(EndpointError::UnknownScheme(scheme.to_owned())),
            (_, None) => Err(EndpointError::NoScheme),
        }
    }
}

impl fmt::Display for Endpoint {
    /// Writes it as it is parsed, but for what a query holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, authority) = (self.scheme.as_str(), self.authority());
        match &self.place {
            Place::Network { target, .. } => {
                let target = parse::without_query(target);
                write!(f, "{scheme}://{authority}{target}")
            }
            Place::File(path) => write!(f, "{scheme}:{path}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests;
