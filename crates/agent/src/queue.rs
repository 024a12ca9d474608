//! The durable queue: what was published at QoS 1 and 2 and is not with the broker yet, in the state
//! directory.
//!
//! ```text
//!   STATE/           made if it is not there, for its owner alone
//!     queue/         the store of the client; one process at a time
//! ```
//! What the state directory holds outlives the program and, as every message is synced before
//! [`mqtt::Client::publish`] returns, a power cut. A directory that cannot be written does not keep
//! the device from its work: the queue is in memory then, and the agent says so.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fiber::fs::File as LockFile;
use mqtt::QueuePolicy;
use mqtt::store::{
    File, Identity, Level, OpenError, STORED_BYTES_DEFAULT, STORED_MESSAGES_DEFAULT, StoreOptions,
};

/// What a process locks that has the queue, below the state directory.
pub(crate) const LOCK: &str = "queue/lock";
/// The folder of the store in the state directory.
const FOLDER: &str = "queue";

/// What the disk takes of a queue that is full, as a multiple of its bytes.
pub(crate) const QUEUE_DISK_PART: u64 = 3;

/// Whether another process has what is in a state directory to itself: its queue, or its identity. Yields.
///
/// # Errors
///
/// Those of the files of locks, but for those that are not there.
pub(crate) fn is_in_use(state: &Path) -> io::Result<bool> {
    for lock in [LOCK, crate::identity::STORE_LOCK] {
        match LockFile::open(state.join(lock)) {
            // For a moment it is this program's.
            Ok(file) if file.try_lock()? => {}
            Ok(_) => return Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// What the queue may hold, and what happens when it holds as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Messages that may wait, [`STORED_MESSAGES_DEFAULT`] unless set.
    pub messages_max: usize,
    /// Bytes of them, each message with 128 beside its topic and payload;
    /// [`STORED_BYTES_DEFAULT`] unless set. The disk takes at most about three times as much.
    pub bytes_max: u64,
    /// How long a message may wait; for ever unless set.
    pub age_max: Option<Duration>,
    /// What becomes of a message for which there is no room.
    pub when_full: QueuePolicy,
    /// When a message counts as kept: [`Level::Synced`] unless set.
    pub level: Level,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            messages_max: STORED_MESSAGES_DEFAULT,
            bytes_max: STORED_BYTES_DEFAULT,
            age_max: None,
            when_full: QueuePolicy::DropOldest,
            level: Level::Synced,
        }
    }
}

/// Where the queue is.
#[derive(Clone, Debug)]
pub(crate) enum Queue {
    /// In the state directory.
    Durable(File),
    /// In memory, as the program asked for no state directory.
    Memory,
    /// In memory, for the state directory cannot be written.
    Degraded,
}

impl Queue {
    pub(crate) const fn store(&self) -> Option<&File> {
        match self {
            Self::Durable(file) => Some(file),
            Self::Memory | Self::Degraded => None,
        }
    }
}

/// Opens the queue in a state directory, which is made if it is not there. Yields.
///
/// # Errors
///
/// [`OpenError::InUse`]: another process has it. Whatever else the system answers makes a queue in
/// memory, with a warning.
pub(crate) fn open(
    state_dir: &Path,
    identity: Identity,
    options: &QueueOptions,
) -> Result<Queue, OpenError> {
    let folder: PathBuf = state_dir.join(FOLDER);
    let store = StoreOptions::new(identity, options.level)
        .messages_max(options.messages_max)
        .bytes_max(options.bytes_max);
    let opened = fiber::fs::create_dir_all(state_dir)
        .map_err(OpenError::Io)
        .and_then(|()| File::open(&folder, store));
    match opened {
        Ok(file) => Ok(Queue::Durable(file)),
        Err(OpenError::Io(error)) if fiber::cause(&error).is_none() => {
            log::error!(
                "the queue is in memory, and what waits in it is lost with the power: {}: {error}",
                folder.display()
            );
            Ok(Queue::Degraded)
        }
        Err(error) => Err(error),
    }
}
