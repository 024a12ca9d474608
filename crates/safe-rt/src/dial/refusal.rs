//! What an endpoint and the options can have against each other: found before anything is sent.

use core::fmt;
use std::io;

use super::options::INTERFACE_BYTES_MAX;
use super::proxy::ProxyUrlError;
use crate::debug_is_text::debug_is_text;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Phase};

/// Why a dial is refused before anything is sent: the endpoint and the options do not fit together,
/// or this build lacks what the endpoint asks for.
///
/// It is the payload of the [`io::Error`] behind an [`Error`]; [`DialRefusal::of`] finds it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialRefusal {
    /// TLS options are given, and the scheme is plain text.
    TlsForPlain(Scheme),
    /// The scheme asks for TLS, and no TLS options are given.
    TlsMissing(Scheme),
    /// The scheme asks for a WebSocket, and this build has none.
    NoWebSocket(Scheme),
    /// WebSocket options are given, and the scheme is no WebSocket: their headers, credentials perhaps,
    /// would go nowhere.
    WsForOther(Scheme),
    /// A proxy is given, and a Unix socket does not go through one.
    ProxyForUnix,
    /// The variable of the environment that counts for the endpoint does not hold a proxy.
    ProxyUrl(ProxyUrlError),
    /// A network interface is given, and this system cannot bind a socket to one.
    NoInterfaces,
    /// What is given is no name of a network interface: it is empty, has more than
    /// [`INTERFACE_BYTES_MAX`] bytes, or contains a NUL or a slash.
    BadInterface(String),
}

impl DialRefusal {
    /// Finds the refusal behind `error`, if it is one.
    ///
    /// # Examples
    /// ```
    /// use safe_rt::{DialOptions, DialRefusal, Scheme};
    ///
    /// let endpoint = "mqtts://broker.example".parse()?;
    /// let error = safe_rt::dial(&endpoint, &DialOptions::new()).expect_err("no TLS options");
    /// assert_eq!(DialRefusal::of(&error), Some(&DialRefusal::TlsMissing(Scheme::Mqtts)));
    /// # Ok::<(), safe_rt::EndpointError>(())
    /// ```
    #[must_use]
    pub fn of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        crate::error::find(error)
    }

    const fn phase(&self) -> Phase {
        match self {
            Self::TlsForPlain(_) | Self::TlsMissing(_) => Phase::Tls,
            Self::NoWebSocket(_) | Self::WsForOther(_) => Phase::WebSocket,
            Self::ProxyForUnix | Self::ProxyUrl(_) => Phase::Proxy,
            Self::NoInterfaces | Self::BadInterface(_) => Phase::Connect,
        }
    }

    const fn kind(&self) -> io::ErrorKind {
        match self {
            Self::TlsForPlain(_)
            | Self::TlsMissing(_)
            | Self::WsForOther(_)
            | Self::ProxyForUnix
            | Self::ProxyUrl(_)
            | Self::BadInterface(_) => io::ErrorKind::InvalidInput,
            Self::NoWebSocket(_) | Self::NoInterfaces => io::ErrorKind::Unsupported,
        }
    }

    /// The error of a dial to `endpoint`.
    pub(super) fn into_error(self, endpoint: &Endpoint) -> Error {
        let (phase, kind) = (self.phase(), self.kind());
        Error::new(phase, endpoint.authority(), io::Error::new(kind, self))
    }
}

impl fmt::Display for DialRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TlsForPlain(Scheme::Unix) => f.write_str(
                "TLS options are given, but unix: is plain text: expected mqtts:// or wss://",
            ),
            Self::TlsForPlain(scheme) => write!(
                f,
                "TLS options are given, but {}:// is plain text: expected mqtts:// or wss://",
                scheme.as_str()
            ),
            Self::TlsMissing(scheme) => write!(
                f,
                "{}:// asks for TLS, but no TLS options are given: plain text is refused",
                scheme.as_str()
            ),
            Self::NoWebSocket(scheme) => write!(
                f,
                "{}:// asks for a WebSocket: this program was built without the feature ws",
                scheme.as_str()
            ),
            Self::WsForOther(Scheme::Unix) => f.write_str(
                "WebSocket options are given, but unix: is no WebSocket: expected ws:// or wss://",
            ),
            Self::WsForOther(scheme) => write!(
                f,
                "WebSocket options are given, but {}:// is no WebSocket: expected ws:// or wss://",
                scheme.as_str()
            ),
            Self::ProxyForUnix => f.write_str("a Unix socket does not go through a proxy"),
            Self::ProxyUrl(error) => write!(f, "the environment names no valid proxy: {error}"),
            Self::NoInterfaces => {
                f.write_str("this system cannot bind a connection to a network interface")
            }
            Self::BadInterface(name) => write!(
                f,
                "{name:?} is no name of a network interface: expected 1 to {INTERFACE_BYTES_MAX} \
                 bytes without a slash"
            ),
        }
    }
}

debug_is_text!(DialRefusal);

impl std::error::Error for DialRefusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ProxyUrl(error) => Some(error),
            _ => None,
        }
    }
}
