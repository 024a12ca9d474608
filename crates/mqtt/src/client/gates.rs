//! What waits for the disk before it leaves: a gate opens when what it waits for is durable.

use std::collections::BTreeSet;

use super::durable::Kept;
use super::shared::{State, now};
use crate::packet::{PacketId, QoS};
use crate::session::{AckToken, NoRoom, Outgoing, Rejected, TicketKey};
use crate::store::{Record, StorePos};
use crate::time::Time;

/// What waits for the disk.
pub(super) struct Gate {
    pub(super) at: StorePos,
    pub(super) what: Gated,
}

pub(super) enum Gated {
    /// PUBLISH.
    Publish(Reserved),
    /// PUBREL.
    Release { packet_id: PacketId, key: TicketKey },
    /// PUBREC.
    Acknowledge(AckToken),
    /// PUBCOMP.
    Complete(PacketId),
}

#[cfg(any(test, feature = "planted"))]
impl Gated {
    /// The fault that lets it go before it is durable.
    const fn opened_early_by(&self) -> crate::session::Planted {
        use crate::session::Planted;
        match self {
            Self::Publish(_) => Planted::PublishBeforeRecord,
            Self::Release { .. } => Planted::ReleaseBeforeRecord,
            Self::Acknowledge(_) => Planted::AckBeforeRecord,
            Self::Complete(_) => Planted::CompleteBeforeRecord,
        }
    }
}

/// A QoS 2 message that has an identifier and was not given to the session yet.
pub(super) struct Reserved {
    pub(super) pos: StorePos,
    pub(super) packet_id: PacketId,
    pub(super) key: TicketKey,
    pub(super) content: Content,
}

/// What is published.
pub(super) struct Content {
    topic: Box<str>,
    payload: Box<[u8]>,
    retain: bool,
}

impl Content {
    /// Bytes of its topic and payload.
    fn len(&self) -> usize {
        self.topic.len() + self.payload.len()
    }

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

impl State {
    /// Bytes of the topics and payloads of stored messages that were never sent.
    pub(super) fn unsent_stored_bytes(&self) -> usize {
        let Some(durable) = &self.durable else {
            return 0;
        };
        let gates = durable.gates.iter().chain(&durable.held);
        let gated = gates.filter_map(|gate| match &gate.what {
            Gated::Publish(reserved) => Some(reserved),
            Gated::Release { .. } | Gated::Acknowledge(_) | Gated::Complete(_) => None,
        });
        let reserved = gated.chain(&durable.recorded);
        let unsent = reserved.filter(|reserved| !self.tickets.is_maybe_sent(reserved.key));
        let reserved: usize = unsent.map(|reserved| reserved.content.len()).sum();
        durable.line.unsent_bytes() + reserved
    }

    pub(super) fn wait_for_disk(&mut self, gate: Gate, now: Time) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let is_open = durable.is_open(&gate);
        #[cfg(any(test, feature = "planted"))]
        let is_open = is_open || self.session.is_planted(gate.what.opened_early_by());
        if is_open {
            self.open_gate(gate, now);
        } else {
            durable.note_gate(&gate.what, true);
            durable.gates.push_back(gate);
            durable.store.hurry();
        }
    }

    /// Lets go what the disk is sure of by now.
    pub(super) fn open_gates(&mut self, now: Time) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        if !durable.restored.is_empty() {
            durable.feed.set();
        }
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
        // Messages leave in order: one that the disk has no room for holds back all later ones.
        let mut is_held = false;
        for gate in waiting {
            let waits_in_order = is_held && matches!(gate.what, Gated::Publish(_));
            if !waits_in_order && durable.is_open(&gate) {
                open.push(gate);
            } else {
                is_held |= matches!(gate.what, Gated::Publish(_));
                durable.held.push(gate);
            }
        }
        for gate in &open {
            durable.note_gate(&gate.what, false);
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
        if !durable.restored.is_empty() {
            return;
        }
        let mut needs_log = false;
        while let Some(reserved) = durable.recorded.front() {
            let Reserved { packet_id, key, .. } = *reserved;
            let outgoing = reserved.content.outgoing();
            match session.publish_reserved(outgoing, packet_id, key, log) {
                Ok(admitted) => tickets.admitted(key, admitted.end),
                Err(Rejected::NoRoom(NoRoom::Log(_))) => {
                    needs_log = true;
                    break;
                }
                // Its arguments were looked at before it was stored.
                Err(_) => break,
            }
            durable.recorded.pop_front();
        }
        self.set_needs_log(needs_log);
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
        if durable.completing.contains(&packet_id) {
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
    #[inline(always)]
    pub(super) fn finish_received(&mut self, ack: AckToken) -> bool {
        match &self.durable {
            // It is another client's by now, which has not heard of this message.
            Some(durable) if self.over && durable.store.is_claimed() => false,
            Some(durable) if self.session.awaits_record(ack) => {
                let at = durable.append(&Record::Received(ack.packet_id()));
                let what = Gated::Acknowledge(ack);
                self.wait_for_disk(Gate { at, what }, now());
                true
            }
            Some(_) | None => self.session.finish(ack),
        }
    }

    /// Notes that the broker has lost the session, behind what became of each message in it: a message
    /// that is given up must not be found as one that waits if the program ends in between.
    pub(super) fn record_session_lost(&self) {
        if let Some(durable) = &self.durable {
            durable.append(&Record::SessionLost);
        }
    }

    /// Forgets what waits for the disk about a session that the broker has lost.
    pub(super) fn forget_gates(&mut self) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        durable.completing = BTreeSet::new();
        durable.gated = 0;
        // Two of its parts are taken at once.
        let durable: &mut Kept = durable;
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
        self.take_back_restored();
        self.set_needs_log(false);
    }
}
