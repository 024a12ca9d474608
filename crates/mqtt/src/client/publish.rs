//! Publishing.

use std::rc::Rc;
use std::time::Duration;

use fiber::{Elapsed, Instant};

#[cfg(doc)]
use super::ClientOptions;
use super::error::{PublishError, WaitCause, WaitError};
use super::outbox::QueuePolicy;
use super::room::{Arrival, Room};
use super::settings::Settings;
use super::shared::{Shared, State, now};
use super::ticket::{BegunWait, Outcome, Ticket, Wait};
use super::{Client, admission, expiry, link};
use crate::packet::QoS;
use crate::session::{Outgoing, PublishByteRate, PublishRate, Rejected};
use crate::store::{Key, Level, Store};
use crate::time::Time;

/// A message to be published.
///
/// # Examples
///
/// ```
/// use mqtt::{Publish, QoS, Wait};
/// let reading = Publish::to("site/4/meter-17", b"21.5").qos(QoS::AtLeastOnce).wait(Wait::Ack);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    outgoing: Outgoing<'a>,
    /// How far the call waits, if that was said.
    wait: Option<Wait>,
    key: Option<Key>,
    /// What is done without room, if that was said.
    policy: Option<QueuePolicy>,
    expires_after: Option<Duration>,
    /// It may wait for the connection to send what it has.
    is_paced: bool,
}

impl<'a> Publish<'a> {
    /// A message under a topic name, at QoS 0, not retained, not waiting.
    #[must_use]
    pub fn to(topic: &'a str, payload: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let outgoing = Outgoing {
            topic,
            payload: payload.as_ref(),
            qos: QoS::AtMostOnce,
            retain: false,
        };
        Self {
            outgoing,
            wait: None,
            key: None,
            policy: None,
            expires_after: None,
            is_paced: true,
        }
    }

    /// Sets the quality of service (MQTT3-4.3).
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.outgoing.qos = qos;
        self
    }

    /// Whether the broker keeps the message for later subscribers (MQTT3-3.3.1.3).
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.outgoing.retain = retain;
        self
    }

    /// How far the call waits; [`Wait::None`] unless set, and [`Wait::Stored`] where a store is to
    /// outlive power cuts.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Gives the message a name, so that publishing it again, after a crash as well, does nothing: as
    /// long as a message with this name is in the store, or is among the last
    /// [`OUTCOMES_MAX`](crate::store::OUTCOMES_MAX) that were and had one, a publish returns a ticket
    /// of that one. A message that came to [`Outcome::Withdrawn`](super::Outcome::Withdrawn) is
    /// published anew. Without a store, and at QoS 0, it means nothing.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// What becomes of the message where there is no room among those that wait to be sent;
    /// [`ClientOptions::queue_policy`] unless set.
    #[must_use]
    pub fn queue_policy(mut self, policy: QueuePolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// How long from now on the message may wait to be sent, at most; what is sent by then does not
    /// expire any more. [`ClientOptions::queue_age_max`] limits that further.
    ///
    /// With a [store](ClientOptions::store) it goes on getting older while there is no program, by the
    /// clock on the wall.
    ///
    /// Its outcome is [`Outcome::Expired`] then, also where the call still waits for room: it returns
    /// that ticket.
    #[must_use]
    pub fn expires_after(mut self, age: Duration) -> Self {
        self.expires_after = Some(age);
        self
    }

    /// Has it not wait for the connection to send what it has: others stand behind it.
    pub(super) const fn unpaced(mut self) -> Self {
        self.is_paced = false;
        self
    }

    pub(super) const fn policy(&self) -> Option<QueuePolicy> {
        self.policy
    }

    pub(super) fn policy_with(&self, options: &Settings) -> QueuePolicy {
        self.policy.unwrap_or(options.queue_policy)
    }

    /// How old the message may get before it is sent, if there is a limit, where that of the client is
    /// `age_max`.
    pub(super) fn age_with(&self, age_max: Option<Duration>) -> Option<Duration> {
        let ages = [self.expires_after, age_max];
        ages.into_iter().flatten().min()
    }

    pub(super) const fn outgoing(&self) -> Outgoing<'a> {
        self.outgoing
    }

    pub(super) fn level(&self) -> Wait {
        self.wait.unwrap_or_default()
    }

    /// How far the call waits with this store.
    pub(super) fn level_with(&self, store: &dyn Store) -> Wait {
        self.wait.unwrap_or_else(|| match store.level() {
            Some(Level::Synced) => Wait::Stored,
            Some(Level::Flushed) | None => Wait::None,
        })
    }

    pub(super) const fn name(&self) -> Option<Key> {
        self.key
    }
}

