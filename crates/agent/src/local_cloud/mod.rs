//! A cloud on the loopback interface that gives devices their identities, for tests and for
//! demonstrations: an authority, and what answers fleet provisioning over an embedded broker.
//!
//! It keeps the rules that a device meets out there: an answer goes to the client that asked and to no
//! other, a token is used once and ends after an hour, and what is not allowed is rejected with a status,
//! a code and a message. It is more lenient in this: whoever has a certificate of the authority is let
//! in, registered or not, and may do everything.

mod authority;
mod fleet;
mod request;

use std::fmt;
use std::io;

use fiber::SpawnError;
use mqtt::BrokerError;
use safe_rt::TlsConfigError;

pub use authority::{DEVICE_LIFE_DEFAULT, Issued, LocalAuthority};
pub use fleet::{Fleet, FleetOptions, FleetStats, Rejection, THINGS_MAX};

/// Why a local cloud does not do what it is asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloudError {
    /// A signing request is not what was expected.
    Request(&'static str),
    /// A key or a certificate could not be made.
    Certificate(String),
    /// A certificate is not usable for TLS.
    Tls(TlsConfigError),
    /// The broker refused.
    Broker(BrokerError),
    /// No fiber could be started.
    Spawn(SpawnError),
    /// The system has no random bytes.
    Randomness(io::Error),
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(expected) => write!(f, "expected {expected}"),
            Self::Certificate(error) => f.write_str(error),
            Self::Tls(error) => error.fmt(f),
            Self::Broker(error) => error.fmt(f),
            Self::Spawn(error) => error.fmt(f),
            Self::Randomness(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CloudError {}

impl From<rcgen::Error> for CloudError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

impl From<TlsConfigError> for CloudError {
    fn from(error: TlsConfigError) -> Self {
        Self::Tls(error)
    }
}

impl From<BrokerError> for CloudError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}
