//! Requests: a message is published, and its answer is a message that comes.
//!
//! MQTT 3.1.1 knows neither; what ties an answer to its request is chosen by the caller: the last
//! level of the answer's topic, or whatever a function finds in it. Answers are subscribed to at
//! QoS 0, which needs no acknowledgement, so that a request in a handler waits for nothing that
//! waits for the handler.

mod options;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Elapsed, Instant, LockError, Mutex, Unparker};

pub use self::options::{RequestError, RequestOptions};

use self::options::{IsAnswer, Place};
use super::Client;
use super::error::WaitCause;
use super::handler::{self, HandlerError};
use super::link::random;
use super::message::Message;
use super::outbox::QueuePolicy;
use super::publish::Publish;
use super::shared::State;
use super::subscribe::Subscribe;
use super::subscription::SubscriptionId;
use crate::packet::QoS;
use crate::session::ArgumentError;
use crate::topic::{TopicError, TopicFilter, check_topic_name};

/// Time for a request to be answered, with all that it waits for.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Requests of one client that await their answers; one more is refused.
pub const OPEN_REQUESTS_MAX: usize = 1_024;
/// Topic filters for answers that stay subscribed; one more ends the one that has been without a
/// request for longest.
pub const ANSWER_FILTERS_MAX: usize = 64;

/// The requests of one client that await their answers.
#[derive(Default)]
pub(super) struct Answers {
    /// In the order in which they were used last.
    places: Vec<Rc<Answering>>,
    open: usize,
    next_id: Option<u64>,
}

/// One topic filter at which answers come.
struct Answering {
    filter: String,
    subscription: Mutex<Option<SubscriptionId>>,
    /// Requests that use it, those that still subscribe included.
    users: Cell<usize>,
    waiting: RefCell<Line>,
}

/// Requests that wait for their answers at one topic filter. Each is found without the others: many
/// may be open, and as many answers come at once.
#[derive(Default)]
struct Line {
    by_topic: BTreeMap<String, Rc<Waiting>>,
    /// In the order in which they were made.
    by_function: BTreeMap<u64, (IsAnswer, Rc<Waiting>)>,
    next: u64,
}

/// How the answer to a request is told from other messages.
enum Told {
    ByTopic(String),
    By(IsAnswer),
}

/// One request.
#[derive(Default)]
struct Waiting {
    answer: RefCell<Option<Message>>,
    waiter: Cell<Option<Unparker>>,
}

/// Where a request stands in a [`Line`].
enum Spot {
    Topic(String),
    Function(u64),
}

impl Line {
    fn add(&mut self, told: Told, waiting: Rc<Waiting>) -> Spot {
        match told {
            Told::ByTopic(topic) => {
                self.by_topic.insert(topic.clone(), waiting);
                Spot::Topic(topic)
            }
            Told::By(is_answer) => {
                let number = self.next;
                self.next += 1;
                self.by_function.insert(number, (is_answer, waiting));
                Spot::Function(number)
            }
        }
    }

    fn remove(&mut self, spot: &Spot) -> Option<Rc<Waiting>> {
        match spot {
            Spot::Topic(topic) => self.by_topic.remove(topic),
            Spot::Function(number) => Some(self.by_function.remove(number)?.1),
        }
    }

    /// The first request from `number` on whose answer a function tells.
    fn asks(&self, number: u64) -> Option<(u64, IsAnswer)> {
        let (number, (is_answer, _)) = self.by_function.range(number..).next()?;
        Some((*number, Rc::clone(is_answer)))
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Waiting>> {
        let by_function = self.by_function.values().map(|(_, waiting)| waiting);
        self.by_topic.values().chain(by_function)
    }
}

impl Answers {
    /// Wakes every request: there may be no connection any more.
    pub(super) fn wake_all(&self) {
        for place in &self.places {
            for waiting in place.waiting.borrow().all() {
                waiting.wake();
            }
        }
    }
}

impl State {
    /// Whether requests await their answers.
    pub(super) fn has_open_answers(&self) -> bool {
        self.answers.get().is_some_and(|answers| answers.open > 0)
    }
}

impl Waiting {
    fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.unpark();
        }
    }
}

