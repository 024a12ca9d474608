//! SUBSCRIBE and UNSUBSCRIBE that await their answer.

use std::collections::BTreeMap;

use super::subscription::SubscriptionId;
use crate::packet::SubscribeReason;
use crate::session::TicketKey;

/// What was asked for, and then what the broker refused of it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) subscription: SubscriptionId,
    pub(super) filters: Vec<String>,
    pub(super) refused: Vec<String>,
}

/// SUBSCRIBEs by the key of their ticket; bounded by [`crate::session::REQUESTS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<TicketKey, Request>);

impl Requests {
    pub(super) fn insert(&mut self, key: TicketKey, request: Request) {
        self.0.insert(key, request);
    }

    pub(super) fn take(&mut self, key: TicketKey) -> Option<Request> {
        self.0.remove(&key)
    }

    /// Notes the broker's answer: one code per filter, in their order (MQTT3-3.9.3-1).
    pub(super) fn answer(
        &mut self,
        key: TicketKey,
        reasons: impl Iterator<Item = SubscribeReason>,
    ) -> Option<&Request> {
        let request = self.0.get_mut(&key)?;
        for (filter, reason) in request.filters.iter().zip(reasons) {
            if reason == SubscribeReason::Failure {
                request.refused.push(filter.clone());
            }
        }
        Some(request)
    }
}
