//! Guards, sizes and reuse of stacks.

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Duration;

use super::child::{dies_in_child, passes_in_child};
use super::{go, paused, turns};
use crate::coroutine::{Facts, FiberCoroutine, Switch};
use crate::stack::{STACK_BYTES_DEFAULT, StackClass, StackGuards, Stacks};
use crate::{
    Event, FiberBuilder, RunError, Runtime, SpawnError, sleep, spawn, stack_guards, stats,
};

/// Guards by the names they have in the environment.
const GUARDS: [(&str, StackGuards); 3] = [
    ("regions", StackGuards::Regions),
    ("pages", StackGuards::Pages),
    ("mapped", StackGuards::Mapped),
];

/// Those that work on this machine.
pub(crate) fn guards() -> impl Iterator<Item = (&'static str, StackGuards)> {
    GUARDS
        .into_iter()
        .filter(|(_, guards)| Stacks::new(Some(*guards)).is_ok())
}

pub(crate) fn recurse(depth: u64) -> u64 {
    let frame = [depth; 64];
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse(depth + 1) + black_box(&frame)[7]
}

fn big_frame() -> u8 {
    let frame = [1_u8; 4 * STACK_BYTES_DEFAULT];
    black_box(&frame)[7]
}

/// Writes to `bytes` of stack below the caller's frame.
pub(crate) fn use_stack(bytes: usize) -> u64 {
    let frame = [bytes as u64; 512];
    let below = bytes.saturating_sub(size_of_val(&frame));
    if below == 0 {
        return black_box(&frame)[7];
    }
    use_stack(below) + black_box(&frame)[7]
}

/// Those of a fiber of a test.
fn facts() -> Facts {
    Facts::new("".into(), std::panic::Location::caller(), 0)
}

#[test]
fn a_recursion_without_end_hits_the_guard() {
    for (name, _) in guards() {
        dies_in_child(
            "tests::stack::a_recursion_without_end_hits_the_guard",
            &[("FIBER_GUARDS", name)],
            || {
                paused(|| spawn(|| recurse(0)).unwrap().join().unwrap());
            },
        );
    }
}

#[test]
fn a_frame_larger_than_the_stack_hits_the_guard() {
    for (name, _) in guards() {
        dies_in_child(
            "tests::stack::a_frame_larger_than_the_stack_hits_the_guard",
            &[("FIBER_GUARDS", name)],
            || {
                paused(|| spawn(big_frame).unwrap().join().unwrap());
            },
        );
    }
}

#[test]
fn the_environment_and_the_builder_choose_the_guards() {
    for (name, guards) in guards() {
        passes_in_child(
            "tests::stack::the_environment_and_the_builder_choose_the_guards",
            &[("FIBER_GUARDS", name)],
            || {
                let asked = std::env::var("FIBER_GUARDS").unwrap();
                let (_, guards) = GUARDS.into_iter().find(|(name, _)| *name == asked).unwrap();
                assert_eq!(paused(stack_guards), Some(guards));
                let runtime = Runtime::builder().stack_guards(StackGuards::Mapped);
                assert_eq!(
                    runtime.run(stack_guards).unwrap(),
                    Some(StackGuards::Mapped)
                );
            },
        );
        let runtime = Runtime::builder().stack_guards(guards);
        assert_eq!(runtime.run(stack_guards).unwrap(), Some(guards));
    }
    assert_eq!(stack_guards(), None, "outside a runtime");
}

#[test]
fn a_name_of_guards_that_is_none_refuses_the_runtime() {
    passes_in_child(
        "tests::stack::a_name_of_guards_that_is_none_refuses_the_runtime",
        &[("FIBER_GUARDS", "fences")],
        || {
            let error = crate::run(|| ()).unwrap_err();
            assert!(matches!(error, RunError::Spawn(SpawnError::Stack(_))));
        },
    );
}

