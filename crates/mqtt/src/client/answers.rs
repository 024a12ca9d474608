//! Requests: a message is published, and its answer is a message that comes.
//!
//! MQTT 3.1.1 knows neither; what ties an answer to its request is chosen by the caller: the last
//! level of the answer's topic, or whatever a function finds in it. Answers are subscribed to at
//! QoS 0, which needs no acknowledgement, so that a request in a handler waits for nothing that
//! waits for the handler.

mod options;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::{Elapsed, LockError, Mutex, Unparker};

pub use self::options::{RequestError, RequestOptions};

use self::options::{IsAnswer, Place};
use super::Client;
use super::error::WaitCause;
use super::handler::{self, HandlerError};
use super::link::random;
use super::message::Message;
use super::publish::Publish;
use super::subscribe::Subscribe;
use super::subscription::SubscriptionId;
use crate::packet::QoS;
use crate::session::ArgumentError;
use crate::topic::TopicFilter;

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
    waiting: RefCell<Vec<Rc<Waiting>>>,
}

/// One request.
struct Waiting {
    is_answer: IsAnswer,
    answer: RefCell<Option<Message>>,
    waiter: Cell<Option<Unparker>>,
}

impl Answers {
    /// Wakes every request: there may be no connection any more.
    pub(super) fn wake_all(&self) {
        for place in &self.places {
            for waiting in place.waiting.borrow().iter() {
                waiting.wake();
            }
        }
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
        // A function of the program may make or end a request: the list is not borrowed then.
        let all = self.waiting.borrow().clone();
        for waiting in all {
            if waiting.answer.borrow().is_some() {
                continue;
            }
            let asked = catch_unwind(AssertUnwindSafe(|| (waiting.is_answer)(message)));
            let is_answer = asked.unwrap_or_else(|payload| {
                client.shared.state().stats.handler_panics += 1;
                handler::drop_payload(payload);
                false
            });
            if is_answer {
                *waiting.answer.borrow_mut() = Some(message.clone());
                waiting.wake();
                return;
            }
        }
        client.shared.state().stats.late_answers += 1;
    }
}

/// A request that counts as open, at its place.
struct Open<'a> {
    client: &'a Client,
    place: Rc<Answering>,
    waiting: Rc<Waiting>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.client.shared.state().answers.open -= 1;
        self.place.users.set(self.place.users.get() - 1);
        let mut waiting = self.place.waiting.borrow_mut();
        waiting.retain(|other| !Rc::ptr_eq(other, &self.waiting));
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
                let is_answer = Rc::new(move |message: &Message| message.topic == *at);
                let filter = format!("{prefix}/+");
                self.ask_and_wait(&topic, payload, options.qos, &filter, is_answer)
            }
            Place::At(filter, is_answer) => {
                self.ask_and_wait(topic, payload, options.qos, filter, Rc::clone(is_answer))
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
        is_answer: IsAnswer,
    ) -> Result<Message, RequestError> {
        let checked = TopicFilter::new(filter);
        checked
            .map_err(|error| RequestError::Argument(ArgumentError::Filter { index: 0, error }))?;
        let open = self.open_request(filter, is_answer)?;
        self.subscribe_for(&open.place)?;
        open.place
            .waiting
            .borrow_mut()
            .push(Rc::clone(&open.waiting));
        self.publish(Publish::to(topic, payload).qos(qos))?;
        loop {
            let token = fiber::prepare()?;
            if let Some(answer) = open.waiting.answer.take() {
                return Ok(answer);
            }
            if let Some(cause) = self.shared.state().end.clone() {
                return Err(RequestError::Wait(WaitCause::ConnectionLost(cause)));
            }
            open.waiting.waiter.set(Some(token));
            fiber::park()?;
        }
    }

    /// Takes a place among the open requests.
    fn open_request(&self, filter: &str, is_answer: IsAnswer) -> Result<Open<'_>, RequestError> {
        let (place, idle) = {
            let answers = &mut self.shared.state().answers;
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
        let waiting = Rc::new(Waiting {
            is_answer,
            answer: RefCell::default(),
            waiter: Cell::default(),
        });
        let open = Open {
            client: self,
            place,
            waiting,
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
                self.unsubscribe_unheard(&filter);
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
