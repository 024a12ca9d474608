//! Publishing.

use std::rc::Rc;

use super::Client;
use super::error::{PublishError, WaitCause, WaitError};
use super::room::Room;
use super::shared::{Shared, State};
use super::ticket::{Outcome, Ticket, Wait};
use crate::packet::QoS;
use crate::session::{NoRoom, Outgoing, Rejected, TicketKey};
use crate::store::{Key, Level, Store};

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
    /// Messages published before the connection is up are sent once it is. Yields while the
    /// bounded queue has no room, and until the level asked for with [`Publish::wait`] holds;
    /// the ambient deadline limits that, else the client's operation timeout.
    ///
    /// # Errors
    ///
    /// [`PublishError::Argument`]: nothing was sent and the connection goes on.
    /// [`PublishError::Full`]: the message was not accepted. [`PublishError::Wait`]: it was, and
    /// its ticket is in the error.
    pub fn publish(&self, publish: Publish<'_>) -> Result<Ticket, PublishError> {
        if self.shared.stores && publish.outgoing.qos != QoS::AtMostOnce {
            return self.publish_stored(&publish);
        }
        let mut ticket = match admit(&self.shared, &publish)? {
            Ok(ticket) => ticket,
            Err(room) => self.shared.limited(|| {
                let enter = |state: &mut State| enter(&self.shared, state, &publish);
                self.shared.enter_in_turn(room, PublishError::Full, enter)
            })?,
        };
        if publish.level() > Wait::Stored
            && let Err(cause) = ticket.wait(publish.level())
        {
            return Err(PublishError::Wait(WaitError { cause, ticket }));
        }
        Ok(ticket)
    }
}

/// Encodes a message into the log if there is room, and nobody waits for that room already.
#[inline]
fn admit(shared: &Rc<Shared>, publish: &Publish<'_>) -> Result<Result<Ticket, Room>, PublishError> {
    let mut state = shared.state();
    if state.is_log_waited_for() {
        return check(&state, publish).map(|()| Err(Room::Log));
    }
    let qos = publish.outgoing.qos;
    if qos == QoS::ExactlyOnce && state.lines.is_waited_for(Room::ExactlyOnce) {
        return check(&state, publish).map(|()| Err(Room::ExactlyOnce));
    }
    if qos != QoS::AtMostOnce && state.lines.is_waited_for(Room::Window) {
        return check(&state, publish).map(|()| Err(Room::Window));
    }
    enter(shared, &mut state, publish)
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

fn refused(rejected: Rejected) -> PublishError {
    match rejected {
        Rejected::Argument(error) => PublishError::Argument(error),
        Rejected::NoRoom(_) | Rejected::Ended | Rejected::Started | Rejected::NotUp => {
            PublishError::Full(WaitCause::Closed)
        }
    }
}

#[inline]
fn enter(
    shared: &Rc<Shared>,
    state: &mut State,
    publish: &Publish<'_>,
) -> Result<Result<Ticket, Room>, PublishError> {
    if let Some(cause) = state.refusal() {
        return Err(PublishError::Full(cause));
    }
    let qos = publish.outgoing.qos;
    if qos == QoS::ExactlyOnce && state.exactly_once_room() == 0 {
        return check(state, publish).map(|()| Err(Room::ExactlyOnce));
    }
    let acknowledged = qos != QoS::AtMostOnce;
    let key = if acknowledged {
        state.tickets.open(qos == QoS::ExactlyOnce)
    } else {
        TicketKey::default()
    };
    match state.session.publish(publish.outgoing, key, &mut state.log) {
        Ok(admitted) => {
            shared.wake.set();
            Ok(Ok(if acknowledged {
                state.tickets.ticket(shared, key, admitted.end)
            } else {
                Ticket::of_sent(shared, admitted.end)
            }))
        }
        Err(rejected) => {
            if acknowledged {
                state.tickets.cancel(key);
            }
            match rejected {
                Rejected::NoRoom(NoRoom::Window { .. }) => Ok(Err(Room::Window)),
                Rejected::NoRoom(NoRoom::Log(_)) => Ok(Err(Room::Log)),
                rejected => Err(refused(rejected)),
            }
        }
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
