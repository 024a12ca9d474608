//! The embedded broker in the role of a provider: its limits, and how it refuses.

use std::time::Duration;

use mqtt::session::{PublishByteRate, PublishRate};
use mqtt::{Beyond, BrokerOptions, ConnectReason, PublishVerdict, SubscribeRefusal};

use super::{Facts, Overrides, Profile, Provider};

impl Provider {
    /// Returns options of a broker that has this provider's limits and refuses as it does: for a
    /// laboratory, not for production. What a client may do is not among them; see
    /// [`Provider::refused_publish`].
    #[must_use]
    pub fn broker_options(self) -> BrokerOptions {
        let facts = &Facts::of(self).limits;
        let profile = Profile::new(self, Overrides::default());
        let limits = profile.limits();
        let mut options = BrokerOptions::new().server_limits(profile.server_limits());
        let messages = facts
            .publish_rate
            .map(|rate| PublishRate::per_second(rate.value, rate.value));
        let bytes = facts
            .publish_bytes
            .map(|rate| PublishByteRate::per_second(rate.value, rate.value));
        if messages.is_some() || bytes.is_some() {
            options = options.publish_quota(messages, bytes, Beyond::HangUp);
        }
        if let Some(interval) = limits.connect_interval {
            options = options.connect_interval(interval);
        }
        if let Some(range) = facts.keep_alive {
            let (shortest, longest) = range.value;
            options = options.keep_alive_range(secs(shortest), secs(longest));
        }
        if let Some(queue) = facts.queue {
            let (messages, bytes) = queue.value;
            options = match self {
                Self::AzureEventGrid => options.offline_queue_max(messages, bytes),
                _ => options.queue_max(messages, bytes),
            };
        }
        if let Some(clients) = facts.clients {
            options = options.clients_max(clients.value, self.crowd_reason());
        }
        options.subscribe_refusal(self.subscribe_refusal())
    }

    /// Returns how it refuses a message to a topic that the client may not publish to.
    #[must_use]
    pub const fn refused_publish(self) -> PublishVerdict {
        match self {
            Self::Aws | Self::AzureEventGrid | Self::HiveMq => PublishVerdict::HangUp,
            Self::Emqx | Self::Plain => PublishVerdict::Drop,
        }
    }

    /// Returns how it refuses a filter that the client may not have.
    const fn subscribe_refusal(self) -> SubscribeRefusal {
        match self {
            Self::Aws => SubscribeRefusal::HangUp,
            _ => SubscribeRefusal::Answer,
        }
    }

    /// Returns what a client of MQTT 3.1.1 is told that is one too many.
    const fn crowd_reason(self) -> ConnectReason {
        match self {
            Self::HiveMq => ConnectReason::NotAuthorized,
            _ => ConnectReason::ServerUnavailable,
        }
    }
}

fn secs(length: Duration) -> u16 {
    u16::try_from(length.as_secs()).unwrap_or(u16::MAX)
}
