//! A flood of messages for a handler that never returns: it costs nobody else anything, and what it
//! costs in memory is bounded.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use fiber::net::PipeStream;
use mqtt::packet::PacketRef;
use mqtt::{
    Client, ClientStats, INBOUND_BYTES_DEFAULT, Publish, QOS_0_QUEUE_BYTES_MAX, QOS_0_QUEUE_MAX,
    QUEUED_OVERHEAD, QoS, Version, Wait,
};

use crate::harness::{
    answer_subscribe, expect_disconnect, options, play_connected, play_open, qos_0, qos_1,
};

const SENT: usize = 100_000;
const BATCH: usize = 100;
const BATCHES: usize = SENT / BATCH;
/// Between two batches, so that all of them take 120 s.
const PAUSE: Duration = Duration::from_millis(120);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often the client publishes meanwhile: the keep-alive passes in between.
const PUBLISHES: u32 = 8;

/// What `docs/limits.md` says of a message in a queue, beside topic and payload.
const QUEUED_MESSAGE_COST: usize = 256;
/// Four spare buffers, two that messages keep and the one that is read into, of 64 KiB each.
const BUFFERS: usize = 7 * 64 * 1024;
/// The log of unacknowledged packets, the fibers' records, what the broker's side of the test needs.
const OTHERS: usize = 64 * 1024;

fn bytes_of(packet: &PacketRef<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len(Version::V311)];
    packet.encode(Version::V311, &mut bytes);
    bytes
}

/// Answers what the client has sent, PINGREQ or PUBLISH to `m`; returns how many of each.
#[track_caller]
fn answer(stream: &PipeStream) -> (u32, u32) {
    let (mut pings, mut publishes) = (0, 0);
    let mut buffer = [0; 64];
    let Some(n) = stream.try_read(&mut buffer).unwrap() else {
        return (0, 0);
    };
    let mut rest = &buffer[..n];
    loop {
        rest = match rest {
            [] => return (pings, publishes),
            [0xc0, 0, rest @ ..] => {
                pings += 1;
                assert_eq!(stream.try_write(&[0xd0, 0]).unwrap(), Some(2));
                rest
            }
            [0x32, 5, 0, 1, b'm', high, low, rest @ ..] => {
                publishes += 1;
                let puback = [0x40, 2, *high, *low];
                assert_eq!(stream.try_write(&puback).unwrap(), Some(4));
                rest
            }
            other => panic!("expected PINGREQ or PUBLISH, found {other:?}"),
        }
    }
}

/// Floods a client and returns what it says of itself while the handler is parked, and the most
/// bytes of memory that it needed at once.
fn flood(payload_len: usize) -> (ClientStats, usize) {
    let result = Rc::new(Cell::new(None));
    let report = Rc::clone(&result);
    play_connected(
        options().keep_alive(KEEP_ALIVE),
        move |broker| {
            answer_subscribe(broker, &[]);
            answer_subscribe(broker, &[]);
            let slow = bytes_of(&qos_0("slow", &vec![b'x'; payload_len])).repeat(BATCH);
            fiber::sleep(PAUSE).unwrap();
            let (mut pings, mut publishes) = (0, 0);
            for number in 0..BATCHES {
                broker.send_bytes(&slow);
                let fast = [b"\x30\x0a\x00\x04fast", &(number as u32).to_be_bytes()[..]];
                broker.send_bytes(fast[0]);
                broker.send_bytes(fast[1]);
                fiber::sleep(PAUSE).unwrap();
                let (more_pings, more_publishes) = answer(broker.stream());
                pings += more_pings;
                publishes += more_publishes;
            }
            assert_eq!(publishes, PUBLISHES);
            assert!(pings >= PUBLISHES, "{pings} pings");
            expect_disconnect(broker);
        },
        move |client| report.set(Some(receive(client))),
    );
    result.take().unwrap()
}

