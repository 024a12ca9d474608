//! The rules of signals, one by one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Selected, sleep};

use super::*;

const NUMBER: SignalName<u32> = SignalName::new("number");
const WORD: SignalName<&'static str> = SignalName::new("word");
const STATE: SignalName<u32> = SignalName::new("state").latched();
const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn paused(body: impl FnOnce() + 'static) {
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(body)
        .expect("the runtime ran");
}

type Log = Rc<RefCell<Vec<String>>>;

fn log() -> Log {
    Rc::default()
}

#[track_caller]
fn expect(log: &Log, expected: &[&str]) {
    assert_eq!(log.take(), expected);
}

/// Watches for numbers, and notes each with a name of its own.
fn noting(signals: &Signals, log: &Log, who: &'static str) -> Watch {
    let log = Rc::clone(log);
    let note = move |number: &u32| log.borrow_mut().push(format!("{who} {number}"));
    signals.watch(&NUMBER, note).expect("a watch")
}

fn names(signals: &Signals) -> usize {
    signals.0.topics.borrow().len()
}

#[test]
fn watchers_are_called_at_once_in_the_order_in_which_they_came() {
    paused(|| {
        let (signals, log) = (Signals::new(), log());
        assert_eq!(signals.emit(&NUMBER, &0), Ok(0), "nobody listens");
        let first = noting(&signals, &log, "first");
        let second = noting(&signals, &log, "second");
        assert_eq!(signals.emit(&NUMBER, &1), Ok(2));
        expect(&log, &["first 1", "second 1"]);
        drop(first);
        let _third = noting(&signals, &log, "third");
        assert_eq!(signals.emit(&NUMBER, &2), Ok(2));
        expect(&log, &["second 2", "third 2"]);
        assert_eq!(signals.emit(&WORD, &"of another name"), Ok(0));
        drop(second);
        expect(&log, &[]);
    });
}

#[test]
fn a_payload_need_not_be_cloned_for_a_watcher() {
    struct NotClone(u32);
    const NOT_CLONE: SignalName<NotClone> = SignalName::new("not clone");
    let (signals, sum) = (Signals::new(), Rc::new(Cell::new(0)));
    let adding = Rc::clone(&sum);
    let _watch = signals.watch(&NOT_CLONE, move |n| adding.set(adding.get() + n.0));
    assert_eq!(signals.emit(&NOT_CLONE, &NotClone(7)), Ok(1));
    assert_eq!(sum.get(), 7);
}

#[test]
fn a_wait_sees_the_next_signal_and_all_who_wait_see_the_same() {
    paused(|| {
        let signals = Signals::new();
        assert_eq!(signals.emit(&NUMBER, &1), Ok(0), "before the wait");
        let mut waiting: Vec<_> = (0..3)
            .map(|_| {
                let signals = signals.clone();
                fiber::spawn(move || signals.wait(&NUMBER)).expect("a fiber")
            })
            .collect();
        sleep(SECOND).expect("time");
        assert_eq!(signals.emit(&NUMBER, &2), Ok(3));
        assert_eq!(signals.emit(&NUMBER, &3), Ok(0), "one wait takes one");
        for fiber in &mut waiting {
            assert_eq!(fiber.join().expect("no panic"), Ok(2));
        }
        assert_eq!(names(&signals), 0);
    });
}

#[test]
fn nothing_is_missed_between_the_beginning_of_a_wait_and_its_end() {
    paused(|| {
        let signals = Signals::new();
        let next = signals.next(&NUMBER).expect("a wait");
        let emitting = signals.clone();
        fiber::spawn(move || emitting.emit(&NUMBER, &7)).expect("a fiber");
        sleep(SECOND).expect("time");
        assert_eq!(next.wait(), Ok(7));
        // As something to select on, beside others.
        let (number, word) = (signals.next(&NUMBER), signals.next(&WORD));
        let (number, word) = (number.expect("a wait"), word.expect("a wait"));
        let emitting = signals.clone();
        fiber::spawn(move || emitting.emit(&WORD, &"yes")).expect("a fiber");
        let selected = fiber::select(&[&number, &word], None).expect("one of them");
        assert_eq!(selected, Selected::Ready(1));
        assert_eq!((number.take().ok(), word.take().ok()), (None, Some("yes")));
    });
}

