//! Children that borrow: they end before the scope does, whatever happens.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{MILLISECOND, Trace, paused, timed, turns};
use crate::{
    Event, FiberBuilder, STACK_BYTES_DEFAULT, SpawnError, Stopped, cancellable, fibers, scope,
    sleep, spawn, timeout, yield_now,
};

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn children_borrow_and_change_what_the_parent_owns() {
    paused(|| {
        let words = vec!["a", "b", "c"];
        let joined = RefCell::new(String::new());
        let length = scope(|s| {
            for word in &words {
                s.spawn(|| {
                    yield_now()?;
                    joined.borrow_mut().push_str(word);
                    Ok::<_, Stopped>(())
                })
                .unwrap();
            }
            Ok(words.len())
        });
        assert_eq!((length, joined.into_inner().as_str()), (Ok(3), "abc"));
    });
}

#[test]
fn children_start_children_in_the_same_scope() {
    paused(|| {
        let count = Cell::new(0);
        scope(|s| {
            let count = &count;
            s.spawn(move || {
                for _ in 0..3 {
                    s.spawn(move || {
                        yield_now()?;
                        count.set(count.get() + 1);
                        Ok(())
                    })
                    .unwrap();
                }
                Ok::<_, Stopped>(())
            })
            .unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(count.get(), 3);
    });
}

#[test]
fn the_first_error_in_time_wins_and_ends_the_rest() {
    paused(|| {
        let ends = Trace::new();
        let (result, took) = timed(|| {
            scope(|s| {
                for (name, after) in [("late", 3), ("first", 1), ("second", 2)] {
                    let ends = &ends;
                    s.spawn(move || {
                        let slept = sleep(after * MILLISECOND);
                        ends.note((name, slept));
                        Err(name)
                    })
                    .unwrap();
                }
                // The body's own wait ends as well.
                assert_eq!(sleep(LONG), Err(Stopped::Cancelled));
                Ok(())
            })
        });
        assert_eq!((result, took), (Err("first"), MILLISECOND));
        let cancelled = Err(Stopped::Cancelled);
        ends.expect([
            ("first", Ok(())),
            ("second", cancelled),
            ("late", cancelled),
        ]);
    });
}

#[test]
fn an_error_of_the_body_ends_the_children() {
    paused(|| {
        let ended = Cell::new(None);
        let result = scope(|s| {
            s.spawn(|| {
                ended.set(Some(sleep(LONG)));
                Ok(())
            })
            .unwrap();
            yield_now().unwrap();
            Err::<(), _>("body")
        });
        assert_eq!(result, Err("body"));
        assert_eq!(ended.get(), Some(Err(Stopped::Cancelled)));
    });
}

#[test]
fn an_error_before_the_cancellation_hides_those_that_follow_from_it() {
    paused(|| {
        let outcome = cancellable(|canceller| {
            scope(|s| {
                s.spawn(|| sleep(LONG)).unwrap();
                s.spawn(|| {
                    yield_now()?;
                    canceller.cancel();
                    Ok(())
                })
                .unwrap();
                Ok(())
            })
        });
        assert_eq!(outcome.unwrap_err().0, Err(Stopped::Cancelled));
    });
}

#[test]
fn a_scope_that_cancels_itself_joins_its_children() {
    paused(|| {
        let event = Event::new();
        let result: Result<u8, Stopped> = scope(|s| {
            s.spawn(|| {
                let _ = event.wait();
                Ok(())
            })
            .unwrap();
            yield_now()?;
            s.cancel();
            Ok(7)
        });
        assert_eq!(result, Ok(7));
    });
}

#[test]
fn nested_scopes_end_from_the_inside_out() {
    paused(|| {
        let trace = Trace::new();
        let ended = timeout(MILLISECOND, || {
            scope(|outer| {
                let trace = &trace;
                outer
                    .spawn(move || {
                        let inner: Result<(), Stopped> = scope(|inner| {
                            inner
                                .spawn(move || sleep(LONG).inspect_err(|_| trace.note(1)))
                                .unwrap();
                            Ok(())
                        });
                        trace.note(2);
                        inner
                    })
                    .unwrap();
                Ok(())
            })
            .inspect_err(|_| trace.note(3))
        });
        assert_eq!(ended.unwrap_err().0, Err(Stopped::TimedOut));
        trace.expect([1, 2, 3]);
    });
}

#[test]
fn a_panic_of_the_body_cancels_and_awaits_the_children() {
    paused(|| {
        let done = Cell::new(false);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _: Result<(), Stopped> = scope(|s| {
                s.spawn(|| {
                    assert_eq!(sleep(LONG), Err(Stopped::Cancelled));
                    for _ in 0..10 {
                        let _ = yield_now();
                    }
                    done.set(true);
                    Ok(())
                })
                .unwrap();
                yield_now()?;
                panic!("body");
            });
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "body");
        assert!(done.get());
    });
}

#[test]
fn a_panic_of_a_child_ends_the_others_and_goes_on_in_the_parent() {
    paused(|| {
        let others = Cell::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                for _ in 0..2 {
                    s.spawn(|| sleep(LONG).inspect_err(|_| others.set(others.get() + 1)))
                        .unwrap();
                }
                s.spawn(|| {
                    yield_now()?;
                    panic!("child")
                })
                .unwrap();
                Ok::<_, Stopped>(())
            })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "child");
        assert_eq!(others.get(), 2);
    });
}

