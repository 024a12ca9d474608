//! Timers under a paused clock: each tick is where it should be, to the nanosecond.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Instant, RunError, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn paused(body: impl FnOnce() + 'static) {
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(body)
        .expect("the runtime ran");
}

/// Whole and broken seconds since the start, noted at each run of a closure.
#[derive(Clone)]
struct Log(Rc<RefCell<Vec<f64>>>, Instant);

impl Log {
    fn new() -> Self {
        Self(Rc::default(), Instant::now())
    }

    fn note(&self) {
        self.0.borrow_mut().push(self.1.elapsed().as_secs_f64());
    }

    #[track_caller]
    fn expect(&self, expected: &[f64]) {
        assert_eq!(*self.0.borrow(), expected);
    }
}

/// A closure that notes when it is called and then takes its time.
fn noting(log: &Log, takes: Duration) -> impl FnMut(&TimerHandle) + 'static {
    let log = log.clone();
    move |_| {
        log.note();
        if !takes.is_zero() {
            sleep(takes).expect("no scope is over");
        }
    }
}

#[test]
fn the_next_tick_lies_on_the_grid_behind_now() {
    const PERIOD: u64 = 10;
    // (due, now, next, missed)
    let table = [
        (100, 100, 110, 0),
        (100, 101, 110, 0),
        (100, 109, 110, 0),
        (100, 110, 120, 1),
        (100, 119, 120, 1),
        (100, 155, 160, 5),
        // Asked early it is taken for due.
        (100, 95, 110, 0),
        (u64::MAX - 5, u64::MAX - 5, u64::MAX, 0),
    ];
    for (due, now, next, missed) in table {
        let (due, now) = (Instant::from_nanos(due), Instant::from_nanos(now));
        let found = next_tick(due, Duration::from_nanos(PERIOD), now);
        assert_eq!(
            found,
            (Instant::from_nanos(next), missed),
            "{due:?} at {now:?}"
        );
    }
    let endless = next_tick(
        Instant::from_nanos(1),
        Duration::MAX,
        Instant::from_nanos(5),
    );
    assert_eq!(endless, (Instant::from_nanos(u64::MAX), 0));
}

#[test]
fn a_timer_fires_once_and_can_be_armed_again_before_and_after() {
    paused(|| {
        let log = Log::new();
        let timer = after(2 * SECOND, noting(&log, Duration::ZERO)).expect("a fiber");
        assert!(timer.is_active());
        sleep(SECOND).expect("time");
        timer.reset(3 * SECOND).expect("armed"); // later than before: at 4
        sleep(2 * SECOND).expect("time");
        log.expect(&[]);
        timer.reset(SECOND / 2).expect("armed"); // sooner than before: at 3.5
        sleep(10 * SECOND).expect("time");
        log.expect(&[3.5]);
        assert!(!timer.is_active());
        timer.reset(SECOND).expect("armed"); // long after it fired: at 14
        sleep(SECOND).expect("time");
        fiber::yield_now().expect("a turn");
        log.expect(&[3.5, 14.0]);
        assert_eq!((timer.fired(), timer.missed()), (2, 0));
    });
}

#[test]
fn a_cancelled_timer_does_not_fire_and_wakes_nobody() {
    paused(|| {
        let log = Log::new();
        let timer = after(SECOND, noting(&log, Duration::ZERO)).expect("a fiber");
        sleep(SECOND / 2).expect("time");
        assert!(timer.cancel());
        assert!(!timer.cancel(), "it was not armed any more");
        fiber::yield_now().expect("a turn");
        let before = fiber::stats().wakes;
        sleep(10 * SECOND).expect("time");
        assert_eq!(fiber::stats().wakes - before, 1, "that of this fiber");
        log.expect(&[]);
        timer.reset(SECOND).expect("armed");
        sleep(2 * SECOND).expect("time");
        log.expect(&[11.5]);
    });
}

#[test]
fn ticks_keep_to_their_grid_and_do_not_pile_up_behind_a_slow_closure() {
    paused(|| {
        let log = Log::new();
        let mut takes = [0.25, 0.0, 2.5, 1.0, 0.0].into_iter();
        let noted = log.clone();
        let ticking = every(SECOND, move |_| {
            noted.note();
            let takes = Duration::from_secs_f64(takes.next().unwrap_or(0.0));
            sleep(takes).expect("no scope is over");
        })
        .expect("a fiber");
        sleep(SECOND * 17 / 2).expect("time");
        // The third takes from 3 to 5.5: of the ticks at 4 and 5 the latter fires, late, and takes
        // until 6.5, so that the one at 6 is late too.
        log.expect(&[1.0, 2.0, 3.0, 5.5, 6.5, 7.0, 8.0]);
        assert_eq!((ticking.fired(), ticking.missed()), (7, 1));
    });
}

