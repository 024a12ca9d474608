//! The store: what a session must not forget, kept in memory or on disk.
//!
//! A [`Store`] takes [`Record`]s: a message is to be delivered, it got its packet identifier, PUBREC
//! came for it, it is done; a QoS 2 message came, it was released. [`Store::append`] neither waits
//! nor fails for the disk's sake; a record is durable once [`Store::is_durable`] says so, which a
//! [commit](Store::commit) brings about for all records before it at once. [`Memory`] is a store for
//! the life of the program, [`File`] one that outlives it, and at [`Level::Synced`] a power cut.
//!
//! ```text
//!   append ──► index (memory) ──► pending ──► commit: one write ──► segment 3   the newest
//!                   ▲                                     [sync]    segment 2
//!                   └────────────── open: replay ◄─────────────     segment 1   goes first
//! ```
//! A store on disk is a folder of segments that are only ever appended to. When what is needed has
//! become little of what there is, it is copied from the oldest segment to the end, a part with each
//! commit, and the oldest segment is removed. What is found damaged is reported and kept beside: no
//! content keeps a store from being opened.
//!
//! A store knows nothing of connections and of when a record is to be made; the clauses that ask for
//! one are MQTT3-4.1.0-1, 4.3.2 and 4.3.3. A client is given one by
//! [`ClientOptions::store`](crate::ClientOptions::store), and does all that is shown here itself.
//!
//! ```
//! use mqtt::QoS;
//! use mqtt::store::{DoneCause, Memory, MessageRecord, Record, Store};
//!
//! let store = Memory::default();
//! let message = MessageRecord {
//!     key: None,
//!     qos: QoS::AtLeastOnce,
//!     retain: false,
//!     published: 0,
//!     expires: 0,
//!     topic: "meter",
//!     payload: b"21.5",
//! };
//! let pos = store.append(&Record::Publish(message))?;
//! assert_eq!(store.recovered().queued[0].pos, pos);
//! let cause = DoneCause::Acked { maybe_twice: false };
//! store.append(&Record::Done { message: pos, cause, key: None })?;
//! assert!(store.recovered().queued.is_empty());
//! # Ok::<(), mqtt::store::Refused>(())
//! ```

mod batch;
mod checksum;
mod commit;
mod compact;
mod copy;
mod disk;
mod error;
mod file;
mod index;
mod key;
mod keys;
mod memory;
mod messages;
mod open;
mod options;
mod pos;
mod record;
mod recovered;
mod replayed;
mod segment;
mod state;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod tests;

use std::io;

use fiber::Stopped;
use safe_rt::Endpoint;

pub use error::{ClaimError, OpenError, Refused, Report};
pub use file::File;
pub use index::OUTCOMES_MAX;
pub use key::{KEY_BYTES_MAX, Key, KeyLength};
pub use keys::KeyState;
pub use memory::Memory;
pub use options::{
    LINGER_DEFAULT, Level, RESERVE_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, STORED_BYTES_DEFAULT, STORED_MESSAGES_DEFAULT, StoreOptions,
};
pub use pos::StorePos;
pub use record::{DoneCause, Identity, MessageRecord, Mode, RECORD_BYTES_MAX, Record};
pub use recovered::{Recovered, Stored, StoredMessage};
pub use state::STORE_PENDING_BYTES_MAX;

/// What a session must not forget.
pub trait Store {
    /// Gives the store to a client, until [`Store::release`]: two would take each other's messages
    /// for their own. What it knows of the session counts for that client alone, and for that
    /// endpoint. Does not yield.
    ///
    /// # Errors
    /// [`ClaimError`]: another client has it, or it was made for one. An endpoint is compared if the
    /// store was made for one that can be, and the client knows its own.
    fn claim(&self, client_id: &str, endpoint: Option<&Endpoint>) -> Result<(), ClaimError>;

    /// Takes the store back from its client. Does not yield.
    fn release(&self);

    /// Whether a client has it. Does not yield. A handler that ends after its client asks, for it is to
    /// write nothing into the store of another one; a store for a single client need not tell.
    fn is_claimed(&self) -> bool {
        false
    }

