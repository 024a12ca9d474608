//! Many fibers at once, and the bounds.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{go, paused, real, timed, turns};
use crate::{Event, Runtime, STACK_BYTES_DEFAULT, SpawnError, sleep, spawn, stats, yield_now};

const MANY: u32 = 10_000;

#[test]
fn ten_thousand_sleepers_wake_in_order() {
    paused(|| {
        let last = Rc::new(Cell::new(0));
        for n in 0..MANY {
            let last = Rc::clone(&last);
            // Started in another order than they wake in.
            let wake = n.wrapping_mul(7_919) % MANY + 1;
            go(move || {
                sleep(Duration::from_micros(wake.into())).unwrap();
                assert_eq!(last.replace(wake), wake - 1);
            });
        }
        let ((), took) = timed(|| sleep(Duration::from_micros(u64::from(MANY) + 1)).unwrap());
        assert_eq!(last.get(), MANY);
        assert_eq!(took, Duration::from_micros(u64::from(MANY) + 1));
    });
}

#[test]
fn a_sleep_costs_the_same_among_many_sleepers() {
    // Counted, not timed: resumptions and polls of the runtime per sleep.
    let cost = |others: u32| {
        paused(move || {
            for _ in 0..others {
                go(|| sleep(Duration::from_secs(3_600)));
            }
            turns(1);
            sleep(Duration::from_micros(1)).unwrap();
            let before = stats();
            for _ in 0..100 {
                sleep(Duration::from_micros(1)).unwrap();
            }
            let after = stats();
            (after.resumes - before.resumes, after.polls - before.polls)
        })
    };
    assert_eq!(cost(0), cost(5_000));
}

#[test]
fn ten_thousand_fibers_park_at_once_and_all_wake() {
    paused(|| {
        let (event, woken) = (Event::new(), Rc::new(Cell::new(0)));
        for _ in 0..MANY {
            let (event, woken) = (event.clone(), Rc::clone(&woken));
            go(move || {
                event.wait().unwrap();
                woken.set(woken.get() + 1);
            });
        }
        turns(1);
        assert_eq!(super::parked_reasons().len(), MANY as usize);
        event.set();
        turns(1);
        assert_eq!(woken.get(), MANY);
    });
}

#[test]
fn one_fiber_too_many_is_an_error_and_room_comes_back() {
    let run = Runtime::builder().paused_clock(true).fibers_max(3);
    run.run(|| {
        let mut first = spawn(|| ()).unwrap();
        spawn(|| ()).unwrap();
        assert!(matches!(
            spawn(|| ()),
            Err(SpawnError::FiberLimit { fibers_max: 3 })
        ));
        let scoped = crate::scope(|s| {
            assert!(matches!(
                s.spawn(|| Ok(())),
                Err(SpawnError::FiberLimit { fibers_max: 3 })
            ));
            Ok::<_, ()>(())
        });
        assert_eq!(scoped, Ok(()));
        first.join().unwrap();
        spawn(|| ()).unwrap();
    })
    .unwrap();
}

#[test]
fn slots_of_fibers_stacks_scopes_and_waiters_are_used_again() {
    paused(|| {
        let memory = || {
            let core = crate::core::current().unwrap();
            let fibers = core.fibers.borrow();
            (0..).map_while(|index| fibers.get(index)).count()
        };
        let round = || {
            let event = Event::new();
            for _ in 0..50 {
                let event = event.clone();
                go(move || {
                    let _ = crate::timeout(Duration::from_micros(1), || event.wait());
                });
            }
            sleep(Duration::from_micros(2)).unwrap();
        };
        round();
        let first = memory();
        for _ in 0..20 {
            round();
        }
        assert_eq!(memory(), first);
    });
}

#[test]
fn a_closure_larger_than_a_stack_runs() {
    // On a thread with room for the closure on its way to the heap.
    const BYTES: usize = STACK_BYTES_DEFAULT + STACK_BYTES_DEFAULT / 2;
    let on_thread = || {
        let mut large = [0_u8; BYTES];
        large[BYTES - 1] = 7;
        real(move || {
            yield_now().unwrap();
            // By reference: the capture stays where it lies.
            std::hint::black_box(&large)[BYTES - 1]
        })
    };
    let thread = std::thread::Builder::new()
        .stack_size(128 * STACK_BYTES_DEFAULT)
        .spawn(on_thread)
        .unwrap();
    assert_eq!(thread.join().unwrap(), 7);
}

#[test]
fn a_closure_of_any_size_and_alignment_runs() {
    #[derive(Clone, Copy)]
    #[repr(align(8_192))]
    struct Aligned;
    real(|| {
        let (some, much) = ([7_u8; 600], [7_u8; 4_000]);
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        assert_eq!(spawn(move || sum(&some)).unwrap().join().unwrap(), 4_200);
        assert_eq!(spawn(move || sum(&much)).unwrap().join().unwrap(), 28_000);
        let scoped = crate::scope(|s| {
            s.spawn(move || Err::<(), _>(sum(&much))).unwrap();
            Ok(())
        });
        assert_eq!(scoped, Err(28_000));
        // Nothing to copy, but a place to find for it.
        let aligned = Aligned;
        let mut child = spawn(move || {
            yield_now().unwrap();
            // A capture without a size that moves the place of everything below it.
            size_of_val(std::hint::black_box(&aligned))
        });
        assert_eq!(child.as_mut().unwrap().join().unwrap(), 0);
    });
}
