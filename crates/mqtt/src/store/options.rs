//! What a store is made with.

use std::time::Duration;

use super::record::Identity;

/// How many messages a store takes unless told otherwise.
pub const STORED_MESSAGES_DEFAULT: usize = 100_000;

/// How many bytes of messages a store takes unless told otherwise. The disk takes at most three times
/// as much and four segments; beside them the reserve, records that are no messages, and up to eight files
/// that were put aside, each at most as long as a segment or its longest message.
pub const STORED_BYTES_DEFAULT: u64 = 20 * 1024 * 1024;

/// How long a segment becomes unless told otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 1024 * 1024;

/// The shortest segment that may be asked for.
pub const SEGMENT_BYTES_MIN: u64 = 1024;

/// The longest segment that may be asked for: one is read whole when the store is opened.
pub const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long records wait at [`Level::Flushed`] for others to be written with, unless told otherwise.
pub const LINGER_DEFAULT: Duration = Duration::from_millis(10);

/// Disk space that is set aside for records about stored messages.
pub const RESERVE_BYTES_DEFAULT: u64 = 256 * 1024;

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// When it was written: it outlives the program, killed or not.
    Flushed,
    /// When the disk is sure of it: it outlives a power cut.
    Synced,
}

/// What a store on disk is made with.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub(super) identity: Identity,
    pub(super) level: Level,
    pub(super) messages_max: usize,
    pub(super) bytes_max: u64,
    pub(super) segment_bytes: u64,
    pub(super) reserve_bytes: u64,
    pub(super) linger: Duration,
}

impl StoreOptions {
    /// Options with defaults for the rest; records wait for others at [`Level::Flushed`] alone.
    #[must_use]
    pub const fn new(identity: Identity, level: Level) -> Self {
        Self {
            identity,
            level,
            messages_max: STORED_MESSAGES_DEFAULT,
            bytes_max: STORED_BYTES_DEFAULT,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            reserve_bytes: RESERVE_BYTES_DEFAULT,
            linger: match level {
                Level::Flushed => LINGER_DEFAULT,
                Level::Synced => Duration::ZERO,
            },
        }
    }

    /// Sets how many messages may be stored, [`STORED_MESSAGES_DEFAULT`] unless set.
    #[must_use]
    pub const fn messages_max(mut self, messages: usize) -> Self {
        self.messages_max = messages;
        self
    }

    /// Sets how many bytes may be stored, [`STORED_BYTES_DEFAULT`] unless set. Each message counts
    /// 128 bytes beside its topic and payload.
    #[must_use]
    pub const fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Sets how long a segment becomes, [`SEGMENT_BYTES_DEFAULT`] unless set; from
    /// [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`], a value outside counts as the nearest.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self
    }

    /// Sets how much of the disk is set aside so that acknowledgements can be recorded when it is
    /// full, [`RESERVE_BYTES_DEFAULT`] unless set.
    #[must_use]
    pub const fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Sets how long records wait for others to be written with, [`LINGER_DEFAULT`] at
    /// [`Level::Flushed`] unless set. A message that is done by then is never written.
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}
