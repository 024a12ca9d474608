//! What a dial or an accepted connection can fail with.
//!
//! An [`Error`] names the [`Phase`] that failed, the address it failed for and the cause, and
//! keeps the cause as its source, so that [`fiber::cause`] finds an expired deadline or a
//! cancellation behind it. It does not judge whether trying again makes sense: that is a matter
//! of whoever dials.

use core::fmt;
use std::io;

use crate::debug_is_text::debug_is_text;

/// The step of making a connection that failed.
///
/// The order is the order of the steps: a later phase got further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A listener waits for the next connection.
    Accept,
    /// A listener takes hold of its local address.
    Bind,
    /// A host name is turned into addresses.
    Resolve,
    /// The transport connection to one address is made.
    Connect,
    /// A proxy is asked to connect on (HTTP CONNECT, RFC 9110 section 9.3.6).
    Proxy,
    /// The TLS handshake, including the check of the peer's certificate and of ALPN.
    Tls,
    /// The connection becomes a WebSocket (RFC 6455 section 4).
    WebSocket,
}

impl Phase {
    /// Returns the words an error text uses for this phase.
    const fn words(self) -> &'static str {
        match self {
            Self::Accept => "accepting a connection at",
            Self::Bind => "listening at",
            Self::Resolve => "resolving the name of",
            Self::Connect => "connecting to",
            Self::Proxy => "asking a proxy for",
            Self::Tls => "TLS handshake with",
            Self::WebSocket => "WebSocket handshake with",
        }
    }
}

/// A connection that did not come about: in which phase, for which address, and why.
///
/// # Examples
/// ```
/// use std::error::Error as _;
/// use safe_rt::{Endpoint, Phase};
///
/// let outcome = fiber::run(|| {
///     let endpoint: Endpoint = "mqtts://127.0.0.1:1".parse().expect("a valid endpoint");
///     safe_rt::dial(&endpoint, &safe_rt::DialOptions::new())
/// });
/// let error = outcome.expect("the runtime ran").expect_err("no TLS options were given");
/// assert_eq!(error.phase(), Phase::Tls);
/// assert!(error.source().is_some());
/// ```
pub struct Error {
    phase: Phase,
    address: String,
    source: io::Error,
    look_up: Option<Box<io::Error>>,
}

impl Error {
    /// Builds an error of `phase` for `address`, as a program does that makes connections by means
    /// of its own.
    pub fn new(phase: Phase, address: impl Into<String>, source: io::Error) -> Self {
        Self {
            phase,
            address: address.into(),
            source,
            look_up: None,
        }
    }

    /// Adds why the address was not one that was looked up.
    pub(crate) fn after_look_up(self, error: Option<io::Error>) -> Self {
        Self {
            look_up: error.map(Box::new),
            ..self
        }
    }

    /// Returns why the name was not looked up, where the last good address was tried instead.
    #[must_use]
    pub fn look_up_error(&self) -> Option<&io::Error> {
        self.look_up.as_deref()
    }

    /// Returns the phase that failed.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns what was being reached: `host:port` for a look-up, the socket address for a
    /// connect, both for a TLS handshake.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the cause as an I/O error.
    #[must_use]
    pub const fn io(&self) -> &io::Error {
        &self.source
    }

    /// Returns whether a deadline ended the attempt: the ambient one, a default, or the share of
    /// one address.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        fiber::cause(&self.source) == Some(fiber::Stopped::TimedOut)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.phase.words(),
            self.address,
            self.source
        )?;
        match &self.look_up {
            Some(error) => write!(
                f,
                " (the last good address, for the look-up failed: {error})"
            ),
            None => Ok(()),
        }
    }
}

debug_is_text!(Error);

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Finds a `T` behind `error`: the error itself, its payload, its source, or deeper.
pub(crate) fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            // The source of an I/O error skips its payload.
            Some(io) => io
                .get_ref()
                .map(|payload| payload as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_text_names_phase_address_and_cause() {
        let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens");
        let error = Error::new(Phase::Connect, "192.0.2.1:1883", cause);
        assert_eq!(
            error.to_string(),
            "connecting to 192.0.2.1:1883: nobody listens"
        );
        assert!(!error.is_timeout());
    }

    #[test]
    fn a_stop_is_found_behind_the_error() {
        let error = Error::new(
            Phase::Tls,
            "broker:8883",
            io::Error::from(fiber::Stopped::TimedOut),
        );
        assert_eq!(fiber::cause(&error), Some(fiber::Stopped::TimedOut));
        assert!(error.source().is_some());
        assert!(error.is_timeout());
        assert!(
            error
                .to_string()
                .starts_with("TLS handshake with broker:8883: ")
        );
    }

    #[test]
    fn a_later_phase_compares_greater() {
        let order = [
            Phase::Resolve,
            Phase::Connect,
            Phase::Proxy,
            Phase::Tls,
            Phase::WebSocket,
        ];
        assert!(order.is_sorted() && order.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
