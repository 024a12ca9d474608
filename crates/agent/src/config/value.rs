//! From the text of one setting to what it means.

use std::time::Duration;

use mqtt::QoS;

use super::error::ConfigError;
use super::keys::Key;
use crate::args::KEEP_ALIVE_SECS_MIN;

/// How often telemetry is published unless the configuration says otherwise.
pub const TELEMETRY_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// The shortest interval of telemetry.
pub const TELEMETRY_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest interval of telemetry.
pub const TELEMETRY_INTERVAL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The lengths of time that a setting may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// What a keep-alive may be: MQTT counts whole seconds in two bytes.
pub(super) const KEEP_ALIVE: Range = Range {
    min: Duration::from_secs(KEEP_ALIVE_SECS_MIN as u64),
    max: Duration::from_secs(u16::MAX as u64),
};

/// What the interval of telemetry may be.
pub(super) const INTERVAL: Range = Range {
    min: TELEMETRY_INTERVAL_MIN,
    max: TELEMETRY_INTERVAL_MAX,
};

/// Understands a length of time with its unit: `250ms`, `30s`, `5m`, `12h`, `7d`.
///
/// # Errors
///
/// [`ConfigError::NoUnit`], [`ConfigError::Duration`] and [`ConfigError::DurationRange`].
pub(super) fn duration(key: Key, text: &str, range: Range) -> Result<Duration, ConfigError> {
    let duration = parse_length(text).map_err(|error| match error {
        NoLength::NoUnit => ConfigError::NoUnit {
            key,
            found: format!("{text:?}"),
            number: text.to_owned(),
        },
        NoLength::Malformed => ConfigError::Duration {
            key,
            found: text.to_owned(),
        },
    })?;
    if (range.min..=range.max).contains(&duration) {
        Ok(duration)
    } else {
        Err(ConfigError::DurationRange {
            key,
            found: text.to_owned(),
            min: range.min,
            max: range.max,
        })
    }
}

/// Why a text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLength {
    /// It is a bare number.
    NoUnit,
    /// It is something else.
    Malformed,
}

/// Understands a whole number and its unit; one that is too large counts as the largest.
pub(crate) fn parse_length(text: &str) -> Result<Duration, NoLength> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "" if digits > 0 => return Err(NoLength::NoUnit),
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(NoLength::Malformed),
    };
    if digits == 0 {
        return Err(NoLength::Malformed);
    }
    let number = number.parse().unwrap_or(u64::MAX);
    Ok(Duration::from_millis(number.saturating_mul(millis)))
}

/// Writes a length of time in the largest unit that it is a whole number of.
pub(super) fn spell(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (unit, name) = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ]
    .into_iter()
    .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
    .unwrap_or((1, "ms"));
    format!("{}{name}", millis / unit)
}

/// Understands a quality of service.
pub(super) fn qos(digits: &str) -> Option<QoS> {
    match digits {
        "0" => Some(QoS::AtMostOnce),
        "1" => Some(QoS::AtLeastOnce),
        "2" => Some(QoS::ExactlyOnce),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Section;
    use super::*;

    const KEY: Key = Key::new(Section::Telemetry, "interval");

    #[test]
    fn lengths_of_time_are_understood_with_their_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("1s", 1_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
            ("007s", 7_000),
        ] {
            let expected = Duration::from_millis(millis);
            assert_eq!(duration(KEY, text, INTERVAL).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn lengths_of_time_that_are_none_are_refused() {
        for text in [
            "", "s", "-5s", "+5s", "5 s", "5S", "1.5s", "5min", "5s ", "5sm",
        ] {
            let refused = duration(KEY, text, INTERVAL).unwrap_err();
            assert!(matches!(refused, ConfigError::Duration { .. }), "{text}");
        }
        for text in ["5", "0"] {
            let refused = duration(KEY, text, INTERVAL).unwrap_err();
            assert!(matches!(refused, ConfigError::NoUnit { .. }), "{text}");
        }
        for text in ["99ms", "0s", "8d", "604801s", "99999999999999999999d"] {
            let refused = duration(KEY, text, INTERVAL).unwrap_err();
            assert!(
                matches!(refused, ConfigError::DurationRange { .. }),
                "{text}"
            );
        }
    }

    #[test]
    fn lengths_of_time_are_spelled_in_the_largest_unit() {
        for (millis, text) in [
            (0, "0ms"),
            (100, "100ms"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (65_535_000, "65535s"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(spell(Duration::from_millis(millis)), text);
        }
    }
}
