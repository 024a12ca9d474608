//! The fiber of a handler: started by the first message, ended when there was none for a while.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::Client;
use super::shared::Shared;
use super::subscription::{Arrived, Handler, Removed, SubscriptionId};
use crate::session::AckToken;

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
            Some(arrived) => handle(shared, &client, &mut handler, arrived),
            None if linger(shared, id) => {}
            None => break,
        }
    }
    let unwanted = {
        let mut state = shared.state();
        if state.end.is_some() {
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
    if shared.state().end.is_some() {
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
fn handle(shared: &Rc<Shared>, client: &Client, handler: &mut Handler, arrived: Arrived) {
    let message = &arrived.message;
    // The text of an error and the drop of it are the user's as well.
    let call = || {
        if let Err(error) = handler(client, message) {
            shared.state().stats.handler_errors += 1;
            log::warn!("the handler of {:?} failed: {error}", message.topic);
        }
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        // The panic hook has reported it.
        shared.state().stats.handler_panics += 1;
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // One that panics when it is dropped had its chance.
            std::mem::forget(payload);
        }
    }
    if let Some(ack) = arrived.ack {
        acknowledge(shared, ack);
    }
}

/// Notes that one taker of a message is done with it; the last one acknowledges it.
pub(super) fn acknowledge(shared: &Rc<Shared>, ack: AckToken) {
    let mut state = shared.state();
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
    drop_apart(removed)
}

/// Drops what removed subscriptions left on a fiber of its own: it is code of the user, which may
/// call the client, wait, and panic. Returns it where no fiber can be had.
pub(super) fn drop_apart(removed: Vec<Removed>) -> Vec<Removed> {
    if removed.is_empty() {
        return removed;
    }
    let removed = Rc::new(Cell::new(removed));
    let dropped = Rc::clone(&removed);
    match fiber::spawn(move || drop(dropped.take())) {
        Ok(_detached) => Vec::new(),
        Err(_) => removed.take(),
    }
}

/// Acknowledges a message that has no taker left.
pub(super) fn acknowledge_last(shared: &Rc<Shared>, ack: AckToken) {
    if shared.state().session.acknowledge(ack) {
        shared.wake.set();
    }
}
