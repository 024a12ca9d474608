//! A session and a server that may send anything at any time.

mod record;
pub(super) mod server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::record::{Flying, Job};
use self::server::{answer, id, made_packet};
use super::input::Input;
use crate::outbound_log::{LOG_BYTES_MIN, OutboundLog};
use crate::packet::{
    Connect, ConnectFields, MAX_PACKET_LEN, PacketId, PacketRef, QoS, Version, decode,
};
use crate::session::{
    AckToken, ArgumentError, Effect, Fate, Input as Event, NoRoom, OnSessionLoss, Outgoing, Output,
    Phase, Rejected, Session, SessionOptions, TicketKey,
};
use crate::time::Time;

const VERSION: Version = Version::V311;
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
/// More steps than any end takes.
const ENDING_STEPS: usize = 10_000;

/// Drives a session whose server may send anything: commands, bytes that leave in pieces, packets of
/// the server, time, cuts, a record that is late, crashes. Every message and request has one outcome,
/// memory is bounded, what leaves are packets in order, and with a server that is honest at last
/// nothing stays open.
///
/// The input: options (seven bytes), then a byte for each step, with what the step needs.
pub fn peers(data: &[u8]) {
    let mut input = Input::new(data);
    let mut side = Side::new(&mut input);
    while !input.is_empty() {
        side.step(&mut input);
        side.check();
    }
    side.end();
}

/// What was asked of the session and has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// An identifier, for a message that is published once that is recorded.
    Reserved,
    Publish(QoS),
    Subscribe,
    Unsubscribe,
}

struct Side {
    options: SessionOptions,
    log_bytes: usize,
    session: Session,
    log: OutboundLog,
    now: Time,
    open: BTreeMap<u32, Open>,
    next_key: u32,
    tokens: VecDeque<AckToken>,
    jobs: VecDeque<Job>,
    /// Recorded.
    flying: BTreeMap<u32, Flying>,
    received: BTreeSet<PacketId>,
    /// Bytes that left on this connection and are no whole packet yet.
    wire: Vec<u8>,
    has_connected: bool,
    has_left: bool,
    /// By QoS, the latest message that was seen to leave for the first time.
    latest: [Option<u32>; 3],
    seen: BTreeSet<u32>,
    /// Whole packets that left, for the server that is honest.
    sent: VecDeque<Vec<u8>>,
}

