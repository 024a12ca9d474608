//! Subscribing and unsubscribing.

use super::Client;
use super::ack::Ack;
use super::error::{Error, WaitCause};
use super::handler::{self, Handler, HandlerError, OnError};
use super::message::Message;
use super::message_ref::MessageRef;
use super::messages::Messages;
use super::request::{Request, Wanted};
use super::room::Room;
use super::shared::State;
use super::subscription::{Policy, Standing, SubscriptionId};
use super::ticket::{Ticket, Wait};
use crate::packet::QoS;
use crate::session::{ArgumentError, NoRoom, REQUESTS_MAX, Rejected};
use crate::topic::TopicFilter;

/// A subscription to be made.
///
/// # Examples
///
/// ```
/// use mqtt::{QoS, Subscribe, Wait};
/// // Declared, and not waited for: legal before there is a connection.
/// let valve = Subscribe::to("valve", QoS::AtLeastOnce).wait(Wait::None);
/// ```
#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    filters: Vec<(&'a str, QoS)>,
    wait: Wait,
    policy: Policy,
    retained: bool,
}

impl<'a> Subscribe<'a> {
    /// To one topic filter, with the highest quality of service that its messages may have; waits
    /// for the broker's answer (MQTT3-3.8).
    #[must_use]
    pub fn to(filter: &'a str, qos: QoS) -> Self {
        Self::to_all(&[(filter, qos)])
    }

    /// To several topic filters with one handler, which is called once for each message however
    /// many of them match.
    #[must_use]
    pub fn to_all(filters: &[(&'a str, QoS)]) -> Self {
        Self {
            filters: filters.to_vec(),
            wait: Wait::Ack,
            policy: Policy::default(),
            retained: false,
        }
    }

    /// Whether the broker is asked for it though a master subscription brings its messages already
    /// ([`Client::subscribe_master`]): it then sends what it has retained. There are brokers that
    /// send a message once for each subscription that matches it.
    #[must_use]
    pub fn retained(mut self, retained: bool) -> Self {
        self.retained = retained;
        self
    }

    /// When its QoS 1 and 2 messages are acknowledged.
    #[must_use]
    pub fn ack(mut self, ack: Ack) -> Self {
        self.policy.ack = ack;
        self
    }

    /// What becomes of messages that the handler failed to handle.
    #[must_use]
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.policy.on_error = on_error;
        self
    }

    /// How far the call waits. With less than [`Wait::Ack`], what the broker refuses is told by
    /// [`super::Event::SubscribeRefused`].
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }
}

/// What is sent of a request: a SUBSCRIBE for one subscription, or an UNSUBSCRIBE.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    /// Without an identifier it is a master subscription.
    Subscribe(Option<SubscriptionId>, &'a [(&'a str, QoS)]),
    Unsubscribe(&'a [&'a str]),
}

