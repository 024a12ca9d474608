//! A disk that fails, is full, or is quicker asked than needed.

use std::io;

use super::disk::Fault;
use super::*;

const EIO: io::ErrorKind = io::ErrorKind::Interrupted;

#[test]
fn a_message_that_is_done_before_it_is_written_never_is() {
    for level in [Level::Flushed, Level::Synced] {
        let machine = Machine::default();
        let store = open(&machine, &options(level));
        let calls = machine.calls();
        for _ in 0..100 {
            let pos = publish(&store, b"x");
            let packet_id = id(1);
            let message = pos;
            let assigned = Record::Assigned { message, packet_id };
            store.append(&assigned).unwrap();
            done(&store, pos);
        }
        store.commit().unwrap();
        assert_eq!(store.durable(), store.appended());
        assert_eq!(machine.calls(), calls, "the disk is not touched");
        assert_eq!(machine.names().len(), 0);
        // Of a message with a key the outcome is written, and nothing else.
        let pos = publish_with_key(&store, "k");
        done(&store, pos);
        store.commit().unwrap();
        drop(store);
        let store = open(&machine, &options(level));
        let key = Key::new("k").unwrap();
        assert_eq!(store.key(&key), Some(KeyState::Done(pos, ACKED)));
        assert_eq!(store.recovered().queued, []);
    }
}

#[test]
fn many_records_are_synced_once() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    publish(&store, b"first");
    store.commit().unwrap();
    let (calls, syncs) = (machine.calls(), machine.syncs());
    for _ in 0..1_000 {
        publish(&store, b"x");
    }
    store.commit().unwrap();
    assert_eq!(store.durable(), store.appended());
    assert_eq!((machine.calls() - calls, machine.syncs() - syncs), (2, 1));
}

#[test]
fn at_flushed_a_record_is_durable_when_it_is_written() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Flushed));
    let syncs = machine.syncs();
    let pos = publish(&store, b"x");
    assert!(!store.is_durable(pos));
    store.commit().unwrap();
    assert!(store.is_durable(pos));
    assert_eq!(machine.syncs(), syncs);
    // Not all of a long backlog is unsure.
    for _ in 0..4 {
        publish(&store, &[1; 100_000]);
        store.commit().unwrap();
    }
    assert!(machine.syncs() > syncs);
}

#[test]
fn any_call_of_a_commit_may_fail_and_nothing_is_lost() {
    for level in [Level::Flushed, Level::Synced] {
        let mut call = 0;
        loop {
            let machine = Machine::default();
            let small = options(level).segment_bytes(1_024);
            let store = open(&machine, &small);
            let first = publish(&store, b"before");
            commit_all(&store);
            machine.set_fault(call, Fault::Fails);
            let calls = machine.calls();
            let second = publish(&store, &[2; 900]);
            commit_all(&store);
            let third = publish(&store, b"after");
            commit_all(&store);
            if machine.calls() <= calls + call {
                assert!(call > 3);
                break;
            }
            assert!(store.is_durable(second));
            for report in reports(&store) {
                let known = [
                    Report::SyncFailed(EIO),
                    Report::WriteFailed(EIO),
                    Report::CleanUpFailed(EIO),
                ];
                assert!(known.contains(&report), "{report:?}");
            }
            let mut random = Random(call as u64);
            let after = match level {
                Level::Flushed => machine.after_kill(),
                Level::Synced => machine.after_power_cut(&mut random),
            };
            let again = open(&after, &small);
            let queued = again.recovered().queued;
            let order: Vec<_> = queued.iter().map(|stored| stored.pos).collect();
            assert_eq!(order, [first, second, third], "{level:?}, call {call}");
            assert_eq!(payloads(&again), payloads(&store));
            call += 1;
        }
    }
}

#[test]
fn a_failed_sync_is_not_repeated_on_the_same_file() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let first = publish(&store, b"first");
    commit_all(&store);
    let second = publish(&store, b"second");
    // The write, then the sync.
    machine.set_fault(1, Fault::Fails);
    store.commit().unwrap();
    assert!(store.is_durable(second), "it was written again");
    assert_eq!(reports(&store), [Report::SyncFailed(EIO)]);
    assert_eq!(machine.names().len(), 2, "to another file");
    let after = open(
        &machine.after_power_cut(&mut Random(1)),
        &options(Level::Synced),
    );
    let queued = after.recovered().queued;
    assert_eq!([queued[0].pos, queued[1].pos], [first, second]);
}

#[test]
fn what_a_failed_sync_left_in_memory_is_not_taken_for_stored() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let first = publish(&store, b"first");
    commit_all(&store);
    let second = publish(&store, b"second");
    // The write works, the sync fails, the file is cut, and the program is killed.
    machine.set_fault(1, Fault::Fails);
    machine.set_fault(3, Fault::Off);
    assert!(store.commit().is_err());
    assert!(store.is_durable(first) && !store.is_durable(second));

    let machine = machine.after_kill();
    let known = open(&machine, &options(Level::Synced)).recovered();
    let after = open(
        &machine.after_power_cut(&mut Random(1)),
        &options(Level::Synced),
    );
    assert_eq!(after.recovered(), known);
}

