//! The fiber of a handler: started by the first message, ended when there was none for a while.

use std::any::Any;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use fiber::FiberBuilder;

use super::Client;
use super::ack::Ack;
use super::inbox::Arrived;
use super::message::Message;
use super::message_ref::MessageRef;
use super::shared::{Shared, State, now};
use super::subscription::{Policy, Removed, Special, SubscriptionId};
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
pub(super) enum Handler {
    /// Called on a fiber of its own, where it may wait.
    OnFiber(OnFiber),
    /// Called by the driver, and never to wait.
    Inline(Inline),
}

type OnFiber = Box<dyn FnMut(&Client, &Message) -> Result<(), HandlerError>>;
pub(super) type Inline = Box<dyn FnMut(&Client, MessageRef<'_>) -> Result<(), HandlerError>>;

/// How long a handler's fiber stays when there is nothing to handle.
const HANDLER_IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause before a handler is called with a message again, the first time; it doubles each time.
pub const REDELIVERY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest such pause.
pub const REDELIVERY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// What becomes of a message whose handler returned an error or panicked; either is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// It is acknowledged, and the next one handled.
    #[default]
    Acknowledge,
    /// The handler is called with it again, after a pause that grows from [`REDELIVERY_PAUSE_MIN`]
    /// to [`REDELIVERY_PAUSE_MAX`]; later messages of the subscription wait for it. If it fails
    /// each time it goes to the handler of [`Client::on_dead_letter`], if there is one, and is then
    /// acknowledged.
    Redeliver {
        /// How many more calls there are at most.
        limit: u32,
    },
}

/// The body of a handler's fiber.
pub(super) fn run(shared: &Rc<Shared>, id: SubscriptionId) {
    let handler = shared.state().subscriptions.take_handler(id);
    let Some((handler, policy)) = handler else {
        return;
    };
    let mut running = Running {
        shared,
        id,
        policy,
        client: Client::inside(shared),
        handler,
    };
    loop {
        let next = match running.handle_each() {
            Some(failed) => Some(failed),
            None => running.next(),
        };
        match next {
            Some(arrived) => running.handle(arrived),
            None if running.may_linger() && linger(shared, id) => {}
            None => break,
        }
    }
    let handler = running.handler;
    let unwanted = {
        let mut state = shared.state();
        let returned = state.subscriptions.return_handler(id, handler);
        let mut removed = Vec::new();
        if state.over {
            // Nothing more will come: what the handler holds, perhaps this client, is let go.
            state.subscriptions.remove_idle(&mut removed);
        }
        (returned, removed)
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

/// A handler on its fiber.
struct Running<'a> {
    shared: &'a Rc<Shared>,
    id: SubscriptionId,
    policy: Policy,
    client: Client,
    handler: Handler,
}

/// What came of the calls with one message.
#[derive(Clone, Copy)]
enum Handled {
    Well,
    /// It failed for good.
    Badly,
    /// Its subscription ended before that is known.
    Unwanted,
    /// The runtime ends before that is known.
    Stopped,
}

impl Running<'_> {
    /// Whether it is worth to wait for the next message: the driver calls a handler that is inline.
    const fn may_linger(&self) -> bool {
        matches!(self.handler, Handler::OnFiber(_))
    }

    /// Calls a handler that may wait for message after message, as long as there is one and it handles
    /// them: one catcher of panics for all. Returns the message with which it failed.
    fn handle_each(&mut self) -> Option<Arrived> {
        let (shared, id, client) = (self.shared, self.id, &self.client);
        let Handler::OnFiber(handler) = &mut self.handler else {
            return None;
        };
        if self.policy.ack == Ack::Manual {
            return None;
        }
        let mut at_hand = None;
        let mut is_called = false;
        let calls = || {
            let mut state = shared.state();
            loop {
                at_hand = state.subscriptions.pop(id);
                let Some(Arrived { message, ack, .. }) = &at_hand else {
                    return;
                };
                drop(state);
                is_called = true;
                if let Err(error) = handler(client, message) {
                    note_error(shared, &message.topic, error);
                    return;
                }
                is_called = false;
                state = shared.state();
                if let Some(ack) = *ack {
                    let ack = state.subscriptions.finish(id, ack);
                    state.done_with(shared, ack, || message.into());
                }
            }
        };
        let panicked = catch_unwind(AssertUnwindSafe(calls)).err();
        note_panic(shared, panicked, is_called);
        let failed = at_hand?;
        Some(Arrived {
            failed: true,
            ..failed
        })
    }

    /// Takes the next message.
    fn next(&self) -> Option<Arrived> {
        let mut state = self.shared.state();
        let arrived = state.subscriptions.pop(self.id)?;
        Some(match self.policy.ack {
            Ack::AfterHandler | Ack::OnReceipt => arrived,
            Ack::Manual => state.hand_over(self.shared, self.id, arrived, now()),
        })
    }

    /// Calls the handler for one message, again if need be, and acknowledges that.
    fn handle(&mut self, arrived: Arrived) {
        let Arrived {
            message,
            ack,
            failed,
        } = arrived;
        let handled = self.try_message(&message, failed);
        // One that the program was to acknowledge comes back from it if the handler failed.
        let ack = match (handled, ack, &message.ack) {
            (Handled::Stopped, ..) => return,
            (_, Some(ack), _) => Some(self.shared.state().subscriptions.finish(self.id, ack)),
            (Handled::Well, None, _) | (Handled::Badly | Handled::Unwanted, None, None) => None,
            (Handled::Badly | Handled::Unwanted, None, Some(handle)) => handle.take_back(),
        };
        match (handled, self.policy.on_error) {
            (Handled::Badly, OnError::Redeliver { .. }) => {
                bury(self.shared, Arrived::new(message, ack))
            }
            _ => done(self.shared, ack, &message),
        }
    }

    /// Calls the handler with a message until it handles it, or has failed for good; the driver may
    /// have called it, and it `failed`.
    fn try_message(&mut self, message: &Message, mut failed: bool) -> Handled {
        let mut calls_left = match self.policy.on_error {
            OnError::Acknowledge => 0,
            OnError::Redeliver { limit } => limit,
        };
        let mut pause = REDELIVERY_PAUSE_MIN;
        while std::mem::take(&mut failed) || !self.call(message) {
            if calls_left == 0 {
                return Handled::Badly;
            }
            calls_left -= 1;
            if fiber::sleep(pause).is_err() {
                // It is not acknowledged, so that the broker sends it again.
                return Handled::Stopped;
            }
            pause = (pause * 2).min(REDELIVERY_PAUSE_MAX);
            let mut state = self.shared.state();
            if !state.subscriptions.contains(self.id) {
                return Handled::Unwanted;
            }
            if state.over {
                return Handled::Badly;
            }
            state.stats.redelivered += 1;
        }
        Handled::Well
    }

    /// Calls the handler once; tells whether it handled the message.
    fn call(&mut self, message: &Message) -> bool {
        let Self {
            shared,
            client,
            handler,
            ..
        } = self;
        match handler {
            Handler::OnFiber(handler) => {
                let call = || handler(client, message);
                call_user(shared, &message.topic, call)
            }
            Handler::Inline(handler) => call_inline(client, handler, message.into()),
        }
    }
}

