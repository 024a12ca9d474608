//! The embedded broker: how connections begin and end.

use std::time::Duration;

use mqtt::packet::{ConnAck, ConnectFields, Disconnect, PacketRef, SubAck, UnsubAck};
use mqtt::{BROKER_CONNECT_TIMEOUT, BrokerOptions, ConnectReason, QoS, SubscribeReason, Version};

use crate::broker_harness::{
    attach, connect, connect_with, delivery, disconnect, expect_nothing, expect_publish, fields,
    id, puback, resume, run, run_with, send, send_connect, subscribe, will,
};

const AT_LEAST_ONCE: QoS = QoS::AtLeastOnce;

#[test]
fn a_violation_ends_its_connection_and_no_other() {
    run(|broker| {
        let mut witness = connect(broker, "witness");
        for first in [
            &b"\xc0\x00"[..],
            b"GET / HTTP/1.1\r\n",
            b"\x30\x03\x00\x01a",
        ] {
            let mut peer = attach(broker);
            peer.send_bytes(first);
            peer.expect_end();
        }
        let reasons = [SubscribeReason::Failure];
        let suback = SubAck::new(Version::V311, id(1), &reasons).unwrap();
        let servers = [
            PacketRef::ConnAck(ConnAck::accepted(false)),
            PacketRef::SubAck(suback),
            PacketRef::UnsubAck(UnsubAck::new(id(1))),
            PacketRef::PingResp,
        ];
        for packet in &servers {
            let mut peer = connect(broker, "bad");
            peer.send(packet);
            peer.expect_end();
        }
        let mut twice = connect(broker, "bad");
        send_connect(&mut twice, fields("bad", true));
        twice.expect_end();
        let bad = [
            &b"\x36\x00"[..],                  // QoS 3
            b"\x30\x04\x00\x02a+",             // a wildcard in a topic name
            b"\x82\x05\x00\x01\x00\x00\x00",   // an empty filter
            b"\x82\x02\x00\x01",               // no filter
            b"\x80\x06\x00\x01\x00\x01a\x00",  // flags of SUBSCRIBE
            b"\x82\x06\x00\x01\x00\x01a\x03",  // QoS 3 requested
            b"\x82\x07\x00\x01\x00\x02a#\x00", // no filter by its wildcard
            b"\x32\x05\x00\x01a\x00\x00",      // identifier 0
        ];
        for bytes in bad {
            let mut peer = connect(broker, "bad");
            peer.send_bytes(bytes);
            peer.expect_end();
        }
        expect_nothing(&mut witness);
        assert_eq!(broker.stats().sessions, 1);
    });
}

#[test]
fn a_packet_above_the_limit_ends_the_connection() {
    run_with(BrokerOptions::new().maximum_packet_size(64), |broker| {
        let mut peer = connect(broker, "a");
        send(&mut peer, "t", &"x".repeat(59), delivery(0, 0), false);
        expect_nothing(&mut peer);
        send(&mut peer, "t", &"x".repeat(60), delivery(0, 0), false);
        peer.expect_end();
    });
}

