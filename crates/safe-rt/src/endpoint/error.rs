//! Why a text is not an [`Endpoint`](super::Endpoint): one variant per rule it breaks.

use core::fmt;

use super::{HOST_LEN_MAX, LABEL_LEN_MAX, TARGET_LEN_MAX, UNIX_PATH_LEN_MAX};
use crate::debug_is_text::debug_is_text;

/// Why a text is not an [`Endpoint`](super::Endpoint).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no `scheme://` in front.
    NoScheme,
    /// The scheme is none of the known ones.
    UnknownScheme(String),
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
    BadPort(
        /// What was found, if it is digits; what is not may be a password, and is left out.
        String,
    ),
    /// A user name stands before the host.
    UserInfo,
    /// A path, query or fragment follows the host where none may; what a query holds is left out.
    Path(String),
    /// The path of a WebSocket, with its query, has more than [`TARGET_LEN_MAX`] bytes.
    TargetTooLong(usize),
    /// The path or query of a WebSocket has a character that must be percent-encoded there.
    BadTargetCharacter(char),
    /// A percent sign in the path or query of a WebSocket is not followed by two hexadecimal
    /// digits.
    BadPercentEncoding,
    /// A fragment follows the path of a WebSocket (RFC 6455 section 3).
    Fragment,
    /// The path of a Unix socket does not begin with a slash.
    NotAbsolute(String),
    /// The path of a Unix socket names no file: it ends in a slash.
    NoFile(String),
    /// The path of a Unix socket has more than [`UNIX_PATH_LEN_MAX`] bytes.
    UnixPathTooLong(usize),
    /// The path of a Unix socket contains a NUL.
    NulInPath,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str(
                "no scheme: expected mqtt://host, mqtts://host, ws://host, wss://host or \
                 unix:/path",
            ),
            Self::UnknownScheme(found) => write!(
                f,
                "unknown scheme {found:?}: expected mqtt, mqtts, ws, wss or unix"
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
            Self::BadPort(found) if found.is_empty() => {
                f.write_str("the port is not a number: expected one from 1 to 65535")
            }
            Self::BadPort(found) => {
                write!(f, "port {found:?}: expected a number from 1 to 65535")
            }
            Self::UserInfo => {
                f.write_str("user name in the endpoint: credentials are given separately")
            }
            Self::Path(found) => write!(f, "nothing may follow the host, found {found:?}"),
            Self::TargetTooLong(len) => write!(
                f,
                "path and query of {len} bytes: at most {TARGET_LEN_MAX} are allowed"
            ),
            Self::BadTargetCharacter(found) => write!(
                f,
                "character {found:?} in the path or query: expected it percent-encoded"
            ),
            Self::BadPercentEncoding => {
                f.write_str("'%' in the path or query: expected two hexadecimal digits after it")
            }
            Self::Fragment => f.write_str("a WebSocket has no fragment: expected '#' as %23"),
            Self::NotAbsolute(found) => write!(
                f,
                "path {found:?} of a Unix socket: expected one that begins with a slash"
            ),
            Self::NoFile(found) => write!(
                f,
                "path {found:?} of a Unix socket: expected the name of a file at its end"
            ),
            Self::UnixPathTooLong(len) => write!(
                f,
                "path of {len} bytes of a Unix socket: at most {UNIX_PATH_LEN_MAX} are allowed"
            ),
            Self::NulInPath => f.write_str("the path of a Unix socket contains a NUL"),
        }
    }
}

debug_is_text!(EndpointError);

impl std::error::Error for EndpointError {}
