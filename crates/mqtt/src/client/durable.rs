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

use std::collections::{BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::gates::{Content, Gate, Gated, Reserved};
use super::line::{Line, Queued};
use super::restore::Restored;
use super::room::Room;
use super::settings::Settings;
use super::shared::State;
use super::store_failure::StoreFailure;
use super::ticket::Outcome;
use crate::packed_map::PackedMap;
use crate::packet::{PacketId, QoS};
use crate::session::{Outgoing, TicketKey};
use crate::store::{DoneCause, Record, Report, Store, StorePos};
use crate::time::Time;

/// A client's side of its store. Without the feature `store` there is none, and what would be done
/// with one is not in the program.
#[cfg(feature = "store")]
pub(super) struct Durable(Box<Kept>);

#[cfg(not(feature = "store"))]
pub(super) enum Durable {}

/// What it consists of.
pub(super) struct Kept {
    pub(super) store: Rc<dyn Store>,
    /// Set when a message may get its turn.
    pub(super) feed: Rc<fiber::Event>,
    /// Messages without an identifier.
    pub(super) line: Line,
    /// In order of their positions.
    pub(super) gates: VecDeque<Gate>,
    /// Gates whose message is in no file yet, because the disk is full.
    pub(super) held: Vec<Gate>,
    /// How many of them are messages.
    pub(super) gated: usize,
    /// Received identifiers whose end is among them.
    pub(super) completing: BTreeSet<PacketId>,
    /// QoS 2 messages whose identifier is recorded, and that wait for room in the log or for a
    /// connection.
    pub(super) recorded: VecDeque<Reserved>,
    /// Messages of an earlier process that are to be sent again, in order and before all others.
    pub(super) restored: VecDeque<Restored>,
    /// The first of `recorded` or `restored` finds no room in the log: no other message enters before it.
    pub(super) needs_log: bool,
    /// Messages whose content is lost: the broker is to let go of what it has of them.
    pub(super) lost: BTreeSet<TicketKey>,
    /// What the program is to be told of, once it may listen.
    pub(super) reports: Vec<Report>,
    /// The fiber that writes has panicked.
    pub(super) panicked: bool,
    /// Why the store fails, as far as the program was told.
    pub(super) failure: Option<StoreFailure>,
    /// The slots of stored messages that have one.
    slots: PackedMap<StorePos, TicketKey>,
    /// What is here or before was in the store when the client began.
    pub(super) found: StorePos,
}

/// What a message that is first in its queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing: it was taken.
    Taken,
    /// Room, or a connection.
    Waits,
}

#[cfg(feature = "store")]
impl Durable {
    /// That of a client with these options, if they name a store.
    pub(super) fn of(options: &Settings) -> Option<Self> {
        let store = options.store.clone()?;
        Some(Self(Box::new(Kept {
            store,
            feed: Rc::default(),
            line: Line::default(),
            gates: VecDeque::new(),
            held: Vec::new(),
            gated: 0,
            completing: BTreeSet::new(),
            recorded: VecDeque::new(),
            restored: VecDeque::new(),
            needs_log: false,
            lost: BTreeSet::new(),
            reports: Vec::new(),
            panicked: false,
            failure: None,
            slots: PackedMap::default(),
            found: StorePos::default(),
        })))
    }
}

#[cfg(not(feature = "store"))]
impl Durable {
    pub(super) const fn of(_: &Settings) -> Option<Self> {
        None
    }
}

impl Deref for Durable {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        #[cfg(feature = "store")]
        return &self.0;
        #[cfg(not(feature = "store"))]
        match *self {}
    }
}

impl DerefMut for Durable {
    fn deref_mut(&mut self) -> &mut Kept {
        #[cfg(feature = "store")]
        return &mut self.0;
        #[cfg(not(feature = "store"))]
        match *self {}
    }
}

impl Kept {
    /// Puts a message among those of its QoS, in order of publishing.
    pub(super) fn queue(&mut self, qos: QoS, pos: StorePos, queued: Queued) {
        self.line.insert(qos, pos, queued);
        self.feed.set();
    }

