//! What a broker forbids, rations and ends beyond MQTT, as providers do: so that a program meets on its
//! desk what it would meet in the field.
//!
//! A provider of MQTT mostly says nothing when it refuses: it closes the connection. That is what
//! happens here too, unless a setting says otherwise.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::error::Violation;
use super::options::{BROKER_SUBSCRIPTIONS_MAX, BrokerOptions};
use crate::packet::{ConnectReason, Publish, QoS, Version};
use crate::session::{Pace, PublishByteRate, PublishRate, ServerLimits};
use crate::time::Time;

/// Clients whose last CONNECT is remembered for
/// [`BrokerOptions::connect_interval`](super::BrokerOptions::connect_interval); beyond, those that came
/// first are forgotten.
pub const CONNECTS_NOTED_MAX: usize = 4_096;

/// What becomes of a message beyond a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beyond {
    /// It ends the connection, without an answer.
    #[default]
    HangUp,
    /// It is neither passed on nor acknowledged, and the connection goes on.
    Discard,
}

/// What becomes of a message that a client publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishVerdict {
    /// It is passed on.
    #[default]
    Allow,
    /// It is acknowledged as its QoS asks, and not passed on: MQTT 3.1.1 has no other answer
    /// (MQTT3-3.3.5-2).
    Drop,
    /// It ends the connection, without an answer.
    HangUp,
}

/// How a filter is refused that a client may not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeRefusal {
    /// By the return code 0x80 of SUBACK (MQTT3-3.9.3).
    #[default]
    Answer,
    /// It ends the connection, without an answer.
    HangUp,
}

#[derive(Clone, Copy, Debug)]
struct Quota {
    messages: Option<PublishRate>,
    bytes: Option<PublishByteRate>,
    beyond: Beyond,
}

/// The settings of this module.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    server_limits: Option<ServerLimits>,
    quota: Option<Quota>,
    clients: Option<(usize, ConnectReason)>,
    connect_interval: Option<Duration>,
    keep_alive_secs: Option<(u16, u16)>,
    offline_queue: Option<(usize, usize)>,
    pub(super) subscribe_refusal: SubscribeRefusal,
}

impl BrokerOptions {
    /// Ends the connection of a client that is beyond these limits by a message or by the length,
    /// levels or number of filters in one SUBSCRIBE. More filters in all are refused in SUBACK, and a
    /// subscription of a higher QoS is granted at the highest.
    #[must_use]
    pub fn server_limits(mut self, limits: ServerLimits) -> Self {
        self.policy.server_limits = Some(limits);
        self
    }

    /// Rations what each connection publishes: messages, and bytes of their packets.
    #[must_use]
    pub const fn publish_quota(
        mut self,
        messages: Option<PublishRate>,
        bytes: Option<PublishByteRate>,
        beyond: Beyond,
    ) -> Self {
        self.policy.quota = Some(Quota {
            messages,
            bytes,
            beyond,
        });
        self
    }

    /// Refuses a client beyond so many connected ones, for this reason. One that ends an earlier
    /// connection of its own is no further one.
    #[must_use]
    pub const fn clients_max(mut self, clients: usize, reason: ConnectReason) -> Self {
        self.policy.clients = Some((clients, reason));
        self
    }

    /// Ends a connection whose CONNECT comes within this time of the last one of the same client
    /// identifier that was not refused by [`authenticate`](Self::authenticate), without an answer. The last [`CONNECTS_NOTED_MAX`] clients are remembered.
    #[must_use]
    pub const fn connect_interval(mut self, interval: Duration) -> Self {
        self.policy.connect_interval = Some(interval);
        self
    }

    /// Counts a keep alive that is shorter or longer as the nearest of these, and none at all as the
    /// longest, in seconds.
    #[must_use]
    pub const fn keep_alive_range(mut self, min_secs: u16, max_secs: u16) -> Self {
        self.policy.keep_alive_secs = Some((min_secs, max_secs));
        self
    }

    /// Ends the session of a client that is not connected, when a message for it finds so many, or so
    /// many bytes, queued: with it go its subscriptions and everything queued, and the client finds no
    /// session when it comes back.
    #[must_use]
    pub const fn offline_queue_max(mut self, messages: usize, bytes: usize) -> Self {
        self.policy.offline_queue = Some((messages, bytes));
        self
    }

    /// Sets how a filter is refused that the hook of
    /// [`authorize_subscribe`](Self::authorize_subscribe) does not allow.
    #[must_use]
    pub const fn subscribe_refusal(mut self, refusal: SubscribeRefusal) -> Self {
        self.policy.subscribe_refusal = refusal;
        self
    }
}

impl Policy {
    /// What rations one connection.
    pub(super) fn pace(&self) -> Option<Pace> {
        let quota = self.quota?;
        Pace::new(quota.messages, quota.bytes)
    }

