//! Bounds, keys and outcomes.

use super::*;

#[test]
fn what_is_refused_changes_nothing() {
    let machine = Machine::default();
    let limited = options(Level::Synced).messages_max(3).bytes_max(1_000);
    let file = open(&machine, &limited);
    let memory = Memory::new(3, 1_000);
    let stores: [&dyn Store; 2] = [&file, &memory];
    for store in stores {
        let refuse = |record: MessageRecord<'_>| {
            let before = (store.appended(), store.recovered());
            let refused = store.append(&Record::Publish(record)).unwrap_err();
            assert_eq!((store.appended(), store.recovered()), before);
            refused
        };
        let huge = vec![0; RECORD_BYTES_MAX];
        let found = message("t", &huge).frame_len();
        // No more than the store holds.
        let bound = 1_000 - 128;
        assert_eq!(
            refuse(message("t", &huge)),
            Refused::TooLarge { found, bound }
        );
        let over = vec![0; bound + 1 - message("t", b"").frame_len()];
        let found = bound + 1;
        assert_eq!(
            refuse(message("t", &over)),
            Refused::TooLarge { found, bound }
        );
        let long = "t".repeat(65_536);
        let found = message(&long, b"").frame_len();
        assert_eq!(
            refuse(message(&long, b"")),
            Refused::TooLarge { found, bound }
        );
        let mut unstored = message("t", b"");
        unstored.qos = QoS::AtMostOnce;
        assert_eq!(refuse(unstored), Refused::AtMostOnce);

        let first = publish(store, &[1; 400]);
        let bound = 1_000;
        assert_eq!(refuse(message("t", &[2; 400])), Refused::Bytes { bound });
        publish(store, b"2");
        publish(store, b"3");
        assert_eq!(refuse(message("t", b"4")), Refused::Messages { bound: 3 });
        // Room comes back with what is done; other records need none.
        store.append(&Record::Received(id(1))).unwrap();
        done(store, first);
        publish(store, &[4; 400]);
    }
}

#[test]
fn what_waits_to_be_written_is_bounded() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Flushed));
    let payload = vec![0; 100_000];
    let refused = loop {
        if let Err(refused) = store.append(&Record::Publish(message("t", &payload))) {
            break refused;
        }
    };
    let bound = STORE_PENDING_BYTES_MAX;
    assert_eq!(refused, Refused::Pending { bound });
    store.commit().unwrap();
    publish(&store, &payload);
}

#[test]
fn the_last_outcomes_of_keys_are_known_and_no_more() {
    let machine = Machine::default();
    let small = options(Level::Synced).segment_bytes(4_096);
    let store = open(&machine, &small);
    let count = OUTCOMES_MAX + 500;
    let key = |n: usize| Key::new(format!("key-{n}")).unwrap();
    let mut positions = Vec::new();
    for n in 0..count {
        let pos = publish_with_key(&store, &format!("key-{n}"));
        positions.push(pos);
        assert_eq!(store.key(&key(n)), Some(KeyState::Stored(pos)));
        if n % 3 == 0 {
            commit_all(&store);
        }
        done(&store, pos);
        if n % 5 == 0 {
            commit_all(&store);
        }
    }
    commit_all(&store);
    let again = open(&machine.after_kill(), &small);
    for store in [store, again] {
        for (n, pos) in positions.iter().enumerate() {
            let known = n >= count - OUTCOMES_MAX;
            let expected = known.then_some(KeyState::Done(*pos, ACKED));
            assert_eq!(store.key(&key(n)), expected, "key {n}");
        }
        assert_eq!(store.recovered().outcomes.len(), OUTCOMES_MAX);
    }
}

