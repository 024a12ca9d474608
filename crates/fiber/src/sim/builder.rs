//! A simulated run: its settings, and how it ended.

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::error::RunError;
use crate::runtime::{FIBERS_MAX_DEFAULT, GRACE_DEFAULT, RuntimeBuilder, Settings};
use crate::sim::World;
use crate::sim::rng::nanos;
use crate::sim::state::{BEGIN_NANOS, Halt, State};

/// Resumptions of one simulated run unless set otherwise.
pub const STEPS_MAX_DEFAULT: u64 = 10_000_000;
/// Virtual time of one simulated run unless set otherwise.
pub const TIME_MAX_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// What a resumption takes in virtual time unless set otherwise, at most.
const STEP_DEFAULT: Duration = Duration::from_micros(2);
/// What offloaded work takes in virtual time unless set otherwise, at most.
const WORK_DEFAULT: Duration = Duration::from_millis(5);
/// 1 January 2026, in seconds of Unix time.
const WALL_START_SECONDS: u64 = 1_767_225_600;

/// Which of the fibers that can run is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The one that could run first, as outside the simulator.
    Fifo,
    /// Any of them, drawn anew each time.
    Random,
    /// The seed chooses one of the two for the whole run: one seed in four is first in, first out.
    Drawn,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) order: Order,
    pub(crate) step: RangeInclusive<Duration>,
    pub(crate) steps_max: u64,
    pub(crate) time_max: u64,
    pub(crate) wall_start: SystemTime,
    pub(crate) work: RangeInclusive<Duration>,
    #[cfg(test)]
    pub(crate) planted: Option<crate::sim::Planted>,
    grace: Duration,
}

/// A run of a program in a simulated world, all of whose accidents are drawn from one seed.
///
/// The same seed gives the same run, to the last decision, as long as the program is the same and
/// learns of the outside only through this crate.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let run = fiber::sim::SimBuilder::new(7)
///     .run(|_world| fiber::sleep(Duration::from_secs(3600)))
///     .unwrap();
/// assert_eq!(run.value, Ok(()));
/// assert!(run.elapsed >= Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
pub struct SimBuilder {
    options: Options,
}

