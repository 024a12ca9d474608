//! The embedded broker: QoS 1 at least once and QoS 2 exactly once, both ways, across connections
//! that are cut at any byte, for many seeds.
//!
//! The client is a model of its own: it keeps what MQTT 3.1.1 asks a client to keep, answers some of
//! the time, and knows what it should have got.

#![allow(
    clippy::unwrap_in_result,
    reason = "`None` is a cut connection, which is part of the game; a broken expectation panics"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Read, Write};
use std::time::Duration;

use fiber::net::PipeStream;
use mqtt::packet::{
    self, Connect, Delivery, PacketRef, PubComp, PubRec, PubRel, Publish, Subscribe,
};
use mqtt::{Broker, Faults, PacketId, QoS, Version};

use crate::broker_harness::{fields, id, run};

const SEEDS: u64 = 150;
const ROUNDS: u64 = 12;
const PACKET_BYTES: usize = 4096;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// What the client keeps across its connections.
#[derive(Default)]
struct Model {
    /// QoS 2 messages received and not released.
    received: BTreeSet<u16>,
    /// What the program of the client got, by QoS.
    got: BTreeMap<QoS, Vec<u64>>,
    /// Sent and not completed: identifier, number, whether PUBREC came.
    sending: VecDeque<(u16, u64, bool)>,
    next_number: u64,
    /// Connections on which messages came again.
    repeated: u64,
}

struct Link {
    stream: PipeStream,
    input: Vec<u8>,
}

impl Link {
    /// Fails when the broker has cut the connection, which is part of the game.
    fn send(&self, packet: &PacketRef<'_>) -> Option<()> {
        let mut bytes = vec![0; packet.encoded_len(Version::V311)];
        packet.encode(Version::V311, &mut bytes);
        (&self.stream).write_all(&bytes).ok()
    }

    /// Waits a little for more; `None` at the end of the connection, `Some(false)` when nothing came.
    fn fill(&mut self) -> Option<bool> {
        let mut buffer = [0; 512];
        match fiber::timeout(Duration::from_millis(5), || {
            (&self.stream).read(&mut buffer)
        }) {
            Err(_elapsed) => Some(false),
            Ok(Ok(n)) if n > 0 => {
                self.input.extend_from_slice(&buffer[..n]);
                Some(true)
            }
            Ok(_) => None,
        }
    }
}

impl Model {
    /// One connection, until it is cut, silent, or the client has enough of it.
    fn connection(&mut self, broker: &Broker, random: &mut Random, fair: bool) -> Option<()> {
        let (ours, theirs) = fiber::net::pipe(256);
        broker.attach(theirs).expect("a fiber is to be had");
        let mut link = Link {
            stream: ours,
            input: Vec::new(),
        };
        let connect = Connect::new(Version::V311, fields("a", false)).expect("it is valid");
        link.send(&PacketRef::Connect(connect))?;
        let filters = [("down/#", QoS::ExactlyOnce)];
        let subscribe = Subscribe::new(Version::V311, id(60_000), &filters).expect("it is valid");
        link.send(&PacketRef::Subscribe(subscribe))?;
        for (number, payload, recorded) in self.sending.clone() {
            self.transmit(&link, number, payload, recorded, true)?;
        }
        let new = if fair { 0 } else { random.below(4) };
        for _ in 0..new {
            let payload = self.next_number;
            self.next_number += 1;
            let number = u16::try_from(payload % 1_000 + 1).expect("it is at most 1 000");
            self.sending.push_back((number, payload, false));
            self.transmit(&link, number, payload, false, false)?;
        }
        let patience = if fair { u64::MAX } else { 1 + random.below(30) };
        for _ in 0..patience {
            let decoded = packet::decode(&link.input, Version::V311, PACKET_BYTES);
            let Some((packet, len)) = decoded.expect("the broker sends packets") else {
                if !link.fill()? {
                    break;
                }
                continue;
            };
            // Not fair: sometimes it is read and not answered.
            let answers = fair || random.below(8) > 0;
            self.handle(&link, &packet, answers)?;
            link.input.drain(..len);
        }
        Some(())
    }

    fn transmit(
        &self,
        link: &Link,
        number: u16,
        payload: u64,
        recorded: bool,
        dup: bool,
    ) -> Option<()> {
        let packet_id = id(number);
        if recorded {
            return link.send(&PacketRef::PubRel(PubRel::new(packet_id)));
        }
        let delivery = Delivery::ExactlyOnce { packet_id, dup };
        let text = payload.to_string();
        let publish = Publish::new(Version::V311, "up", text.as_bytes(), delivery, false);
        link.send(&PacketRef::Publish(publish.expect("it is valid")))
    }

