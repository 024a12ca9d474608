//! Random interleavings against a model that is too simple to be wrong.
//!
//! The model keeps a copy of every packet. What it demands: the wire carries the packets of the log
//! in the order of the calls, with control packets in theirs only between them; no identifier is
//! given while in use; every unacknowledged publish can be read from the log unchanged at any time;
//! memory follows what is kept, not what was ever sent.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::outbound_log::LOG_BYTES_MIN;
use crate::packet::{PacketType, peek_len};

/// A small generator of numbers (splitmix64), so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound as u64) as usize
    }
}

/// What was promised and not kept yet.
enum Promise {
    Publish(Vec<u8>),
    Subscribe,
    Unsubscribe,
}

struct Model {
    seed: u64,
    random: Random,
    rig: Rig,
    /// By identifier, with the key.
    in_flight: BTreeMap<PacketId, (u32, Promise)>,
    /// Identifiers whose packet left whole.
    sent: Vec<PacketId>,
    /// Publishes that are never acknowledged, so that everything must go on behind them.
    stuck: Vec<PacketId>,
    /// Packets of the log that did not leave yet.
    unsent: VecDeque<Vec<u8>>,
    /// Control packets that did not leave yet.
    control: VecDeque<Vec<u8>>,
    /// Bytes that left and are no whole packet yet.
    wire: Vec<u8>,
    /// Received messages in order of arrival: identifier, token, finished.
    inbound: VecDeque<(u16, AckToken, bool)>,
    next_key: u32,
    /// The most bytes that were unacknowledged or unsent at one time.
    peak: usize,
    admitted: usize,
    refused: usize,
}

impl Model {
    fn new(seed: u64, bound: usize, window: u16) -> Self {
        let options = SessionOptions {
            window,
            inbound_window: 20,
            ..Default::default()
        };
        let mut rig = Rig::up_with(options, 60);
        rig.log = OutboundLog::new(bound);
        Self {
            seed,
            random: Random(seed),
            rig,
            in_flight: BTreeMap::new(),
            sent: Vec::new(),
            stuck: Vec::new(),
            unsent: VecDeque::new(),
            control: VecDeque::new(),
            wire: Vec::new(),
            inbound: VecDeque::new(),
            next_key: 0,
            peak: 0,
            admitted: 0,
            refused: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=7 => self.publish(),
            8 => self.request(),
            9..=11 => {
                let n = self.random.below(3_000);
                self.write(n);
            }
            12 => self.write(usize::MAX),
            13..=15 => self.acknowledge(),
            16 => self.stray_ack(),
            17 => self.receive(),
            18 => self.finish_message(),
            _ => self.ping(),
        }
        self.check();
    }

    /// Enters what a successful command has put into the log.
    fn admit(&mut self, before: LogOffset, admitted: Admitted) -> Vec<u8> {
        let packet = self.rig.log.slice(before, admitted.end).to_vec();
        assert_eq!(admitted.end, self.rig.log.tail());
        self.unsent.push_back(packet.clone());
        self.admitted += 1;
        packet
    }

    fn enter(&mut self, packet_id: PacketId, promise: Promise) {
        let key = self.next_key;
        self.next_key += 1;
        let before = self.in_flight.insert(packet_id, (key, promise));
        assert!(
            before.is_none(),
            "seed {}: identifier {packet_id} is in use",
            self.seed
        );
    }

