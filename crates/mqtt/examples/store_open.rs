//! Measures how long it takes to open a store of many messages, and a client with it, and how much
//! memory that takes: in a process of its own, which does nothing else.
//!
//! `cargo run --release -p mqtt --example store_open -- 100000`, or `100000 keys` for messages with keys

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]
#![allow(clippy::print_stdout, reason = "it tells what it measured")]

use std::path::{Path, PathBuf};
use std::process::Command;

use fiber::Instant;
use mqtt::packet::ClientId;
use mqtt::store::{
    File, Identity, Key, Level, MessageRecord, Mode, Record, Refused, Store, StoreOptions, StorePos,
};
use mqtt::{Client, ClientOptions, QoS};

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

/// What the process has of the machine's memory in KiB: now, or at most so far.
fn memory_kib(name: &str) -> u64 {
    let text = fiber::fs::read("/proc/self/status").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.and_then(|line| line.split_whitespace().next());
    digits.and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn fill(folder: &Path, messages: usize, has_keys: bool) {
    let store = File::open(folder, options()).unwrap();
    for number in 0..messages {
        let key = has_keys.then(|| Key::new(format!("{number:x}")).unwrap());
        let message = MessageRecord {
            key,
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
}

fn open(folder: &Path) {
    let (before, start) = (memory_kib("VmRSS:"), Instant::now());
    let store = File::open(folder, options()).unwrap();
    let told = |what, start: Instant| {
        let took = start.elapsed();
        let most = memory_kib("VmHWM:").saturating_sub(before);
        println!("{what} in {took:?} with at most {most} KiB more");
    };
    told("opened", start);
    let start = Instant::now();
    let options = ClientOptions::new(ClientId::new("meter-17").unwrap());
    let dial = || {
        let refused = std::io::ErrorKind::ConnectionRefused.into();
        Err(safe_rt::Error::new(
            safe_rt::Phase::Connect,
            "nowhere",
            refused,
        ))
    };
    let client = Client::open_by(dial, options.store(store.clone())).unwrap();
    told("and a client with it", start);
    let messages = store.queued(StorePos::default(), usize::MAX).len();
    println!("{messages} messages, {} bytes", store.disk_bytes());
    drop(client);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_else(|| "100000".to_owned());
    let second = arguments.next();
    if first == "open" {
        let folder = PathBuf::from(second.unwrap());
        return fiber::run(move || open(&folder)).unwrap();
    }
    let (messages, has_keys) = (first.parse().unwrap(), second.is_some());
    let folder = std::env::temp_dir().join(format!("store-open-{}", std::process::id()));
    let filled = folder.clone();
    fiber::run(move || fill(&filled, messages, has_keys)).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    let opened = program.arg("open").arg(&folder).status();
    fiber::run(move || {
        for name in fiber::fs::list(&folder).unwrap() {
            fiber::fs::remove(folder.join(name)).unwrap();
        }
        fiber::fs::remove_dir(&folder).unwrap();
    })
    .unwrap();
    assert!(opened.unwrap().success());
}
