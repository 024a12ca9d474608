//! What a proxy can answer, and what the text of one can lack.

use core::fmt;
use std::io;

use super::{PROXY_CREDENTIAL_BYTES_MAX, PROXY_HEAD_BYTES_MAX, PROXY_HEADERS_MAX};
use crate::debug_is_text::debug_is_text;
use crate::endpoint::EndpointError;

/// Longest reason phrase of a proxy that is kept, in bytes.
const REASON_BYTES_MAX: usize = 128;

/// Why a proxy did not connect on.
///
/// It is the payload of the [`io::Error`] behind an [`Error`](crate::Error) of
/// [`Phase::Proxy`](crate::Phase::Proxy); [`ProxyError::of`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// It asks for a user name and a password, and was given none (407).
    ///
    /// Some proxies say 401 where 407 is meant, as tinyproxy does of wrong ones; before it has
    /// connected on, that is of nobody else.
    CredentialsWanted,
    /// It refuses the user name or the password (407 or 401).
    CredentialsRefused,
    /// It asks for authentication of another kind than Basic (407 or 401).
    BasicNotOffered,
    /// It forbids the connection (403).
    Forbidden,
    /// It could not connect to the host (502).
    BadGateway,
    /// The host did not answer it in time (504).
    GatewayTimeout,
    /// It answered with another status.
    Status {
        /// The status code.
        code: u16,
        /// What the proxy calls it, as far as it is text, at most 128 bytes.
        reason: String,
    },
    /// What it answered is not HTTP.
    NotHttp,
    /// The head of its answer has more than [`PROXY_HEAD_BYTES_MAX`] bytes or
    /// [`PROXY_HEADERS_MAX`] fields.
    HeadTooLong,
    /// It closed the connection before it had answered.
    Closed,
}

impl ProxyError {
    /// Finds the proxy's error behind `error`, if there is one.
    ///
    /// # Examples
    /// ```
    /// let error = std::io::Error::other("something else");
    /// assert!(safe_rt::ProxyError::of(&error).is_none());
    /// ```
    #[must_use]
    pub fn of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        crate::error::find(error)
    }

    /// An answer that is neither of success nor of authentication.
    pub(super) fn status(code: u16, reason: &str) -> Self {
        match code {
            403 => Self::Forbidden,
            502 => Self::BadGateway,
            504 => Self::GatewayTimeout,
            _ => Self::Status {
                code,
                reason: reason
                    .chars()
                    .filter(|c| !c.is_control())
                    .scan(0, |len, c| {
                        *len += c.len_utf8();
                        (*len <= REASON_BYTES_MAX).then_some(c)
                    })
                    .collect(),
            },
        }
    }

    /// Whether it is what a proxy answers, and not that there is none.
    pub(in crate::dial) const fn is_answer(&self) -> bool {
        match self {
            Self::CredentialsWanted
            | Self::CredentialsRefused
            | Self::BasicNotOffered
            | Self::Forbidden
            | Self::BadGateway
            | Self::GatewayTimeout
            | Self::Status { .. } => true,
            Self::NotHttp | Self::HeadTooLong | Self::Closed => false,
        }
    }

    const fn kind(&self) -> io::ErrorKind {
        match self {
            Self::CredentialsWanted
            | Self::CredentialsRefused
            | Self::BasicNotOffered
            | Self::Forbidden => io::ErrorKind::PermissionDenied,
            Self::BadGateway | Self::GatewayTimeout => io::ErrorKind::HostUnreachable,
            Self::Status { .. } => io::ErrorKind::Other,
            Self::NotHttp | Self::HeadTooLong => io::ErrorKind::InvalidData,
            Self::Closed => io::ErrorKind::UnexpectedEof,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialsWanted => f.write_str(
                "the proxy asks for a user name and a password, and none are given (status 407 or 401)",
            ),
            Self::CredentialsRefused => {
                f.write_str("the proxy refuses the user name or the password (status 407 or 401)")
            }
            Self::BasicNotOffered => f.write_str(
                "the proxy asks for authentication of another kind than Basic (status 407 or 401)",
            ),
            Self::Forbidden => f.write_str("the proxy forbids this connection (status 403)"),
            Self::BadGateway => f.write_str("the proxy could not connect to the host (status 502)"),
            Self::GatewayTimeout => {
                f.write_str("the host did not answer the proxy in time (status 504)")
            }
            Self::Status { code, reason } => {
                write!(f, "the proxy answered with status {code} ({reason})")
            }
            Self::NotHttp => f.write_str("what the proxy answered is not HTTP"),
            Self::HeadTooLong => write!(
                f,
                "the proxy's answer is too long: at most {PROXY_HEAD_BYTES_MAX} bytes and \
                 {PROXY_HEADERS_MAX} fields are read"
            ),
            Self::Closed => f.write_str("the proxy closed the connection before it had answered"),
        }
    }
}

