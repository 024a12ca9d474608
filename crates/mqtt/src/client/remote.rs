//! Publishing from other threads; subscribing is in `remote_messages.rs`.
//!
//! ```text
//!  other threads ─► bounded queue ─► a fiber of the client ─► Client::publish
//!       ▲                                                        │
//!       └───────────── RemoteTicket ◄── settled ◄────────────────┘
//! ```
//! The queue is all that both sides touch. Without room in the client its fiber waits, the queue
//! fills, and then the other threads wait.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use fiber::{FiberBuilder, Instant, Unparker};

use super::error::{Error, PublishError, WaitCause, WaitError};
use super::handler::drop_payload;
use super::outbox::QueuePolicy;
use super::publish::Publish;
use super::remote_messages::Ask;
use super::remote_ticket::{Fate, RemoteError, RemoteTicket};
use super::shared::Shared;
use super::ticket::{Outcome, Wait};
use super::{Client, link};
use crate::packet::QoS;
use crate::store::Key;

/// Messages of other threads that wait for the client to take them.
pub const REMOTE_MESSAGES_MAX: usize = 256;
/// Bytes of such messages; a single one may be larger.
pub const REMOTE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A message on its way to the client.
struct Job {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    key: Option<Key>,
    policy: Option<QueuePolicy>,
    expires: Option<Instant>,
    fate: Arc<Fate>,
}

impl Job {
    fn len(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    /// Messages that are to be withdrawn, one for each thread that waits for that.
    abandoned: VecDeque<Arc<Fate>>,
    /// Subscriptions to be made.
    asks: VecDeque<Ask>,
    bytes: usize,
    /// The client's fiber, while it waits.
    waiter: Option<Unparker>,
    /// [`Remote`]s there are.
    handles: usize,
    /// The client takes nothing more.
    closed: bool,
}

impl Inner {
    fn has_room_for(&self, job: &Job) -> bool {
        let fits = self.bytes + job.len() <= REMOTE_BYTES_MAX;
        self.jobs.is_empty() || (self.jobs.len() < REMOTE_MESSAGES_MAX && fits)
    }
}

/// What both sides touch.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// There is room, or the queue is closed.
    changed: Condvar,
    /// How old a message may get before it is sent.
    age_max: Option<Duration>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of others runs under this lock, so a poisoned one guards sound data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes and subscribes for a client from other threads; made by [`Client::remote`].
///
/// It does not keep the client open: after the client's end each call fails with
/// [`RemoteError::Closed`]. While one exists, a runtime in which everything waits is not taken for
/// deadlocked.
pub struct Remote {
    queue: Arc<Queue>,
    runtime: fiber::Remote,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queued, closed) = {
            let inner = self.queue.lock();
            (inner.jobs.len(), inner.closed)
        };
        f.debug_struct("Remote")
            .field("queued", &queued)
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        Self::new(&self.queue, self.runtime.clone())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let waiter = {
            let mut inner = self.queue.lock();
            inner.handles -= 1;
            let last = inner.handles == 0;
            inner.waiter.take_if(|_| last)
        };
        if let Some(waiter) = waiter {
            // Without its runtime there is nobody to tell.
            let _ = self.runtime.unpark(waiter);
        }
    }
}

impl Remote {
    fn new(queue: &Arc<Queue>, runtime: fiber::Remote) -> Self {
        queue.lock().handles += 1;
        let queue = Arc::clone(queue);
        Self { queue, runtime }
    }

    /// Publishes a message: copies it into the queue to the client and wakes that. Blocks the thread
    /// while the queue is full, and until the level of [`Publish::wait`] holds: anything above
    /// [`Wait::Stored`] means the message's outcome here, and anything below it that the message is in
    /// the queue, which is before a store has it. At most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`RemoteError::TimedOut`]: without a level to wait for the message was not accepted, with one
    /// it may have been. [`RemoteError::Closed`] after the client's end. [`RemoteError::InRuntime`]
    /// on a thread that runs fibers, all of which would stand still. With a level to wait for also
    /// what [`RemoteTicket::wait`] gives.
    pub fn publish(
        &self,
        publish: Publish<'_>,
        timeout: Duration,
    ) -> Result<RemoteTicket, RemoteError> {
        check_thread()?;
        let deadline = Instant::now() + timeout;
        let (job, ticket) = self.job(&publish);
        let full = |inner: &mut Inner| !inner.closed && !inner.has_room_for(&job);
        let inner = self.queue.lock();
        let waited = self.queue.changed.wait_timeout_while(inner, timeout, full);
        let (inner, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(RemoteError::TimedOut);
        }
        self.enter(inner, job)?;
        if publish.level() > Wait::Stored {
            ticket.wait(deadline.saturating_duration_since(Instant::now()))?;
        }
        Ok(ticket)
    }

