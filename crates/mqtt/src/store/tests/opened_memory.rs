//! How much memory it takes to open a store of many messages, and a client with it.

use std::collections::VecDeque;

use fiber::Runtime;

use super::*;
use crate::client::{Client, ClientOptions};
use crate::packet::ClientId;

/// As many as a store takes by default.
const MESSAGES: usize = STORED_MESSAGES_DEFAULT;

/// What opening may take at any time, and what is kept of it.
const OPENED_BYTES_MAX: usize = 8 * 1024 * 1024;

fn roomy() -> StoreOptions {
    options(Level::Synced)
        .messages_max(usize::MAX)
        .bytes_max(1 << 40)
}

fn append(store: &File, record: &Record<'_>) -> StorePos {
    loop {
        match store.append(record) {
            Ok(pos) => return pos,
            Err(Refused::Pending { .. }) => store.commit().unwrap(),
            Err(refused) => panic!("{refused}"),
        }
    }
}

fn commit_everything(store: &File) {
    while store.durable() < store.appended() {
        store.commit().unwrap();
    }
}

/// What memory opening took, in bytes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// At any time.
    most: usize,
    /// By the store, then by the client beside it.
    kept: [usize; 2],
}

/// Opens a store of the machine, and a client with it.
fn opened(machine: &Machine) -> Taken {
    let machine = machine.after_kill();
    let main = move || {
        let mut store = None;
        let opening = allocation_counter::measure(|| store = Some(open(&machine, &roomy())));
        let store = store.unwrap();
        assert_eq!(reports(&store), []);
        let mut client = None;
        let connecting = allocation_counter::measure(|| {
            let options = ClientOptions::new(ClientId::new("meter-17").unwrap());
            let dial = || {
                let refused = io::ErrorKind::ConnectionRefused.into();
                Err(safe_rt::Error::new(
                    safe_rt::Phase::Connect,
                    "broker",
                    refused,
                ))
            };
            client = Some(Client::open_by(dial, options.store(store.clone())).unwrap());
            fiber::sleep(std::time::Duration::from_secs(5)).unwrap();
        });
        let client = client.unwrap();
        assert_eq!(client.stored().len(), MESSAGES);
        // All of them wait in the client, or are in flight.
        let remaining = client.close(std::time::Duration::ZERO).unwrap();
        assert_eq!(remaining.unacknowledged, MESSAGES);
        let kept = [opening, connecting].map(|it| usize::try_from(it.bytes_current).unwrap());
        let [opening, connecting] =
            [opening, connecting].map(|it| usize::try_from(it.bytes_max).unwrap());
        let most = opening.max(kept[0] + connecting);
        Taken { most, kept }
    };
    Runtime::builder().paused_clock(true).run(main).unwrap()
}

fn machine_with(mut each: impl FnMut(&File, usize, MessageRecord<'_>)) -> Machine {
    let machine = Machine::default();
    let store = open(&machine, &roomy());
    for number in 0..MESSAGES {
        each(&store, number, message("site/4/meter", &[7; 64]));
    }
    commit_everything(&store);
    machine
}

#[test]
fn messages_take_hardly_more_than_where_they_lie() {
    let machine = machine_with(|store, _, message| {
        append(store, &Record::Publish(message));
    });
    let taken = opened(&machine);
    assert!(taken.most <= OPENED_BYTES_MAX / 2, "{taken:?}");
    // The tables, and a bit of what they hang on and of what a client has without them.
    let each = taken.kept.map(|bytes| bytes / MESSAGES);
    assert!(each[0] <= 28 && each[1] <= 16, "{each:?}");
}

#[test]
fn messages_that_expire_take_no_more_than_the_bound() {
    let machine = machine_with(|store, number, mut message| {
        // In no order.
        message.expires = u64::MAX / 2 + (number * 7_919 % MESSAGES) as u64;
        append(store, &Record::Publish(message));
    });
    let taken = opened(&machine);
    assert!(taken.most <= OPENED_BYTES_MAX, "{taken:?}");
}

#[test]
fn messages_with_keys_take_no_more_than_the_bound() {
    let machine = machine_with(|store, number, mut message| {
        message.key = Key::new(format!("k{number}")).ok();
        append(store, &Record::Publish(message));
    });
    let taken = opened(&machine);
    assert!(taken.most <= OPENED_BYTES_MAX, "{taken:?}");
}

#[test]
fn messages_with_keys_that_expire_take_half_as_much_again() {
    let machine = machine_with(|store, number, mut message| {
        message.expires = u64::MAX / 2 + number as u64;
        message.key = Key::new(format!("k{number}")).ok();
        append(store, &Record::Publish(message));
    });
    let taken = opened(&machine);
    assert!(taken.most <= OPENED_BYTES_MAX * 3 / 2, "{taken:?}");
}

#[test]
fn what_ended_takes_no_memory_and_what_is_in_flight_is_a_window() {
    let mut ending = VecDeque::new();
    let machine = machine_with(|store, number, message| {
        let message = append(store, &Record::Publish(message));
        if number < 50 {
            let packet_id = id(number as u16 + 1);
            append(store, &Record::Assigned { message, packet_id });
        }
        // As many again come and go; what goes at once would never be written.
        ending.push_back(append(store, &Record::Publish(super::message("t", b"x"))));
        let is_last = number + 1 == MESSAGES;
        while ending.len() > if is_last { 0 } else { 2_000 } {
            ending.pop_front().map(|message| done(store, message));
        }
        if number % 1_000 == 0 {
            store.commit().unwrap();
        }
    });
    let taken = opened(&machine);
    assert!(taken.most <= OPENED_BYTES_MAX, "{taken:?}");
}
