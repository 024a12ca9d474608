use std::collections::BTreeMap;

use super::*;

const KEY: TicketKey = TicketKey(7);
const DONE: Option<Completed> = Some(done(KEY));
const ALL_SENT: LogOffset = LogOffset(u64::MAX);

const fn done(key: TicketKey) -> Completed {
    Completed {
        key,
        maybe_twice: false,
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// Enters a publish of `len` bytes at `start` and returns its identifier.
fn publish(table: &mut InFlight, start: u64, len: usize) -> PacketId {
    let packet_id = table.free_id();
    table.insert(packet_id, Exchange::AtLeastOnce, LogOffset(start), len, KEY);
    packet_id
}

#[test]
fn identifiers_go_round_and_skip_those_in_use() {
    let mut table = InFlight::new();
    let stuck = publish(&mut table, 0, 10);
    assert_eq!(stuck, id(1));
    for round in 0..3_u32 {
        for number in 2..=u16::MAX {
            // Slots are shared by identifiers: those that lead to the slot in use are skipped too.
            if number & 15 == 1 {
                continue;
            }
            let packet_id = publish(&mut table, 10, 10);
            assert_eq!(packet_id, id(number), "round {round}");
            assert_eq!(table.complete_publish(packet_id, ALL_SENT), DONE);
        }
    }
    assert_eq!(table.slots.len(), SLOTS_MIN);
}

#[test]
fn the_window_and_all_requests_leave_identifiers_free() {
    let window = usize::from(super::super::WINDOW_MAX);
    let mut table = InFlight::new();
    let mut seen = vec![false; 1 << 16];
    for n in 0..window + super::super::REQUESTS_AHEAD_MAX {
        let packet_id = table.free_id();
        assert!(!std::mem::replace(
            &mut seen[usize::from(packet_id.get())],
            true
        ));
        let exchange = if n < window {
            Exchange::AtLeastOnce
        } else {
            Exchange::Unsubscribe
        };
        table.insert(packet_id, exchange, LogOffset(n as u64), 1, KEY);
    }
    assert_eq!((table.len(), table.slots.len()), (65_535, SLOTS_MAX));
    assert_eq!(table.complete_publish(id(40_000), ALL_SENT), DONE);
    assert_eq!(table.free_id(), id(40_000));
}

#[test]
fn an_acknowledgement_is_good_once_and_for_its_own_kind() {
    let mut table = InFlight::new();
    let message = publish(&mut table, 0, 10);
    let subscribe = table.free_id();
    table.insert(
        subscribe,
        Exchange::Subscribe { filters: 3 },
        LogOffset(10),
        5,
        TicketKey(8),
    );
    let unsubscribe = table.free_id();
    table.insert(
        unsubscribe,
        Exchange::Unsubscribe,
        LogOffset(15),
        5,
        TicketKey(9),
    );
    assert_eq!(
        (table.publishes(), table.requests(), table.publish_bytes()),
        (1, 2, 10)
    );

    for other in [subscribe, unsubscribe, id(4), id(17), id(u16::MAX)] {
        assert_eq!(table.complete_publish(other, ALL_SENT), None, "{other}");
    }
    assert_eq!(table.request(message, ALL_SENT), None);
    assert_eq!(table.complete_request(message), None);
    assert_eq!(
        table.request(subscribe, ALL_SENT),
        Some(Exchange::Subscribe { filters: 3 })
    );
    assert_eq!(
        table.request(unsubscribe, ALL_SENT),
        Some(Exchange::Unsubscribe)
    );

    assert_eq!(table.complete_publish(message, ALL_SENT), DONE);
    assert_eq!(table.complete_publish(message, ALL_SENT), None);
    assert_eq!(table.complete_request(subscribe), Some(TicketKey(8)));
    assert_eq!(table.complete_request(subscribe), None);
    assert_eq!(table.complete_request(unsubscribe), Some(TicketKey(9)));
    assert_eq!(
        (table.publishes(), table.requests(), table.publish_bytes()),
        (0, 0, 0)
    );
}

#[test]
fn nothing_acknowledges_what_was_not_sent_whole() {
    let mut table = InFlight::new();
    let message = publish(&mut table, 100, 10);
    assert_eq!(table.complete_publish(message, LogOffset(109)), None);
    let request = table.free_id();
    table.insert(request, Exchange::Unsubscribe, LogOffset(110), 10, KEY);
    assert_eq!(table.request(request, LogOffset(119)), None);
    assert_eq!(
        table.request(request, LogOffset(120)),
        Some(Exchange::Unsubscribe)
    );
    assert_eq!(table.complete_publish(message, LogOffset(110)), DONE);
}

#[test]
fn the_oldest_publish_is_always_a_live_one() {
    let mut table = InFlight::new();
    assert_eq!(table.oldest(), None);
    let ids: Vec<_> = (0..5).map(|n| publish(&mut table, n * 10, 10)).collect();
    table.complete_publish(ids[1], ALL_SENT);
    table.complete_publish(ids[2], ALL_SENT);
    assert_eq!(table.oldest(), Some(LogOffset(0)));
    table.complete_publish(ids[0], ALL_SENT);
    assert_eq!(table.oldest(), Some(LogOffset(30)));
    assert_eq!(table.publishes_from(LogOffset(31)), 1);
    assert_eq!(table.publishes_from(LogOffset(30)), 2);
    table.complete_publish(ids[4], ALL_SENT);
    table.complete_publish(ids[3], ALL_SENT);
    assert_eq!(table.oldest(), None);
}

#[test]
fn one_lost_acknowledgement_does_not_make_the_order_grow() {
    let mut table = InFlight::new();
    let stuck = publish(&mut table, 0, 10);
    let mut window = VecDeque::new();
    for n in 1..100_000_u64 {
        window.push_back(publish(&mut table, n * 10, 10));
        if window.len() == 100 {
            table
                .complete_publish(window.pop_front().unwrap(), ALL_SENT)
                .unwrap();
        }
    }
    assert_eq!(table.oldest(), Some(LogOffset(0)));
    assert!(table.order.capacity() <= 512, "{}", table.order.capacity());
    assert_eq!(table.slots.len(), 256);
    assert_eq!(table.complete_publish(stuck, ALL_SENT), DONE);
    assert!(table.oldest() > Some(LogOffset(0)));
}

#[test]
fn a_steady_window_needs_no_more_memory() {
    let mut table = InFlight::new();
    let mut window = VecDeque::new();
    let mut sizes = Vec::new();
    for n in 0..70_000_u64 {
        window.push_back(publish(&mut table, n, 1));
        if window.len() == 100 {
            table
                .complete_publish(window.pop_front().unwrap(), ALL_SENT)
                .unwrap();
        }
        if n % 10_000 == 1_000 {
            sizes.push((table.slots.capacity(), table.order.capacity()));
        }
    }
    sizes.dedup();
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}

#[test]
fn growing_keeps_every_entry() {
    let mut table = InFlight::new();
    let mut model = BTreeMap::new();
    for n in 0..5_000_u32 {
        let packet_id = table.free_id();
        let key = TicketKey(n);
        table.insert(
            packet_id,
            Exchange::AtLeastOnce,
            LogOffset(n.into()),
            1,
            key,
        );
        assert_eq!(model.insert(packet_id, key), None);
        assert!(table.slots.len() >= 2 * table.len());
    }
    for (packet_id, key) in model {
        assert_eq!(table.complete_publish(packet_id, ALL_SENT), Some(done(key)));
    }
}

#[test]
fn a_dead_entry_is_not_taken_for_a_later_use_of_its_identifier() {
    let mut table = InFlight::new();
    let many = 40_000;
    let ids: Vec<_> = (0..many).map(|n| publish(&mut table, n, 1)).collect();
    for packet_id in &ids[1..] {
        table.complete_publish(*packet_id, ALL_SENT).unwrap();
    }
    // Behind the first publish the order is dead, and long enough for all identifiers to come round.
    let mut start = many;
    while publish(&mut table, start, 1) != ids[1] {
        start += 1;
        table.complete_publish(id(start as u16), ALL_SENT).unwrap();
    }
    assert!(table.order.len() > usize::from(u16::MAX));
    table.complete_publish(ids[0], ALL_SENT).unwrap();
    assert_eq!(table.oldest(), Some(LogOffset(start)));
}

#[test]
fn compaction_moves_live_publishes_together_and_tells_the_table() {
    let mut log = OutboundLog::default();
    let mut table = InFlight::new();
    let mut ids = Vec::new();
    for byte in b'a'..=b'f' {
        let start = log.tail();
        log.reserve(4).unwrap().fill(byte);
        ids.push(publish(&mut table, start.0, 4));
        log.reserve(3).unwrap().fill(b'-');
    }
    // a, c and e are gone; f was not sent.
    for n in [2, 4, 0] {
        table.complete_publish(ids[n], ALL_SENT);
    }
    let cut = LogOffset(35);
    table.compact(&mut log, cut);
    assert_eq!(log.from(log.head()), b"bbbbddddffff---");
    assert_eq!(log.head(), LogOffset(27));
    assert_eq!(table.oldest(), Some(LogOffset(27)));
    assert_eq!(table.order.len(), 3);

    assert_eq!(table.complete_publish(ids[1], cut), DONE);
    assert_eq!(table.oldest(), Some(LogOffset(31)));
    let tail = log.tail();
    table.compact(&mut log, tail);
    assert_eq!(log.from(log.head()), b"ddddffff");
    assert_eq!(table.complete_publish(ids[3], tail), DONE);
    assert_eq!(table.complete_publish(ids[5], tail), DONE);
    table.compact(&mut log, tail);
    assert!(log.is_empty());
}
