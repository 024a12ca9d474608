//! The thread door: work that would stop every fiber, done on threads beside.
//!
//! Three lanes with threads of their own, so that slow names never hold up the store. Threads
//! start when there is work and end when there was none for a while. A job whose fiber stopped
//! waiting is finished and its result forgotten; one that looks up a name and has not begun is
//! taken back, for look-ups may take long and those of the living wait behind it.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the door that others must use"
)]

use std::any::Any;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::cell::RefCell;
use crate::core::{self, Core};
use crate::coroutine::discard;
use crate::error::Stopped;
use crate::park::{Unparker, WaitReason};

/// Threads of the lane for names.
const NAME_THREADS_MAX: usize = 2;
/// Threads of the lane for files.
const FILE_THREADS_MAX: usize = 1;
/// Threads of the lane for everything else.
const WORK_THREADS_MAX: usize = 4;
/// Jobs that may wait in one lane; one more is refused. As an [`io::Error`] the refusal is of the kind
/// [`ResourceBusy`](io::ErrorKind::ResourceBusy).
pub const OFFLOAD_QUEUE_MAX: usize = 1024;
/// How long a thread without work stays.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Stack of such a thread.
const THREAD_STACK_BYTES: usize = 256 * 1024;

/// Which threads do a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Names,
    Files,
    Work,
}

/// Threads of a lane.
#[cfg(feature = "sim")]
pub(crate) fn threads_max(lane: Lane) -> usize {
    match lane {
        Lane::Names => NAME_THREADS_MAX,
        Lane::Files => FILE_THREADS_MAX,
        Lane::Work => WORK_THREADS_MAX,
    }
}

/// Why offloaded work gave no value.
#[non_exhaustive]
pub enum OffloadError {
    /// The wait ended early. The work goes on; its result is forgotten.
    Stopped(Stopped),
    /// The work panicked; this is what it panicked with.
    Panicked(Box<dyn Any + Send>),
    /// The lane has [`OFFLOAD_QUEUE_MAX`] jobs waiting.
    Full,
    /// No thread could be started, and none runs in this lane.
    Thread(io::Error),
}

impl fmt::Debug for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Panicked(_) => f.write_str("the offloaded work panicked"),
            Self::Full => write!(f, "the lane already has {OFFLOAD_QUEUE_MAX} jobs waiting"),
            Self::Thread(_) => f.write_str("no thread for offloaded work could be started"),
        }
    }
}

impl Error for OffloadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stopped(stopped) => Some(stopped),
            Self::Thread(error) => Some(error),
            Self::Panicked(_) | Self::Full => None,
        }
    }
}

