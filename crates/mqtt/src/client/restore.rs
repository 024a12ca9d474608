//! What an earlier client left in the store goes back into the session.
//!
//! Nothing of it is a reason not to start. What was in flight goes into the log as far as there is
//! room; from the first message on that finds none, or that cannot be read now, the messages keep
//! their identifiers and are sent again by the feeder, in order and before all others.
//!
//! The disk may not be sure of what was found: where it could not be synced when the store was opened,
//! a power cut can still take it. Then nothing leaves from which the broker would conclude something at
//! QoS 2, as for any other record.

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use super::durable::Durable;
use super::error::Error;
use super::event::Event;
use super::feeder::{each_queued, store_of};
use super::gates::{Gate, Gated};
use super::line::Queued;
use super::settings::Settings;
use super::shared::{Shared, State, now};
use crate::packet::{PacketId, QoS};
use crate::session::{ArgumentError, Limited, NoRoom, Outgoing, Rejected, TicketKey};
use crate::store::{DoneCause, Record, Report, StorePos, Stored};

/// A message that was in flight in an earlier process and is not in the log yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restored {
    pub(super) pos: StorePos,
    pub(super) qos: QoS,
    pub(super) packet_id: PacketId,
    pub(super) key: TicketKey,
    pub(super) stage: Stage,
    /// What the disk must be sure of before it goes; at QoS 1 nothing.
    pub(super) after: StorePos,
}

/// How far a message of an earlier process came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It never left, for the record of its identifier was lost.
    Unsent,
    /// It may have been sent.
    Sent,
    /// PUBREL is sent, and not the message.
    Released,
}

/// Puts what the store knows of the session into the client. Yields while messages are read.
///
/// # Errors
/// The wait for the disk ended early.
pub(super) fn restore(shared: &Rc<Shared>) -> Result<(), Error> {
    let Some(store) = store_of(shared) else {
        return Ok(());
    };
    let mut recovered = store.recovered_in_part();
    let rest = recovered.end();
    let found = store.appended();
    let overtaken = recovered.find_overtaken();
    // Until when messages of QoS 2 wait, and those that were never sent.
    let (mut after, mut unsent) = (found, BTreeSet::new());
    if let Some(durable) = &mut shared.state().durable {
        durable.found = found;
        for (message, packet_id) in overtaken {
            let at = durable.append(&Record::Assigned { message, packet_id });
            let in_flight = &recovered.in_flight;
            let place = in_flight.binary_search_by_key(&message, |stored| stored.pos);
            if place.is_ok_and(|place| in_flight[place].qos == QoS::ExactlyOnce) {
                after = at;
                unsent.insert(message);
            }
        }
    }
    let stage = |stored: &Stored| {
        if unsent.contains(&stored.pos) {
            Stage::Unsent
        } else {
            Stage::Sent
        }
    };
    for packet_id in recovered.received {
        shared.state().restore_received(packet_id, found);
    }
    for stored in recovered.released {
        shared.state().restore_released(stored, found);
    }
    let mut in_flight = recovered.in_flight.into_iter();
    for stored in in_flight.by_ref() {
        let waits = stored.qos == QoS::ExactlyOnce && !store.is_durable(after);
        if waits || stage(&stored) == Stage::Unsent {
            shared.state().restore_later(stored, after, stage(&stored));
            break;
        }
        let is_restored = match store.read(stored.pos) {
            // One that the broker would not take is given up when its turn comes.
            Ok(Some(message)) if beyond(&shared.options, message.outgoing()).is_some() => false,
            Ok(Some(message)) => shared.state().restore_publish(stored, message.outgoing()),
            Ok(None) => {
                shared.state().restore_damaged(stored);
                true
            }
            Err(error) => match fiber::cause(&error) {
                Some(stopped) => return Err(stopped.into()),
                None if error.kind() == io::ErrorKind::InvalidData => {
                    shared.state().restore_damaged(stored);
                    true
                }
                None => {
                    let report = Report::ReadFailed(error.kind());
                    shared.state().report_later(report);
                    false
                }
            },
        };
        if !is_restored {
            shared.state().restore_later(stored, after, Stage::Sent);
            break;
        }
    }
    let mut state = shared.state();
    for stored in in_flight {
        state.restore_later(stored, after, stage(&stored));
    }
    for stored in recovered.queued {
        state.restore_queued(stored);
    }
    each_queued(&*store, rest, |stored| state.restore_queued(stored));
    Ok(())
}