    /// Decides about a message; `false` discards it.
    pub(super) fn admit(
        &self,
        publish: &Publish<'_>,
        pace: Option<&mut Pace>,
        now: Time,
    ) -> Result<bool, Violation> {
        if let Some(limits) = &self.server_limits {
            limits
                .check_publish(publish.topic(), publish.payload().len(), publish.qos())
                .map_err(Violation::Limit)?;
        }
        let (Some(quota), Some(pace)) = (&self.quota, pace) else {
            return Ok(true);
        };
        match (
            pace.take(now, publish.encoded_len(Version::V311)),
            quota.beyond,
        ) {
            (true, _) => Ok(true),
            (false, Beyond::Discard) => Ok(false),
            (false, Beyond::HangUp) => Err(Violation::Quota),
        }
    }

    /// Decides about the filters of one SUBSCRIBE.
    pub(super) fn check_filters<'a>(
        &self,
        filters: impl ExactSizeIterator<Item = &'a str>,
        allowed: &[bool],
    ) -> Result<(), Violation> {
        if self.subscribe_refusal == SubscribeRefusal::HangUp && allowed.contains(&false) {
            return Err(Violation::Forbidden);
        }
        match &self.server_limits {
            Some(limits) => limits.check_subscribe(filters, 0).map_err(Violation::Limit),
            None => Ok(()),
        }
    }

    /// How many filters one session may have.
    pub(super) fn subscriptions_max(&self) -> usize {
        let set = self.server_limits.as_ref();
        set.map_or(usize::MAX, ServerLimits::subscriptions_max)
            .min(BROKER_SUBSCRIPTIONS_MAX)
    }

    /// The QoS that a subscription is granted.
    pub(super) fn granted(&self, asked: QoS) -> QoS {
        let set = self.server_limits.as_ref();
        set.map_or(asked, |limits| asked.min(limits.highest_qos()))
    }

    /// The keep alive that counts, in seconds; 0 for none.
    pub(super) const fn keep_alive_secs(&self, asked: u16) -> u16 {
        match self.keep_alive_secs {
            None => asked,
            Some((_, max)) if asked == 0 || asked > max => max,
            Some((min, _)) if asked < min => min,
            Some(_) => asked,
        }
    }

    /// Whether a client that is not connected may have one more message queued.
    pub(super) const fn fits_offline(&self, messages: usize, bytes: usize) -> bool {
        match self.offline_queue {
            None => true,
            Some((messages_max, bytes_max)) => messages <= messages_max && bytes <= bytes_max,
        }
    }

    /// Why one more client is refused, where so many are connected.
    pub(super) const fn crowd(&self) -> Option<(usize, ConnectReason)> {
        self.clients
    }
}

/// When clients came last.
#[derive(Debug, Default)]
pub(super) struct Connects(BTreeMap<Rc<str>, Time>);

impl Connects {
    /// Notes a CONNECT; refuses one that comes too soon.
    pub(super) fn note(
        &mut self,
        policy: &Policy,
        client: &Rc<str>,
        now: Time,
    ) -> Result<(), Violation> {
        let Some(interval) = policy.connect_interval else {
            return Ok(());
        };
        if self.0.len() >= CONNECTS_NOTED_MAX && !self.0.contains_key(client) {
            self.0.retain(|_, at| now < *at + interval);
            let first = self.0.iter().min_by_key(|(_, at)| **at);
            let first = first.map(|(client, _)| Rc::clone(client));
            if let Some(first) = first.filter(|_| self.0.len() >= CONNECTS_NOTED_MAX) {
                self.0.remove(&first);
            }
        }
        match self.0.insert(Rc::clone(client), now) {
            Some(last) if now < last + interval => Err(Violation::TooSoon),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_keep_alive_that_counts_is_the_nearest_that_is_allowed() {
        let policy = BrokerOptions::new().keep_alive_range(30, 1_200).policy;
        let counted: Vec<u16> = [0, 5, 30, 60, 1_200, 1_201]
            .map(|asked| policy.keep_alive_secs(asked))
            .into();
        assert_eq!(counted, [1_200, 30, 30, 60, 1_200, 1_200]);
        assert_eq!(Policy::default().keep_alive_secs(0), 0);
    }

    #[test]
    fn a_client_that_comes_again_too_soon_is_told_from_one_that_does_not() {
        let policy = BrokerOptions::new()
            .connect_interval(Duration::from_secs(1))
            .policy;
        let mut connects = Connects::default();
        let mut note = |client: &str, at| connects.note(&policy, &client.into(), Time(at)).is_ok();
        assert!(note("a", SECOND));
        assert!(note("b", SECOND));
        assert!(!note("a", 2 * SECOND - 1));
        assert!(!note("a", 2 * SECOND), "the refused one counts");
        assert!(note("a", 3 * SECOND));
    }

    #[test]
    fn no_more_clients_are_remembered_than_the_bound() {
        let policy = BrokerOptions::new()
            .connect_interval(Duration::from_secs(3_600))
            .policy;
        let mut connects = Connects::default();
        for number in 0..CONNECTS_NOTED_MAX as u64 + 10 {
            let client = Rc::from(format!("client-{number}"));
            connects
                .note(&policy, &client, Time(SECOND + number))
                .unwrap();
            assert!(connects.0.len() <= CONNECTS_NOTED_MAX);
        }
        let first = Rc::from("client-0");
        assert!(!connects.0.contains_key(&first));
    }
}
