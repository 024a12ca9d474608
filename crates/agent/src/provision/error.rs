//! Why a device did not get an identity this time.

use std::fmt;
use std::io;
use std::time::Duration;

use fiber::{SpawnError, Stopped};
use mqtt::{EndCause, WaitCause};
use safe_rt::{Class, Phase, TlsConfigError};

use super::proof::ProofError;
use crate::identity::StoreError;

/// Why an attempt to get an identity ended. There is always another one: nothing of this makes the
/// device give up, or lose what it has.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The identity, or what is known of it, could not be kept.
    Store(StoreError),
    /// There is nothing to introduce the device with: no usable claim certificate, and no token.
    NoClaim {
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates for TLS are not usable.
    Tls(TlsConfigError),
    /// There is no connection to the cloud.
    Dial(safe_rt::Error),
    /// The cloud did not accept the connection, or it ended.
    Mqtt(mqtt::Error),
    /// The request could not be published.
    Publish(mqtt::PublishError),
    /// The connection of an HTTP request failed.
    Http(io::Error),
    /// The cloud did not answer in time.
    Silent {
        /// What was asked.
        what: &'static str,
    },
    /// The cloud refused.
    Refused(Refusal),
    /// The cloud waits for a person to claim the device.
    Unclaimed {
        /// Where that is done, if the cloud says so.
        claim_url: Option<String>,
        /// When to ask again, if the cloud says so.
        retry_after: Option<Duration>,
    },
    /// The cloud's answer is not understood.
    Answer {
        /// What was asked.
        what: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The identity is whole, and a connection with it did not do what it must.
    NotProven(ProofError),
    /// No key or signing request could be made.
    Key(String),
    /// No fiber could be started.
    Spawn(SpawnError),
    /// The wait was stopped from outside.
    Stopped(Stopped),
}

/// How the cloud refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// What was asked.
    pub what: &'static str,
    /// The status code.
    pub status: u16,
    /// The cloud's name for it; empty where it gave none.
    pub code: String,
    /// The cloud's words; empty where it gave none.
    pub message: String,
    /// What was sent with the request: names and values, those of secrets hidden.
    pub sent: String,
    /// When to ask again, if the cloud says so.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: refused with status {}", self.what, self.status)?;
        for text in [&self.code, &self.message] {
            if !text.is_empty() {
                write!(f, " {text}")?;
            }
        }
        if !self.sent.is_empty() {
            write!(f, " (sent: {})", self.sent)?;
        }
        Ok(())
    }
}

impl ProvisionError {
    /// Returns the stable code, for `agent explain`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoClaim { .. } | Self::Tls(_) => "P001",
            Self::Dial(_) | Self::Mqtt(_) | Self::Publish(_) | Self::Http(_) => "P002",
            Self::Silent { .. } => "P003",
            Self::Refused(_) => "P004",
            Self::Unclaimed { .. } => "P005",
            Self::Answer { .. } => "P006",
            Self::NotProven(_) => "P007",
            Self::Store(StoreError::GivenUp) => "P009",
            Self::Store(_) | Self::Key(_) | Self::Spawn(_) | Self::Stopped(_) => "P008",
        }
    }

    /// How long to wait before the next attempt.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Refused(refusal) if refusal.status < 500 => Class::Long,
            // A claim that was revoked, or has expired: a person's to mend.
            error if error.is_certificate_refused() => Class::Long,
            Self::NoClaim { .. }
            | Self::Tls(_)
            | Self::Unclaimed { .. }
            | Self::NotProven(_)
            | Self::Store(
                StoreError::Contents { .. } | StoreError::TooLong { .. } | StoreError::GivenUp,
            )
            | Self::Mqtt(mqtt::Error::Refused(_) | mqtt::Error::SubscribeRefused { .. }) => {
                Class::Long
            }
            _ => Class::Short,
        }
    }

    /// Whether the other side does not take the certificate that was shown to it.
    fn is_certificate_refused(&self) -> bool {
        let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::Dial(error) => error.phase() == Phase::Tls && is_denied(error.io()),
            Self::Http(error) => is_denied(error),
            Self::Mqtt(mqtt::Error::Wait(WaitCause::ConnectionLost(cause))) => {
                matches!(&**cause, EndCause::Transport(error) if is_denied(error))
            }
            _ => false,
        }
    }

    /// When the cloud wants to be asked again.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Unclaimed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the cloud has answered.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unclaimed { .. })
    }
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::NoClaim { reason } => {
                write!(f, "there is nothing to be introduced with: {reason}")
            }
            Self::Tls(error) => error.fmt(f),
            Self::Dial(error) => error.fmt(f),
            Self::Mqtt(error) => error.fmt(f),
            Self::Publish(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
            Self::Silent { what } => write!(f, "{what}: no answer in time"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Unclaimed { claim_url, .. } => {
                f.write_str("the device waits to be claimed")?;
                match claim_url {
                    Some(url) => write!(f, " at {url}"),
                    None => Ok(()),
                }
            }
            Self::Answer { what, expected } => {
                write!(f, "{what}: expected {expected} in the answer")
            }
            Self::NotProven(error) => write!(f, "the new identity is not proven: {error}"),
            Self::Key(reason) => write!(f, "no key could be made: {reason}"),
            Self::Spawn(error) => error.fmt(f),
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl std::error::Error for ProvisionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::Mqtt(error) => Some(error),
            Self::Publish(error) => Some(error),
            Self::Http(error) => Some(error),
            Self::NotProven(error) => Some(error),
            Self::Spawn(error) => Some(error),
            Self::Stopped(stopped) => Some(stopped),
            Self::NoClaim { .. }
            | Self::Silent { .. }
            | Self::Refused(_)
            | Self::Unclaimed { .. }
            | Self::Answer { .. }
            | Self::Key(_) => None,
        }
    }
}

impl From<StoreError> for ProvisionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<mqtt::Error> for ProvisionError {
    fn from(error: mqtt::Error) -> Self {
        match error {
            mqtt::Error::Dial(error) => Self::Dial(error),
            error => Self::Mqtt(error),
        }
    }
}