impl Answering {
    /// Gives a message to the request that it answers; late ones are counted and dropped.
    fn offer(&self, client: &Client, message: &Message) {
        // One that is answered waits no more: the next message is for another one.
        let by_topic = self.waiting.borrow_mut().by_topic.remove(&*message.topic);
        match by_topic.or_else(|| self.ask_functions(client, message)) {
            Some(waiting) => {
                *waiting.answer.borrow_mut() = Some(message.clone());
                waiting.wake();
            }
            None => client.shared.state().stats.late_answers += 1,
        }
    }

    /// Takes the request whose function says that this is its answer.
    fn ask_functions(&self, client: &Client, message: &Message) -> Option<Rc<Waiting>> {
        let mut next = 0;
        // A function of the program may make or end a request: nothing is borrowed then.
        while let Some((number, is_answer)) = { self.waiting.borrow().asks(next) } {
            let asked = catch_unwind(AssertUnwindSafe(|| is_answer(message)));
            let is_answer = asked.unwrap_or_else(|payload| {
                client.shared.state().stats.handler_panics += 1;
                handler::drop_payload(payload);
                false
            });
            if is_answer {
                let spot = Spot::Function(number);
                let found = self.waiting.borrow_mut().remove(&spot);
                if found.is_some() {
                    return found;
                }
            }
            next = number + 1;
        }
        None
    }
}

fn bad_filter(error: TopicError) -> RequestError {
    RequestError::Argument(ArgumentError::Filter { index: 0, error })
}

/// A request that counts as open, at its place.
struct Open<'a> {
    client: &'a Client,
    place: Rc<Answering>,
    /// Set once it waits for its answer.
    spot: Option<Spot>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.client.shared.state().answers.open -= 1;
        self.place.users.set(self.place.users.get() - 1);
        if let Some(spot) = &self.spot {
            // The function that it may hold is the options' as well, and is not dropped here.
            self.place.waiting.borrow_mut().remove(spot);
        }
    }
}

impl Client {
    /// Publishes a request and waits for its answer; `options` say what that is. The first request
    /// with some place for answers subscribes there first and waits for the broker; the
    /// subscription stays for later ones. Many requests may be open at once. An answer that nobody
    /// waits for is dropped and counted ([`super::ClientStats::late_answers`]).
    ///
    /// Legal in a handler: the answer needs no acknowledgement, and overtakes whatever waits to be
    /// handled there. That is not so where the answer is published at QoS 1 or 2 and another
    /// subscription with such a quality of service brings its topic, one of
    /// [`Client::subscribe_master`] above all: it then has a place in the broker's window, behind
    /// what the handler holds back. Yields until the answer is there, for the time set by
    /// [`RequestOptions::timeout`]; the ambient deadline limits that further.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; after any of them the request may have been carried out all the same, but
    /// for [`RequestError::Argument`], [`RequestError::Refused`] and [`RequestError::TooMany`].
    pub fn request(
        &self,
        topic: &str,
        payload: &(impl AsRef<[u8]> + ?Sized),
        options: &RequestOptions,
    ) -> Result<Message, RequestError> {
        let payload = payload.as_ref();
        let in_time = || match &options.place {
            Place::Under(prefix) => {
                let id = self.next_request_id();
                let (at, topic) = (format!("{prefix}/{id:016x}"), format!("{topic}/{id:016x}"));
                // One with a wildcard would be subscribed to, and no answer ever be found there.
                let checked = check_topic_name(&at);
                checked.map_err(bad_filter)?;
                let filter = format!("{prefix}/+");
                self.ask_and_wait(&topic, payload, options.qos, &filter, Told::ByTopic(at))
            }
            Place::At(filter, is_answer) => {
                let told = Told::By(Rc::clone(is_answer));
                self.ask_and_wait(topic, payload, options.qos, filter, told)
            }
        };
        match fiber::timeout(options.timeout, in_time) {
            Ok(answered) | Err(Elapsed(answered @ Ok(_))) => answered,
            Err(Elapsed(Err(_))) => Err(RequestError::TimedOut),
        }
    }

