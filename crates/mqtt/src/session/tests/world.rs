//! A session, a naive server and the link between them, which can be cut anywhere.
//!
//! Messages are told apart by a number in their payload, so that what was delivered how often can be
//! counted on both sides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::keeper::Keeper;
use super::server::{Server, number, publish_bytes, take_packet};
use super::*;
use crate::outbound_log::LOG_BYTES_MIN;

/// A message of the client.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) qos: QoS,
    pub(super) delivered: usize,
    pub(super) outcome: Option<Outcome>,
    /// It may have come to the server before that lost the session.
    pub(super) lossy: bool,
    pub(super) len: usize,
    /// It was handed back when the server may have had it.
    pub(super) twice: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Completed { maybe_twice: bool },
    GivenUp,
}

/// What was seen of the client's packets on the wire.
#[derive(Debug, Default)]
struct Wire {
    bytes: Vec<u8>,
    /// Messages that left whole in this session, and under which identifier.
    seen: BTreeMap<u32, u16>,
    /// The first message that was not seen whole has begun to leave.
    begun: bool,
    released: BTreeSet<u32>,
}

pub(super) struct World {
    pub(super) rig: Rig,
    pub(super) server: Server,
    /// Bytes that the transport took and the server has not.
    pub(super) up: Vec<u8>,
    /// Packets that the client has not received.
    pub(super) down: VecDeque<Vec<u8>>,
    pub(super) messages: Vec<Message>,
    wire: Wire,
    /// Delivered to the client and not finished.
    pub(super) handlers: Vec<AckToken>,
    /// Of a session with a record.
    pub(super) keeper: Option<Keeper>,
    /// How often each message of the server was delivered; `None` for one it lost.
    pub(super) inbound: BTreeMap<u32, (u8, Option<usize>)>,
    pub(super) requests: BTreeSet<u32>,
    asked: u32,
    /// By QoS, the latest message that came to the server for the first time.
    latest: [Option<u32>; 3],
    /// First deliveries must be in order of publishing, within each QoS.
    pub(super) in_order: bool,
    /// The server had a session that the client does not know.
    pub(super) is_adopted: bool,
    pub(super) policy: OnSessionLoss,
    /// Answers of the server are received together next time, not one by one.
    pub(super) in_runs: bool,
}

impl World {
    pub(super) fn new(policy: OnSessionLoss, late: bool, window: u16) -> Self {
        Self::with_keeper(policy, late, window, None)
    }