impl Side {
    fn new(input: &mut Input<'_>) -> Self {
        let options = SessionOptions {
            window: [1, 3, 20, 200][input.below(4)],
            inbound_window: [1, 4, 20][input.below(3)],
            on_session_loss: [OnSessionLoss::Resend, OnSessionLoss::Finish][input.below(2)],
            recorded: input.below(2) == 1,
            ping_after: [None, Some(Duration::from_secs(1))][input.below(2)],
            ..SessionOptions::default()
        };
        let log_bytes = [LOG_BYTES_MIN, 3 * LOG_BYTES_MIN][input.below(2)];
        Self {
            session: Session::new(options.clone()),
            log: OutboundLog::new(log_bytes),
            log_bytes,
            options,
            now: Time::ZERO,
            open: BTreeMap::new(),
            next_key: 0,
            tokens: VecDeque::new(),
            jobs: VecDeque::new(),
            flying: BTreeMap::new(),
            received: BTreeSet::new(),
            wire: Vec::new(),
            has_connected: false,
            has_left: false,
            latest: [None; 3],
            seen: BTreeSet::new(),
            sent: VecDeque::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(26) {
            0..=3 => {
                let qos = QOS[input.below(3)];
                let len = [0, 30, 200, 9_000][input.below(4)];
                self.publish(qos, len);
            }
            4 => self.request(input.below(4), 1 + input.below(3)),
            5 => drop(self.write(input.u16().into())),
            6 => drop(self.write(usize::MAX)),
            7 => match input.below(2) {
                0 => self.session.write_blocked(self.now),
                _ => self.session.progressed(self.now),
            },
            8..=9 => self.pass_time(input.below(5)),
            10..=16 => {
                let packet = made_packet(input);
                self.receive(&packet);
            }
            17 => {
                let len = input.below(64);
                self.receive(input.bytes(len));
            }
            18 => {
                if let Some(token) = pick(&self.tokens, input.below(256)) {
                    self.acknowledge(token);
                }
            }
            19 => self.session.disconnect(self.now, &self.log),
            20 => self.reconnect(),
            21 => self.connect(input.below(2) == 1),
            22 => drop(self.record(input.below(6))),
            23 if self.options.recorded => self.crash(),
            24 => drop(self.session.ping(self.now, &self.log)),
            _ => self.call_out_of_place(input),
        }
        self.outputs();
    }

    fn publish(&mut self, qos: QoS, len: usize) {
        let key = self.next_key;
        if self.options.recorded && qos == QoS::ExactlyOnce {
            match self.session.reserve(TicketKey(key)) {
                Ok(packet_id) => {
                    self.enter(key, Open::Reserved);
                    self.jobs.push_back(Job::Publish { key, packet_id });
                }
                Err(Rejected::NoRoom(NoRoom::Window { .. } | NoRoom::Stale) | Rejected::Ended) => {}
                Err(other) => panic!("{other}"),
            }
            return;
        }
        let payload = content(key, len);
        let message = outgoing(qos, &payload);
        match self.session.publish(message, TicketKey(key), &mut self.log) {
            Ok(admitted) => {
                assert_eq!(admitted.packet_id.is_some(), qos != QoS::AtMostOnce);
                let Some(packet_id) = admitted.packet_id else {
                    self.next_key += 1;
                    return;
                };
                self.enter(key, Open::Publish(qos));
                self.fly(key, packet_id, qos);
            }
            Err(Rejected::NoRoom(NoRoom::Window { .. } | NoRoom::Log(_)) | Rejected::Ended) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn enter(&mut self, key: u32, open: Open) {
        assert_eq!(self.open.insert(key, open), None);
        self.next_key = key + 1;
    }

    fn fly(&mut self, key: u32, packet_id: PacketId, qos: QoS) {
        let is_taken = |flying: &Flying| flying.packet_id == packet_id;
        assert!(
            !self.flying.values().any(is_taken),
            "{packet_id} is given twice"
        );
        let flying = Flying {
            packet_id,
            qos,
            is_released: false,
        };
        self.flying.insert(key, flying);
    }

    fn request(&mut self, kind: usize, filters: usize) {
        let key = TicketKey(self.next_key);
        let subscribed = [("f/#", QoS::ExactlyOnce); 3];
        let unsubscribed = ["f/#"; 3];
        let (session, log) = (&mut self.session, &mut self.log);
        let (made, open) = match kind {
            0 => {
                let made = session.subscribe(&subscribed[..filters], key, log);
                (made.map(drop), Open::Subscribe)
            }
            1 => {
                let made = session.unsubscribe(&unsubscribed[..filters], key, log);
                (made.map(drop), Open::Unsubscribe)
            }
            2 => {
                let made = session.subscribe_ahead(&subscribed[..filters], key);
                (made.map(drop), Open::Subscribe)
            }
            _ => {
                let made = session.unsubscribe_ahead(&unsubscribed[..filters], key);
                (made.map(drop), Open::Unsubscribe)
            }
        };
        match made {
            Ok(()) => self.enter(key.0, open),
            Err(Rejected::NoRoom(_) | Rejected::Ended | Rejected::NotUp) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// The transport takes `n` bytes; returns whether there were some.
    fn write(&mut self, n: usize) -> bool {
        let mut taken = 0;
        loop {
            let chunk = self.session.next_chunk(&self.log);
            let len = chunk.len().min(n - taken);
            if len == 0 {
                break;
            }
            self.wire.extend_from_slice(&chunk[..len]);
            taken += len;
            self.session.advance(len, self.now, &mut self.log);
        }
        while let Some((_, len)) = decode(&self.wire, VERSION, MAX_PACKET_LEN).expect("a packet") {
            let packet: Vec<u8> = self.wire.drain(..len).collect();
            self.see(&packet);
            self.sent.push_back(packet);
        }
        taken > 0
    }

    fn see(&mut self, packet: &[u8]) {
        assert!(!self.has_left, "a packet behind DISCONNECT");
        let packet = whole(packet);
        let is_connect = matches!(packet, PacketRef::Connect(_));
        assert_ne!(is_connect, self.has_connected, "{packet:?}");
        self.has_connected = true;
        match packet {
            PacketRef::Publish(publish) => {
                let number = number(publish.payload());
                if self.seen.insert(number) {
                    let latest = &mut self.latest[usize::from(publish.qos().bits())];
                    assert!(*latest < Some(number), "{number} is late");
                    *latest = Some(number);
                }
            }
            PacketRef::Disconnect(_) => self.has_left = true,
            _ => {}
        }
    }

    fn pass_time(&mut self, how: usize) {
        let deadline = self.session.next_deadline();
        let secs = [0, 1, 40, 100_000][how.min(3)];
        self.now = match deadline {
            Some(deadline) if how == 4 => deadline.max(self.now),
            _ => self.now + Duration::from_secs(secs),
        };
        self.handle(Event::Timer);
        let next = self.session.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is over");
    }

    /// The server sends this; what is no packet ends the connection before the session.
    fn receive(&mut self, bytes: &[u8]) {
        if let Ok(Some((packet, _))) = decode(bytes, VERSION, MAX_PACKET_LEN) {
            self.session.received(self.now);
            self.handle(Event::Packet(packet));
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        match self.session.handle(event, self.now, &mut self.log) {
            Ok(Effect::Nothing) => {}
            Ok(Effect::Completed { key, .. }) => {
                let ended = self.open.remove(&key.0);
                assert!(
                    matches!(ended, Some(Open::Publish(qos)) if qos != QoS::AtMostOnce),
                    "{key:?} was {ended:?}"
                );
                self.flying.remove(&key.0);
            }
            Ok(Effect::SubAcked { key }) => {
                assert_eq!(self.open.remove(&key.0), Some(Open::Subscribe), "{key:?}");
            }
            Ok(Effect::UnsubAcked { key }) => {
                assert_eq!(self.open.remove(&key.0), Some(Open::Unsubscribe), "{key:?}");
            }
            Ok(Effect::Deliver { ack }) => {
                self.tokens.extend(ack);
                self.tokens.truncate(256);
            }
            Ok(Effect::Recorded { key, packet_id }) => {
                assert!(self.options.recorded);
                let key = key.0;
                assert_eq!(self.open[&key], Open::Publish(QoS::ExactlyOnce));
                assert_eq!(self.flying[&key].packet_id, packet_id);
                self.jobs.push_back(Job::Release { key, packet_id });
            }
            Ok(Effect::Released { packet_id, .. }) => {
                assert!(self.options.recorded);
                self.jobs.push_back(Job::Complete(packet_id));
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert_eq!(self.session.phase(), Phase::Closed);
            }
        }
    }

    fn outputs(&mut self) {
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Connected { session_present } => {
                    if self.options.recorded && !session_present {
                        self.start_over();
                    }
                }
                Output::Throttled => {}
                Output::Closed(_) => assert_eq!(self.session.phase(), Phase::Closed),
                Output::RequestLost { key } => {
                    let ended = self.open.remove(&key.0);
                    let is_request = matches!(ended, Some(Open::Subscribe | Open::Unsubscribe));
                    assert!(is_request, "{key:?} was {ended:?}");
                }
                Output::SessionLost { key, fate } => {
                    let open = self.open.get(&key.0);
                    assert!(
                        matches!(open, Some(Open::Publish(_))),
                        "{key:?} was {open:?}"
                    );
                    match fate {
                        Fate::SentAgain => assert!(!self.options.recorded),
                        Fate::GivenUp | Fate::HandedBack { .. } => {
                            self.open.remove(&key.0);
                            self.flying.remove(&key.0);
                        }
                    }
                }
            }
        }
    }

    fn acknowledge(&mut self, token: AckToken) {
        if self.session.awaits_record(token) && self.options.recorded {
            self.jobs.push_back(Job::Received(token));
        } else {
            self.session.acknowledge(token);
        }
    }

    fn call_out_of_place(&mut self, input: &mut Input<'_>) {
        let packet_id = id(input);
        let nobody = TicketKey(u32::MAX);
        let (session, log) = (&mut self.session, &mut self.log);
        assert!(!session.release(packet_id, nobody, self.now, log));
        let payload = content(u32::MAX, 0);
        let message = outgoing(QoS::ExactlyOnce, &payload);
        let made = session.publish_reserved(message, packet_id, nobody, log);
        let error = Rejected::Argument(ArgumentError::NotReserved { packet_id });
        assert_eq!(made, Err(error));
    }

    fn connect(&mut self, clean_start: bool) {
        let fields = ConnectFields {
            clean_start,
            keep_alive_secs: 30,
            client_id: "id",
            ..ConnectFields::default()
        };
        let connect = Connect::new(VERSION, fields).expect("these are good fields");
        let is_idle = self.session.phase() == Phase::Idle;
        assert_eq!(self.session.connect(&connect, self.now).is_ok(), is_idle);
    }

    fn reconnect(&mut self) {
        self.session.connection_lost();
        let attached = self.session.attach(&mut self.log);
        assert_eq!(attached, Ok(()));
        self.wire.clear();
        self.sent.clear();
        (self.has_connected, self.has_left) = (false, false);
        self.outputs();
    }

    fn check(&self) {
        let count = |kind: fn(&Open) -> bool| self.open.values().filter(|open| kind(open)).count();
        let publishes = count(|open| matches!(open, Open::Publish(_)));
        assert_eq!(self.session.unacknowledged(), publishes);
        let requests = count(|open| matches!(open, Open::Subscribe | Open::Unsubscribe));
        assert_eq!(self.session.requests(), requests);
        assert!(self.session.inbound_held() <= self.options.inbound_window.into());
        // PUBREL cannot wait for room: four bytes for each message, taken a page at a time.
        let beyond = 4 * usize::from(self.options.window) + 4096;
        let is_bounded = self.log.capacity() <= self.log.bound() + beyond;
        assert!(is_bounded, "{:?}", self.log);
    }

    /// From here on the server is honest, and everything comes to its end.
    fn end(mut self) {
        self.reconnect();
        self.connect(false);
        for _ in 0..ENDING_STEPS {
            let mut moved = self.write(usize::MAX);
            while let Some(packet) = self.sent.pop_front() {
                if let Some(answer) = answer(&whole(&packet)) {
                    self.receive(&answer);
                }
            }
            while let Some(token) = self.tokens.pop_front() {
                self.acknowledge(token);
            }
            self.outputs();
            moved |= self.record(usize::MAX);
            self.check();
            if !moved {
                assert!(self.open.is_empty(), "{:?} stay open", self.open);
                assert!(self.log.is_empty() && self.flying.is_empty());
                return;
            }
        }
        panic!("there is no end to it");
    }
}

fn pick<T: Copy>(of: &VecDeque<T>, at: usize) -> Option<T> {
    of.get(at % of.len().max(1)).copied()
}

/// A payload of at least four bytes, the number of the message.
fn content(number: u32, len: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + len, b'.');
    payload
}

fn number(payload: &[u8]) -> u32 {
    payload
        .first_chunk()
        .map_or(0, |number| u32::from_be_bytes(*number))
}

const fn outgoing(qos: QoS, payload: &[u8]) -> Outgoing<'_> {
    Outgoing {
        topic: "t",
        payload,
        qos,
        retain: false,
    }
}

fn whole(packet: &[u8]) -> PacketRef<'_> {
    match decode(packet, VERSION, MAX_PACKET_LEN) {
        Ok(Some((packet, _))) => packet,
        other => panic!("expected a packet, found {other:?}"),
    }
}
