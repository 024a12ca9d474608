//! Telemetry in batches: readings are gathered and sent as one message, each with its own time.
//!
//! ```text
//!   {"schema":1,"device":"meter-17","boot":"5be1c0ffee017a2d","sequence":12,
//!    "t":1795959002000,"up":93000,"readings":[
//!     {"t":1795959000123,"n":"temperature","v":21.5},
//!     {"t":1795959001123,"n":"valve","v":"open"}]}
//! ```
//! `t` is when the reading was taken, in milliseconds of Unix time; `n` its name, `v` its value: a
//! number, a text or a boolean. A message is made when there are [`BatchOptions::count_max`] readings,
//! when the next one would make it longer than [`BatchOptions::bytes_max`], and when the oldest has
//! waited for [`BatchOptions::delay_max`]; readings leave in the order in which they were taken. The
//! agent's own figures (`[telemetry]`) are readings with more parts and no name.
//!
//! A reading's time is kept by the clock that never steps and told as the wall clock has it when the
//! message goes into the queue. That is the message's own `t`, with `up`, the milliseconds since the
//! agent was started, beside it; `boot` is another text at each start. While the wall clock shows a
//! time that is past for certain, the message has `"clock":"unset"`: the times in it are right among
//! themselves, and any message of the same `boot` without that part tells what to add,
//! (`t` - `up`) there less (`t` - `up`) here.
//!
//! `sequence` counts the messages of a `boot` from 1; a gap is a message that was lost, and one that
//! comes twice is the same.
//!
//! # What is kept
//!
//! A reading is in memory until its message is made and in the queue; a loss of power takes what was
//! taken since then, [`BatchOptions::count_max`] less one readings of the last
//! [`BatchOptions::delay_max`] at most. A stop in order puts it into the queue. A message that finds no
//! room there is kept and tried again, while another one fills; after that readings are refused, and
//! none is dropped.
//!
//! Pure: both clocks are arguments.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::Instant;
use safe_rt::{ClockFloor, ClockVerdict};
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

/// Why something is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadingError {
    /// The name is empty or too long.
    Name,
    /// The value is too long, is a list or an object, or is no finite number.
    Value,
    /// A message with it alone would be longer than [`BatchOptions::bytes_max`].
    Message,
}

impl std::fmt::Display for ReadingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name => write!(f, "expected a name of 1 to {READING_BYTES_MAX} bytes"),
            Self::Value => write!(
                f,
                "expected a finite number, a boolean or a text of at most {READING_BYTES_MAX} bytes"
            ),
            Self::Message => f.write_str("it is longer than a message may be"),
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
    /// That shows no time that is past for certain.
    pub(crate) is_set: bool,
}

impl Now {
    /// Reads them.
    pub(crate) fn read(floor: &ClockFloor) -> Self {
        let wall = fiber::wall_time();
        Self {
            instant: Instant::now(),
            wall,
            is_set: matches!(floor.check(wall), ClockVerdict::Plausible),
        }
    }
}

/// A reading that fits into a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    taken: Instant,
    /// `"n":..,"v":..` as it will stand in the message.
    text: String,
}

/// Digits of a time in a message, and what else a reading takes there beside its text.
const READING_OVERHEAD: usize = "{\"t\":,},".len() + 20;
/// What a message takes beside its readings and the device.
const HEAD_OVERHEAD: usize =
    "{\"schema\":1,\"device\":,\"boot\":\"\",\"sequence\":,\"t\":,\"up\":,\"clock\":\"unset\",\"readings\":[]}"
        .len()
        + 3 * 20;

/// There is a message that waits, and another one is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Readings on their way into a message: those that are gathered, and those of a message that is full.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    device: String,
    boot: String,
    began: Instant,
    options: BatchOptions,
    open: Vec<Reading>,
    /// Of the open ones, in a message.
    bytes: usize,
    /// Those that are to leave first.
    closed: VecDeque<Reading>,
    /// How many of them the next message has.
    part: usize,
    sequence: u64,
}

impl Batch {
    /// `boot` stands for this start of the device, which was at `began`.
    pub(crate) fn new(
        device: impl Into<String>,
        boot: impl Into<String>,
        began: Instant,
        options: BatchOptions,
    ) -> Self {
        Self {
            device: device.into(),
            boot: boot.into(),
            began,
            options: options.within_bounds(),
            open: Vec::new(),
            bytes: 0,
            closed: VecDeque::new(),
            part: 0,
            sequence: 0,
        }
    }

