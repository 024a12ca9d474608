//! What must hold in every step, and when a world has come to rest.

use super::*;

impl World {
    /// A packet of the client leaves: all that it tells is durable, and it fits what left before.
    pub(super) fn check_packet(&mut self, packet: &[u8]) {
        match decode_whole(packet) {
            PacketRef::Publish(publish) => {
                let number = number(publish.payload()) as u8;
                let packet_id = publish.packet_id();
                self.check_publish(number, packet_id, publish.dup());
            }
            PacketRef::PubRel(pubrel) => self.check_pubrel(pubrel.packet_id),
            PacketRef::PubRec(pubrec) if self.setting.recorded => {
                let packet_id = pubrec.packet_id;
                let is_known = self.book.received.contains(&packet_id);
                assert!(is_known, "PUBREC of {packet_id} before its record");
                let mut flight = self.server.flight.iter();
                if let Some((_, number, ..)) = flight.find(|entry| entry.0 == packet_id.get()) {
                    self.inbound[*number as usize].acknowledged = true;
                }
            }
            PacketRef::PubComp(pubcomp) if self.setting.recorded => {
                let is_known = self.book.received.contains(&pubcomp.packet_id);
                assert!(
                    !is_known,
                    "PUBCOMP of {} before its record",
                    pubcomp.packet_id
                );
            }
            _ => {}
        }
    }

    fn check_publish(&mut self, number: u8, packet_id: Option<PacketId>, dup: bool) {
        let Some(packet_id) = packet_id else {
            return assert!(!dup, "DUP at QoS 0");
        };
        assert!(
            ids().any(|id| id == packet_id),
            "identifiers go to {packet_id}"
        );
        if self.setting.recorded && self.qos(number) == QoS::ExactlyOnce {
            let kept = self.book.messages[usize::from(number)];
            // One that is sent again may be released meanwhile.
            let is_known = kept == Kept::InFlight(packet_id)
                || (dup && matches!(kept, Kept::Released(id) if id == packet_id));
            assert!(is_known, "PUBLISH of {number} before its record: {kept:?}");
        }
        let message = self.messages[usize::from(number)];
        let was_seen = message.seen.is_some() || message.begun;
        assert!(
            dup == was_seen || (dup && message.restored),
            "{number} leaves with DUP {dup}: {message:?}"
        );
        assert!(!message.released, "PUBLISH of {number} after PUBREL");
        for (other, message) in (0..).zip(&self.messages) {
            let Some(id) = message.seen else { continue };
            let (same_message, same_id) = (other == number, id == packet_id.get());
            assert!(
                same_message == same_id,
                "{number} leaves under {packet_id}, {other} under {id}"
            );
        }
        let message = &mut self.messages[usize::from(number)];
        message.seen = Some(packet_id.get());
        message.told = true;
    }

    fn check_pubrel(&mut self, packet_id: PacketId) {
        // Others clear an identifier of what a server may hold under it.
        let is_it = |number: &usize| {
            let is_seen = self.messages[*number].seen == Some(packet_id.get());
            is_seen && self.setting.outbound[*number] == 2
        };
        let Some(number) = (0..self.messages.len()).find(is_it) else {
            return;
        };
        if self.setting.recorded {
            let kept = self.book.messages[number];
            let is_known = matches!(kept, Kept::Released(_) | Kept::Done);
            assert!(is_known, "PUBREL of {number} before its record: {kept:?}");
        }
        self.messages[number].released = true;
    }

    /// The connection ends in the middle of this packet.
    pub(super) fn begun(&mut self, packet: &[u8]) {
        let Ok(Some(len)) = peek_len(packet, MAX_PACKET_LEN) else {
            return;
        };
        if let PacketRef::Publish(publish) = decode_whole(&packet[..len]) {
            let number = number(publish.payload()) as usize;
            self.messages[number].begun = publish.packet_id().is_some();
        }
    }

    /// A packet of the server has come: an identifier may be free.
    pub(super) fn answered(&mut self, packet: &[u8]) {
        let (id, qos) = match decode_whole(packet) {
            PacketRef::PubAck(puback) => (puback.packet_id.get(), 1),
            PacketRef::PubComp(pubcomp) => (pubcomp.packet_id.get(), 2),
            _ => return,
        };
        for (number, message) in self.messages.iter_mut().enumerate() {
            if message.seen == Some(id) && self.setting.outbound[number] == qos {
                message.seen = None;
                message.begun = false;
                message.released = false;
            }
        }
    }

