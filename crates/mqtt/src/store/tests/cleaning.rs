//! Cleaning up where a disk is full, cannot read, or the program lives but shortly.

use std::time::Duration;

use super::*;

const FIRST: &str = "0000000000000001.log";

fn small() -> StoreOptions {
    options(Level::Synced).segment_bytes(4_096)
}

/// Publishes and ends messages, so that the oldest segments are in the way.
fn churn(store: &File, commits: usize) {
    for _ in 0..commits {
        if let Ok(pos) = store.append(&Record::Publish(message("t", &[1; 300]))) {
            let _ = store.commit();
            done(store, pos);
        }
    }
    let _ = store.commit();
}

/// Runs where time is a number.
fn in_virtual_time(main: impl FnOnce() + 'static) {
    let runtime = fiber::Runtime::builder().paused_clock(true);
    runtime.run(main).unwrap();
}

/// As [`churn`], for so many seconds.
fn churn_for(store: &File, seconds: u64) {
    for _ in 0..4 * seconds {
        churn(store, 2);
        fiber::sleep(Duration::from_millis(250)).unwrap();
    }
}

#[test]
fn a_message_that_can_never_be_read_keeps_no_segment_for_ever() {
    in_virtual_time(|| {
        let machine = Machine::default();
        let store = open(&machine, &small());
        let bad = publish(&store, &[7; 600]);
        let good = publish(&store, &[8; 600]);
        let received = store.append(&Record::Received(id(9))).unwrap();
        commit_all(&store);
        machine.set_unreadable(FIRST, 400);
        // However often that is.
        churn(&store, 400);
        let damaged = Report::MessageDamaged { message: bad };
        let failed = Report::CleanUpFailed(io::ErrorKind::InvalidData);
        assert_eq!(reports(&store), std::slice::from_ref(&failed));
        churn_for(&store, 63);
        assert_eq!(reports(&store), []);
        churn_for(&store, 3);
        assert_eq!(reports(&store), [damaged]);
        assert!(!machine.names().contains(&FIRST.to_owned()));
        let error = store.read(bad).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(store.read(good).unwrap().unwrap().payload, [8; 600]);
        assert!(store.is_durable(received));
        done(&store, bad);
        commit_all(&store);
        let again = open(&machine.after_power_cut(&mut Random(3)), &small());
        assert_eq!(payloads(&again), [vec![8; 600]]);
        assert_eq!(again.recovered().received, [id(9)]);
    });
}

#[test]
fn a_message_that_could_not_be_read_for_a_while_is_copied_when_it_can() {
    in_virtual_time(|| {
        let machine = Machine::default();
        let store = open(&machine, &small());
        let bad = publish(&store, &[7; 600]);
        commit_all(&store);
        machine.set_unreadable(FIRST, 400);
        churn_for(&store, 60);
        machine.set_readable();
        churn_for(&store, 60);
        assert!(!machine.names().contains(&FIRST.to_owned()));
        assert_eq!(store.read(bad).unwrap().unwrap().payload, [7; 600]);
        let failed = Report::CleanUpFailed(io::ErrorKind::InvalidData);
        assert_eq!(reports(&store), [failed]);
    });
}

/// Publishes and ends messages until the segments are so long that none is taken.
fn churn_until_refused(store: &File) {
    for _ in 0..10_000 {
        match store.append(&Record::Publish(message("t", &[1; 300]))) {
            Ok(pos) => {
                store.commit().unwrap();
                done(store, pos);
                store.commit().unwrap();
            }
            Err(refused) => {
                assert!(matches!(refused, Refused::Bytes { .. }), "{refused}");
                return;
            }
        }
    }
    panic!("the segments find no end");
}

/// Has the store write by itself.
fn run_beside(store: &File) -> fiber::JoinHandle<()> {
    let writer = store.clone();
    fiber::spawn(move || assert!(writer.run().is_err())).unwrap()
}

#[test]
fn a_message_that_can_never_be_read_does_not_keep_new_ones_out_for_ever() {
    in_virtual_time(|| {
        let machine = Machine::default();
        let store = open(&machine, &small().bytes_max(8_000));
        let bad = publish(&store, &[7; 600]);
        commit_all(&store);
        machine.set_unreadable(FIRST, 400);
        churn_until_refused(&store);
        while store.next_report().is_some() {}
        // Nobody appends anything any more.
        let _writer = run_beside(&store);
        fiber::sleep(Duration::from_secs(63)).unwrap();
        assert_eq!(reports(&store), []);
        fiber::sleep(Duration::from_secs(3)).unwrap();
        assert_eq!(reports(&store), [Report::MessageDamaged { message: bad }]);
        fiber::sleep(Duration::from_secs(60)).unwrap();
        publish(&store, &[1; 300]);
        // And it rests.
        fiber::sleep(Duration::from_secs(60)).unwrap();
        let calls = machine.calls();
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        assert_eq!(machine.calls(), calls);
    });
}

