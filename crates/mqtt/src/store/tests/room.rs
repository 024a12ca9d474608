//! A disk that has no room, and what is kept in memory until it has.

use super::disk::Trouble;
use super::*;

/// Publishes until a message finds no room; returns that one, and those before it.
fn fill(machine: &Machine, store: &File, payload: &[u8]) -> (StorePos, Vec<StorePos>) {
    machine.set_capacity(Some(machine.used() + 5 * payload.len()));
    let mut stored = Vec::new();
    while let Ok(pos) = store.append(&Record::Publish(message("t", payload))) {
        stored.push(pos);
        store.commit().unwrap();
    }
    let last = stored.pop().unwrap();
    assert!(!store.is_durable(last) && store.durable() >= last);
    (last, stored)
}

#[test]
fn a_message_that_found_no_room_is_durable_when_it_is_written_and_no_sooner() {
    for level in [Level::Flushed, Level::Synced] {
        let machine = Machine::default();
        let store = open(&machine, &options(level));
        let (waiting, _) = fill(&machine, &store, &[7; 900]);
        machine.set_capacity(None);
        let other = store.clone();
        machine.set_hook(Some(Rc::new(move || assert!(!other.is_durable(waiting)))));
        store.commit().unwrap();
        machine.set_hook(None);
        assert!(store.is_durable(waiting));
    }
}

#[test]
fn a_message_that_found_no_room_and_is_done_is_waited_for_no_more() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let (waiting, _) = fill(&machine, &store, &[7; 900]);
    let ended = done(&store, waiting);
    store.commit().unwrap();
    assert!(store.is_durable(ended) && store.is_durable(waiting));
}

#[test]
fn a_message_that_found_no_room_has_no_identifier_of_a_session_that_is_over() {
    let machine = Machine::default();
    let small = options(Level::Synced).segment_bytes(1_024);
    let store = open(&machine, &small);
    let (message, stored) = fill(&machine, &store, &[7; 900]);
    let packet_id = id(1);
    let assigned = Record::Assigned { message, packet_id };
    store.append(&assigned).unwrap();
    store.commit().unwrap();
    store.append(&Record::SessionLost).unwrap();
    store.commit().unwrap();
    let lost_in = machine.names().last().unwrap().clone();
    machine.set_capacity(None);
    store.commit().unwrap();
    for pos in stored {
        done(&store, pos);
    }
    for _ in 0..10 {
        store.commit().unwrap();
    }
    assert!(!machine.names().contains(&lost_in), "{:?}", machine.names());
    let before = store.recovered();
    assert!(before.queued[0].maybe_sent);
    assert_eq!(open(&machine.after_kill(), &small).recovered(), before);
}

#[test]
fn what_is_left_of_a_full_disk_is_for_acknowledgements() {
    let machine = Machine::default();
    machine.set_capacity(Some(1_500));
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), [Report::DiskFull]);
    let pos = store.append(&Record::Received(id(1))).unwrap();
    store.commit().unwrap();
    assert!(store.is_durable(pos));
}

#[test]
fn a_message_that_is_done_while_it_finds_no_room_holds_nothing_up() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    machine.set_capacity(Some(machine.used() + 1_000));
    let message = publish(&store, &[7; 4_000]);
    let (other, ended) = (store.clone(), std::cell::Cell::new(false));
    machine.set_hook(Some(Rc::new(move || {
        if !ended.replace(true) {
            done(&other, message);
        }
    })));
    let _ = store.commit();
    let pos = store.append(&Record::Received(id(1))).unwrap();
    store.commit().unwrap();
    store.commit().unwrap();
    assert!(store.is_durable(pos));
}

#[test]
fn cleaning_up_without_room_holds_nothing_up() {
    let machine = Machine::default();
    let small = options(Level::Synced).segment_bytes(1_024);
    let store = open(&machine, &small);
    let kept = publish(&store, &[9; 3_000]);
    for _ in 0..100 {
        commit_all(&store);
        // Enough for a small message, and not for what is copied.
        machine.set_capacity(Some(machine.used() + 900));
        if let Ok(pos) = store.append(&Record::Publish(message("t", &[1; 300]))) {
            done(&store, pos);
            let key = publish_with_key_or_none(&store);
            commit_all_or_full(&store);
            if let Some(key) = key {
                done(&store, key);
            }
        }
    }
    assert!(store.read(kept).unwrap().is_some());
    let pos = store.append(&Record::Received(id(1))).unwrap();
    commit_all(&store);
    assert!(store.is_durable(pos));
}

fn publish_with_key_or_none(store: &File) -> Option<StorePos> {
    store.append(&Record::Publish(message("t", &[2; 300]))).ok()
}

fn commit_all_or_full(store: &File) {
    for _ in 0..3 {
        let _ = store.commit();
    }
}

#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    machine.set_trouble(Trouble {
        is_quota: true,
        ..Trouble::default()
    });
    let (_, stored) = fill(&machine, &store, &[7; 900]);
    let pos = done(&store, stored[0]);
    store.commit().unwrap();
    assert!(store.is_durable(pos));
    assert_eq!(reports(&store), [Report::DiskFull]);
}

#[test]
fn a_bound_may_be_as_large_as_can_be() {
    let machine = Machine::default();
    let unbounded = options(Level::Synced)
        .bytes_max(u64::MAX)
        .messages_max(usize::MAX);
    let store = open(&machine, &unbounded);
    publish(&store, &[1; 100]);
    commit_all(&store);
}
