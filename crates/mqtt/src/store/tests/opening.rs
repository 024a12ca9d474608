//! Opening a store that another program, another client or another version has left.

use std::time::Duration;

use super::*;

#[test]
fn a_store_is_open_once() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let second = || File::open_on(Rc::new(machine.clone()), folder(), options(Level::Synced));
    assert!(matches!(second(), Err(OpenError::InUse)));
    let clone = store.clone();
    drop(store);
    assert!(matches!(second(), Err(OpenError::InUse)), "a clone has it");
    drop(clone);
    assert!(second().is_ok());
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    for level in [Level::Flushed, Level::Synced] {
        let machine = Machine::default();
        let store = open(&machine, &options(level));
        let mut record = message("site/4", b"payload");
        record.qos = QoS::ExactlyOnce;
        record.retain = true;
        record.published = 1_700_000_000_000;
        record.key = Some(Key::new("k1").unwrap());
        let pos = store.append(&Record::Publish(record)).unwrap();
        let pending = store.read(pos).unwrap();
        commit_all(&store);
        assert_eq!(store.read(pos).unwrap(), pending);
        drop(store);

        let store = open(&machine, &options(level));
        assert_eq!(store.read(pos).unwrap(), pending);
        let read = pending.unwrap();
        assert_eq!(read, StoredMessage::from(record));
        assert!(store.is_durable(pos));
        assert_eq!(store.key(&read.key.unwrap()), Some(KeyState::Stored(pos)));
        assert_eq!(store.key(&Key::new("k2").unwrap()), None);
        assert_eq!(store.read(StorePos(pos.0 + 1)).unwrap(), None);
    }
}

#[test]
fn a_session_counts_for_its_client_and_broker_alone() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let queued = publish(&store, b"queued");
    let (flying, recorded) = (publish(&store, b"flying"), publish(&store, b"recorded"));
    for (message, number) in [(flying, 1), (recorded, 2)] {
        let packet_id = id(number);
        let assigned = Record::Assigned { message, packet_id };
        store.append(&assigned).unwrap();
    }
    store
        .append(&Record::Recorded { message: recorded })
        .unwrap();
    store.append(&Record::Received(id(3))).unwrap();
    commit_all(&store);
    drop(store);

    // Another mode or version is the same session.
    let mut same = identity("meter-17");
    same.mode = Mode::Clean;
    same.protocol_level = 5;
    let store = open(&machine, &StoreOptions::new(same, Level::Synced));
    let state = store.recovered();
    assert_eq!(
        state.queued.iter().map(|it| it.pos).collect::<Vec<_>>(),
        [queued]
    );
    assert_eq!(state.in_flight[0].pos, flying);
    assert_eq!(state.released[0].packet_id, Some(id(2)));
    assert_eq!(state.received, [id(3)]);
    drop(store);

    let other = StoreOptions::new(identity("meter-18"), Level::Synced);
    for round in 0..2 {
        let store = open(&machine, &other);
        let state = store.recovered();
        assert_eq!(reports(&store).len(), usize::from(round == 0));
        assert_eq!(
            state
                .queued
                .iter()
                .map(|it| (it.pos, it.maybe_sent))
                .collect::<Vec<_>>(),
            [(queued, false), (flying, true), (recorded, true)]
        );
        assert_eq!((state.in_flight.len(), state.released.len()), (0, 0));
        assert_eq!(state.received, []);
        // From the first record on the store is the other's.
        store.append(&Record::Received(id(8))).unwrap();
        store.append(&Record::Released(id(8))).unwrap();
        commit_all(&store);
    }
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(store.recovered().in_flight, [], "what is over stays over");
}

#[test]
fn a_newer_file_is_kept_beside() {
    let machine = Machine::default();
    machine.put("0000000000000005.log", records::newer(5));
    machine.put("notes.txt", b"not ours".to_vec());
    machine.put("0000000000000003.tmp", b"half".to_vec());
    let store = open(&machine, &options(Level::Synced));
    let (segment, major) = (5, 2);
    assert_eq!(reports(&store), [Report::Newer { segment, major }]);
    publish(&store, b"x");
    commit_all(&store);
    assert_eq!(
        machine.names(),
        [
            "0000000000000005.newer",
            "0000000000000006.log",
            "notes.txt"
        ]
    );
}

