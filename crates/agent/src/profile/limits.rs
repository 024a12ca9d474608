//! The limits that hold: those of the table, where the configuration does not say otherwise.

use std::time::Duration;

use mqtt::QoS;
use mqtt::session::{FILTERS_MAX, Limited, ServerLimits};

use super::facts::{Evidence, Fact, LimitFacts};
use super::{Profile, Provider};
use crate::config::Rate;

/// What a configuration says of one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Setting<T> {
    /// Nothing: the profile's holds.
    #[default]
    OfProfile,
    /// There is none.
    Unlimited,
    /// It is this.
    To(T),
}

impl<T: Copy> Setting<T> {
    fn over(self, fact: Option<Fact<T>>) -> Option<T> {
        match self {
            Self::OfProfile => fact.map(|fact| fact.value),
            Self::Unlimited => None,
            Self::To(value) => Some(value),
        }
    }
}

impl<T> Setting<T> {
    /// Whether the configuration says something.
    pub(super) const fn is_own(&self) -> bool {
        !matches!(self, Self::OfProfile)
    }
}

impl Fact<u32> {
    const fn in_a_second(self) -> Fact<Rate> {
        Fact {
            value: Rate::per_second(self.value),
            evidence: self.evidence,
        }
    }
}

/// What a configuration says of limits (`[limits]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrides {
    /// Messages published in a time.
    pub publish_rate: Setting<Rate>,
    /// Bytes published in a time.
    pub publish_bytes: Setting<Rate>,
    /// Topic filters of the device.
    pub subscriptions: Setting<usize>,
    /// Topic filters in one SUBSCRIBE.
    pub filters_per_subscribe: Setting<usize>,
    /// Bytes of a packet that the broker takes; the limit of the message alone is dropped then.
    pub packet_bytes: Setting<usize>,
    /// Levels of a topic.
    pub topic_levels: Setting<usize>,
    /// The highest QoS.
    pub qos: Setting<QoS>,
    /// Bytes of a topic.
    pub topic_bytes: Setting<usize>,
    /// Bytes of a client identifier.
    pub client_id_bytes: Setting<usize>,
    /// Messages of QoS 1 and 2 that may be unacknowledged.
    pub window: Setting<u16>,
    /// The least time between two CONNECTs.
    pub connect_interval: Setting<Duration>,
    /// The shortest and the longest keep-alive.
    pub keep_alive: Setting<(Duration, Duration)>,
}

/// The limits that hold; `None` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a client identifier.
    pub client_id_bytes: Option<usize>,
    /// Bytes of a topic.
    pub topic_bytes: Option<usize>,
    /// Levels of a topic.
    pub topic_levels: Option<usize>,
    /// The prefix of topics whose first levels do not count, and how many those are.
    pub exempt: Option<(&'static str, usize)>,
    /// Bytes of an application message.
    pub message_bytes: Option<usize>,
    /// Bytes of a packet.
    pub packet_bytes: Option<usize>,
    /// The highest QoS.
    pub qos: Option<QoS>,
    /// Topic filters in one SUBSCRIBE.
    pub filters_per_subscribe: Option<usize>,
    /// Topic filters of the device.
    pub subscriptions: Option<usize>,
    /// Messages of QoS 1 and 2 that may be unacknowledged.
    pub window: Option<u16>,
    /// Messages published in a time.
    pub publish_rate: Option<Rate>,
    /// Bytes published in a time.
    pub publish_bytes: Option<Rate>,
    /// The least time between two CONNECTs.
    pub connect_interval: Option<Duration>,
    /// The shortest and the longest keep-alive.
    pub keep_alive: Option<(Duration, Duration)>,
}

impl Limits {
    pub(super) fn new(facts: &LimitFacts, overrides: Overrides) -> Self {
        const fn value<T: Copy>(fact: Option<Fact<T>>) -> Option<T> {
            match fact {
                Some(fact) => Some(fact.value),
                None => None,
            }
        }
        let message_bytes = match overrides.packet_bytes {
            Setting::OfProfile => value(facts.message_bytes),
            Setting::Unlimited | Setting::To(_) => None,
        };
        Self {
            client_id_bytes: overrides.client_id_bytes.over(facts.client_id_bytes),
            topic_bytes: overrides.topic_bytes.over(facts.topic_bytes),
            topic_levels: overrides.topic_levels.over(facts.topic_levels),
            exempt: value(facts.exempt),
            message_bytes,
            packet_bytes: overrides.packet_bytes.over(None),
            qos: overrides.qos.over(facts.qos),
            filters_per_subscribe: overrides
                .filters_per_subscribe
                .over(facts.filters_per_subscribe),
            subscriptions: overrides.subscriptions.over(facts.subscriptions),
            window: overrides.window.over(facts.window),
            publish_rate: overrides
                .publish_rate
                .over(facts.publish_rate.map(Fact::in_a_second)),
            publish_bytes: overrides
                .publish_bytes
                .over(facts.publish_bytes.map(Fact::in_a_second)),
            connect_interval: overrides.connect_interval.over(facts.connect_interval),
            keep_alive: overrides.keep_alive.over(facts.keep_alive),
        }
    }
}

