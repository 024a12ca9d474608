//! Publishing into the store.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Client;
use super::durable::outcome_of;
use super::error::{PublishError, WaitError};
use super::publish::{Publish, check};
use super::room::Room;
use super::shared::{Shared, State, now};
use super::ticket::{Outcome, Ticket, Wait};
use crate::packet::QoS;
use crate::session::ArgumentError;
use crate::store::{DoneCause, Key, KeyState, MessageRecord, RECORD_BYTES_MAX, Record, Refused};

impl Client {
    /// As [`Client::publish`], for a message that the store takes.
    pub(super) fn publish_stored(&self, publish: &Publish<'_>) -> Result<Ticket, PublishError> {
        let mut ticket = match admit(&self.shared, publish)? {
            Ok(ticket) => ticket,
            Err(room) => self.shared.limited(|| {
                let enter = |state: &mut State| enter(&self.shared, state, publish);
                self.shared.enter_in_turn(room, PublishError::Full, enter)
            })?,
        };
        let level = {
            let state = self.shared.state();
            let durable = state.durable.as_ref();
            durable.map_or(Wait::None, |durable| publish.level_with(&*durable.store))
        };
        match ticket.wait(level) {
            Ok(_) => Ok(ticket),
            Err(cause) => Err(PublishError::Wait(WaitError { cause, ticket })),
        }
    }

    /// The messages that are in the client's store and not done: those published before, by this
    /// program or an earlier one, each with its name and a ticket. Does not yield. Empty without a
    /// store.
    #[must_use]
    pub fn stored(&self) -> Vec<(Option<Key>, Ticket)> {
        let mut state = self.shared.state();
        let Some(durable) = &state.durable else {
            return Vec::new();
        };
        let recovered = durable.store.recovered();
        let parts = [recovered.released, recovered.in_flight, recovered.queued];
        let mut stored: Vec<_> = parts.into_iter().flatten().collect();
        stored.sort_unstable_by_key(|stored| stored.pos);
        let tickets = stored.into_iter().map(|stored| {
            if state.over {
                let ticket = state.tickets.settled(&self.shared, Outcome::Kept);
                return (stored.key, ticket);
            }
            let slot = state.stored_slot(stored.pos, stored.maybe_sent);
            (stored.key, state.tickets.another(&self.shared, slot))
        });
        tickets.collect()
    }
}

/// Enters a message into the store if nobody waits for room there already.
fn admit(shared: &Rc<Shared>, publish: &Publish<'_>) -> Result<Result<Ticket, Room>, PublishError> {
    let mut state = shared.state();
    if state.lines.is_waited_for(Room::Store) {
        check(&state, publish)?;
        // What is there needs no room.
        return Ok(known(shared, &mut state, publish).ok_or(Room::Store));
    }
    enter(shared, &mut state, publish)
}

fn enter(
    shared: &Rc<Shared>,
    state: &mut State,
    publish: &Publish<'_>,
) -> Result<Result<Ticket, Room>, PublishError> {
    check(state, publish)?;
    if let Some(ticket) = known(shared, state, publish) {
        return Ok(Ok(ticket));
    }
    let Some(durable) = &mut state.durable else {
        return Ok(Err(Room::Store));
    };
    let outgoing = publish.outgoing();
    let record = Record::Publish(MessageRecord {
        key: publish.name(),
        qos: outgoing.qos,
        retain: outgoing.retain,
        published: unix_millis(fiber::wall_time()),
        topic: outgoing.topic,
        payload: outgoing.payload,
    });
    let pos = match durable.store.append(&record) {
        Ok(pos) => pos,
        Err(Refused::TooLarge { found }) => {
            let bound = RECORD_BYTES_MAX;
            return Err(PublishError::Argument(ArgumentError::TooLarge {
                found,
                bound,
            }));
        }
        Err(_) => return Ok(Err(Room::Store)),
    };
    durable.queue(outgoing.qos, pos, false);
    let other = match outgoing.qos {
        QoS::ExactlyOnce => QoS::AtLeastOnce,
        QoS::AtLeastOnce | QoS::AtMostOnce => QoS::ExactlyOnce,
    };
    let is_first = durable.is_next(outgoing.qos, pos);
    let other_waits = durable.first(other).is_some();
    let is_next = is_first && !(other_waits && state.has_turn(other));
    let key = state.stored_slot(pos, false);
    let ticket = state.tickets.another(shared, key);
    if is_next {
        state.take_turn(outgoing, now());
    }
    shared.wake.set();
    Ok(Ok(ticket))
}

/// The ticket of a message with the same name that is stored, or was.
fn known(shared: &Rc<Shared>, state: &mut State, publish: &Publish<'_>) -> Option<Ticket> {
    let durable = state.durable.as_ref()?;
    match durable.store.key(&publish.name()?)? {
        KeyState::Stored(pos) => {
            let key = state.stored_slot(pos, false);
            Some(state.tickets.another(shared, key))
        }
        // It was given back to the program, unsent: now it is published.
        KeyState::Done(_, DoneCause::Withdrawn) => None,
        KeyState::Done(_, cause) => Some(state.tickets.settled(shared, outcome_of(cause))),
    }
}

fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
