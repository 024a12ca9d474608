//! What a profile changed of what was asked for.

use std::fmt;
use std::time::Duration;

use super::{Evidence, Provider};

/// Something is not as it was asked for, because the profile says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The keep-alive is another one.
    KeepAlive {
        /// The one that was asked for; zero for none.
        asked: Duration,
        /// The one that is used.
        used: Duration,
        /// Whose range it is.
        provider: Provider,
        /// How that range is known.
        evidence: Evidence,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepAlive {
                asked,
                used,
                provider,
                evidence,
            } => {
                let why = match evidence {
                    Evidence::Documented | Evidence::Source => "allows",
                    Evidence::Unverified => "assumes",
                };
                let side = if used > asked && !asked.is_zero() {
                    "no shorter one"
                } else {
                    "no longer one, and not none"
                };
                write!(
                    f,
                    "the keep-alive is {} s instead of {} s: the profile {provider} {why} {side}",
                    used.as_secs(),
                    asked.as_secs()
                )
            }
        }
    }
}
