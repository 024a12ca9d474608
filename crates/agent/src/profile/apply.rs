//! From a profile to the options of client and dial.

use std::time::Duration;

use mqtt::ClientOptions;
use mqtt::session::{PublishByteRate, PublishRate};
use safe_rt::{BACKOFF_FLOOR_DEFAULT, BackoffOptions, Endpoint, Scheme};

use super::{Evidence, Note, Profile};
use crate::config::Rate;

/// The part of a provider's rate that may leave at once; the rest comes evenly, so that no second has
/// more than the rate, wherever it begins.
const BURST_PART: u32 = 10;
/// The least part of a rate in bytes that may leave at once.
const BYTE_BURST_PART: u32 = 4;
/// Bytes of a topic, where a provider is not known to have a limit.
const TOPIC_LEN: usize = 1_024;
/// Bytes of a PUBLISH beside topic and message.
const HEADER_LEN: usize = 9;

/// Options with a profile in them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The options.
    pub options: ClientOptions,
    /// What is not as it was asked for.
    pub notes: Vec<Note>,
}

impl Profile {
    /// Sets keep-alive, window, rates and limits. The keep-alive asked for is `keep_alive`; where the
    /// profile has a range without it the nearest one is taken, and told.
    #[must_use]
    pub fn apply(&self, options: ClientOptions, keep_alive: Duration) -> Applied {
        let limits = self.limits();
        let (keep_alive, note) = self.keep_alive(keep_alive);
        let mut options = options
            .keep_alive(keep_alive)
            .server_limits(self.server_limits());
        if let Some(bytes) = limits.packet_bytes {
            options = options.server_maximum_packet_size(bytes);
        }
        if let Some(window) = limits.window {
            options = options.window(window.min(mqtt::WINDOW_DEFAULT));
        }
        if let Some(rate) = self.publish_rate() {
            options = options.publish_rate(rate);
        }
        if let Some(rate) = self.publish_byte_rate() {
            options = options.publish_byte_rate(rate);
        }
        // The pauses of the client are longer than that as they are, for the providers of the table.
        if let Some(interval) = limits.connect_interval
            && interval > BACKOFF_FLOOR_DEFAULT
        {
            options = options.backoff(BackoffOptions::new().floor(interval));
        }
        Applied {
            options,
            notes: note.into_iter().collect(),
        }
    }

    /// Returns how many messages may leave in a time, and how many at once; `None` for any number. A
    /// rate that the configuration sets is that rate, message by message; of a provider's limit some may
    /// leave at once, and the rest is less.
    #[must_use]
    pub fn publish_rate(&self) -> Option<PublishRate> {
        let Rate { count, per, .. } = self.limits().publish_rate?;
        let rate = narrow(count);
        let (count, burst) = match self.overrides.publish_rate.is_own() {
            true => (rate, 1),
            false => shaped(rate, (rate / BURST_PART).max(1)),
        };
        Some(PublishRate { count, per, burst })
    }

    /// The same of bytes. At once may leave what the largest message has, so that no second has more than
    /// the provider's limit; where that is more than half of the limit, a second can have what the
    /// message has beyond that half.
    #[must_use]
    pub fn publish_byte_rate(&self) -> Option<PublishByteRate> {
        let limits = self.limits();
        let Rate { count, per, .. } = limits.publish_bytes?;
        let rate = narrow(count);
        if self.overrides.publish_bytes.is_own() {
            let (count, burst) = (rate, 1);
            return Some(PublishByteRate { count, per, burst });
        }
        let topic = limits.topic_bytes.unwrap_or(TOPIC_LEN);
        let message = limits.message_bytes.map(|bytes| bytes + topic);
        let message = message.map(|bytes| bytes + HEADER_LEN);
        let largest = limits.packet_bytes.or(message);
        let largest = narrow(largest.unwrap_or(0));
        let burst = largest.max(rate / BYTE_BURST_PART).min(rate / 2);
        let (count, burst) = shaped(rate, burst.max(1));
        Some(PublishByteRate { count, per, burst })
    }