#[test]
fn a_key_may_be_used_again_once_it_is_forgotten() {
    let store = Memory::default();
    let first = publish_with_key(&store, "again");
    done(&store, first);
    let second = publish_with_key(&store, "again");
    let key = Key::new("again").unwrap();
    assert_eq!(store.key(&key), Some(KeyState::Stored(second)));
    for n in 0..OUTCOMES_MAX {
        let pos = publish_with_key(&store, &n.to_string());
        done(&store, pos);
    }
    assert_eq!(store.key(&key), Some(KeyState::Stored(second)));
    done(&store, second);
    assert_eq!(store.key(&key), Some(KeyState::Done(second, ACKED)));
}

#[test]
fn messages_leave_flight_when_the_session_is_lost() {
    let store = Memory::default();
    let message = publish(&store, b"x");
    let packet_id = id(7);
    let assigned = Record::Assigned { message, packet_id };
    store.append(&assigned).unwrap();
    store.append(&Record::Recorded { message }).unwrap();
    store.append(&Record::Received(id(1))).unwrap();
    assert_eq!(store.recovered().released[0].pos, message);
    store.append(&Record::SessionLost).unwrap();
    let state = store.recovered();
    assert!(state.queued[0].maybe_sent && state.queued[0].packet_id.is_none());
    assert_eq!((state.released, state.received), (vec![], vec![]));
}

#[test]
fn pubrels_are_in_the_order_of_their_pubrecs() {
    let store = Memory::default();
    let messages = [b"a", b"b", b"c"].map(|payload| publish(&store, payload));
    for (number, message) in (1..).zip(messages) {
        let packet_id = id(number);
        let assigned = Record::Assigned { message, packet_id };
        store.append(&assigned).unwrap();
    }
    for at in [2, 0, 1] {
        let message = messages[at];
        store.append(&Record::Recorded { message }).unwrap();
        // Said twice, the first counts.
        store
            .append(&Record::Recorded {
                message: messages[2],
            })
            .unwrap();
    }
    let released = store.recovered().released;
    let order: Vec<_> = released.iter().map(|stored| stored.pos).collect();
    assert_eq!(order, [messages[2], messages[0], messages[1]]);
}

#[test]
fn what_would_be_taken_if_others_were_done_is_told_beforehand() {
    let machine = Machine::default();
    let limited = options(Level::Synced).messages_max(3).bytes_max(1_000);
    let file = open(&machine, &limited);
    let memory = Memory::new(3, 1_000);
    let stores: [&dyn Store; 2] = [&file, &memory];
    for store in stores {
        let stored = [100, 10, 300].map(|len| publish(store, &vec![0; len]));
        let admits = |len: usize| {
            let before = (store.appended(), store.recovered());
            let payload = vec![0; len];
            let admits = store.admits(&message("t", &payload), &mut stored.into_iter());
            assert_eq!((store.appended(), store.recovered()), before);
            admits
        };
        assert_eq!(admits(10), Ok(1), "the number is full");
        assert_eq!(admits(400), Ok(3));
        let bound = 1_000 - 128;
        for len in [1_000, RECORD_BYTES_MAX] {
            let found = message("t", &vec![0; len]).frame_len();
            assert_eq!(admits(len), Err(Refused::TooLarge { found, bound }));
        }
        let none = store.admits(&message("t", b""), &mut std::iter::empty());
        assert_eq!(none, Err(Refused::Messages { bound: 3 }));
        for pos in stored {
            done(store, pos);
        }
        publish(store, &[4; 400]);
        assert_eq!(admits(10), Ok(0));
    }
}

#[test]
fn what_only_cleaning_makes_room_for_is_not_taken_whatever_is_done() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    for _ in 0..20 {
        publish(&store, &[0; 1_000]);
    }
    commit_all(&store);
    drop(store);
    let small = options(Level::Synced).segment_bytes(1_024).bytes_max(1_000);
    let store = open(&machine, &small);
    let stored: Vec<_> = store.recovered().queued.iter().map(|it| it.pos).collect();
    let admits = store.admits(&message("t", b""), &mut stored.into_iter());
    assert_eq!(admits, Err(Refused::Bytes { bound: 1_000 }));
}
