//! The embedded broker: the faults bite, and exactly.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use mqtt::packet::{ConnAck, PacketRef, PacketType};
use mqtt::{Broker, BrokerOptions, ConnectReason, DropAcks, Faults, QoS};

use crate::broker_harness::{
    attach, connect, delivery, expect_nothing, expect_publish, fields, puback, pubcomp, pubrec,
    pubrel, resume, run, run_with, send, send_connect, send_subscribe, subscribe,
};

const Q1: QoS = QoS::AtLeastOnce;
const MS: Duration = Duration::from_millis(1);

#[track_caller]
fn set(broker: &Broker, faults: Faults) {
    assert_eq!(broker.set_faults("a", faults), Ok(()));
    assert_eq!(broker.faults("a"), faults);
}

#[test]
fn the_next_acks_are_dropped_and_no_more() {
    run(|broker| {
        let mut peer = connect(broker, "a");
        let mut other = connect(broker, "b");
        let drop_acks = DropAcks::Next(3);
        set(
            broker,
            Faults {
                drop_acks,
                ..Faults::default()
            },
        );
        let all = broker.subscribe("#").unwrap();
        send(&mut peer, "t", "1", delivery(1, 1), false);
        send(&mut peer, "t", "2", delivery(2, 2), false);
        send_subscribe(&mut peer, &[("t", Q1)]);
        // What is no acknowledgement comes, and what is acknowledged took effect.
        expect_nothing(&mut peer);
        assert_eq!(broker.faults("a"), Faults::default());
        assert_eq!(all.recv().unwrap().payload(), b"1");
        assert_eq!(all.recv().unwrap().payload(), b"2");
        peer.send(&pubrel(2));
        peer.expect(&pubcomp(2));
        broker.publish("t", "3", Q1, false).unwrap();
        expect_publish(&mut peer, "t=3 q1");
        send(&mut other, "x", "1", delivery(1, 1), false);
        other.expect(&puback(1));
    });
}

#[test]
fn all_acks_are_dropped_until_that_is_over() {
    run(|broker| {
        let drop_acks = DropAcks::All;
        let faults = Faults {
            drop_acks,
            ..Faults::default()
        };
        set(broker, faults);
        let mut peer = connect(broker, "a");
        for number in 1..5 {
            send(&mut peer, "t", "1", delivery(1, number), false);
            peer.send(&pubrel(number));
        }
        expect_nothing(&mut peer);
        assert_eq!(broker.faults("a"), faults);
        set(broker, Faults::default());
        send(&mut peer, "t", "1", delivery(2, 9), false);
        peer.expect(&pubrec(9));
    });
}

#[test]
fn every_packet_is_held_for_the_delay_and_none_overtakes() {
    run(|broker| {
        let delay = Duration::from_secs(3);
        let faults = Faults {
            delay,
            ..Faults::default()
        };
        set(broker, faults);
        let mut peer = attach(broker);
        send_connect(&mut peer, fields("a", true));
        peer.expect_silence(delay - MS);
        let start = fiber::Instant::now();
        peer.expect(&PacketRef::ConnAck(ConnAck::accepted(false)));
        assert_eq!(start.elapsed(), MS);
        peer.send(&PacketRef::PingReq);
        peer.expect_silence(Duration::from_secs(2));
        // Shorter now, but behind the one before.
        set(broker, Faults::default());
        send(&mut peer, "t", "1", delivery(1, 1), false);
        peer.expect_silence(Duration::from_secs(1) - MS);
        peer.expect(&PacketRef::PingResp);
        peer.expect(&puback(1));
        assert_eq!(start.elapsed(), MS + delay);
    });
}

/// Reads to the end and returns how many bytes came.
#[track_caller]
fn bytes_to_the_end(mut stream: &fiber::net::PipeStream) -> usize {
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .expect("a pipe ends in order");
    bytes.len()
}