    /// Puts a message back among those of its QoS, in order of publishing.
    pub(super) fn queue_again(&mut self, qos: QoS, pos: StorePos, maybe_sent: bool) {
        self.queue(qos, pos, Queued::lasting(maybe_sent));
    }

    /// The message of this QoS whose turn is next.
    pub(super) fn first(&self, qos: QoS) -> Option<StorePos> {
        self.line.first(qos)
    }

    /// Whether no message of this QoS comes before a new one.
    pub(super) fn is_next(&self, qos: QoS, pos: StorePos) -> bool {
        self.first(qos) == Some(pos)
    }

    /// The first of those that were in flight in an earlier process, unless it waits for the disk. While
    /// that fails those of QoS 1 do not wait behind those of QoS 2.
    pub(super) fn first_restored(&self) -> Option<&Restored> {
        let first = self.restored.front()?;
        if first.qos != QoS::ExactlyOnce || self.store.is_durable(first.after) {
            return Some(first);
        }
        self.store.failure()?;
        let mut restored = self.restored.iter();
        restored.find(|it| it.qos != QoS::ExactlyOnce)
    }

    /// Whether a new message of this QoS waits for those that were in flight in an earlier process.
    fn comes_after_restored(&self, qos: QoS) -> bool {
        !self.restored.is_empty()
            && (self.store.failure().is_none() || self.restored.iter().any(|it| it.qos == qos))
    }

    /// Whether a message outlives the client. The disk may not be sure of one that was there before, and
    /// the next client finds it all the same.
    pub(super) fn is_kept(&self, pos: StorePos) -> bool {
        self.store.level().is_some() && (pos <= self.found || self.store.is_durable(pos))
    }

    /// How many messages are not in flight: they wait for their turn, or for the disk.
    pub(super) fn waiting(&self) -> usize {
        self.line.len() + self.gated + self.recorded.len() + self.restored.len()
    }

    /// Lets the feeder look for room if it has use for it.
    #[inline]
    pub(super) fn room(&self) {
        if !(self.recorded.is_empty() && self.restored.is_empty() && self.line.is_empty()) {
            self.feed.set();
        }
    }

    pub(super) fn append(&self, record: &Record<'_>) -> StorePos {
        match self.store.append(record) {
            Ok(pos) => pos,
            // Only messages are refused, and they do not come here.
            Err(_) => self.store.appended(),
        }
    }

    /// Counts a gate that begins to wait, or does so no more.
    pub(super) fn note_gate(&mut self, what: &Gated, waits: bool) {
        match what {
            Gated::Publish(_) if waits => self.gated += 1,
            Gated::Publish(_) => self.gated -= 1,
            Gated::Complete(packet_id) if waits => drop(self.completing.insert(*packet_id)),
            Gated::Complete(packet_id) => drop(self.completing.remove(packet_id)),
            Gated::Release { .. } | Gated::Acknowledge(_) => {}
        }
    }