    fn publish(&mut self) {
        let qos = if self.random.below(2) == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        };
        let topic = ["a", "some/topic", "x/y/z"][self.random.below(3)];
        let len = match self.random.below(50) {
            0 => self.random.below(9_000),
            1..10 => self.random.below(1_000),
            _ => self.random.below(30),
        };
        let payload: Vec<u8> = (0..len).map(|_| self.random.below(256) as u8).collect();
        let before = self.rig.log.tail();
        let key = self.next_key;
        let message = Outgoing {
            topic,
            payload: &payload,
            qos,
            retain: false,
        };
        match self
            .rig
            .session
            .publish(message, TicketKey(key), &mut self.rig.log)
        {
            Ok(admitted) => {
                let packet = self.admit(before, admitted);
                assert!(packet.ends_with(&payload));
                assert_eq!(admitted.packet_id.is_some(), qos == QoS::AtLeastOnce);
                if let Some(packet_id) = admitted.packet_id {
                    self.enter(packet_id, Promise::Publish(packet));
                    if self.stuck.len() < 2 && self.random.below(40) == 0 {
                        self.stuck.push(packet_id);
                    }
                }
            }
            Err(Rejected::NoRoom(NoRoom::Window { window })) => {
                assert_eq!(self.rig.session.unacknowledged(), window.into());
                self.refused += 1;
            }
            Err(Rejected::NoRoom(NoRoom::Log(_))) => self.refused += 1,
            Err(other) => panic!("seed {}: {other}", self.seed),
        }
    }

    fn request(&mut self) {
        let before = self.rig.log.tail();
        let key = TicketKey(self.next_key);
        let (log, session) = (&mut self.rig.log, &mut self.rig.session);
        let (result, promise) = if self.random.below(2) == 0 {
            (
                session.subscribe(&[("f/#", QoS::AtLeastOnce)], key, log),
                Promise::Subscribe,
            )
        } else {
            (
                session.unsubscribe(&["f/#"], key, log),
                Promise::Unsubscribe,
            )
        };
        match result {
            Ok(admitted) => {
                self.admit(before, admitted);
                self.enter(admitted.packet_id.unwrap(), promise);
            }
            Err(Rejected::NoRoom(_)) => self.refused += 1,
            Err(other) => panic!("seed {}: {other}", self.seed),
        }
    }

    /// Lets the transport take `n` bytes and takes whole packets off the wire.
    fn write(&mut self, n: usize) {
        let taken = self.rig.write(n);
        self.wire.extend(taken);
        while let Ok(Some(len)) = peek_len(&self.wire, MAX_PACKET_LEN) {
            if len > self.wire.len() {
                break;
            }
            let packet: Vec<u8> = self.wire.drain(..len).collect();
            let queue = match PacketType::from_first_byte(packet[0]).unwrap() {
                PacketType::PubAck | PacketType::PingReq => &mut self.control,
                _ => &mut self.unsent,
            };
            assert_eq!(
                Some(&packet),
                queue.pop_front().as_ref(),
                "seed {}",
                self.seed
            );
            let packet_id = match decode_whole(&packet) {
                PacketRef::Publish(publish) => publish.packet_id(),
                PacketRef::Subscribe(subscribe) => Some(subscribe.packet_id()),
                PacketRef::Unsubscribe(unsubscribe) => Some(unsubscribe.packet_id()),
                _ => None,
            };
            self.sent.extend(packet_id);
        }
    }

    /// The server acknowledges one of the packets that it has, any of them.
    fn acknowledge(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.random.below(self.sent.len());
        if self.stuck.contains(&self.sent[at]) {
            return;
        }
        self.acknowledge_at(at);
    }

    fn acknowledge_at(&mut self, at: usize) {
        let packet_id = self.sent.swap_remove(at);
        let (key, promise) = self.in_flight.remove(&packet_id).unwrap();
        let key = TicketKey(key);
        let [high, low] = packet_id.get().to_be_bytes();
        let (bytes, effect) = match promise {
            Promise::Publish(_) => (vec![0x40, 2, high, low], completed(key.0)),
            Promise::Subscribe => (vec![0x90, 3, high, low, 1], Effect::SubAcked { key }),
            Promise::Unsubscribe => (vec![0xb0, 2, high, low], Effect::UnsubAcked { key }),
        };
        assert_eq!(self.rig.receive(&bytes), Ok(effect), "seed {}", self.seed);
        assert_eq!(
            self.rig.receive(&bytes),
            Ok(Effect::Nothing),
            "seed {}",
            self.seed
        );
    }

    /// The server acknowledges something it cannot have.
    fn stray_ack(&mut self) {
        let packet_id = id(1 + self.random.below(65_535) as u16);
        if !self.sent.contains(&packet_id) {
            let [high, low] = packet_id.get().to_be_bytes();
            assert_eq!(self.rig.receive(&[0x40, 2, high, low]), Ok(Effect::Nothing));
        }
    }

    fn receive(&mut self) {
        if self.inbound.len() == 20 {
            return;
        }
        let number = 1 + self.random.below(9) as u16;
        match self.rig.receive(&[0x32, 5, 0, 1, b'a', 0, number as u8]) {
            Ok(Effect::Deliver { ack: Some(token) }) => {
                self.inbound.push_back((number, token, false));
            }
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    fn finish_message(&mut self) {
        if self.inbound.is_empty() {
            return;
        }
        let at = self.random.below(self.inbound.len());
        self.inbound[at].2 = true;
        assert!(self.rig.session.acknowledge(self.inbound[at].1));
        while let Some((number, _, true)) = self.inbound.front() {
            self.control.push_back(vec![0x40, 2, 0, *number as u8]);
            self.inbound.pop_front();
        }
    }

    fn ping(&mut self) {
        if !self.control.contains(&vec![0xc0, 0]) {
            // Whatever was received before has answered the last one.
            self.rig.session.received(self.rig.now);
            self.rig.session.ping(self.rig.now, &self.rig.log).unwrap();
            self.control.push_back(vec![0xc0, 0]);
        }
    }

    fn check(&mut self) {
        let Self { seed, rig, .. } = self;
        let mut live = 0;
        let mut kept = 0;
        for (packet_id, start, len) in rig.session.in_flight.live() {
            let Some((_, Promise::Publish(packet))) = self.in_flight.get(&packet_id) else {
                panic!("seed {seed}: {packet_id} was acknowledged");
            };
            let bytes = rig.log.slice(start, start.plus(len));
            assert_eq!(bytes, packet, "seed {seed}: {packet_id} was overwritten");
            live += 1;
            kept += len;
        }
        let publishes = self.in_flight.values();
        let publishes = publishes.filter(|(_, promise)| matches!(promise, Promise::Publish(_)));
        assert_eq!(live, publishes.count(), "seed {seed}");
        assert_eq!(live, rig.session.unacknowledged());
        let unsent: usize = self.unsent.iter().map(Vec::len).sum();
        self.peak = self.peak.max(kept + unsent);
        let bound = LOG_BYTES_MIN.max(8 * self.peak).min(rig.log.bound());
        assert!(
            rig.log.capacity() <= bound,
            "seed {seed}: {:?}, peak {}",
            rig.log,
            self.peak
        );
    }

    /// Everything leaves, everything is acknowledged, and nothing is left.
    fn finish(mut self) {
        while let Some((number, token, _)) = self.inbound.pop_front() {
            self.rig.session.acknowledge(token);
            self.control.push_back(vec![0x40, 2, 0, number as u8]);
        }
        self.write(usize::MAX);
        assert!(self.wire.is_empty() && self.unsent.is_empty() && self.control.is_empty());
        while !self.sent.is_empty() {
            self.acknowledge_at(0);
            self.check();
        }
        assert!(self.in_flight.is_empty() && self.rig.log.is_empty());
        assert_eq!(self.rig.session.unacknowledged(), 0);
        assert_eq!(
            self.rig.session.phase(),
            Phase::Up {
                session_present: false
            }
        );
        assert!(self.admitted > 100, "seed {} shows little", self.seed);
    }
}

#[test]
fn any_interleaving_keeps_what_was_promised() {
    let mut refused = 0;
    for seed in 0..60 {
        let bound = [LOG_BYTES_MIN, 40_000, 4 << 20][seed as usize % 3];
        let window = [5, 30, 200][seed as usize / 3 % 3];
        let mut model = Model::new(seed, bound, window);
        for _ in 0..2_000 {
            model.step();
        }
        refused += model.refused;
        model.finish();
    }
    assert!(refused > 1_000, "the bounds were hardly reached: {refused}");
}

#[test]
fn identifiers_stay_unique_beyond_the_full_circle() {
    let mut model = Model::new(7, LOG_BYTES_MIN, 50);
    let mut given = 0;
    while given < 200_000 {
        for _ in 0..model.random.below(20) {
            let topic = Outgoing {
                topic: "a",
                qos: QoS::AtLeastOnce,
                ..Default::default()
            };
            let before = model.rig.log.tail();
            let key = TicketKey(model.next_key);
            let Ok(admitted) = model.rig.session.publish(topic, key, &mut model.rig.log) else {
                break;
            };
            let packet = model.admit(before, admitted);
            let packet_id = admitted.packet_id.unwrap();
            model.enter(packet_id, Promise::Publish(packet));
            if given % 20_000 == 0 && model.stuck.len() < 10 {
                model.stuck.push(packet_id);
            }
            given += 1;
        }
        model.write(usize::MAX);
        for _ in 0..model.random.below(40) {
            model.acknowledge();
        }
    }
    model.check();
    assert!(model.stuck.len() >= 10 && model.rig.log.capacity() <= LOG_BYTES_MIN);
    model.finish();
}
