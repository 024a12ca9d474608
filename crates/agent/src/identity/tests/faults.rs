//! What is damaged, cannot be read, or was left half done, on a real disk.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn damage_records(folder: &Folder) {
    for name in ["state.0", "state.1"] {
        let path = folder.path().join(name);
        let mut bytes = real::read(&path).unwrap();
        bytes[30] ^= 1;
        real::write(path, bytes).unwrap();
    }
}

fn up_to_registered(store: &Store, number: usize) {
    begin(store, number).unwrap();
    store.asking().unwrap();
    hold(store, number).unwrap();
    let about = About::new("meter-17", id(number));
    store.registered(&about).unwrap();
}

fn open(folder: &Folder) -> Store {
    Store::open(folder.path()).unwrap()
}

#[test]
fn without_records_the_one_that_was_proven_is_used_and_not_a_newer_one_in_the_making() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        up_to_registered(&store, 1);
        drop(store.prove().unwrap());
        drop(store);
        damage_records(folder);
        let store = open(folder);
        assert_eq!(
            (store.found(), in_use(&store)),
            (Found::Recovered, Some(id(0)))
        );
        drop(store);
        // And of two that were proven, the one that was last, whatever its dates are.
        let store = open(folder);
        make(&store, 3).unwrap();
        make(&store, 2).unwrap();
        drop(store);
        damage_records(folder);
        assert_eq!(in_use(&open(folder)), Some(id(2)));
    });
}

#[test]
fn an_identity_that_was_let_go_is_not_used_instead_of_one_that_is_damaged() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        make(&store, 1).unwrap();
        up_to_registered(&store, 2);
        drop(store.prove().unwrap());
        store.abandon("the cloud has forgotten it").unwrap();
        drop(store);
        real::write(folder.identity("b/chain.pem"), "").unwrap();
        let store = open(folder);
        assert_eq!(in_use(&store), None);
        // Nor does a night's wiping take the last one that was proven.
        let now = fiber::wall_time();
        let later = now + 2 * TRASH_AGE_MIN;
        for now in [now, later] {
            assert_eq!(store.wipe_old_trash(now).unwrap(), 0);
        }
        folder.holds(&[&pair(0).key, &pair(0).chain]);
    });
}

#[test]
fn without_records_an_identity_in_the_making_goes_on_where_it_is_sure() {
    with_folder(|folder| {
        let store = open(folder);
        begin(&store, 0).unwrap();
        store.asking().unwrap();
        drop(store);
        damage_records(folder);
        let store = open(folder);
        assert_eq!(store.found(), Found::Recovered);
        assert_eq!(store.state().phase(), "KeyReady");
        assert_eq!(store.request().unwrap().unwrap(), b"0");
        store.asking().unwrap();
        hold(&store, 0).unwrap();
        store.registered(&About::new("meter-17", id(0))).unwrap();
        drop(store);
        damage_records(folder);
        let store = open(folder);
        assert_eq!(store.state().phase(), "Registered");
        assert!(store.active().is_none(), "it was not proven");
        store.promote(store.prove().unwrap(), noon()).unwrap();
        assert_eq!(in_use(&store), Some(id(0)));
        drop(store);
        // What fits with nothing is told.
        for name in ["proven", "about.json", "chain.pem"] {
            real::remove_file(folder.identity("a").join(name)).unwrap();
        }
        damage_records(folder);
        assert_eq!(open(folder).found(), Found::Lost);
    });
}

#[test]
fn a_slot_that_cannot_be_read_gives_way_to_the_one_before_until_it_can() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        make(&store, 1).unwrap();
        drop(store);
        // A folder in the place of a file: the system answers, and not that nothing is there.
        let (key, aside) = (folder.identity("b/key.pem"), folder.identity("key"));
        real::rename(&key, &aside).unwrap();
        real::create_dir(&key).unwrap();
        let before = folder.files();
        let store = open(folder);
        assert_eq!(
            (store.found(), in_use(&store)),
            (Found::Fallback, Some(id(0)))
        );
        assert_eq!(folder.files(), before, "nothing is written for that");
        store.passed(noon()).unwrap();
        drop(store);
        real::remove_dir(&key).unwrap();
        real::rename(&aside, &key).unwrap();
        assert_eq!(in_use(&open(folder)), Some(id(1)));
        // The next one is made all the same, and the slot that is used stays.
        real::rename(&key, &aside).unwrap();
        real::create_dir(&key).unwrap();
        let store = open(folder);
        begin(&store, 2).unwrap();
        assert_eq!(store.state().candidate_slot(), Slot::B);
        assert_eq!(in_use(&store), Some(id(0)));
        folder.holds(&[&pair(0).key, &pair(1).chain, &pair(2).key]);
        drop(store);
        assert_eq!(in_use(&open(folder)), Some(id(0)));
    });
}

