//! Tests of the store. The disk of the tests keeps what was synced, and of the rest what a seed says.
//!
//! Fuzzers use this disk, too: it is there in a build for them.

#![cfg_attr(not(test), expect(dead_code, reason = "fuzzers need a part"))]
#![allow(clippy::unwrap_used, reason = "these are tests")]

#[cfg(test)]
mod cleaning;
#[cfg(test)]
mod compacting;
#[cfg(test)]
mod cuts;
mod disk;
#[cfg(test)]
mod faults;
pub(crate) mod fuzzed;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod indexing;
mod model;
#[cfg(all(test, feature = "store"))]
mod opened_memory;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod power;
#[cfg(test)]
mod records;
#[cfg(test)]
mod room;
#[cfg(test)]
mod troubles;
#[cfg(test)]
mod waiting;

use std::path::PathBuf;
use std::rc::Rc;

use super::*;
use crate::packet::{PacketId, QoS};
use disk::Machine;

/// A small generator of numbers (splitmix64), so that a failing seed can be run again.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound.max(1) as u64) as usize
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn identity(client_id: &str) -> Identity {
    Identity {
        client_id: client_id.to_owned(),
        endpoint: "mqtt://broker".to_owned(),
        protocol_level: 4,
        mode: Mode::Kept,
    }
}

fn options(level: Level) -> StoreOptions {
    StoreOptions::new(identity("meter-17"), level).reserve_bytes(2_000)
}

fn folder() -> PathBuf {
    PathBuf::from("/store")
}

#[track_caller]
fn open(machine: &Machine, options: &StoreOptions) -> File {
    File::open_on(Rc::new(machine.clone()), folder(), options.clone()).unwrap()
}

fn reports(store: &File) -> Vec<Report> {
    std::iter::from_fn(|| store.next_report()).collect()
}

fn message<'a>(topic: &'a str, payload: &'a [u8]) -> MessageRecord<'a> {
    MessageRecord {
        key: None,
        qos: QoS::AtLeastOnce,
        retain: false,
        published: 0,
        expires: 0,
        topic,
        payload,
    }
}

#[track_caller]
fn publish(store: &dyn Store, payload: &[u8]) -> StorePos {
    store
        .append(&Record::Publish(message("t", payload)))
        .unwrap()
}

#[track_caller]
fn publish_with_key(store: &dyn Store, key: &str) -> StorePos {
    let mut message = message("t", b"x");
    message.key = Some(Key::new(key).unwrap());
    store.append(&Record::Publish(message)).unwrap()
}

const ACKED: DoneCause = DoneCause::Acked { maybe_twice: false };

fn done(store: &dyn Store, message: StorePos) -> StorePos {
    let (cause, key) = (ACKED, None);
    let done = Record::Done {
        message,
        cause,
        key,
    };
    store.append(&done).unwrap()
}

/// Commits until everything that can be is durable.
#[track_caller]
fn commit_all(store: &File) {
    for _ in 0..100 {
        store.commit().unwrap();
        if store.durable() == store.appended() {
            return;
        }
    }
    panic!("there is no end to it");
}

fn payloads(store: &dyn Store) -> Vec<Vec<u8>> {
    let queued = store.recovered().queued;
    let read = |stored: &Stored| store.read(stored.pos).unwrap().unwrap().payload;
    queued.iter().map(read).collect()
}
