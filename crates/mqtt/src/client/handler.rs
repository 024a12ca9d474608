//! The fiber of a handler: started by the first message, ended when there was none for a while.

use std::any::Any;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::FiberBuilder;

use super::Client;
use super::inbox::Arrived;
use super::message::Message;
use super::shared::Shared;
use super::subscription::{Removed, SubscriptionId};
use crate::session::AckToken;

/// Why a handler could not handle a message: any error.
///
/// `?` makes one of any error type; [`HandlerError::new`] of a text, and of an error in a box.
#[derive(Debug)]
pub struct HandlerError(Box<dyn StdError>);

impl HandlerError {
    /// Makes one of a text, a boxed error, or an error.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn StdError>>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: StdError + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// What a handler is.
pub(super) type Handler = Box<dyn FnMut(&Client, &Message) -> Result<(), HandlerError>>;

/// How long a handler's fiber stays when there is nothing to handle.
const HANDLER_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The body of a handler's fiber.
pub(super) fn run(shared: &Rc<Shared>, id: SubscriptionId) {
    let handler = shared.state().subscriptions.take_handler(id);
    let Some(mut handler) = handler else { return };
    let client = Client::inside(shared);
    loop {
        let arrived = shared.state().subscriptions.pop(id);
        match arrived {
            Some(arrived) => handle(shared, id, &client, &mut handler, arrived),
            None if linger(shared, id) => {}
            None => break,
        }
    }
    let unwanted = {
        let mut state = shared.state();
        if state.over {
            // Nothing more will come: what the handler holds, perhaps this client, is let go.
            (Some(handler), Some(state.subscriptions.remove(id)))
        } else {
            (state.subscriptions.return_handler(id, handler), None)
        }
    };
    // Here nothing is borrowed.
    drop(unwanted);
}

/// Waits for the next message; false when none came or none can come.
fn linger(shared: &Rc<Shared>, id: SubscriptionId) -> bool {
    let Ok(token) = fiber::prepare() else {
        return false;
    };
    if !shared.state().subscriptions.wait(id, Some(token)) {
        return false;
    }
    if shared.state().over {
        shared.state().subscriptions.wait(id, None);
        return false;
    }
    // Woken or not: the queue tells whether to go on.
    let parked = fiber::timeout(HANDLER_IDLE_TIMEOUT, fiber::park);
    let mut state = shared.state();
    // A message that came just after the time was over wakes nobody, but it is in the queue.
    state.subscriptions.wait(id, None)
        && (matches!(parked, Ok(Ok(()))) || state.subscriptions.has_queued(id))
}

/// Calls the handler for one message and acknowledges that, whatever came of it.
fn handle(
    shared: &Rc<Shared>,
    id: SubscriptionId,
    client: &Client,
    handler: &mut Handler,
    arrived: Arrived,
) {
    let message = &arrived.message;
    // The text of an error and the drop of it are the user's as well.
    let call = || {
        if let Err(error) = handler(client, message) {
            shared.state().stats.handler_errors += 1;
            log::warn!("the handler of {:?} failed: {error}", message.topic);
        }
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        shared.state().stats.handler_panics += 1;
        drop_payload(payload);
    }
    if let Some(ack) = arrived.ack {
        acknowledge(shared, id, ack);
    }
}

/// Lets a panic of the user's code go. The panic hook has reported it.
pub(super) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // One that panics when it is dropped had its chance.
        std::mem::forget(payload);
    }
}

/// Notes that a subscription is done with the message that it took last; the last one to be done
/// with it acknowledges it.
pub(super) fn acknowledge(shared: &Rc<Shared>, id: SubscriptionId, ack: AckToken) {
    let mut state = shared.state();
    let ack = state.subscriptions.finish(id, ack);
    if state.subscriptions.done(ack) && state.session.acknowledge(ack) {
        shared.wake.set();
    }
}

/// Acknowledges what nobody handles now, and drops what removed subscriptions left as
/// [`drop_apart`] does; returns what it could not.
pub(super) fn discard(shared: &Rc<Shared>, mut removed: Vec<Removed>) -> Vec<Removed> {
    for ack in removed
        .iter_mut()
        .flat_map(|removed| removed.acks.drain(..))
    {
        acknowledge_last(shared, ack);
    }
    if removed.is_empty() {
        removed
    } else {
        drop_apart(removed)
    }
}

/// Drops what the user's code left on a fiber of its own: it may call the client, wait, and panic.
/// Returns it where no fiber can be had.
pub(super) fn drop_apart<T: Default + 'static>(unwanted: T) -> T {
    let unwanted = Rc::new(Cell::new(unwanted));
    let dropped = Rc::clone(&unwanted);
    match fiber::spawn(move || drop(dropped.take())) {
        Ok(_detached) => T::default(),
        Err(_) => unwanted.take(),
    }
}

/// Starts fibers for handlers that had to wait for one; returns whether some still do.
pub(super) fn start_starved(shared: &Rc<Shared>) -> bool {
    if !shared.state().subscriptions.has_starved() {
        return false;
    }
    let starved = shared.state().subscriptions.take_starved();
    for id in starved {
        if !start(shared, id) {
            shared.state().subscriptions.add_starved(id);
        }
    }
    shared.state().subscriptions.has_starved()
}

/// Starts a fiber for a subscription's handler; false if none can be had now.
pub(super) fn start(shared: &Rc<Shared>, id: SubscriptionId) -> bool {
    let shared = Rc::clone(shared);
    FiberBuilder::new()
        .name("mqtt-handler")
        .spawn(move || run(&shared, id))
        .is_ok()
}

/// Acknowledges a message that has no taker left.
pub(super) fn acknowledge_last(shared: &Rc<Shared>, ack: AckToken) {
    if shared.state().session.acknowledge(ack) {
        shared.wake.set();
    }
}
