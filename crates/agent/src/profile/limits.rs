//! The limits that hold: those of the table, where the configuration does not say otherwise.

use std::time::Duration;

use mqtt::QoS;
use mqtt::session::{FILTERS_MAX, Limited, ServerLimits};

use super::facts::{Fact, LimitFacts};
use super::{Profile, Provider};

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

/// What a configuration says of limits (`[limits]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrides {
    /// Messages published in a second.
    pub publish_rate: Setting<u32>,
    /// Bytes published in a second.
    pub publish_bytes: Setting<u32>,
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
    /// Messages published in a second.
    pub publish_rate: Option<u32>,
    /// Bytes published in a second.
    pub publish_bytes: Option<u32>,
    /// The least time between two CONNECTs.
    pub connect_interval: Option<Duration>,
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
            client_id_bytes: value(facts.client_id_bytes),
            topic_bytes: value(facts.topic_bytes),
            topic_levels: overrides.topic_levels.over(facts.topic_levels),
            exempt: value(facts.exempt),
            message_bytes,
            packet_bytes: overrides.packet_bytes.over(None),
            qos: overrides.qos.over(facts.qos),
            filters_per_subscribe: overrides
                .filters_per_subscribe
                .over(facts.filters_per_subscribe),
            subscriptions: overrides.subscriptions.over(facts.subscriptions),
            window: value(facts.window),
            publish_rate: overrides.publish_rate.over(facts.publish_rate),
            publish_bytes: overrides.publish_bytes.over(facts.publish_bytes),
            connect_interval: value(facts.connect_interval),
        }
    }

    /// The limits as the client checks them.
    pub(super) fn server_limits(&self, provider: Provider) -> ServerLimits {
        let mut limits = ServerLimits::new(provider.set_by());
        if let Some(bytes) = self.topic_bytes {
            limits = limits.topic_bytes(bytes);
        }
        if let Some(levels) = self.topic_levels {
            limits = limits.topic_levels(levels);
        }
        if let Some((prefix, levels)) = self.exempt {
            limits = limits.exempt(prefix, levels);
        }
        if let Some(bytes) = self.message_bytes {
            limits = limits.payload_bytes(bytes);
        }
        if let Some(qos) = self.qos {
            limits = limits.qos_max(qos);
        }
        if let Some(filters) = self.filters_per_subscribe {
            limits = limits.filters_per_subscribe(filters);
        }
        if let Some(filters) = self.subscriptions {
            limits = limits.subscriptions(filters);
        }
        limits
    }
}

impl Profile {
    /// Checks what the device is to publish, as the client does before it sends it.
    ///
    /// # Errors
    /// The first limit that it is beyond, with whose limit it is.
    pub fn check_publish(&self, topic: &str, bytes: usize, qos: QoS) -> Result<(), Limited> {
        self.limits
            .server_limits(self.provider())
            .check_publish(topic, bytes, qos)
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
        self.limits
            .server_limits(self.provider())
            .filters_per_subscribe(usize::MAX)
            .check_subscribe(filters, count)
    }

    /// Cuts filters into parts that each fit one SUBSCRIBE.
    pub fn parts<'a, T>(&self, filters: &'a [T]) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let most = self.limits.filters_per_subscribe.unwrap_or(usize::MAX);
        filters.chunks(most.clamp(1, FILTERS_MAX))
    }
}
