//! The embedded broker at its bounds: connections, and answers to a client that does not read them.

use std::io::Read as _;
use std::time::Duration;

use mqtt::packet::{ConnAck, PacketRef, Subscribe};
use mqtt::{
    BROKER_ARRIVALS_MAX, BROKER_CONNECT_TIMEOUT, BROKER_CONNECTIONS_MAX,
    BROKER_PACKET_BYTES_DEFAULT, BROKER_SUBSCRIPTIONS_MAX, Broker, BrokerOptions, ConnectReason,
    QoS, SubscribeReason, Version,
};

use crate::broker_harness::{
    Peer, attach, attach_over, connect, expect_nothing, expect_publish, fields, id, puback, resume,
    run, run_with, send_connect, send_subscribe, subscribe,
};

/// Room of the pipes of clients that do not read: several reads of the broker.
const PIPE_BYTES: usize = 64 * 1024;
/// As in `docs/limits.md`: what the broker reads at once, what it encodes ahead, and how many
/// answers wait beside that.
const READ_BYTES: usize = 16 * 1024;
const OUTPUT_BYTES: usize = 64 * 1024;
const ANSWERS_MAX: usize = 1_024;

#[test]
fn one_connection_too_many_is_closed_at_once_and_the_others_stay() {
    run(|broker| {
        let mut first = connect(broker, "first");
        let mut silent: Vec<Peer> = (1..BROKER_CONNECTIONS_MAX + BROKER_ARRIVALS_MAX)
            .map(|_| attach_over(broker, 64))
            .collect();
        let all = BROKER_CONNECTIONS_MAX + BROKER_ARRIVALS_MAX;
        assert_eq!(broker.stats().connections, all);
        for _ in 0..3 {
            let start = fiber::Instant::now();
            attach(broker).expect_end();
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
        assert_eq!(broker.stats().connections, all);
        expect_nothing(&mut first);
        // Those that leave make room for as many.
        silent.truncate(BROKER_CONNECTIONS_MAX - 2);
        fiber::sleep(Duration::from_millis(1)).unwrap();
        let mut second = connect(broker, "second");
        assert_eq!(broker.stats().connections, BROKER_CONNECTIONS_MAX);
        // Those that never say who they are hold their places for a bounded time.
        fiber::sleep(BROKER_CONNECT_TIMEOUT).unwrap();
        assert_eq!(broker.stats().connections, 2);
        expect_nothing(&mut first);
        expect_nothing(&mut second);
    });
}

#[test]
fn at_the_bound_a_client_may_end_its_own_connection_and_no_other_comes_in() {
    run(|broker| {
        let (mut dead, _) = resume(broker, "meter");
        subscribe(&mut dead, &[("a", QoS::AtLeastOnce)]);
        let _silent: Vec<Peer> = (1..BROKER_CONNECTIONS_MAX)
            .map(|_| attach_over(broker, 64))
            .collect();
        let mut stranger = attach(broker);
        send_connect(&mut stranger, fields("stranger", true));
        let refused = ConnAck::refused(ConnectReason::ServerUnavailable);
        stranger.expect(&PacketRef::ConnAck(refused));
        stranger.expect_end();
        for _ in 0..3 {
            let (mut peer, present) = resume(broker, "meter");
            assert!(present);
            dead.expect_end();
            fiber::sleep(Duration::from_millis(1)).unwrap();
            assert_eq!(broker.stats().connections, BROKER_CONNECTIONS_MAX);
            expect_nothing(&mut peer);
            dead = peer;
        }
    });
}

#[test]
fn all_retained_messages_come_however_many_there_are_and_others_are_served_meanwhile() {
    run(|broker| {
        const COUNT: usize = 9_000;
        for number in 0..COUNT {
            let topic = format!("t/{number:05}");
            let kept = broker.publish(&topic, "x", QoS::AtLeastOnce, true);
            kept.unwrap();
        }
        // Little room, so that the broker is not done before the client reads.
        let mut peer = attach_over(broker, 4 * 1024);
        send_connect(&mut peer, fields("reader", true));
        peer.receive(|packet| assert!(matches!(packet, PacketRef::ConnAck(_))));
        let mut witness = connect(broker, "witness");
        // The last one of a filter counts.
        let filters = vec![("#", QoS::AtMostOnce); BROKER_SUBSCRIPTIONS_MAX];
        assert_eq!(subscribe(&mut peer, &filters).len(), filters.len());
        expect_nothing(&mut witness);
        // What is kept meanwhile comes once, as it is published; the last one was not looked at yet.
        let news = ["t/00000", "t/08999", "u"];
        for topic in news {
            let kept = broker.publish(topic, "new", QoS::AtMostOnce, true);
            kept.unwrap();
        }
        let (mut retained, mut published) = (Vec::new(), Vec::new());
        for _ in 0..COUNT - 1 + news.len() {
            let (topic, retain) = peer.receive(|packet| match packet {
                PacketRef::Publish(publish) => (publish.topic().to_owned(), publish.retain()),
                other => panic!("expected PUBLISH, found {other:?}"),
            });
            if retain {
                retained.push(topic);
            } else {
                published.push(topic);
            }
        }
        let expected = (0..COUNT - 1).map(|number| format!("t/{number:05}"));
        assert!(
            retained.iter().cloned().eq(expected),
            "{} came",
            retained.len()
        );
        assert_eq!(published, news);
        expect_nothing(&mut peer);
        assert_eq!(broker.stats().dropped, 0);
    });
}

#[test]
fn retained_messages_come_also_while_others_are_published_all_the_time() {
    run(|broker| {
        let kept = broker.publish("kept", "x", QoS::AtMostOnce, true);
        kept.unwrap();
        let mut peer = connect(broker, "reader");
        let granted = subscribe(&mut peer, &[("live", QoS::AtMostOnce)]);
        assert_eq!(granted.len(), 1);
        send_subscribe(&mut peer, &[("kept", QoS::AtMostOnce)]);
        for _ in 0..200 {
            let live = broker.publish("live", "y", QoS::AtMostOnce, false);
            live.unwrap();
            fiber::yield_now().unwrap();
        }
        let mut before = 0;
        let mut is_kept = false;
        while !is_kept {
            peer.receive(|packet| match packet {
                PacketRef::Publish(publish) => is_kept = publish.topic() == "kept",
                other => assert!(matches!(other, PacketRef::SubAck(_)), "{other:?}"),
            });
            before += 1;
        }
        assert!(before < 100, "{before} packets came first");
    });
}

#[test]
fn retained_messages_are_held_back_by_the_window_and_none_is_lost() {
    run_with(BrokerOptions::new().window(2).queue_max(3, 99), |broker| {
        for number in 0..9 {
            let topic = format!("t/{number}");
            let kept = broker.publish(&topic, "x", QoS::AtLeastOnce, true);
            kept.unwrap();
        }
        let (mut peer, _) = resume(broker, "reader");
        subscribe(
            &mut peer,
            &[("t/+", QoS::AtLeastOnce), ("none/+", QoS::AtLeastOnce)],
        );
        for number in 0..2 {
            expect_publish(&mut peer, &format!("t/{number}=x q1 retain"));
        }
        expect_nothing(&mut peer);
        // Waiting costs no turns.
        let before = fiber::stats().resumes;
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        assert!(fiber::stats().resumes - before < 10);
        // The rest is for later connections, a subscription that is ended aside.
        drop(peer);
        let (mut peer, present) = resume(broker, "reader");
        assert!(present);
        for number in 0..2 {
            let id = expect_publish(&mut peer, &format!("t/{number}=x q1 dup retain"));
            peer.send(&puback(id));
        }
        for number in 2..9 {
            let id = expect_publish(&mut peer, &format!("t/{number}=x q1 retain"));
            peer.send(&puback(id));
        }
        expect_nothing(&mut peer);
        assert_eq!(broker.stats().dropped, 0);
    });
}

/// Connects a client that will not read.
#[track_caller]
fn deaf(broker: &Broker) -> Peer {
    let mut peer = attach_over(broker, PIPE_BYTES);
    send_connect(&mut peer, fields("deaf", true));
    peer.receive(|packet| assert!(matches!(packet, PacketRef::ConnAck(_))));
    peer
}

/// Writes `bytes` over and over until nothing moves any more; returns how many went.
#[track_caller]
fn write_until_stuck(peer: &Peer, bytes: &[u8]) -> usize {
    let mut written = 0;
    let mut idle = 0;
    while idle < 3 {
        match peer
            .stream()
            .try_write(&bytes[written % bytes.len()..])
            .unwrap()
        {
            Some(n) => {
                written += n;
                idle = 0;
            }
            None => {
                fiber::sleep(Duration::from_millis(1)).unwrap();
                idle += 1;
            }
        }
    }
    written
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_beyond_a_bound() {
    run(|broker| {
        let mut witness = connect(broker, "witness");
        let mut peer = deaf(broker);
        let resumes = fiber::stats().resumes;
        let written = write_until_stuck(&peer, b"\xc0\x00");
        // PINGREQ and PINGRESP have two bytes each. What the broker took is answered or waits.
        let answers = PIPE_BYTES + OUTPUT_BYTES + 2 * ANSWERS_MAX;
        let bound = answers + READ_BYTES + PIPE_BYTES;
        assert!((answers..=bound).contains(&written), "{written} of {bound}");
        expect_nothing(&mut witness);
        // It is not even looked at until it reads.
        let before = fiber::stats().resumes;
        fiber::sleep(Duration::from_secs(3_600)).unwrap();
        let idle = fiber::stats().resumes - before;
        assert!(idle < 10, "{idle} after {}", before - resumes);
        // Then each of its packets is answered, none twice and none lost.
        let mut came = vec![0; written];
        peer.stream().read_exact(&mut came).unwrap();
        assert!(came.chunks(2).all(|packet| packet == [0xd0, 0]));
        expect_nothing(&mut peer);
    });
}

#[test]
fn a_subscribe_with_very_many_filters_costs_bounded_memory_however_often_it_comes() {
    run(|broker| {
        let mut peer = deaf(broker);
        // As many filters as the largest packet has room for.
        let filters = vec![("a", QoS::AtMostOnce); (BROKER_PACKET_BYTES_DEFAULT - 8) / 4];
        let subscribe = Subscribe::new(Version::V311, id(1), &filters).unwrap();
        let packet = PacketRef::Subscribe(subscribe);
        let mut bytes = vec![0; packet.encoded_len(Version::V311)];
        packet.encode(Version::V311, &mut bytes);
        let mut written = 0;
        let memory = allocation_counter::measure(|| {
            written = write_until_stuck(&peer, &bytes);
        });
        // One answer is encoded, the next one waits, and a third packet is not handled.
        let bound = 3 * bytes.len() + READ_BYTES + PIPE_BYTES;
        assert!(written <= bound, "{written} of {bound}");
        // Two packets, their filters one by one, and their answers.
        assert!(memory.bytes_max < 64 * 1024 * 1024, "{memory:?}");
        // Once the answers are read it goes on; what no session may have is refused.
        let expect_answer = |peer: &mut Peer| {
            let granted = peer.receive(|packet| match packet {
                PacketRef::SubAck(ack) => {
                    assert_eq!(ack.reasons().iter().count(), filters.len());
                    let reasons = ack.reasons();
                    let granted = reasons
                        .iter()
                        .take_while(|reason| *reason != SubscribeReason::Failure);
                    granted.count()
                }
                other => panic!("expected SUBACK, found {other:?}"),
            });
            assert_eq!(granted, BROKER_SUBSCRIPTIONS_MAX);
        };
        for _ in 0..written / bytes.len() {
            expect_answer(&mut peer);
        }
        peer.send_bytes(&bytes[written % bytes.len()..]);
        expect_answer(&mut peer);
        expect_nothing(&mut peer);
    });
}