#[test]
fn records_of_unknown_kinds_are_passed_over() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let pos = publish(&store, b"x");
    commit_all(&store);
    drop(store);
    let name = &machine.names()[0];
    let mut content = machine.content(name);
    let salt = u32::from_be_bytes(content[16..20].try_into().unwrap());
    let mut frame = Vec::new();
    Record::SessionLost.encode(StorePos(9), &mut frame);
    frame[8] = 200;
    record::seal(&mut frame, salt);
    content.extend_from_slice(&frame);
    machine.put(name, content);
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), [Report::Skipped { records: 1 }]);
    assert_eq!(store.recovered().queued[0].pos, pos);
}

#[test]
fn files_kept_beside_are_few() {
    let machine = Machine::default();
    for number in 1..=20 {
        machine.put(&format!("{number:016x}.damaged"), vec![1]);
    }
    drop(open(&machine, &options(Level::Synced)));
    let names = machine.names();
    assert_eq!(names.len(), 8);
    assert_eq!(names[0], format!("{:016x}.damaged", 13));
}

#[test]
fn the_store_in_memory_knows_the_same() {
    let machine = Machine::default();
    let file = open(&machine, &options(Level::Synced));
    let memory = Memory::default();
    let stores: [&dyn Store; 2] = [&file, &memory];
    for store in stores {
        let one = publish(store, b"one");
        let two = publish_with_key(store, "two");
        let three = publish(store, b"three");
        let packet_id = id(1);
        let assigned = Record::Assigned {
            message: three,
            packet_id,
        };
        store.append(&assigned).unwrap();
        store.append(&Record::Received(id(4))).unwrap();
        store.commit().unwrap();
        done(store, two);
        done(store, StorePos(1_000));
        store.commit().unwrap();
        assert_eq!(store.durable(), store.appended());
        assert!(store.is_durable(three));
        assert_eq!(payloads(store), [b"one".to_vec()]);
        assert_eq!(store.read(two).unwrap(), None);
        let key = Key::new("two").unwrap();
        assert_eq!(store.key(&key), Some(KeyState::Done(two, ACKED)));
        assert_eq!(store.recovered().queued[0].pos, one);
    }
    assert_eq!(file.recovered(), memory.recovered());
}

#[test]
fn a_store_is_given_to_the_client_that_it_was_made_for() {
    let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
    fiber::run(move || {
        let store = open(&Machine::default(), &options(Level::Synced));
        assert_eq!(
            store.claim("meter-18", None),
            Err(ClaimError::ClientId {
                expected: "meter-17".to_owned(),
                found: "meter-18".to_owned(),
            })
        );
        let other = store.claim("meter-17", Some(&endpoint("mqtt://other")));
        assert!(matches!(other, Err(ClaimError::Endpoint { .. })));
        let same = endpoint("mqtt://broker:1883");
        assert_eq!(store.claim("meter-17", Some(&same)), Ok(()));
        assert_eq!(store.claim("meter-17", None), Err(ClaimError::InUse));
        store.release();
        assert_eq!(store.claim("meter-17", None), Ok(()));
    })
    .unwrap();
}

/// Without a disk below that takes about 300 ms on a small machine; the bound is for one that is busy.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is a matter of real time"
)]
fn as_many_messages_as_may_be_stored_are_found_in_time() {
    let machine = Machine::default();
    let all = StoreOptions::new(identity("meter-17"), Level::Flushed);
    let store = open(&machine, &all);
    for _ in 0..STORED_MESSAGES_DEFAULT {
        let record = Record::Publish(message("t", &[7; 40]));
        if let Err(Refused::Pending { .. }) = store.append(&record) {
            commit_all(&store);
            store.append(&record).unwrap();
        }
    }
    commit_all(&store);
    drop(store);
    let machine = machine.after_kill();
    let began = std::time::Instant::now();
    let store = open(&machine, &all);
    let took = began.elapsed();
    assert_eq!(store.recovered().queued.len(), STORED_MESSAGES_DEFAULT);
    let refused = store.append(&Record::Publish(message("t", b"one more")));
    let bound = STORED_MESSAGES_DEFAULT;
    assert_eq!(refused, Err(Refused::Messages { bound }));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
