//! What the cloud asks to be spared: no connection until a time, or fewer messages for a while.
//!
//! It is honoured by the connection of the agent and by the renewal of its certificate, and written into
//! the state directory, so that a device that is started again in the middle of it does not come back
//! early. It is asked for by the program, and by the commands `agent.block` with `seconds`, and
//! `agent.throttle` with `rate` and `seconds`; `agent.resume` ends both.
//!
//! A rate is the lower one of what is asked for and what holds without. A block is longer than asked by
//! the device's own part of a tenth of it, of [`BLOCK_SPREAD_MIN`] at least: devices that were told the
//! same do not come back together.
//!
//! While the agent runs, the clock that never steps decides. What is written has how much is left, and
//! when that was by the wall clock. At a start the time since then is taken off if the wall clock was
//! set then and is now; else the rest counts from the start, less [`BLOCK_NOTE_MAX`], so that a device
//! without a clock that is on for a short while each day does come back. What is over is removed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fiber::Instant;
use mqtt::Client;
use mqtt::session::PublishRate;
use safe_rt::{ClockFloor, ClockVerdict};
use serde_json::Value;

use super::away::{Away, Reason};
use super::state_file::StateFile;
use crate::json;

/// The longest that the cloud may ask to be left alone, or to be sent less.
pub const BLOCK_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// What a block is longer by than asked for, at the most of all devices, if it is short.
pub const BLOCK_SPREAD_MIN: Duration = Duration::from_secs(60);
/// How often it is written down how much of a block is left.
pub const BLOCK_NOTE_MAX: Duration = Duration::from_secs(600);
/// Messages in a second that may be asked for at most.
pub const THROTTLE_RATE_MAX: u32 = 100_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spared {
    /// No connection is made before.
    pub blocked_until: Option<SystemTime>,
    /// Messages in a second, until then.
    pub rate: Option<(u32, SystemTime)>,
}

/// The same by the clock that never steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    blocked: Option<Instant>,
    rate: Option<(u32, Instant)>,
}

/// At most `asked` messages in a second, and no more than usual.
fn slower(asked: u32, usual: Option<PublishRate>) -> PublishRate {
    let Some(usual) = usual else {
        return PublishRate::per_second(asked, asked);
    };
    let burst = usual.burst.min(asked);
    if f64::from(usual.count) <= f64::from(asked) * usual.per.as_secs_f64() {
        PublishRate { burst, ..usual }
    } else {
        PublishRate::per_second(asked, burst)
    }
}

impl Ends {
    /// What still counts.
    fn at(self, now: Instant) -> Self {
        Self {
            blocked: self.blocked.filter(|until| *until > now),
            rate: self.rate.filter(|(_, until)| *until > now),
        }
    }

    fn to_json(self, now: Instant, wall: SystemTime, is_set: bool) -> String {
        let millis =
            |length: Duration| Value::from(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        let mut parts = vec![("schema", Value::from(1))];
        if let Some(until) = self.blocked {
            parts.push(("blocked_left_ms", millis(until - now)));
        }
        if let Some((rate, until)) = self.rate {
            parts.push(("rate", rate.into()));
            parts.push(("rate_left_ms", millis(until - now)));
        }
        if is_set {
            let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
            parts.push(("written_ms", millis(since)));
        }
        json::object(&parts)
    }

    /// What was written, as it counts at a start. Times of an earlier version are dates.
    fn of_json(value: &Value, now: Instant, wall: SystemTime, is_set: bool) -> Self {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = value["written_ms"].as_u64().map(Duration::from_millis);
        // Without both clocks nobody knows how long ago that was.
        let passed = written
            .filter(|_| is_set)
            .and_then(|written| since.checked_sub(written))
            .unwrap_or(BLOCK_NOTE_MAX);
        let until = |left: &str, date: &str| {
            let left = match (value[left].as_u64(), value[date].as_u64()) {
                (Some(left), _) => Duration::from_millis(left).checked_sub(passed)?,
                (None, Some(date)) if is_set => Duration::from_millis(date).checked_sub(since)?,
                _ => return None,
            };
            (!left.is_zero()).then(|| now + left.min(LEFT_MAX))
        };
        let rate = value["rate"]
            .as_u64()
            .and_then(|rate| u32::try_from(rate).ok());
        Self {
            blocked: until("blocked_left_ms", "blocked_until"),
            rate: rate.and_then(|rate| {
                let until = until("rate_left_ms", "rate_until")?;
                Some((rate.clamp(1, THROTTLE_RATE_MAX), until))
            }),
        }
    }
}

/// What can be left of anything.
const LEFT_MAX: Duration = Duration::from_secs(BLOCK_MAX.as_secs() / 10 * 11);

/// A time and the part of its tenth that is this device's.
fn spread(length: Duration, share: f64) -> Duration {
    let most = (length / 10).max(BLOCK_SPREAD_MIN);
    length + most.mul_f64(share.clamp(0.0, 1.0))
}

/// What the cloud asked to be spared, honoured and kept. Clones share it.
#[derive(Clone)]
pub struct Throttle(Rc<Shared>);

struct Shared {
    client: Client,
    away: Away,
    /// The rate that holds without a throttle.
    usual: Cell<Option<PublishRate>>,
    /// The rate that the client has.
    rate: Cell<Option<PublishRate>>,
    ends: Cell<Ends>,
    /// The part of this device in what is spread over all.
    share: f64,
    floor: ClockFloor,
    file: StateFile,
    /// When what is left was written last.
    noted: Cell<Instant>,
    changed: fiber::Event,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.ends.get().fmt(f)
    }
}