impl From<OffloadError> for io::Error {
    fn from(error: OffloadError) -> Self {
        match error {
            OffloadError::Stopped(stopped) => stopped.into(),
            error @ OffloadError::Full => Self::new(io::ErrorKind::ResourceBusy, error.to_string()),
            error @ (OffloadError::Panicked(_) | OffloadError::Thread(_)) => {
                // The panic's payload is not Sync, which an io::Error must be.
                Self::other(error.to_string())
            }
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Finished jobs, on their way back to the runtime's thread.
struct Finished {
    tokens: Mutex<Vec<Unparker>>,
    waker: Arc<mio::Waker>,
}

struct LaneState {
    /// With the number each was given.
    /// Few enough to be moved up when the first is taken.
    jobs: Vec<(u64, Job)>,
    next_number: u64,
    threads: usize,
    idle: usize,
    closed: bool,
}

struct LaneShared {
    state: Mutex<LaneState>,
    work: Condvar,
    threads_max: usize,
}

/// The lanes of one runtime.
pub(crate) struct Offload {
    lanes: [Arc<LaneShared>; 3],
    finished: Arc<Finished>,
    /// Jobs whose end this thread has not seen yet.
    pending: Cell<usize>,
    /// The finished jobs' tokens while they are used; kept for its memory.
    drained: RefCell<Vec<Unparker>>,
}

impl Offload {
    pub(crate) fn new(waker: Arc<mio::Waker>) -> Self {
        let lane = |threads_max| {
            Arc::new(LaneShared {
                state: Mutex::new(LaneState {
                    jobs: Vec::new(),
                    next_number: 0,
                    threads: 0,
                    idle: 0,
                    closed: false,
                }),
                work: Condvar::new(),
                threads_max,
            })
        };
        Self {
            lanes: [
                lane(NAME_THREADS_MAX),
                lane(FILE_THREADS_MAX),
                lane(WORK_THREADS_MAX),
            ],
            finished: Arc::new(Finished {
                tokens: Mutex::new(Vec::new()),
                waker,
            }),
            pending: Cell::new(0),
            drained: RefCell::new(Vec::new()),
        }
    }

    /// Whether a job is under way whose end may yet wake a fiber.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.get() > 0
    }

    /// Wakes the fibers whose jobs are finished.
    pub(crate) fn drain(&self, core: &Core) {
        let mut drained = self.drained.borrow_mut();
        std::mem::swap(&mut *drained, &mut *lock(&self.finished.tokens));
        self.pending.set(self.pending.get() - drained.len());
        for token in drained.drain(..) {
            core.unpark(token);
        }
    }

    /// Takes back a job whose fiber stopped waiting, unless it has begun.
    fn withdraw(&self, lane: Lane, number: u64) {
        let withdrawn = {
            let mut state = lock(&self.lanes[lane as usize].state);
            let at = state.jobs.iter().position(|&(of, _)| of == number);
            at.map(|at| state.jobs.remove(at))
        };
        if let Some((_, job)) = withdrawn {
            self.pending.set(self.pending.get() - 1);
            drop_job(job);
        }
    }

    /// Queues a job and sees to a thread for it; returns the number the job has in its lane. A job
    /// that is refused is dropped, code of the user, once the lane is unlocked.
    fn submit(&self, lane: Lane, job: Job) -> Result<u64, OffloadError> {
        let shared = &self.lanes[lane as usize];
        let mut refused = None;
        let submitted = Self::submit_locked(shared, job, &mut refused);
        drop(refused);
        submitted
    }

    fn submit_locked(
        shared: &Arc<LaneShared>,
        job: Job,
        refused: &mut Option<Job>,
    ) -> Result<u64, OffloadError> {
        let mut state = lock(&shared.state);
        if state.jobs.len() >= OFFLOAD_QUEUE_MAX {
            *refused = Some(job);
            return Err(OffloadError::Full);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.jobs.push((number, job));
        if state.idle >= state.jobs.len() || state.threads >= shared.threads_max {
            shared.work.notify_one();
            return Ok(number);
        }
        let worker = Arc::clone(shared);
        let started = thread::Builder::new()
            .name("fiber-offload".to_owned())
            .stack_size(THREAD_STACK_BYTES)
            .spawn(move || work(&worker));
        match started {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads == 0 => {
                *refused = state.jobs.pop().map(|(_, job)| job);
                return Err(OffloadError::Thread(error));
            }
            Err(_) => shared.work.notify_one(),
        }
        Ok(number)
    }
}

impl Drop for Offload {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lock(&lane.state).closed = true;
            lane.work.notify_all();
        }
    }
}

/// What a thread of a lane does: jobs, until there were none for a while.
fn work(lane: &LaneShared) {
    let mut state = lock(&lane.state);
    loop {
        if !state.jobs.is_empty() {
            let (_, job) = state.jobs.remove(0);
            drop(state);
            // The work's own panic is caught in the job; this one comes of dropping what nobody
            // waits for any more. The thread must live to be counted.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                discard(payload, "while the value of offloaded work was dropped");
            }
            state = lock(&lane.state);
            continue;
        }
        if state.closed {
            break;
        }
        state.idle += 1;
        let (next, timeout) = lane
            .work
            .wait_timeout(state, IDLE_TIMEOUT)
            .unwrap_or_else(PoisonError::into_inner);
        state = next;
        state.idle -= 1;
        if timeout.timed_out() && state.jobs.is_empty() {
            break;
        }
    }
    state.threads -= 1;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of others runs under these locks, so a poisoned one guards sound data.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops a job that is not done; what it holds may panic then, and is nobody's business any more.
fn drop_job<J>(job: J) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(job))) {
        discard(
            payload,
            "while offloaded work that had not begun was dropped",
        );
    }
}

