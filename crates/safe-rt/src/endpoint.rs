//! Where a broker is: `mqtt://host[:port]` or `mqtts://host[:port]`, parsed once.
//!
//! The scheme alone decides between plain text and TLS; nothing else in the crate guesses it. The
//! syntax is the authority part of a URI (RFC 3986 section 3.2) without user information, path or
//! query: credentials and topics have their own places. The module does not look names up.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// Longest host name accepted, in bytes (RFC 1035 section 2.3.4).
pub const HOST_LEN_MAX: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_LEN_MAX: usize = 63;

/// How bytes travel to an [`Endpoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// MQTT over plain TCP, `mqtt://`, port 1883 unless given.
    Mqtt,
    /// MQTT over TLS over TCP, `mqtts://`, port 8883 unless given.
    Mqtts,
}

impl Scheme {
    /// Returns the scheme as it is written in an endpoint, without `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
        }
    }

    /// Returns the port registered for the scheme.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
        }
    }
}

/// A scheme that is recognised, and answered with [`EndpointError::NotSupportedYet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlannedScheme {
    /// MQTT over WebSocket.
    Ws,
    /// MQTT over WebSocket over TLS.
    Wss,
    /// MQTT over a Unix domain socket.
    Unix,
}

impl PlannedScheme {
    /// Returns the scheme as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no `scheme://` in front.
    NoScheme,
    /// The scheme is none of the known ones.
    UnknownScheme(String),
    /// The scheme is known, but not supported yet.
    NotSupportedYet(PlannedScheme),
    /// There is no host between the scheme and the port.
    NoHost,
    /// The host has more than [`HOST_LEN_MAX`] bytes.
    HostTooLong(usize),
    /// A label of the host is empty or has more than [`LABEL_LEN_MAX`] bytes.
    BadLabel(String),
    /// The host has a character that no host name has.
    BadHostCharacter(char),
    /// The host ends in a number but is no IPv4 address.
    BadIpv4(String),
    /// What stands in the brackets is no IPv6 address.
    BadIpv6(String),
    /// An IPv6 address stands without brackets.
    UnbracketedIpv6,
    /// A bracket is not closed.
    UnclosedBracket,
    /// Something other than a port follows the closing bracket.
    AfterBracket(String),
    /// The port is not a number from 1 to 65535.
    BadPort(String),
    /// A user name stands before the host.
    UserInfo,
    /// A path, query or fragment follows the host.
    Path(String),
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("no scheme: expected mqtt://host or mqtts://host"),
            Self::UnknownScheme(found) => {
                write!(f, "unknown scheme {found:?}: expected mqtt or mqtts")
            }
            Self::NotSupportedYet(scheme) => write!(
                f,
                "scheme {:?} is not supported yet: expected mqtt or mqtts",
                scheme.as_str()
            ),
            Self::NoHost => f.write_str("no host: expected a name or an address"),
            Self::HostTooLong(len) => {
                write!(f, "host of {len} bytes: at most {HOST_LEN_MAX} are allowed")
            }
            Self::BadLabel(label) => write!(
                f,
                "host label {label:?}: expected 1 to {LABEL_LEN_MAX} bytes between dots"
            ),
            Self::BadHostCharacter(found) => write!(
                f,
                "character {found:?} in the host: expected letters, digits, '-', '_' and '.' \
                 (international names in their xn-- form)"
            ),
            Self::BadIpv4(found) => write!(
                f,
                "host {found:?} ends in a number but is no IPv4 address: expected four numbers \
                 from 0 to 255"
            ),
            Self::BadIpv6(found) => write!(f, "no IPv6 address in the brackets: found {found:?}"),
            Self::UnbracketedIpv6 => {
                f.write_str("IPv6 address without brackets: expected [address] or [address]:port")
            }
            Self::UnclosedBracket => f.write_str("bracket of an IPv6 address is not closed"),
            Self::AfterBracket(found) => {
                write!(f, "expected :port after the bracket, found {found:?}")
            }
            Self::BadPort(found) => {
                write!(f, "port {found:?}: expected a number from 1 to 65535")
            }
            Self::UserInfo => {
                f.write_str("user name in the endpoint: credentials are given separately")
            }
            Self::Path(found) => write!(f, "nothing may follow the host, found {found:?}"),
        }
    }
}

impl std::error::Error for EndpointError {}

