//! The runtime's inlet for other threads: wake one of its fibers, or start a new one.
//!
//! ```text
//!  any thread                            the runtime's thread
//!  put it into the inbox (bounded)  ──►  after a poll: wake, then start fibers in order
//!  wake the reactor, once a batch
//! ```
//!
//! Nothing polls the inbox: a runtime that waits is woken, and one that runs looks after its next
//! poll. No values come back this way; a closure that is to answer takes a channel of std along.

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::core::{self, Core};
use crate::coroutine::discard;
use crate::error::Stopped;
use crate::park::Unparker;
use crate::spawn::spawn_on;
use crate::stack::StackClass;
use crate::world::net::Waker;

/// Closures that may wait to become fibers, and fibers that may wait to be woken; of each, one
/// more is refused.
pub const REMOTE_QUEUE_MAX: usize = 1024;

/// Why something could not be asked of a runtime from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoteError {
    /// [`REMOTE_QUEUE_MAX`] of the kind wait already.
    Full,
    /// The runtime has ended, or its main fiber has and nothing new is started.
    Ended,
    /// The token belongs to a fiber of another runtime.
    OtherRuntime,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(
                f,
                "expected less than {REMOTE_QUEUE_MAX} requests from outside to wait, found as many"
            ),
            Self::Ended => f.write_str("the runtime has ended"),
            Self::OtherRuntime => f.write_str("the token belongs to another runtime"),
        }
    }
}

impl Error for RemoteError {}

/// How far a runtime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The main fiber ended: fibers may be woken, for they may be cleaning up; none is started.
    Closing,
    Ended,
}

/// A closure that is to become a fiber.
struct Job {
    body: Box<dyn FnOnce() + Send>,
    location: &'static Location<'static>,
}

struct State {
    phase: Phase,
    handles: usize,
    jobs: Vec<Job>,
    /// Index, generation and epoch of waits to be ended, in order and each once.
    wakes: Vec<(u32, u32, u32)>,
    /// The reactor was woken and has not looked yet.
    woken: bool,
}

struct Shared {
    runtime: u32,
    state: Mutex<State>,
    waker: Arc<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under this lock, so a poisoned one guards sound data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the reactor unless it was woken since it last looked.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if mem::replace(&mut state.woken, true) {
            return;
        }
        drop(state);
        // The only failure is a full eventfd counter, which means that the wake is due anyway.
        let _ = self.waker.wake();
    }
}

/// A handle of a runtime for other threads.
///
/// While one exists, a runtime whose fibers all wait is not deadlocked: it waits, without polling,
/// for what may come of the handle. It does not hold up a paused clock.
///
/// # Examples
///
/// ```
/// # fn on_another_thread(f: impl FnOnce() + Send + 'static) { std::thread::spawn(f); }
/// use fiber::{Event, Remote};
///
/// thread_local! {
///     static DONE: Event = Event::new();
/// }
///
/// fiber::run(|| {
///     let remote = Remote::current().expect("a runtime runs here");
///     on_another_thread(move || {
///         // The closure runs as a fiber over there, where the event is.
///         remote.spawn(|| DONE.with(Event::set)).expect("it is still there");
///     });
///     DONE.with(Clone::clone).wait()
/// })
/// .expect("the runtime ran")
/// .expect("it was woken");
/// ```
pub struct Remote(Arc<Shared>);

impl Remote {
    /// A handle of the runtime that runs on this thread. Does not yield.
    ///
    /// # Errors
    ///
    /// [`Stopped::NoRuntime`].
    pub fn current() -> Result<Self, Stopped> {
        Ok(core::required()?.remote.handle())
    }

    /// Starts a fiber that runs `body` on the runtime's thread, after those asked for earlier.
    /// Neither waits nor yields, on whatever thread.
    ///
    /// While the runtime has as many fibers as it may have the closure waits. If the runtime ends
    /// first it is dropped, on the runtime's thread; if there is no memory for a stack as well,
    /// and the log tells.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Full`] and [`RemoteError::Ended`]; `body` is dropped here.
    #[track_caller]
    pub fn spawn<F>(&self, body: F) -> Result<(), RemoteError>
    where
        F: FnOnce() + Send + 'static,
    {
        let job = Job {
            body: Box::new(body),
            location: Location::caller(),
        };
        // Taken after the job was made, so that a job that is refused is dropped unlocked.
        let mut state = self.0.lock();
        if state.phase != Phase::Open {
            return Err(RemoteError::Ended);
        }
        if state.jobs.len() >= REMOTE_QUEUE_MAX {
            return Err(RemoteError::Full);
        }
        state.jobs.push(job);
        self.0.wake(state);
        Ok(())
    }

