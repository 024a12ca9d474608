//! SUBSCRIBE and UNSUBSCRIBE that await their answer.

use super::subscription::SubscriptionId;
use crate::packet::{QoS, SubscribeReason};
use crate::session::TicketKey;
use crate::sorted::SortedMap;

/// What was asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A subscription that is new; without an identifier a master subscription.
    Subscribe(Option<SubscriptionId>, Vec<(String, QoS)>),
    /// Filters that the broker granted before it lost the session.
    Again(Vec<(String, QoS)>),
    /// The end of subscriptions.
    Unsubscribe(Vec<String>),
}

/// What was asked for, and then what the broker refused of it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) wanted: Wanted,
    pub(super) refused: Vec<String>,
}

impl Request {
    pub(super) const fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            refused: Vec::new(),
        }
    }
}

/// Requests by the key of their ticket; bounded by [`crate::session::REQUESTS_MAX`] and by the
/// filters that were granted.
#[derive(Debug, Default)]
pub(super) struct Requests(SortedMap<TicketKey, Request>);

impl Requests {
    pub(super) fn insert(&mut self, key: TicketKey, request: Request) {
        self.0.insert(key, request);
    }

    pub(super) fn get(&self, key: TicketKey) -> Option<&Request> {
        self.0.get(&key)
    }

    pub(super) fn take(&mut self, key: TicketKey) -> Option<Request> {
        self.0.remove(&key)
    }

    /// Whether it asks for what was granted before.
    pub(super) fn is_again(&self, key: TicketKey) -> bool {
        matches!(
            self.0.get(&key),
            Some(Request {
                wanted: Wanted::Again(_),
                ..
            })
        )
    }

    /// Notes the broker's answer: one code per filter, in their order (MQTT3-3.9.3-1).
    pub(super) fn answer(
        &mut self,
        key: TicketKey,
        reasons: impl Iterator<Item = SubscribeReason>,
    ) -> Option<&Request> {
        let request = self.0.get_mut(&key)?;
        let filters = match &request.wanted {
            Wanted::Subscribe(_, filters) | Wanted::Again(filters) => filters,
            Wanted::Unsubscribe(_) => return Some(request),
        };
        for ((filter, _), reason) in filters.iter().zip(reasons) {
            if reason == SubscribeReason::Failure {
                request.refused.push(filter.clone());
            }
        }
        Some(request)
    }
}