    /// Returns the keep-alive to use for the one that was asked for, and what to tell about it.
    #[must_use]
    pub fn keep_alive(&self, asked: Duration) -> (Duration, Option<Note>) {
        let Some((shortest, longest)) = self.limits().keep_alive else {
            return (asked, None);
        };
        let longest = longest.max(shortest);
        // What the configuration says is certain.
        let fact = self.facts().limits.keep_alive;
        let fact = fact.filter(|_| !self.overrides.keep_alive.is_own());
        let evidence = fact.map_or(Evidence::Documented, |fact| fact.evidence);
        let used = if asked.is_zero() {
            longest
        } else {
            asked.clamp(shortest, longest)
        };
        let note = (used != asked).then_some(Note::KeepAlive {
            asked,
            used,
            provider: self.provider(),
            evidence,
        });
        (used, note)
    }

    /// Returns what to offer by ALPN at this endpoint, by a device that has a certificate or not;
    /// `None` for nothing.
    #[must_use]
    pub fn alpn(&self, endpoint: &Endpoint, has_certificate: bool) -> Option<&'static str> {
        let alpn = self.facts().alpn?.value;
        let is_there = endpoint.scheme() == Scheme::Mqtts && endpoint.port() == alpn.port;
        is_there.then_some(if has_certificate {
            alpn.with_certificate
        } else {
            alpn.without
        })
    }
}

/// A number as rates have it.
fn narrow(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// What comes evenly of a rate of which so much may leave at once: together no more than the rate.
fn shaped(rate: u32, burst: u32) -> (u32, u32) {
    (rate.saturating_sub(burst).max(1), burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::profile::{Overrides, Provider, Setting};

    fn of(provider: Provider) -> Profile {
        Profile::new(provider, Overrides::default())
    }

    #[test]
    fn what_comes_evenly_and_at_once_is_together_no_more_than_the_rate() {
        for rate in [2, 3, 10, 100, 1_000, 524_288, u32::MAX] {
            let (per_second, burst) = shaped(rate, (rate / BURST_PART).max(1));
            assert!(
                u64::from(per_second) + u64::from(burst) <= u64::from(rate),
                "{rate}"
            );
            assert!(burst >= 1 && per_second >= 1);
        }
        assert_eq!(
            of(Provider::Emqx).publish_rate(),
            Some(PublishRate::per_second(9, 1))
        );
        assert_eq!(of(Provider::Plain).publish_rate(), None);
        assert_eq!(shaped(1, 1), (1, 1));
    }

    #[test]
    fn the_largest_message_leaves_at_once_and_still_no_second_has_more_than_the_rate() {
        let PublishByteRate { count, burst, .. } = of(Provider::Aws).publish_byte_rate().unwrap();
        assert_eq!(count + burst, 512_000);
        assert!(burst > 128 * 1_024 + 256);
        // Half of a megabyte is about what a message may have: no more than half is spent at once.
        let azure = of(Provider::AzureEventGrid).publish_byte_rate();
        assert_eq!(azure, Some(PublishByteRate::per_second(500_000, 500_000)));
        assert_eq!(of(Provider::Emqx).publish_byte_rate(), None);
    }

    #[test]
    fn a_rate_that_the_configuration_sets_is_kept_as_it_is() {
        let hour = Duration::from_secs(3_600);
        let overrides = Overrides {
            publish_rate: Setting::To(Rate::new(10, hour)),
            publish_bytes: Setting::To(Rate::per_second(5_000)),
            ..Overrides::default()
        };
        let profile = Profile::new(Provider::Aws, overrides);
        let (count, per, burst) = (10, hour, 1);
        assert_eq!(
            profile.publish_rate(),
            Some(PublishRate { count, per, burst })
        );
        let bytes = PublishByteRate::per_second(5_000, 1);
        assert_eq!(profile.publish_byte_rate(), Some(bytes));
    }
}
