//! Handlers that no topic filter leads to: of messages that nobody else wants, and of those that
//! their own handler could not handle.

use super::Client;
use super::handler::{self, Handler, HandlerError};
use super::message::Message;
use super::subscription::{Policy, Special};

impl Client {
    /// Sets the handler of messages that no subscription wants, in place of an earlier one: a
    /// broker that kept the session may send some, and there are brokers that answer where nobody
    /// has subscribed. Without one they are acknowledged and counted. Does not yield.
    ///
    /// Early messages are held for a later subscription first: for [`super::EARLY_WINDOW`] from the
    /// beginning of the connection.
    pub fn on_unwanted(
        &self,
        handler: impl FnMut(&Self, &Message) -> Result<(), HandlerError> + 'static,
    ) {
        self.set_special(Special::Unwanted, Handler::OnFiber(Box::new(handler)));
    }

    /// Sets the handler of messages that their own handler failed to handle as often as
    /// [`OnError::Redeliver`](super::OnError::Redeliver) says, in place of an earlier one. A message
    /// is acknowledged when this handler has returned; its own error or panic is counted. Without
    /// one, and without room for the message, it is acknowledged at once. Does not yield.
    pub fn on_dead_letter(
        &self,
        handler: impl FnMut(&Self, &Message) -> Result<(), HandlerError> + 'static,
    ) {
        self.set_special(Special::DeadLetters, Handler::OnFiber(Box::new(handler)));
    }

    fn set_special(&self, special: Special, handler: Handler) {
        let earlier = {
            let mut state = self.shared.state();
            if state.over {
                drop(state);
                drop(handler);
                return;
            }
            let subscriptions = &mut state.subscriptions;
            let id = subscriptions.add([], Policy::default(), Some(handler));
            let earlier = subscriptions.set_special(special, id);
            earlier.map(|id| subscriptions.remove(id))
        };
        if let Some(earlier) = earlier {
            for ack in &earlier.acks {
                handler::acknowledge_last(&self.shared, *ack);
            }
        }
    }
}
