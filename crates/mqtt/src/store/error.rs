//! What a store refuses, and what it reports.

use std::fmt;
use std::io;

use safe_rt::Endpoint;

use super::pos::StorePos;
use super::record::Identity;
use crate::debug_is_text::debug_is_text;

/// Why a record was not taken. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The message and its topic take more than
    /// [`RECORD_BYTES_MAX`](super::RECORD_BYTES_MAX) or than the store may hold at all,
    /// or the topic more than 65 535 bytes.
    TooLarge {
        /// What they take, in bytes.
        found: usize,
        /// What they may take.
        bound: usize,
    },
    /// QoS 0 messages are not stored.
    AtMostOnce,
    /// As many messages are stored as may be.
    Messages {
        /// How many.
        bound: usize,
    },
    /// What is stored takes as many bytes as it may.
    Bytes {
        /// How many.
        bound: u64,
    },
    /// As many bytes wait to be written as may; room comes with the next commit.
    Pending {
        /// How many.
        bound: usize,
    },
    /// The disk is full: only records about messages that are stored are taken.
    DiskFull,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { found, bound } => write!(
                f,
                "expected a message of at most {bound} bytes, found {found}"
            ),
            Self::AtMostOnce => f.write_str("expected QoS 1 or 2, found QoS 0"),
            Self::Messages { bound } => {
                write!(f, "{bound} messages are stored, the most that may be")
            }
            Self::Bytes { bound } => write!(f, "{bound} bytes are stored, the most that may be"),
            Self::Pending { bound } => {
                write!(f, "{bound} bytes wait to be written, the most that may")
            }
            Self::DiskFull => f.write_str("the disk is full"),
        }
    }
}

impl std::error::Error for Refused {}

/// Why a client was not given a store.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// A client has it that is not closed.
    InUse,
    /// It was opened for another client.
    ClientId {
        /// The Client Identifier it was opened for.
        expected: String,
        /// That of the client.
        found: String,
    },
    /// It was opened for another broker.
    Endpoint {
        /// The endpoint it was opened for.
        expected: String,
        /// That of the client.
        found: String,
    },
}

impl Identity {
    /// Checks that this is the session of a client; endpoints as far as both are known.
    pub(super) fn check(
        &self,
        client_id: &str,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), ClaimError> {
        if self.client_id != client_id {
            return Err(ClaimError::ClientId {
                expected: self.client_id.clone(),
                found: client_id.to_owned(),
            });
        }
        if let (Ok(ours), Some(theirs)) = (self.endpoint.parse::<Endpoint>(), endpoint)
            && ours != *theirs
        {
            return Err(ClaimError::Endpoint {
                expected: self.endpoint.clone(),
                found: theirs.to_string(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another client has the store"),
            Self::ClientId { expected, found } => {
                write!(
                    f,
                    "the store is that of client {expected:?}, found {found:?}"
                )
            }
            Self::Endpoint { expected, found } => {
                write!(
                    f,
                    "the store is for the broker at {expected}, found {found}"
                )
            }
        }
    }
}

debug_is_text!(ClaimError);

impl std::error::Error for ClaimError {}

/// Why a store could not be opened. What is in it is never the reason.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another program, or another client of this one, has it open.
    InUse,
    /// The folder, or a file in it, could not be made or reached.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the store is open elsewhere"),
            Self::Io(_) => f.write_str("the folder of the store cannot be used"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Something that a store found or that went wrong, and that did not stop it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// The end of a file was not whole, as after a power cut, and was cut off.
    TornTail {
        /// The number of the file.
        segment: u64,
        /// How many bytes were cut off.
        bytes: u64,
    },
    /// A part of a file was damaged. What lay before and behind it is in use; the file as it was
    /// found is kept beside, under its number with the ending `damaged`.
    Damaged {
        /// The number of the file.
        segment: u64,
        /// How many bytes could not be read.
        bytes: u64,
    },
    /// A file could not be read at all. It is kept beside, under its number with the ending `damaged`.
    Unreadable {
        /// The number of the file.
        segment: u64,
    },
    /// A newer program wrote a file. It is kept beside, under its number with the ending `newer`.
    Newer {
        /// The number of the file.
        segment: u64,
        /// The major version of its format.
        major: u8,
    },
    /// Records of kinds that are not known were passed over.
    Skipped {
        /// How many.
        records: u64,
    },
    /// What was in flight belonged to another client or another broker, and is queued again.
    OtherIdentity,
    /// The disk could not make sure of what was written. It is written again, to another file.
    SyncFailed(io::ErrorKind),
    /// Writing failed. It is tried again, to another file.
    WriteFailed(io::ErrorKind),
    /// A stored message could not be read. It is tried again, later and later.
    ReadFailed(io::ErrorKind),
    /// The content of a stored message is damaged, or could not be read again and again while others
    /// could: the message is given up.
    MessageDamaged {
        /// Its name in the store.
        message: StorePos,
    },
    /// A file that is not needed could not be removed, or what is needed of it not be read. It is
    /// tried again with the next commit.
    CleanUpFailed(io::ErrorKind),
    /// The disk is full. Messages are refused, and what is about stored ones is written into the
    /// reserve.
    DiskFull,
    /// The disk has room again.
    DiskHasRoom,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { segment, bytes } => {
                write!(
                    f,
                    "cut {bytes} bytes that were not whole off the end of segment {segment}"
                )
            }
            Self::Damaged { segment, bytes } => {
                write!(
                    f,
                    "{bytes} bytes of segment {segment} are damaged; it is kept beside"
                )
            }
            Self::Unreadable { segment } => {
                write!(f, "segment {segment} cannot be read; it is kept beside")
            }
            Self::Newer { segment, major } => write!(
                f,
                "segment {segment} is of format {major}, which is newer; it is kept beside"
            ),
            Self::Skipped { records } => {
                write!(f, "{records} records of unknown kinds were passed over")
            }
            Self::OtherIdentity => {
                f.write_str("what was in flight for another client or broker is queued again")
            }
            Self::SyncFailed(kind) => write!(
                f,
                "the disk could not make sure of what was written: {kind}"
            ),
            Self::WriteFailed(kind) => write!(f, "writing failed: {kind}"),
            Self::ReadFailed(kind) => write!(f, "a stored message could not be read: {kind}"),
            Self::MessageDamaged { message } => {
                write!(f, "message {message} cannot be read and is given up")
            }
            Self::CleanUpFailed(kind) => write!(f, "cleaning up failed: {kind}"),
            Self::DiskFull => f.write_str("the disk is full"),
            Self::DiskHasRoom => f.write_str("the disk has room again"),
        }
    }
}
