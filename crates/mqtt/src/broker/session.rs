//! What the broker keeps of a client for as long as its session lasts (MQTT3-3.1.2.4): subscriptions,
//! messages that wait, and both halves of the exchanges of QoS 1 and 2.
//!
//! ```text
//!  outbound   queue ─► published ─ PUBACK ─►                      (QoS 1)
//!                          └────── PUBREC ─► released ─ PUBCOMP ─► (QoS 2)
//!  inbound    PUBLISH ─► received ─ PUBREL ─►                      (QoS 2)
//! ```
//! What dies with a connection is in `core`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::error::Violation;
use super::message::BrokerMessage;
use super::options::{BROKER_SUBSCRIPTIONS_MAX, Limits};
use super::outgoing::Outgoing;
use super::queue::Queue;
use super::retained::{Look, RETAINED_LOOKS_MAX, Retained, Scan};
use crate::packet::{PacketId, PacketType, QoS};
use crate::topic::RouteId;

/// The state of one session; see the picture above.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// By filter. At most `BROKER_SUBSCRIPTIONS_MAX`, which the core sees to.
    pub(super) subscriptions: BTreeMap<String, RouteId>,
    pub(super) queue: Queue,
    /// New subscriptions that have not got all their retained messages, and some that have ended since:
    /// at most twice as many as there may be subscriptions.
    scans: VecDeque<Scan>,
    /// Sent and not answered, in the order of sending (MQTT3-4.6.0-1, 4.6.0-5).
    published: VecDeque<(PacketId, BrokerMessage)>,
    /// PUBREL is due or sent, in the order of the PUBRECs (MQTT3-4.6.0-4).
    released: VecDeque<PacketId>,
    /// QoS 2 messages that were taken over and not released; at most one for each identifier.
    received: BTreeSet<PacketId>,
    /// The identifier given last; 0 before the first one.
    last_id: u16,
}