impl Client {
    /// Publishes a message (MQTT3-3.3). It is copied before this returns.
    ///
    /// Messages published before the connection is up, and those for which the window of
    /// unacknowledged messages or the outbound log has no room, wait in a bounded queue
    /// ([`ClientOptions::queue_max`]) and are sent in order once they can be; for each topic and QoS
    /// that is the order of publishing. Yields while the queue has no room, unless
    /// [`Publish::queue_policy`] says otherwise, and until the level asked for with [`Publish::wait`] holds;
    /// the ambient deadline limits that, else the client's operation timeout.
    ///
    /// When 64 KiB are there that the connection has not sent (at QoS 0 four messages of this size where these are more,
    /// up to 256 KiB), it first gives up its turn, and, where the policy is to wait, waits up to 10 ms for the kernel to take
    /// half of them: whoever publishes faster than the network is goes at its pace, and does not fill a queue. That is
    /// no wait that can fail, and there is none where nothing may wait.
    ///
    /// # Errors
    ///
    /// [`PublishError::Argument`]: nothing was sent and the connection goes on.
    /// [`PublishError::Full`], [`PublishError::QueueFull`], [`PublishError::StoreFailed`]: the message
    /// was not accepted.
    /// [`PublishError::Wait`]: it was, and
    /// its ticket is in the error.
    pub fn publish(&self, publish: Publish<'_>) -> Result<Ticket, PublishError> {
        self.check_server_limits(&publish)?;
        if self.shared.stores() && publish.outgoing.qos != QoS::AtMostOnce {
            return self.publish_stored(&publish);
        }
        let mut since = None;
        if self.shared.state().has_much_unsent() {
            let began = now();
            if let Some(expired) = self.shared.let_send(&publish, began) {
                return Ok(expired);
            }
            since = Some(began);
        }
        let level = publish.level();
        let passed = pass(&self.shared, &publish, level == Wait::Ack);
        let (mut ticket, begun) = match passed {
            Some(passed) => passed,
            None => {
                let since = since.unwrap_or_else(now);
                (self.shared.publish_by_queue(&publish, since, true)?, None)
            }
        };
        let waited = match begun {
            Some(begun) => ticket.wait_on(begun),
            None if level > Wait::Stored => ticket.wait(level),
            None => return Ok(ticket),
        };
        match waited {
            Ok(_) => Ok(ticket),
            Err(cause) => Err(PublishError::Wait(WaitError { cause, ticket })),
        }
    }

    /// Publishes a message if there is room for it now, in the connection or among those that wait to
    /// be sent, else as [`Publish::queue_policy`] says, which to wait for room means to refuse it. Does
    /// not look at [`Publish::wait`]: the ticket tells what becomes of the message. Does not yield, and
    /// is legal where nothing may wait, as in a handler of [`Client::subscribe_inline`].
    ///
    /// # Errors
    ///
    /// Those of [`Client::publish`], of which none means that the message was accepted:
    /// [`PublishError::QueueFull`] without room, [`PublishError::Full`] when the client is closed or,
    /// where none comes by itself, there is no connection.
    pub fn try_publish(&self, publish: Publish<'_>) -> Result<Ticket, PublishError> {
        self.check_server_limits(&publish)?;
        if self.shared.stores() && publish.outgoing.qos != QoS::AtMostOnce {
            return self.enter_stored(&publish, false);
        }
        match pass(&self.shared, &publish, false) {
            Some((ticket, _)) => Ok(ticket),
            None => self.shared.publish_by_queue(&publish, now(), false),
        }
    }

