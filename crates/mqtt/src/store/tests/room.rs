//! A disk that has no room, and what is kept in memory until it has.

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
