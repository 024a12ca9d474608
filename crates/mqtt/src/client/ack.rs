//! When a received message is acknowledged, and by whom.
//!
//! Acknowledgements leave in order of arrival (MQTT3-4.6.0-2), so one that is not given holds back
//! all later ones: those of [`Ack::Manual`] have a limit, and an order that makes no progress is
//! told. Nothing here waits.

use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use fiber::Instant;

use super::event::Event;
use super::inbox::Arrived;
use super::message::Message;
use super::message_ref::MessageRef;
use super::shared::{Shared, State};
use super::subscription::SubscriptionId;
use crate::session::AckToken;
use crate::sorted::take_out;
use crate::time::Time;

/// How long the oldest unacknowledged message may hold back the others until
/// [`Event::AckStalled`] tells of it.
pub const ACK_STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// When the QoS 1 and 2 messages of a subscription are acknowledged. Those of QoS 0 have no
/// acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ack {
    /// When the handler has returned: what it did not finish the broker sends again, if it keeps
    /// the session.
    #[default]
    AfterHandler,
    /// When the message is in the subscription's queue. What is there is lost if the program ends.
    /// While the queue is as full as one of QoS 0 may be, as [`Ack::AfterHandler`]: nothing is
    /// dropped.
    OnReceipt,
    /// When the program says so, by [`Message::acknowledge`] or an [`AckHandle`], in the handler
    /// or later; else at the client's limit
    /// ([`ClientOptions::manual_ack_timeout`](super::ClientOptions::manual_ack_timeout)), which is
    /// counted and told by [`Event::AckExpired`]. Also when the handler fails for good
    /// ([`OnError`](super::OnError)).
    Manual,
}

/// Acknowledges one message of a subscription with [`Ack::Manual`]. Clones are for the same message.
///
/// Dropping it acknowledges nothing: the message is acknowledged by another handle or at the limit.
/// A message that was not acknowledged when its connection ended comes again if the broker keeps the
/// session; if that is before the limit it is not handled again, and this handle is good for it.
#[derive(Clone)]
pub struct AckHandle(Rc<Held>);

/// Which message it is.
struct Held {
    shared: Weak<Shared>,
    number: u64,
}

impl fmt::Debug for AckHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckHandle")
            .field("number", &self.0.number)
            .finish_non_exhaustive()
    }
}

impl AckHandle {
    fn new(shared: &Rc<Shared>, number: u64) -> Self {
        let shared = Rc::downgrade(shared);
        Self(Rc::new(Held { shared, number }))
    }

    /// Acknowledges the message: its PUBACK or PUBREC leaves when those of all messages before it
    /// have. Returns whether this call did it: false if the message was acknowledged before, at
    /// the limit too, and once the client is over. Does not yield.
    ///
    /// Nothing is told if only the connection that the message came with is over: at QoS 1 the broker
    /// then sends it again, and it is acknowledged without being handled again.
    #[allow(
        clippy::must_use_candidate,
        reason = "that it was acknowledged before is mostly no matter"
    )]
    pub fn acknowledge(&self) -> bool {
        self.release().is_some()
    }

    /// Takes the message from those that wait for the program, and acknowledges it.
    fn release(&self) -> Option<Arrived> {
        let shared = self.0.shared.upgrade()?;
        let mut state = shared.state();
        let arrived = state.subscriptions.release(self.0.number)?;
        if let Some(ack) = arrived.ack {
            state.done(&shared, ack, &arrived.message);
        }
        (!state.over).then_some(arrived)
    }

    /// Takes the message from those that wait for the program; gives what acknowledges it.
    pub(super) fn take_back(&self) -> Option<AckToken> {
        let shared = self.0.shared.upgrade()?;
        let arrived = shared.state().subscriptions.release(self.0.number)?;
        arrived.ack
    }
}

impl Message {
    /// What acknowledges the message: for QoS 1 and 2 of a subscription with [`Ack::Manual`]. It is
    /// small, and may be kept where the message is not. Does not yield.
    #[must_use]
    pub fn ack_handle(&self) -> Option<AckHandle> {
        self.ack.clone()
    }

