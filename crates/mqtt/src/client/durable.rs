//! What a client with a store keeps in memory beside it: which messages wait for their turn, and
//! which packets wait for the disk.
//!
//! ```text
//!                 ┌─ queue, by QoS ─► window ─┬─ QoS 1 ──────────────────────► session ─► log
//!   publish ─► store                          └─ QoS 2 ─► gate ─► room ──────►
//!   PUBREC of the broker     ─► gate ─► PUBREL          a gate opens when what it waits for
//!   a QoS 2 message handled  ─► gate ─► PUBREC          is durable
//!   PUBREL of the broker     ─► gate ─► PUBCOMP
//! ```
//! Whatever the broker may conclude from a packet is in the store before the packet leaves: which
//! message has which identifier (MQTT3-4.3.3-1), that PUBREC came (4.3.3-1), that a received message
//! was handled (4.3.3-2), that its identifier is free again. What needs no such care, QoS 1 and
//! acknowledgements that came, is recorded without being waited for. Nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::shared::{State, now};
use super::ticket::Outcome;
use crate::packet::{PacketId, QoS};
use crate::session::{AckToken, Outgoing, TicketKey};
use crate::store::{DoneCause, Record, Store, StorePos, StoredMessage};
use crate::time::Time;

/// A client's side of its store.
pub(super) struct Durable {
    pub(super) store: Rc<dyn Store>,
    /// Set when a message may get its turn.
    pub(super) feed: Rc<fiber::Event>,
    /// Messages without an identifier, those of QoS 1 and those of QoS 2, in order of publishing.
    queues: [VecDeque<Queued>; 2],
    /// In order of their positions.
    gates: VecDeque<Gate>,
    /// Gates whose message is in no file yet, because the disk is full.
    held: Vec<Gate>,
    /// QoS 2 messages whose identifier is recorded, and that wait for room in the log or for a
    /// connection.
    recorded: VecDeque<Reserved>,
    /// The slots of stored messages that have one.
    slots: BTreeMap<StorePos, TicketKey>,
}

/// A message that waits for its turn; its content is in the store.
#[derive(Clone, Copy, Debug)]
struct Queued {
    pos: StorePos,
    /// The broker may have it, from a session that is over.
    maybe_sent: bool,
}

/// What waits for the disk.
struct Gate {
    at: StorePos,
    what: Gated,
}

enum Gated {
    /// PUBLISH.
    Publish(Reserved),
    /// PUBREL.
    Release { packet_id: PacketId, key: TicketKey },
    /// PUBREC.
    Acknowledge(AckToken),
    /// PUBCOMP.
    Complete(PacketId),
}

/// A QoS 2 message that has an identifier and was not given to the session yet.
struct Reserved {
    pos: StorePos,
    packet_id: PacketId,
    key: TicketKey,
    content: Content,
}

/// What is published.
struct Content {
    topic: Box<str>,
    payload: Box<[u8]>,
    retain: bool,
}

impl Content {
    fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.topic,
            payload: &self.payload,
            qos: QoS::ExactlyOnce,
            retain: self.retain,
        }
    }
}

impl From<Outgoing<'_>> for Content {
    fn from(outgoing: Outgoing<'_>) -> Self {
        Self {
            topic: outgoing.topic.into(),
            payload: outgoing.payload.into(),
            retain: outgoing.retain,
        }
    }
}

/// What a message that is first in its queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: it was taken.
    Taken,
    /// Room, or a connection.
    Waits,
}

const fn place(qos: QoS) -> usize {
    match qos {
        QoS::AtMostOnce | QoS::AtLeastOnce => 0,
        QoS::ExactlyOnce => 1,
    }
}

impl Durable {
    pub(super) fn new(store: Rc<dyn Store>) -> Self {
        Self {
            store,
            feed: Rc::default(),
            queues: [VecDeque::new(), VecDeque::new()],
            gates: VecDeque::new(),
            held: Vec::new(),
            recorded: VecDeque::new(),
            slots: BTreeMap::new(),
        }
    }

    /// Puts a message behind those of its QoS.
    pub(super) fn queue(&mut self, qos: QoS, pos: StorePos, maybe_sent: bool) {
        self.queues[place(qos)].push_back(Queued { pos, maybe_sent });
        self.feed.set();
    }

    /// Puts a message back among those of its QoS, in order of publishing.
    fn queue_again(&mut self, qos: QoS, pos: StorePos, maybe_sent: bool) {
        let queue = &mut self.queues[place(qos)];
        let at = queue.partition_point(|other| other.pos < pos);
        queue.insert(at, Queued { pos, maybe_sent });
        self.feed.set();
    }

