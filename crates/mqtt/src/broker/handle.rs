//! What the broker does with each packet of a client.
//!
//! CONNECT aside, which [`Core::connect`] answers.

use std::rc::Rc;

use super::core::{ConnectionId, Core, Stage, Target};
use super::error::Violation;
use super::message::BrokerMessage;
use super::options::BROKER_SUBSCRIPTIONS_MAX;
use super::outgoing::Outgoing;
use super::policy::PublishVerdict;
use super::session::Session;
use crate::packet::{PacketId, PacketRef, Publish, QoS, Subscribe, SubscribeReason, Unsubscribe};
use crate::time::Time;
use crate::topic::TopicFilter;

/// What the program allows of a packet.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    /// Whether the client may have each filter of a SUBSCRIBE.
    pub(super) filters: Vec<bool>,
    pub(super) publish: PublishVerdict,
}

impl Core {
    /// Handles a packet that `id` received and that is no CONNECT. `allowed` says what the program
    /// allows of it.
    ///
    /// # Errors
    ///
    /// What ends the connection; nothing of the packet took effect then.
    pub(super) fn handle(
        &mut self,
        id: ConnectionId,
        packet: &PacketRef<'_>,
        allowed: &Allowed,
        now: Time,
    ) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        let client = match &connection.stage {
            Stage::Open(open) => Rc::clone(&open.client),
            Stage::Closing => return Ok(()),
            Stage::Fresh => return Err(Violation::NotConnected(packet.packet_type())),
        };
        connection.last_packet = now;
        match packet {
            PacketRef::Publish(publish) => {
                let verdict = allowed.publish;
                if self.admits(id, publish, verdict, now)? {
                    self.published(id, &client, publish, verdict);
                }
            }
            PacketRef::PubAck(ack) => {
                self.answered(id, &client, ack.packet_id, Session::acknowledged)?;
            }
            PacketRef::PubRec(ack) => {
                self.answered(id, &client, ack.packet_id, Session::recorded)?;
                self.answer(id, Outgoing::PubRel(ack.packet_id));
            }
            PacketRef::PubComp(ack) => {
                self.answered(id, &client, ack.packet_id, Session::completed)?;
            }
            PacketRef::PubRel(ack) => {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.session.release(ack.packet_id);
                }
                self.answer(id, Outgoing::PubComp(ack.packet_id));
            }
            PacketRef::Subscribe(subscribe) => {
                self.subscribe(id, &client, subscribe, &allowed.filters)?;
            }
            PacketRef::Unsubscribe(unsubscribe) => self.unsubscribe(id, &client, unsubscribe),
            PacketRef::PingReq => self.answer(id, Outgoing::PingResp),
            PacketRef::Disconnect(_) => self.end(id, true),
            PacketRef::Connect(_) => return Err(Violation::SecondConnect),
            PacketRef::ConnAck(_)
            | PacketRef::SubAck(_)
            | PacketRef::UnsubAck(_)
            | PacketRef::PingResp => {
                return Err(Violation::ServerPacket(packet.packet_type()));
            }
        }
        Ok(())
    }

    /// Decides about a message of a client; `false` discards it.
    fn admits(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
        verdict: PublishVerdict,
        now: Time,
    ) -> Result<bool, Violation> {
        if verdict == PublishVerdict::HangUp {
            return Err(Violation::Forbidden);
        }
        let pace = match self.connections.get_mut(&id).map(|c| &mut c.stage) {
            Some(Stage::Open(open)) => open.pace.as_mut(),
            Some(Stage::Fresh | Stage::Closing) | None => None,
        };
        let admitted = self.policy.admit(publish, pace, now)?;
        self.discarded += u64::from(!admitted);
        Ok(admitted)
    }

    /// A message of a client (MQTT3-3.3.4-1): passed on, unless the verdict is to drop it, then answered as its QoS asks. Of QoS 2 the
    /// first copy is passed on at once, and the identifier remembered (MQTT3-4.3.3-2).
    fn published(
        &mut self,
        id: ConnectionId,
        client: &str,
        publish: &Publish<'_>,
        verdict: PublishVerdict,
    ) {
        let qos = publish.qos();
        let is_passed_on = verdict != PublishVerdict::Drop;
        let Some(packet_id) = publish.packet_id() else {
            if is_passed_on {
                self.publish_packet(client, publish);
            }
            return;
        };
        if qos == QoS::AtLeastOnce {
            if is_passed_on {
                self.publish_packet(client, publish);
            }
            return self.answer(id, Outgoing::PubAck(packet_id));
        }
        let entry = self.clients.get_mut(client);
        let is_first = entry.is_some_and(|client| client.session.receive(packet_id));
        if is_first && is_passed_on {
            self.publish_packet(client, publish);
        }
        self.answer(id, Outgoing::PubRec(packet_id));
    }

    fn publish_packet(&mut self, client: &str, publish: &Publish<'_>) {
        let (topic, payload) = (publish.topic(), publish.payload());
        let message = BrokerMessage::new(topic, payload, publish.qos(), publish.retain());
        self.publish(&message, Some(client));
    }

    /// An answer to one of the broker's messages; what was answered is not sent once more.
    fn answered(
        &mut self,
        id: ConnectionId,
        client: &str,
        packet_id: PacketId,
        step: impl FnOnce(&mut Session, PacketId) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        if let Some(client) = self.clients.get_mut(client) {
            step(&mut client.session, packet_id)?;
        }
        if let Some(Stage::Open(open)) = self.connections.get_mut(&id).map(|c| &mut c.stage) {
            open.resend.retain(|waiting| *waiting != packet_id);
        }
        Ok(())
    }

    /// SUBSCRIBE (MQTT3-3.8.4): one filter after the other, each as if it came alone. A filter that
    /// is there already is replaced (MQTT3-3.8.4-3); retained messages are sent in any case, once for a
    /// filter that comes again before they are. Of one packet no more are granted than a session may
    /// have, so that its work is bounded as well.
    fn subscribe(
        &mut self,
        id: ConnectionId,
        client: &Rc<str>,
        subscribe: &Subscribe<'_>,
        allowed: &[bool],
    ) -> Result<(), Violation> {
        let mut filters = Vec::new();
        for (filter, qos) in &subscribe.filters() {
            let qos = self.policy.granted(qos);
            let filter = TopicFilter::new(filter).map_err(Violation::TopicFilter)?;
            filters.push((filter, qos));
        }
        let names = filters.iter().map(|(filter, _)| filter.as_str());
        self.policy.check_filters(names, allowed)?;
        let mut reasons = Vec::with_capacity(filters.len());
        for (place, (filter, qos)) in filters.into_iter().enumerate() {
            let may = allowed.get(place).copied().unwrap_or(true);
            let may = may && place < BROKER_SUBSCRIPTIONS_MAX;
            reasons.push(if may && self.add_subscription(client, filter, qos) {
                SubscribeReason::Granted(qos)
            } else {
                SubscribeReason::Failure
            });
        }
        self.answer(id, Outgoing::SubAck(subscribe.packet_id(), reasons));
        Ok(())
    }

    /// Adds or replaces one subscription; `false` at the bound of their number. Its retained messages
    /// come behind the answer.
    fn add_subscription(&mut self, client: &Rc<str>, filter: TopicFilter, granted: QoS) -> bool {
        let Some(entry) = self.clients.get_mut(client) else {
            return false;
        };
        let subscriptions = &mut entry.session.subscriptions;
        let old = subscriptions.remove(filter.as_str());
        if old.is_none() && subscriptions.len() >= self.policy.subscriptions_max() {
            return false;
        }
        if let Some(route) = old {
            self.router.remove(route);
        }
        let target = Target::Session {
            client: Rc::clone(client),
            granted,
        };
        let route = self.router.insert(filter.clone(), target);
        subscriptions.insert(filter.as_str().to_owned(), route);
        let scan = self.retained.scan(filter, route, granted);
        entry.session.begin(scan);
        true
    }

    /// UNSUBSCRIBE, which is answered whether there was such a subscription or not (MQTT3-3.10.4-5).
    /// What is queued already is still delivered (MQTT3-3.10.4-3).
    fn unsubscribe(&mut self, id: ConnectionId, client: &str, unsubscribe: &Unsubscribe<'_>) {
        if let Some(entry) = self.clients.get_mut(client) {
            for filter in &unsubscribe.filters() {
                if let Some(route) = entry.session.subscriptions.remove(filter) {
                    self.router.remove(route);
                }
            }
        }
        self.answer(id, Outgoing::UnsubAck(unsubscribe.packet_id()));
    }

    fn answer(&mut self, id: ConnectionId, packet: Outgoing) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.control.push(packet);
        }
    }
}
