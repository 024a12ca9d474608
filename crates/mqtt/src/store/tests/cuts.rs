//! A log that ends at any byte, or has damage at any byte.

use super::disk::Fault;
use super::*;
use crate::store::segment::{HEAD_LEN, Head};

/// A store of one segment with all kinds of records, and what is known after each of them.
fn log() -> (Vec<u8>, Vec<Recovered>) {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let mut states = vec![store.recovered()];
    let mut step = |record: Record<'_>| {
        let pos = store.append(&record).unwrap();
        commit_all(&store);
        states.push(store.recovered());
        pos
    };
    let one = step(Record::Publish(message("one", b"first")));
    let mut keyed = message("two", b"second");
    keyed.key = Some(Key::new("key").unwrap());
    keyed.qos = QoS::ExactlyOnce;
    let two = step(Record::Publish(keyed));
    let three = step(Record::Publish(message("three", &[7; 100])));
    let assign = |message, number| Record::Assigned {
        message,
        packet_id: id(number),
    };
    step(assign(three, 5));
    step(assign(two, 6));
    step(Record::Recorded { message: two });
    step(Record::Recorded { message: three });
    step(Record::Received(id(9)));
    step(Record::Received(id(4)));
    step(Record::Released(id(9)));
    let (cause, key) = (ACKED, None);
    let done = |message| Record::Done {
        message,
        cause,
        key,
    };
    step(done(two));
    step(Record::SessionLost);
    step(done(one));
    step(assign(three, 1));
    let names = machine.names();
    assert_eq!(names.len(), 1);
    (machine.content(&names[0]), states)
}

fn machine_with(content: Vec<u8>) -> Machine {
    let machine = Machine::default();
    machine.put("0000000000000001.log", content);
    machine
}

#[test]
fn a_log_cut_at_any_byte_is_a_prefix_of_itself() {
    let (whole, states) = log();
    let mut reached = 0;
    for len in 0..=whole.len() {
        let machine = machine_with(whole[..len].to_vec());
        let store = open(&machine, &options(Level::Synced));
        let recovered = store.recovered();
        while states[reached] != recovered {
            reached += 1;
            assert!(reached < states.len(), "cut at {len}: {recovered:?}");
        }
        for report in reports(&store) {
            assert!(
                matches!(report, Report::TornTail { segment: 1, .. }),
                "{report:?}"
            );
        }
        // What is written then is behind the cut.
        let pos = publish(&store, b"more");
        assert!(recovered.queued.iter().all(|stored| stored.pos < pos));
        commit_all(&store);
        drop(store);
        let store = open(&machine, &options(Level::Synced));
        assert_eq!(reports(&store), [], "cut at {len} for good");
        let queued = store.recovered().queued;
        assert_eq!(queued.last().map(|stored| stored.pos), Some(pos));
        assert_eq!(queued.len(), recovered.queued.len() + 1);
    }
    assert_eq!(reached, states.len() - 1);
}

#[test]
fn damage_at_any_byte_costs_one_record_and_is_kept_beside() {
    let (whole, _) = log();
    let sound = open(&machine_with(whole.clone()), &options(Level::Synced));
    for at in HEAD_LEN..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        let machine = machine_with(damaged.clone());
        let store = open(&machine, &options(Level::Synced));
        let before = reports(&store);
        let is_last_record = matches!(before[..], [Report::TornTail { .. }]);
        if !is_last_record {
            assert!(matches!(before[..], [Report::Damaged { .. }]), "{before:?}");
            assert_eq!(machine.content("0000000000000001.damaged"), damaged);
        }
        for stored in store.recovered().queued {
            let same = sound.read(stored.pos).unwrap();
            let read = store.read(stored.pos).unwrap();
            assert!(same.is_none() || same == read);
        }
        drop(store);
        let again = open(&machine, &options(Level::Synced));
        assert_eq!(reports(&again), [], "damage at {at} is reported once");
    }
}