#[test]
fn stacks_end_at_the_bound_of_mappings_with_an_error_that_says_why() {
    for (name, guards) in guards() {
        if guards == StackGuards::Regions {
            continue;
        }
        passes_in_child(
            "tests::stack::stacks_end_at_the_bound_of_mappings_with_an_error_that_says_why",
            &[("FIBER_GUARDS", name)],
            || {
                paused(|| {
                    let event = Event::new();
                    let wait = |event: &Event| {
                        let event = event.clone();
                        spawn(move || event.wait())
                    };
                    let mut waiting = Vec::new();
                    let error = loop {
                        match wait(&event) {
                            Ok(child) => waiting.push(child),
                            Err(error) => break error,
                        }
                    };
                    let SpawnError::StackLimit {
                        stacks_max,
                        mappings_max,
                    } = error
                    else {
                        panic!("{error}");
                    };
                    assert_eq!(waiting.len() + 1, stacks_max, "with the main fiber");
                    assert_eq!(stacks_max, mappings_max / 5 * 2);
                    assert!(error.to_string().contains("vm.max_map_count"));
                    // All of them live, and there is room again once they ended.
                    event.set();
                    for child in &mut waiting {
                        child.join().unwrap().unwrap();
                    }
                    wait(&event).unwrap().join().unwrap().unwrap();
                });
                // The bound is of the process: what the runtime had is given back with it.
                paused(|| spawn(|| 1).unwrap().join().unwrap());
            },
        );
    }
}

#[test]
fn a_fiber_runs_on_every_kind_of_stack() {
    for (_, guards) in guards() {
        let stacks = Stacks::new(Some(guards)).unwrap();
        for _ in 0..3 {
            let stack = stacks.take(StackClass::DEFAULT).unwrap();
            let body = || {
                // Most of the stack can be used.
                let used = [1_u8; STACK_BYTES_DEFAULT / 2];
                crate::coroutine::suspend();
                black_box(&used)[7]
            };
            let mut coroutine =
                FiberCoroutine::new(stack, facts(), body, |value| assert_eq!(value.unwrap(), 1));
            assert_eq!(coroutine.resume(), Switch::Suspended);
            assert_eq!(coroutine.resume(), Switch::Finished);
        }
    }
}

#[test]
fn a_fiber_has_the_stack_it_asks_for() {
    for (_, guards) in guards() {
        let runtime = Runtime::builder().stack_guards(guards);
        runtime
            .run(|| {
                let deep = 4 * STACK_BYTES_DEFAULT;
                // Twice, so that a stack of this size is also used again.
                for _ in 0..2 {
                    let mut child = FiberBuilder::new()
                        .stack_size(deep + deep / 4)
                        .spawn(move || use_stack(deep))
                        .unwrap();
                    child.join().unwrap();
                }
                let error = FiberBuilder::new().stack_size(usize::MAX).spawn(|| ());
                assert!(matches!(
                    error,
                    Err(SpawnError::StackTooLarge { bytes: usize::MAX })
                ));
            })
            .unwrap();
    }
}

#[test]
fn a_system_call_may_fill_a_buffer_on_a_part_of_the_stack_that_was_never_touched() {
    for (_, guards) in guards() {
        let runtime = Runtime::builder().stack_guards(guards);
        runtime
            .run(|| {
                let (mut reader, mut writer) = std::io::pipe().unwrap();
                let sent = [7_u8; 4_096];
                writer.write_all(&sent).unwrap();
                let mut child = spawn(move || {
                    let mut buffer = [0_u8; STACK_BYTES_DEFAULT / 2];
                    let read = reader.read(&mut buffer[..4_096]).unwrap();
                    (read, buffer[4_095])
                })
                .unwrap();
                assert_eq!(child.join().unwrap(), (4_096, 7));
            })
            .unwrap();
    }
}

