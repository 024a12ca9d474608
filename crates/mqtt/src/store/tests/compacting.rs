//! What waits while the disk takes nothing is bounded, and says all that is to be known.

use super::disk::Trouble;
use super::model::Model;
use super::*;
use crate::store::compact::COMPACT_RECORDS_MIN;

fn set_failing(machine: &Machine, no_sync: bool) {
    machine.set_trouble(Trouble {
        no_sync,
        ..Trouble::default()
    });
}

#[test]
fn what_is_left_of_the_records_that_wait_says_the_same() {
    let synced = options(Level::Synced);
    let mut let_go = 0;
    for seed in 0..300 {
        let machine = Machine::default();
        let store = open(&machine, &synced);
        let (mut model, mut random) = (Model::new(), Random(seed));
        for _ in 0..6 {
            for _ in 0..random.below(40) {
                model.step(&store, &mut random);
            }
            let before = store.0.state().pending.len();
            {
                let state = &mut *store.0.state();
                state.pending.compact(&state.index);
            }
            let after = store.0.state().pending.len();
            let_go += before - after;
            {
                let state = &mut *store.0.state();
                state.pending.compact(&state.index);
            }
            assert_eq!(store.0.state().pending.len(), after, "once is enough");
            match random.below(3) {
                0 => drop(store.commit()),
                1 => {
                    set_failing(&machine, true);
                    // It works where nothing waits.
                    let _ = store.commit();
                    set_failing(&machine, false);
                }
                _ => {}
            }
        }
        commit_all(&store);
        let before = store.recovered();
        drop(store);
        let after = open(&machine.after_kill(), &synced).recovered();
        assert_eq!(after, before, "seed {seed}");
    }
    assert!(let_go > 1_000, "{let_go}");
}

#[test]
fn records_wait_in_bounded_memory_for_as_long_as_the_disk_fails() {
    let machine = Machine::default();
    let synced = options(Level::Synced);
    let store = open(&machine, &synced);
    let stored = [1, 2, 3].map(|n| publish(&store, &[n]));
    commit_all(&store);
    set_failing(&machine, true);
    let pending = || store.0.state().pending.len();
    let mut most = 0;
    for round in 0_u16..30_000 {
        for message in stored {
            let packet_id = id(round + 1);
            let assigned = Record::Assigned { message, packet_id };
            store.append(&assigned).unwrap();
            store.append(&Record::Recorded { message }).unwrap();
        }
        let packet_id = id(1 + round % 7);
        store.append(&Record::Received(packet_id)).unwrap();
        store.append(&Record::Released(packet_id)).unwrap();
        store.append(&Record::SessionLost).unwrap();
        // One with a name that is done before it is written, and one that is in a file.
        let named = publish_with_key(&store, &round.to_string());
        done(&store, named);
        if round % 1_000 == 0 {
            store.commit().unwrap_err();
        }
        most = most.max(pending());
    }
    assert!(store.failure().is_some());
    assert_eq!(
        most,
        COMPACT_RECORDS_MIN - 1,
        "it is compacted at the bound"
    );
    assert!(store.0.state().pending.bytes() < 512 * 1024);
    set_failing(&machine, false);
    commit_all(&store);
    assert_eq!((store.failure(), pending()), (None, 0));
    let before = store.recovered();
    assert_eq!(before.queued.len(), 3);
    assert!(before.queued.iter().all(|stored| stored.maybe_sent));
    drop(store);
    assert_eq!(open(&machine.after_kill(), &synced).recovered(), before);
}

#[test]
fn what_is_known_of_many_messages_is_kept_beyond_the_bound() {
    let machine = Machine::default();
    let synced = options(Level::Synced);
    let store = open(&machine, &synced);
    let many = COMPACT_RECORDS_MIN;
    let stored: Vec<_> = (0..many).map(|_| publish(&store, b"x")).collect();
    commit_all(&store);
    set_failing(&machine, true);
    for round in 0_u16..3 {
        for (nth, message) in stored.iter().enumerate() {
            let packet_id = id(1 + round * 20_000 + nth as u16);
            let message = *message;
            let assigned = Record::Assigned { message, packet_id };
            store.append(&assigned).unwrap();
        }
        assert!(store.0.state().pending.len() <= 2 * many);
    }
    set_failing(&machine, false);
    commit_all(&store);
    let before = store.recovered();
    assert_eq!(before.in_flight.len(), many);
    drop(store);
    assert_eq!(open(&machine.after_kill(), &synced).recovered(), before);
}

#[test]
fn messages_that_are_done_while_the_disk_fails_take_no_room() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    set_failing(&machine, true);
    for _ in 0..100 {
        let message = publish(&store, &[7; 64 * 1024]);
        let packet_id = id(1);
        let assigned = Record::Assigned { message, packet_id };
        store.append(&assigned).unwrap();
        done(&store, message);
    }
    assert!(store.0.state().pending.bytes() < 64 * 1024);
    // Those that are not done are bounded as ever.
    let append = || store.append(&Record::Publish(message("t", &[7; 64 * 1024])));
    let taken = std::iter::repeat_with(append)
        .take_while(Result::is_ok)
        .count();
    assert_eq!(taken, STORE_PENDING_BYTES_MAX / (64 * 1024) - 1);
}

#[test]
fn what_is_about_messages_without_room_is_bounded_too() {
    let machine = Machine::default();
    let synced = options(Level::Synced).reserve_bytes(64 * 1024);
    let store = open(&machine, &synced);
    machine.set_capacity(Some(machine.used() + 1_000));
    let waiting = loop {
        let pos = publish(&store, &[7; 900]);
        store.commit().unwrap();
        if store.failure().is_some() {
            break pos;
        }
    };
    assert_eq!(store.failure(), Some(io::ErrorKind::StorageFull));
    for round in 0..3 * COMPACT_RECORDS_MIN {
        let (message, packet_id) = (waiting, id(1 + (round % 60_000) as u16));
        let assigned = Record::Assigned { message, packet_id };
        store.append(&assigned).unwrap();
        if round % 100 == 0 {
            store.commit().unwrap();
        }
        let state = store.0.state();
        assert!(state.parked.len() <= COMPACT_RECORDS_MIN + 100);
        assert!(state.passed_over.len() <= COMPACT_RECORDS_MIN + 100);
    }
    assert!(!store.is_durable(waiting));
    machine.set_capacity(None);
    commit_all(&store);
    assert!(store.is_durable(waiting) && store.failure().is_none());
    let before = store.recovered();
    drop(store);
    assert_eq!(open(&machine.after_kill(), &synced).recovered(), before);
}

#[test]
fn a_store_fails_from_a_commit_that_failed_to_one_that_did_not() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    publish(&store, b"x");
    assert_eq!(store.failure(), None);
    set_failing(&machine, true);
    let error = store.commit().unwrap_err();
    assert_eq!(store.failure(), Some(error.kind()));
    set_failing(&machine, false);
    store.commit().unwrap();
    assert_eq!(store.failure(), None);
}