#[test]
fn a_file_that_is_no_segment_is_kept_beside() {
    let (whole, _) = log();
    for at in 0..HEAD_LEN {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x80;
        let machine = machine_with(damaged.clone());
        let store = open(&machine, &options(Level::Synced));
        assert_eq!(reports(&store), [Report::Unreadable { segment: 1 }]);
        assert_eq!(store.recovered(), Recovered::default());
        assert_eq!(machine.content("0000000000000001.damaged"), damaged);
        publish(&store, b"x");
        commit_all(&store);
        assert_eq!(
            machine.names(),
            ["0000000000000001.damaged", "0000000000000002.log"]
        );
    }
}

/// A segment as it lies in a file.
fn segment(number: u64, records: &[(u64, Record<'_>)]) -> Vec<u8> {
    let (mut bytes, salt) = (Vec::new(), 7);
    Head { number, salt }.encode(&mut bytes);
    for (at, record) in records {
        let start = bytes.len();
        record.encode(StorePos(*at), &mut bytes);
        record::seal(&mut bytes[start..], salt);
    }
    bytes
}

#[test]
fn what_was_written_again_in_part_brings_nothing_back() {
    let assigned = |at, number| {
        let (message, packet_id) = (StorePos(at), id(number));
        Record::Assigned { message, packet_id }
    };
    let recorded = |at| Record::Recorded {
        message: StorePos(at),
    };
    let ended = |at| Record::Done {
        message: StorePos(at),
        cause: ACKED,
        key: None,
    };
    let records = [
        (1, Record::Publish(message("a", b"done"))),
        (2, Record::Publish(message("b", b"queued"))),
        (3, Record::Received(id(5))),
        (4, Record::Received(id(6))),
        (5, assigned(2, 1)),
        (6, recorded(2)),
        (7, Record::SessionLost),
        (8, Record::Received(id(6))),
        (9, Record::Received(id(7))),
        (10, Record::Released(id(6))),
        (11, ended(1)),
        (12, Record::Publish(message("c", b"flying"))),
        (13, assigned(12, 1)),
        (14, assigned(2, 2)),
        (15, recorded(2)),
        (16, assigned(2, 3)),
    ];
    let machine = Machine::default();
    machine.put("0000000000000001.log", segment(1, &records));
    let expected = open(&machine, &options(Level::Synced)).recovered();
    assert_eq!(expected.received, [id(7)]);
    let in_flight = expected.in_flight.iter().map(|it| (it.pos.0, it.packet_id));
    assert!(in_flight.eq([(2, Some(id(3))), (12, Some(id(1)))]));
    for part in 0..=records.len() {
        for from in 0..part {
            let machine = Machine::default();
            machine.put("0000000000000001.log", segment(1, &records));
            machine.put("0000000000000002.log", segment(2, &records[from..part]));
            let store = open(&machine, &options(Level::Synced));
            assert_eq!(store.recovered(), expected, "{from}..{part}");
        }
    }
}

#[test]
fn a_repair_may_fail_at_any_call() {
    let (mut damaged, _) = log();
    let at = damaged.len() / 2;
    damaged[at] ^= 0x80;
    let sound = machine_with(damaged.clone());
    let expected = open(&sound, &options(Level::Synced)).recovered();
    let mut call = 0;
    loop {
        let machine = machine_with(damaged.clone());
        machine.set_fault(call, Fault::Fails);
        let opened = File::open_on(Rc::new(machine.clone()), folder(), options(Level::Synced));
        let is_over = machine.calls() <= call;
        let Ok(store) = opened else {
            assert!(call < 3, "the folder and the lock alone are needed");
            call += 1;
            continue;
        };
        assert_eq!(store.recovered(), expected, "call {call}");
        for stored in store.recovered().queued {
            assert!(store.read(stored.pos).unwrap().is_some(), "call {call}");
        }
        drop(store);
        machine.clear_faults();
        let again = open(&machine, &options(Level::Synced));
        assert_eq!(again.recovered(), expected, "call {call}");
        if is_over {
            break;
        }
        call += 1;
    }
    assert!(call > 8);
}

#[test]
fn an_identifier_is_that_of_the_message_that_got_it_last() {
    let assigned = |at, message| {
        let (message, packet_id) = (StorePos(message), id(1));
        (at, Record::Assigned { message, packet_id })
    };
    // The end of the session between is lost.
    let records = [
        (1, Record::Publish(message("a", b"one"))),
        (2, Record::Publish(message("b", b"two"))),
        assigned(3, 2),
        assigned(5, 1),
    ];
    let machine = machine_with(segment(1, &records));
    let state = open(&machine, &options(Level::Synced)).recovered();
    assert_eq!(state.in_flight.len(), 1);
    assert_eq!(state.in_flight[0].pos, StorePos(1));
    assert_eq!(state.queued[0].pos, StorePos(2));
    assert!(state.queued[0].maybe_sent);
}

#[test]
fn a_message_of_qos_1_before_one_in_flight_is_in_flight_though_that_is_lost() {
    let assigned = |at, message, number| {
        let (message, packet_id) = (StorePos(message), id(number));
        (at, Record::Assigned { message, packet_id })
    };
    let twice = MessageRecord {
        qos: QoS::ExactlyOnce,
        ..message("t", b"twice")
    };
    // Of 2 and 5 the record of the identifier is lost.
    let records = [
        (1, Record::Publish(message("t", b"one"))),
        (2, Record::Publish(message("t", b"two"))),
        (3, Record::Publish(twice)),
        (4, Record::Publish(message("t", b"four"))),
        (5, Record::Publish(message("t", b"five"))),
        assigned(6, 1, 7),
        assigned(9, 4, 1),
    ];
    let machine = machine_with(segment(1, &records));
    let mut state = open(&machine, &options(Level::Synced)).recovered();
    assert_eq!(state.find_overtaken(), [(StorePos(2), id(2))]);
    let in_flight = state.in_flight.iter().map(|it| (it.pos.0, it.packet_id));
    let expected = [(1, Some(id(7))), (2, Some(id(2))), (4, Some(id(1)))];
    assert_eq!(Vec::from_iter(in_flight), expected);
    let queued = state.queued.iter().map(|it| (it.pos.0, it.packet_id));
    assert_eq!(Vec::from_iter(queued), [(3, None), (5, None)]);
}

#[test]
fn a_message_of_qos_2_before_one_that_has_its_identifier_goes_first() {
    let assigned = |at, message, number| {
        let (message, packet_id) = (StorePos(message), id(number));
        (at, Record::Assigned { message, packet_id })
    };
    let exactly_once = |payload| {
        Record::Publish(MessageRecord {
            qos: QoS::ExactlyOnce,
            ..message("t", payload)
        })
    };
    // Of 1 and 4 the record of the identifier is lost; none is that of 2.
    let records = [
        (1, exactly_once(b"one")),
        (2, Record::Publish(message("t", b"two"))),
        (3, exactly_once(b"three")),
        (4, exactly_once(b"four")),
        assigned(9, 3, 1),
    ];
    let machine = machine_with(segment(1, &records));
    let mut state = open(&machine, &options(Level::Synced)).recovered();
    assert_eq!(state.find_overtaken(), [(StorePos(1), id(2))]);
    let in_flight = state.in_flight.iter().map(|it| (it.pos.0, it.packet_id));
    assert_eq!(
        Vec::from_iter(in_flight),
        [(1, Some(id(2))), (3, Some(id(1)))]
    );
    let queued = state.queued.iter().map(|it| (it.pos.0, it.packet_id));
    assert_eq!(Vec::from_iter(queued), [(2, None), (4, None)]);
}

#[test]
fn an_identity_that_was_written_again_is_not_the_last_one() {
    let packet_id = id(1);
    let message = StorePos(1);
    let one = Record::Publish(super::message("a", b"one"));
    let first = [(0, Record::Identity(identity("other"))), (1, one.clone())];
    let second = [
        (100, Record::Identity(identity("meter-17"))),
        (0, Record::Identity(identity("other"))),
        (1, one),
        (101, Record::Assigned { message, packet_id }),
    ];
    let machine = machine_with(segment(1, &first));
    machine.put("0000000000000002.log", segment(2, &second));
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), []);
    assert_eq!(store.recovered().in_flight.len(), 1);
}
