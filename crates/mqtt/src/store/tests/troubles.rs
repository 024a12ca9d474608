//! Folders and files that cannot be reached, read or made sure of.

use super::disk::Trouble;
use super::*;
use crate::store::record::{Record, body};
use crate::store::segment::{Found, HEAD_LEN, Head, Scan};

const FIRST: &str = "0000000000000001.log";

#[test]
fn a_folder_below_one_that_never_changes_can_be_used() {
    let machine = Machine::default();
    machine.set_trouble(Trouble {
        no_names: Some("/"),
        ..Trouble::default()
    });
    let store = open(&machine, &options(Level::Synced));
    publish(&store, b"x");
    commit_all(&store);
    assert_eq!(reports(&store), []);
}

#[test]
fn a_file_that_cannot_be_opened_for_now_is_not_put_aside() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    publish(&store, b"x");
    commit_all(&store);
    drop(store);
    // The program has too many files open.
    let (open_error, trouble) = (Some(24), Trouble::default());
    machine.set_trouble(Trouble {
        open: open_error,
        ..trouble
    });
    let opened = File::open_on(Rc::new(machine.clone()), folder(), options(Level::Synced));
    assert!(matches!(opened, Err(OpenError::Io(_))));
    machine.set_trouble(trouble);
    assert_eq!(
        payloads(&open(&machine, &options(Level::Synced))),
        [b"x".to_vec()]
    );
    // The file is damaged.
    machine.set_trouble(Trouble {
        open: Some(5),
        ..trouble
    });
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), [Report::Unreadable { segment: 1 }]);
    assert_eq!(machine.names(), ["0000000000000001.damaged"]);
}

#[test]
fn a_byte_that_cannot_be_read_costs_one_record() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let stored = [1, 2, 3].map(|n| publish(&store, &[n; 9_000]));
    commit_all(&store);
    drop(store);
    machine.set_unreadable(FIRST, 14_000);
    for round in 0..2 {
        let store = open(&machine, &options(Level::Synced));
        let found = reports(&store);
        if round == 0 {
            assert!(matches!(found[..], [Report::Damaged { segment: 1, .. }]));
        } else {
            assert_eq!(found, []);
        }
        let queued: Vec<_> = store.recovered().queued.iter().map(|it| it.pos).collect();
        assert_eq!(queued, [stored[0], stored[2]]);
        assert_eq!(payloads(&store), [vec![1; 9_000], vec![3; 9_000]]);
    }
}

#[test]
fn no_name_in_the_folder_keeps_a_store_from_being_opened() {
    let machine = Machine::default();
    for name in [
        "ffffffffffffffff.tmp",
        "ffffffffffffffff.log",
        "fffffffffffffffe.damaged",
        "1.log",
        "+000000000000001.log",
    ] {
        machine.put(name, b"not ours".to_vec());
    }
    let store = open(&machine, &options(Level::Synced));
    assert_eq!(reports(&store), []);
    publish(&store, b"x");
    commit_all(&store);
    assert!(machine.names().contains(&FIRST.to_owned()));
}

/// A segment of two messages; the first is damaged, and looks like records all over.
fn with_damage(at: usize) -> Vec<u8> {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    publish(&store, &[0, 1, 0, 0].repeat(40 * 1024));
    commit_all(&store);
    let start = machine.content(FIRST).len() - 160 * 1024;
    publish(&store, b"behind");
    commit_all(&store);
    let mut content = machine.content(FIRST);
    content[start - 29 + at] ^= 0xff;
    content
}

#[test]
fn damage_that_is_hard_to_look_through_costs_one_record() {
    let machine = Machine::default();
    let damaged = with_damage(10_000);
    machine.put(FIRST, damaged.clone());
    let store = open(&machine, &options(Level::Synced));
    assert!(matches!(reports(&store)[..], [Report::Damaged { .. }]));
    assert_eq!(payloads(&store), [b"behind".to_vec()]);
    assert_eq!(machine.content("0000000000000001.damaged"), damaged);
}

#[test]
fn what_is_behind_damage_and_was_not_looked_for_is_kept_beside() {
    let machine = Machine::default();
    // The length of the first message.
    let damaged = with_damage(0);
    let salt = Head::decode(&damaged).unwrap().salt;
    let has_gap = |found: Found<'_>| matches!(found, Found::Gap { .. });
    assert!(Scan::new(&damaged, HEAD_LEN, salt).any(has_gap));
    machine.put(FIRST, damaged.clone());
    let store = open(&machine, &options(Level::Synced));
    assert!(matches!(reports(&store)[..], [Report::Damaged { .. }]));
    assert_eq!(machine.content("0000000000000001.damaged"), damaged);
}

#[test]
fn files_do_not_pile_up_on_a_disk_that_is_sure_of_nothing() {
    for level in [Level::Flushed, Level::Synced] {
        let machine = Machine::default();
        let store = open(&machine, &options(level));
        machine.set_trouble(Trouble {
            no_sync: true,
            ..Trouble::default()
        });
        for _ in 0..50 {
            let _ = store.append(&Record::Publish(message("t", &[1; 100_000])));
            let _ = store.commit();
        }
        assert!(machine.names().len() <= 2, "{:?}", machine.names().len());
        machine.set_trouble(Trouble::default());
        commit_all(&store);
        let count = store.recovered().queued.len();
        let again = open(&machine.after_power_cut(&mut Random(1)), &options(level));
        if level == Level::Synced {
            assert_eq!(again.recovered().queued.len(), count);
        }
        let killed = open(&machine.after_kill(), &options(level));
        assert_eq!(killed.recovered().queued.len(), count);
    }
}

