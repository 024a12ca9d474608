//! Messages of a subscription, one by one.

use std::fmt;
use std::rc::Rc;

use fiber::{Stopped, Unparker};

use super::Client;
use super::handler;
use super::inbox::Arrived;
use super::message::Message;
use super::shared::Shared;
use super::subscription::SubscriptionId;

/// The messages of a subscription as an iterator; see [`Client::subscribe_iter`].
///
/// `next` yields until a message is there. It gives `None` once every message was given and the
/// filter was unsubscribed or the client is over, or, for a client of [`Client::over`], its
/// connection; and an error when the wait ended early.
/// A QoS 1 or 2 message is acknowledged when the next one is asked for. Dropping the iterator
/// unsubscribes without waiting for the broker.
pub struct Messages {
    shared: Rc<Shared>,
    id: SubscriptionId,
    filter: String,
    /// The message given last, while it is not acknowledged.
    taken: Option<Arrived>,
    /// It ends with the runtime.
    is_forgotten: bool,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl Messages {
    pub(super) fn new(shared: &Rc<Shared>, id: SubscriptionId, filter: &str) -> Self {
        Self {
            shared: Rc::clone(shared),
            id,
            filter: filter.to_owned(),
            taken: None,
            is_forgotten: false,
        }
    }

    fn acknowledge(&mut self) {
        if let Some(taken) = self.taken.take() {
            handler::acknowledge(&self.shared, self.id, &taken);
        }
    }
}

/// What [`Messages::take`] finds.
pub(super) enum Taken {
    Message(Message),
    /// Nothing yet: the fiber is woken when there is something.
    Nothing,
    /// No message comes any more.
    Over,
}

impl Messages {
    /// Acknowledges the message that was given last and takes the next one; where there is none, has
    /// `token` woken for it.
    pub(super) fn take(&mut self, token: Unparker) -> Taken {
        self.acknowledge();
        let mut state = self.shared.state();
        if let Some(arrived) = state.subscriptions.pop(self.id) {
            let message = arrived.message.clone();
            self.taken = arrived.ack.is_some().then_some(arrived);
            return Taken::Message(message);
        }
        if state.end.is_some() || !state.subscriptions.wait(self.id, Some(token)) {
            return Taken::Over;
        }
        Taken::Nothing
    }

    /// Ends it as dropping does, but for the message that was given last, which nobody saw: it is
    /// acknowledged as those that still wait are.
    pub(super) fn end_unseen(mut self) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        let Some(ack) = taken.ack else { return };
        let mut state = self.shared.state();
        let ack = state.subscriptions.finish(self.id, ack);
        if state.subscriptions.done(ack) {
            state.acknowledge_last(&self.shared, ack);
        }
    }

    /// Ends with the runtime: acknowledges nothing, and the broker keeps the subscription.
    pub(super) fn forget(mut self) {
        self.taken = None;
        self.is_forgotten = true;
    }

    /// Undoes what [`Messages::take`] has begun, as is due after the wait.
    pub(super) fn unwait(&self) {
        self.shared.state().subscriptions.wait(self.id, None);
    }
}

impl Iterator for Messages {
    type Item = Result<Message, Stopped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let token = match fiber::prepare() {
                Ok(token) => token,
                Err(stopped) => return Some(Err(stopped)),
            };
            match self.take(token) {
                Taken::Message(message) => return Some(Ok(message)),
                Taken::Over => return None,
                Taken::Nothing => {}
            }
            let parked = fiber::park();
            self.unwait();
            if let Err(stopped) = parked {
                return Some(Err(stopped));
            }
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if self.is_forgotten {
            return;
        }
        self.acknowledge();
        let (removed, filters) = self.shared.state().subscriptions.take_out(self.id);
        for ack in &removed.acks {
            handler::acknowledge_last(&self.shared, *ack);
        }
        for filter in filters {
            Client::inside(&self.shared).unsubscribe_unheard(&[&filter]);
        }
    }
}
