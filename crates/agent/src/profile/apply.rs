//! From a profile to the options of client and dial.

use std::time::Duration;

use mqtt::ClientOptions;
use safe_rt::{BACKOFF_FLOOR_DEFAULT, BackoffOptions, Endpoint, Scheme};

use super::{Note, Profile};

/// A part of a rate that may leave at once; the rest comes evenly, so that no second has more than the
/// rate, wherever it begins.
const BURST_PART: u32 = 10;
/// The same of a rate in bytes, which is to let a large message pass.
const BYTE_BURST_PART: u32 = 4;

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
            .server_limits(limits.server_limits(self.provider()));
        if let Some(bytes) = limits.packet_bytes {
            options = options.server_maximum_packet_size(bytes);
        }
        if let Some(window) = limits.window {
            options = options.window(window.min(mqtt::WINDOW_DEFAULT));
        }
        if let Some((per_second, burst)) = self.publish_rate() {
            options = options.publish_rate(per_second, burst);
        }
        if let Some(rate) = limits.publish_bytes {
            let (per_second, burst) = shaped(rate, BYTE_BURST_PART);
            options = options.publish_byte_rate(per_second, burst);
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

    /// Returns how many messages may leave in a second, and how many at once; `None` for any number.
    #[must_use]
    pub fn publish_rate(&self) -> Option<(u32, u32)> {
        self.limits()
            .publish_rate
            .map(|rate| shaped(rate, BURST_PART))
    }

    /// Returns the keep-alive to use for the one that was asked for, and what to tell about it.
    #[must_use]
    pub fn keep_alive(&self, asked: Duration) -> (Duration, Option<Note>) {
        let Some(range) = self.facts().limits.keep_alive else {
            return (asked, None);
        };
        let (shortest, longest) = range.value;
        let used = if asked.is_zero() {
            longest
        } else {
            asked.clamp(shortest, longest)
        };
        let note = (used != asked).then_some(Note::KeepAlive {
            asked,
            used,
            provider: self.provider(),
            evidence: range.evidence,
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

/// Cuts a rate into what comes evenly and what may leave at once: together no more than the rate.
fn shaped(rate: u32, part: u32) -> (u32, u32) {
    let burst = (rate / part).max(1);
    (rate.saturating_sub(burst).max(1), burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_evenly_and_at_once_is_together_no_more_than_the_rate() {
        for rate in [2, 3, 10, 100, 1_000, 524_288, u32::MAX] {
            let (per_second, burst) = shaped(rate, BURST_PART);
            assert!(
                u64::from(per_second) + u64::from(burst) <= u64::from(rate),
                "{rate}"
            );
            assert!(burst >= 1 && per_second >= 1);
        }
        assert_eq!(shaped(10, BURST_PART), (9, 1));
        assert_eq!(shaped(1, BURST_PART), (1, 1));
    }
}
