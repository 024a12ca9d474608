//! Telemetry in batches: readings are gathered and sent as one message, each with its own time.
//!
//! ```text
//!   {"schema":1,"device":"meter-17","sequence":12,"readings":[
//!     {"t":1795959000123,"n":"temperature","v":21.5},
//!     {"t":1795959001123,"n":"valve","v":"open"}]}
//! ```
//! `t` is when the reading was taken, in milliseconds of Unix time; `n` its name, `v` its value: a
//! number, a text or a boolean. A message is made when there are [`BatchOptions::count_max`] readings,
//! when the next one would make it longer than [`BatchOptions::bytes_max`], and when the oldest has
//! waited for [`BatchOptions::delay_max`]; readings leave in the order in which they were taken.
//!
//! A reading's time is kept by the clock that never steps and told as the wall clock has it when the
//! message is made: what a device measured before it knew the time has the right one, if it learns it
//! before the message leaves.
//!
//! Pure: both clocks are arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::Instant;
use serde_json::Value;

use crate::json;

/// Readings of a message unless set otherwise, and the most that may be set.
pub const BATCH_COUNT_DEFAULT: usize = 100;
/// The most readings of one message.
pub const BATCH_COUNT_MAX: usize = 10_000;
/// Bytes of a message unless set otherwise: within what the strictest provider takes.
pub const BATCH_BYTES_DEFAULT: usize = 8 * 1024;
/// The most bytes of one message.
pub const BATCH_BYTES_MAX: usize = 128 * 1024;
/// The least bytes of one message that may be set.
pub const BATCH_BYTES_MIN: usize = 512;
/// How long a reading waits for others unless set otherwise.
pub const BATCH_DELAY_DEFAULT: Duration = Duration::from_secs(10);
/// The longest that a reading may wait for others.
pub const BATCH_DELAY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a reading's name and of its value; longer ones are refused.
pub const READING_BYTES_MAX: usize = 256;

/// What is put into one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Readings of a message at most; 1 sends each by itself.
    pub count_max: usize,
    /// Bytes of a message at most.
    pub bytes_max: usize,
    /// How long a reading waits for others at most.
    pub delay_max: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            count_max: BATCH_COUNT_DEFAULT,
            bytes_max: BATCH_BYTES_DEFAULT,
            delay_max: BATCH_DELAY_DEFAULT,
        }
    }
}

impl BatchOptions {
    fn within_bounds(self) -> Self {
        Self {
            count_max: self.count_max.clamp(1, BATCH_COUNT_MAX),
            bytes_max: self.bytes_max.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX),
            delay_max: self.delay_max.min(BATCH_DELAY_MAX),
        }
    }
}

/// A name or a value is longer than [`READING_BYTES_MAX`], or is a value that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadingError {
    /// The name is empty or too long.
    Name,
    /// The value is too long, is a list or an object, or is no finite number.
    Value,
}

impl std::fmt::Display for ReadingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name => write!(f, "expected a name of 1 to {READING_BYTES_MAX} bytes"),
            Self::Value => write!(
                f,
                "expected a finite number, a boolean or a text of at most {READING_BYTES_MAX} bytes"
            ),
        }
    }
}

impl std::error::Error for ReadingError {}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// The one that never steps.
    pub(crate) instant: Instant,
    /// The one on the wall.
    pub(crate) wall: SystemTime,
}

impl Now {
    /// Reads them.
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            wall: fiber::wall_time(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Reading {
    taken: Instant,
    /// `"n":..,"v":..` as it will stand in the message.
    text: String,
}

/// Digits of a time in a message, and what else a reading takes there beside its text.
const READING_OVERHEAD: usize = "{\"t\":,},".len() + 20;

/// Readings on their way into a message.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    device: String,
    options: BatchOptions,
    readings: Vec<Reading>,
    bytes: usize,
    sequence: u64,
}

impl Batch {
    pub(crate) fn new(device: impl Into<String>, options: BatchOptions) -> Self {
        let device = device.into();
        Self {
            device,
            options: options.within_bounds(),
            readings: Vec::new(),
            bytes: 0,
            sequence: 0,
        }
    }

    /// Gathers by other options from now on; of what there is already the next message is made as soon
    /// as they say.
    pub(crate) fn set_options(&mut self, options: BatchOptions) {
        self.options = options.within_bounds();
    }

