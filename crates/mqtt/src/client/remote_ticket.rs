//! What became of a message that another thread published.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::remote::{REMOTE_BYTES_MAX, REMOTE_MESSAGES_MAX, Remote, check_thread};
use super::store_failure::StoreFailure;
use super::ticket::Outcome;
use crate::session::ArgumentError;

/// Why a message or a subscription of another thread was not accepted, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteError {
    /// The message could never be sent.
    Argument(ArgumentError),
    /// The queue to the client is full.
    Full,
    /// What was waited for did not come in time; of a ticket's outcome: the client had no room for
    /// the message in its operation timeout.
    TimedOut,
    /// The client is closed.
    Closed,
    /// The message was sent already, or is done, and can not be withdrawn.
    AlreadySent,
    /// The client has no connection and does not make one by itself.
    ConnectionLost,
    /// The broker refused the subscription (MQTT3-3.9.3).
    SubscribeRefused,
    /// The store of the client fails, and the client takes nothing while it does.
    StoreFailed(StoreFailure),
    /// The thread runs fibers, all of which would stand still: use the [`Client`](super::Client).
    InRuntime,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Full => write!(
                f,
                "expected room among {REMOTE_MESSAGES_MAX} messages of {REMOTE_BYTES_MAX} bytes for \
                 the client, found none"
            ),
            Self::TimedOut => f.write_str("the message was not taken or settled in time"),
            Self::Closed => f.write_str("the client is closed"),
            Self::AlreadySent => f.write_str("the message was sent already"),
            Self::ConnectionLost => f.write_str("the client has no connection"),
            Self::SubscribeRefused => f.write_str("the broker refused the subscription"),
            Self::StoreFailed(failure) => failure.fmt(f),
            Self::InRuntime => f.write_str("the call would block a thread that runs fibers"),
        }
    }
}

impl StdError for RemoteError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Argument(error) => Some(error),
            Self::StoreFailed(failure) => Some(failure),
            Self::Full
            | Self::TimedOut
            | Self::Closed
            | Self::AlreadySent
            | Self::ConnectionLost
            | Self::SubscribeRefused
            | Self::InRuntime => None,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    outcome: Option<Result<Outcome, RemoteError>>,
    waker: Option<Waker>,
    /// The message's slot among the tickets of the client, once it is there.
    slot: Option<u32>,
    /// It was to be withdrawn, and could not be.
    kept: bool,
}

/// What both sides know of one message.
#[derive(Debug, Default)]
pub(super) struct Fate {
    inner: Mutex<Inner>,
    settled: Condvar,
}

impl Fate {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of others runs under this lock but a waker's clone, which changes nothing here.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles it; returns whom to wake, where nothing is borrowed or locked.
    pub(super) fn settle(&self, outcome: Result<Outcome, RemoteError>) -> Option<Waker> {
        let waker = {
            let mut inner = self.lock();
            inner.outcome.get_or_insert(outcome);
            inner.waker.take()
        };
        self.settled.notify_all();
        waker
    }
}

impl Fate {
    pub(super) fn note_slot(&self, slot: u32) {
        self.lock().slot = Some(slot);
    }

    pub(super) fn slot(&self) -> Option<u32> {
        self.lock().slot
    }

    /// Tells that it was not withdrawn.
    pub(super) fn keep(&self) {
        self.lock().kept = true;
        self.settled.notify_all();
    }
}

/// A message that [`Remote`](super::Remote) took. As a future it gives the outcome; dropping it
/// changes nothing for the message.
#[derive(Debug)]
pub struct RemoteTicket(Arc<Fate>);

impl RemoteTicket {
    pub(super) fn new(fate: &Arc<Fate>) -> Self {
        Self(Arc::clone(fate))
    }

    /// The outcome, if it is settled: what became of the message, or why the client did not accept
    /// it. Neither blocks nor yields.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<Outcome, RemoteError>> {
        self.0.lock().outcome.clone()
    }

    /// Blocks the thread until the outcome is settled, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// Why the client did not accept the message, [`RemoteError::TimedOut`] and
    /// [`RemoteError::InRuntime`], after which the ticket can be asked again.
    pub fn wait(&self, timeout: Duration) -> Result<Outcome, RemoteError> {
        if let Some(outcome) = self.outcome() {
            return outcome;
        }
        check_thread()?;
        let open = |inner: &mut Inner| inner.outcome.is_none();
        let waited = self
            .0
            .settled
            .wait_timeout_while(self.0.lock(), timeout, open);
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.outcome.clone().unwrap_or(Err(RemoteError::TimedOut))
    }
}

impl RemoteTicket {
    /// Withdraws the message, if it was never sent, by a handle of its client: its outcome is
    /// [`Outcome::Withdrawn`], and it leaves no trace at the broker. Does nothing where it was dropped
    /// or has expired. Blocks the thread until the client has done so, at most for `timeout`; that
    /// may have to wait for a message that waits for room in the client.
    ///
    /// # Errors
    ///
    /// [`RemoteError::AlreadySent`]: it was given to the connection, or is done; nothing has changed.
    /// [`RemoteError::TimedOut`]: it may still be withdrawn. [`RemoteError::InRuntime`] and
    /// [`RemoteError::Closed`] as for [`Remote::publish`]. Where the client did not accept the message,
    /// why.
    pub fn abandon(&self, remote: &Remote, timeout: Duration) -> Result<(), RemoteError> {
        check_thread()?;
        self.0.lock().kept = false;
        if self.outcome().is_none() {
            remote.abandon(&self.0)?;
        }
        let open = |inner: &mut Inner| inner.outcome.is_none() && !inner.kept;
        let inner = self.0.lock();
        let waited = self.0.settled.wait_timeout_while(inner, timeout, open);
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match inner.outcome.clone() {
            Some(Ok(Outcome::Withdrawn | Outcome::Expired | Outcome::DroppedByPolicy)) => Ok(()),
            Some(Ok(_)) => Err(RemoteError::AlreadySent),
            Some(Err(error)) => Err(error),
            None if inner.kept => Err(RemoteError::AlreadySent),
            None => Err(RemoteError::TimedOut),
        }
    }
}

impl Future for RemoteTicket {
    type Output = Result<Outcome, RemoteError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = context.waker().clone();
        let mut inner = self.0.lock();
        match &inner.outcome {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                let earlier = inner.waker.replace(waker);
                drop(inner);
                drop(earlier);
                Poll::Pending
            }
        }
    }
}