impl Session {
    /// Takes the next message out of the queue, if `window` has room for one of its QoS.
    pub(super) fn next(&mut self, window: usize) -> Option<Outgoing> {
        let open = self.published.len() + self.released.len() < window;
        let message = self.queue.pop(open)?;
        let packet_id = match message.qos() {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                let packet_id = self.free_id();
                self.published.push_back((packet_id, message.clone()));
                Some(packet_id)
            }
        };
        Some(Outgoing::Publish {
            message,
            packet_id,
            dup: false,
        })
    }

    /// Notes that a new subscription is to get its retained messages, in place of an earlier one with
    /// this filter.
    pub(super) fn begin(&mut self, scan: Scan) {
        self.scans.push_back(scan);
        if self.scans.len() > 2 * BROKER_SUBSCRIPTIONS_MAX {
            let subscriptions = &self.subscriptions;
            self.scans.retain(|scan| is_current(scan, subscriptions));
        }
    }

    /// Whether retained messages can be queued: they come when nothing else waits, so that none is
    /// dropped for them, and none of them for others.
    pub(super) fn may_greet(&self) -> bool {
        !self.scans.is_empty() && self.queue.len() == 0
    }

    /// Queues retained messages for new subscriptions, as many as have room and can be found with a
    /// bounded number of looks.
    pub(super) fn greet(&mut self, retained: &Retained, limits: &Limits) {
        if !self.may_greet() {
            return;
        }
        let mut looks = RETAINED_LOOKS_MAX;
        while let Some(scan) = self.scans.front_mut() {
            if !is_current(scan, &self.subscriptions) {
                self.scans.pop_front();
                continue;
            }
            match retained.look(scan, &mut looks) {
                Look::Found(message) => {
                    let message = message.delivered(scan.granted, true);
                    let (max, bytes_max) = (limits.queue_max, limits.queue_bytes_max);
                    if !self.queue.has_room(&message, max, bytes_max) {
                        return;
                    }
                    scan.pass(message.topic());
                    self.queue.push(message, max, bytes_max);
                }
                Look::Later => return,
                Look::End => {
                    self.scans.pop_front();
                }
            }
        }
    }

    /// Forgets what is for one connection alone, which has ended: QoS 0 (MQTT3-4.3.1).
    pub(super) fn disconnected(&mut self) {
        self.queue.forget_at_most_once();
        self.scans.retain(|scan| scan.granted != QoS::AtMostOnce);
    }

    /// Returns what a new connection has to send first: PUBRELs, then PUBLISHes, each in order
    /// (MQTT3-4.4.0-1).
    pub(super) fn in_flight(&self) -> VecDeque<PacketId> {
        let published = self.published.iter().map(|(id, _)| id);
        self.released.iter().chain(published).copied().collect()
    }

    /// Makes the packet for one of [`Session::in_flight`] once more; `None` if it was answered.
    pub(super) fn again(&self, packet_id: PacketId) -> Option<Outgoing> {
        if self.released.contains(&packet_id) {
            return Some(Outgoing::PubRel(packet_id));
        }
        let (_, message) = self.published.iter().find(|(id, _)| *id == packet_id)?;
        Some(Outgoing::Publish {
            message: message.clone(),
            packet_id: Some(packet_id),
            dup: true,
        })
    }

    /// Ends the exchange of a QoS 1 message (MQTT3-4.3.2-1). An unknown identifier is the answer to
    /// a repetition, and changes nothing.
    pub(super) fn acknowledged(&mut self, packet_id: PacketId) -> Result<(), Violation> {
        match self.find(packet_id) {
            Some((at, QoS::AtLeastOnce)) => {
                self.published.remove(at);
                Ok(())
            }
            None if !self.released.contains(&packet_id) => Ok(()),
            None | Some(_) => Err(Violation::WrongAck(PacketType::PubAck, packet_id)),
        }
    }

    /// Goes on to the second half of a QoS 2 exchange (MQTT3-4.3.3-1); PUBREL is due in any case.
    pub(super) fn recorded(&mut self, packet_id: PacketId) -> Result<(), Violation> {
        match self.find(packet_id) {
            Some((at, QoS::ExactlyOnce)) => {
                self.published.remove(at);
                self.released.push_back(packet_id);
                Ok(())
            }
            None => Ok(()),
            Some(_) => Err(Violation::WrongAck(PacketType::PubRec, packet_id)),
        }
    }

    /// Ends the exchange of a QoS 2 message.
    pub(super) fn completed(&mut self, packet_id: PacketId) -> Result<(), Violation> {
        if self.find(packet_id).is_some() {
            return Err(Violation::WrongAck(PacketType::PubComp, packet_id));
        }
        self.released.retain(|id| *id != packet_id);
        Ok(())
    }

    /// Notes a QoS 2 message of the client; `false` if it was there before, and so must not be
    /// delivered again (MQTT3-4.3.3-2).
    pub(super) fn receive(&mut self, packet_id: PacketId) -> bool {
        self.received.insert(packet_id)
    }

    /// Forgets a QoS 2 message of the client: its identifier may come back.
    pub(super) fn release(&mut self, packet_id: PacketId) {
        self.received.remove(&packet_id);
    }

    fn find(&self, packet_id: PacketId) -> Option<(usize, QoS)> {
        let at = self.published.iter().position(|(id, _)| *id == packet_id)?;
        Some((at, self.published[at].1.qos()))
    }

    /// Returns an identifier that no exchange uses (MQTT3-2.3.1-2, 2.3.1-4); the window is smaller
    /// than their number, so there is one.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let Some(id) = PacketId::new(self.last_id) else {
                continue;
            };
            if self.find(id).is_none() && !self.released.contains(&id) {
                return id;
            }
        }
    }
}

/// Whether the subscription of a scan is still there.
fn is_current(scan: &Scan, subscriptions: &BTreeMap<String, RouteId>) -> bool {
    subscriptions.get(scan.filter()) == Some(&scan.route)
}
