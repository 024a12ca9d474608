//! Timers against an ordered map, and what is left of those that were cancelled.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

/// A target that can be told from others by its number.
fn target(number: u32) -> Target {
    Target::Fiber(Unparker {
        runtime: 0,
        index: number,
        generation: 0,
        epoch: 0,
    })
}

fn number(target: Target) -> u32 {
    match target {
        Target::Fiber(token) => token.index,
        Target::Scope(_) => unreachable!("these tests insert fibers only"),
    }
}

#[test]
fn equal_deadlines_fire_in_order_of_insertion() {
    let mut timers = Timers::new();
    for n in 0..50 {
        timers.insert(7, target(n));
    }
    assert_eq!(timers.pop_due(6).map(number), None);
    let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(7))
        .map(number)
        .collect();
    assert_eq!(fired, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_stale_key_cancels_nothing() {
    let mut timers = Timers::new();
    let old = timers.insert(1, target(1));
    assert!(timers.pop_due(1).is_some());
    timers.insert(2, target(2));
    timers.cancel(old);
    assert_eq!(timers.pop_due(2).map(number), Some(2));
}

#[test]
fn a_timer_that_is_due_when_it_is_inserted_fires_or_is_cancelled() {
    let mut timers = Timers::new();
    assert_eq!(timers.pop_due(10), None);
    let key = timers.insert(5, target(1));
    timers.insert(6, target(2));
    timers.cancel(key);
    assert_eq!(timers.pop_due(10).map(number), Some(2));
    assert_eq!(timers.pop_due(10), None);
}

#[test]
fn timers_of_a_few_lengths_need_no_heap_and_leave_little_behind() {
    let mut timers = Timers::new();
    let mut live = VecDeque::new();
    let cancelled = RefCell::new(BTreeSet::new());
    let is_live = |target| !cancelled.borrow().contains(&number(target));
    // One far ahead keeps none of them out.
    timers.insert(1_000_000, target(u32::MAX));
    let mut n = 0;
    for now in 0..10_000 {
        for length in [600, 50] {
            live.push_back((timers.insert(now + length, target(n)), n));
            n += 1;
        }
        if live.len() > 100 {
            // In the order of insertion, and out of it.
            for at in [0, live.len() / 2] {
                let (key, n) = live.remove(at).unwrap();
                cancelled.borrow_mut().insert(n);
                timers.cancel(key);
            }
        }
        while timers.pop_due(now).is_some() {}
        if timers.is_crowded() {
            timers.compact(is_live);
        }
        assert!(timers.heap.is_empty());
        let most = 2 * (live.len() + 1) + DEAD_FREE_MAX + 1;
        assert!(timers.len() <= most, "{} of {}", timers.len(), live.len());
    }
}

#[test]
fn those_that_were_cancelled_are_passed_over_wherever_they_stand() {
    let mut timers = Timers::new();
    let keys: Vec<_> = (0..100_u32)
        .map(|n| timers.insert(u64::from(n), target(n)))
        .collect();
    let cancelled = |target| (10..90).contains(&number(target));
    for key in &keys[10..90] {
        timers.cancel(*key);
    }
    for n in 0..10 {
        assert_eq!(timers.pop_due(n), Some(target(n as u32)));
    }
    assert_eq!(timers.next_deadline(|target| !cancelled(target)), Some(90));
    assert_eq!(timers.len(), 10);
    assert_eq!(timers.dead, 0);
}

#[test]
fn random_use_agrees_with_an_ordered_map() {
    let mut timers = Timers::new();
    let mut model = BTreeMap::new();
    let cancelled = RefCell::new(BTreeSet::new());
    let is_live = |target| !cancelled.borrow().contains(&number(target));
    let mut live = Vec::new();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut now = 0;
    for n in 0..20_000_u32 {
        match random() % 4 {
            0 | 1 => {
                // Some of one length, so that there are runs as well.
                let deadline = now
                    + match random() % 3 {
                        0 => 500,
                        _ => random() % 1_000,
                    };
                if timers.is_crowded() {
                    timers.compact(is_live);
                }
                live.push((timers.insert(deadline, target(n)), (deadline, n)));
                model.insert((deadline, n), n);
            }
            2 if !live.is_empty() => {
                let (key, id) = live.swap_remove((random() as usize) % live.len());
                cancelled.borrow_mut().insert(id.1);
                timers.cancel(key);
                model.remove(&id);
            }
            _ => {
                now += random() % 200;
                while let Some(fired) = timers.pop_due(now) {
                    if !is_live(fired) {
                        continue;
                    }
                    let (&id, &expected) = model.first_key_value().unwrap();
                    assert_eq!(number(fired), expected);
                    assert!(id.0 <= now);
                    model.remove(&id);
                }
                assert!(model.first_key_value().is_none_or(|(id, _)| id.0 > now));
            }
        }
        assert_eq!(
            timers.next_deadline(is_live),
            model.first_key_value().map(|(id, _)| id.0)
        );
    }
}