#[test]
fn a_wait_whose_payload_was_asked_for_too_early_goes_on() {
    paused(|| {
        let signals = Signals::new();
        let next = signals.next(&NUMBER).expect("a wait");
        let next = next.take().expect_err("not emitted yet");
        let emitting = signals.clone();
        fiber::spawn(move || emitting.emit(&NUMBER, &7)).expect("a fiber");
        assert_eq!(next.wait(), Ok(7));
        // A payload is taken once: there is no wait left that could be asked again, or spin.
        let next = signals.next(&NUMBER).expect("a wait");
        assert_eq!(signals.emit(&NUMBER, &8), Ok(1));
        assert_eq!(next.take().ok(), Some(8));
        assert_eq!(names(&signals), 0);
    });
}

#[test]
fn a_wait_obeys_the_deadline_and_leaves_nothing_behind() {
    paused(|| {
        let signals = Signals::new();
        let began = fiber::Instant::now();
        let late = fiber::timeout(5 * SECOND, || signals.wait(&NUMBER));
        let error = late
            .expect_err("nobody emits it")
            .0
            .expect_err("nothing came");
        assert_eq!(error, SignalError::Stopped(Stopped::TimedOut));
        assert_eq!(fiber::cause(&error), Some(Stopped::TimedOut));
        assert_eq!(began.elapsed(), 5 * SECOND);
        assert_eq!(signals.emit(&NUMBER, &1), Ok(0));
        assert_eq!(names(&signals), 0);
    });
}

#[test]
fn a_name_has_one_type_while_anybody_listens() {
    const AS_TEXT: SignalName<String> = SignalName::new("number");
    let (signals, log) = (Signals::new(), log());
    let watch = noting(&signals, &log, "numbers");
    let wrong = SignalError::WrongType {
        name: "number".to_owned(),
        expected: "u32",
        found: "alloc::string::String",
    };
    let text = "1".to_owned();
    assert_eq!(signals.emit(&AS_TEXT, &text), Err(wrong.clone()));
    assert_eq!(signals.watch(&AS_TEXT, |_| ()).err(), Some(wrong.clone()));
    assert_eq!(signals.next(&AS_TEXT).err(), Some(wrong.clone()));
    assert_eq!(signals.last(&AS_TEXT), Err(wrong.clone()));
    assert_eq!(
        wrong.to_string(),
        "signal number carries u32, found alloc::string::String"
    );
    // A name that is made while the program runs is the same name.
    let made: SignalName<u32> = String::from("number").into();
    assert_eq!(signals.emit(&made, &4), Ok(1));
    expect(&log, &["numbers 4"]);
    drop(watch);
    assert_eq!(signals.emit(&AS_TEXT, &text), Ok(0));
}

#[test]
fn a_watcher_may_emit_other_signals_and_not_its_own() {
    let (signals, log) = (Signals::new(), log());
    let (emitting, noted) = (signals.clone(), Rc::clone(&log));
    let _first = signals.watch(&NUMBER, move |number| {
        noted.borrow_mut().push(format!("first {number}"));
        assert_eq!(emitting.emit(&WORD, &"inner"), Ok(1));
        noted.borrow_mut().push("first again".to_owned());
        let again = emitting.emit(&NUMBER, &(number + 1));
        assert_eq!(
            again,
            Err(SignalError::Reentered {
                name: "number".to_owned()
            })
        );
    });
    let _second = noting(&signals, &log, "second");
    let (emitting, noted) = (signals.clone(), Rc::clone(&log));
    let _words = signals.watch(&WORD, move |word| {
        noted.borrow_mut().push((*word).to_owned());
        assert!(
            emitting.emit(&NUMBER, &9).is_err(),
            "also by way of another"
        );
    });
    assert_eq!(signals.emit(&NUMBER, &1), Ok(2));
    expect(&log, &["first 1", "inner", "first again", "second 1"]);
    assert_eq!(
        signals.emit(&NUMBER, &2),
        Ok(2),
        "and it can be emitted again"
    );
}