    /// Gathers by other options from now on; of what there is already the next message is made as soon
    /// as they say.
    pub(crate) fn set_options(&mut self, options: BatchOptions) {
        self.options = options.within_bounds();
    }

    /// A reading of this name and value.
    pub(crate) fn reading(
        &self,
        name: &str,
        value: &Value,
        taken: Instant,
    ) -> Result<Reading, ReadingError> {
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
        self.fits(Reading { taken, text })
    }

    /// One that has these parts, which are JSON.
    pub(crate) fn sample(
        &self,
        parts: &[(&str, String)],
        taken: Instant,
    ) -> Result<Reading, ReadingError> {
        let parts = parts
            .iter()
            .map(|(name, value)| format!("{}:{value}", Value::from(*name)));
        let text = parts.collect::<Vec<_>>().join(",");
        self.fits(Reading { taken, text })
    }

    fn fits(&self, reading: Reading) -> Result<Reading, ReadingError> {
        if self.head_bytes() + reading.bytes() > self.options.bytes_max {
            return Err(ReadingError::Message);
        }
        Ok(reading)
    }

    /// Whether the reading can be taken without anything being sent before.
    pub(crate) fn has_room_for(&self, reading: &Reading) -> bool {
        self.closed.is_empty() || !self.is_full_for(reading)
    }

    fn is_full_for(&self, reading: &Reading) -> bool {
        self.is_full() || self.head_bytes() + self.bytes + reading.bytes() > self.options.bytes_max
    }

    fn is_full(&self) -> bool {
        self.open.len() >= self.options.count_max
    }

    /// Takes a reading. A message that is full by it is closed, if none is.
    pub(crate) fn push(&mut self, reading: Reading) -> Result<(), NoRoom> {
        if self.is_full_for(&reading) && !self.close() {
            return Err(NoRoom);
        }
        self.bytes += reading.bytes();
        self.open.push(reading);
        if self.is_full() {
            self.close();
        }
        Ok(())
    }

    /// Has the open readings leave next; false if there are none, or others are to leave before.
    pub(crate) fn close(&mut self) -> bool {
        if !self.closed.is_empty() || self.open.is_empty() {
            return false;
        }
        self.bytes = 0;
        self.closed = std::mem::take(&mut self.open).into();
        self.part = self.closed.len();
        true
    }

    /// Whether there is a message that is to leave.
    pub(crate) fn is_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    /// Readings that have not left.
    pub(crate) fn len(&self) -> usize {
        self.closed.len() + self.open.len()
    }

    /// When the open readings are due whatever comes, if there are any.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.open.first()?.taken + self.options.delay_max)
    }

    /// The message that is to leave, as it is now.
    pub(crate) fn message(&self, now: Now) -> Option<String> {
        if self.closed.is_empty() {
            return None;
        }
        let millis = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis().to_string()
        };
        let readings = self.closed.iter().take(self.part).map(|reading| {
            let age = now.instant - reading.taken;
            let taken = now.wall.checked_sub(age).unwrap_or(UNIX_EPOCH);
            format!("{{\"t\":{},{}}}", millis(taken), reading.text)
        });
        let text = |text: &str| Value::from(text).to_string();
        let mut parts = vec![
            ("schema", "1".to_owned()),
            ("device", text(&self.device)),
            ("boot", text(&self.boot)),
            ("sequence", (self.sequence + 1).to_string()),
            ("t", millis(now.wall)),
            ("up", (now.instant - self.began).as_millis().to_string()),
        ];
        if !now.is_set {
            parts.push(("clock", text("unset")));
        }
        parts.push(("readings", json::array(readings)));
        Some(json::object_of(&parts))
    }

    /// The message that was to leave has left.
    pub(crate) fn sent(&mut self) {
        self.sequence += 1;
        self.closed.drain(..self.part.min(self.closed.len()));
        self.part = self.closed.len();
        if self.is_full() {
            self.close();
        }
    }

    /// The message that is to leave is too large, or is never taken for another reason: the next one has
    /// half of its readings. Returns how many are lost by that: one that was alone.
    pub(crate) fn halve(&mut self) -> usize {
        if self.part > 1 {
            self.part /= 2;
            return 0;
        }
        let lost = self.part.min(self.closed.len());
        self.sent();
        lost
    }

    /// What a message takes beside its readings, at most.
    fn head_bytes(&self) -> usize {
        let bytes = |text: &str| Value::from(text).to_string().len();
        HEAD_OVERHEAD + bytes(&self.device) + self.boot.len()
    }
}

impl Reading {
    const fn bytes(&self) -> usize {
        self.text.len() + READING_OVERHEAD
    }
}