    /// Publishes a message if the queue to the client has room for it; does not look at
    /// [`Publish::wait`]. Neither blocks nor yields, on whatever thread.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Full`], [`RemoteError::Closed`]: the message was not accepted.
    pub fn try_publish(&self, publish: Publish<'_>) -> Result<RemoteTicket, RemoteError> {
        let (job, ticket) = self.job(&publish);
        let inner = self.queue.lock();
        if !inner.closed && !inner.has_room_for(&job) {
            return Err(RemoteError::Full);
        }
        self.enter(inner, job)?;
        Ok(ticket)
    }

    /// Withdraws a message that the client has not taken, or has the client do so, which tells `fate`.
    pub(super) fn abandon(&self, fate: &Arc<Fate>) -> Result<(), RemoteError> {
        let mut inner = self.queue.lock();
        let queued = inner
            .jobs
            .iter()
            .position(|job| Arc::ptr_eq(&job.fate, fate));
        if let Some(job) = queued.and_then(|at| inner.jobs.remove(at)) {
            inner.bytes -= job.len();
            drop(inner);
            self.queue.changed.notify_all();
            wake(fate.settle(Ok(Outcome::Withdrawn)));
            return Ok(());
        }
        if inner.closed {
            return Err(RemoteError::Closed);
        }
        let fate = Arc::clone(fate);
        self.enter_by(inner, |inner| inner.abandoned.push_back(fate))
    }

    /// The runtime of the client.
    pub(super) const fn runtime(&self) -> &fiber::Remote {
        &self.runtime
    }

    /// Has the client subscribe.
    pub(super) fn ask(&self, ask: Ask) -> Result<(), RemoteError> {
        let mut inner = self.queue.lock();
        if inner.closed {
            return Err(RemoteError::Closed);
        }
        inner.asks.retain(|ask| !ask.is_idle());
        if inner.asks.len() >= REMOTE_MESSAGES_MAX {
            return Err(RemoteError::Full);
        }
        self.enter_by(inner, |inner| inner.asks.push_back(ask))
    }

    fn job(&self, publish: &Publish<'_>) -> (Job, RemoteTicket) {
        let outgoing = publish.outgoing();
        let fate = Arc::new(Fate::default());
        let ticket = RemoteTicket::new(&fate);
        let age = publish.age_with(self.queue.age_max);
        let job = Job {
            topic: outgoing.topic.to_owned(),
            payload: outgoing.payload.to_vec(),
            qos: outgoing.qos,
            retain: outgoing.retain,
            key: publish.name(),
            policy: publish.policy(),
            expires: age.map(|age| Instant::now() + age),
            fate,
        };
        (job, ticket)
    }

    fn enter(&self, inner: MutexGuard<'_, Inner>, job: Job) -> Result<(), RemoteError> {
        if inner.closed {
            return Err(RemoteError::Closed);
        }
        // The fiber that is woken finds the message: it looks under this lock.
        let enter = |inner: &mut Inner| {
            inner.bytes += job.len();
            inner.jobs.push_back(job);
        };
        self.enter_by(inner, enter)
    }

    /// Changes the queue and wakes the client's fiber.
    fn enter_by(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        enter: impl FnOnce(&mut Inner),
    ) -> Result<(), RemoteError> {
        match inner.waiter.map(|waiter| self.runtime.unpark(waiter)) {
            None | Some(Ok(())) => {
                inner.waiter = None;
                enter(&mut inner);
                Ok(())
            }
            Some(Err(fiber::RemoteError::Full)) => Err(RemoteError::Full),
            Some(Err(_)) => {
                drop(inner);
                close(&self.queue);
                Err(RemoteError::Closed)
            }
        }
    }
}

/// Refuses to block a thread that runs fibers.
pub(super) fn check_thread() -> Result<(), RemoteError> {
    match fiber::Remote::current() {
        Ok(_) => Err(RemoteError::InRuntime),
        Err(_) => Ok(()),
    }
}

/// Takes nothing more; what waits was not accepted.
pub(super) fn close(queue: &Queue) {
    let (jobs, abandoned, asks) = {
        let mut inner = queue.lock();
        inner.closed = true;
        inner.bytes = 0;
        let abandoned = std::mem::take(&mut inner.abandoned);
        let asks = std::mem::take(&mut inner.asks);
        (std::mem::take(&mut inner.jobs), abandoned, asks)
    };
    queue.changed.notify_all();
    for ask in asks {
        ask.refuse(RemoteError::Closed);
    }
    for fate in abandoned {
        fate.keep();
    }
    for job in jobs {
        wake(job.fate.settle(Err(RemoteError::Closed)));
    }
}

/// Wakes whoever polls a ticket: code of the program, so nothing is borrowed or locked.
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake()))
    {
        drop_payload(payload);
    }
}