    /// Takes a record in and returns its position. Does not yield, and does no I/O.
    ///
    /// A message that is done before it was written is never written. [`Record::Done`] for a message
    /// that is not stored does nothing.
    ///
    /// # Errors
    /// [`Refused`] for a message that is too large or for which there is no room. Other records are
    /// always taken: each message has room for those about it set aside.
    fn append(&self, record: &Record<'_>) -> Result<StorePos, Refused>;

    /// Tells how many messages must be done before this one is taken: so many of `others`, which are
    /// messages that are stored, in their order, and asked for as far as is needed. None where there
    /// is room. Changes nothing and does not yield.
    ///
    /// # Errors
    /// [`Refused`] where the end of all of them does not help.
    fn admits(
        &self,
        message: &MessageRecord<'_>,
        others: &mut dyn Iterator<Item = StorePos>,
    ) -> Result<usize, Refused>;

    /// Returns the position of the last record. Does not yield.
    fn appended(&self) -> StorePos;

    /// Returns the position up to which all records are durable, but for messages for which the disk
    /// has no room: [`Store::is_durable`] tells which. Does not yield.
    fn durable(&self) -> StorePos;

    /// Tells whether a record is durable. Does not yield.
    fn is_durable(&self, pos: StorePos) -> bool;

    /// Makes the records that wait durable, up to a bound of bytes, and cleans up a bit. Yields while
    /// the disk works. While another fiber is at it, waits for its end and does nothing else.
    ///
    /// # Errors
    /// What the disk answered, twice in a row; nothing is lost, and the next commit tries again, with
    /// another file. Or the wait ended early, see [`fiber::cause`].
    fn commit(&self) -> io::Result<()>;

    /// Makes what is appended durable as it comes, until it is stopped: the body of a fiber of its
    /// own. Yields.
    ///
    /// # Errors
    /// [`Stopped`], and never anything else.
    fn run(&self) -> Result<(), Stopped>;

    /// Has the records that wait written without waiting for more. Does not yield.
    fn hurry(&self);

    /// Waits for the end of a commit, after which more may be durable than before. Yields until
    /// then.
    ///
    /// # Errors
    /// [`Stopped`] when the wait ended early.
    fn wait_commit(&self) -> Result<(), Stopped>;

    /// Returns why what is appended is not made durable for now: the last commit failed, or the disk is
    /// full and takes no message. `None` where nothing is wrong, which a store that cannot fail leaves as
    /// it is. Does not yield.
    fn failure(&self) -> Option<io::ErrorKind> {
        None
    }

    /// Returns what durable means here; `None` where nothing outlives the program. Does not yield.
    fn level(&self) -> Option<Level>;

    /// Returns what a session goes on with. Does not yield.
    fn recovered(&self) -> Recovered;

    /// As [`Store::recovered`], but for messages without an identifier that were published after all
    /// that have one: there may be many, and [`Store::queued`] returns them from [`Recovered::end`] on.
    /// A store that does not hold many returns them all. Does not yield.
    fn recovered_in_part(&self) -> Recovered {
        self.recovered()
    }

    /// Returns the next messages without an identifier, from a position on, in the order in which they
    /// were published, at most so many. Does not yield.
    fn queued(&self, from: StorePos, count: usize) -> Vec<Stored> {
        let queued = self.recovered().queued.into_iter();
        queued
            .filter(|stored| stored.pos >= from)
            .take(count)
            .collect()
    }

    /// Returns a message with its content; `None` if it is not stored. May yield.
    ///
    /// # Errors
    /// What the disk answered; [`io::ErrorKind::InvalidData`] if the content is damaged; or the wait
    /// ended early, see [`fiber::cause`].
    fn read(&self, message: StorePos) -> io::Result<Option<StoredMessage>>;

    /// Returns what is known of the message with this key: it is stored, or it is done and among the
    /// last [`OUTCOMES_MAX`] of those with a key. Does not yield.
    fn key(&self, key: &Key) -> Option<KeyState>;

    /// Returns the next thing that was found or went wrong, the oldest first. Does not yield.
    fn next_report(&self) -> Option<Report>;
}