    /// The message of this QoS whose turn is next.
    pub(super) fn first(&self, qos: QoS) -> Option<StorePos> {
        self.queues[place(qos)].front().map(|queued| queued.pos)
    }

    /// Whether no message of this QoS comes before a new one.
    pub(super) fn is_next(&self, qos: QoS, pos: StorePos) -> bool {
        self.first(qos) == Some(pos)
    }

    /// How many messages are not in flight: they wait for their turn, or for the disk.
    pub(super) fn waiting(&self) -> usize {
        let gates = self.gates.iter().chain(&self.held);
        let gated = gates.filter(|gate| matches!(gate.what, Gated::Publish(_)));
        self.queues.iter().map(VecDeque::len).sum::<usize>() + gated.count() + self.recorded.len()
    }

    /// Lets the feeder look for room if it has use for it.
    #[inline]
    pub(super) fn room(&self) {
        if !self.recorded.is_empty() || self.queues.iter().any(|queue| !queue.is_empty()) {
            self.feed.set();
        }
    }

    fn append(&self, record: &Record<'_>) -> StorePos {
        match self.store.append(record) {
            Ok(pos) => pos,
            // Only messages are refused, and they do not come here.
            Err(_) => self.store.appended(),
        }
    }

    fn is_completing(&self, packet_id: PacketId) -> bool {
        let mut gates = self.gates.iter().chain(&self.held);
        gates.any(|gate| matches!(gate.what, Gated::Complete(other) if other == packet_id))
    }

    fn is_open(&self, gate: &Gate) -> bool {
        let message_is_there = match &gate.what {
            Gated::Publish(reserved) => self.store.is_durable(reserved.pos),
            Gated::Release { .. } | Gated::Acknowledge(_) | Gated::Complete(_) => true,
        };
        message_is_there && self.store.is_durable(gate.at)
    }
}

impl State {
    /// The slot of a stored message; one that nobody holds is opened if there is none.
    pub(super) fn stored_slot(&mut self, pos: StorePos, maybe_sent: bool) -> TicketKey {
        let known = self
            .durable
            .as_ref()
            .and_then(|durable| durable.slots.get(&pos));
        if let Some(key) = known {
            return *key;
        }
        let key = self.tickets.open_stored(pos, maybe_sent);
        if let Some(durable) = &mut self.durable {
            durable.slots.insert(pos, key);
        }
        key
    }

    /// Whether a message of this QoS may be given an identifier: there is room, and a connection. With
    /// one that was never used, nobody could tell later whether the broker has the message.
    pub(super) fn has_turn(&self, qos: QoS) -> bool {
        self.is_up()
            && self.session.window_room() > 0
            && (qos != QoS::ExactlyOnce || self.exactly_once_room() > 0)
    }

    /// Gives the first message of a queue its turn, if there is room; `outgoing` is its content.
    pub(super) fn take_turn(&mut self, outgoing: Outgoing<'_>, now: Time) -> Turn {
        let qos = outgoing.qos;
        let queued = self.durable.as_ref().and_then(|durable| {
            let queue = &durable.queues[place(qos)];
            queue.front().copied()
        });
        let Some(queued) = queued else {
            return Turn::Waits;
        };
        if !self.has_turn(qos) {
            return Turn::Waits;
        }
        let key = self.stored_slot(queued.pos, queued.maybe_sent);
        let taken = if qos == QoS::ExactlyOnce {
            self.reserve(queued.pos, key, outgoing, now)
        } else {
            self.send_stored(queued.pos, key, outgoing)
        };
        if taken && let Some(durable) = &mut self.durable {
            durable.queues[place(qos)].pop_front();
        }
        if taken { Turn::Taken } else { Turn::Waits }
    }

    /// Publishes a QoS 1 message. False where there is no room.
    fn send_stored(&mut self, pos: StorePos, key: TicketKey, outgoing: Outgoing<'_>) -> bool {
        match self.session.publish(outgoing, key, &mut self.log) {
            Ok(admitted) => {
                self.tickets.admitted(key, admitted.end);
                if let (Some(durable), Some(packet_id)) = (&self.durable, admitted.packet_id) {
                    let message = pos;
                    durable.append(&Record::Assigned { message, packet_id });
                }
                true
            }
            Err(rejected) => self.refused_turn(key, &rejected),
        }
    }