impl Client {
    /// A handle for other threads. All handles of a client share one queue to it, and one fiber,
    /// which ends with the last of them. Does not yield.
    ///
    /// # Errors
    ///
    /// [`Error::Wait`] outside a runtime and after the client's end, [`Error::Spawn`] without room
    /// for the fiber.
    pub fn remote(&self) -> Result<Remote, Error> {
        let runtime = fiber::Remote::current()?;
        let known = {
            let state = self.shared.state();
            if state.over {
                return Err(Error::Wait(WaitCause::Closed));
            }
            state.remote.clone()
        };
        if let Some(queue) = known {
            return Ok(Remote::new(&queue, runtime));
        }
        let queue = Arc::new(Queue {
            age_max: self.shared.options.queue_age_max,
            ..Queue::default()
        });
        let remote = Remote::new(&queue, runtime);
        let (shared, jobs) = (Rc::clone(&self.shared), Arc::clone(&queue));
        FiberBuilder::new()
            .name("mqtt-remote")
            .spawn(move || serve(&shared, &jobs))?;
        self.shared.state().remote = Some(queue);
        Ok(remote)
    }
}

/// Closes the queue when its fiber ends, by a panic too.
struct CloseOnDrop<'a>(&'a Rc<Shared>, &'a Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.state().remote = None;
        close(self.1);
    }
}

/// The body of the fiber that publishes for other threads.
fn serve(shared: &Rc<Shared>, queue: &Queue) {
    let _closes = CloseOnDrop(shared, queue);
    let client = Client::inside(shared);
    while let Some(next) = next(shared, queue) {
        let job = match next {
            Next::Publish(job) => job,
            Next::Subscribe(ask) => {
                if !ask.is_idle() {
                    ask.start(shared);
                }
                continue;
            }
            Next::Abandon(fate) => {
                if shared.state().abandon_remote(&fate) {
                    link::wake_threads(shared);
                    shared.wake.set();
                } else {
                    fate.keep();
                }
                continue;
            }
        };
        let mut publish = Publish::to(&job.topic, &job.payload).qos(job.qos);
        if let Some(key) = job.key {
            publish = publish.key(key);
        }
        if let Some(policy) = job.policy {
            publish = publish.queue_policy(policy);
        }
        if let Some(expires) = job.expires {
            let left = expires - Instant::now();
            if left.is_zero() {
                // It may find room at once, and would be sent.
                shared.state().stats.expired += 1;
                wake(job.fate.settle(Ok(Outcome::Expired)));
                continue;
            }
            publish = publish.expires_after(left);
        }
        // The next one must not wait for the disk behind it.
        let publish = publish.retain(job.retain).wait(Wait::None).unpaced();
        match client.publish(publish) {
            Ok(ticket) => ticket.tell(job.fate),
            Err(error) => wake(job.fate.settle(Err(refused(error)))),
        }
    }
}

fn refused(error: PublishError) -> RemoteError {
    match error {
        PublishError::Argument(error) => RemoteError::Argument(error),
        PublishError::QueueFull => RemoteError::Full,
        PublishError::StoreFailed(failure) => RemoteError::StoreFailed(failure),
        PublishError::Full(cause) => not_waited(cause),
        PublishError::Wait(WaitError { .. }) => RemoteError::TimedOut,
    }
}

/// Why a call of the client's fiber did not wait to its end.
pub(super) fn not_waited(cause: WaitCause) -> RemoteError {
    match cause {
        WaitCause::StoreFailed(failure) => RemoteError::StoreFailed(failure),
        WaitCause::Closed => RemoteError::Closed,
        WaitCause::ConnectionLost(_) => RemoteError::ConnectionLost,
        WaitCause::Stopped(_) => RemoteError::TimedOut,
    }
}

/// What the fiber does next.
enum Next {
    Publish(Job),
    Subscribe(Ask),
    Abandon(Arc<Fate>),
}

/// Waits for the next message; none when the client is over or no handle is left.
fn next(shared: &Rc<Shared>, queue: &Queue) -> Option<Next> {
    loop {
        let token = fiber::prepare().ok()?;
        {
            let mut inner = queue.lock();
            if shared.state().over {
                return None;
            }
            if let Some(fate) = inner.abandoned.pop_front() {
                return Some(Next::Abandon(fate));
            }
            if let Some(ask) = inner.asks.pop_front() {
                return Some(Next::Subscribe(ask));
            }
            if let Some(job) = inner.jobs.pop_front() {
                inner.bytes -= job.len();
                drop(inner);
                // Those that wait need different room: each looks itself.
                queue.changed.notify_all();
                return Some(Next::Publish(job));
            }
            if inner.handles == 0 {
                return None;
            }
            inner.waiter = Some(token);
        }
        shared.watch(token);
        let parked = fiber::park();
        shared.unwatch(token);
        parked.ok()?;
    }
}
