//! Who waits for a record is woken.

use std::time::Duration;

use fiber::{JoinHandle, Runtime, Stopped};

use super::*;

fn run(main: fn()) {
    Runtime::builder().paused_clock(true).run(main).unwrap();
}

fn waiter(store: &File, pos: StorePos) -> JoinHandle<Result<(), Stopped>> {
    let store = store.clone();
    let waiter = fiber::spawn(move || store.wait_durable(pos)).unwrap();
    fiber::yield_now().unwrap();
    waiter
}

#[track_caller]
fn assert_woken(mut waiter: JoinHandle<Result<(), Stopped>>) {
    let joined = fiber::timeout(Duration::from_secs(60), || waiter.join());
    joined.expect("it is woken").unwrap().unwrap();
}

#[test]
fn who_waits_for_a_message_without_room_is_woken_once_it_is_written() {
    run(|| {
        let machine = Machine::default();
        let store = open(&machine, &options(Level::Synced));
        machine.set_capacity(Some(machine.used() + 1_000));
        let pos = publish(&store, &[1; 2_000]);
        store.commit().unwrap();
        assert!(store.durable() >= pos && !store.is_durable(pos));
        let waiter = waiter(&store, pos);
        machine.set_capacity(None);
        store.commit().unwrap();
        assert!(store.is_durable(pos));
        assert_woken(waiter);
    });
}