/// Memory of this process that is in use, in bytes.
#[allow(
    clippy::disallowed_methods,
    reason = "a thread that reads the file would be counted as well"
)]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * crate::sys::page_size()
}

#[test]
fn memory_comes_back_after_ten_thousand_fibers_used_100_kib_of_stack_each() {
    const FIBERS: usize = 10_000;
    const USED: usize = 100 * 1024;
    for (name, _) in guards() {
        passes_in_child(
            "tests::stack::memory_comes_back_after_ten_thousand_fibers_used_100_kib_of_stack_each",
            &[("FIBER_GUARDS", name)],
            || {
                let children = || {
                    let event = Event::new();
                    let body = |event: Event| {
                        move || {
                            use_stack(USED);
                            event.wait().unwrap();
                        }
                    };
                    for _ in 0..FIBERS {
                        go(body(event.clone()));
                    }
                    turns(2);
                    event
                };
                paused(move || {
                    let before = resident();
                    let event = children();
                    let used = resident() - before;
                    assert!(used > FIBERS * USED, "{used}");
                    event.set();
                    turns(2);
                    sleep(Duration::from_secs(10)).unwrap();
                    // A page of each stack, what the hot ones have, and the fibers' records.
                    let left = resident() - before;
                    assert!(left < FIBERS * 4_608 + 64 * 2 * USED, "{left}");
                    let trimmed = stats().stacks_trimmed;
                    if stack_guards() != Some(StackGuards::Mapped) {
                        assert_eq!(trimmed, FIBERS as u64 - 64);
                    }
                    // Trimmed stacks are as good as new, and nothing is trimmed twice.
                    let made = stats().stacks_made;
                    let event = children();
                    event.set();
                    if stack_guards() != Some(StackGuards::Mapped) {
                        assert_eq!(stats().stacks_made, made);
                    }
                });
            },
        );
    }
}

#[test]
fn an_idle_runtime_with_trimmed_stacks_sleeps_undisturbed() {
    paused(|| {
        for _ in 0..200 {
            go(|| turns(1));
        }
        turns(3);
        sleep(Duration::from_secs(10)).unwrap();
        assert!(stats().stacks_made >= 200);
        let before = stats().polls;
        for _ in 0..10 {
            sleep(Duration::from_secs(10)).unwrap();
        }
        assert_eq!(stats().polls - before, 10);
    });
}

#[test]
fn a_fiber_dropped_before_it_starts_drops_its_body_and_one_dropped_after_is_leaked() {
    let stacks = Stacks::new(None).unwrap();
    let held = std::rc::Rc::new(());
    let make = || {
        let held = std::rc::Rc::clone(&held);
        let body = move || {
            crate::coroutine::suspend();
            drop(held);
        };
        FiberCoroutine::new(
            stacks.take(StackClass::DEFAULT).unwrap(),
            facts(),
            body,
            |_| (),
        )
    };
    drop(make());
    assert_eq!(std::rc::Rc::strong_count(&held), 1);
    let mut started = make();
    assert_eq!(started.resume(), Switch::Suspended);
    drop(started);
    assert_eq!(std::rc::Rc::strong_count(&held), 2, "its locals stay");
    // Its stack is never given to another.
    let mut next = make();
    assert_eq!(next.resume(), Switch::Suspended);
    assert_eq!(next.resume(), Switch::Finished);
    assert_eq!(std::rc::Rc::strong_count(&held), 2);
}

/// The address of a local of a new fiber.
fn address_of_a_local() -> usize {
    spawn(|| {
        let local = 7_u64;
        std::ptr::from_ref(black_box(&local)).addr()
    })
    .unwrap()
    .join()
    .unwrap()
}

#[test]
fn the_stack_of_a_fiber_that_ended_is_the_next_ones() {
    paused(|| {
        let first = address_of_a_local();
        assert_eq!(address_of_a_local(), first);
        go(|| turns(5));
        turns(1);
        assert_ne!(address_of_a_local(), first);
    });
}