#[test]
fn the_connection_is_cut_at_each_byte_that_is_sent() {
    run(|broker| {
        // CONNACK has 4 bytes, PINGRESP 2.
        for at in 0..=6 {
            let faults = Faults {
                cut_after_sent: Some(at),
                ..Faults::default()
            };
            set(broker, faults);
            let mut peer = attach(broker);
            send_connect(&mut peer, fields("a", true));
            peer.send(&PacketRef::PingReq);
            assert_eq!(bytes_to_the_end(peer.stream()) as u64, at);
            assert_eq!(broker.faults("a"), Faults::default());
        }
        let mut peer = connect(broker, "a");
        expect_nothing(&mut peer);
        // At 6 bytes: now, at 5: too late for this one.
        let cut = |at| Faults {
            cut_after_sent: Some(at),
            ..Faults::default()
        };
        set(broker, cut(5));
        expect_nothing(&mut peer);
        set(broker, cut(8));
        peer.expect_end();
    });
}

#[test]
fn the_connection_is_cut_at_each_byte_that_is_received() {
    run(|broker| {
        let all = broker.subscribe("#").unwrap();
        // CONNECT has 15 bytes, the PUBLISH behind it 8.
        for (in_one_write, at) in (0..=26_u64)
            .map(|at| (true, at))
            .chain((15..=26).map(|at| (false, at)))
        {
            let faults = Faults {
                cut_after_received: Some(at),
                ..Faults::default()
            };
            set(broker, faults);
            let mut peer = attach(broker);
            send_connect(&mut peer, fields("a", true));
            if !in_one_write {
                fiber::sleep(MS).unwrap();
            }
            // The broker may be gone already.
            let rest = b"\x32\x06\x00\x01t\x00\x01x\x32\x06\x00\x01t\x00\x01y";
            let _ = std::io::Write::write(&mut peer.stream(), rest);
            let came = bytes_to_the_end(peer.stream());
            // Answers of the read that reaches the cut are not sent.
            let expected = if in_one_write || at == 15 { 0 } else { 4 };
            assert_eq!(came, expected, "at {at}");
            assert_eq!(broker.faults("a"), Faults::default());
            assert_eq!(all.try_recv().is_some(), at >= 23, "at {at}");
            assert!(all.try_recv().is_none(), "at {at}");
        }
        // Past it already: not this connection.
        let mut peer = connect(broker, "a");
        set(
            broker,
            Faults {
                cut_after_received: Some(14),
                ..Faults::default()
            },
        );
        expect_nothing(&mut peer);
    });
}

#[test]
fn a_cut_tells_which_byte_of_which_packet_it_hit() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&reports);
    let options = BrokerOptions::new().on_cut(move |client, report| {
        assert_eq!(client, "a");
        told.borrow_mut().push(*report);
    });
    run_with(options, move |broker| {
        assert_eq!(broker.handled_bytes("a"), None);
        // In the middle of CONNECT, which has 15 bytes, then in each place of a PUBLISH of 8.
        for at in [5].into_iter().chain(23..31) {
            let faults = Faults {
                cut_after_received: Some(at),
                ..Faults::default()
            };
            let mut peer = attach(broker);
            if at < 15 {
                set(broker, faults);
                send_connect(&mut peer, fields("a", true));
            } else {
                send_connect(&mut peer, fields("a", true));
                fiber::sleep(MS).unwrap();
                assert_eq!(broker.handled_bytes("a"), Some(15));
                let ping_and_part = b"\xC0\0\x32\x06\x00\x01t\x00";
                std::io::Write::write_all(&mut peer.stream(), ping_and_part).unwrap();
                fiber::sleep(MS).unwrap();
                // Of the PUBLISH six bytes have come, and it is not handled.
                assert_eq!(broker.handled_bytes("a"), Some(17));
                set(broker, faults);
                let rest = b"\x01x\x32\x06\x00\x01t\x00\x01x";
                let _ = std::io::Write::write(&mut peer.stream(), rest);
            }
            bytes_to_the_end(peer.stream());
            let report = reports.borrow_mut().pop().unwrap();
            assert!(reports.borrow().is_empty());
            assert_eq!(report.received, at);
            let inside = report.inside.map(|packet| {
                let packet_type = packet.packet_type.unwrap();
                (packet_type, packet.received, packet.len)
            });
            let expected = match at {
                5 => Some((PacketType::Connect, 5, Some(15))),
                // Behind a whole PUBLISH of 8 bytes.
                25 => None,
                23 | 24 => Some((PacketType::Publish, at as usize - 17, Some(8))),
                26 => Some((PacketType::Publish, 1, None)),
                _ => Some((PacketType::Publish, at as usize - 25, Some(8))),
            };
            assert_eq!(inside, expected, "at {at}");
            assert_eq!(broker.handled_bytes("a"), None);
        }
    });
}

