//! Numbers with a unit: sizes, rates, parts of a whole.

use std::fmt;
use std::time::Duration;

/// How many of something in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// How many; at least one, and no more than fits 32 bits.
    pub count: u64,
    /// In which time; more than none.
    pub per: Duration,
}

impl Rate {
    /// So many in a time.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Self {
        let count = count as u64;
        Self { count, per }
    }

    /// So many in a second.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// The unit of its time.
    pub(in crate::config) fn unit(&self) -> &'static str {
        let of = |(_, length): &&(&str, u64)| Duration::from_secs(*length) == self.per;
        TIMES.iter().find(of).map_or("s", |(unit, _)| unit)
    }
}

/// What a rate may be counted in, in seconds.
const TIMES: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// Why a text is no number with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum NoMeasure {
    /// It is a bare number.
    NoUnit,
    /// It is something else.
    Malformed,
    /// It is nothing at all, or more than all.
    OutOfRange,
}

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Understands a size: `64KiB`, `1MB`, `100B`; one that is too large counts as the largest.
pub(in crate::config) fn parse_bytes(text: &str) -> Result<u64, NoMeasure> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Err(NoMeasure::NoUnit);
    }
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(NoMeasure::Malformed)?;
    Ok(number.saturating_mul(*factor))
}

/// Understands how often something may be done in a time: `10/s`, `100/h`.
pub(in crate::config) fn parse_rate(text: &str) -> Result<Rate, NoMeasure> {
    let (amount, per) = in_time(text)?;
    match split(amount)? {
        (count, "") => rate(count, per),
        _ => Err(NoMeasure::Malformed),
    }
}

/// Understands how many bytes may be sent in a time: `512KB/s`, `10MB/d`.
pub(in crate::config) fn parse_byte_rate(text: &str) -> Result<Rate, NoMeasure> {
    let (amount, per) = in_time(text)?;
    rate(parse_bytes(amount)?, per)
}

fn rate(count: u64, per: Duration) -> Result<Rate, NoMeasure> {
    match (1..=u32::MAX.into()).contains(&count) {
        true => Ok(Rate { count, per }),
        false => Err(NoMeasure::OutOfRange),
    }
}

/// Understands a part of a whole: `80%`.
pub(in crate::config) fn parse_percent(text: &str) -> Result<u8, NoMeasure> {
    match split(text)? {
        (_, "") => Err(NoMeasure::NoUnit),
        (number, "%") => u8::try_from(number)
            .ok()
            .filter(|percent| (1..=99).contains(percent))
            .ok_or(NoMeasure::OutOfRange),
        _ => Err(NoMeasure::Malformed),
    }
}

/// What is before the slash, and the time behind it.
fn in_time(text: &str) -> Result<(&str, Duration), NoMeasure> {
    let Some((amount, unit)) = text.split_once('/') else {
        // Without a time, whatever else is right or wrong with it.
        return Err(split(text).map_or_else(|error| error, |_| NoMeasure::NoUnit));
    };
    let time = TIMES.iter().find(|(name, _)| *name == unit);
    let (_, length) = time.ok_or(NoMeasure::Malformed)?;
    Ok((amount, Duration::from_secs(*length)))
}

/// Splits the digits from what follows them.
fn split(text: &str) -> Result<(u64, &str), NoMeasure> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match digits {
        0 => Err(NoMeasure::Malformed),
        _ => Ok((number.parse().unwrap_or(u64::MAX), unit)),
    }
}

/// Writes a size in the largest unit that it is a whole number of.
pub(in crate::config) fn spell_bytes(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .filter(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor);
    let (name, factor) = unit.unwrap_or(&("B", 1));
    format!("{}{name}", bytes / factor)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_understood_with_their_unit_and_spelled_in_the_largest() {
        for (text, bytes, spelled) in [
            ("0B", 0, "0B"),
            ("100B", 100, "100B"),
            ("64KiB", 65_536, "64KiB"),
            ("1MB", 1_000_000, "1MB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("2GiB", 2 << 30, "2GiB"),
            ("1536B", 1536, "1536B"),
            ("512KB", 512_000, "500KiB"),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
            assert_eq!(spell_bytes(bytes), spelled);
        }
        assert_eq!(parse_bytes("99999999999999999999GB"), Ok(u64::MAX));
        assert_eq!(parse_bytes("64"), Err(NoMeasure::NoUnit));
        for text in [
            "", "KiB", "64 KiB", "64kib", "64K", "-1B", "1.5MB", "64KiB ",
        ] {
            assert_eq!(parse_bytes(text), Err(NoMeasure::Malformed), "{text}");
        }
    }

    #[test]
    fn rates_and_parts_are_understood_and_nothing_near_them() {
        for (text, count, seconds) in [("10/s", 10, 1), ("7/m", 7, 60), ("100/h", 100, 3_600)] {
            let expected = Rate::new(count, Duration::from_secs(seconds));
            assert_eq!(parse_rate(text), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!(parse_byte_rate("512KB/s"), Ok(Rate::per_second(512_000)));
        let day = Duration::from_secs(86_400);
        assert_eq!(parse_byte_rate("10MB/d"), Ok(Rate::new(10_000_000, day)));
        assert_eq!(parse_percent("80%"), Ok(80));
        for (parsed, expected) in [
            (parse_rate("10").err(), NoMeasure::NoUnit),
            (parse_rate("0/s").err(), NoMeasure::OutOfRange),
            (parse_rate("10/w").err(), NoMeasure::Malformed),
            (parse_rate("4294967296/s").err(), NoMeasure::OutOfRange),
            (parse_rate("10KB/s").err(), NoMeasure::Malformed),
            (parse_rate("/s").err(), NoMeasure::Malformed),
            (parse_byte_rate("10/s").err(), NoMeasure::NoUnit),
            (parse_byte_rate("10KB").err(), NoMeasure::NoUnit),
            (parse_percent("80").err(), NoMeasure::NoUnit),
            (parse_percent("0%").err(), NoMeasure::OutOfRange),
            (parse_percent("100%").err(), NoMeasure::OutOfRange),
            (parse_percent("8 %").err(), NoMeasure::Malformed),
        ] {
            assert_eq!(parsed, Some(expected));
        }
    }
}
