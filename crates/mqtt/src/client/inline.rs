//! Handlers that the driver calls itself, with messages where they were read to.
//!
//! ```text
//!   deliver ─┬─ nothing waits for the handler ─► called here ─┬─ well ──► acknowledged
//!            │                                                └─ failed ─┐ to be called again
//!            └─ something does, or it runs ──► queue ◄───────────────────┘
//!                                                │
//!                                                └─► its fiber, which calls it as the driver would
//! ```
//! The state is not borrowed while a handler runs, so it may do with the client whatever needs no
//! wait: also end its own subscription, or the client. The buffer cannot change meanwhile, for only
//! the driver reads, and nothing gives up the driver's turn.

use std::cell::RefMut;

use super::Client;
use super::ack::{Ack, AckHandle};
use super::handler::{self, Handler, Inline, OnError};
use super::inbox::Arrived;
use super::message::{Message, Topic};
use super::message_ref::MessageRef;
use super::read_buffer::Shared as Bytes;
use super::run::Run;
use super::shared::State;
use super::subscription::{Call, Policy, Removed, SubscriptionId};
use crate::packet::Publish;
use crate::session::AckToken;
use crate::time::Time;

/// Calls of handlers by the driver. Who subscribes with one brings them along: a program that never does
/// is smaller for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callers {
    /// [`call_all`].
    pub(super) one:
        for<'a> fn(&'a Client, RefMut<'a, State>, &InPlace<'_>, Time) -> RefMut<'a, State>,
    /// [`Run::call`].
    pub(super) run: for<'a> fn(&mut Run<'_>, &'a Client, RefMut<'a, State>) -> RefMut<'a, State>,
}

impl Handler {
    /// One that the driver calls, and the calls with it.
    pub(super) fn called(client: &Client, handler: Inline) -> Self {
        client.shared.state().callers = Some(Callers {
            one: call_all,
            run: |run, client, state| run.call(client, state),
        });
        Self::Inline(handler)
    }
}

/// A message in the buffer that it was read into.
pub(super) struct InPlace<'a> {
    pub(super) bytes: &'a Bytes,
    /// Where the packet ends in `bytes`.
    pub(super) end: usize,
    pub(super) publish: Publish<'a>,
    pub(super) ack: Option<AckToken>,
}

impl InPlace<'_> {
    /// The message for keeping.
    fn hold(&self) -> Message {
        let topic = Topic::new(self.publish.topic());
        Message::hold(self.bytes, self.end, &self.publish, topic)
    }
}

/// Calls the handlers that the delivery of `message` has left to the driver, with the state not
/// borrowed; then that is borrowed again. Does not yield.
fn call_all<'a>(
    client: &'a Client,
    mut state: RefMut<'a, State>,
    message: &InPlace<'_>,
    now: Time,
) -> RefMut<'a, State> {
    let calls = state.subscriptions.take_calls();
    for call in &calls {
        state = call_one(client, state, *call, message, now);
    }
    state.subscriptions.keep_calls(calls);
    state
}

#[inline]
fn call_one<'a>(
    client: &'a Client,
    mut state: RefMut<'a, State>,
    call: Call,
    message: &InPlace<'_>,
    now: Time,
) -> RefMut<'a, State> {
    let shared = &client.shared;
    let Call { id, holds_ack } = call;
    let mut ack = message.ack.filter(|_| holds_ack);
    let Some((mut handler, policy)) = state.subscriptions.take_inline(id) else {
        uncalled(client, &mut state, id, message, ack);
        return state;
    };
    let handle = match policy.ack {
        Ack::Manual if holds_ack => {
            let arrived = Arrived::new(message.hold(), ack.take());
            Some(state.entrust(shared, id, arrived, now))
        }
        Ack::Manual | Ack::AfterHandler | Ack::OnReceipt => None,
    };
    drop(state);
    let content = MessageRef::new(&message.publish, handle.as_ref());
    let is_handled = handler::call_inline(client, &mut handler, content);
    if !is_handled {
        let called = Called { id, policy };
        ack = called.fail(client, message, ack, handle);
    }
    state = shared.state();
    give_back(client, &mut state, id, handler);
    if let Some(ack) = ack {
        state.done_with(shared, ack, || MessageRef::new(&message.publish, None));
    }
    state
}

/// Takes a handler back after a call.
#[inline]
pub(super) fn give_back(client: &Client, state: &mut State, id: SubscriptionId, handler: Inline) {
    let start = |id| handler::start(&client.shared, id);
    if let Some(handler) = state.subscriptions.return_inline(id, handler, start) {
        // Its subscription has ended meanwhile. What it owns is dropped where nothing is borrowed.
        state.garbage.push(Removed::handler(handler));
    }
}

/// Sees to a message whose handler cannot be called now: those called before it for the same message
/// have ended its subscription, or brought about that another message comes before this one.
#[cold]
fn uncalled(
    client: &Client,
    state: &mut State,
    id: SubscriptionId,
    message: &InPlace<'_>,
    ack: Option<AckToken>,
) {
    let shared = &client.shared;
    let start = |id| handler::start(shared, id);
    let hold = || message.hold();
    match state.subscriptions.queue_uncalled(id, hold, ack, start) {
        Ok(dropped) => state.count_dropped(dropped),
        Err(Some(ack)) => state.acknowledge_last(shared, ack),
        Err(None) => {}
    }
}

/// A handler that was called.
pub(super) struct Called {
    pub(super) id: SubscriptionId,
    pub(super) policy: Policy,
}

impl Called {
    /// Sees to a message that the handler failed to handle: it is to be called with it again, by its
    /// fiber, or that was all. Returns what is to be acknowledged now.
    #[cold]
    pub(super) fn fail(
        self,
        client: &Client,
        message: &InPlace<'_>,
        ack: Option<AckToken>,
        handle: Option<AckHandle>,
    ) -> Option<AckToken> {
        let shared = &client.shared;
        // One that the program was to acknowledge comes back from it.
        let take_back = |handle: Option<AckHandle>| handle.and_then(|handle| handle.take_back());
        let OnError::Redeliver { limit } = self.policy.on_error else {
            return ack.or_else(|| take_back(handle));
        };
        let mut arrived = Arrived::new(message.hold(), ack);
        if limit == 0 {
            arrived.ack = ack.or_else(|| take_back(handle));
            handler::bury(shared, arrived);
            return None;
        }
        arrived.message.ack = handle;
        arrived.failed = true;
        let queued = shared.state().subscriptions.queue_first(self.id, arrived);
        match queued {
            Ok(()) => None,
            Err(unwanted) => unwanted.ack.or_else(|| take_back(unwanted.message.ack)),
        }
    }
}