/// Calls a handler that must not wait; tells whether it handled the message.
#[inline]
pub(super) fn call_inline(client: &Client, handler: &mut Inline, message: MessageRef<'_>) -> bool {
    let call = || handler(client, message);
    fiber::no_park(|| call_user(&client.shared, &message.topic, call))
}

/// Calls code of a handler, which may fail and panic; tells whether it handled the message of this
/// topic.
#[inline]
fn call_user(
    shared: &Shared,
    topic: &dyn fmt::Debug,
    handler: impl FnOnce() -> Result<(), HandlerError>,
) -> bool {
    let call = || match handler() {
        Ok(()) => true,
        Err(error) => {
            note_error(shared, topic, error);
            false
        }
    };
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        note_panic(shared, Some(payload), true);
        false
    })
}

/// Notes the error of a handler. Its text and the drop of it are the user's as well: to be called where
/// panics are caught.
#[cold]
pub(super) fn note_error(shared: &Shared, topic: &dyn fmt::Debug, error: HandlerError) {
    shared.state().stats.handler_errors += 1;
    log::warn!("the handler of {topic:?} failed: {error}");
}

/// Notes that calls of a handler `panicked`, if they did, and goes on with what was no panic of it.
#[inline]
pub(super) fn note_panic(
    shared: &Shared,
    panicked: Option<Box<dyn Any + Send>>,
    is_of_handler: bool,
) {
    match panicked {
        None => {}
        Some(payload) if is_of_handler => {
            shared.state().stats.handler_panics += 1;
            drop_payload(payload);
        }
        Some(payload) => resume_unwind(payload),
    }
}

/// Gives a message that could not be handled to the handler of such, or acknowledges it.
pub(super) fn bury(shared: &Rc<Shared>, arrived: Arrived) {
    let mut state = shared.state();
    state.stats.dead_letters += 1;
    let start = |id| start(shared, id);
    let subscriptions = &mut state.subscriptions;
    match subscriptions.deliver_special(Special::DeadLetters, arrived, start) {
        Ok(dropped) => state.count_dropped(dropped),
        Err(arrived) => {
            drop(state);
            done(shared, arrived.ack, &arrived.message);
        }
    }
}

/// Notes that a handler is done with a message.
pub(super) fn done(shared: &Rc<Shared>, ack: Option<AckToken>, message: &Message) {
    if let Some(ack) = ack {
        shared.state().done(shared, ack, message);
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
pub(super) fn acknowledge(shared: &Rc<Shared>, id: SubscriptionId, taken: &Arrived) {
    let Some(ack) = taken.ack else { return };
    let mut state = shared.state();
    let ack = state.subscriptions.finish(id, ack);
    state.done(shared, ack, &taken.message);
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

/// Acknowledges a message that has no taker left; not once the client is over or is being closed: for
/// the next client it comes again, and what took it here may have gone for no other reason.
pub(super) fn acknowledge_last(shared: &Rc<Shared>, ack: AckToken) {
    shared.state().acknowledge_last(shared, ack);
}

impl State {
    /// As [`acknowledge_last`].
    pub(super) fn acknowledge_last(&mut self, shared: &Shared, ack: AckToken) {
        let is_entered = !self.over && !self.closing && self.finish_received(ack);
        if is_entered || self.recovering {
            shared.wake.set();
        }
    }
}