    /// Refuses what the broker is known not to take.
    #[inline]
    fn check_server_limits(&self, publish: &Publish<'_>) -> Result<(), PublishError> {
        let Some(limits) = &self.shared.options.server_limits else {
            return Ok(());
        };
        let outgoing = &publish.outgoing;
        limits
            .check_publish(outgoing.topic, outgoing.payload.len(), outgoing.qos)
            .map_err(|limited| PublishError::Argument(limited.into()))
    }

    /// Sets how many messages may leave from now on, in place of [`ClientOptions::publish_rate`];
    /// `None` for any number. For brokers that ask to be sent less for a while. Does not yield.
    pub fn set_publish_rate(&self, rate: Option<PublishRate>) {
        {
            let mut state = self.shared.state();
            let state = &mut *state;
            state.session.set_publish_rate(rate, &state.log);
        }
        self.shared.wake.set();
    }

    /// The same of bytes, in place of [`ClientOptions::publish_byte_rate`]. Does not yield.
    pub fn set_publish_byte_rate(&self, rate: Option<PublishByteRate>) {
        {
            let mut state = self.shared.state();
            let state = &mut *state;
            state.session.set_publish_byte_rate(rate, &state.log);
        }
        self.shared.wake.set();
    }
}

/// Encodes a message into the log if it may go and nothing comes before it; none where something is in its way,
/// or wrong with it. Where that `waits` for the acknowledgement the wait is begun as well, as far as it can be.
#[inline]
fn pass(
    shared: &Rc<Shared>,
    publish: &Publish<'_>,
    waits: bool,
) -> Option<(Ticket, Option<BegunWait>)> {
    let mut state = shared.state();
    let qos = publish.outgoing.qos;
    if state.end.is_some() || state.closing || !state.may_pass(qos, Arrival::NEW) {
        return None;
    }
    let ticket = admission::pass::<false>(shared, &mut state, publish.outgoing)?;
    let begun = if waits {
        ticket.begin_wait(&mut state)
    } else {
        None
    };
    Some((ticket, begun))
}

/// Unsent bytes in the log with which a publishing fiber gives up its turn before it goes on.
const UNSENT_BYTES_PER_TURN_MAX: usize = 64 * 1024;

/// As many of its own size may be unsent at QoS 0, where these are more bytes: large messages are to share a write as
/// well.
const UNSENT_MESSAGES_PER_TURN_MAX: usize = 4;

/// But no more bytes than these, which the connection writes in one turn.
const UNSENT_BYTES_OF_LARGE_MAX: usize = 256 * 1024;

/// How long it waits at most for half of them to be sent.
const PACE_TIMEOUT: Duration = Duration::from_millis(10);

impl State {
    /// Whether there are so many bytes that the connection had better write before more is added: what a
    /// rate holds back it may not.
    #[inline]
    fn has_much_unsent(&self) -> bool {
        self.unsent() >= UNSENT_BYTES_PER_TURN_MAX && self.is_up() && !self.session.is_throttled()
    }

    #[inline]
    fn unsent(&self) -> usize {
        self.log.tail().since(self.session.sent())
    }

    /// Refuses a message for which there is no room, and that is not to wait for any.
    pub(super) fn refuse(&mut self) -> PublishError {
        self.stats.rejected += 1;
        PublishError::QueueFull
    }
}

/// Finds out whether it is worth to wait in line.
#[cold]
pub(super) fn check(state: &State, publish: &Publish<'_>) -> Result<(), PublishError> {
    if let Some(cause) = state.refusal() {
        return Err(PublishError::Full(cause));
    }
    let checked = state.session.check_publish(publish.outgoing, &state.log);
    checked.map_err(refused)
}

pub(super) fn refused(rejected: Rejected) -> PublishError {
    match rejected {
        Rejected::Argument(error) => PublishError::Argument(error),
        Rejected::NoRoom(_) | Rejected::Ended | Rejected::Started | Rejected::NotUp => {
            PublishError::Full(WaitCause::Closed)
        }
    }
}

