//! What is to be asked of the broker again on a new connection.
//!
//! Subscriptions are what the program wants, not what a connection was told. Two things bring a
//! request back: it was sent and the connection ended before its answer came; or the broker has
//! lost the session, and with it every subscription it had granted. Both go ahead of everything
//! that waits to be published, so that an answer finds its subscription.

use std::collections::VecDeque;

use super::request::{Request, Wanted};
use super::room::Room;
use super::shared::State;
use super::ticket::Outcome;
use crate::packet::QoS;
use crate::session::{AHEAD_BYTES_MAX, FILTERS_MAX, REQUESTS_MAX, Rejected, TicketKey};

/// Topic filters in one such SUBSCRIBE: as many as every provider takes. More only where there are
/// so many that they would need more than [`ASK_PACKETS_MAX`] packets.
const ASK_FILTERS_MAX: usize = 8;
/// Packets in which all filters are asked for, unless they are very long: all of them may be
/// unanswered at once, and there is room for others.
const ASK_PACKETS_MAX: usize = REQUESTS_MAX / 2;

/// Requests that wait for their turn. Each is in [`super::request::Requests`] under its key.
///
/// They count among the unanswered requests, so that a new one neither takes their room nor goes
/// before them; beside those there are at most as many as granted filters.
#[derive(Debug, Default)]
pub(super) struct Asks(VecDeque<TicketKey>);

impl Asks {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl State {
    /// Asks for a request again whose answer will not come.
    pub(super) fn ask_again(&mut self, key: TicketKey) {
        if self.requests.get(key).is_some() {
            self.asks.0.push_back(key);
        } else {
            // Its caller has gone and nobody needs it.
            self.tickets.settle(key, Outcome::Withdrawn);
            self.wake_for_room(Room::Requests);
        }
    }

    /// Asks for everything that the broker once granted, ahead of what waits to be asked.
    pub(super) fn ask_for_all(&mut self) {
        // What was to be asked again for the same reason is asked with the rest.
        let waiting = std::mem::take(&mut self.asks.0);
        for key in waiting {
            if self.requests.is_again(key) {
                self.forget_ask(key);
            } else {
                self.asks.0.push_back(key);
            }
        }
        let granted = self.subscriptions.granted();
        let keys = self.new_asks(granted);
        for key in keys.into_iter().rev() {
            self.asks.0.push_front(key);
        }
        // There may be fewer than before.
        self.wake_for_room(Room::Requests);
    }

    /// Asks for filters that no call waits for.
    pub(super) fn ask_for(&mut self, filters: Vec<(String, QoS)>) {
        let keys = self.new_asks(filters);
        self.asks.0.extend(keys);
    }

    /// Requests for all of these filters.
    fn new_asks(&mut self, granted: Vec<(String, QoS)>) -> Vec<TicketKey> {
        let filters_max = granted.len().div_ceil(ASK_PACKETS_MAX);
        let filters_max = filters_max.clamp(ASK_FILTERS_MAX, FILTERS_MAX);
        let filters_max = filters_max.min(self.ask_filters_max.into());
        let mut keys = Vec::new();
        let mut filters = Vec::new();
        let mut bytes = 0;
        for (filter, qos) in granted {
            if filters.len() == filters_max || bytes + filter.len() > AHEAD_BYTES_MAX / 2 {
                keys.push(self.new_ask(std::mem::take(&mut filters)));
                bytes = 0;
            }
            bytes += filter.len();
            filters.push((filter, qos));
        }
        if !filters.is_empty() {
            keys.push(self.new_ask(filters));
        }
        keys
    }

    /// Sends what waits to be asked, as far as there is room and a connection.
    #[cold]
    pub(super) fn send_asks(&mut self) {
        while let Some(&key) = self.asks.0.front() {
            match self.send_ask(key) {
                Ok(()) => {}
                // When there is room, or on the next connection.
                Err(Rejected::NoRoom(_) | Rejected::NotUp | Rejected::Ended) => return,
                Err(Rejected::Argument(_) | Rejected::Started) => {
                    debug_assert!(false, "what was asked before can be asked again");
                    self.forget_ask(key);
                }
            }
            self.asks.0.pop_front();
        }
    }

    fn send_ask(&mut self, key: TicketKey) -> Result<(), Rejected> {
        let Some(request) = self.requests.get(key) else {
            self.tickets.settle(key, Outcome::Withdrawn);
            self.wake_for_room(Room::Requests);
            return Ok(());
        };
        let session = &mut self.session;
        match &request.wanted {
            Wanted::Unsubscribe(filters) => {
                let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
                if bytes(&filters) > AHEAD_BYTES_MAX / 2 {
                    return session.unsubscribe(&filters, key, &mut self.log).map(drop);
                }
                session.unsubscribe_ahead(&filters, key).map(drop)
            }
            Wanted::Subscribe(_, filters) | Wanted::Again(filters) => {
                let filters: Vec<(&str, QoS)> = filters
                    .iter()
                    .map(|(filter, qos)| (filter.as_str(), *qos))
                    .collect();
                let names: Vec<&str> = filters.iter().map(|(filter, _)| *filter).collect();
                if bytes(&names) > AHEAD_BYTES_MAX / 2 {
                    return session.subscribe(&filters, key, &mut self.log).map(drop);
                }
                session.subscribe_ahead(&filters, key).map(drop)
            }
        }
    }

    /// A request for which no call waits.
    fn new_ask(&mut self, filters: Vec<(String, QoS)>) -> TicketKey {
        let key = self.tickets.open_unheard();
        let request = Request::new(Wanted::Again(filters));
        self.requests.insert(key, request);
        key
    }

    fn forget_ask(&mut self, key: TicketKey) {
        self.requests.take(key);
        self.tickets.cancel(key);
    }
}

/// How long a request with these filters is, without a few bytes for each.
fn bytes(filters: &[&str]) -> usize {
    filters.iter().map(|filter| filter.len() + 5).sum()
}