/// What the broker is known not to take of a message.
pub(super) fn beyond(options: &Settings, outgoing: Outgoing<'_>) -> Option<Limited> {
    let limits = options.server_limits.as_ref()?;
    let (topic, payload) = (outgoing.topic, outgoing.payload);
    limits
        .check_publish(topic, payload.len(), outgoing.qos)
        .err()
}

impl State {
    /// Whether a message was in the store when the client began: nobody has checked it for this broker.
    pub(super) fn is_found(&self, pos: StorePos) -> bool {
        self.durable.as_ref().is_some_and(|it| pos <= it.found)
    }

    /// Counts and tells that a message of an earlier client is given up for what it is.
    #[cold]
    pub(super) fn tell_unsendable(&mut self, topic: &str, error: ArgumentError) {
        log::debug!("a stored message to {topic} cannot be sent and is given up: {error}");
        self.stats.unsendable += 1;
        self.events.push(Event::Unsendable {
            topic: topic.to_owned(),
            error,
            messages: 1,
        });
    }

    /// Puts a message without an identifier among those that wait.
    fn restore_queued(&mut self, stored: Stored) {
        // Of a session that was lost while a client had it, those that it gave up are done.
        if stored.is_foreign && stored.qos == QoS::ExactlyOnce && self.session.gives_up() {
            let key = self.stored_slot(stored.pos, true);
            self.settle_stored(key, DoneCause::SessionLost);
        } else if let Some(durable) = &mut self.durable {
            durable.queue(stored.qos, stored.pos, Queued::recovered(&stored));
        }
    }

    /// Has the program told when it can be.
    fn report_later(&mut self, report: Report) {
        if let Some(durable) = &mut self.durable {
            durable.reports.push(report);
        }
    }

    /// Remembers a message that an earlier process has received and handled.
    fn restore_received(&mut self, packet_id: PacketId, found: StorePos) {
        let is_sure = |durable: &Durable| durable.store.is_durable(found);
        if self.durable.as_ref().is_none_or(is_sure) {
            return self.session.restore_received(packet_id);
        }
        let ack = self.session.restore_unsure(packet_id);
        let what = Gated::Acknowledge(ack);
        self.wait_for_disk(Gate { at: found, what }, now());
    }

    /// Has PUBREL sent for a message whose PUBREC was recorded, when the disk is sure of that.
    fn restore_released(&mut self, stored: Stored, found: StorePos) {
        let is_sure = |durable: &Durable| durable.store.is_durable(found);
        if self.durable.as_ref().is_none_or(is_sure) {
            self.restore_release(stored);
        } else {
            self.restore_later(stored, found, Stage::Released);
        }
    }

    /// Puts a message whose PUBREC was recorded back into the session.
    fn restore_release(&mut self, stored: Stored) {
        let Some(packet_id) = stored.packet_id else {
            return;
        };
        let key = self.stored_slot(stored.pos, stored.maybe_sent);
        let restored = self.session.restore_release(packet_id, key, &mut self.log);
        match restored {
            Ok(admitted) => {
                self.tickets.begin_exactly_once(key);
                self.tickets.admitted(key, admitted.end);
            }
            Err(error) => self.publish_anew(stored, &error),
        }
    }

    /// Puts a message back in flight; false if there is no room for it in the log.
    fn restore_publish(&mut self, stored: Stored, outgoing: Outgoing<'_>) -> bool {
        let Some(packet_id) = stored.packet_id else {
            return true;
        };
        let key = self.stored_slot(stored.pos, stored.maybe_sent);
        let Self { session, log, .. } = self;
        match session.restore_publish(outgoing, packet_id, key, log) {
            Ok(admitted) => {
                if stored.qos == QoS::ExactlyOnce {
                    self.tickets.begin_exactly_once(key);
                }
                self.tickets.admitted(key, admitted.end);
            }
            Err(Rejected::NoRoom(NoRoom::Log(_))) => return false,
            Err(error) => self.publish_anew(stored, &error),
        }
        true
    }

    /// Keeps the identifier of a message that is to be sent again later, or PUBREL for it.
    fn restore_later(&mut self, stored: Stored, after: StorePos, stage: Stage) {
        let Some(packet_id) = stored.packet_id else {
            return;
        };
        let (pos, qos) = (stored.pos, stored.qos);
        let key = self.stored_slot(pos, stored.maybe_sent);
        let Self { session, log, .. } = self;
        let restored = match stage {
            Stage::Unsent => session.restore_unsent(packet_id, key, log),
            Stage::Sent | Stage::Released => session.restore_reserved(qos, packet_id, key, log),
        };
        if let Err(error) = restored {
            return self.publish_anew(stored, &error);
        }
        if qos == QoS::ExactlyOnce {
            self.tickets.begin_exactly_once(key);
        }
        if let Some(durable) = &mut self.durable {
            durable.restored.push_back(Restored {
                pos,
                qos,
                packet_id,
                key,
                stage,
                after,
            });
            if qos == QoS::ExactlyOnce && !durable.store.is_durable(after) {
                durable.store.hurry();
            }
        }
    }