#[test]
fn a_new_period_begins_a_new_grid() {
    paused(|| {
        let log = Log::new();
        let ticking = every(4 * SECOND, noting(&log, Duration::ZERO)).expect("a fiber");
        sleep(5 * SECOND).expect("time");
        ticking.reset(SECOND).expect("armed");
        sleep(SECOND * 5 / 2).expect("time");
        let refused = ticking
            .reset(Duration::ZERO)
            .expect_err("no time between ticks");
        assert!(matches!(refused, TimerError::ZeroPeriod));
        sleep(SECOND).expect("time");
        log.expect(&[4.0, 6.0, 7.0, 8.0]);
    });
}

#[test]
fn ticks_without_time_between_them_are_refused_and_a_timer_without_delay_is_not() {
    paused(|| {
        let refused = every(Duration::ZERO, |_| ()).expect_err("no time between ticks");
        assert!(matches!(refused, TimerError::ZeroPeriod), "{refused}");
        let log = Log::new();
        let timer = after(Duration::ZERO, noting(&log, Duration::ZERO)).expect("a fiber");
        log.expect(&[]);
        fiber::yield_now().expect("a turn");
        log.expect(&[0.0]);
        drop(timer);
    });
    let refused = after(SECOND, |_| ()).expect_err("no runtime");
    assert!(matches!(refused, TimerError::Spawn(SpawnError::NoRuntime)));
}

#[test]
fn a_closure_governs_its_own_timer() {
    paused(|| {
        let log = Log::new();
        let noted = log.clone();
        // Each pause is a second longer, three times.
        let timer = after(SECOND, move |this| {
            noted.note();
            if this.fired() < 4 {
                let pause = u32::try_from(this.fired()).expect("few") + 1;
                this.reset(pause * SECOND).expect("armed");
            }
        })
        .expect("a fiber");
        sleep(60 * SECOND).expect("time");
        log.expect(&[1.0, 3.0, 6.0, 10.0]);
        assert!(!timer.is_active());
    });
}

#[test]
fn a_handle_that_is_dropped_ends_its_timer_and_lets_a_run_finish() {
    paused(|| {
        let (began, finished) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let body = {
            let (began, finished) = (Rc::clone(&began), Rc::clone(&finished));
            move |_: &TimerHandle| {
                began.set(began.get() + 1);
                sleep(5 * SECOND).expect("not broken into");
                finished.set(finished.get() + 1);
            }
        };
        let fibers = || fiber::stats().spawns - fiber::stats().ended;
        let alone = fibers();
        let timer = every(SECOND, body).expect("a fiber");
        sleep(2 * SECOND).expect("time");
        drop(timer);
        sleep(60 * SECOND).expect("time");
        assert_eq!((began.get(), finished.get()), (1, 1));
        assert_eq!(Rc::strong_count(&began), 1, "the closure was dropped");
        assert_eq!(fibers(), alone);
    });
}

#[test]
fn a_handle_that_is_dropped_ends_also_a_timer_that_arms_itself() {
    paused(|| {
        for period in [None, Some(SECOND)] {
            let (log, outcome) = (Log::new(), Rc::new(RefCell::new(None)));
            let body = {
                let (noted, outcome) = (log.clone(), Rc::clone(&outcome));
                move |this: &TimerHandle| {
                    noted.note();
                    sleep(SECOND / 2).expect("no scope is over");
                    *outcome.borrow_mut() = Some(this.reset(SECOND));
                }
            };
            let timer = match period {
                None => after(SECOND, body),
                Some(period) => every(period, body),
            };
            let timer = timer.expect("a fiber");
            sleep(SECOND * 11 / 4).expect("time");
            log.expect(&[1.0, 2.5]);
            assert!(matches!(*outcome.borrow(), Some(Ok(()))));
            // While its second run is under way.
            drop(timer);
            sleep(60 * SECOND).expect("time");
            log.expect(&[1.0, 2.5]);
            let refused = outcome.take().expect("a second run");
            assert!(matches!(refused, Err(TimerError::Ended)));
            assert_eq!(Rc::strong_count(&outcome), 1, "the closure was dropped");
        }
    });
}