impl SimBuilder {
    /// A run with this seed and the default settings.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            options: Options {
                seed,
                order: Order::Drawn,
                step: Duration::ZERO..=STEP_DEFAULT,
                steps_max: STEPS_MAX_DEFAULT,
                time_max: nanos(TIME_MAX_DEFAULT),
                wall_start: SystemTime::UNIX_EPOCH + Duration::from_secs(WALL_START_SECONDS),
                #[cfg(test)]
                planted: None,
                work: Duration::from_micros(10)..=WORK_DEFAULT,
                grace: GRACE_DEFAULT,
            },
        }
    }

    /// The run's seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.options.seed
    }

    /// Sets which fiber is next (default [`Order::Drawn`]).
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.options.order = order;
        self
    }

    /// Sets how much virtual time each resumption of a fiber takes, drawn from this range
    /// (default 0 to 2 µs). Never zero throughout a program that waits for time in a loop of
    /// yields: its time would stand still.
    #[must_use]
    pub fn step(mut self, step: RangeInclusive<Duration>) -> Self {
        self.options.step = step;
        self
    }

    /// Bounds the resumptions of the run (default [`STEPS_MAX_DEFAULT`]): a program that never
    /// comes to rest is a [`FailureKind::Steps`]. A fiber that never waits at all is not found.
    #[must_use]
    pub fn steps_max(mut self, steps_max: u64) -> Self {
        self.options.steps_max = steps_max;
        self
    }

    /// Bounds the run's virtual time (default [`TIME_MAX_DEFAULT`]); beyond it the run is a
    /// [`FailureKind::Time`].
    #[must_use]
    pub fn time_max(mut self, time_max: Duration) -> Self {
        self.options.time_max = nanos(time_max);
        self
    }

    /// Sets how much virtual time work given to [`crate::offload`] takes, drawn from this range
    /// (default 10 µs to 5 ms).
    #[must_use]
    pub fn work(mut self, work: RangeInclusive<Duration>) -> Self {
        self.options.work = work;
        self
    }

    /// Plants a fault into the runtime.
    #[cfg(test)]
    pub(crate) fn plant(mut self, fault: crate::sim::Planted) -> Self {
        self.options.planted = Some(fault);
        self
    }

    /// Sets the wall time at the run's start (default 1 January 2026, 0:00 UTC).
    #[must_use]
    pub fn wall_start(mut self, wall_start: SystemTime) -> Self {
        self.options.wall_start = wall_start;
        self
    }

    /// Sets how long fibers may take to end once `main` did, in virtual time (default
    /// [`GRACE_DEFAULT`]).
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Runs `main` as the first fiber of a new simulated world.
    ///
    /// # Errors
    ///
    /// [`Failure`], with all that is needed to see the run again.
    #[track_caller]
    pub fn run<T, F>(self, main: F) -> Result<Run<T>, Failure>
    where
        T: 'static,
        F: FnOnce(&World) -> T + 'static,
    {
        let state = Rc::new(State::new(self.options.clone()));
        let settings = Settings {
            stack_guards: None,
            overflow_report: true,
            watch: None,
            paused_clock: true,
            fibers_max: FIBERS_MAX_DEFAULT,
            grace: self.options.grace,
            sim: Some(Rc::clone(&state)),
        };
        let world = World::new(Rc::clone(&state));
        let result = RuntimeBuilder { settings }.run(move || main(&world));
        let failed = match (state.halted(), result) {
            (Some(Halt::Steps), _) => FailureKind::Steps(self.options.steps_max),
            (Some(Halt::Time), _) => FailureKind::Time(Duration::from_nanos(self.options.time_max)),
            (Some(Halt::Panicked(name)), _) => FailureKind::Panicked(name),
            (None, Err(error)) => FailureKind::Run(error),
            (None, Ok(value)) => {
                return Ok(Run {
                    value,
                    trace: state.trace.hash(),
                    steps: state.steps(),
                    elapsed: elapsed(&state),
                });
            }
        };
        Err(Failure {
            seed: self.options.seed,
            kind: failed,
            trace: state.trace.hash(),
            steps: state.steps(),
            elapsed: elapsed(&state),
        })
    }
}

fn elapsed(state: &State) -> Duration {
    Duration::from_nanos(state.now() - BEGIN_NANOS)
}

/// What a simulated run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run<T> {
    /// What `main` returned.
    pub value: T,
    /// The hash of every decision of the run, in order: equal for equal runs.
    pub trace: u64,
    /// Resumptions of fibers.
    pub steps: u64,
    /// Virtual time that passed.
    pub elapsed: Duration,
}

/// A simulated run that gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// What went wrong.
    pub kind: FailureKind,
    /// The hash of every decision up to there.
    pub trace: u64,
    /// Resumptions of fibers up to there.
    pub steps: u64,
    /// Virtual time up to there.
    pub elapsed: Duration,
}

/// What went wrong in a simulated run.
#[derive(Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The runtime said so: a panic of `main`, or a deadlock with its fibers, for example.
    Run(RunError),
    /// The run had not come to its end after so many resumptions.
    Steps(u64),
    /// The run had not come to its end after so much virtual time.
    Time(Duration),
    /// A program of this machine panicked, see [`crate::sim::Host::start`].
    Panicked(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            kind,
            steps,
            elapsed,
            ..
        } = self;
        write!(f, "seed {seed}: {kind} (step {steps}, after {elapsed:?})")
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => error.fmt(f),
            Self::Steps(bound) => write!(f, "expected an end within {bound} steps, found none"),
            Self::Time(bound) => {
                write!(
                    f,
                    "expected an end within {bound:?} of virtual time, found none"
                )
            }
            Self::Panicked(host) => write!(f, "a program of {host:?} panicked"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            FailureKind::Run(error) => Some(error),
            FailureKind::Steps(_) | FailureKind::Time(_) | FailureKind::Panicked(_) => None,
        }
    }
}