    fn ask_and_wait(
        &self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        filter: &str,
        told: Told,
    ) -> Result<Message, RequestError> {
        let checked = TopicFilter::new(filter);
        checked.map_err(bad_filter)?;
        let mut open = self.open_request(filter)?;
        self.subscribe_for(&open.place)?;
        let waiting = Rc::<Waiting>::default();
        let spot = {
            let mut line = open.place.waiting.borrow_mut();
            line.add(told, Rc::clone(&waiting))
        };
        open.spot = Some(spot);
        let mut request = Publish::to(topic, payload)
            .qos(qos)
            .queue_policy(QueuePolicy::Wait);
        if let Some(deadline) = fiber::ambient_deadline() {
            // Nobody waits for its answer then.
            request = request.expires_after(deadline - Instant::now());
        }
        self.publish(request)?;
        loop {
            let token = fiber::prepare()?;
            if let Some(answer) = waiting.answer.take() {
                return Ok(answer);
            }
            if let Some(cause) = self.shared.state().end.clone() {
                return Err(RequestError::Wait(WaitCause::ConnectionLost(cause)));
            }
            waiting.waiter.set(Some(token));
            fiber::park()?;
        }
    }

    /// Takes a place among the open requests.
    fn open_request(&self, filter: &str) -> Result<Open<'_>, RequestError> {
        let (place, idle) = {
            let answers = &mut *self.shared.state().answers;
            if answers.open == OPEN_REQUESTS_MAX {
                return Err(RequestError::TooMany);
            }
            let mut places = answers.places.iter();
            let known = places.position(|place| place.filter == filter);
            let mut idle = None;
            let place = match known {
                Some(at) => answers.places.remove(at),
                None => {
                    if answers.places.len() == ANSWER_FILTERS_MAX {
                        let mut places = answers.places.iter();
                        let unused = places.position(|place| place.users.get() == 0);
                        let unused = unused.ok_or(RequestError::TooMany)?;
                        idle = Some(answers.places.remove(unused));
                    }
                    Rc::new(Answering {
                        filter: filter.to_owned(),
                        subscription: Mutex::new(None),
                        users: Cell::new(0),
                        waiting: RefCell::default(),
                    })
                }
            };
            answers.places.push(Rc::clone(&place));
            answers.open += 1;
            place.users.set(place.users.get() + 1);
            (place, idle)
        };
        let open = Open {
            client: self,
            place,
            spot: None,
        };
        if let Some(idle) = idle {
            self.end_answers(&idle);
        }
        Ok(open)
    }

    /// Ends the subscription of a place without requests, without waiting for the broker.
    fn end_answers(&self, idle: &Answering) {
        let Some(subscription) = idle.subscription.try_lock() else {
            return;
        };
        if let Some(id) = *subscription {
            let (removed, filters) = self.shared.state().subscriptions.take_out(id);
            // Some may have come for another subscription too, at its quality of service.
            for ack in &removed.acks {
                handler::acknowledge_last(&self.shared, *ack);
            }
            for filter in filters {
                self.unsubscribe_unheard(&[&filter]);
            }
        }
    }

    /// Subscribes to the answers of a place, unless that was done; one fiber after the other.
    fn subscribe_for(&self, place: &Rc<Answering>) -> Result<(), RequestError> {
        let mut subscription = place.subscription.lock().map_err(|error| match error {
            LockError::Stopped(stopped) => RequestError::from(stopped),
            _ => RequestError::Wait(WaitCause::Closed),
        })?;
        let there = |id| self.shared.state().subscriptions.contains(id);
        if subscription.is_some_and(there) {
            return Ok(());
        }
        let answering = Rc::clone(place);
        let offer = move |client: &Self, message: &Message| -> Result<(), HandlerError> {
            answering.offer(client, message);
            Ok(())
        };
        let subscribe = Subscribe::to(&place.filter, QoS::AtMostOnce);
        *subscription = Some(self.subscribe_as(subscribe, offer)?);
        Ok(())
    }

    /// A number that no request of this client has had, nor, most likely, one of an earlier run.
    fn next_request_id(&self) -> u64 {
        let known = self.shared.state().answers.next_id;
        let id = known.unwrap_or_else(random);
        self.shared.state().answers.next_id = Some(id.wrapping_add(1));
        id
    }
}
