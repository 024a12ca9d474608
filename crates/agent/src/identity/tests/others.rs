//! What others leave in the state folder: later versions of the program, administrators, backups.

use std::fs as real;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::super::record;
use super::*;

/// Writes the records again, as a later version would.
fn age_records(folder: &Folder, change: impl Fn(serde_json::Value) -> serde_json::Value) {
    for name in ["state.0", "state.1"] {
        let path = folder.path().join(name);
        let bytes = real::read(&path).unwrap();
        let Ok((_, generation, payload)) = record::decode_any(&bytes) else {
            continue;
        };
        let state = change(serde_json::from_slice(payload).unwrap());
        let payload = state.to_string();
        real::write(
            &path,
            record::encode_as(2, generation, payload.as_bytes()).unwrap(),
        )
        .unwrap();
    }
}

#[test]
fn what_a_later_version_noted_is_gone_by_as_far_as_it_is_understood_and_never_overwritten() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        make(&store, 1).unwrap();
        let device = store.device_id().unwrap();
        drop(store);
        age_records(folder, |mut state| {
            state["colour"] = "red".into();
            state["candidate"] = serde_json::json!({ "step": "Attesting" });
            state
        });
        let written = |name: &str| real::read(folder.path().join(name)).unwrap();
        let later = [written("state.0"), written("state.1")];
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(in_use(&store), Some(id(1)));
        assert_eq!(store.device_id().unwrap(), device);
        assert_eq!(store.state().candidate, None);
        for day in 1..=4 {
            store.corrected(noon() + Duration::from_secs(day)).unwrap();
        }
        drop(store);
        assert_eq!(written("state.0.later"), later[0]);
        assert_eq!(written("state.1.later"), later[1]);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(in_use(&store), Some(id(1)));
        assert_eq!(store.found(), Found::Known);
    });
}

#[test]
fn a_state_that_nothing_is_understood_of_is_kept_beside_as_well() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        drop(store);
        age_records(folder, |_| serde_json::json!([1, 2]));
        let later = real::read(folder.path().join("state.0")).unwrap();
        let store = Store::open(folder.path()).unwrap();
        // The slots say what is in use.
        assert_eq!(in_use(&store), Some(id(0)));
        store.corrected(noon()).unwrap();
        store.corrected(noon() + Duration::from_secs(1)).unwrap();
        let kept = real::read(folder.path().join("state.0.later")).unwrap();
        assert_eq!(kept, later);
    });
}

#[test]
fn wiping_leaves_alone_what_a_link_points_to_and_goes_on_behind_what_it_cannot_wipe() {
    with_folder(|folder| {
        let factory = folder.path().with_extension("factory");
        real::create_dir(&factory).unwrap();
        real::write(factory.join("key.pem"), "the factory's").unwrap();
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        store.give_up().unwrap();
        let trash = folder.identity("trash");
        let entry = real::read_dir(&trash)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        symlink(factory.join("key.pem"), entry.join("a-link")).unwrap();
        symlink(&factory, entry.join("b-link")).unwrap();
        real::create_dir_all(entry.join("folder/below")).unwrap();
        real::write(entry.join("folder/below/key.pem"), "a key").unwrap();
        symlink(&factory, trash.join("new-9-a")).unwrap();
        real::write(trash.join("note.txt"), "what is this?").unwrap();
        store.wipe_all_trash().unwrap();
        assert_eq!(real::read_dir(&trash).unwrap().count(), 0);
        let left = real::read_to_string(factory.join("key.pem")).unwrap();
        real::remove_dir_all(&factory).unwrap();
        assert_eq!(left, "the factory's");
    });
}

#[test]
fn what_others_could_read_is_for_its_owner_alone_again() {
    with_folder(|folder| {
        let store = Store::open(folder.path()).unwrap();
        make(&store, 0).unwrap();
        store
            .keep_claim(&Claim {
                chain: pair(1).chain.clone().into_bytes(),
                key: pair(1).key.clone().into_bytes().into(),
            })
            .unwrap();
        drop(store);
        let open_up = |name: &str, mode| {
            let permissions = real::Permissions::from_mode(mode);
            real::set_permissions(folder.identity(name), permissions).unwrap();
        };
        open_up("", 0o777);
        open_up("a/key.pem", 0o644);
        open_up("claim.pem", 0o640);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(in_use(&store), Some(id(0)));
        for (name, expected) in [("", 0o700), ("a/key.pem", 0o600), ("claim.pem", 0o600)] {
            let found = real::metadata(folder.identity(name)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, expected, "{name}");
        }
    });
}