/// Who says a limit: the configuration, if it is `own`, else the profile.
const fn said_by<T>(
    limits: ServerLimits,
    provider: Provider,
    own: bool,
    fact: Option<&Fact<T>>,
) -> ServerLimits {
    match fact {
        _ if own => limits.said_by("[limits]"),
        Some(fact) if matches!(fact.evidence, Evidence::Unverified) => {
            limits.assumed_by(provider.set_by())
        }
        _ => limits.said_by(provider.set_by()),
    }
}

/// A filter, with the QoS that it is asked for.
type Asked<'a> = (&'a str, QoS);
/// A filter, with the limit that it is beyond.
type Refused<'a> = (&'a str, Limited);

impl Profile {
    /// Returns how many bytes the payload of a message to this topic may have, if that is known.
    #[must_use]
    pub fn payload_max(&self, topic: &str) -> Option<usize> {
        let limits = &self.limits;
        // First byte, remaining length, length of the topic, packet identifier.
        let head = 1 + 4 + 2 + topic.len() + 2;
        let packet = limits.packet_bytes.map(|bytes| bytes.saturating_sub(head));
        [packet, limits.message_bytes].into_iter().flatten().min()
    }

    /// Returns the limits as the client checks them, each with who says it.
    #[must_use]
    pub fn server_limits(&self) -> ServerLimits {
        let (facts, own, limits) = (&self.facts.limits, &self.overrides, &self.limits);
        let provider = self.provider();
        let mut told = ServerLimits::new(provider.set_by());
        if let Some(bytes) = limits.client_id_bytes {
            let is_own = own.client_id_bytes.is_own();
            told = said_by(told, provider, is_own, facts.client_id_bytes.as_ref());
            told = told.client_id_bytes(bytes);
        }
        if let Some(bytes) = limits.topic_bytes {
            let is_own = own.topic_bytes.is_own();
            told = said_by(told, provider, is_own, facts.topic_bytes.as_ref());
            told = told.topic_bytes(bytes);
        }
        if let Some(levels) = limits.topic_levels {
            let is_own = own.topic_levels.is_own();
            told = said_by(told, provider, is_own, facts.topic_levels.as_ref());
            told = told.topic_levels(levels);
        }
        if let Some((prefix, levels)) = limits.exempt {
            told = told.exempt(prefix, levels);
        }
        if let Some(bytes) = limits.message_bytes {
            told = said_by(told, provider, false, facts.message_bytes.as_ref());
            told = told.payload_bytes(bytes);
        }
        if let Some(qos) = limits.qos {
            told = said_by(told, provider, own.qos.is_own(), facts.qos.as_ref());
            told = told.qos_max(qos);
        }
        if let Some(filters) = limits.filters_per_subscribe {
            let is_own = own.filters_per_subscribe.is_own();
            told = said_by(told, provider, is_own, facts.filters_per_subscribe.as_ref());
            told = told.filters_per_subscribe(filters);
        }
        if let Some(filters) = limits.subscriptions {
            let is_own = own.subscriptions.is_own();
            told = said_by(told, provider, is_own, facts.subscriptions.as_ref());
            told = told.subscriptions(filters);
        }
        told
    }

    /// Checks what the device is to publish, as the client does before it sends it.
    ///
    /// # Errors
    /// The first limit that it is beyond, with whose limit it is.
    pub fn check_publish(&self, topic: &str, bytes: usize, qos: QoS) -> Result<(), Limited> {
        self.server_limits().check_publish(topic, bytes, qos)
    }

    /// Checks the filters that the device is to be subscribed to, all of them; how many go in one
    /// SUBSCRIBE is a matter of [`Profile::parts`].
    ///
    /// # Errors
    /// The first limit that they are beyond, with whose limit it is.
    pub fn check_filters<'a>(
        &self,
        filters: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<(), Limited> {
        let count = filters.len();
        self.server_limits()
            .filters_per_subscribe(usize::MAX)
            .check_subscribe(filters, count)
    }

    /// Checks who the device says that it is.
    ///
    /// # Errors
    /// The limit, if it is beyond that, with whose limit it is.
    pub fn check_client_id(&self, client_id: &str) -> Result<(), Limited> {
        self.server_limits().check_client_id(client_id)
    }

    /// Splits filters into those that the device may be subscribed to, in their order, and those that it
    /// may not, each with the limit that it is beyond.
    #[must_use]
    pub fn allowed<'a>(&self, filters: &[Asked<'a>]) -> (Vec<Asked<'a>>, Vec<Refused<'a>>) {
        let limits = self.server_limits();
        let (mut allowed, mut beyond) = (Vec::new(), Vec::new());
        for (filter, qos) in filters {
            let one = std::iter::once(*filter);
            match limits.check_subscribe(one, allowed.len() + 1) {
                Ok(()) => allowed.push((*filter, *qos)),
                Err(limited) => beyond.push((*filter, limited)),
            }
        }
        (allowed, beyond)
    }

    /// Cuts filters into parts that each fit one SUBSCRIBE.
    pub fn parts<'a, T>(&self, filters: &'a [T]) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let most = self.limits.filters_per_subscribe.unwrap_or(usize::MAX);
        filters.chunks(most.clamp(1, FILTERS_MAX))
    }
}
