//! The state folder by names that a person gives. One test: the current folder is the process's.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "the disk is looked at from outside the fibers"
)]

use agent::identity::{Store, StoreError};

#[test]
fn a_state_folder_with_a_relative_name_is_locked_and_written() {
    let folder = std::env::temp_dir().join(format!("agent-relative-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    std::env::set_current_dir(&folder).expect("it is there");
    for name in ["state", "deep/er/state", "./other"] {
        let ran = fiber::run(move || {
            let store = Store::open(name).expect("it works");
            let second = Store::open(name);
            assert!(matches!(second, Err(StoreError::InUse { .. })), "{name}");
            store.begin(b"a key", b"a request").expect("it works");
            drop(store);
            let store = Store::open(name).expect("it works");
            assert_eq!(store.state().phase(), "KeyReady");
        });
        ran.expect("the runtime ran");
    }
    std::fs::remove_dir_all(&folder).expect("it is there");
}