    /// Takes a reading. Returns the messages that are full by that, none mostly, two at most.
    pub(crate) fn push(
        &mut self,
        name: &str,
        value: &Value,
        now: Now,
    ) -> Result<Vec<String>, ReadingError> {
        if !(1..=READING_BYTES_MAX).contains(&name.len()) {
            return Err(ReadingError::Name);
        }
        let is_scalar = matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_));
        if !is_scalar
            || value
                .as_str()
                .is_some_and(|text| text.len() > READING_BYTES_MAX)
        {
            return Err(ReadingError::Value);
        }
        let text = format!("\"n\":{},\"v\":{value}", Value::from(name));
        let added = text.len() + READING_OVERHEAD;
        let mut full = Vec::new();
        if self.head_bytes() + self.bytes + added > self.options.bytes_max {
            full.extend(self.take(now));
        }
        self.bytes += added;
        let taken = now.instant;
        self.readings.push(Reading { taken, text });
        if self.readings.len() >= self.options.count_max {
            full.extend(self.take(now));
        }
        Ok(full)
    }

    /// When a message is due whatever comes, if there are readings.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.readings.first()?.taken + self.options.delay_max)
    }

    /// Makes a message of what there is.
    pub(crate) fn take(&mut self, now: Now) -> Option<String> {
        if self.readings.is_empty() {
            return None;
        }
        self.sequence += 1;
        self.bytes = 0;
        let readings = std::mem::take(&mut self.readings).into_iter();
        let readings = readings.map(|reading| {
            let age = now.instant - reading.taken;
            let taken = now.wall.checked_sub(age).unwrap_or(UNIX_EPOCH);
            let since = taken.duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{{\"t\":{},{}}}", since.as_millis(), reading.text)
        });
        Some(json::object_of(&[
            ("schema", "1".to_owned()),
            ("device", Value::from(self.device.as_str()).to_string()),
            ("sequence", self.sequence.to_string()),
            ("readings", json::array(readings)),
        ]))
    }

    /// What a message takes beside its readings, at most.
    fn head_bytes(&self) -> usize {
        let device = Value::from(self.device.as_str()).to_string();
        "{\"schema\":1,\"device\":,\"sequence\":,\"readings\":[]}".len() + device.len() + 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_795_959_000_000;

    fn at(millis: u64) -> Now {
        Now {
            instant: Instant::from_nanos((1_000 + millis) * 1_000_000),
            wall: UNIX_EPOCH + Duration::from_millis(WALL + millis),
        }
    }

    fn batch(count_max: usize, bytes_max: usize) -> Batch {
        let options = BatchOptions {
            count_max,
            bytes_max,
            ..BatchOptions::default()
        };
        Batch::new("meter-17", options)
    }

    #[test]
    fn readings_are_one_message_each_with_its_own_time_in_their_order() {
        let mut batch = batch(3, 8_192);
        let none = Vec::<String>::new();
        assert_eq!(batch.push("t", &21.5.into(), at(0)).unwrap(), none);
        assert_eq!(
            batch.push("valve \"1\"", &"open".into(), at(250)).unwrap(),
            none
        );
        let full = batch.push("on", &true.into(), at(1_000)).unwrap();
        assert_eq!(
            full,
            [concat!(
                r#"{"schema":1,"device":"meter-17","sequence":1,"readings":["#,
                r#"{"t":1795959000000,"n":"t","v":21.5},"#,
                r#"{"t":1795959000250,"n":"valve \"1\"","v":"open"},"#,
                r#"{"t":1795959001000,"n":"on","v":true}]}"#
            )]
        );
        assert_eq!(batch.due(), None);
        assert_eq!(batch.take(at(2_000)), None);
        assert!(batch.push("t", &1.into(), at(3_000)).unwrap().is_empty());
        assert!(batch.take(at(3_000)).unwrap().contains(r#""sequence":2"#));
    }

    #[test]
    fn no_message_is_longer_than_it_may_be_and_none_waits_longer() {
        let mut batch = batch(BATCH_COUNT_MAX, 512);
        let mut messages = Vec::new();
        for number in 0_u64..1_000 {
            let name = "n".repeat(usize::try_from(number % 200).unwrap() + 1);
            messages.extend(batch.push(&name, &number.into(), at(number)).unwrap());
            assert!(batch.due().unwrap() <= at(number).instant + BATCH_DELAY_DEFAULT);
        }
        messages.extend(batch.take(at(1_000)));
        let mut values = Vec::new();
        for message in messages {
            assert!(message.len() <= 512, "{}", message.len());
            let message: Value = serde_json::from_str(&message).unwrap();
            let readings = message["readings"].as_array().unwrap();
            values.extend(
                readings
                    .iter()
                    .map(|reading| reading["v"].as_u64().unwrap()),
            );
        }
        assert_eq!(
            values,
            (0..1_000).collect::<Vec<_>>(),
            "first in, first out"
        );
    }

    #[test]
    fn a_device_that_learns_the_time_late_still_tells_when_it_measured() {
        let mut batch = batch(10, 8_192);
        let in_1970 = Now {
            wall: UNIX_EPOCH + Duration::from_secs(20),
            ..at(0)
        };
        assert!(batch.push("t", &1.into(), in_1970).unwrap().is_empty());
        let message = batch.take(at(5_000)).unwrap();
        assert!(message.contains(r#"{"t":1795959000000,"#), "{message}");
        // And where it never does, it is not before all time.
        assert!(batch.push("t", &1.into(), at(0)).unwrap().is_empty());
        let early = Now {
            wall: UNIX_EPOCH,
            ..at(9_000)
        };
        assert!(batch.take(early).unwrap().contains(r#"{"t":0,"#));
    }

    #[test]
    fn what_is_no_reading_is_refused() {
        let mut batch = batch(10, 8_192);
        let long = "x".repeat(READING_BYTES_MAX + 1);
        for (name, value, expected) in [
            ("", Value::from(1), ReadingError::Name),
            (long.as_str(), Value::from(1), ReadingError::Name),
            ("a", Value::from(long.as_str()), ReadingError::Value),
            ("a", Value::Null, ReadingError::Value),
            ("a", Value::from(vec![1]), ReadingError::Value),
            // As serde_json has one that is not finite.
            ("a", Value::from(f64::NAN), ReadingError::Value),
        ] {
            assert_eq!(batch.push(name, &value, at(0)), Err(expected));
        }
        assert_eq!(batch.due(), None);
    }
}