#[test]
fn signals_in_signals_have_a_bound() {
    let signals = Signals::new();
    let deepest = Rc::new(Cell::new(0));
    let name = |depth: usize| SignalName::<usize>::from(format!("depth {depth}"));
    let _watches: Vec<_> = (1..=SIGNAL_DEPTH_MAX + 1)
        .map(|depth| {
            let (emitting, deepest) = (signals.clone(), Rc::clone(&deepest));
            signals
                .watch(&name(depth), move |_| {
                    deepest.set(depth);
                    let deeper = emitting.emit(&name(depth + 1), &0);
                    let expected = match depth {
                        SIGNAL_DEPTH_MAX => Err(SignalError::TooDeep),
                        _ => Ok(1),
                    };
                    assert_eq!(deeper, expected);
                })
                .expect("a watch")
        })
        .collect();
    assert_eq!(signals.emit(&name(1), &0), Ok(1));
    assert_eq!(deepest.get(), SIGNAL_DEPTH_MAX);
    assert_eq!(signals.emit(&name(2), &0), Ok(1), "it was left again");
    assert_eq!(deepest.get(), SIGNAL_DEPTH_MAX + 1);
}

#[test]
fn who_comes_during_a_signal_hears_the_next_and_who_goes_is_not_called_any_more() {
    paused(|| {
        let (signals, log) = (Signals::new(), log());
        let later: Rc<RefCell<Vec<Watch>>> = Rc::default();
        let waits: Rc<RefCell<Vec<NextSignal<u32>>>> = Rc::default();
        let (listening, noted) = (signals.clone(), Rc::clone(&log));
        let (watches, begun) = (Rc::clone(&later), Rc::clone(&waits));
        let _first = signals.watch(&NUMBER, move |number| {
            noted.borrow_mut().push(format!("first {number}"));
            if *number == 1 {
                // Those behind this one go, before it is their turn, and others come.
                watches.borrow_mut().clear();
                watches.borrow_mut().push(noting(&listening, &noted, "new"));
                begun
                    .borrow_mut()
                    .push(listening.next(&NUMBER).expect("a wait"));
            }
        });
        later.borrow_mut().push(noting(&signals, &log, "second"));
        assert_eq!(signals.emit(&NUMBER, &1), Ok(1));
        expect(&log, &["first 1"]);
        let wait = waits.borrow_mut().pop().expect("a wait");
        let wait = wait.take().expect_err("not emitted since it began");
        assert_eq!(signals.emit(&NUMBER, &2), Ok(3));
        expect(&log, &["first 2", "new 2"]);
        assert_eq!(wait.take().ok(), Some(2));
    });
}

#[test]
fn a_watcher_may_end_itself_and_is_dropped_after_its_call() {
    let signals = Signals::new();
    let own: Rc<RefCell<Option<Watch>>> = Rc::default();
    let (held, calls) = (Rc::clone(&own), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&calls);
    let watch = signals.watch(&NUMBER, move |_| {
        drop(held.take());
        counted.set(counted.get() + 1);
    });
    own.replace(Some(watch.expect("a watch")));
    assert_eq!(signals.emit(&NUMBER, &1), Ok(1));
    assert_eq!(signals.emit(&NUMBER, &2), Ok(0));
    assert_eq!((calls.get(), Rc::strong_count(&calls)), (1, 1));
    assert_eq!(names(&signals), 0);
}

#[test]
fn a_watcher_that_panics_is_taken_off_and_nobody_else_suffers() {
    paused(|| {
        let (signals, log) = (Signals::new(), log());
        let _first = noting(&signals, &log, "first");
        let _bad = signals.watch(&NUMBER, |number| assert!(*number != 2, "of a watcher"));
        let _last = noting(&signals, &log, "last");
        assert_eq!(signals.emit(&NUMBER, &1), Ok(3));
        assert_eq!(signals.emit(&NUMBER, &2), Ok(3));
        assert_eq!(signals.emit(&NUMBER, &3), Ok(2));
        expect(
            &log,
            &[
                "first 1", "last 1", "first 2", "last 2", "first 3", "last 3",
            ],
        );
    });
}

#[test]
fn a_watcher_must_not_wait() {
    paused(|| {
        let signals = Signals::new();
        let found = Rc::new(Cell::new(None));
        let told = Rc::clone(&found);
        let _watch = signals.watch(&NUMBER, move |_| told.set(Some(sleep(SECOND))));
        let began = fiber::Instant::now();
        assert_eq!(signals.emit(&NUMBER, &1), Ok(1));
        assert_eq!(found.get(), Some(Err(Stopped::WouldWait)));
        assert_eq!(began.elapsed(), Duration::ZERO);
        sleep(SECOND).expect("afterwards waiting is allowed again");
    });
}