#[test]
fn a_record_file_of_another_length_is_made_right_again() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        drop(store);
        for (name, len) in [("state.0", RECORD + 1), ("state.1", RECORD - 1)] {
            let mut bytes = real::read(folder.path().join(name)).unwrap();
            bytes.resize(len, b'\n');
            real::write(folder.path().join(name), bytes).unwrap();
        }
        let store = open(folder);
        assert_eq!(
            (store.found(), in_use(&store)),
            (Found::Recovered, Some(id(0)))
        );
        make(&store, 1).unwrap();
        // While it runs, too.
        for name in ["state.0", "state.1"] {
            let mut bytes = real::read(folder.path().join(name)).unwrap();
            bytes.push(b'\n');
            real::write(folder.path().join(name), bytes).unwrap();
        }
        begin(&store, 2).unwrap();
        store.asking().unwrap();
        let state = store.state();
        drop(store);
        let store = open(folder);
        assert_eq!((store.found(), store.state()), (Found::Known, state));
    });
}

const RECORD: usize = record::RECORD_BYTES;

#[test]
fn what_was_tried_out_is_what_is_taken_into_use() {
    with_folder(|folder| {
        let store = open(folder);
        up_to_registered(&store, 0);
        let tried = store.prove().unwrap();
        store.abandon("it is late").unwrap();
        up_to_registered(&store, 1);
        drop(store.prove().unwrap());
        let refused = store.promote(tried, noon());
        assert!(matches!(refused, Err(StoreError::Step { .. })));
        assert!(store.active().is_none());
        // What the cloud said must be of this certificate.
        let about = folder.identity("a/about.json");
        let whole = real::read(&about).unwrap();
        for damaged in ["", "{", "{\"client_id\":\"x\",\"certificate_id\":\"y\"}"] {
            real::write(&about, damaged).unwrap();
            let before = store.state();
            assert!(store.prove().is_err_and(|error| error.is_damage()));
            assert_eq!(store.state(), before);
        }
        real::write(&about, whole).unwrap();
        store.promote(store.prove().unwrap(), noon()).unwrap();
        // It is kept twice then.
        drop(store);
        real::write(&about, "").unwrap();
        assert_eq!(in_use(&open(folder)), Some(id(1)));
    });
}

#[test]
fn nothing_of_a_certificate_before_stays_beside_the_next() {
    with_folder(|folder| {
        let store = open(folder);
        begin(&store, 0).unwrap();
        store.asking().unwrap();
        hold(&store, 0).unwrap();
        store.ask_again().unwrap();
        store.asking().unwrap();
        let held = Held {
            chain: pair(0).chain.as_bytes(),
            key: Some(pair(1).key.as_bytes()),
            certificate_id: "again",
            token: None,
            got_at: noon(),
        };
        // A name that the record could not take costs nothing that is kept.
        let long = "x".repeat(5_000);
        let refused = store.hold(&Held {
            certificate_id: &long,
            ..held
        });
        assert!(matches!(refused, Err(StoreError::TooLong { .. })));
        assert!(store.token().unwrap().is_some());
        // And the key that was made here stays, whatever is sent.
        store.hold(&held).unwrap();
        assert!(store.token().unwrap().is_none());
        folder.holds(&[&pair(0).key]);
    });
}

#[test]
fn a_request_that_is_lost_is_damage_and_not_a_wish_for_a_key_of_the_cloud() {
    with_folder(|folder| {
        let store = open(folder);
        begin(&store, 0).unwrap();
        for damaged in [Some("1"), None] {
            let path = folder.identity("a/request.pem");
            match damaged {
                Some(text) => real::write(path, text).unwrap(),
                None => real::remove_file(path).unwrap(),
            }
            assert!(store.request().is_err_and(|error| error.is_damage()));
        }
    });
}

#[test]
fn what_is_of_no_use_to_an_identity_in_use_is_wiped_at_the_next_start() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        drop(store);
        for name in ["a/token", "a/request.pem", "a/key.pem.new"] {
            real::write(folder.identity(name), "left").unwrap();
        }
        drop(open(folder));
        let left = |(_, bytes): &(PathBuf, Vec<u8>)| bytes == b"left";
        assert!(!folder.files().iter().any(left));
    });
}

#[test]
fn a_claim_is_one_or_the_other() {
    with_folder(|folder| {
        let store = open(folder);
        let claim = |number: usize| Claim {
            chain: pair(number).chain.clone().into_bytes(),
            key: Zeroizing::new(pair(number).key.clone().into_bytes()),
        };
        store.keep_claim(&claim(5)).unwrap();
        let mut long = claim(6);
        let comment = "# no more than a comment\n".repeat(CLAIM_BYTES_MAX / 25 + 1);
        long.chain.extend_from_slice(comment.as_bytes());
        assert!(store.keep_claim(&long).is_err());
        let kept = store.claim().unwrap();
        assert_eq!(kept.chain, pair(5).chain.as_bytes());
        assert_eq!(&**kept.key, pair(5).key.as_bytes());
        store.keep_claim(&claim(6)).unwrap();
        assert_eq!(store.claim().unwrap().chain, pair(6).chain.as_bytes());
    });
}

