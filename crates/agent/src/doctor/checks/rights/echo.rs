//! Whether a message comes back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fiber::Event;
use mqtt::{Client, QoS};

use super::filters;
use crate::doctor::case::{Case, Setup};
use crate::doctor::session;
use crate::profile::Provider;

/// How long a message that was acknowledged may take to come back at the least, on a link that answers
/// quickly.
const ECHO_TIMEOUT: Duration = Duration::from_secs(1);
/// So many times as long as the acknowledgement took it may take.
const ECHO_TIMES: u32 = 4;

/// Hears whether a message comes back.
pub(super) struct Echo {
    heard: Event,
    is_heard: Rc<Cell<bool>>,
}

impl Echo {
    /// Subscribes to the topic, until the doctor leaves; nothing where the device may not, or where that
    /// would do harm.
    pub(super) fn of(case: &Case, setup: &Setup, client: &Client, topic: &str) -> Option<Self> {
        let provider = setup.profile().provider();
        // A filter that is forbidden would cost the connection.
        if matches!(provider, Provider::Aws | Provider::AzureEventGrid) {
            return None;
        }
        // It would take the place of the agent's own.
        if filters(&setup.config).iter().any(|(own, _)| own == topic) {
            return None;
        }
        let echo = Self {
            heard: Event::new(),
            is_heard: Rc::default(),
        };
        let (heard, is_heard) = (echo.heard.clone(), Rc::clone(&echo.is_heard));
        let seen = move |message: &mqtt::Message| {
            is_heard.set(true);
            // Of the doctor's own, so nothing that waits for the agent.
            message.acknowledge();
            heard.set();
        };
        // Also where the answer does not come: it may have been granted.
        case.listened.borrow_mut().push(topic.to_owned());
        let subscribed = session::subscribe(client, topic, QoS::AtMostOnce, seen);
        subscribed.is_ok().then_some(echo)
    }

    /// Waits for it, where the acknowledgement took so long.
    ///
    /// # Errors
    /// It has not come for so long.
    pub(super) fn comes(&self, acknowledged: Duration) -> Result<(), Duration> {
        let limit = ECHO_TIMEOUT.max(acknowledged.saturating_mul(ECHO_TIMES));
        let _ = fiber::timeout(limit, || self.heard.wait());
        match self.is_heard.get() {
            true => Ok(()),
            false => Err(limit),
        }
    }
}
