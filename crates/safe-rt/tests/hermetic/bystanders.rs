//! Fibers that have nothing to do with a test, and notice when it holds them up.
//!
//! A hundred of them sleep for [`PERIOD`] again and again and note how late they were woken. With a
//! paused clock that is exact, and no lateness is allowed; but time stands still there while anything
//! runs, so the runtime's watchdog counts turns that keep the thread. In real time lateness shows
//! both; what other processes took of the processor in that very time does not count.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Instant, JoinHandle, RunError, Runtime, STACK_BYTES_MIN};

/// How many there are.
pub(crate) const BYSTANDERS: u32 = 100;
/// How long each sleeps at a time.
pub(crate) const PERIOD: Duration = Duration::from_millis(50);
/// How late one may be woken in real time, and how long a turn may last at any time.
pub(crate) const HELD_UP_MAX: Duration = Duration::from_millis(250);
/// How often they note at most how long the thread waited for the processor so far, and how many of
/// these notes they keep: of a minute.
const NOTE_PERIOD: Duration = Duration::from_millis(10);
const NOTES: usize = 6_000;
/// For how long they stay. What waits for ever is then found to be a deadlock.
const STAY: Duration = Duration::from_secs(600);

/// How late one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Paused,
    Real,
}

/// The hundred, and what they noticed.
pub(crate) struct Bystanders {
    fibers: Vec<JoinHandle<u64>>,
    latest: Rc<Cell<Duration>>,
}

impl Bystanders {
    /// Starts them in virtual time, in which nobody waits for the processor.
    #[cfg_attr(
        not(feature = "sim"),
        expect(dead_code, reason = "the tests in the simulator begin with it")
    )]
    pub(crate) fn start() -> Self {
        Self::start_on(Processor::new(Duration::default))
    }

    fn start_on(processor: Processor) -> Self {
        let processor = Rc::new(processor);
        let latest = Rc::<Cell<Duration>>::default();
        let began = Instant::now();
        let fibers = (0..BYSTANDERS)
            .map(|index| {
                let (latest, processor) = (Rc::clone(&latest), Rc::clone(&processor));
                let first = began + PERIOD * index / BYSTANDERS;
                FiberBuilder::new()
                    .name("a bystander")
                    .stack_size(STACK_BYTES_MIN)
                    .spawn(move || stand_by(first, &latest, &processor))
                    .expect("a fiber")
            })
            .collect();
        Self { fibers, latest }
    }

    /// Lets each of them be woken once more, and ends them; returns how late the latest was.
    pub(crate) fn end(mut self) -> Duration {
        fiber::sleep(2 * PERIOD).expect("no scope is over");
        for fiber in &mut self.fibers {
            fiber.cancel();
            let wakes = fiber.join().expect("no panic");
            assert!(wakes > 0, "a bystander was never woken");
        }
        self.latest.get()
    }
}

/// Sleeps from period to period until it is cancelled; returns how often it was woken.
fn stand_by(first: Instant, latest: &Cell<Duration>, processor: &Processor) -> u64 {
    let (mut due, mut wakes) = (first, 0);
    processor.note(Instant::now());
    while due < first + STAY && fiber::sleep_until(due).is_ok() {
        let now = Instant::now();
        let mut late = now - due;
        if late > HELD_UP_MAX {
            late = late.saturating_sub(processor.waited_since(due));
        }
        processor.note(now);
        latest.set(latest.get().max(late));
        wakes += 1;
        due = Instant::now().max(due) + PERIOD;
    }
    wakes
}

/// How long the thread waited for the processor, and when.
struct Processor {
    /// How long it did so far.
    waited: Box<dyn Fn() -> Duration>,
    notes: RefCell<VecDeque<(Instant, Duration)>>,
}

impl Processor {
    fn new(waited: impl Fn() -> Duration + 'static) -> Self {
        Self {
            waited: Box::new(waited),
            notes: RefCell::default(),
        }
    }

    fn note(&self, now: Instant) {
        let mut notes = self.notes.borrow_mut();
        if notes.back().is_some_and(|(at, _)| now < *at + NOTE_PERIOD) {
            return;
        }
        if notes.len() == NOTES {
            notes.pop_front();
        }
        notes.push_back((now, (self.waited)()));
    }