    pub(super) fn is_open(&self, gate: &Gate) -> bool {
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
            self.tickets.mark(key, maybe_sent);
            return key;
        }
        let key = self.tickets.open_stored(pos, maybe_sent);
        if let Some(durable) = &mut self.durable {
            durable.slots.insert(pos, key);
        }
        key
    }

    /// Whether a message of this QoS may be given an identifier: there is room, a connection, and nothing
    /// of an earlier process that comes first. With one that was never used, nobody could tell later
    /// whether the broker has the message.
    pub(super) fn has_turn(&self, qos: QoS) -> bool {
        let goes_first = |durable: &Durable| !durable.comes_after_restored(qos);
        self.is_up()
            && !self.stored_needs_log()
            && self.durable.as_ref().is_none_or(goes_first)
            && self.session.window_room() > 0
            && (qos != QoS::ExactlyOnce || self.exactly_once_room() > 0)
    }

    /// Whether a stored message that has its identifier waits for room in the log.
    #[inline]
    pub(super) fn stored_needs_log(&self) -> bool {
        self.durable.as_ref().is_some_and(|it| it.needs_log)
    }

    /// Whether somebody comes before a newcomer that needs room in the log.
    #[inline]
    pub(super) fn is_log_waited_for(&self) -> bool {
        self.lines.is_waited_for(Room::Log) || self.stored_needs_log()
    }

    /// Notes whether the first stored message with an identifier waits for room in the log.
    pub(super) fn set_needs_log(&mut self, needs_log: bool) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        if std::mem::replace(&mut durable.needs_log, needs_log) && !needs_log {
            durable.feed.set();
            self.lines.wake(Room::Log, 1);
            self.admit_queued();
        }
    }

    /// Gives the first message of a queue its turn, if there is room; `outgoing` is its content.
    pub(super) fn take_turn(&mut self, outgoing: Outgoing<'_>, now: Time) -> Turn {
        let qos = outgoing.qos;
        let queued = self.durable.as_ref().and_then(|durable| {
            let pos = durable.first(qos)?;
            Some((pos, durable.line.get(qos, pos)?))
        });
        let Some((pos, queued)) = queued else {
            return Turn::Waits;
        };
        if !self.has_turn(qos) {
            return Turn::Waits;
        }
        let key = self.stored_slot(pos, queued.maybe_sent || queued.maybe_twice);
        let taken = if qos == QoS::ExactlyOnce {
            self.reserve(pos, key, outgoing, now)
        } else {
            self.send_stored(pos, key, outgoing)
        };
        if taken && let Some(durable) = &mut self.durable {
            durable.line.remove(qos, pos);
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
            Err(rejected) => self.refused_turn(key, outgoing, &rejected),
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
        if let Err(rejected) = self.session.check_publish(outgoing, &self.log)
            && self.refused_turn(key, outgoing, &rejected)
        {
            return true;
        }
        let packet_id = match self.session.reserve(key) {
            Ok(packet_id) => packet_id,
            Err(rejected) => return self.refused_turn(key, outgoing, &rejected),
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
    fn refused_turn(
        &mut self,
        key: TicketKey,
        outgoing: Outgoing<'_>,
        rejected: &crate::session::Rejected,
    ) -> bool {
        let crate::session::Rejected::Argument(error) = rejected else {
            return false;
        };
        self.tell_unsendable(outgoing.topic, *error);
        self.settle_stored(key, DoneCause::Dropped);
        true
    }

    /// Notes that a stored message is done, for this reason.
    pub(super) fn settle_stored(&mut self, key: TicketKey, cause: DoneCause) {
        let Some(message) = self.tickets.stored(key) else {
            return;
        };
        let is_lost = |durable: &Durable| durable.lost.contains(&key);
        let cause = match cause {
            // That of its content nobody has.
            DoneCause::Acked { .. } if self.durable.as_ref().is_some_and(is_lost) => {
                DoneCause::Dropped
            }
            cause => cause,
        };
        if let Some(durable) = &mut self.durable {
            if !durable.store.is_durable(message) {
                // Who waits for the disk need not any more.
                self.onlookers.wake_all();
            }
            durable.append(&Record::Done {
                message,
                cause,
                key: None,
            });
            durable.slots.remove(&message);
            durable.lost.remove(&key);
        }
        self.tickets.settle(key, outcome_of(cause));
        self.wake_for_all_room();
        self.check_drained();
    }

    /// Sees to it that what is not kept at the end of the client is not sent by a later one: nobody
    /// would expect it.
    pub(super) fn withdraw_stored(&mut self) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        let slots = std::mem::take(&mut durable.slots);
        for (message, _) in slots.iter() {
            if !durable.is_kept(message) {
                let (cause, key) = (DoneCause::Withdrawn, None);
                durable.append(&Record::Done {
                    message,
                    cause,
                    key,
                });
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

    /// Lets go of a stored message that has left its line, never sent.
    pub(super) fn let_go_stored(&mut self, pos: StorePos, cause: DoneCause) {
        let key = self.stored_slot(pos, false);
        self.settle_stored(key, cause);
    }

    /// Gives a message up that is not in the store any more, or whose content is damaged.
    pub(super) fn give_up_first(&mut self, qos: QoS, pos: StorePos) {
        let Some(durable) = &mut self.durable else {
            return;
        };
        if !durable.is_next(qos, pos) {
            return;
        }
        durable.line.remove(qos, pos);
        let key = self.stored_slot(pos, false);
        self.settle_stored(key, DoneCause::Dropped);
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