    /// Ends the wait that `token` names, as [`Unparker::unpark`] does on the runtime's thread.
    /// Neither waits nor yields, on whatever thread.
    ///
    /// Several calls for one wait before the runtime looks are one. A wait that is over is nothing.
    ///
    /// # Errors
    ///
    /// [`RemoteError`].
    pub fn unpark(&self, token: Unparker) -> Result<(), RemoteError> {
        if token.runtime != self.0.runtime {
            return Err(RemoteError::OtherRuntime);
        }
        let wait = (token.index, token.generation, token.epoch);
        let mut state = self.0.lock();
        if state.phase == Phase::Ended {
            return Err(RemoteError::Ended);
        }
        let Err(at) = state.wakes.binary_search(&wait) else {
            return Ok(());
        };
        if state.wakes.len() >= REMOTE_QUEUE_MAX {
            return Err(RemoteError::Full);
        }
        state.wakes.insert(at, wait);
        self.0.wake(state);
        Ok(())
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        self.0.lock().handles += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.handles -= 1;
        if state.handles == 0 && state.phase != Phase::Ended {
            // It may be that nothing is left now that the runtime could wait for.
            self.0.wake(state);
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever is written to may wait, and the runtime itself takes this lock.
        let phase = self.0.lock().phase;
        f.debug_struct("Remote")
            .field("runtime", &self.0.runtime)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}

/// The runtime's side.
pub(crate) struct Inbox {
    shared: Arc<Shared>,
    /// Closures were left in the queue for want of room for their fibers.
    held_back: Cell<bool>,
}

impl Inbox {
    pub(crate) fn new(runtime: u32, waker: Arc<Waker>) -> Self {
        let state = State {
            phase: Phase::Open,
            handles: 0,
            jobs: Vec::new(),
            wakes: Vec::new(),
            woken: false,
        };
        Self {
            shared: Arc::new(Shared {
                runtime,
                state: Mutex::new(state),
                waker,
            }),
            held_back: Cell::new(false),
        }
    }

    fn handle(&self) -> Remote {
        self.shared.lock().handles += 1;
        Remote(Arc::clone(&self.shared))
    }

    /// Whether anything may still come from outside.
    pub(crate) fn may_bring_more(&self) -> bool {
        let state = self.shared.lock();
        state.handles > 0 || state.woken
    }

    /// Starts what was held back, as far as there is room for it by now.
    pub(crate) fn retry(&self, core: &Rc<Core>) {
        if self.held_back.get() {
            self.drain(core);
        }
    }

    /// Does what was asked for from outside.
    pub(crate) fn drain(&self, core: &Rc<Core>) {
        let (wakes, jobs) = {
            let mut state = self.shared.lock();
            state.woken = false;
            let room = core.fibers_max.saturating_sub(core.fibers.borrow().live);
            let count = state.jobs.len().min(room);
            self.held_back.set(count < state.jobs.len());
            let jobs: Vec<_> = state.jobs.drain(..count).collect();
            (mem::take(&mut state.wakes), jobs)
        };
        for (index, generation, epoch) in wakes {
            core.unpark(Unparker {
                runtime: self.shared.runtime,
                index,
                generation,
                epoch,
            });
        }
        for Job { body, location } in jobs {
            let spawn = || spawn_on(core, Cow::Borrowed(""), StackClass::DEFAULT, location, body);
            // What the closure captured is dropped where it cannot be started: code of the user.
            match catch_unwind(AssertUnwindSafe(spawn)) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    log::error!("a fiber asked for at {location} could not be started: {error}");
                }
                Err(payload) => {
                    log::error!("a fiber asked for at {location} could not be started");
                    discard(payload, "while a closure from another thread was dropped");
                }
            }
        }
    }

    /// Refuses new fibers, and forgets those that were not started yet.
    pub(crate) fn close(&self) {
        self.enter(Phase::Closing);
    }

    /// Refuses everything from here on.
    pub(crate) fn end(&self) {
        self.enter(Phase::Ended);
    }

    fn enter(&self, phase: Phase) {
        let jobs = {
            let mut state = self.shared.lock();
            state.phase = phase;
            mem::take(&mut state.jobs)
        };
        self.held_back.set(false);
        for job in jobs {
            // What the closure captured is dropped, which is code of the user.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(job))) {
                discard(payload, "while a closure from another thread was dropped");
            }
        }
    }
}