#[test]
fn a_message_stays_until_its_end_is_durable() {
    let machine = Machine::default();
    let small = options(Level::Synced).segment_bytes(1_024);
    let store = open(&machine, &small);
    let message = publish_with_key(&store, "k");
    commit_all(&store);
    publish(&store, &[1; 1_000]);
    commit_all(&store);
    assert_eq!(machine.names().len(), 2);
    // Its end comes while something else is being written.
    let (other, ended) = (store.clone(), std::cell::Cell::new(false));
    machine.set_hook(Some(Rc::new(move || {
        if !ended.replace(true) {
            done(&other, message);
        }
    })));
    publish(&store, b"x");
    store.commit().unwrap();
    assert!(store.durable() < store.appended());
    let after = open(&machine.after_power_cut(&mut Random(1)), &small);
    let key = Key::new("k").unwrap();
    assert_eq!(after.key(&key), Some(KeyState::Stored(message)));
}

#[test]
fn a_disk_that_keeps_failing_loses_nothing_that_is_appended() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let first = publish(&store, b"first");
    machine.set_flaky(Some((1, Random(1))));
    for _ in 0..5 {
        assert_eq!(store.commit().unwrap_err().kind(), EIO);
        assert!(!store.is_durable(first));
        assert_eq!(payloads(&store)[0], b"first");
        publish(&store, b"more");
    }
    machine.set_flaky(None);
    commit_all(&store);
    drop(store);
    assert_eq!(payloads(&open(&machine, &options(Level::Synced))).len(), 6);
}

#[test]
fn an_opening_that_cannot_make_sure_of_the_last_file_writes_it_again() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Flushed));
    let one = publish(&store, b"one");
    let two = publish(&store, b"two");
    commit_all(&store);
    done(&store, one);
    commit_all(&store);
    // The program is killed; what it wrote is in the system's memory alone.
    let machine = machine.after_kill();
    // The folder above, then the file.
    machine.set_fault(1, Fault::Fails);
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), [Report::SyncFailed(EIO)]);
    assert!(!store.is_durable(two));
    commit_all(&store);
    assert!(store.is_durable(two));
    let after = machine.after_power_cut(&mut Random(3));
    assert_eq!(payloads(&open(&after, &options(Level::Synced))), [b"two"]);
}

#[test]
fn acknowledgements_are_recorded_on_a_full_disk() {
    for level in [Level::Flushed, Level::Synced] {
        let machine = Machine::default();
        let small = options(level).segment_bytes(4_096);
        let store = open(&machine, &small);
        machine.set_capacity(Some(20_000));
        let mut stored = Vec::new();
        let lost_room = loop {
            match store.append(&Record::Publish(message("t", &[7; 500]))) {
                Ok(pos) => stored.push(pos),
                Err(refused) => break refused,
            }
            store.commit().unwrap();
        };
        assert_eq!(lost_room, Refused::DiskFull);
        assert_eq!(reports(&store), [Report::DiskFull]);
        let without_room = *stored.last().unwrap();
        assert!(!store.is_durable(without_room), "it is kept in memory");
        assert_eq!(store.read(without_room).unwrap().unwrap().payload, [7; 500]);
        assert!(store.durable() >= without_room, "and holds nothing up");

        // Other records go on, into the reserve.
        let message = stored[5];
        let packet_id = id(1);
        for record in [
            Record::Assigned { message, packet_id },
            Record::Recorded { message },
            Record::Received(id(2)),
        ] {
            let pos = store.append(&record).unwrap();
            store.commit().unwrap();
            assert!(store.is_durable(pos), "{record:?}");
        }
        let again = open(&machine.after_kill(), &small).recovered();
        assert_eq!(again.released[0].pos, stored[5]);
        assert_eq!(again.received, [id(2)]);
        assert_eq!(again.queued.len(), stored.len() - 2);

        // What is done makes room, and then everything is as before.
        for pos in &stored[..20] {
            done(&store, *pos);
            store.commit().unwrap();
        }
        assert!(reports(&store).contains(&Report::DiskHasRoom));
        assert!(store.is_durable(without_room));
        let pos = publish(&store, b"more");
        commit_all(&store);
        let again = open(&machine.after_kill(), &small);
        let positions: Vec<_> = again.recovered().queued.iter().map(|it| it.pos).collect();
        let expected: Vec<_> = stored[20..].iter().copied().chain([pos]).collect();
        assert_eq!(positions, expected);
    }
}

#[test]
fn a_disk_that_is_full_from_the_start_is_no_reason_not_to_open() {
    let machine = Machine::default();
    machine.set_capacity(Some(100));
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), [Report::DiskFull]);
    let refused = store.append(&Record::Publish(message("t", b"x")));
    assert_eq!(refused, Err(Refused::DiskFull));
    machine.set_capacity(None);
    store.commit().unwrap();
    publish(&store, b"x");
}

#[test]
fn a_commit_goes_on_while_records_are_appended() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced).segment_bytes(1_024));
    let other = store.clone();
    machine.set_hook(Some(Rc::new(move || {
        let pos = publish(&other, b"within");
        assert!(!other.is_durable(pos));
        other.commit().unwrap();
        assert!(!other.is_durable(pos), "one fiber writes");
        assert_eq!(other.read(pos).unwrap().unwrap().payload, b"within");
    })));
    for _ in 0..50 {
        publish(&store, b"x");
        store.commit().unwrap();
    }
    machine.set_hook(None);
    commit_all(&store);
    let count = store.recovered().queued.len();
    let again = open(
        &machine.after_power_cut(&mut Random(1)),
        &options(Level::Synced),
    );
    assert_eq!(again.recovered().queued.len(), count);
    assert!(count > 100);
}
