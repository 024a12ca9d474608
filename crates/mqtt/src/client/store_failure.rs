//! What a client does while its store fails, and how the program learns of it.
//!
//! A store fails from a commit that failed twice in a row, or since the disk is full, until a commit
//! succeeds again, which is tried every second. One whose fiber panicked fails for as long as the client
//! lives.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use fiber::Stopped;

use super::event::Event;
use super::feeder::after_commit;
use super::handler;
use super::shared::{Shared, State};
use crate::debug_is_text::debug_is_text;
use crate::store::Store;

/// What becomes of messages of QoS 1 and 2 that are published while the store fails
/// ([`ClientOptions::on_store_failure`](super::ClientOptions::on_store_failure)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// They are taken into memory, as many as may wait to be written
    /// ([`STORE_PENDING_BYTES_MAX`](crate::store::STORE_PENDING_BYTES_MAX)), and on a disk that is full
    /// they wait for room. What is in memory alone is lost with the program, so that a wait for
    /// [`Wait::Stored`](super::Wait::Stored) fails with
    /// [`WaitCause::StoreFailed`](super::WaitCause::StoreFailed) while the message lives on.
    ///
    /// Messages of QoS 1 are sent and acknowledged as ever. The packets of QoS 2 that must not leave
    /// before something is recorded still wait for the disk: they would be delivered twice after a
    /// crash.
    #[default]
    Degrade,
    /// They are refused with [`PublishError::StoreFailed`](super::PublishError::StoreFailed). What was
    /// accepted before is sent, as above.
    Refuse,
}

/// Why a store takes nothing for good.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// What the disk answered last; [`io::ErrorKind::StorageFull`] also where the reserve still takes what
    /// is about messages that are stored.
    Disk(io::ErrorKind),
    /// The fiber that writes panicked, which is a fault of the store. Nothing more is written before
    /// the end of the client.
    Panicked,
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(kind) => write!(f, "the message store cannot write: {kind}"),
            Self::Panicked => f.write_str("the fiber that writes the message store panicked"),
        }
    }
}

debug_is_text!(StoreFailure);

impl std::error::Error for StoreFailure {}

impl State {
    /// Why the store fails, if it does.
    pub(super) fn store_failure(&self) -> Option<StoreFailure> {
        let durable = self.durable.as_ref()?;
        if durable.panicked {
            return Some(StoreFailure::Panicked);
        }
        durable.store.failure().map(StoreFailure::Disk)
    }

    /// Why a new message is refused, if the store fails and the client is to do that. It is counted.
    pub(super) fn refused_by_store(&mut self, on_failure: OnStoreFailure) -> Option<StoreFailure> {
        match on_failure {
            OnStoreFailure::Degrade => None,
            OnStoreFailure::Refuse => {
                let failure = self.store_failure()?;
                self.stats.store_refused += 1;
                Some(failure)
            }
        }
    }

    /// Tells the program when the store begins to fail, and when that is over.
    pub(super) fn tell_store_failure(&mut self) {
        let failure = self.store_failure();
        let Some(durable) = &mut self.durable else {
            return;
        };
        let told = std::mem::replace(&mut durable.failure, failure);
        match (told, failure) {
            (None, Some(failure))
            | (Some(StoreFailure::Disk(_)), Some(failure @ StoreFailure::Panicked)) => {
                self.stats.store_failures += 1;
                log::error!("{failure}");
                self.events.push(Event::StoreFailed { failure });
            }
            (Some(_), None) => {
                log::warn!("the message store writes again");
                self.events.push(Event::StoreRecovered);
            }
            (_, _) => {}
        }
    }
}

/// Has the store write until it is stopped; if that panics the store has failed, and the client goes on.
pub(super) fn run_store(shared: &Rc<Shared>, store: &dyn Store) -> Result<(), Stopped> {
    match catch_unwind(AssertUnwindSafe(|| store.run())) {
        Ok(ended) => ended,
        Err(payload) => {
            handler::drop_payload(payload);
            if let Some(durable) = &mut shared.state().durable {
                durable.panicked = true;
            }
            after_commit(shared, store);
            Ok(())
        }
    }
}