#[test]
fn a_store_that_is_opened_with_segments_that_are_too_long_makes_room_by_itself() {
    in_virtual_time(|| {
        let machine = Machine::default();
        let large = options(Level::Synced)
            .segment_bytes(400 * 1024)
            .bytes_max(400_000);
        let store = open(&machine, &large);
        // Not copied with one commit.
        let kept: Vec<_> = (0..200).map(|_| publish(&store, &[9; 1_000])).collect();
        commit_all(&store);
        machine.set_unreadable(FIRST, 400);
        churn_until_refused(&store);
        let again = machine.after_kill();
        drop(store);
        let store = open(&again, &large);
        let refused = store.append(&Record::Publish(message("t", &[1; 300])));
        assert!(matches!(refused, Err(Refused::Bytes { .. })), "{refused:?}");
        let _writer = run_beside(&store);
        fiber::sleep(Duration::from_secs(60)).unwrap();
        publish(&store, &[1; 300]);
        let stored = store.recovered().queued;
        assert!(stored.iter().map(|it| it.pos).take(kept.len()).eq(kept));
    });
}

#[test]
fn many_short_lives_clean_up_as_one_long_life_does() {
    let machine = Machine::default();
    let large = options(Level::Synced).segment_bytes(400 * 1024);
    let mut store = open(&machine, &large);
    let kept: Vec<_> = (0..300).map(|_| publish(&store, &[9; 1_000])).collect();
    commit_all(&store);
    for _ in 0..40 {
        // Each life has time for a commit or two.
        let pos = publish(&store, &[1; 100_000]);
        store.commit().unwrap();
        done(&store, pos);
        store.commit().unwrap();
        drop(store);
        store = open(&machine, &large);
    }
    assert!(
        !machine.names().contains(&FIRST.to_owned()),
        "{:?}",
        machine.names()
    );
    let stored = store.recovered().queued;
    assert!(stored.iter().map(|it| it.pos).eq(kept));
}

#[test]
fn a_full_disk_is_cleaned_up_where_that_frees_more_than_it_takes() {
    let machine = Machine::default();
    let store = open(&machine, &small().reserve_bytes(16_000));
    let kept = publish(&store, &[9; 100]);
    commit_all(&store);
    // Full, with the oldest segment held by one small message.
    machine.set_capacity(Some(machine.used() + 60_000));
    let mut stored = Vec::new();
    while let Ok(pos) = store.append(&Record::Publish(message("t", &[1; 900]))) {
        stored.push(pos);
        store.commit().unwrap();
    }
    assert!(reports(&store).contains(&Report::DiskFull));
    let before = machine.used();
    for pos in stored {
        done(&store, pos);
        store.commit().unwrap();
    }
    for _ in 0..50 {
        store.commit().unwrap();
    }
    assert!(
        !machine.names().contains(&FIRST.to_owned()),
        "{:?}",
        machine.names()
    );
    assert!(
        machine.used() < before / 2,
        "{} of {before}",
        machine.used()
    );
    assert_eq!(store.read(kept).unwrap().unwrap().payload, [9; 100]);
}

#[test]
fn what_an_opening_finds_outlives_a_power_cut_whichever_segment_it_is_in() {
    let machine = Machine::default();
    // Written, and not made sure of.
    let store = open(&machine, &options(Level::Flushed));
    let pos = publish(&store, b"x");
    commit_all(&store);
    drop(store);
    // A program that was killed had begun another segment.
    let content = machine.content(FIRST);
    let mut head = Vec::new();
    let (number, salt) = (2, 7);
    segment::Head { number, salt }.encode(&mut head);
    machine.put("0000000000000002.log", head);
    let store = open(&machine, &options(Level::Synced));
    assert!(store.is_durable(pos));
    for seed in 0..20 {
        let cut = machine.after_power_cut(&mut Random(seed));
        assert_eq!(cut.content(FIRST), content, "{seed}");
    }
}
