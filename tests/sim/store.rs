//! The store on the disk of a simulated machine: slow, failing now and then, and without power at any
//! time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{self, World};
use fiber::sleep;
use mqtt::store::{
    DoneCause, File, Identity, Level, MessageRecord, Mode, OpenError, Record, Store, StoreOptions,
    StorePos,
};
use mqtt::{PacketId, QoS};

use crate::coverage::{Counts, Expected};
use crate::faults::draw;
use crate::many;

/// How often the machine loses its power.
const LIVES: u64 = 4;

/// What the program knows to be durable: of each message, whether it is done. What is not known is
/// not here.
type Sure = Rc<RefCell<BTreeMap<StorePos, bool>>>;

fn options(level: Level) -> StoreOptions {
    let identity = Identity {
        client_id: "device".to_owned(),
        endpoint: "mqtt://broker".to_owned(),
        protocol_level: 4,
        mode: Mode::Kept,
    };
    StoreOptions::new(identity, level).segment_bytes(2_048)
}

fn publish(store: &File, number: u64) -> StorePos {
    let message = MessageRecord {
        key: None,
        qos: QoS::ExactlyOnce,
        retain: false,
        published: 0,
        expires: 0,
        topic: "topic",
        payload: &number.to_be_bytes(),
    };
    store.append(&Record::Publish(message)).expect("room")
}

/// Publishes and is done with messages for as long as the power lasts.
fn live(level: Level, sure: &Sure) {
    let store = loop {
        // The folder could not be made sure of.
        match File::open("/var/lib/store", options(level)) {
            Ok(store) => break store,
            Err(OpenError::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let found: Vec<StorePos> = {
        let recovered = store.recovered();
        let all = [recovered.queued, recovered.in_flight, recovered.released];
        let mut found: Vec<_> = all.concat().iter().map(|stored| stored.pos).collect();
        found.sort_unstable();
        found
    };
    for (pos, is_done) in &*sure.borrow() {
        assert_eq!(found.contains(pos), !is_done, "message {pos}");
    }
    for pos in &found {
        let message = store
            .read(*pos)
            .expect("it is whole")
            .expect("it is stored");
        assert_eq!((&*message.topic, message.payload.len()), ("topic", 8));
    }
    // What was found counts, and what was not sure either way is what was found.
    *sure.borrow_mut() = found.iter().map(|pos| (*pos, false)).collect();

    let writer = store.clone();
    fiber::spawn(move || writer.run()).expect("a fiber");
    for _ in 0..4 {
        let (store, sure) = (store.clone(), Rc::clone(sure));
        let work = move || {
            loop {
                let pos = publish(&store, draw(1 << 20).into());
                store.wait_durable(pos).expect("no scope is over");
                sure.borrow_mut().insert(pos, false);
                let _ = sleep(Duration::from_millis(draw(20).into()));
                let packet_id = PacketId::MIN;
                let message = pos;
                let assigned = Record::Assigned { message, packet_id };
                store.append(&assigned).expect("always taken");
                let (cause, key) = (DoneCause::Acked { maybe_twice: false }, None);
                let done = Record::Done {
                    message,
                    cause,
                    key,
                };
                if draw(3) > 0 {
                    sure.borrow_mut().remove(&pos);
                    let pos = store.append(&done).expect("always taken");
                    store.wait_durable(pos).expect("no scope is over");
                    sure.borrow_mut().insert(message, true);
                }
            }
        };
        fiber::spawn(work).expect("a fiber");
    }
    let _ = sleep(Duration::from_secs(3_600));
}

fn lives(world: &World, level: Level, crash: impl Fn(&sim::Host)) {
    let sure = Sure::default();
    let device = world.host("device");
    for life in 0..LIVES {
        device.set_failing_syncs(if life % 2 == 1 { 50_000 } else { 0 });
        let note = Rc::clone(&sure);
        let program = device.start(move || live(level, &note));
        drop(program.expect("a fiber"));
        let _ = sleep(Duration::from_millis(500 + u64::from(draw(1_500))));
        crash(&device);
    }
    assert!(!sure.borrow().is_empty());
}

fn check(test: &str, level: Level, crash: impl Fn(&sim::Host) + Copy + 'static) {
    many::check(test, 60, &Expected::default(), |builder| {
        builder.run(move |world| {
            lives(world, level, crash);
            Counts::new()
        })
    });
}

#[test]
fn what_was_synced_outlives_power_cuts() {
    let test = "store::what_was_synced_outlives_power_cuts";
    check(test, Level::Synced, |host| host.power_cut());
}

#[test]
fn what_was_written_outlives_the_program() {
    let test = "store::what_was_written_outlives_the_program";
    check(test, Level::Flushed, |host| host.kill());
}
