//! Why a name gave no address.

use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use crate::address::Shown;
use crate::debug_is_text::debug_is_text;

/// Why the look-up of a name gave no address. It is the payload of the [`io::Error`] of a look-up.
///
/// The system's resolver tells no more than a text, [`DnsError::System`]; name servers that are asked
/// directly (`Resolver::servers`) answer with the others.
#[derive(Clone)]
#[non_exhaustive]
pub enum DnsError {
    /// There is no such name (`NXDOMAIN`, RFC 1035 section 4.1.1, RFC 2308 section 2.1).
    NoSuchName,
    /// The name is there and has no address (`NODATA`, RFC 2308 section 2.2).
    NoAddress,
    /// A server answered that it could not or would not say (RFC 1035 section 4.1.1).
    ServerFailed {
        /// The server, the last one that said so.
        server: SocketAddr,
        /// Its response code: 2 for a failure of its own (`SERVFAIL`), 5 when it refuses.
        code: u8,
    },
    /// The name is an alias of an alias and so on, in a circle or beyond the bound.
    TooManyAliases,
    /// Nobody gave an answer in time that can be one.
    NoAnswer,
    /// As many look-ups as are allowed at once are under way.
    TooMany,
    /// What the system's resolver said, or that it could not be asked.
    System(Arc<io::Error>),
}

impl DnsError {
    /// Whether this is an answer: that there is nothing to be found.
    pub(super) const fn is_negative(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoAddress)
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NoSuchName | Self::NoAddress => io::ErrorKind::NotFound,
            Self::ServerFailed { .. } => io::ErrorKind::Other,
            Self::TooManyAliases => io::ErrorKind::InvalidData,
            Self::NoAnswer => io::ErrorKind::TimedOut,
            Self::TooMany => io::ErrorKind::ResourceBusy,
            Self::System(error) => error.kind(),
        }
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("there is no such name"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::ServerFailed { server, code } => {
                let what = match code {
                    1 => "does not understand the question",
                    2 => "has a failure of its own",
                    4 => "does not know this kind of question",
                    5 => "refuses to answer",
                    _ => "does not answer the question",
                };
                let server = Shown(*server);
                write!(f, "the name server {server} {what} (response code {code})")
            }
            Self::TooManyAliases => {
                f.write_str("the name is an alias in a circle, or of too many others")
            }
            Self::NoAnswer => f.write_str("no name server answered in time"),
            Self::TooMany => f.write_str("too many names are looked up at once"),
            Self::System(error) => error.fmt(f),
        }
    }
}

debug_is_text!(DnsError);

impl std::error::Error for DnsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(&**error),
            Self::NoSuchName
            | Self::NoAddress
            | Self::ServerFailed { .. }
            | Self::TooManyAliases
            | Self::NoAnswer
            | Self::TooMany => None,
        }
    }
}

impl From<DnsError> for io::Error {
    fn from(error: DnsError) -> Self {
        Self::new(error.kind(), error)
    }
}