#[test]
fn what_can_be_answered_of_a_bad_connect_is() {
    run(|broker| {
        let refused = |reason| PacketRef::ConnAck(ConnAck::refused(reason));
        let mut peer = attach(broker);
        peer.send_bytes(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a");
        peer.expect(&refused(ConnectReason::UnacceptableProtocolVersion));
        peer.expect_end();
        let mut peer = attach(broker);
        peer.send_bytes(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00");
        peer.expect(&refused(ConnectReason::IdentifierRejected));
        peer.expect_end();
        // Another protocol, a reserved flag: no answer.
        for bytes in [
            &b"\x10\x0d\x00\x04HTTP\x04\x02\x00\x00\x00\x01a"[..],
            b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01a",
        ] {
            let mut peer = attach(broker);
            peer.send_bytes(bytes);
            peer.expect_end();
        }
        assert_eq!(broker.stats().sessions, 0);
    });
}

#[test]
fn clients_without_identifier_get_one_each() {
    run(|broker| {
        let mut one = connect(broker, "");
        let mut other = connect(broker, "");
        expect_nothing(&mut one);
        expect_nothing(&mut other);
        assert_eq!(broker.stats().sessions, 2);
        disconnect(one);
        assert_eq!(broker.stats().sessions, 1);
    });
}

#[test]
fn connect_has_its_time_and_no_more() {
    run(|broker| {
        let mut peer = attach(broker);
        peer.expect_silence(BROKER_CONNECT_TIMEOUT - Duration::from_millis(1));
        let start = fiber::Instant::now();
        peer.expect_end();
        assert_eq!(start.elapsed(), Duration::from_millis(1));
    });
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    run(|broker| {
        let with = |keep_alive_secs| ConnectFields {
            keep_alive_secs,
            ..fields("a", true)
        };
        let (mut peer, _) = connect_with(broker, with(10));
        peer.expect_silence(Duration::from_millis(14_999));
        // Any packet will do.
        peer.send(&puback(7));
        peer.expect_silence(Duration::from_millis(14_999));
        let start = fiber::Instant::now();
        peer.expect_end();
        assert_eq!(start.elapsed(), Duration::from_millis(1));
        let (mut peer, _) = connect_with(broker, with(0));
        peer.expect_silence(Duration::from_secs(200_000));
    });
}

#[test]
fn part_of_a_packet_does_not_keep_a_connection_alive() {
    run(|broker| {
        let keep_alive_secs = 10;
        let (mut peer, _) = connect_with(
            broker,
            ConnectFields {
                keep_alive_secs,
                ..fields("a", true)
            },
        );
        peer.expect_silence(Duration::from_secs(10));
        peer.send_bytes(b"\x30");
        let start = fiber::Instant::now();
        peer.expect_end();
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    });
}

#[test]
fn the_hook_decides_who_may_connect() {
    let options = BrokerOptions::new().authenticate(|connect| {
        let fields = connect.fields();
        match (fields.user_name, fields.password) {
            (Some("meter"), Some(b"secret")) => Ok(()),
            (None, _) => Err(ConnectReason::NotAuthorized),
            (Some(_), _) => Err(ConnectReason::BadUserNameOrPassword),
        }
    });
    run_with(options, |broker| {
        let with = |user_name, password| ConnectFields {
            user_name,
            password,
            ..fields("a", true)
        };
        let (mut good, _) = connect_with(broker, with(Some("meter"), Some(b"secret")));
        for (user_name, password, reason) in [
            (None, None, ConnectReason::NotAuthorized),
            (
                Some("meter"),
                Some(&b"wrong"[..]),
                ConnectReason::BadUserNameOrPassword,
            ),
        ] {
            let mut peer = attach(broker);
            send_connect(&mut peer, with(user_name, password));
            peer.expect(&PacketRef::ConnAck(ConnAck::refused(reason)));
            peer.expect_end();
        }
        // A refused client takes nothing over.
        expect_nothing(&mut good);
    });
}

#[test]
fn a_second_connection_of_a_client_takes_its_session_over() {
    run(|broker| {
        let gone = broker.subscribe("will").unwrap();
        let (mut old, _) = connect_with(
            broker,
            ConnectFields {
                will: will("will", AT_LEAST_ONCE, false),
                ..fields("a", false)
            },
        );
        subscribe(&mut old, &[("t", AT_LEAST_ONCE)]);
        broker.publish("t", "1", AT_LEAST_ONCE, false).unwrap();
        assert_eq!(expect_publish(&mut old, "t=1 q1"), 1);
        let (mut new, present) = resume(broker, "a");
        assert!(present);
        old.expect_end();
        assert_eq!(gone.recv().unwrap().payload(), b"gone");
        assert_eq!(expect_publish(&mut new, "t=1 q1 dup"), 1);
        new.send(&puback(1));
        expect_nothing(&mut new);
    });
}

#[test]
fn a_client_that_does_not_read_is_taken_over_as_well() {
    run(|broker| {
        let mut stuck = crate::broker_harness::attach_over(broker, 16);
        send_connect(&mut stuck, fields("a", true));
        let accepted = PacketRef::ConnAck(ConnAck::accepted(false));
        stuck.expect(&accepted);
        subscribe(&mut stuck, &[("t", AT_LEAST_ONCE)]);
        for _ in 0..20 {
            let payload = vec![b'x'; 10_000];
            broker.publish("t", payload, AT_LEAST_ONCE, false).unwrap();
        }
        fiber::sleep(Duration::from_secs(1)).unwrap();
        let mut new = connect(broker, "a");
        fiber::sleep(Duration::from_secs(5)).unwrap();
        assert_eq!(broker.stats().connections, 1);
        expect_nothing(&mut new);
    });
}

#[test]
fn a_will_is_published_unless_the_client_takes_its_leave() {
    run(|broker| {
        let gone = broker.subscribe("will").unwrap();
        let connect = |keep_alive_secs| {
            let fields = ConnectFields {
                will: will("will", QoS::ExactlyOnce, true),
                keep_alive_secs,
                ..fields("a", true)
            };
            connect_with(broker, fields).0
        };
        disconnect(connect(0));
        assert!(gone.try_recv().is_none());

        drop(connect(0));
        assert_eq!(gone.recv().unwrap().qos(), QoS::ExactlyOnce);

        let mut bad = connect(0);
        bad.send_bytes(b"\xf0\x00");
        bad.expect_end();
        assert!(gone.try_recv().is_some());

        let mut silent = connect(1);
        silent.expect_end();
        assert!(gone.try_recv().is_some());

        // It is retained, as its flag says.
        assert_eq!(broker.stats().retained, 1);
        assert!(broker.subscribe("will").unwrap().recv().unwrap().retain());
    });
}

#[test]
fn nothing_is_handled_behind_a_disconnect() {
    run(|broker| {
        let all = broker.subscribe("#").unwrap();
        let mut peer = connect(broker, "a");
        peer.send(&PacketRef::Disconnect(Disconnect::new()));
        send(&mut peer, "t", "late", delivery(0, 0), false);
        peer.expect_end();
        assert!(all.try_recv().is_none());
    });
}

#[test]
fn one_session_too_many_is_refused() {
    run_with(BrokerOptions::new().sessions_max(1), |broker| {
        let (first, _) = resume(broker, "a");
        let refused = ConnAck::refused(ConnectReason::ServerUnavailable);
        let mut peer = attach(broker);
        send_connect(&mut peer, fields("b", true));
        peer.expect(&PacketRef::ConnAck(refused));
        peer.expect_end();
        // Who has a session may come back.
        drop(first);
        assert!(resume(broker, "a").1);
        disconnect(connect_with(broker, fields("a", true)).0);
        connect(broker, "b");
    });
}

#[test]
fn a_stopped_broker_closes_all_and_keeps_its_sessions() {
    run(|broker| {
        let (mut kept, _) = resume(broker, "kept");
        subscribe(&mut kept, &[("t", AT_LEAST_ONCE)]);
        let mut clean = connect(broker, "clean");
        let mut fresh = attach(broker);
        fiber::yield_now().unwrap();
        broker.stop();
        kept.expect_end();
        clean.expect_end();
        fresh.expect_end();
        broker.publish("t", "1", AT_LEAST_ONCE, false).unwrap();
        assert_eq!(broker.stats().connections, 0);
        let (mut kept, present) = resume(broker, "kept");
        assert!(present);
        expect_publish(&mut kept, "t=1 q1");
    });
}
