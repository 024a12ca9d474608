//! When a certificate is renewed. Pure.

use std::time::{Duration, SystemTime};

/// From which part of its life on a certificate is renewed, in per cent, unless the configuration
/// says otherwise.
pub const RENEW_FROM_DEFAULT: u8 = 60;
/// By which part, unless the configuration says otherwise.
pub const RENEW_UNTIL_DEFAULT: u8 = 80;

/// Returns when a certificate of this device is to be renewed: between `from` and `until` per cent of
/// its life, at a moment that the device id decides. So a fleet whose certificates were made in one
/// hour does not renew them in one hour, and a device that starts again does not draw again.
#[must_use]
pub fn renewal_time(
    device_id: &str,
    not_before: SystemTime,
    not_after: SystemTime,
    from: u8,
    until: u8,
) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let (from, until) = (from.min(100), until.min(100));
    let span = u64::from(until.saturating_sub(from));
    // A part of the span, in 2^32nds.
    let draw = u64::from(crc32fast::hash(device_id.as_bytes()));
    let part = |of: Duration, numerator: u64, denominator: u64| {
        let millis = of.as_millis() * u128::from(numerator) / u128::from(denominator);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    };
    let drawn = part(part(life, span, 100), draw, 1 << 32);
    not_before + part(life, from.into(), 100) + drawn
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn time(device: &str, from: u8, until: u8) -> Duration {
        let begins = UNIX_EPOCH + 20_000 * DAY;
        let time = renewal_time(device, begins, begins + 100 * DAY, from, until);
        time.duration_since(begins).unwrap()
    }

    #[test]
    fn a_fleet_renews_all_over_the_span_and_each_device_at_its_own_time() {
        let mut quarters = [0; 4];
        for number in 0..1_000 {
            let device = format!("meter-{number}");
            let at = time(&device, 60, 80);
            assert!((60 * DAY..80 * DAY).contains(&at), "{at:?}");
            assert_eq!(at, time(&device, 60, 80));
            let quarter = (at - 60 * DAY).as_secs() / (5 * DAY.as_secs());
            quarters[usize::try_from(quarter).unwrap()] += 1;
        }
        assert!(
            quarters.iter().all(|count| (150..350).contains(count)),
            "{quarters:?}"
        );
    }

    #[test]
    fn what_makes_no_span_is_a_moment() {
        assert_eq!(time("meter", 70, 70), 70 * DAY);
        assert_eq!(time("meter", 80, 60), 80 * DAY);
        assert_eq!(time("meter", 200, 255), 100 * DAY);
        let noon = UNIX_EPOCH + DAY;
        assert_eq!(renewal_time("meter", noon, UNIX_EPOCH, 60, 80), noon);
    }
}