impl Throttle {
    /// Reads what was asked for before, and honours it. Yields.
    pub(crate) fn open(
        client: Client,
        away: Away,
        usual: Option<PublishRate>,
        share: f64,
        floor: ClockFloor,
        state_dir: Option<&std::path::Path>,
    ) -> Self {
        let file = StateFile::new(state_dir, "throttle.json");
        let written = file.read();
        let (now, wall) = (Instant::now(), fiber::wall_time());
        let is_set = matches!(floor.check(wall), ClockVerdict::Plausible);
        let ends = written
            .as_ref()
            .map(|value| Ends::of_json(value, now, wall, is_set));
        let throttle = Self(Rc::new(Shared {
            client,
            away,
            usual: Cell::new(usual),
            rate: Cell::new(usual),
            ends: Cell::new(ends.unwrap_or_default()),
            share,
            floor,
            file,
            noted: Cell::new(now),
            changed: fiber::Event::new(),
        }));
        throttle.apply();
        if written.is_some() {
            // So that each start counts.
            throttle.note();
        }
        throttle
    }

    /// What is asked for at present, by the wall clock.
    #[must_use]
    pub fn spared(&self) -> Spared {
        let (now, wall) = (Instant::now(), fiber::wall_time());
        let ends = self.0.ends.get().at(now);
        Spared {
            blocked_until: ends.blocked.map(|until| wall + (until - now)),
            rate: ends.rate.map(|(rate, until)| (rate, wall + (until - now))),
        }
    }

    /// Makes no connection for that long, [`BLOCK_MAX`] at most, and a part of it that is this device's
    /// own; leaves the one there is. Yields until that is written; it counts also where it cannot be.
    pub fn block_for(&self, length: Duration) {
        let length = spread(length.min(BLOCK_MAX), self.0.share);
        let mut ends = self.0.ends.get();
        ends.blocked = Some(Instant::now() + length);
        self.change(ends);
    }

    /// Sends no more than so many messages in a second for that long, [`BLOCK_MAX`] at most, and no more
    /// than without it. Yields as [`Throttle::block_for`] does.
    pub fn slow_down(&self, per_second: u32, length: Duration) {
        let until = Instant::now() + length.min(BLOCK_MAX);
        let rate = per_second.clamp(1, THROTTLE_RATE_MAX);
        let mut ends = self.0.ends.get();
        ends.rate = Some((rate, until));
        self.change(ends);
    }

    /// Nothing is asked for any more. Yields as [`Throttle::block_for`] does.
    pub fn resume(&self) {
        self.change(Ends::default());
    }

    /// Sets the rate that holds without a throttle. Does not yield.
    pub(crate) fn set_usual(&self, rate: Option<PublishRate>) {
        self.0.usual.set(rate);
        self.apply();
    }

    fn change(&self, ends: Ends) {
        self.0.ends.set(ends);
        self.apply();
        // Before others look: this is what is written next.
        self.0.noted.set(Instant::now());
        self.0.changed.set();
        self.note();
    }

    /// Writes down what is left. Yields.
    fn note(&self) {
        let json = || {
            let (now, wall) = (Instant::now(), fiber::wall_time());
            let is_set = matches!(self.0.floor.check(wall), ClockVerdict::Plausible);
            self.0.noted.set(now);
            self.0.ends.get().at(now).to_json(now, wall, is_set)
        };
        if let Err(error) = self.0.file.write(json) {
            log::warn!("what the cloud asked to be spared is not kept: {error}");
        }
    }

    /// Has the client honour it.
    fn apply(&self) {
        let ends = self.0.ends.get().at(Instant::now());
        self.0.away.set(Reason::Blocked, ends.blocked);
        let usual = self.0.usual.get();
        let rate = match ends.rate {
            Some((asked, _)) => Some(slower(asked, usual)),
            None => usual,
        };
        if self.0.rate.replace(rate) != rate {
            self.0.client.set_publish_rate(rate);
        }
    }

