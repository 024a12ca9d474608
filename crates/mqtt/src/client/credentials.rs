//! Credentials that are asked for: what a broker accepts today it may not accept tomorrow.
//!
//! The program's function is called before each attempt to connect, where it may wait: it signs a
//! token, reads a file or asks a service. What it returns is for that attempt alone.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::Stopped;

use super::handler;
use crate::debug_is_text::debug_is_text;

/// A user name and a password (MQTT3-3.1.3.4, 3.1.3.5).
///
/// Its debug output leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) user_name: String,
    pub(super) password: Option<Vec<u8>>,
}

impl Credentials {
    /// A user name, and a password if there is one. In 3.1.1 there is no password without a user
    /// name (MQTT3-3.1.2-22).
    #[must_use]
    pub fn new(user_name: impl Into<String>, password: Option<impl Into<Vec<u8>>>) -> Self {
        Self {
            user_name: user_name.into(),
            password: password.map(Into::into),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user_name", &self.user_name)
            .finish_non_exhaustive()
    }
}

/// Why there are no credentials for an attempt to connect, which has failed by that.
#[non_exhaustive]
pub enum CredentialsError {
    /// There may be some soon: the next attempt is made as after a lost link.
    Unavailable(Box<dyn StdError + Send + Sync>),
    /// There will be none soon: the next attempt is made as after a refusal.
    Denied(Box<dyn StdError + Send + Sync>),
    /// The function waited for longer than
    /// [`ClientOptions::connect_timeout`](super::ClientOptions::connect_timeout), or was cancelled.
    Stopped(Stopped),
    /// The function panicked; the next attempt is made as after a refusal.
    Panicked,
}

impl CredentialsError {
    /// There may be some soon.
    #[must_use]
    pub fn unavailable(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }

    /// There will be none soon.
    #[must_use]
    pub fn denied(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Denied(error.into())
    }

    /// Whether nothing suggests that the next attempt would end otherwise.
    pub(super) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Panicked)
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(error) | Self::Denied(error) => error.fmt(f),
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Panicked => f.write_str("the program's function panicked"),
        }
    }
}

debug_is_text!(CredentialsError);

impl StdError for CredentialsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unavailable(error) | Self::Denied(error) => Some(&**error),
            Self::Stopped(stopped) => Some(stopped),
            Self::Panicked => None,
        }
    }
}

impl From<Stopped> for CredentialsError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

/// They may be there the next time.
impl From<io::Error> for CredentialsError {
    fn from(error: io::Error) -> Self {
        Self::unavailable(error)
    }
}

/// The program's function.
#[derive(Clone)]
pub(super) struct Ask(Rc<dyn Fn() -> Result<Credentials, CredentialsError>>);

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ask")
    }
}

impl Ask {
    pub(super) fn new(ask: impl Fn() -> Result<Credentials, CredentialsError> + 'static) -> Self {
        Self(Rc::new(ask))
    }

    /// Calls it, at most for `limit`. Yields as it does.
    pub(super) fn credentials(&self, limit: Duration) -> Result<Credentials, CredentialsError> {
        let call = || catch_unwind(AssertUnwindSafe(|| (self.0)()));
        // What it has when its time is over counts.
        let called = fiber::timeout(limit, call).unwrap_or_else(|elapsed| elapsed.0);
        called.unwrap_or_else(|payload| {
            handler::drop_payload(payload);
            Err(CredentialsError::Panicked)
        })
    }
}