    /// Gives up a message that was in flight and whose content is lost.
    fn restore_damaged(&mut self, stored: Stored) {
        let message = stored.pos;
        log::error!("message {message} was in flight and cannot be read: it is given up");
        self.report_later(Report::MessageDamaged { message });
        let key = self.stored_slot(message, stored.maybe_sent);
        if stored.qos != QoS::ExactlyOnce {
            return self.settle_stored(key, DoneCause::Dropped);
        }
        // The broker may hold it under this identifier, and is to let it go.
        if let Some(durable) = &mut self.durable {
            durable.lost.insert(key);
        }
        self.restore_release(stored);
    }

    /// Publishes a message again that cannot go on where it was.
    fn publish_anew(&mut self, stored: Stored, error: &Rejected) {
        log::error!("a message in flight could not be restored: {error}");
        if let Some(durable) = &mut self.durable {
            durable.queue_again(stored.qos, stored.pos, true);
        }
    }

    /// Sends the first message again that was in flight in an earlier process; false where there is no
    /// room for it yet.
    pub(super) fn send_again(&mut self, pos: StorePos, outgoing: Outgoing<'_>) -> bool {
        let Self {
            session,
            log,
            durable: Some(durable),
            ..
        } = self
        else {
            return false;
        };
        let Some(place) = durable.restored.iter().position(|it| it.pos == pos) else {
            // The session was lost meanwhile.
            return true;
        };
        let Restored { packet_id, key, .. } = durable.restored[place];
        match session.publish_reserved(outgoing, packet_id, key, log) {
            Ok(admitted) => {
                self.tickets.admitted(key, admitted.end);
                durable.restored.remove(place);
                self.set_needs_log(false);
                true
            }
            Err(Rejected::NoRoom(NoRoom::Log(_))) => {
                durable.needs_log = true;
                false
            }
            Err(Rejected::Argument(error)) => {
                self.tell_unsendable(outgoing.topic, error);
                self.give_up_restored(pos, true);
                true
            }
            Err(_) => false,
        }
    }

    /// Sends PUBREL for the first messages that were in flight in an earlier process, as far as they were
    /// released and the disk is sure of it.
    pub(super) fn release_restored(&mut self) {
        while let Some(durable) = &mut self.durable
            && let Some(&Restored { packet_id, key, .. }) = durable
                .first_restored()
                .filter(|it| it.stage == Stage::Released)
        {
            durable.restored.pop_front();
            if let Some(end) = self.session.release_reserved(packet_id, key, &mut self.log) {
                self.tickets.admitted(key, end);
            }
        }
    }

    /// Gives the first message up that was in flight in an earlier process and cannot be sent again.
    /// `has_qos_2` says that the broker knows QoS 2: then it may hold the message.
    pub(super) fn give_up_restored(&mut self, pos: StorePos, has_qos_2: bool) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let place = durable.restored.iter().position(|it| it.pos == pos);
        let Some(restored) = place.and_then(|place| durable.restored.remove(place)) else {
            return;
        };
        let Restored { packet_id, key, .. } = restored;
        if restored.qos != QoS::ExactlyOnce || !has_qos_2 {
            self.session.unreserve(packet_id);
            return self.settle_stored(key, DoneCause::Dropped);
        }
        // The broker may hold it under this identifier, and is to let it go.
        if let Some(end) = self.session.release_reserved(packet_id, key, &mut self.log) {
            self.tickets.admitted(key, end);
            durable.lost.insert(key);
        }
    }

    /// Takes back what was to be sent again, because the broker has lost the session.
    pub(super) fn take_back_restored(&mut self) {
        let restored = match &mut self.durable {
            Some(durable) => std::mem::take(&mut durable.restored),
            None => return,
        };
        for Restored {
            pos,
            qos,
            packet_id,
            key,
            stage,
            ..
        } in restored
        {
            let was_sent = stage != Stage::Unsent;
            self.session.unreserve(packet_id);
            if qos == QoS::ExactlyOnce && was_sent && self.session.gives_up() {
                self.settle_stored(key, DoneCause::SessionLost);
                continue;
            }
            let maybe_sent = self.tickets.hand_back(key, was_sent);
            if let Some(durable) = &mut self.durable {
                durable.queue_again(qos, pos, maybe_sent);
            }
        }
    }
}