    /// How long it waited since `begin`, or little more: since the last note before.
    fn waited_since(&self, begin: Instant) -> Duration {
        let notes = self.notes.borrow();
        let after = notes.partition_point(|(at, _)| *at <= begin);
        let before = notes.get(after.saturating_sub(1));
        before.map_or(Duration::ZERO, |(_, waited)| {
            (self.waited)().saturating_sub(*waited)
        })
    }
}

/// How long this thread could have run and was not let, as far as the system says so.
fn waited_for_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

#[track_caller]
fn run<T: 'static>(clock: Clock, body: impl FnOnce() -> T + 'static) -> Result<T, RunError> {
    let waited = match clock {
        Clock::Paused => Duration::default,
        Clock::Real => waited_for_processor,
    };
    run_on(Processor::new(waited), clock, body)
}

#[track_caller]
fn run_on<T: 'static>(
    processor: Processor,
    clock: Clock,
    body: impl FnOnce() -> T + 'static,
) -> Result<T, RunError> {
    let mut builder = Runtime::builder();
    if clock == Clock::Paused {
        builder = builder.paused_clock(true).watchdog(HELD_UP_MAX);
    }
    builder.run(move || {
        let bystanders = Bystanders::start_on(processor);
        let value = body();
        let slow_turns = fiber::stats().slow_turns;
        let latest = bystanders.end();
        let allowed = match clock {
            Clock::Paused => Duration::ZERO,
            Clock::Real => HELD_UP_MAX,
        };
        assert!(latest <= allowed, "a bystander was held up for {latest:?}");
        assert_eq!(slow_turns, 0, "turns were longer than {HELD_UP_MAX:?}");
        value
    })
}

/// Runs a test under the paused clock among a hundred others that must not notice.
#[track_caller]
pub(crate) fn among_bystanders<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    run(Clock::Paused, body).expect("the runtime ran, and nobody was held up")
}

/// As [`among_bystanders`], in real time: for what is about the system's sockets.
#[track_caller]
pub(crate) fn among_bystanders_in_real_time<T: 'static>(body: impl FnOnce() -> T + 'static) -> T {
    run(Clock::Real, body).expect("the runtime ran, and nobody was held up")
}

#[test]
fn bystanders_notice_a_fiber_that_keeps_the_thread() {
    for clock in [Clock::Paused, Clock::Real] {
        let outcome = run(clock, || {
            fiber::sleep(PERIOD).expect("no scope is over");
            std::thread::sleep(4 * HELD_UP_MAX);
            fiber::yield_now().expect("no scope is over");
        });
        assert!(
            matches!(outcome, Err(RunError::Panicked(_))),
            "{clock:?}: {outcome:?}"
        );
    }
}

/// What a processor says that others took all of when they did: for `busy` before the thread is kept,
/// and for `meanwhile` while it is.
#[track_caller]
fn is_noticed(busy: Duration, meanwhile: Duration) -> bool {
    let waited = Rc::<Cell<Duration>>::default();
    let told = Rc::clone(&waited);
    let outcome = run_on(Processor::new(move || told.get()), Clock::Real, move || {
        let began = Instant::now();
        while began.elapsed() < 6 * PERIOD {
            waited.set(waited.get() + busy / 6);
            fiber::sleep(PERIOD).expect("no scope is over");
        }
        std::thread::sleep(4 * HELD_UP_MAX);
        waited.set(waited.get() + meanwhile);
        fiber::yield_now().expect("no scope is over");
    });
    matches!(outcome, Err(RunError::Panicked(_)))
}

#[test]
fn what_others_took_of_the_processor_counts_only_while_a_bystander_was_late() {
    assert!(is_noticed(10 * HELD_UP_MAX, Duration::ZERO));
    assert!(is_noticed(10 * HELD_UP_MAX, HELD_UP_MAX));
    assert!(!is_noticed(Duration::ZERO, 4 * HELD_UP_MAX));
}

#[test]
fn bystanders_do_not_mind_waits_and_short_turns() {
    for run in [among_bystanders::<()>, among_bystanders_in_real_time] {
        run(|| {
            for _ in 0..10 {
                fiber::sleep(PERIOD / 2).expect("no scope is over");
                std::thread::sleep(HELD_UP_MAX / 100);
            }
        });
    }
}

#[test]
fn a_deadlock_among_bystanders_is_still_found() {
    let outcome = run(Clock::Paused, || {
        let (_sender, mut receiver) = fiber::oneshot::<()>();
        receiver.recv()
    });
    assert!(matches!(outcome, Err(RunError::Deadlock(_))), "{outcome:?}");
}