/// The place of a broker: scheme, host and port.
///
/// # Examples
/// ```
/// use safe_rt::{Endpoint, Scheme};
///
/// let endpoint: Endpoint = "mqtts://broker.example".parse()?;
/// assert_eq!(endpoint.scheme(), Scheme::Mqtts);
/// assert_eq!((endpoint.host(), endpoint.port()), ("broker.example", 8883));
/// assert_eq!(Endpoint::new(Scheme::Mqtt, "[::1]:1884")?.to_string(), "mqtt://[::1]:1884");
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// A host, in the form that decides whether a look-up is needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Name(Box<str>),
    /// The address and its text, so that both can be handed out by reference.
    Literal(IpAddr, Box<str>),
}

impl Endpoint {
    /// Parses `host[:port]` for a scheme that is already known.
    ///
    /// # Errors
    /// The first rule of the syntax that the text breaks.
    pub fn new(scheme: Scheme, authority: &str) -> Result<Self, EndpointError> {
        if authority.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if let Some(at) = authority.find(['/', '?', '#', '\\']) {
            return Err(EndpointError::Path(authority[at..].to_owned()));
        }
        let (host, port) = split_authority(authority)?;
        Ok(Self {
            scheme,
            host,
            port: port.map_or_else(|| Ok(scheme.default_port()), parse_port)?,
        })
    }

    /// Returns the scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the host as a TLS server name or a resolver takes it: an IPv6 address without
    /// brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.host {
            Host::Name(text) | Host::Literal(_, text) => text,
        }
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the socket address when the host is an address and no look-up is needed.
    #[must_use]
    pub const fn literal(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Literal(address, _) => Some(SocketAddr::new(*address, self.port)),
            Host::Name(_) => None,
        }
    }

    /// Returns `host:port`, an IPv6 address in brackets: the endpoint without its scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.host {
            Host::Literal(address, _) => SocketAddr::new(*address, self.port).to_string(),
            Host::Name(name) => format!("{name}:{}", self.port),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Parses `scheme://host[:port]`; the scheme in any case, one slash at the end tolerated.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let planned = |name: &str| {
            [PlannedScheme::Ws, PlannedScheme::Wss, PlannedScheme::Unix]
                .into_iter()
                .find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            // `unix:/path` is the one known form without slashes after the colon.
            return Err(match text.split_once(':') {
                Some((name, _)) if name.eq_ignore_ascii_case("unix") => {
                    EndpointError::NotSupportedYet(PlannedScheme::Unix)
                }
                _ => EndpointError::NoScheme,
            });
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => Scheme::Mqtt,
            "mqtts" => Scheme::Mqtts,
            "" => return Err(EndpointError::NoScheme),
            other => {
                return Err(planned(other).map_or_else(
                    || EndpointError::UnknownScheme(scheme.to_owned()),
                    EndpointError::NotSupportedYet,
                ));
            }
        };
        Self::new(scheme, rest.strip_suffix('/').unwrap_or(rest))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Splits `host[:port]` and checks the host; the port is still text.
fn split_authority(authority: &str) -> Result<(Host, Option<&str>), EndpointError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(EndpointError::UnclosedBracket)?;
        let address: Ipv6Addr = inside
            .parse()
            .map_err(|_| EndpointError::BadIpv6(inside.to_owned()))?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(EndpointError::AfterBracket(after.to_owned())),
        };
        let host = Host::Literal(IpAddr::V6(address), address.to_string().into());
        return Ok((host, port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(EndpointError::UnbracketedIpv6),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    Ok((parse_host(host)?, port))
}

/// Checks a host that stands without brackets.
fn parse_host(host: &str) -> Result<Host, EndpointError> {
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    if host.len() > HOST_LEN_MAX {
        return Err(EndpointError::HostTooLong(host.len()));
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(found) = host.chars().find(|c| !allowed(c)) {
        return Err(EndpointError::BadHostCharacter(found));
    }
    // One dot at the end is the root of the name tree, not an empty label.
    let labels = host.strip_suffix('.').unwrap_or(host);
    if let Some(label) = labels
        .split('.')
        .find(|label| label.is_empty() || label.len() > LABEL_LEN_MAX)
    {
        return Err(EndpointError::BadLabel(label.to_owned()));
    }
    // No top-level domain is a number, so `256.1.1.1` is a mistyped address and not a name.
    let last = labels.rsplit('.').next().unwrap_or(labels);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        let address: Ipv4Addr = host
            .parse()
            .map_err(|_| EndpointError::BadIpv4(host.to_owned()))?;
        return Ok(Host::Literal(IpAddr::V4(address), host.into()));
    }
    Ok(Host::Name(host.into()))
}

/// Parses a port; a sign, a blank or zero is not one.
fn parse_port(text: &str) -> Result<u16, EndpointError> {
    let bad = || EndpointError::BadPort(text.to_owned());
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(bad()),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests;