impl std::error::Error for ProxyError {}

impl From<ProxyError> for io::Error {
    fn from(error: ProxyError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Why a text is not a [`Proxy`](super::Proxy). No variant holds what may be a password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// The scheme is a known one of proxies, but none that is supported: only `http` is.
    Scheme(&'static str),
    /// The variable that holds it is not UTF-8.
    NotUtf8,
    /// The scheme is none of a proxy.
    UnknownScheme,
    /// The host is no name and no address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// There is no port: proxies have no common one.
    NoPort,
    /// Something follows the host and its port.
    Path,
    /// A percent sign in the user name or the password is not followed by two hexadecimal digits.
    BadPercentEncoding,
    /// The user name contains a colon, which Basic authentication cannot send (RFC 7617 section 2).
    ColonInUser,
    /// The user name or the password contains a control character.
    ControlCharacter,
    /// The user name or the password has more than [`PROXY_CREDENTIAL_BYTES_MAX`] bytes.
    CredentialTooLong,
}

impl ProxyUrlError {
    /// What stands before `://` may be part of a password: only what is known is repeated.
    pub(super) fn scheme(found: &str) -> Self {
        const KNOWN: [&str; 5] = ["https", "socks4", "socks4a", "socks5", "socks5h"];
        KNOWN
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(found))
            .map_or(Self::UnknownScheme, Self::Scheme)
    }

    /// Where the `@host` behind it was forgotten, what stands for host and port is a user name and a
    /// password.
    pub(super) fn place(error: &EndpointError) -> Self {
        match error {
            EndpointError::BadPort(_) => Self::Port,
            _ => Self::Host,
        }
    }
}

impl fmt::Display for ProxyUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(found) => {
                write!(f, "a proxy of scheme {found} is not supported: expected http://")
            }
            Self::NotUtf8 => f.write_str("the text of the proxy is not UTF-8"),
            Self::UnknownScheme => f.write_str("unknown scheme of a proxy: expected http://"),
            Self::Host => f.write_str(
                "the proxy's host is no name and no address: expected http://host:port, with \
                 http://user:password@ in front of the host where they are wanted",
            ),
            Self::Port => f.write_str(
                "the proxy's port is not a number from 1 to 65535: expected http://host:port, or \
                 http://user:password@host:port",
            ),
            Self::NoPort => f.write_str("the proxy has no port: expected http://host:port"),
            Self::Path => f.write_str("something follows the host and port of the proxy"),
            Self::BadPercentEncoding => f.write_str(
                "'%' in the proxy's user name or password: expected two hexadecimal digits after it",
            ),
            Self::ColonInUser => {
                f.write_str("the proxy's user name contains a colon, which cannot be sent")
            }
            Self::ControlCharacter => {
                f.write_str("the proxy's user name or password contains a control character")
            }
            Self::CredentialTooLong => write!(
                f,
                "the proxy's user name or password has more than {PROXY_CREDENTIAL_BYTES_MAX} bytes"
            ),
        }
    }
}

debug_is_text!(ProxyUrlError);

impl std::error::Error for ProxyUrlError {}