    pub(super) fn with_keeper(
        policy: OnSessionLoss,
        late: bool,
        window: u16,
        keeper: Option<Keeper>,
    ) -> Self {
        let options = SessionOptions {
            window,
            on_session_loss: policy,
            recorded: keeper.is_some(),
            ..Default::default()
        };
        let mut rig = Rig::idle(options);
        rig.log = OutboundLog::new(LOG_BYTES_MIN);
        let server = Server {
            late,
            ..Default::default()
        };
        Self {
            rig,
            server,
            up: Vec::new(),
            down: VecDeque::new(),
            messages: Vec::new(),
            wire: Wire::default(),
            handlers: Vec::new(),
            keeper,
            inbound: BTreeMap::new(),
            requests: BTreeSet::new(),
            asked: 0,
            latest: [None; 3],
            in_order: true,
            is_adopted: false,
            policy,
            in_runs: false,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.rig.session.phase()
    }

    pub(super) fn connect(&mut self) {
        let connect = connect_packet(false, 60);
        self.rig.session.connect(&connect, self.rig.now).unwrap();
    }

    /// Publishes the next message, with `len` bytes more than its number; `false` without room.
    pub(super) fn publish(&mut self, qos: QoS, len: usize) -> bool {
        let message = Message {
            qos,
            delivered: 0,
            outcome: None,
            lossy: false,
            len,
            twice: false,
        };
        let number = self.messages.len() as u32;
        self.messages.push(message);
        let is_admitted = if self.keeper.is_some() {
            self.admit_waiting_or_wait(number)
        } else {
            self.publish_now(number).is_some()
        };
        if !is_admitted {
            self.messages.pop();
        }
        is_admitted
    }

    /// Publishes a message and returns its identifier, 0 at QoS 0; `None` without room.
    pub(super) fn publish_now(&mut self, number: u32) -> Option<u16> {
        let key = TicketKey(number);
        let (qos, payload) = self.content(number);
        let message = outgoing(qos, &payload);
        match self.rig.session.publish(message, key, &mut self.rig.log) {
            Ok(admitted) => Some(admitted.packet_id.map_or(0, PacketId::get)),
            Err(Rejected::NoRoom(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    pub(super) fn content(&self, number: u32) -> (QoS, Vec<u8>) {
        let Message { qos, len, .. } = self.messages[number as usize];
        let mut payload = vec![b'.'; 4 + len];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        (qos, payload)
    }

    /// Subscribes, or notes that there is no room; keys of requests are above those of messages.
    pub(super) fn request(&mut self) {
        self.asked += 1;
        let key = 1_000_000 + self.asked;
        let filters = [("f", QoS::ExactlyOnce)];
        let (session, log) = (&mut self.rig.session, &mut self.rig.log);
        if session.subscribe(&filters, TicketKey(key), log).is_ok() {
            self.requests.insert(key);
        }
    }

    /// The transport takes `n` bytes.
    pub(super) fn write(&mut self, n: usize) -> usize {
        let taken = self.rig.write(n);
        self.up.extend(&taken);
        self.wire.bytes.extend(&taken);
        while let Some(packet) = take_packet(&mut self.wire.bytes) {
            self.check_packet(&packet);
            if let Some(keeper) = &self.keeper {
                keeper.check_packet(&packet);
            }
        }
        taken.len()
    }

    fn check_packet(&mut self, packet: &[u8]) {
        let wire = &mut self.wire;
        match decode_whole(packet) {
            PacketRef::Publish(publish) => {
                let number = number(publish.payload());
                let Some(packet_id) = publish.packet_id() else {
                    return assert!(!publish.dup());
                };
                let expected = wire.seen.contains_key(&number) || std::mem::take(&mut wire.begun);
                // What is restored may not have been sent.
                let is_restored = self.keeper.as_ref().is_some_and(|k| k.is_restored(number));
                assert!(
                    publish.dup() == expected || (publish.dup() && is_restored),
                    "DUP of {number}"
                );
                assert!(
                    !wire.released.contains(&number),
                    "PUBLISH {number} after PUBREL"
                );
                for (other, id) in &wire.seen {
                    let open = self.messages[*other as usize].outcome.is_none();
                    let same = *other == number;
                    assert_eq!(
                        same && *id == packet_id.get(),
                        same,
                        "{number} changes its id"
                    );
                    assert!(
                        same || !open || *id != packet_id.get(),
                        "{number} has the id of {other}"
                    );
                }
                wire.seen.insert(number, packet_id.get());
            }
            // Of an adopted session, PUBREL may go before PUBLISH.
            PacketRef::PubRel(pubrel) if !self.is_adopted => {
                let open = |number: &&u32| self.messages[**number as usize].outcome.is_none();
                let of = wire
                    .seen
                    .iter()
                    .filter(|(_, id)| **id == pubrel.packet_id.get());
                let number = of.map(|(number, _)| number).find(open);
                wire.released.extend(number);
            }
            _ => {}
        }
    }

    /// The server takes the next packet, if `up` has a whole one.
    pub(super) fn arrive(&mut self) -> bool {
        let bytes = std::mem::take(&mut self.up);
        self.server.received.extend(bytes);
        let Some(packet) = take_packet(&mut self.server.received) else {
            self.up = std::mem::take(&mut self.server.received);
            return false;
        };
        self.up = std::mem::take(&mut self.server.received);
        self.serve(&packet);
        true
    }

    fn serve(&mut self, packet: &[u8]) {
        let server = &mut self.server;
        server.serve(packet, &mut self.down);
        for number in server.lost.drain(..) {
            self.inbound.get_mut(&number).unwrap().1 = None;
        }
        for number in std::mem::take(&mut server.passed_on) {
            let message = &mut self.messages[number as usize];
            let latest = &mut self.latest[usize::from(message.qos.bits())];
            if message.delivered == 0 {
                assert!(
                    !self.in_order || *latest <= Some(number),
                    "{number} after {latest:?}"
                );
                *latest = Some(number);
            }
            message.delivered += 1;
        }
    }

    /// The server publishes a message of its own.
    pub(super) fn publish_inbound(&mut self, qos: u8) {
        let number = self.inbound.len() as u32;
        let server = &mut self.server;
        if server.flight.len() >= 20 || (!server.accepted && (qos == 0 || !server.has_session)) {
            return;
        }
        self.inbound.insert(number, (qos, Some(0)));
        server.next_id = server.next_id % 30 + 1;
        if qos > 0 {
            while server.flight.iter().any(|entry| entry.0 == server.next_id) {
                server.next_id = server.next_id % 30 + 1;
            }
            server
                .flight
                .push_back((server.next_id, number, qos, false));
        }
        if server.accepted {
            let packet = publish_bytes(server.next_id, number, qos, false);
            self.down.push_back(packet);
        }
    }

    /// The client receives the next packet, if there is one, or several.
    pub(super) fn receive(&mut self) -> bool {
        if self.phase() != Phase::Closed && self.receive_answers() {
            return true;
        }
        let Some(packet) = self.down.pop_front() else {
            return false;
        };
        if self.phase() == Phase::Closed {
            return true;
        }
        match self.rig.receive(&packet).unwrap() {
            Effect::Nothing => {}
            Effect::Completed { key, maybe_twice } => {
                self.settle(key, Outcome::Completed { maybe_twice });
            }
            Effect::SubAcked { key } => assert!(self.requests.remove(&key.0)),
            Effect::UnsubAcked { key } => panic!("{key:?}"),
            Effect::Deliver { ack } => {
                let PacketRef::Publish(publish) = decode_whole(&packet) else {
                    panic!("{packet:?}");
                };
                let number = number(publish.payload());
                let (qos, count) = self.inbound.get_mut(&number).unwrap();
                if let (Some(keeper), Some(token)) = (&mut self.keeper, ack) {
                    keeper.delivered(token, number);
                }
                if *qos == 0 {
                    assert_eq!(ack, None);
                }
                *count.as_mut().expect("it was lost") += 1;
                self.handlers.extend(ack);
            }
            Effect::Recorded { key, packet_id } => self.keeper().recorded(key, packet_id),
            Effect::Released { packet_id, .. } => self.keeper().released(packet_id),
        }
        self.outputs();
        true
    }

    fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("nobody keeps a record")
    }

    pub(super) fn outputs(&mut self) {
        while let Some(output) = self.rig.session.next_output() {
            match output {
                // The server may lose a session that the client does not know of, and nobody can
                // tell afterwards; here it does not.
                Output::Connected { session_present } => {
                    self.server.has_session = true;
                    if self.keeper.is_some() && !session_present {
                        self.start_over();
                    }
                }
                Output::Closed(cause) => panic!("{cause}"),
                Output::Throttled => panic!("no rate is set"),
                Output::RequestLost { key } => assert!(self.requests.remove(&key.0)),
                Output::SessionLost { key, fate } => {
                    let message = &self.messages[key.0 as usize];
                    assert!(message.outcome.is_none() && message.qos != QoS::AtMostOnce);
                    match fate {
                        Fate::GivenUp => {
                            let keeper = self.keeper.as_ref();
                            let restored = keeper.is_some_and(|k| k.is_restored(key.0));
                            assert!(message.lossy || restored, "{key:?}");
                            assert_eq!(self.policy, OnSessionLoss::Finish);
                            self.settle(key, Outcome::GivenUp);
                        }
                        Fate::SentAgain => assert!(self.keeper.is_none()),
                        Fate::HandedBack { maybe_sent } => self.handed_back(key, maybe_sent),
                    }
                }
            }
        }
    }

    pub(super) fn settle(&mut self, key: TicketKey, outcome: Outcome) {
        let message = &mut self.messages[key.0 as usize];
        assert_eq!(message.outcome, None, "{key:?} ends twice");
        message.outcome = Some(match outcome {
            Outcome::Completed { maybe_twice } => Outcome::Completed {
                maybe_twice: maybe_twice || message.twice,
            },
            Outcome::GivenUp => outcome,
        });
        if let Some(keeper) = &mut self.keeper {
            keeper.settled(key);
        }
    }

    /// The handler of one message that was delivered ends.
    pub(super) fn finish_handler(&mut self, at: usize) {
        let token = self.handlers.swap_remove(at);
        if let Some(keeper) = &mut self.keeper
            && token.is_exactly_once()
        {
            return keeper.finished(token);
        }
        self.rig.session.acknowledge(token);
        assert!(!token.is_exactly_once() || !self.rig.session.acknowledge(token));
    }

    /// The connection is cut: `packets` more come to the server, and it keeps the session or not.
    pub(super) fn cut(&mut self, packets: usize, keep: bool) {
        self.cut_link(packets, keep);
        self.attach();
    }

    pub(super) fn cut_link(&mut self, packets: usize, keep: bool) {
        for _ in 0..packets {
            if !self.arrive() {
                break;
            }
        }
        self.up.clear();
        self.down.clear();
        self.server.received.clear();
        self.server.accepted = false;
        let partial = std::mem::take(&mut self.wire.bytes);
        self.wire.begun |= partial
            .first()
            .is_some_and(|byte| matches!(byte, 0x32 | 0x34));
        if !keep {
            self.server.has_session = false;
            for number in self.wire.seen.keys() {
                self.messages[*number as usize].lossy = true;
            }
            self.wire = Wire::default();
        }
    }

    /// The session goes on without the connection that was cut.
    fn attach(&mut self) {
        let session = &mut self.rig.session;
        session.connection_lost();
        session.attach(&mut self.rig.log).unwrap();
        session.attach(&mut self.rig.log).unwrap();
        self.outputs();
    }

    /// CONNECT comes to the server, and its answer back.
    pub(super) fn settle_connack(&mut self) {
        self.write(usize::MAX);
        assert!(self.arrive() && self.receive());
    }

    /// Everything goes on until nothing moves.
    pub(super) fn settle_all(&mut self) {
        if self.phase() == Phase::Idle {
            self.connect();
        }
        loop {
            let mut moved = self.write(usize::MAX) > 0;
            moved |= self.arrive();
            moved |= self.receive();
            if !self.handlers.is_empty() {
                self.finish_handler(0);
                moved = true;
            }
            moved |= self.keeper.is_some() && self.record(usize::MAX);
            // An identifier may have been asked for.
            moved |= self.write(usize::MAX) > 0;
            if !moved {
                return;
            }
        }
    }
}

/// The message with this content, on the topic of all.
pub(super) fn outgoing(qos: QoS, payload: &[u8]) -> Outgoing<'_> {
    Outgoing {
        topic: "t",
        payload,
        qos,
        retain: false,
    }
}
