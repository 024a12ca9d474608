//! The fiber of a handler: started by the first message, ended when there was none for a while.

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
    // Dropped here, where nothing is borrowed, if the subscription is gone.
    let _unwanted = shared.state().subscriptions.return_handler(id, handler);
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
    match catch_unwind(AssertUnwindSafe(|| handler(client, message))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            shared.state().stats.handler_errors += 1;
            log::warn!("the handler of {:?} failed: {error}", message.topic);
        }
        Err(_) => {
            // The panic hook has reported it.
            shared.state().stats.handler_panics += 1;
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

/// Drops what removed subscriptions left, on a fiber of its own where that is possible: it holds
/// code of the user, which may call back into the client. Acknowledges what nobody handles now.
pub(super) fn discard(shared: &Rc<Shared>, removed: Vec<Removed>) {
    if removed.is_empty() {
        return;
    }
    let shared = Rc::clone(shared);
    let discard = move || {
        for removed in &removed {
            for ack in &removed.acks {
                acknowledge_last(&shared, *ack);
            }
        }
        drop(removed);
    };
    // Without room for a fiber the closure is dropped where it failed to start.
    if fiber::spawn(discard).is_err() {
        log::warn!("no fiber to drop a refused subscription on");
    }
}

/// Acknowledges a message that has no taker left.
pub(super) fn acknowledge_last(shared: &Rc<Shared>, ack: AckToken) {
    if shared.state().session.acknowledge(ack) {
        shared.wake.set();
    }
}