    /// The server passes a message on.
    pub(super) fn passed_on(&mut self, number: u8) {
        let qos = self.qos(number);
        let latest = &mut self.latest[0][usize::from(qos.bits())];
        let message = &mut self.messages[usize::from(number)];
        if message.delivered == 0 {
            assert!(*latest <= Some(number), "{number} arrives after {latest:?}");
            *latest = Some(number);
        }
        message.delivered = (message.delivered + 1).min(2);
        let may_double = match qos {
            QoS::AtMostOnce => false,
            QoS::AtLeastOnce => true,
            QoS::ExactlyOnce => message.lossy && self.setting.policy == OnSessionLoss::Resend,
        };
        assert!(message.delivered == 1 || may_double, "{number} is doubled");
    }

    /// A message of the server comes to the program.
    pub(super) fn deliver(&mut self, ack: Option<AckToken>, packet: &[u8]) {
        let PacketRef::Publish(publish) = decode_whole(packet) else {
            panic!("{packet:?} is delivered");
        };
        let (number, qos) = (number(publish.payload()) as u8, publish.qos());
        if let Some(ack) = ack {
            // As the client does: one that is sent again takes the place of its first copy.
            let is_again =
                |(token, of): &(AckToken, u8)| *of == number && token.is_repeated_by(ack);
            if publish.dup()
                && let Some(at) = self.handlers.iter().position(is_again)
            {
                self.handlers[at].0 = ack;
                return;
            }
            self.handlers.push((ack, number));
        }
        let latest = &mut self.latest[1][usize::from(qos.bits())];
        let inbound = &mut self.inbound[usize::from(number)];
        if !inbound.was_handled {
            assert!(*latest <= Some(number), "{number} comes after {latest:?}");
            *latest = Some(number);
        }
        inbound.handled = (inbound.handled + 1).min(2);
        let is_again = match qos {
            QoS::AtMostOnce => inbound.was_handled,
            QoS::AtLeastOnce => false,
            QoS::ExactlyOnce => inbound.handled > 1 || inbound.acknowledged,
        };
        assert!(!is_again, "{number} comes again: {inbound:?}");
        inbound.was_handled = true;
    }

    pub(super) fn settled(&mut self, number: u8, outcome: Outcome) {
        let policy = self.setting.policy;
        let message = &mut self.messages[usize::from(number)];
        assert_eq!(message.outcome, None, "{number} ends twice");
        // What is restored may not have been sent, and nobody can tell.
        let may_be_given_up = message.lossy || message.restored;
        let outcome = match outcome {
            Outcome::Completed { maybe_twice } => Outcome::Completed {
                maybe_twice: maybe_twice | message.maybe_sent,
            },
            Outcome::GivenUp => {
                let is_right = may_be_given_up && policy == OnSessionLoss::Finish;
                assert!(is_right, "{number} is given up");
                outcome
            }
        };
        message.outcome = Some(outcome);
    }

    /// Nothing moves any more: everything is as promised, and nothing is left.
    pub(super) fn check_rest(&self) {
        for (number, message) in self.messages.iter().enumerate() {
            let what = format!("message {number} at rest: {message:?}");
            let qos = self.setting.outbound[number];
            if qos == 0 {
                continue;
            }
            match message
                .outcome
                .unwrap_or_else(|| panic!("no outcome: {what}"))
            {
                Outcome::GivenUp => {}
                Outcome::Completed { maybe_twice } => {
                    assert!(message.delivered > 0, "lost: {what}");
                    // A program that has ended since does not remember what it was told.
                    let is_said = maybe_twice || self.setting.recorded;
                    assert!(message.delivered == 1 || is_said, "not said: {what}");
                    let may_say = qos == 1 || message.lossy || self.setting.recorded;
                    assert!(may_say || !maybe_twice, "said for nothing: {what}");
                }
            }
            if self.setting.recorded {
                assert_eq!(self.book.messages[number], Kept::Done, "{what}");
            }
        }
        for (number, inbound) in self.inbound.iter().enumerate() {
            let qos = self.setting.inbound[number];
            let has_come = inbound.was_handled || inbound.lost || qos == 0;
            assert!(has_come, "{number} never came: {inbound:?}");
        }
        assert!(self.server.flight.is_empty(), "{:?}", self.server.flight);
        assert!(self.server.held.is_empty(), "{:?}", self.server.held);
        assert!(self.book.received.is_empty(), "{:?}", self.book);
        assert!(self.log.is_empty(), "{:?}", self.session);
        assert_eq!(self.session.window_room(), self.setting.window.into());
        assert_eq!(self.session.unacknowledged(), 0);
        assert_eq!(self.session.inbound_remembered(), 0);
        assert_eq!(self.session.inbound_held(), 0);
    }
}