impl Client {
    /// Subscribes to a topic filter: `handler` is called for every message that matches it
    /// (MQTT3-3.8).
    ///
    /// The handler runs on a fiber of its own, one message after the other, and may call the
    /// client and wait. A QoS 1 or 2 message is acknowledged when it returns, in order of arrival; an
    /// error or a panic is counted, and the message acknowledged all the same. [`Subscribe::ack`] and
    /// [`Subscribe::on_error`] say otherwise.
    ///
    /// The subscription outlives the connection: where the broker has lost it, it is made again.
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
        self.subscribe_as(Subscribe::to_all(filters), handler)
    }

    /// Subscribes as `subscribe` says; otherwise as [`Client::subscribe`]. Yields until the level
    /// asked for with [`Subscribe::wait`] holds, and while there is no room for the request.
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe_all`]; what the broker refuses only where its answer is waited for.
    pub fn subscribe_as(
        &self,
        subscribe: Subscribe<'_>,
        handler: impl FnMut(&Self, &Message) -> Result<(), HandlerError> + 'static,
    ) -> Result<SubscriptionId, Error> {
        self.subscribe_with(subscribe, Some(Handler::OnFiber(Box::new(handler))))
    }

    /// Subscribes with a handler that is called where messages are read, for topics so busy that a
    /// fiber and a queue between them and the program cost too much; otherwise as
    /// [`Client::subscribe`].
    ///
    /// It is given each message in the memory that it was read into, by the fiber that serves the
    /// connection: nothing is copied, queued or allocated, and nothing else runs meanwhile, so it must
    /// be quick. It may call the client, but a call that would wait fails with
    /// [`Stopped::WouldWait`](fiber::Stopped::WouldWait), as in [`fiber::no_park`]: publish with
    /// [`Client::try_publish`], subscribe and unsubscribe with [`Wait::None`]. What is to wait belongs
    /// on a fiber of its own, or into [`Client::subscribe`].
    ///
    /// Order, acknowledgements, errors and panics are those of any other handler. A message that must
    /// wait for its turn, because it came before the subscription or an earlier one is to be handled
    /// again ([`OnError::Redeliver`]), is queued, and the handler called on a fiber until none is
    /// left; it may not wait there either.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(not(feature = "broker"))] fn main() {}
    /// # #[cfg(feature = "broker")]
    /// # fn main() {
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// use mqtt::{Client, Error, Publish, QoS};
    ///
    /// /// Keeps the highest reading, and says when there is a new one.
    /// fn watch(client: &Client) -> Result<Rc<Cell<f64>>, Error> {
    ///     let highest = Rc::new(Cell::new(f64::MIN));
    ///     let seen = Rc::clone(&highest);
    ///     client.subscribe_inline("site/+/t", QoS::AtMostOnce, move |client, message| {
    ///         let reading = str::from_utf8(message.data)?.parse()?;
    ///         if reading > seen.get() {
    ///             seen.set(reading);
    ///             client.try_publish(Publish::to("site/highest", message.data))?;
    ///         }
    ///         Ok(())
    ///     })?;
    ///     Ok(highest)
    /// }
    /// # fiber::run(|| {
    /// #     use mqtt::*;
    /// #     let broker = Broker::new(BrokerOptions::new());
    /// #     let said = broker.subscribe("site/highest").unwrap();
    /// #     let (sock, peer) = fiber::net::pipe(4096);
    /// #     broker.attach(peer).unwrap();
    /// #     let client = Client::over(sock, ClientOptions::new(ClientId::new("hub").unwrap()));
    /// #     client.connect().unwrap();
    /// #     let highest = watch(&client).unwrap();
    /// #     for reading in ["21.5", "19", "22"] {
    /// #         broker.publish("site/4/t", reading.as_bytes(), QoS::AtMostOnce, false).unwrap();
    /// #     }
    /// #     assert_eq!(said.recv().unwrap().payload(), b"21.5");
    /// #     assert_eq!(said.recv().unwrap().payload(), b"22");
    /// #     assert_eq!(highest.get(), 22.0);
    /// #     assert_eq!(client.stats().handler_errors, 0);
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`].
    pub fn subscribe_inline(
        &self,
        filter: &str,
        qos: QoS,
        handler: impl FnMut(&Self, MessageRef<'_>) -> Result<(), HandlerError> + 'static,
    ) -> Result<SubscriptionId, Error> {
        self.subscribe_inline_as(Subscribe::to(filter, qos), handler)
    }

    /// Subscribes as `subscribe` says, with a handler as that of [`Client::subscribe_inline`]; yields
    /// as [`Client::subscribe_as`].
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe_as`].
    pub fn subscribe_inline_as(
        &self,
        subscribe: Subscribe<'_>,
        handler: impl FnMut(&Self, MessageRef<'_>) -> Result<(), HandlerError> + 'static,
    ) -> Result<SubscriptionId, Error> {
        self.subscribe_with(subscribe, Some(Handler::called(self, Box::new(handler))))
    }

    /// Subscribes to a topic filter and returns its messages one by one, for a `for` loop;
    /// otherwise as [`Client::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::subscribe`].
    pub fn subscribe_iter(&self, filter: &str, qos: QoS) -> Result<Messages, Error> {
        let id = self.subscribe_with(Subscribe::to(filter, qos), None)?;
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
        self.unsubscribe_as(filter, Wait::Ack)
    }

    /// Ends the subscription to a topic filter and waits up to `wait`; otherwise as
    /// [`Client::unsubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::unsubscribe`].
    pub fn unsubscribe_as(&self, filter: &str, wait: Wait) -> Result<(), Error> {
        TopicFilter::new(filter).map_err(|error| ArgumentError::Filter { index: 0, error })?;
        let (removed, asked) = {
            let subscriptions = &mut self.shared.state().subscriptions;
            // One that nobody has here may be left of an earlier program.
            let wanted = subscriptions.is_wanted(filter);
            let unknown = !subscriptions.has_filter(filter);
            let removed = subscriptions.remove_filter(filter);
            let master = subscriptions.is_wanted(filter);
            (removed, (wanted || unknown) && !master)
        };
        for ack in removed.iter().flat_map(|removed| &removed.acks) {
            handler::acknowledge_last(&self.shared, *ack);
        }
        if !asked {
            return Ok(());
        }
        // What the handlers own is dropped last: it is code of the user and may do anything.
        self.shared
            .limited(|| self.ask(Ask::Unsubscribe(&[filter]), wait).map(drop))
    }

    /// Ends one subscription, and no other of the same filter; one that has ended is nothing. The
    /// broker is told of the filters that no other subscription has asked it for. Yields up to
    /// `wait`, else as [`Client::unsubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::unsubscribe`].
    pub fn unsubscribe_id(&self, id: SubscriptionId, wait: Wait) -> Result<(), Error> {
        let (removed, filters) = self.shared.state().subscriptions.take_out(id);
        for ack in &removed.acks {
            handler::acknowledge_last(&self.shared, *ack);
        }
        let filters = Vec::from_iter(filters.iter().map(String::as_str));
        if filters.is_empty() {
            return Ok(());
        }
        // What the handler owns is dropped last, as above.
        self.shared
            .limited(|| self.ask(Ask::Unsubscribe(&filters), wait).map(drop))
    }

    /// Ends one filter of one subscription, and the subscription if it has no other; its handler
    /// goes on with the rest. What is not there is nothing. The broker is told if no other
    /// subscription has asked it for the filter. Yields up to `wait`, else as
    /// [`Client::unsubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Client::unsubscribe`].
    pub fn unsubscribe_filter(
        &self,
        id: SubscriptionId,
        filter: &str,
        wait: Wait,
    ) -> Result<(), Error> {
        let (removed, asked) = {
            let subscriptions = &mut self.shared.state().subscriptions;
            let wanted = subscriptions.is_wanted(filter);
            let removed = subscriptions.remove_filter_of(id, filter);
            (removed, wanted && !subscriptions.is_wanted(filter))
        };
        for ack in removed.iter().flat_map(|removed| &removed.acks) {
            handler::acknowledge_last(&self.shared, *ack);
        }
        if !asked {
            return Ok(());
        }
        // What the handler owns is dropped last, as above.
        self.shared
            .limited(|| self.ask(Ask::Unsubscribe(&[filter]), wait).map(drop))
    }

    fn subscribe_with(
        &self,
        subscribe: Subscribe<'_>,
        handler: Option<Handler>,
    ) -> Result<SubscriptionId, Error> {
        let Subscribe {
            filters,
            wait,
            policy,
            retained,
        } = subscribe;
        let mut parsed = Vec::with_capacity(filters.len());
        for (index, (filter, qos)) in filters.iter().enumerate() {
            let filter = TopicFilter::new(*filter);
            let filter = filter.map_err(|error| ArgumentError::Filter { index, error })?;
            parsed.push((filter, *qos, Standing::Asked));
        }
        let mut asked = Vec::with_capacity(filters.len());
        // Before the request leaves: retained messages may come before its answer.
        let id = {
            let mut state = self.shared.state();
            if let Some(cause) = state.refusal() {
                return Err(cause.into());
            }
            let masters = &state.subscriptions.masters;
            for ((filter, qos, standing), own) in parsed.iter_mut().zip(&filters) {
                if !retained && masters.brings(filter, *qos) {
                    *standing = Standing::Local;
                } else {
                    asked.push(*own);
                }
            }
            let all_local = asked.is_empty() && !parsed.is_empty();
            let id = state.subscriptions.add(parsed, policy, handler);
            state.deliver_early(&self.shared);
            if all_local {
                return Ok(id);
            }
            id
        };
        let ask = Ask::Subscribe(Some(id), &asked);
        match self.shared.limited(|| self.ask(ask, wait)) {
            Ok(refused) if refused.is_empty() => Ok(id),
            // What was refused is removed already.
            Ok(filters) => Err(Error::SubscribeRefused { filters }),
            Err(error) => {
                let (removed, given_up) = self.shared.state().subscriptions.take_out(id);
                if !matches!(error, Error::Argument(_)) {
                    let given_up = Vec::from_iter(given_up.iter().map(String::as_str));
                    self.unsubscribe_unheard(&given_up);
                }
                for ack in &removed.acks {
                    handler::acknowledge_last(&self.shared, *ack);
                }
                Err(error)
            }
        }
    }

    /// Sends a request and waits up to `wait`; returns the filters that were refused by then.
    pub(super) fn ask(&self, ask: Ask<'_>, wait: Wait) -> Result<Vec<String>, Error> {
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
                let enter = |state: &mut State, _| self.enter(state, ask);
                self.shared.enter_in_turn(room, Error::Wait, enter)?
            }
        };
        if wait < Wait::Sent {
            return Ok(Vec::new());
        }
        let reached = ticket.wait(wait);
        if let Ok(None) = reached {
            // Its answer is for nobody.
            return Ok(Vec::new());
        }
        let request = ticket
            .key()
            .and_then(|key| self.shared.state().requests.take(key));
        reached?;
        Ok(request.map(|request| request.refused).unwrap_or_default())
    }

    /// Encodes a request into the log if there is room.
    fn enter(&self, state: &mut State, ask: Ask<'_>) -> Result<Result<Ticket, Room>, Error> {
        if let Some(cause) = state.refusal() {
            return Err(cause.into());
        }
        // What is to be asked again has its room already, and goes first.
        let asks = state.asks.len();
        if asks > 0 && state.session.requests() + asks >= REQUESTS_MAX {
            return Ok(Err(Room::Requests));
        }
        if let (Ask::Subscribe(_, filters), Some(limits)) =
            (ask, &self.shared.options.server_limits)
        {
            let asked = filters.iter().map(|(filter, _)| *filter);
            let all = state.subscriptions.wanted_count();
            limits
                .check_subscribe(asked, all)
                .map_err(ArgumentError::from)?;
        }
        let key = state.tickets.open(false);
        let log = &mut state.log;
        let admitted = match ask {
            Ask::Subscribe(_, filters) => state.session.subscribe(filters, key, log),
            Ask::Unsubscribe(filters) => state.session.unsubscribe(filters, key, log),
        };
        let rejected = match admitted {
            Ok(admitted) => {
                let wanted = match ask {
                    Ask::Subscribe(id, filters) => {
                        let filters = filters.iter();
                        let filters = filters.map(|(filter, qos)| ((*filter).to_owned(), *qos));
                        Wanted::Subscribe(id, filters.collect())
                    }
                    Ask::Unsubscribe(filters) => {
                        let filters = filters.iter().map(|filter| (*filter).to_owned());
                        Wanted::Unsubscribe(filters.collect())
                    }
                };
                state.requests.insert(key, Request::new(wanted));
                self.shared.wake.set();
                return Ok(Ok(state.tickets.ticket(&self.shared, key, admitted.end)));
            }
            Err(rejected) => rejected,
        };
        state.tickets.cancel(key);
        match rejected {
            Rejected::NoRoom(NoRoom::Requests { .. }) => Ok(Err(Room::Requests)),
            Rejected::NoRoom(
                NoRoom::Log(_) | NoRoom::Control { .. } | NoRoom::Window { .. } | NoRoom::Stale,
            ) => Ok(Err(Room::Log)),
            Rejected::Argument(error) => Err(error.into()),
            Rejected::Ended | Rejected::Started | Rejected::NotUp => Err(WaitCause::Closed.into()),
        }
    }

    /// Sends an UNSUBSCRIBE whose answer nobody waits for.
    pub(super) fn unsubscribe_unheard(&self, filters: &[&str]) {
        if filters.is_empty() {
            return;
        }
        // Without room or connection the broker goes on sending what nobody wants; it is
        // acknowledged and counted.
        let entered = self.enter(&mut self.shared.state(), Ask::Unsubscribe(filters));
        drop(entered);
    }
}