/// Panics when dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[test]
fn an_error_that_panics_when_dropped_leaves_no_child_behind() {
    paused(|| {
        let done = Cell::new(false);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                // The first error, and the first one after the end: both are kept.
                s.spawn(|| Err(Bomb)).unwrap();
                s.spawn(|| sleep(LONG).map_err(|_| Bomb)).unwrap();
                s.spawn(|| {
                    for _ in 0..10 {
                        let _ = yield_now();
                    }
                    done.set(true);
                    Ok(())
                })
                .unwrap();
                turns(1);
                let _ = yield_now();
                assert!(!done.get());
                // One too many: dropped at once, it would unwind past the child that lives.
                Err::<(), _>(Bomb)
            })
            .map_err(std::mem::forget)
        }));
        assert!(done.get());
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "bomb");
    });
}

#[test]
fn surplus_errors_of_children_that_panic_when_dropped_end_the_scope_with_a_panic() {
    paused(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                for _ in 0..4 {
                    s.spawn(|| {
                        let _ = yield_now();
                        Err(Bomb)
                    })
                    .unwrap();
                }
                Ok(())
            })
            .map_err(std::mem::forget)
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "bomb");
    });
}

#[test]
fn a_second_panic_whose_payload_panics_when_dropped_is_forgotten() {
    paused(|| {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _: Result<(), ()> = scope(|s| {
                s.spawn(|| panic!("first")).unwrap();
                s.spawn(|| std::panic::panic_any(Bomb)).unwrap();
                Ok(())
            });
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "first");
    });
}

#[test]
fn errors_that_wait_when_dropped_do_so_before_the_scope_ends() {
    /// Waits when dropped, and says when it is done.
    #[derive(Debug)]
    struct Slow<'a>(&'a Trace<u8>);
    impl Drop for Slow<'_> {
        fn drop(&mut self) {
            for _ in 0..5 {
                let _ = yield_now();
            }
            self.0.note(1);
        }
    }
    paused(|| {
        let trace = Trace::new();
        let result = scope(|s| {
            for _ in 0..4 {
                s.spawn(|| Err(Slow(&trace))).unwrap();
            }
            Ok(())
        });
        trace.note(2);
        drop(result);
        // The first before the end and the first after it are kept until then.
        assert_eq!(trace.entries()[..3], [1, 1, 1]);
        assert_eq!(trace.entries()[3], 2);
    });
}

#[test]
fn a_scope_of_a_cancelled_fiber_is_over_from_the_start() {
    paused(|| {
        let mut fiber = spawn(|| {
            let _ = sleep(LONG);
            scope(|s| {
                s.spawn(|| sleep(LONG)).unwrap();
                Ok(())
            })
        })
        .unwrap();
        turns(1);
        fiber.cancel();
        assert_eq!(fiber.join().unwrap(), Err(Stopped::Cancelled));
    });
}

#[test]
fn a_child_of_a_scope_has_the_name_and_the_stack_it_was_given() {
    paused(|| {
        let bytes = 2 * STACK_BYTES_DEFAULT;
        let seen = Cell::new((None, 0));
        scope(|s| {
            let child = FiberBuilder::new().name("child").stack_size(bytes);
            child.spawn_scoped(s, || {
                let used = [1_u8; STACK_BYTES_DEFAULT];
                let sum = std::hint::black_box(&used)
                    .iter()
                    .map(|&byte| usize::from(byte))
                    .sum();
                let name = fibers()
                    .iter()
                    .map(|fiber| fiber.name.to_string())
                    .find(|name| name == "child");
                seen.set((name, sum));
                Ok(())
            })?;
            let too_large = FiberBuilder::new().stack_size(usize::MAX);
            let refused = too_large.spawn_scoped(s, || Ok(()));
            assert!(matches!(refused, Err(SpawnError::StackTooLarge { .. })));
            Ok::<_, SpawnError>(())
        })
        .unwrap();
        assert_eq!(seen.take(), (Some("child".to_owned()), STACK_BYTES_DEFAULT));
    });
}
