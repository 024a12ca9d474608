//! What can go wrong with signals.

use core::fmt;

use fiber::Stopped;

use super::{SIGNAL_DEPTH_MAX, SIGNAL_LISTENERS_MAX, SIGNAL_NAMES_MAX};

/// Why a signal could not be emitted, watched or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalError {
    /// Others use this name for another type.
    WrongType {
        /// The name.
        name: String,
        /// The type it is in use with.
        expected: &'static str,
        /// The type it was asked for with.
        found: &'static str,
    },
    /// A watcher of this name emitted it again.
    Reentered {
        /// The name.
        name: String,
    },
    /// Signals were emitted from within [`SIGNAL_DEPTH_MAX`] watchers, one in the other.
    TooDeep,
    /// [`SIGNAL_NAMES_MAX`] names are in use.
    TooManyNames,
    /// The name has [`SIGNAL_LISTENERS_MAX`] watchers and waits.
    TooManyListeners,
    /// The wait ended early.
    Stopped(Stopped),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType {
                name,
                expected,
                found,
            } => write!(f, "signal {name} carries {expected}, found {found}"),
            Self::Reentered { name } => {
                write!(
                    f,
                    "signal {name} cannot be emitted by one of its own watchers"
                )
            }
            Self::TooDeep => write!(
                f,
                "expected at most {SIGNAL_DEPTH_MAX} signals emitted by watchers of others"
            ),
            Self::TooManyNames => write!(f, "{SIGNAL_NAMES_MAX} signal names are in use already"),
            Self::TooManyListeners => write!(
                f,
                "{SIGNAL_LISTENERS_MAX} watchers and waits listen to this signal already"
            ),
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl std::error::Error for SignalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Stopped(stopped) => Some(stopped),
            Self::WrongType { .. }
            | Self::Reentered { .. }
            | Self::TooDeep
            | Self::TooManyNames
            | Self::TooManyListeners => None,
        }
    }
}

impl From<Stopped> for SignalError {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}