/// The client's side of [`flood`].
fn receive(client: &Client) -> (ClientStats, usize) {
    let parked = fiber::Event::new();
    let (gate, handled) = (parked.clone(), Rc::new(Cell::new(0)));
    let counter = Rc::clone(&handled);
    let wait = move |_: &_, _: &_| {
        gate.wait()?;
        counter.set(counter.get() + 1);
        Ok(())
    };
    client.subscribe("slow", QoS::AtMostOnce, wait).unwrap();
    let fast = Rc::new(RefCell::new(Vec::with_capacity(BATCHES)));
    let log = Rc::clone(&fast);
    let note = move |_: &_, message: &mqtt::Message| {
        log.borrow_mut()
            .push(u32::from_be_bytes(message.data[..].try_into()?));
        Ok(())
    };
    client.subscribe("fast", QoS::AtMostOnce, note).unwrap();
    let memory = allocation_counter::measure(|| {
        for _ in 0..PUBLISHES {
            fiber::sleep(KEEP_ALIVE + Duration::from_secs(2)).unwrap();
            let publish = Publish::to("m", "").qos(QoS::AtLeastOnce);
            client.publish(publish.wait(Wait::Ack)).unwrap();
        }
        while fast.borrow().len() < BATCHES {
            fiber::sleep(Duration::from_secs(1)).unwrap();
        }
    });
    // Each of the other handler's messages came, in order, though none of the flood was handled.
    assert!(fast.borrow().iter().copied().eq(0..BATCHES as u32));
    assert_eq!(handled.get(), 0);
    let stats = client.stats();
    parked.set();
    fiber::sleep(Duration::from_millis(1)).unwrap();
    assert_eq!(handled.get() as u64 + stats.dropped, SENT as u64);
    assert_eq!(client.stats(), stats);
    (stats, usize::try_from(memory.bytes_max).unwrap())
}

#[test]
fn messages_that_pile_up_from_one_connection_to_the_next_are_bounded() {
    const CONNECTIONS: u64 = 17;
    const MESSAGES: u16 = 1_000;
    let all_sent = Rc::new(Cell::new(false));
    let sent = Rc::clone(&all_sent);
    play_open(
        options().keep_alive(Duration::ZERO),
        move |links| {
            for number in 0..CONNECTIONS {
                let mut broker = links.accept(false);
                answer_subscribe(&mut broker, &[]);
                let all = (1..=MESSAGES).map(|number| bytes_of(&qos_1("a", b"", number)));
                broker.send_bytes(&all.collect::<Vec<_>>().concat());
                fiber::sleep(Duration::from_secs(1)).unwrap();
                if number + 1 == CONNECTIONS {
                    // Here the client stops to read for want of room, then leaves.
                    broker.expect_end();
                }
            }
            sent.set(true);
        },
        move |client| {
            let stuck = |_: &Client, _: &_| {
                fiber::sleep(Duration::from_secs(1_000_000))?;
                Ok(())
            };
            client.subscribe("a", QoS::AtLeastOnce, stuck).unwrap();
            while !all_sent.get() {
                fiber::sleep(Duration::from_secs(60)).unwrap();
            }
            // What is being handled does not count.
            let held = INBOUND_BYTES_DEFAULT / (1 + QUEUED_OVERHEAD) + 1;
            assert_eq!(client.stats().received, held as u64);
        },
    );
}

#[test]
fn a_parked_handler_costs_bounded_memory_and_exactly_the_messages_that_are_counted() {
    for payload_len in [0, 16, 1_000, 4_000] {
        let (stats, bytes_max) = flood(payload_len);
        let len = "slow".len() + payload_len;
        let queued = QOS_0_QUEUE_MAX.min(QOS_0_QUEUE_BYTES_MAX / len);
        // One more is in the handler's hands.
        assert_eq!(stats.dropped, (SENT - queued - 1) as u64);
        assert_eq!(stats.received, (SENT + BATCHES) as u64);
        let bound = queued * (len + QUEUED_MESSAGE_COST) + BUFFERS + OTHERS;
        assert!(bytes_max <= bound, "{bytes_max} of {bound}");
    }
}
