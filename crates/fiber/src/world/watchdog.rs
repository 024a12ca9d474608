//! Notices fibers that keep their turn for too long. Off unless asked for, and then it costs two
//! readings of a clock for each turn.
//!
//! A turn is measured when it is over: the fiber is named in the log, one line per second at most.
//! A thread beside, if wanted, tells while it still lasts, which is the only way to hear of a fiber
//! that never gives up its turn. Without work the thread sleeps, so an idle runtime stays idle.

#![allow(
    clippy::disallowed_methods,
    reason = "turns take real time whatever the runtime's clock says, and only a thread can tell \
              of one that does not end"
)]

use std::cell::Cell;
use std::fmt::Write as _;
use std::io;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::coroutine::Switch;
use crate::inspect::FiberState;

/// Time between two lines about turns that were too long.
const QUIET_WINDOW: Duration = Duration::from_secs(1);
/// The watching thread sleeps no shorter, however low its bound is.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What a runtime is asked to watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) bound: Duration,
    pub(crate) thread: bool,
}

/// The watch over one runtime's turns.
pub(crate) struct Watchdog {
    bound: Duration,
    told_at: Cell<Option<Instant>>,
    /// Turns that were too long and are not told yet.
    untold: Cell<u64>,
    beside: Option<Arc<Beside>>,
}

/// What the runtime's thread and the watching one share.
struct Beside {
    turn: Mutex<Turn>,
    changed: Condvar,
}

/// The turn that is on.
struct Turn {
    number: u64,
    /// None between turns.
    began: Option<Instant>,
    index: u32,
    location: &'static Location<'static>,
    /// Kept for its memory.
    name: String,
    /// The thread waits to be told of the next turn.
    asleep: bool,
    closed: bool,
    reports: u64,
}

impl Watchdog {
    /// # Errors
    ///
    /// What the system answered when no thread could be started.
    pub(crate) fn new(watch: Watch) -> io::Result<Self> {
        let beside = match watch.thread {
            true => Some(start(watch.bound)?),
            false => None,
        };
        Ok(Self {
            bound: watch.bound,
            told_at: Cell::new(None),
            untold: Cell::new(0),
            beside,
        })
    }

    /// Turns that the thread has told of.
    #[cfg(test)]
    pub(crate) fn reports(&self) -> u64 {
        self.beside
            .as_ref()
            .map_or(0, |beside| lock(&beside.turn).reports)
    }

    /// Counts a turn that was too long and tells of it, unless one was told just now.
    #[cold]
    fn tell(&self, core: &Core, turn: (u32, Switch), took: Duration, now: Instant) {
        core.counters.slow_turns.add(1);
        let told_at = self.told_at.get();
        if told_at.is_some_and(|told_at| now.duration_since(told_at) < QUIET_WINDOW) {
            self.untold.set(self.untold.get() + 1);
            return;
        }
        self.told_at.set(Some(now));
        let (mut fiber, bound) = (core.fiber_info(turn.0), self.bound);
        if turn.1 == Switch::Finished {
            fiber.state = FiberState::Ended;
        }
        let others = match self.untold.take() {
            0 => String::new(),
            untold => format!("; {untold} more turns were too long since the last such line"),
        };
        log::warn!("a turn took {took:.1?}, longer than {bound:.1?}: {fiber}{others}");
    }
}

impl Core {
    /// As [`Core::run_next`], under watch.
    pub(crate) fn run_next_watched(&self, watchdog: &Watchdog) -> bool {
        let Some(index) = self.ready.first() else {
            return false;
        };
        let began = Instant::now();
        if let Some(beside) = &watchdog.beside {
            beside.begin(self, index, began);
        }
        let turn = self.run_turn();
        let now = Instant::now();
        if let Some(beside) = &watchdog.beside {
            lock(&beside.turn).began = None;
        }
        let Some((index, switch)) = turn else {
            return false;
        };
        let took = now.duration_since(began);
        if took > watchdog.bound {
            watchdog.tell(self, (index, switch), took, now);
        }
        if switch == Switch::Finished {
            self.bury(index);
        }
        true
    }
}

impl Beside {
    fn begin(&self, core: &Core, index: u32, began: Instant) {
        let mut turn = lock(&self.turn);
        turn.number += 1;
        turn.began = Some(began);
        turn.index = index;
        {
            let fibers = core.fibers.borrow();
            fibers.with_facts(index, |facts, _| {
                turn.location = facts.location;
                turn.name.clear();
                turn.name.push_str(&facts.name);
            });
        }
        if turn.asleep {
            self.changed.notify_one();
        }
    }

    /// What the thread does: sleep until a turn begins, then until it has lasted for too long.
    fn watch(&self, bound: Duration) {
        let mut turn = lock(&self.turn);
        let mut told = 0;
        while !turn.closed {
            let lasted = match turn.began {
                Some(began) => began.elapsed(),
                None => {
                    turn.asleep = true;
                    turn = self
                        .changed
                        .wait(turn)
                        .unwrap_or_else(PoisonError::into_inner);
                    turn.asleep = false;
                    continue;
                }
            };
            let left = bound.saturating_sub(lasted);
            let mut line = String::new();
            if left.is_zero() && told != turn.number {
                told = turn.number;
                turn.reports += 1;
                line = turn.words(lasted);
            }
            if line.is_empty() {
                let pause = if left.is_zero() { bound } else { left }.max(PAUSE_MIN);
                turn = self
                    .changed
                    .wait_timeout(turn, pause)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            } else {
                // A logger may take its time: the runtime does not wait for it.
                drop(turn);
                log::warn!("{line}");
                turn = lock(&self.turn);
            }
        }
    }
}

impl Turn {
    fn words(&self, lasted: Duration) -> String {
        let mut words = format!(
            "a turn has lasted {lasted:.1?} and goes on: fiber {}",
            self.index
        );
        if !self.name.is_empty() {
            let _ = write!(words, " {:?}", self.name);
        }
        let _ = write!(words, ", spawned at {}", self.location);
        words
    }
}

impl Watchdog {
    /// Ends the thread: the runtime is over, also where a leaked fiber keeps it.
    pub(crate) fn end(&self) {
        if let Some(beside) = &self.beside {
            lock(&beside.turn).closed = true;
            beside.changed.notify_one();
        }
    }

    #[cfg(test)]
    pub(crate) fn thread_is_alive(&self) -> impl Fn() -> bool + use<> {
        let beside = self.beside.as_ref().map(Arc::downgrade);
        // This side's is one of the two.
        move || {
            beside
                .as_ref()
                .is_some_and(|beside| beside.strong_count() > 1)
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end();
    }
}

fn start(bound: Duration) -> io::Result<Arc<Beside>> {
    let beside = Arc::new(Beside {
        turn: Mutex::new(Turn {
            number: 0,
            began: None,
            index: 0,
            location: Location::caller(),
            name: String::new(),
            asleep: false,
            closed: false,
            reports: 0,
        }),
        changed: Condvar::new(),
    });
    let shared = Arc::clone(&beside);
    thread::Builder::new()
        .name("fiber-watchdog".to_owned())
        .spawn(move || shared.watch(bound))?;
    Ok(beside)
}

fn lock(turn: &Mutex<Turn>) -> MutexGuard<'_, Turn> {
    // No code of others runs under this lock, so a poisoned one guards sound data.
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}
