//! Subscribing and unsubscribing.

use super::Client;
use super::error::{Error, WaitCause};
use super::handler;
use super::message::Message;
use super::messages::Messages;
use super::request::Request;
use super::room::Room;
use super::shared::State;
use super::subscription::{Handler, HandlerError, SubscriptionId};
use super::ticket::{Ticket, Wait};
use crate::packet::QoS;
use crate::session::{ArgumentError, NoRoom, Rejected};
use crate::topic::TopicFilter;

/// What is sent of a request: a SUBSCRIBE for one subscription, or an UNSUBSCRIBE.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Subscribe(SubscriptionId, &'a [(&'a str, QoS)]),
    Unsubscribe(&'a [&'a str]),
}

impl Client {
    /// Subscribes to a topic filter: `handler` is called for every message that matches it
    /// (MQTT3-3.8).
    ///
    /// The handler runs on a fiber of its own, one message after the other, and may call the
    /// client and wait. A QoS 1 or 2 message is acknowledged when it returns, in order of arrival; an
    /// error or a panic is counted, and the message acknowledged all the same.
    ///
    /// Yields until the broker answered; the ambient deadline limits that, else the client's
    /// operation timeout.
    ///
    /// # Errors
    ///
    /// [`Error::SubscribeRefused`] when the broker refused it: the connection goes on.
    /// [`Error::Argument`] for what is no topic filter, [`Error::Wait`] when the wait
    /// ended early. After any of them the handler is not called any more.
    pub fn subscribe(
        &self,
        filter: &str,
        qos: QoS,
        handler: impl FnMut(&Self, &Message) -> Result<(), HandlerError> + 'static,
    ) -> Result<SubscriptionId, Error> {
        self.subscribe_all(&[(filter, qos)], handler)
    }

    /// Subscribes to several topic filters with one handler, which is called once for each
    /// message however many of them match; otherwise as [`Client::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`]. [`Error::SubscribeRefused`] names the filters that were refused;
    /// the subscription lives on with the others, if there are any.
    pub fn subscribe_all(
        &self,
        filters: &[(&str, QoS)],
        handler: impl FnMut(&Self, &Message) -> Result<(), HandlerError> + 'static,
    ) -> Result<SubscriptionId, Error> {
        self.subscribe_with(filters, Some(Box::new(handler)))
    }

    /// Subscribes to a topic filter and returns its messages one by one, for a `for` loop;
    /// otherwise as [`Client::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`].
    pub fn subscribe_iter(&self, filter: &str, qos: QoS) -> Result<Messages, Error> {
        let id = self.subscribe_with(&[(filter, qos)], None)?;
        Ok(Messages::new(&self.shared, id, filter))
    }

    /// Ends the subscription to a topic filter, here and at the broker (MQTT3-3.10). Every
    /// handler of exactly this filter is dropped; those of other filters stay.
    ///
    /// Yields until the broker answered; limited as [`Client::subscribe`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for what is no topic filter; [`Error::Wait`] when the wait ended
    /// early: the handlers are gone, the broker may go on sending.
    pub fn unsubscribe(&self, filter: &str) -> Result<(), Error> {
        TopicFilter::new(filter).map_err(|error| ArgumentError::Filter { index: 0, error })?;
        let removed = self.shared.state().subscriptions.remove_filter(filter);
        for ack in removed.iter().flat_map(|removed| &removed.acks) {
            handler::acknowledge_last(&self.shared, *ack);
        }
        // What the handlers own is dropped last: it is code of the user and may do anything.
        self.shared
            .limited(|| self.ask(Ask::Unsubscribe(&[filter])).map(drop))
    }

    fn subscribe_with(
        &self,
        filters: &[(&str, QoS)],
        handler: Option<Handler>,
    ) -> Result<SubscriptionId, Error> {
        let mut parsed = Vec::with_capacity(filters.len());
        for (index, (filter, _)) in filters.iter().enumerate() {
            let filter = TopicFilter::new(*filter);
            parsed.push(filter.map_err(|error| ArgumentError::Filter { index, error })?);
        }
        // Before the request leaves: retained messages may come before its answer.
        let id = self.shared.state().subscriptions.add(parsed, handler);
        match self
            .shared
            .limited(|| self.ask(Ask::Subscribe(id, filters)))
        {
            Ok(refused) if refused.is_empty() => Ok(id),
            // What was refused is removed already.
            Ok(filters) => Err(Error::SubscribeRefused { filters }),
            Err(error) => {
                let removed = self.shared.state().subscriptions.remove(id);
                for ack in &removed.acks {
                    handler::acknowledge_last(&self.shared, *ack);
                }
                Err(error)
            }
        }
    }

    /// Sends a request and waits for its answer; returns the filters that were refused.
    fn ask(&self, ask: Ask<'_>) -> Result<Vec<String>, Error> {
        let entered = {
            let mut state = self.shared.state();
            if state.lines.is_waited_for(Room::Requests) {
                Err(Room::Requests)
            } else {
                self.enter(&mut state, ask)?
            }
        };
        let mut ticket = match entered {
            Ok(ticket) => ticket,
            Err(room) => {
                let enter = |state: &mut State| self.enter(state, ask);
                self.shared.enter_in_turn(room, Error::Wait, enter)?
            }
        };
        let settled = ticket.wait(Wait::Ack);
        let request = ticket
            .key()
            .and_then(|key| self.shared.state().requests.take(key));
        settled?;
        Ok(request.map(|request| request.refused).unwrap_or_default())
    }

    /// Encodes a request into the log if there is room.
    fn enter(&self, state: &mut State, ask: Ask<'_>) -> Result<Result<Ticket, Room>, Error> {
        if let Some(cause) = state.refusal() {
            return Err(cause.into());
        }
        let key = state.tickets.open(false);
        let log = &mut state.log;
        let admitted = match ask {
            Ask::Subscribe(_, filters) => state.session.subscribe(filters, key, log),
            Ask::Unsubscribe(filters) => state.session.unsubscribe(filters, key, log),
        };
        let rejected = match admitted {
            Ok(admitted) => {
                if let Ask::Subscribe(subscription, filters) = ask {
                    let filters = filters
                        .iter()
                        .map(|(filter, _)| (*filter).to_owned())
                        .collect();
                    let request = Request {
                        subscription,
                        filters,
                        refused: Vec::new(),
                    };
                    state.requests.insert(key, request);
                }
                self.shared.wake.set();
                return Ok(Ok(state.tickets.ticket(&self.shared, key, admitted.end)));
            }
            Err(rejected) => rejected,
        };
        state.tickets.cancel(key);
        match rejected {
            Rejected::NoRoom(NoRoom::Requests { .. }) => Ok(Err(Room::Requests)),
            Rejected::NoRoom(NoRoom::Log(_)) => Ok(Err(Room::Log)),
            Rejected::NoRoom(NoRoom::Window { .. }) => Ok(Err(Room::Window)),
            Rejected::Argument(error) => Err(error.into()),
            Rejected::Ended | Rejected::Started | Rejected::NotUp => Err(WaitCause::Closed.into()),
        }
    }

    /// Sends an UNSUBSCRIBE whose answer nobody waits for.
    pub(super) fn unsubscribe_unheard(&self, filter: &str) {
        // Without room or connection the broker goes on sending what nobody wants; it is
        // acknowledged and counted.
        let entered = self.enter(&mut self.shared.state(), Ask::Unsubscribe(&[filter]));
        drop(entered);
    }
}