#[test]
fn what_could_not_be_synced_at_opening_is_sure_after_a_commit_and_not_before() {
    let no_sync = Trouble {
        no_sync: true,
        ..Trouble::default()
    };
    let no_names = Trouble {
        no_names: Some("/store"),
        ..Trouble::default()
    };
    for (trouble, commits_that_fail) in [(no_sync, 0), (no_names, 2)] {
        let machine = Machine::default();
        let store = open(&machine, &options(Level::Synced));
        let message = publish(&store, b"x");
        commit_all(&store);
        drop(store);
        machine.set_trouble(trouble);
        let store = open(&machine, &options(Level::Synced));
        assert!(store.appended() > message);
        assert!(!store.is_durable(message) && !store.is_durable(store.appended()));
        for _ in 0..commits_that_fail {
            store.commit().unwrap_err();
            assert!(!store.is_durable(message));
        }
        machine.set_trouble(Trouble::default());
        // Nothing is appended; one is enough.
        store.commit().unwrap();
        assert!(store.is_durable(message) && store.is_durable(store.appended()));
        drop(store);
        let again = open(
            &machine.after_power_cut(&mut Random(1)),
            &options(Level::Synced),
        );
        assert_eq!(again.recovered().queued.len(), 1);
    }
}

#[test]
fn a_message_that_moves_while_it_is_read_is_found() {
    let machine = Machine::default();
    let small = options(Level::Synced).segment_bytes(1_024).reserve_bytes(0);
    let store = open(&machine, &small);
    let kept = publish(&store, b"kept");
    commit_all(&store);
    let first = machine.names()[0].clone();
    let (other, moved) = (store.clone(), std::cell::Cell::new(false));
    machine.set_open_hook(Some(Rc::new(move || {
        if !moved.replace(true) {
            for _ in 0..100 {
                let pos = publish(&other, &[1; 200]);
                commit_all(&other);
                done(&other, pos);
            }
        }
    })));
    assert_eq!(store.read(kept).unwrap().unwrap().payload, b"kept");
    assert!(!machine.names().contains(&first));
}

#[test]
fn a_position_is_not_given_again_once_the_store_is_empty() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let before = publish(&store, b"x");
    commit_all(&store);
    let before = before.max(done(&store, before));
    commit_all(&store);
    drop(store);
    for _ in 0..3 {
        open(&machine, &options(Level::Synced)).commit().unwrap();
    }
    let store = open(&machine, &options(Level::Synced));
    assert!(publish(&store, b"y") > before);
}

#[test]
fn each_segment_says_how_far_the_positions_had_come() {
    let machine = Machine::default();
    let small = options(Level::Synced).segment_bytes(1_024);
    let store = open(&machine, &small);
    for n in 1..=3 {
        let before = store.appended();
        publish(&store, &[1; 900]);
        commit_all(&store);
        let content = machine.content(&format!("{n:016x}.log"));
        let salt = Head::decode(&content).unwrap().salt;
        let positions = Scan::new(&content, HEAD_LEN, salt).map(|found| match found {
            Found::Frame { frame, .. } => Record::decode(body(frame)).unwrap().0,
            Found::Gap { .. } | Found::Torn { .. } => panic!("{found:?}"),
        });
        let positions: Vec<_> = positions.collect();
        let (_, of_head) = positions.split_last().unwrap();
        assert!(of_head.iter().max() >= Some(&before));
    }
}

#[test]
fn a_frame_that_has_lost_its_first_bytes_is_damaged_whatever_lies_before_it() {
    let machine = Machine::default();
    let store = open(&machine, &options(Level::Synced));
    let ended = publish(&store, b"ended");
    store.commit().unwrap();
    done(&store, ended);
    for payload in [b"damaged", b"behind."] {
        publish(&store, payload);
    }
    commit_all(&store);
    drop(store);
    let mut content = machine.content(FIRST);
    let salt = Head::decode(&content).unwrap().salt;
    let offsets: Vec<_> = Scan::new(&content, HEAD_LEN, salt)
        .filter_map(|found| match found {
            Found::Frame { offset, .. } => Some(offset),
            Found::Gap { .. } | Found::Torn { .. } => None,
        })
        .collect();
    let at = offsets[offsets.len() - 2];
    // The record before ends with three zeros, with which the length of this one begins.
    assert_eq!(content[at - 3..at + 3], [0; 6]);
    content.drain(at..at + 3);
    machine.put(FIRST, content);
    let store = open(&machine, &options(Level::Synced));
    let found = reports(&store);
    assert!(
        matches!(found[..], [Report::Damaged { segment: 1, .. }]),
        "{found:?}"
    );
    // Each byte counts once: the end of the one message is known, and so is the other that is whole.
    assert_eq!(payloads(&store), [b"behind.".to_vec()]);
}
