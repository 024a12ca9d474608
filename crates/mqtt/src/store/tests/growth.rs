//! How much is written and how much of the disk is taken.

use super::*;

const SEGMENT: u64 = 4_096;

fn small() -> StoreOptions {
    options(Level::Synced)
        .segment_bytes(SEGMENT)
        .reserve_bytes(0)
}

fn segments(machine: &Machine) -> usize {
    machine.names().len()
}

#[test]
fn a_queue_in_order_is_written_once() {
    let machine = Machine::default();
    let store = open(&machine, &small());
    let mut queue = std::collections::VecDeque::new();
    let mut asked = 0;
    for _ in 0..3_000 {
        queue.push_back(publish(&store, &[1; 200]));
        asked += message("t", &[1; 200]).frame_len() as u64;
        commit_all(&store);
        if queue.len() > 30 {
            done(&store, queue.pop_front().unwrap());
        }
    }
    let needed = 30 * 400;
    assert!(
        store.disk_bytes() <= 3 * needed + 4 * SEGMENT,
        "{}",
        store.disk_bytes()
    );
    // Beside the messages there are the records that they are done.
    assert!(
        machine.written() < asked * 5 / 4,
        "{} for {asked}",
        machine.written()
    );
}

#[test]
fn messages_that_stay_are_copied_at_a_bounded_cost() {
    let machine = Machine::default();
    let store = open(&machine, &small());
    let kept: Vec<_> = (0..40).map(|_| publish(&store, &[9; 300])).collect();
    commit_all(&store);
    let (before, mut asked) = (machine.written(), 0);
    let mut largest = 0;
    let start = store.disk_bytes();
    for _ in 0..4_000 {
        let pos = publish(&store, &[1; 300]);
        let written = machine.written();
        commit_all(&store);
        done(&store, pos);
        largest = largest.max(store.disk_bytes());
        asked += message("t", &[1; 300]).frame_len() as u64 + 40;
        // One step copies at most what it looks through.
        assert!(machine.written() - written < 80_000);
    }
    let needed = 3 * 42 * (330 + 128) + 5 * SEGMENT;
    assert!(largest < needed.max(start), "{largest}");
    let written = machine.written() - before;
    assert!(written * 2 <= asked * 3, "{written} for {asked}");
    let stored = store.recovered().queued;
    assert!(stored.iter().map(|it| it.pos).eq(kept));
    commit_all(&store);
    let again = open(&machine.after_power_cut(&mut Random(2)), &small());
    assert_eq!(again.recovered().queued.len(), 40);
    assert!(payloads(&again).iter().all(|payload| payload == &[9; 300]));
}

#[test]
fn an_empty_queue_takes_no_more_than_a_few_segments() {
    let machine = Machine::default();
    let store = open(&machine, &small());
    let stored: Vec<_> = (0..500).map(|_| publish(&store, &[1; 100])).collect();
    commit_all(&store);
    publish_with_key(&store, "k");
    commit_all(&store);
    assert!(segments(&machine) > 1);
    for pos in stored {
        done(&store, pos);
    }
    for _ in 0..50 {
        commit_all(&store);
        store.append(&Record::Received(id(1))).unwrap();
        store.append(&Record::Released(id(1))).unwrap();
    }
    assert!(segments(&machine) <= 2, "{:?}", machine.names());
    drop(store);
    for _ in 0..600 {
        // Each start that writes something begins a file.
        let store = open(&machine, &small());
        publish(&store, b"x");
        commit_all(&store);
    }
    assert!(segments(&machine) <= 260, "{}", segments(&machine));
    let store = open(&machine, &small());
    assert_eq!(store.recovered().queued.len(), 601);
}

#[test]
fn a_message_may_be_longer_than_a_segment() {
    let machine = Machine::default();
    let store = open(&machine, &small());
    let long = vec![5; 300_000];
    let pos = publish(&store, &long);
    let short = publish(&store, b"x");
    commit_all(&store);
    assert_eq!(store.read(pos).unwrap().unwrap().payload, long);
    // It moves like any other.
    for _ in 0..3_000 {
        let pos = publish(&store, &[1; 1_000]);
        commit_all(&store);
        done(&store, pos);
    }
    let again = open(&machine.after_power_cut(&mut Random(2)), &small());
    assert_eq!(again.read(pos).unwrap().unwrap().payload, long);
    assert!(again.read(short).unwrap().is_some());
    assert!(machine.names()[0].as_str() > "0000000000000010.log");
}

#[test]
fn state_moves_with_its_message() {
    let machine = Machine::default();
    let store = open(&machine, &small());
    let [queued, flying, recorded, lost] =
        [b"a", b"b", b"c", b"d"].map(|payload| publish(&store, payload));
    let packet_id = id(9);
    let message = lost;
    store
        .append(&Record::Assigned { message, packet_id })
        .unwrap();
    store.append(&Record::SessionLost).unwrap();
    for (message, number) in [(flying, 1), (recorded, 2)] {
        let packet_id = id(number);
        store
            .append(&Record::Assigned { message, packet_id })
            .unwrap();
    }
    store
        .append(&Record::Recorded { message: recorded })
        .unwrap();
    store.append(&Record::Received(id(3))).unwrap();
    let keyed = publish_with_key(&store, "k");
    done(&store, keyed);
    commit_all(&store);
    let before = store.recovered();
    let first = machine.names()[0].clone();
    for _ in 0..500 {
        let pos = publish(&store, &[1; 200]);
        commit_all(&store);
        done(&store, pos);
    }
    commit_all(&store);
    assert!(!machine.names().contains(&first), "everything has moved");
    let again = open(&machine.after_power_cut(&mut Random(2)), &small());
    let after = again.recovered();
    assert_eq!(after, before);
    assert_eq!(
        after.queued.iter().map(|it| it.pos).collect::<Vec<_>>(),
        [queued, lost]
    );
    assert!(after.queued[1].maybe_sent);
}
