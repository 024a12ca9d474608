//! Measures how long it takes to open a store of many messages, and how much memory that takes.
//!
//! `cargo run --release -p mqtt --example store_open -- 100000`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]
#![allow(clippy::print_stdout, reason = "it tells what it measured")]

use fiber::Instant;
use mqtt::QoS;
use mqtt::store::{
    File, Identity, Level, MessageRecord, Mode, Record, Refused, Store, StoreOptions,
};

fn options() -> StoreOptions {
    let identity = Identity {
        client_id: "meter-17".to_owned(),
        endpoint: "mqtt://localhost".to_owned(),
        protocol_level: 4,
        mode: Mode::Kept,
    };
    StoreOptions::new(identity, Level::Flushed)
        .messages_max(usize::MAX)
        .bytes_max(1 << 40)
}

fn memory_kib() -> u64 {
    let text = fiber::fs::read("/proc/self/statm").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * 4_u64
}

fn main_fiber(messages: usize) {
    let folder = std::env::temp_dir().join(format!("store-open-{}", std::process::id()));
    let store = File::open(&folder, options()).unwrap();
    for _ in 0..messages {
        let message = MessageRecord {
            key: None,
            qos: QoS::AtLeastOnce,
            retain: false,
            published: 0,
            expires: 0,
            topic: "site/4/meter",
            payload: &[7; 256],
        };
        while let Err(Refused::Pending { .. }) = store.append(&Record::Publish(message)) {
            store.commit().unwrap();
        }
    }
    while store.durable() < store.appended() {
        store.commit().unwrap();
    }
    let bytes = store.disk_bytes();
    drop(store);

    let (memory, start) = (memory_kib(), Instant::now());
    let store = File::open(&folder, options()).unwrap();
    let (took, more) = (start.elapsed(), memory_kib().saturating_sub(memory));
    assert_eq!(store.recovered().queued.len(), messages);
    println!("opened {messages} messages, {bytes} bytes, in {took:?} with {more} KiB more");
    drop(store);
    for name in fiber::fs::list(&folder).unwrap() {
        fiber::fs::remove(folder.join(name)).unwrap();
    }
    fiber::fs::remove_dir(&folder).unwrap();
}

fn main() {
    let messages = std::env::args()
        .nth(1)
        .map(|number| number.parse().unwrap());
    fiber::run(move || main_fiber(messages.unwrap_or(100_000))).unwrap();
}
