//! Semaphores and mutexes: never too many inside, in the order of the waits, and nothing lost.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::{Side, draw, handle, holds, join_all, pause};
use crate::{Mutex, Semaphore, timeout, yield_now};

/// Who did something, in order.
type Coming = Rc<RefCell<Vec<u32>>>;

/// There are never more holders than permits, and in the end all permits are back.
fn semaphores(_: Side) {
    const PERMITS: u32 = 3;
    let semaphore = Rc::new(Semaphore::new(PERMITS));
    let held = Rc::new(Cell::new(0));
    let mut fibers = Vec::new();
    for _ in 0..6 {
        let (semaphore, held) = (Rc::clone(&semaphore), Rc::clone(&held));
        fibers.push(handle(move || {
            for _ in 0..6 {
                let count = 1 + u32::try_from(draw(u64::from(PERMITS))).unwrap();
                let limit = Duration::from_micros(draw(2_000));
                let permit = match timeout(limit, || semaphore.acquire_many(count)) {
                    Ok(Ok(permit)) | Err(crate::Elapsed(Ok(permit))) => permit,
                    Ok(Err(error)) => panic!("it is open: {error:?}"),
                    Err(_) => continue,
                };
                held.set(held.get() + count);
                assert!(held.get() <= PERMITS, "{} held", held.get());
                pause();
                held.set(held.get() - count);
                drop(permit);
            }
        }));
    }
    join_all(fibers);
    assert_eq!(semaphore.available(), PERMITS);
}

/// Who waits first is served first, in whatever order fibers run.
fn lines(_: Side) {
    let semaphore = Rc::new(Semaphore::new(1));
    let (asked, served) = (Coming::default(), Coming::default());
    let mut fibers = Vec::new();
    for n in 0..8 {
        let semaphore = Rc::clone(&semaphore);
        let (asked, served) = (Rc::clone(&asked), Rc::clone(&served));
        fibers.push(handle(move || {
            for _ in 0..3 {
                pause();
                asked.borrow_mut().push(n);
                let permit = semaphore.acquire().unwrap();
                served.borrow_mut().push(n);
                yield_now().unwrap();
                drop(permit);
            }
        }));
    }
    join_all(fibers);
    assert_eq!(asked.borrow().len(), 24);
    assert_eq!(asked.take(), served.take());
}

/// What is done under a mutex is done by one fiber at a time, also where that waits.
fn mutexes(_: Side) {
    let account = Rc::new(Mutex::new((0_u32, 0_u32)));
    let mut fibers = Vec::new();
    for _ in 0..4 {
        let account = Rc::clone(&account);
        fibers.push(handle(move || {
            for _ in 0..10 {
                let mut both = account.lock().unwrap();
                both.0 += 1;
                pause();
                both.1 += 1;
                assert_eq!(both.0, both.1);
            }
        }));
    }
    join_all(fibers);
    assert_eq!(*account.lock().unwrap(), (40, 40));
}

#[test]
fn a_semaphore_never_lets_too_many_in_and_loses_no_permit() {
    holds(semaphores);
}

#[test]
fn who_waits_first_for_a_permit_is_served_first() {
    holds(lines);
}

#[test]
fn a_mutex_keeps_what_it_guards_whole_across_waits() {
    holds(mutexes);
}
