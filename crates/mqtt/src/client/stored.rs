//! Publishing into the store.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::durable::outcome_of;
use super::error::{PublishError, WaitError};
use super::line::Queued;
use super::outbox::QueuePolicy;
use super::publish::{Publish, check};
use super::room::{Arrival, Room};
use super::shared::{Shared, State, now};
use super::ticket::{Outcome, Ticket, Wait};
use super::{Client, expiry, link};
use crate::packet::QoS;
use crate::session::ArgumentError;
use crate::store::{DoneCause, Key, KeyState, MessageRecord, Record, Refused, StorePos, Stored};
use crate::time::Time;

impl Client {
    /// As [`Client::publish`], for a message that the store takes.
    pub(super) fn publish_stored(&self, publish: &Publish<'_>) -> Result<Ticket, PublishError> {
        let mut ticket = self.enter_stored(publish, true)?;
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

    /// Gives a message to the store: waits for room there as its policy says, if it is one that
    /// `may_wait`.
    pub(super) fn enter_stored(
        &self,
        publish: &Publish<'_>,
        may_wait: bool,
    ) -> Result<Ticket, PublishError> {
        let age = publish.age_with(self.shared.options.queue_age_max);
        let expires = age.map(|age| now() + age);
        let enter =
            |state: &mut State, arrival| enter(&self.shared, state, publish, arrival, expires);
        let entered = enter(&mut self.shared.state(), Arrival::NEW);
        let ticket = match entered? {
            Ok(ticket) => Ok(ticket),
            Err(room) if may_wait => self.shared.wait_in_turn(room, expires, enter),
            Err(_) => Err(self.shared.state().refuse()),
        };
        link::wake_threads(&self.shared);
        expiry::watch(&self.shared);
        ticket
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

/// Enters a message into the store, as its policy says.
fn enter(
    shared: &Rc<Shared>,
    state: &mut State,
    publish: &Publish<'_>,
    arrival: Arrival,
    expires: Option<Time>,
) -> Result<Result<Ticket, Room>, PublishError> {
    check(state, publish)?;
    if let Some(ticket) = known(shared, state, publish) {
        return Ok(Ok(ticket));
    }
    if let Some(failure) = state.refused_by_store(shared.options.on_store_failure) {
        return Err(PublishError::StoreFailed(failure));
    }
    let policy = publish.policy_with(&shared.options);
    let crowded = state.lines.comes_before(Room::Store, arrival);
    let mut appended = if crowded {
        Err(None)
    } else {
        append(state, publish, expires).map_err(Some)
    };
    if policy == QueuePolicy::DropOldest && makes_room(appended) {
        appended = drop_for(state, publish, expires, crowded);
    }
    let pos = match appended {
        Ok(pos) => pos,
        Err(Some(Refused::TooLarge { found, bound })) => {
            return Err(PublishError::Argument(ArgumentError::TooLarge {
                found,
                bound,
            }));
        }
        Err(_) => return without_room(shared, state, policy),
    };
    let outgoing = publish.outgoing();
    let Some(durable) = &mut state.durable else {
        return Ok(Err(Room::Store));
    };
    let queued = Queued {
        maybe_sent: false,
        maybe_twice: false,
        expires,
        is_droppable: policy == QueuePolicy::DropOldest,
        bytes: outgoing.topic.len() + outgoing.payload.len(),
    };
    durable.queue(outgoing.qos, pos, queued);
    let line = &mut durable.line;
    let replaced = line.note_last(outgoing.qos, pos, outgoing.topic, policy);
    if let Some(replaced) = replaced.filter(|pos| line.withdraw(*pos).is_some()) {
        state.stats.replaced += 1;
        state.let_go_stored(replaced, DoneCause::Dropped);
    }
    let key = state.stored_slot(pos, false);
    let ticket = state.tickets.another(shared, key);
    if state.is_first_of_all(outgoing.qos, pos) {
        state.take_turn(outgoing, now());
    }
    shared.wake.set();
    Ok(Ok(ticket))
}

/// What a publish comes to for which the store has no room.
fn without_room(
    shared: &Rc<Shared>,
    state: &mut State,
    policy: QueuePolicy,
) -> Result<Result<Ticket, Room>, PublishError> {
    match policy {
        QueuePolicy::Wait | QueuePolicy::KeepLast => Ok(Err(Room::Store)),
        QueuePolicy::Reject => {
            state.stats.rejected += 1;
            Err(PublishError::QueueFull)
        }
        QueuePolicy::DropOldest | QueuePolicy::DropNewest => {
            state.stats.dropped_newest += 1;
            Ok(Ok(state.tickets.settled(shared, Outcome::DroppedByPolicy)))
        }
    }
}

/// Appends the record of a message.
fn append(
    state: &State,
    publish: &Publish<'_>,
    expires: Option<Time>,
) -> Result<StorePos, Refused> {
    let Some(durable) = &state.durable else {
        return Err(Refused::Messages { bound: 0 });
    };
    durable
        .store
        .append(&Record::Publish(record(publish, expires)))
}

/// The record of a message that is published now.
fn record<'a>(publish: &Publish<'a>, expires: Option<Time>) -> MessageRecord<'a> {
    let outgoing = publish.outgoing();
    let published = unix_millis(fiber::wall_time());
    MessageRecord {
        key: publish.name(),
        qos: outgoing.qos,
        retain: outgoing.retain,
        published,
        expires: expires.map_or(0, |at| {
            let age = (at - now()).as_millis();
            published
                .saturating_add(u64::try_from(age).unwrap_or(u64::MAX))
                .max(1)
        }),
        topic: outgoing.topic,
        payload: outgoing.payload,
    }
}

/// Whether it helps that others go: they take room, or come first.
const fn makes_room(appended: Result<StorePos, Option<Refused>>) -> bool {
    matches!(
        appended,
        Err(None | Some(Refused::Messages { .. } | Refused::Bytes { .. }))
    )
}

/// Drops the oldest that may be dropped, as many as take the room of the new one, and appends that;
/// drops none where that would not do.
fn drop_for(
    state: &mut State,
    publish: &Publish<'_>,
    expires: Option<Time>,
    crowded: bool,
) -> Result<StorePos, Option<Refused>> {
    let Some(durable) = &state.durable else {
        return Err(None);
    };
    let (store, line) = (&durable.store, &durable.line);
    let record = record(publish, expires);
    let mut count = store.admits(&record, &mut line.droppable()).map_err(Some)?;
    if crowded {
        // What others come first for does not count.
        let bytes = record.topic.len() + record.payload.len();
        count = count.max(line.droppable_for(bytes).ok_or(None)?);
    }
    for _ in 0..count {
        let durable = state.durable.as_mut();
        let Some(oldest) = durable.and_then(|durable| durable.line.drop_oldest()) else {
            break;
        };
        state.stats.dropped_oldest += 1;
        state.let_go_stored(oldest, DoneCause::Dropped);
    }
    append(state, publish, expires).map_err(Some)
}

impl Queued {
    /// A message of an earlier process: it gets too old by the clock on the wall, and goes for no
    /// other. At QoS 1 it may have been sent shortly before that process ended: only at QoS 2 nothing
    /// leaves before its identifier is recorded.
    pub(super) fn recovered(stored: &Stored) -> Self {
        let expires = (stored.expires != 0 && !stored.maybe_sent).then(|| {
            let left = stored
                .expires
                .saturating_sub(unix_millis(fiber::wall_time()));
            now() + Duration::from_millis(left)
        });
        Self {
            expires,
            maybe_twice: stored.qos == QoS::AtLeastOnce,
            bytes: stored.bytes,
            ..Self::lasting(stored.maybe_sent)
        }
    }
}

impl State {
    /// Whether a stored message comes before all others for which there is room.
    fn is_first_of_all(&self, qos: QoS, pos: StorePos) -> bool {
        let Some(durable) = &self.durable else {
            return false;
        };
        let other = match qos {
            QoS::ExactlyOnce => QoS::AtLeastOnce,
            QoS::AtLeastOnce | QoS::AtMostOnce => QoS::ExactlyOnce,
        };
        let other_waits = durable.first(other).is_some();
        durable.is_next(qos, pos) && !(other_waits && self.has_turn(other))
    }
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