    fn handle(&mut self, link: &Link, packet: &PacketRef<'_>, answers: bool) -> Option<()> {
        match packet {
            PacketRef::Publish(publish) => {
                let number = publish.packet_id().map(PacketId::get).expect("QoS 1 or 2");
                let text = std::str::from_utf8(publish.payload()).expect("a number");
                let payload = text.parse().expect("a number");
                self.repeated += u64::from(publish.dup());
                if publish.qos() == QoS::AtLeastOnce {
                    self.got.entry(QoS::AtLeastOnce).or_default().push(payload);
                    return answer(link, answers, &crate::broker_harness::puback(number));
                }
                if self.received.insert(number) {
                    self.got.entry(QoS::ExactlyOnce).or_default().push(payload);
                }
                answer(link, answers, &PacketRef::PubRec(PubRec::new(id(number))))
            }
            PacketRef::PubRel(ack) => {
                self.received.remove(&ack.packet_id.get());
                answer(
                    link,
                    answers,
                    &PacketRef::PubComp(PubComp::new(ack.packet_id)),
                )
            }
            PacketRef::PubRec(ack) => {
                for (number, _, recorded) in &mut self.sending {
                    *recorded |= *number == ack.packet_id.get();
                }
                answer(
                    link,
                    answers,
                    &PacketRef::PubRel(PubRel::new(ack.packet_id)),
                )
            }
            PacketRef::PubComp(ack) => {
                self.sending
                    .retain(|(number, _, _)| *number != ack.packet_id.get());
                Some(())
            }
            PacketRef::ConnAck(_) | PacketRef::SubAck(_) => Some(()),
            other => panic!("expected no {other:?}"),
        }
    }
}

fn answer(link: &Link, answers: bool, packet: &PacketRef<'_>) -> Option<()> {
    if answers { link.send(packet) } else { Some(()) }
}

/// The numbers in the order in which each came first.
fn first_of_each(numbers: &[u64]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    let first = numbers.iter().filter(|number| seen.insert(**number));
    first.copied().collect()
}

/// Plays one seed; returns how many messages came again.
fn play(broker: &Broker, seed: u64) -> u64 {
    let random = &mut Random(seed);
    let up = broker.subscribe("up").expect("there is room");
    let mut model = Model::default();
    // The subscription is there before the first message.
    model.connection(broker, random, true);
    let mut published: BTreeMap<QoS, u64> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let faults = Faults {
            cut_after_sent: (random.below(3) > 0).then(|| random.below(150)),
            cut_after_received: (random.below(3) == 0).then(|| random.below(150)),
            ..Faults::default()
        };
        broker.set_faults("a", faults).expect("there is room");
        for _ in 0..random.below(6) {
            let qos = if random.below(2) == 0 {
                QoS::AtLeastOnce
            } else {
                QoS::ExactlyOnce
            };
            let number = published.entry(qos).or_default();
            let topic = format!("down/{}", qos.bits());
            let payload = number.to_string();
            let done = broker.publish(&topic, payload, qos, false);
            done.expect("the topic is one");
            *number += 1;
        }
        model.connection(broker, random, false);
    }
    broker
        .set_faults("a", Faults::default())
        .expect("it only removes");
    model.connection(broker, random, true);

    for (qos, count) in published {
        let got = model.got.remove(&qos).unwrap_or_default();
        let all: Vec<_> = (0..count).collect();
        assert_eq!(first_of_each(&got), all, "seed {seed}, {qos}");
        if qos == QoS::ExactlyOnce {
            assert_eq!(got, all, "seed {seed}, {qos}");
        }
    }
    assert_eq!(model.sending, [], "seed {seed}");
    let mut came: Vec<u64> = Vec::new();
    while let Some(message) = up.try_recv() {
        let text = std::str::from_utf8(message.payload()).expect("a number");
        came.push(text.parse().expect("a number"));
    }
    let all: Vec<u64> = (0..model.next_number).collect();
    assert_eq!(came, all, "seed {seed}, from the client");
    model.repeated
}

#[test]
fn every_message_arrives_as_often_as_its_qos_says() {
    run(|broker| {
        let mut repeated = 0;
        for seed in 0..SEEDS {
            repeated += play(broker, seed);
            crate::broker_harness::disconnect(crate::broker_harness::connect(broker, "a"));
        }
        assert!(repeated > SEEDS, "{repeated} repetitions prove too little");
    });
}
