//! Why an identity cannot be read or kept.

use std::fmt;
use std::io;
use std::path::PathBuf;

use fiber::LockError;
use safe_rt::TlsConfigError;

use super::record::RecordError;

/// Why the store of identities did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or a folder could not be read or written.
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Another program has the state folder.
    InUse {
        /// The state folder.
        path: PathBuf,
    },
    /// The state does not fit into its record.
    Record(RecordError),
    /// Certificate and key are unusable, or do not belong together.
    Contents {
        /// Where they are.
        path: PathBuf,
        /// What is wrong.
        source: TlsConfigError,
    },
    /// A file is not as it was written.
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A text of the cloud is longer than [`CERTIFICATE_ID_BYTES_MAX`](super::CERTIFICATE_ID_BYTES_MAX).
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The identity was given up by somebody who may: another one is made when somebody says so
    /// ([`Store::take_up`](super::Store::take_up)).
    GivenUp,
    /// There is less room on the disk than an identity may need.
    NoRoom {
        /// Free bytes that were found.
        found: u64,
    },
    /// The identity in the making is not that far, or too far: a fault of the caller.
    Step {
        /// What was found.
        found: &'static str,
    },
    /// The system has no random bytes.
    Randomness(io::Error),
    /// A wait was stopped from outside.
    Locked(LockError),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::InUse { path } => write!(
                f,
                "{}: another agent uses this state folder",
                path.display()
            ),
            Self::Record(error) => error.fmt(f),
            Self::Contents { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Damaged { path, what } => write!(f, "{}: {what}", path.display()),
            Self::TooLong { found } => write!(
                f,
                "expected at most {} bytes of a certificate's name, found {found}",
                super::CERTIFICATE_ID_BYTES_MAX
            ),
            Self::GivenUp => f.write_str(
                "the identity was given up, and no other is asked for before `agent provision`",
            ),
            Self::NoRoom { found } => write!(
                f,
                "expected {} free bytes for an identity, found {found}",
                super::ROOM_BYTES_MIN
            ),
            Self::Step { found } => write!(f, "the identity in the making is at {found}"),
            Self::Randomness(error) => write!(f, "no random bytes: {error}"),
            Self::Locked(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Randomness(source) => Some(source),
            Self::Contents { source, .. } => Some(source),
            Self::Record(error) => Some(error),
            Self::Locked(error) => Some(error),
            Self::InUse { .. }
            | Self::Damaged { .. }
            | Self::TooLong { .. }
            | Self::GivenUp
            | Self::NoRoom { .. }
            | Self::Step { .. } => None,
        }
    }
}

impl StoreError {
    /// Whether something is missing or not as it was written, which no later attempt finds otherwise.
    /// A disk that does not answer says nothing about what is on it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Contents { .. } | Self::Damaged { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// For a closure that knows the path.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