/// How many bytes may be unsent when a message is added. Those at QoS 1 and 2 stay in the log, where more of them are
/// in no cache any more.
fn unsent_allowed(message: &Outgoing<'_>) -> usize {
    if message.qos != QoS::AtMostOnce {
        return UNSENT_BYTES_PER_TURN_MAX;
    }
    let some = message.payload.len();
    let some = some.saturating_mul(UNSENT_MESSAGES_PER_TURN_MAX);
    some.clamp(UNSENT_BYTES_PER_TURN_MAX, UNSENT_BYTES_OF_LARGE_MAX)
}

impl Shared {
    /// Lets the connection send before there is more for it: what it has piles up in memory, and the first
    /// of it is no longer in the processor's cache when its turn comes. Returns the ticket of a message that
    /// was published `since` then, and got too old meanwhile.
    #[cold]
    fn let_send(self: &Rc<Self>, publish: &Publish<'_>, since: Time) -> Option<Ticket> {
        let allowed = unsent_allowed(&publish.outgoing);
        if self.state().unsent() < allowed {
            return None;
        }
        // Where no turn may be given up it has to wait until there is one.
        fiber::give_way();
        let waits = publish.is_paced && publish.policy_with(&self.options) == QueuePolicy::Wait;
        if !waits || self.state().unsent() < allowed || !self.state().has_much_unsent() {
            return None;
        }
        let mut waiter = None;
        let is_woken = fiber::give_way_until(Instant::recent() + PACE_TIMEOUT, |token| {
            let mut state = self.state();
            let unsent = state.log.tail().since(state.flushed);
            let enough = unsent.saturating_sub(allowed / 2);
            let end = state.flushed.plus(enough);
            state.wait_for_sent(end, token);
            waiter = Some(token);
        });
        if let Some(token) = waiter.filter(|_| !is_woken) {
            self.state().forget_sent_waiter(token);
        }
        let age = publish.age_with(self.options.queue_age_max)?;
        (since + age <= now()).then(|| self.expired())
    }

    /// Publishes a message by way of the queue, which began then: waits for room there as its policy says,
    /// if it is one that `may_wait`.
    #[cold]
    fn publish_by_queue(
        self: &Rc<Self>,
        publish: &Publish<'_>,
        since: Time,
        may_wait: bool,
    ) -> Result<Ticket, PublishError> {
        let age = publish.age_with(self.options.queue_age_max);
        let expires = age.map(|age| since + age);
        let enter =
            |state: &mut State, arrival| admission::enter(self, state, publish, arrival, expires);
        let entered = enter(&mut self.state(), Arrival::NEW);
        let published = match entered? {
            Ok(ticket) => Ok(ticket),
            Err(room) if may_wait => self.wait_in_turn(room, expires, enter),
            Err(_) => Err(self.state().refuse()),
        };
        link::wake_threads(self);
        expiry::watch(self);
        published
    }

    /// Waits for room and enters a message, in order of arrival, unless it gets too old before.
    pub(super) fn wait_in_turn(
        self: &Rc<Self>,
        room: Room,
        expires: Option<Time>,
        enter: impl FnMut(&mut State, Arrival) -> Result<Result<Ticket, Room>, PublishError>,
    ) -> Result<Ticket, PublishError> {
        self.limited(|| {
            let wait = || self.enter_in_turn(room, PublishError::Full, enter);
            match expires.map(|at| Instant::from_nanos(at.0)) {
                Some(at) => match fiber::deadline(at, wait) {
                    Ok(published) | Err(Elapsed(published @ Ok(_))) => published,
                    Err(Elapsed(Err(_))) => Ok(self.expired()),
                },
                None => wait(),
            }
        })
    }

    /// The ticket of a message that got too old while it waited for room.
    fn expired(self: &Rc<Self>) -> Ticket {
        let mut state = self.state();
        state.stats.expired += 1;
        state.tickets.settled(self, Outcome::Expired)
    }
}

impl Ticket {
    /// Waits for the outcome. Yields until it is settled; limited as [`Ticket::wait`].
    ///
    /// # Errors
    ///
    /// [`WaitCause`], as [`Ticket::wait`].
    pub fn outcome(&mut self) -> Result<Outcome, WaitCause> {
        match self.wait(Wait::Ack)? {
            Some(outcome) => Ok(outcome),
            None => Err(WaitCause::Closed),
        }
    }
}