#[test]
fn of_a_latched_name_the_last_value_is_there_for_who_comes_late() {
    paused(|| {
        let (signals, log) = (Signals::new(), log());
        assert_eq!(signals.last(&STATE), Ok(None));
        assert_eq!(signals.emit(&STATE, &1), Ok(0));
        assert_eq!(signals.emit(&STATE, &2), Ok(0));
        assert_eq!(signals.last(&STATE), Ok(Some(2)));
        let (noted, emitting) = (Rc::clone(&log), signals.clone());
        let watch = signals.watch(&STATE, move |state| {
            noted.borrow_mut().push(format!("late {state}"));
            assert!(emitting.emit(&STATE, &9).is_err(), "its own name");
        });
        expect(&log, &["late 2"]);
        assert_eq!(signals.emit(&STATE, &3), Ok(1));
        expect(&log, &["late 3"]);
        // A wait is for the next one all the same.
        let next = signals.next(&STATE).expect("a wait");
        let next = next.take().expect_err("not emitted since it began");
        drop((watch, next));
        assert_eq!(signals.last(&STATE), Ok(Some(3)));
        signals.forget(&STATE).expect("the same type");
        assert_eq!((signals.last(&STATE), names(&signals)), (Ok(None), 0));
    });
}

#[test]
fn names_and_listeners_have_their_bounds() {
    let signals = Signals::new();
    let name = |number: usize| SignalName::<u32>::from(format!("name {number}"));
    let mut watches: Vec<_> = (0..SIGNAL_NAMES_MAX)
        .map(|number| signals.watch(&name(number), |_| ()).expect("a watch"))
        .collect();
    let one_more = name(SIGNAL_NAMES_MAX);
    assert_eq!(
        signals.watch(&one_more, |_| ()).err(),
        Some(SignalError::TooManyNames)
    );
    assert_eq!(
        signals.next(&one_more).err(),
        Some(SignalError::TooManyNames)
    );
    let latched = name(SIGNAL_NAMES_MAX).latched();
    assert_eq!(signals.emit(&latched, &1), Err(SignalError::TooManyNames));
    assert_eq!(signals.emit(&one_more, &1), Ok(0), "which needs no room");
    watches.truncate(1);
    for _ in 1..SIGNAL_LISTENERS_MAX {
        watches.push(signals.watch(&name(0), |_| ()).expect("a watch"));
    }
    assert_eq!(
        signals.next(&name(0)).err(),
        Some(SignalError::TooManyListeners)
    );
    assert_eq!(
        signals.watch(&name(0), |_| ()).err(),
        Some(SignalError::TooManyListeners)
    );
    assert_eq!(signals.emit(&name(0), &1), Ok(SIGNAL_LISTENERS_MAX));
    watches.pop();
    signals.next(&name(0)).expect("room again");
}

#[test]
fn what_closures_and_payloads_do_when_they_are_cloned_or_dropped_finds_nothing_borrowed() {
    /// Uses the signals whenever it is cloned or dropped.
    struct Meddling(Signals);
    impl Meddling {
        fn meddle(&self) {
            let _ = self.0.emit(&WORD, &"meddling");
            let _ = self.0.last(&STATE);
            drop(self.0.watch(&WORD, |_| ()));
            drop(self.0.watch(&MEDDLING, |_| ()));
            drop(self.0.next(&MEDDLING));
        }
    }
    impl Clone for Meddling {
        fn clone(&self) -> Self {
            self.meddle();
            Self(self.0.clone())
        }
    }
    impl Drop for Meddling {
        fn drop(&mut self) {
            self.meddle();
        }
    }
    const MEDDLING: SignalName<Meddling> = SignalName::new("meddling").latched();
    paused(|| {
        let signals = Signals::new();
        let payload = Meddling(signals.clone());
        let captured = Meddling(signals.clone());
        let watch = signals.watch(&MEDDLING, move |_| captured.meddle());
        let next = signals.next(&MEDDLING).expect("a wait");
        assert_eq!(signals.emit(&MEDDLING, &payload), Ok(2));
        assert_eq!(signals.emit(&MEDDLING, &payload), Ok(1));
        drop(next.wait().expect("a payload"));
        drop(watch);
        signals.forget(&MEDDLING).expect("the same type");
        drop(payload);
        assert_eq!(names(&signals), 0);
    });
}