/// Says that a job ended, when it ended in whatever way.
struct SayFinished {
    token: Unparker,
    finished: Arc<Finished>,
}

impl Drop for SayFinished {
    fn drop(&mut self) {
        lock(&self.finished.tokens).push(self.token);
        // The only failure is a full eventfd counter, which means that the wake is due anyway.
        let _ = self.finished.waker.wake();
    }
}

/// Runs `work` on another thread. Yields until it is done.
///
/// The wait obeys the ambient deadline and cancellation; the work itself cannot be stopped and
/// its late result is dropped, on that thread.
///
/// # Errors
///
/// [`OffloadError`].
pub fn offload<T, F>(work: F) -> Result<T, OffloadError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    offload_on(Lane::Work, work)
}

pub(crate) fn offload_on<T, F>(lane: Lane, work: F) -> Result<T, OffloadError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let core = core::required().map_err(OffloadError::Stopped)?;
    core.may_switch().map_err(OffloadError::Stopped)?;
    core.check().map_err(OffloadError::Stopped)?;
    let token = core.prepare().map_err(OffloadError::Stopped)?;
    let result = Arc::new(Mutex::new(None));
    #[cfg(feature = "sim")]
    if let Some(sim) = &core.sim {
        let shared = Arc::clone(&result);
        let nanos = sim.schedule.nanos(&sim.options.work);
        let queued = sim.offload(&core, lane, nanos, move |_, core| {
            let value = catch_unwind(AssertUnwindSafe(work));
            *lock(&shared) = Some(value);
            core.unpark(token);
        });
        let number = queued.ok_or(OffloadError::Full)?;
        let waited = wait_for(&core, &result);
        if is_withdrawn(lane, &waited) {
            sim.withdraw(&core, lane, number);
        }
        return waited;
    }
    let job = {
        let result = Arc::clone(&result);
        let finished = Arc::clone(&core.offload.finished);
        Box::new(move || {
            let _say = SayFinished { token, finished };
            let value = catch_unwind(AssertUnwindSafe(work));
            *lock(&result) = Some(value);
        })
    };
    let number = core.offload.submit(lane, job)?;
    core.counters.offload_jobs.add(1);
    core.offload.pending.set(core.offload.pending.get() + 1);
    let waited = wait_for(&core, &result);
    if is_withdrawn(lane, &waited) {
        core.offload.withdraw(lane, number);
    }
    waited
}

/// Whether a job is taken back because nobody waits for it. Names alone: looking one up changes
/// nothing, while other work is promised to be done.
fn is_withdrawn<T>(lane: Lane, waited: &Result<T, OffloadError>) -> bool {
    lane == Lane::Names && matches!(waited, Err(OffloadError::Stopped(_)))
}

/// What a job leaves for the fiber that waits for it.
type JobResult<T> = Mutex<Option<thread::Result<T>>>;

fn wait_for<T>(core: &Core, result: &JobResult<T>) -> Result<T, OffloadError> {
    loop {
        core.park_apart(WaitReason::Offload)
            .map_err(OffloadError::Stopped)?;
        match lock(result).take() {
            Some(Ok(value)) => return Ok(value),
            Some(Err(payload)) => return Err(OffloadError::Panicked(payload)),
            // Only the job's end uses the token, so this is a wake for nothing; the token of
            // this wait stays good because no new wait was begun.
            None => {}
        }
    }
}

/// The name of this thread, which is the test's in a test.
#[cfg(feature = "sim")]
pub(crate) fn thread_name() -> Option<String> {
    thread::current().name().map(str::to_owned)
}