    /// Acknowledges the message as [`AckHandle::acknowledge`] does; false also where the
    /// subscription is not one with [`Ack::Manual`]. Does not yield.
    #[allow(
        clippy::must_use_candidate,
        reason = "that it was acknowledged before is mostly no matter"
    )]
    pub fn acknowledge(&self) -> bool {
        self.ack.as_ref().is_some_and(AckHandle::acknowledge)
    }
}

/// Messages that wait to be acknowledged by the program, in the order in which it was given them;
/// they count among the unhandled ones.
#[derive(Debug, Default)]
pub(super) struct Manual {
    /// In order of their numbers.
    held: VecDeque<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    id: SubscriptionId,
    arrived: Arrived,
    /// It is acknowledged then at the latest. One limit for all, so the order is that of numbers.
    until: Time,
}

impl Manual {
    pub(super) fn hold(&mut self, id: SubscriptionId, arrived: Arrived, until: Time) -> u64 {
        let number = self.next;
        self.next += 1;
        self.held.push_back(Entry {
            number,
            id,
            arrived,
            until,
        });
        number
    }

    pub(super) fn release(&mut self, number: u64) -> Option<Arrived> {
        let at = self
            .held
            .binary_search_by_key(&number, |entry| entry.number);
        take_out(&mut self.held, at.ok()?).map(|entry| entry.arrived)
    }

    /// Takes the oldest one if its time is over.
    pub(super) fn expire(&mut self, now: Time) -> Option<Arrived> {
        let is_due = self.held.front()?.until <= now;
        let oldest = is_due.then(|| self.held.pop_front()).flatten()?;
        Some(oldest.arrived)
    }

    /// The messages.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arrived> {
        self.held.iter().map(|entry| &entry.arrived)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.held.front().map(|entry| entry.until)
    }

    /// Gives a message of an earlier connection that has come again its new acknowledgement; calls
    /// `renewed` with the one before, once for each subscription that holds the message.
    pub(super) fn renew(
        &mut self,
        topic: &str,
        payload: &[u8],
        ack: AckToken,
        mut renewed: impl FnMut(AckToken),
    ) {
        for entry in self.held.iter_mut() {
            if entry.arrived.is_repeated_by(topic, payload, ack)
                && let Some(earlier) = entry.arrived.ack.replace(ack)
            {
                renewed(earlier);
            }
        }
    }

    /// Finds the subscription that holds the message.
    pub(super) fn find(&self, ack: AckToken) -> Option<SubscriptionId> {
        let mut held = self.held.iter();
        held.find(|entry| entry.arrived.is_for(ack))
            .map(|entry| entry.id)
    }
}

/// Watches the oldest unacknowledged message.
#[derive(Debug, Default)]
pub(super) struct StallWatch {
    /// The message, and since when it is the oldest.
    oldest: Option<(AckToken, Time)>,
    told: bool,
}

impl StallWatch {
    /// Notes which message is the oldest now; returns since when, if that is to be told.
    #[inline]
    fn look(&mut self, oldest: Option<AckToken>, now: Time) -> Option<Time> {
        let Some(oldest) = oldest else {
            self.oldest = None;
            return None;
        };
        match self.oldest {
            Some((same, since)) if same == oldest => {
                let stalled = !self.told && now >= since + ACK_STALL_TIMEOUT;
                self.told |= stalled;
                stalled.then_some(since)
            }
            Some(_) | None => {
                self.oldest = Some((oldest, now));
                self.told = false;
                None
            }
        }
    }

    /// Whether it was told that this one, the oldest, holds back the others.
    pub(super) fn is_stalled(&self, oldest: Option<AckToken>) -> bool {
        self.told && oldest.is_some() && self.oldest.map(|(token, _)| token) == oldest
    }

    #[inline]
    fn deadline(&self) -> Option<Time> {
        match self.oldest {
            Some((_, since)) if !self.told => Some(since + ACK_STALL_TIMEOUT),
            Some(_) | None => None,
        }
    }
}

