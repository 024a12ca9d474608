//! Which fibers there are, and what a runtime counts.

use std::time::Duration;

use super::{MILLISECOND, go, paused, real, turns};
use crate::{
    Event, FiberBuilder, FiberInfo, FiberState, RunError, Runtime, WaitReason, channel, fibers,
    offload, scope, sleep, spawn, stats, timeout, yield_now,
};

#[test]
fn every_fiber_is_listed_with_what_it_does_and_where_it_was_spawned() {
    paused(|| {
        let (_sender, receiver) = channel::<u8>(1);
        let line = line!();
        let reader = FiberBuilder::new()
            .name("reader")
            .spawn(move || receiver.recv());
        go(|| while yield_now().is_ok() {});
        turns(2);
        let list = fibers();
        assert_eq!(list.len(), 3);
        let states: Vec<_> = list.iter().map(|fiber| fiber.state).collect();
        let parked = FiberState::Parked(WaitReason::Receive);
        assert_eq!(states, [FiberState::Running, parked, FiberState::Ready]);
        assert_eq!(list[1].wait_reason(), Some(WaitReason::Receive));
        assert_eq!(
            (list[0].name.as_ref(), list[1].name.as_ref()),
            ("main", "reader")
        );
        assert!((line..line + 5).contains(&list[1].spawned_at.line()));
        assert!(list[1].spawned_at.file().ends_with("inspect.rs"));
        assert_eq!((list[1].age, list[1].resumes), (Duration::ZERO, 1));
        assert!(list[0].resumes >= 3);
        drop(reader);
    });
}

#[test]
fn a_fiber_grows_old_by_the_runtimes_clock() {
    paused(|| {
        go(|| Event::new().wait());
        assert_eq!(fibers()[1].age, Duration::ZERO);
        sleep(Duration::from_secs(60)).unwrap();
        assert_eq!(fibers()[1].age, Duration::from_secs(60));
    });
}

#[test]
fn the_text_of_a_fiber_is_one_line_of_bounded_length() {
    paused(|| {
        let name = format!("two\nlines {}", "long ".repeat(1_000));
        FiberBuilder::new()
            .name(name)
            .spawn(|| Event::new().wait())
            .unwrap();
        go(|| Event::new().wait());
        turns(1);
        let text = fibers().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].starts_with("fiber 0 \"main\" runs, spawned at "),
            "{text}"
        );
        assert!(
            lines[1].starts_with("fiber 1 \"two\\nlines long "),
            "{text}"
        );
        assert!(
            lines[1].contains("\".. waits for Event, ") && lines[1].len() < 256,
            "{text}"
        );
        assert!(
            lines[2].starts_with("fiber 2 waits for Event, spawned at "),
            "{text}"
        );
        assert!(lines[2].contains(" old, 1 turn, "), "{text}");
        assert!(lines[2].ends_with(" bytes of stack"), "{text}");
    });
}

#[test]
fn a_text_of_many_fibers_is_bounded_and_says_how_many_it_leaves_out() {
    paused(|| {
        for _ in 0..999 {
            go(|| Event::new().wait());
        }
        let list = fibers();
        assert_eq!(list.len(), 1_000);
        let text = list.to_string();
        assert_eq!(text.lines().count(), 65);
        assert!(text.ends_with("\nand 936 more"), "{text}");
        assert_eq!(Vec::<FiberInfo>::from(list).len(), 1_000);
    });
}

#[test]
fn the_stack_of_a_fiber_that_waits_is_seen_from_outside() {
    const FRAME: usize = 100 * 1024;
    fn deep() -> usize {
        let frame = [1_u8; FRAME];
        std::hint::black_box(&frame).len()
    }
    paused(|| {
        go(|| Event::new().wait());
        go(|| {
            deep();
            Event::new().wait()
        });
        turns(1);
        let used = |index: usize| fibers()[index].stack_high_water.unwrap();
        assert!(used(1) >= 4096 && used(1) < FRAME, "{}", used(1));
        assert!(used(2) >= FRAME, "{}", used(2));
    });
}

#[test]
fn a_slot_that_is_used_again_names_another_fiber() {
    paused(|| {
        let mut first = spawn(|| fibers()[1].id).unwrap();
        let first = first.join().unwrap();
        assert_eq!(fibers().len(), 1, "who has ended is not listed");
        let mut second = spawn(|| fibers()[1].id).unwrap();
        let second = second.join().unwrap();
        assert_ne!(first, second);
        assert_eq!(
            (first.to_string(), second.to_string()),
            ("1".into(), "1.1".into())
        );
    });
}

#[test]
fn a_deadlock_is_told_in_the_same_form() {
    let run = Runtime::builder().paused_clock(true).run(|| {
        FiberBuilder::new()
            .name("stuck")
            .spawn(|| Event::new().wait())
            .unwrap();
        turns(1);
        let text = fibers()[1].to_string();
        let _ = Event::new().wait();
        text
    });
    let Err(RunError::Deadlock(told)) = run else {
        panic!("{run:?}");
    };
    let line = told.lines().nth(1).unwrap();
    assert!(
        line.starts_with("fiber 1 \"stuck\" waits for Event, spawned at "),
        "{told}"
    );
    assert_eq!(told.lines().count(), 2);
}

#[test]
fn outside_a_runtime_there_is_nothing_to_see() {
    assert!(fibers().is_empty());
    assert_eq!(fibers().to_string(), "");
    assert_eq!(stats(), crate::Stats::default());
}

#[test]
fn what_a_runtime_does_is_counted() {
    real(|| {
        let before = stats();
        spawn(|| 1).unwrap().join().unwrap();
        assert!(spawn(|| panic!("on purpose")).unwrap().join().is_err());
        let _ = timeout(MILLISECOND, || Event::new().wait());
        scope(|s| {
            s.spawn(|| Ok::<_, ()>(())).unwrap();
            Ok(())
        })
        .unwrap();
        offload(|| ()).unwrap();
        yield_now().unwrap();
        sleep(MILLISECOND).unwrap();
        let after = stats();
        assert_eq!(after.spawns - before.spawns, 3);
        assert_eq!(after.ended - before.ended, 3);
        assert_eq!(after.panics - before.panics, 1);
        assert_eq!(after.offload_jobs - before.offload_jobs, 1);
        // Two joins, the event, the scope's end, the job, the sleep; none of them was woken twice.
        assert_eq!(after.parks - before.parks, 6);
        assert_eq!(after.wakes - before.wakes, 6);
        assert_eq!(after.timers_fired - before.timers_fired, 2);
        assert!(after.polls > before.polls && after.resumes > before.resumes);
        assert_eq!(after.slow_turns, 0);
    });
}
