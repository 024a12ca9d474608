//! A subscription of the program itself.

use std::fmt;
use std::rc::Rc;

use fiber::{Event, Stopped};

use super::core::{LocalId, Woken};
use super::message::BrokerMessage;
use super::shared::Shared;

/// The messages for a filter, without a socket: see [`Broker::subscribe`](super::Broker::subscribe).
///
/// At most [`LOCAL_QUEUE_MAX`](super::LOCAL_QUEUE_MAX) messages wait, in as many bytes as for a
/// session; beyond, the oldest of QoS 0 are dropped, then the oldest. Dropping it unsubscribes.
pub struct LocalSubscription {
    shared: Rc<Shared>,
    id: LocalId,
    news: Event,
}

impl LocalSubscription {
    pub(super) fn new(shared: Rc<Shared>, id: LocalId) -> Self {
        let news = Event::new();
        let woken = Woken::Local(id);
        shared.events.borrow_mut().insert(woken, news.clone());
        Self { shared, id, news }
    }

    /// Waits for the next message, under the ambient deadline.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early; no message is lost.
    pub fn recv(&self) -> Result<BrokerMessage, Stopped> {
        loop {
            if let Some(message) = self.try_recv() {
                return Ok(message);
            }
            self.news.clear();
            self.news.wait()?;
        }
    }

    /// Takes the next message if there is one. Does not yield.
    #[must_use]
    pub fn try_recv(&self) -> Option<BrokerMessage> {
        self.shared.with(|core| core.next_local(self.id))
    }
}

impl Drop for LocalSubscription {
    fn drop(&mut self) {
        let woken = Woken::Local(self.id);
        self.shared.events.borrow_mut().remove(&woken);
        self.shared.with(|core| core.unsubscribe_local(self.id));
    }
}

impl fmt::Debug for LocalSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSubscription").finish_non_exhaustive()
    }
}