#[test]
fn a_cut_keeps_the_session_and_publishes_the_will() {
    run(|broker| {
        let gone = broker.subscribe("will").unwrap();
        let fields = mqtt::packet::ConnectFields {
            will: crate::broker_harness::will("will", Q1, false),
            ..fields("a", false)
        };
        let (mut peer, _) = crate::broker_harness::connect_with(broker, fields);
        subscribe(&mut peer, &[("t", Q1)]);
        set(
            broker,
            Faults {
                cut_after_sent: Some(4 + 5 + 3),
                ..Faults::default()
            },
        );
        broker.publish("t", "1", Q1, false).unwrap();
        assert_eq!(bytes_to_the_end(peer.stream()), 3);
        assert_eq!(gone.recv().unwrap().payload(), b"gone");
        let (mut peer, present) = resume(broker, "a");
        assert!(present);
        expect_publish(&mut peer, "t=1 q1 dup");
    });
}

#[test]
fn a_client_is_refused_for_the_reason_asked_for() {
    run(|broker| {
        for code in 1..=5 {
            let reason = ConnectReason::from_code(code).unwrap();
            let faults = Faults {
                refuse: Some(reason),
                ..Faults::default()
            };
            set(broker, faults);
            for _ in 0..2 {
                let mut peer = attach(broker);
                send_connect(&mut peer, fields("a", true));
                peer.expect(&PacketRef::ConnAck(ConnAck::refused(reason)));
                peer.expect_end();
            }
        }
        connect(broker, "b");
        set(broker, Faults::default());
        connect(broker, "a");
    });
}

#[test]
fn a_half_open_connection_is_silent_and_stays() {
    run(|broker| {
        let all = broker.subscribe("#").unwrap();
        let half_open = Faults {
            half_open: true,
            ..Faults::default()
        };
        let keep_alive_secs = 10;
        let fields = mqtt::packet::ConnectFields {
            keep_alive_secs,
            ..fields("a", false)
        };
        let (mut peer, _) = crate::broker_harness::connect_with(broker, fields);
        subscribe(&mut peer, &[("t", Q1)]);
        set(broker, half_open);
        peer.send(&PacketRef::PingReq);
        send(&mut peer, "x", "1", delivery(1, 1), false);
        broker.publish("t", "2", Q1, false).unwrap();
        peer.expect_silence(Duration::from_secs(100));
        assert_eq!(all.try_recv().unwrap().payload(), b"2");
        assert!(all.try_recv().is_none());
        // Lifted, it goes on where it was.
        set(broker, Faults::default());
        expect_publish(&mut peer, "t=2 q1");
        peer.expect(&PacketRef::PingResp);
        peer.expect(&puback(1));
        // From the start: CONNECT is read and not answered.
        set(broker, half_open);
        let mut next = attach(broker);
        send_connect(&mut next, fields_of_a());
        peer.expect_end();
        next.expect_silence(Duration::from_secs(100));
        // The next connection takes over even so.
        set(broker, Faults::default());
        next.expect(&PacketRef::ConnAck(ConnAck::accepted(true)));
        set(broker, half_open);
        let mut last = attach(broker);
        send_connect(&mut last, fields_of_a());
        expect_publish(&mut next, "t=2 q1 dup");
        next.expect_end();
        broker.stop();
        last.expect_end();
    });
}

fn fields_of_a() -> mqtt::packet::ConnectFields<'static> {
    fields("a", false)
}