#[test]
fn a_device_id_that_was_edited_stays_as_another_file() {
    with_folder(|folder| {
        let store = open(folder);
        let made = store.device_id().unwrap();
        drop(store);
        let forget = |text: &str| {
            for name in ["state.0", "state.1"] {
                drop(real::remove_file(folder.path().join(name)));
            }
            real::write(folder.identity("device-id"), text).unwrap();
        };
        forget(&format!("{made}\n"));
        assert_eq!(open(folder).device_id().unwrap(), made);
        forget("meter-17");
        assert_ne!(open(folder).device_id().unwrap(), made);
        folder.holds(&["meter-17"]);
    });
}

#[test]
fn one_wrong_clock_is_not_noted_for_ever() {
    with_folder(|folder| {
        let year = |years: u32| UNIX_EPOCH + Duration::from_secs(31_556_952) * years;
        let store = open(folder);
        make(&store, 0).unwrap();
        store.passed(year(70)).unwrap();
        store.passed(noon()).unwrap();
        assert_eq!(store.state().last_good, Some(seconds(noon())));
        // The identity in use has expired then.
        store.passed(year(58)).unwrap();
        assert_eq!(store.state().last_good, Some(seconds(noon())));
        store.corrected(noon() - Duration::from_secs(60)).unwrap();
        assert_eq!(store.state().last_good, Some(seconds(noon()) - 60));

        let ages = Duration::from_secs(200 * 31_556_952);
        begin(&store, 1).unwrap();
        store.refused("busy", Some(noon() + ages)).unwrap();
        assert_eq!(store.state().blocked_for(noon()), BLOCKED_MAX);
        store.abandon("enough").unwrap();
        assert_eq!(store.state().blocked_for(noon()), Duration::ZERO);
    });
}

#[test]
fn an_order_to_give_up_is_carried_out_at_the_next_start_if_it_was_not() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        make(&store, 1).unwrap();
        // There is no trash, because something else has the name.
        real::remove_dir_all(folder.identity(TRASH)).ok();
        real::write(folder.identity(TRASH), "").unwrap();
        assert!(store.give_up().is_err());
        assert!(store.active().is_none());
        drop(store);
        real::remove_file(folder.identity(TRASH)).unwrap();
        let store = open(folder);
        assert!(store.active().is_none() && !folder.identity("a/key.pem").exists());
        assert!(!folder.identity("b/key.pem").exists());
        drop(store);
        damage_records(folder);
        let store = open(folder);
        assert!(store.active().is_none());
        assert!(matches!(begin(&store, 2), Err(StoreError::GivenUp)));
        store.take_up().unwrap();
        make(&store, 2).unwrap();
        drop(store);
        damage_records(folder);
        assert_eq!(in_use(&open(folder)), Some(id(2)));
    });
}

#[test]
fn of_what_was_never_proven_the_trash_holds_a_few() {
    with_folder(|folder| {
        let store = open(folder);
        make(&store, 0).unwrap();
        for _ in 0..TRASH_UNPROVEN_MAX + 3 {
            begin(&store, 1).unwrap();
            store.abandon("it was damaged").unwrap();
        }
        let entries = real::read_dir(folder.identity(TRASH)).unwrap().count();
        assert_eq!(entries, TRASH_UNPROVEN_MAX);
        // One thing that cannot be wiped does not keep the rest from it.
        make(&store, 2).unwrap();
        make(&store, 3).unwrap();
        real::create_dir_all(folder.identity(TRASH).join("lost+found/kept")).unwrap();
        for entry in real::read_dir(folder.identity(TRASH)).unwrap() {
            let key = entry.unwrap().path().join("key.pem");
            if key.exists() {
                real::set_permissions(key, real::Permissions::from_mode(0o400)).unwrap();
            }
        }
        assert!(store.wipe_all_trash().is_ok());
        let keys = [pair(0).key.as_bytes(), pair(1).key.as_bytes()];
        let is_key = |(_, bytes): &(PathBuf, Vec<u8>)| keys.contains(&bytes.as_slice());
        assert!(!folder.files().iter().any(is_key));
        assert_eq!(in_use(&store), Some(id(3)));
    });
}

#[test]
fn what_stands_in_the_place_of_a_file_that_is_written_is_not_written_into() {
    with_folder(|folder| {
        let store = open(folder);
        begin(&store, 0).unwrap();
        store.asking().unwrap();
        let (elsewhere, unfinished) = (
            folder.path().join("elsewhere"),
            folder.identity("a/chain.pem.new"),
        );
        real::write(&elsewhere, "kept").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &unfinished).unwrap();
        hold(&store, 0).unwrap();
        assert_eq!(real::read(elsewhere).unwrap(), b"kept");
        let chain = real::symlink_metadata(folder.identity("a/chain.pem")).unwrap();
        assert!(chain.is_file());
        assert_eq!(chain.permissions().mode() & 0o777, 0o600);
    });
}