impl State {
    /// Notes that one taker is done with a message; the last one acknowledges it, now or, where its
    /// connection is over, when it comes again.
    pub(super) fn done(&mut self, shared: &Shared, ack: AckToken, message: &Message) {
        self.done_with(shared, ack, || message.into());
    }

    /// As [`State::done`], with a message that is only looked at where that is needed.
    #[inline(always)]
    pub(super) fn done_with<'a>(
        &mut self,
        shared: &Shared,
        ack: AckToken,
        message: impl FnOnce() -> MessageRef<'a>,
    ) {
        if !self.subscriptions.done(ack) {
            return;
        }
        if self.finish_received(ack) {
            if !shared.wake.is_set() {
                shared.wake.set();
            }
        } else if !ack.is_exactly_once() {
            self.note_settled(ack, message());
        }
        if self.recovering {
            shared.wake.set();
        }
    }

    #[cold]
    fn note_settled(&mut self, ack: AckToken, message: MessageRef<'_>) {
        let MessageRef { topic, data, .. } = message;
        self.settled.note(ack.packet_id(), topic, data);
    }

    /// Tells if the order of acknowledgements makes no progress. Returns whether the time to look
    /// again has changed.
    #[inline]
    pub(super) fn watch_acks(&mut self, now: Time) -> bool {
        let oldest = self.session.oldest_unhandled();
        if oldest.is_none() && self.stall.get().is_none() {
            return false;
        }
        let before = self.stall.deadline();
        if let (Some(since), Some(ack)) = (self.stall.look(oldest, now), oldest) {
            self.tell_of_stall(ack, since);
        }
        self.stall.deadline() != before
    }

    #[cold]
    fn tell_of_stall(&mut self, ack: AckToken, since: Time) {
        let filter = self.subscriptions.filter_that_holds(ack);
        let since = Instant::from_nanos(since.0);
        log::warn!("the acknowledgement of a message of {filter:?} holds back all later ones");
        self.events.push(Event::AckStalled { filter, since });
    }

    /// Acknowledges what the program has not acknowledged in time.
    pub(super) fn expire_acks(&mut self, shared: &Shared, now: Time) {
        if self.subscriptions.ack_deadline().is_none_or(|at| now < at) {
            return;
        }
        while let Some(arrived) = self.subscriptions.expire(now) {
            self.stats.acks_expired += 1;
            let topic = arrived.message.topic.to_string();
            log::warn!("a message of {topic:?} was not acknowledged by the program in time");
            let messages = 1;
            self.events.push(Event::AckExpired { topic, messages });
            if let Some(ack) = arrived.ack {
                self.done(shared, ack, &arrived.message);
            }
        }
    }

    /// When one of these two has something to do.
    #[inline]
    pub(super) fn ack_deadline(&self) -> Option<Time> {
        let stall = self.stall.get().and_then(StallWatch::deadline);
        Time::earlier(self.subscriptions.ack_deadline(), stall)
    }

    /// Hands a message over to the program, which is to acknowledge it.
    pub(super) fn hand_over(
        &mut self,
        shared: &Rc<Shared>,
        id: SubscriptionId,
        mut arrived: Arrived,
        now: Time,
    ) -> Arrived {
        let Some(ack) = arrived.ack.take() else {
            return arrived;
        };
        // From here on it is not the message taken last, but one of those held.
        let ack = Some(self.subscriptions.finish(id, ack));
        let held = Arrived::new(arrived.message.clone(), ack);
        arrived.message.ack = Some(self.entrust(shared, id, held, now));
        arrived
    }

    /// Keeps a message until the program acknowledges it; returns what it does that with.
    pub(super) fn entrust(
        &mut self,
        shared: &Rc<Shared>,
        id: SubscriptionId,
        arrived: Arrived,
        now: Time,
    ) -> AckHandle {
        if self.subscriptions.ack_deadline().is_none() {
            // The driver does not know of a limit yet.
            shared.wake.set();
        }
        let until = now + shared.options.manual_ack_timeout;
        let number = self.subscriptions.hold(id, arrived, until);
        AckHandle::new(shared, number)
    }
}
