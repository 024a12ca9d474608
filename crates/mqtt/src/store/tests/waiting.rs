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

#[test]
fn what_another_could_not_write_is_written_by_the_writer() {
    run(|| {
        let machine = Machine::default();
        let store = open(&machine, &options(Level::Synced));
        let writer = store.clone();
        let mut writer = fiber::spawn(move || writer.run()).unwrap();
        let pos = publish(&store, b"x");
        let waiter = waiter(&store, pos);
        let before = machine.names();
        assert_eq!(before.len(), 1, "the writer works");
        assert_woken(waiter);

        // Others go on while the disk works, and it fails.
        machine.set_hook(Some(Rc::new(|| {
            let _ = fiber::yield_now();
        })));
        machine.set_flaky(Some((1, Random(1))));
        let pos = publish(&store, b"y");
        let waiter = waiter_beside(&store, pos);
        assert!(store.commit().is_err());
        machine.set_flaky(None);
        assert_woken(waiter);
        writer.cancel();
        assert!(writer.join().is_ok());
    });
}

/// Waits, and has not begun to.
fn waiter_beside(store: &File, pos: StorePos) -> JoinHandle<Result<(), Stopped>> {
    let store = store.clone();
    fiber::spawn(move || store.wait_durable(pos)).unwrap()
}

#[test]
fn who_commits_again_and_again_keeps_nobody_from_it() {
    run(|| {
        let machine = Machine::default();
        let store = open(&machine, &options(Level::Synced));
        let pos = publish(&store, b"x");
        machine.set_hook(Some(Rc::new(|| {
            let _ = fiber::sleep(Duration::from_millis(1));
        })));
        let writer = store.clone();
        let mut writer = fiber::spawn(move || writer.commit().unwrap()).unwrap();
        fiber::yield_now().unwrap();
        let mut commits = 0;
        while !store.is_durable(pos) {
            store.commit().unwrap();
            commits += 1;
            assert!(commits < 100, "it never gives up its turn");
        }
        writer.join().unwrap();
    });
}

#[test]
fn at_flushed_a_message_that_is_acknowledged_within_the_linger_is_never_written() {
    run(|| {
        let machine = Machine::default();
        let store = open(&machine, &options(Level::Flushed));
        let writer = store.clone();
        let _writer = fiber::spawn(move || writer.run()).unwrap();
        let traffic = |answers_in: Duration| {
            let before = machine.written();
            for _ in 0..100 {
                let message = publish(&store, &[7; 200]);
                let packet_id = id(1);
                let assigned = Record::Assigned { message, packet_id };
                store.append(&assigned).unwrap();
                fiber::sleep(answers_in).unwrap();
                done(&store, message);
                fiber::sleep(10 * LINGER_DEFAULT).unwrap();
            }
            machine.written() - before
        };
        let within = LINGER_DEFAULT - Duration::from_millis(1);
        assert_eq!(traffic(within), 0);
        // Later than that each is written, with what is about it, and that is all.
        let asked = 100 * message("t", &[7; 200]).frame_len() as u64;
        let written = traffic(LINGER_DEFAULT + Duration::from_millis(1));
        assert!(
            written >= asked && written * 2 <= asked * 3,
            "{written} for {asked}"
        );
    });
}