    /// Waits until nothing blocks. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`](fiber::Stopped).
    #[cfg(any(feature = "provision", test))]
    pub(crate) fn wait_unblocked(&self) -> Result<(), fiber::Stopped> {
        while let Some(until) = self.0.ends.get().at(Instant::now()).blocked {
            // It may be taken back meanwhile.
            fiber::sleep_until(until.min(Instant::now() + Duration::from_secs(1)))?;
        }
        Ok(())
    }

    /// Ends what is over, and notes how much is left of the rest, until it is stopped: the body of a
    /// fiber. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`](fiber::Stopped), always.
    pub(crate) fn serve(&self) -> Result<(), fiber::Stopped> {
        loop {
            self.0.changed.clear();
            let now = Instant::now();
            let before = self.0.ends.get();
            let counts = before.at(now);
            if counts != before {
                self.0.ends.set(counts);
                self.apply();
            }
            let is_any = counts != Ends::default();
            if counts != before || (is_any && now >= self.0.noted.get() + BLOCK_NOTE_MAX) {
                self.note();
            }
            let ends = [counts.blocked, counts.rate.map(|(_, until)| until)];
            let note = is_any.then(|| self.0.noted.get().max(now) + BLOCK_NOTE_MAX);
            let next = ends.into_iter().flatten().chain(note).min();
            if let Err(error) = fiber::select(&[&self.0.changed], next) {
                return Err(fiber::cause(&error).unwrap_or(fiber::Stopped::NoRuntime));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

    /// The wall clock so long after it was set right.
    fn wall(since: Duration) -> SystemTime {
        ClockFloor::new().earliest() + since
    }

    fn blocked(left: Duration) -> Ends {
        Ends {
            blocked: Some(NOW + left),
            rate: Some((5, NOW + 2 * left)),
        }
    }

    fn read(json: &str, wall: SystemTime, is_set: bool) -> Ends {
        Ends::of_json(&serde_json::from_str(json).unwrap(), NOW, wall, is_set)
    }

    #[test]
    fn the_time_since_it_was_written_is_taken_off_where_it_is_known() {
        let json = blocked(HOUR).to_json(NOW, wall(HOUR), true);
        let after = |passed| read(&json, wall(HOUR + passed), true).blocked;
        assert_eq!(after(Duration::ZERO), Some(NOW + HOUR));
        assert_eq!(after(HOUR / 3), Some(NOW + (HOUR - HOUR / 3)));
        // An expired one does not come back, wherever the clock is.
        assert_eq!(after(HOUR), None);
        assert_eq!(after(1_000 * HOUR), None);
        let slow = read(&json, wall(HOUR + HOUR), true).rate;
        assert_eq!(slow, Some((5, NOW + HOUR)));
    }

    #[test]
    fn without_a_clock_the_rest_counts_from_the_start_and_each_start_costs_some_of_it() {
        let in_1970 = UNIX_EPOCH + Duration::from_secs(20);
        let mut json = blocked(HOUR).to_json(NOW, wall(HOUR), true);
        let mut starts = 0;
        loop {
            let ends = read(&json, in_1970, false);
            let Some(until) = ends.blocked else { break };
            starts += 1;
            assert!(until <= NOW + (HOUR - BLOCK_NOTE_MAX * starts), "{starts}");
            // It is switched off at once.
            json = ends.to_json(NOW, in_1970, false);
        }
        assert_eq!(starts, 5);
        // It was written without a clock, and there is one now.
        let json = blocked(HOUR).to_json(NOW, in_1970, false);
        let ends = read(&json, wall(HOUR), true);
        assert_eq!(ends.blocked, Some(NOW + (HOUR - BLOCK_NOTE_MAX)));
    }

    #[test]
    fn odd_contents_are_nothing_and_nothing_is_longer_than_may_be_asked_for() {
        for odd in [
            "{}",
            r#"{"blocked_left_ms":"soon","rate":-1,"rate_left_ms":5}"#,
            r#"{"rate":5}"#,
            r#"{"blocked_until":1000}"#,
        ] {
            assert_eq!(read(odd, wall(HOUR), true), Ends::default(), "{odd}");
        }
        let far = read(r#"{"blocked_left_ms":4000000000000000}"#, wall(HOUR), true);
        assert_eq!(far.blocked, Some(NOW + LEFT_MAX));
    }

    #[test]
    fn devices_that_were_told_the_same_come_back_one_after_the_other() {
        let ends: Vec<Duration> = (0..100)
            .map(|number| {
                let share = super::super::schedule::share_of(&format!("meter-{number}"));
                spread(HOUR, share)
            })
            .collect();
        for window in 0..360 {
            let from = HOUR + Duration::from_secs(window);
            let until = from + Duration::from_secs(1);
            let together = ends
                .iter()
                .filter(|end| (from..until).contains(*end))
                .count();
            assert!(together <= 10, "{together} in one second");
        }
        assert!(
            ends.iter()
                .all(|end| (HOUR..=HOUR + HOUR / 10).contains(end))
        );
    }
}