#[test]
fn a_detached_timer_goes_on_by_itself() {
    paused(|| {
        let fibers = || fiber::stats().spawns - fiber::stats().ended;
        let alone = fibers();
        let log = Log::new();
        after(SECOND, noting(&log, Duration::ZERO))
            .expect("a fiber")
            .detach();
        let noted = log.clone();
        every(2 * SECOND, move |this| {
            noted.note();
            if this.fired() == 3 {
                this.cancel();
            }
        })
        .expect("a fiber")
        .detach();
        sleep(60 * SECOND).expect("time");
        log.expect(&[1.0, 2.0, 4.0, 6.0]);
        assert_eq!(fibers(), alone, "both have ended");
    });
}

#[test]
fn a_panic_in_the_closure_ends_the_timer_and_nothing_else() {
    paused(|| {
        let panics = fiber::stats().panics;
        let timer = every(SECOND, |this| assert!(this.fired() < 3, "the third")).expect("a fiber");
        sleep(60 * SECOND).expect("time");
        assert_eq!((timer.fired(), fiber::stats().panics - panics), (3, 1));
        assert!(!timer.is_active() && timer.due().is_none());
        assert!(matches!(timer.reset(SECOND), Err(TimerError::Ended)));
        assert!(!timer.is_active());
    });
}

#[test]
fn putting_a_timer_off_again_and_again_wakes_nobody() {
    paused(|| {
        let fired = Rc::new(Cell::new(false));
        let told = Rc::clone(&fired);
        let watchdog = after(10 * SECOND, move |_| told.set(true)).expect("a fiber");
        sleep(SECOND).expect("time");
        let before = fiber::stats().wakes;
        for _ in 0..1_000 {
            watchdog.reset(10 * SECOND).expect("armed");
            sleep(Duration::from_millis(10)).expect("time");
        }
        // Those of this fiber, and one of the timer's for each time that it would have fired.
        let wakes = fiber::stats().wakes - before;
        assert!((1_000..=1_002).contains(&wakes), "{wakes}");
        assert!(!fired.get());
        sleep(10 * SECOND).expect("time");
        assert!(fired.get());
    });
}

#[test]
fn a_period_shorter_than_its_closure_leaves_others_their_turns() {
    // Real time: the closure never waits, and a tick is always due.
    let outcome = fiber::run(|| {
        let ticking = every(Duration::from_nanos(1), |_| ()).expect("a fiber");
        for _ in 0..100 {
            fiber::yield_now().expect("a turn");
        }
        ticking.fired()
    });
    let fired = outcome.expect("the runtime ran");
    assert!((1..=100 * 128 + 128).contains(&fired), "{fired}");
}

#[test]
fn a_timer_is_independent_of_the_scope_it_is_started_in_and_lives_as_long_as_its_handle() {
    paused(|| {
        let log = Log::new();
        let outcome = fiber::timeout(SECOND, || {
            let ticking = every(SECOND * 2 / 5, noting(&log, Duration::ZERO)).expect("a fiber");
            let waited = sleep(60 * SECOND);
            (ticking, waited)
        });
        let (ticking, waited) = outcome.expect_err("the time was over").0;
        waited.expect_err("the time was over");
        sleep(SECOND / 2).expect("time");
        log.expect(&[0.4, 0.8, 1.2]);
        drop(ticking);
        sleep(SECOND).expect("time");
        log.expect(&[0.4, 0.8, 1.2]);
    });
}

#[test]
fn a_timer_outlives_nothing_of_its_runtime_and_its_handle_may() {
    let timer = fiber::Runtime::builder()
        .paused_clock(true)
        .run(|| every(SECOND, |_| ()).expect("a fiber"))
        .expect("the runtime ran");
    assert!(!timer.is_active());
    assert!(matches!(timer.reset(SECOND), Err(TimerError::Ended)));
    assert!(!timer.cancel());
    drop(timer);
    // An armed timer is something to wait for, one that is not armed is nothing.
    let outcome = fiber::Runtime::builder().paused_clock(true).run(|| {
        let timer = after(SECOND, |_| ()).expect("a fiber");
        Event::new().wait().expect_err("nobody sets it");
        drop(timer);
    });
    assert!(matches!(outcome, Err(RunError::Deadlock(_))));
}
