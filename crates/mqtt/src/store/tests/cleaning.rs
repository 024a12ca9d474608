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