    /// Takes an identifier for a QoS 2 message, and records it.
    fn reserve(
        &mut self,
        pos: StorePos,
        key: TicketKey,
        outgoing: Outgoing<'_>,
        now: Time,
    ) -> bool {
        let packet_id = match self.session.reserve(key) {
            Ok(packet_id) => packet_id,
            Err(rejected) => return self.refused_turn(key, &rejected),
        };
        self.tickets.begin_exactly_once(key);
        let Some(durable) = &self.durable else {
            return false;
        };
        let message = pos;
        let at = durable.append(&Record::Assigned { message, packet_id });
        let content = Content::from(outgoing);
        let what = Gated::Publish(Reserved {
            pos,
            packet_id,
            key,
            content,
        });
        self.wait_for_disk(Gate { at, what }, now);
        true
    }

    /// Whether the turn is over all the same: a message that can never be sent is given up.
    fn refused_turn(&mut self, key: TicketKey, rejected: &crate::session::Rejected) -> bool {
        let crate::session::Rejected::Argument(error) = rejected else {
            return false;
        };
        log::error!("a stored message cannot be sent and is dropped: {error}");
        self.settle_stored(key, DoneCause::Dropped);
        true
    }

    fn wait_for_disk(&mut self, gate: Gate, now: Time) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        if durable.is_open(&gate) {
            self.open_gate(gate, now);
        } else {
            durable.gates.push_back(gate);
            durable.store.hurry();
        }
    }

    /// Lets go what the disk is sure of by now.
    pub(super) fn open_gates(&mut self, now: Time) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let mut open = Vec::new();
        let durable_to = durable.store.durable();
        let mut waiting = std::mem::take(&mut durable.held);
        while let Some(gate) = durable.gates.pop_front() {
            if gate.at > durable_to {
                durable.gates.push_front(gate);
                break;
            }
            waiting.push(gate);
        }
        for gate in waiting {
            if durable.is_open(&gate) {
                open.push(gate);
            } else {
                durable.held.push(gate);
            }
        }
        for gate in open {
            self.open_gate(gate, now);
        }
    }

    fn open_gate(&mut self, gate: Gate, now: Time) {
        match gate.what {
            Gated::Publish(reserved) => {
                if let Some(durable) = &mut self.durable {
                    durable.recorded.push_back(reserved);
                }
                self.send_recorded();
            }
            Gated::Release { packet_id, key } => {
                self.session.release(packet_id, key, now, &mut self.log);
            }
            Gated::Acknowledge(ack) => {
                self.session.acknowledge(ack);
            }
            Gated::Complete(packet_id) => self.session.complete(packet_id),
        }
    }

    /// Publishes QoS 2 messages whose identifier is recorded, as far as there is room.
    pub(super) fn send_recorded(&mut self) {
        let Self {
            session,
            log,
            tickets,
            durable: Some(durable),
            ..
        } = self
        else {
            return;
        };
        while let Some(reserved) = durable.recorded.front() {
            let Reserved { packet_id, key, .. } = *reserved;
            let outgoing = reserved.content.outgoing();
            match session.publish_reserved(outgoing, packet_id, key, log) {
                Ok(admitted) => tickets.admitted(key, admitted.end),
                // Its arguments were looked at before it was stored.
                Err(_) => return,
            }
            durable.recorded.pop_front();
        }
    }

    /// Notes that PUBREC came for a stored message.
    pub(super) fn on_recorded(&mut self, key: TicketKey, packet_id: PacketId, now: Time) {
        let (Some(durable), Some(message)) = (&self.durable, self.tickets.stored(key)) else {
            return;
        };
        let at = durable.append(&Record::Recorded { message });
        let what = Gated::Release { packet_id, key };
        self.wait_for_disk(Gate { at, what }, now);
    }

    /// Notes that the broker releases the identifier of a message that it sent.
    pub(super) fn on_released(&mut self, packet_id: PacketId, known: bool, now: Time) {
        let Some(durable) = &self.durable else { return };
        if durable.is_completing(packet_id) {
            return;
        }
        if known {
            let at = durable.append(&Record::Released(packet_id));
            let what = Gated::Complete(packet_id);
            self.wait_for_disk(Gate { at, what }, now);
        } else {
            self.session.complete(packet_id);
        }
    }

    /// Acknowledges a received message that was handled: at once, or when that is recorded.
    /// Returns whether there may be something to send.
    pub(super) fn finish_received(&mut self, ack: AckToken) -> bool {
        match &self.durable {
            Some(durable) if self.session.awaits_record(ack) => {
                let at = durable.append(&Record::Received(ack.packet_id()));
                let what = Gated::Acknowledge(ack);
                self.wait_for_disk(Gate { at, what }, now());
                true
            }
            Some(_) | None => self.session.acknowledge(ack),
        }
    }

    /// Notes that a stored message is done, for this reason.
    pub(super) fn settle_stored(&mut self, key: TicketKey, cause: DoneCause) {
        let Some(message) = self.tickets.stored(key) else {
            return;
        };
        if let Some(durable) = &mut self.durable {
            let key = None;
            durable.append(&Record::Done {
                message,
                cause,
                key,
            });
            durable.slots.remove(&message);
        }
        self.tickets.settle(key, outcome_of(cause));
        self.wake_for_all_room();
        self.check_drained();
    }

    /// Notes that the broker has lost the session: what waits for the disk was about that one.
    pub(super) fn forget_gates(&mut self) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        durable.append(&Record::SessionLost);
        let gates = durable.gates.drain(..).chain(durable.held.drain(..));
        let publishes = gates.filter_map(|gate| match gate.what {
            Gated::Publish(reserved) => Some(reserved),
            Gated::Release { .. } | Gated::Acknowledge(_) | Gated::Complete(_) => None,
        });
        let reserved: Vec<_> = publishes.chain(durable.recorded.drain(..)).collect();
        for Reserved {
            pos,
            packet_id,
            key,
            ..
        } in reserved
        {
            self.session.unreserve(packet_id);
            let maybe_sent = self.tickets.hand_back(key, false);
            if let Some(durable) = &mut self.durable {
                durable.queue_again(QoS::ExactlyOnce, pos, maybe_sent);
            }
        }
    }

    /// Takes a message back from a session that the broker has lost.
    pub(super) fn take_back(&mut self, key: TicketKey, maybe_sent: bool) {
        let Some(pos) = self.tickets.stored(key) else {
            return;
        };
        let qos = if self.tickets.is_exactly_once(key) {
            QoS::ExactlyOnce
        } else {
            QoS::AtLeastOnce
        };
        let maybe_sent = self.tickets.hand_back(key, maybe_sent);
        if let Some(durable) = &mut self.durable {
            durable.queue_again(qos, pos, maybe_sent);
        }
    }

    /// Gives a message up that is not in the store any more, or whose content is damaged.
    pub(super) fn give_up_first(&mut self, qos: QoS, pos: StorePos) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let queue = &mut durable.queues[place(qos)];
        if queue.front().is_none_or(|queued| queued.pos != pos) {
            return;
        }
        queue.pop_front();
        let key = self.stored_slot(pos, false);
        self.settle_stored(key, DoneCause::Dropped);
    }

    /// Puts what the store knows of the session into it; `contents` are those of the messages that
    /// were in flight.
    pub(super) fn restore(&mut self, contents: &BTreeMap<StorePos, StoredMessage>) {
        let Some(durable) = &self.durable else { return };
        let recovered = durable.store.recovered();
        let is_known = !(recovered.in_flight.is_empty()
            && recovered.released.is_empty()
            && recovered.received.is_empty());
        for packet_id in recovered.received {
            self.session.restore_received(packet_id);
        }
        let mut again = Vec::new();
        let released = recovered.released.into_iter().map(|stored| (stored, true));
        let in_flight = recovered
            .in_flight
            .into_iter()
            .map(|stored| (stored, false));
        for (stored, is_released) in released.chain(in_flight) {
            let Some(packet_id) = stored.packet_id else {
                continue;
            };
            let key = self.stored_slot(stored.pos, stored.maybe_sent);
            let Self { session, log, .. } = self;
            let restored = if is_released {
                session.restore_release(packet_id, key, log)
            } else if let Some(content) = contents.get(&stored.pos) {
                session.restore_publish(content.outgoing(), packet_id, key, log)
            } else {
                self.settle_stored(key, DoneCause::Dropped);
                continue;
            };
            match restored {
                Ok(admitted) => {
                    if stored.qos == QoS::ExactlyOnce {
                        self.tickets.begin_exactly_once(key);
                    }
                    self.tickets.admitted(key, admitted.end);
                }
                Err(error) => {
                    log::error!("a message in flight could not be restored: {error}");
                    again.push(stored);
                }
            }
        }
        if is_known {
            self.session.restore_known();
        }
        let Some(durable) = &mut self.durable else {
            return;
        };
        for stored in recovered.queued {
            durable.queue(stored.qos, stored.pos, stored.maybe_sent);
        }
        for stored in again {
            durable.queue_again(stored.qos, stored.pos, true);
        }
    }
}

/// What became of a message, as the store knows it.
pub(super) const fn outcome_of(cause: DoneCause) -> Outcome {
    match cause {
        DoneCause::Acked { maybe_twice } => Outcome::Acked { maybe_twice },
        DoneCause::Refused(reason) => Outcome::Refused(reason),
        DoneCause::Expired => Outcome::Expired,
        DoneCause::Dropped => Outcome::DroppedByPolicy,
        DoneCause::SessionLost => Outcome::SessionLost,
        DoneCause::Withdrawn => Outcome::Withdrawn,
    }
}
