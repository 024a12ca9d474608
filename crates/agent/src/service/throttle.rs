//! What the cloud asks to be spared: no connection until a time, or fewer messages for a while.
//!
//! It is honoured by every part of the agent that talks to the cloud, and written into the state
//! directory, so that a device that is started again in the middle of it does not come back early.
//! It may be asked for by an answer to a request (`Retry-After`), by the program, and by the commands
//! `agent.block` with `seconds`, and `agent.throttle` with `rate` and `seconds`; `agent.resume` ends
//! both.
//!
//! Times are written by the wall clock, as nothing else outlives a start. So that a clock that jumps
//! makes no device silent for years, what is read counts for [`BLOCK_MAX`] from now at most.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mqtt::Client;
use mqtt::session::PublishRate;
use serde_json::Value;

use super::away::{Away, Reason};
use super::state_file::StateFile;
use crate::json;

/// The longest that the cloud may ask to be left alone, or to be sent less.
pub const BLOCK_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
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

impl Spared {
    /// What still counts at `now`.
    #[must_use]
    pub fn at(self, now: SystemTime) -> Self {
        let end = now + BLOCK_MAX;
        let bound = |until: SystemTime| (until > now).then(|| until.min(end));
        Self {
            blocked_until: self.blocked_until.and_then(bound),
            rate: self
                .rate
                .and_then(|(rate, until)| Some((rate, bound(until)?))),
        }
    }

    fn to_json(self) -> String {
        let millis = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Value::from(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
        };
        let mut parts = vec![("schema", Value::from(1))];
        if let Some(until) = self.blocked_until {
            parts.push(("blocked_until", millis(until)));
        }
        if let Some((rate, until)) = self.rate {
            parts.push(("rate", rate.into()));
            parts.push(("rate_until", millis(until)));
        }
        json::object(&parts)
    }

    fn of_json(value: &Value) -> Self {
        let time = |name: &str| {
            let millis = value[name].as_u64()?;
            UNIX_EPOCH.checked_add(Duration::from_millis(millis))
        };
        let rate = value["rate"]
            .as_u64()
            .and_then(|rate| u32::try_from(rate).ok());
        Self {
            blocked_until: time("blocked_until"),
            rate: rate
                .and_then(|rate| Some((rate.clamp(1, THROTTLE_RATE_MAX), time("rate_until")?))),
        }
    }
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
    spared: RefCell<Spared>,
    file: StateFile,
    changed: fiber::Event,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.spared.borrow().fmt(f)
    }
}

impl Throttle {
    /// Reads what was asked for before, and honours it. Yields.
    pub(crate) fn open(
        client: Client,
        away: Away,
        usual: Option<PublishRate>,
        state_dir: Option<&std::path::Path>,
    ) -> Self {
        let file = StateFile::new(state_dir, "throttle.json");
        let spared = file
            .read()
            .as_ref()
            .map(Spared::of_json)
            .unwrap_or_default();
        let throttle = Self(Rc::new(Shared {
            client,
            away,
            usual: Cell::new(usual),
            rate: Cell::new(usual),
            spared: RefCell::new(spared.at(fiber::wall_time())),
            file,
            changed: fiber::Event::new(),
        }));
        throttle.apply();
        throttle
    }

    /// What is asked for at present.
    #[must_use]
    pub fn spared(&self) -> Spared {
        self.0.spared.borrow().at(fiber::wall_time())
    }

    /// Makes no connection for that long, [`BLOCK_MAX`] at most, and leaves the one there is. Yields
    /// until that is written; it counts also where it cannot be.
    pub fn block_for(&self, length: Duration) {
        let until = fiber::wall_time() + length.min(BLOCK_MAX);
        self.0.spared.borrow_mut().blocked_until = Some(until);
        self.change();
    }

    /// Sends no more than so many messages in a second for that long, [`BLOCK_MAX`] at most. Yields as
    /// [`Throttle::block_for`] does.
    pub fn slow_down(&self, per_second: u32, length: Duration) {
        let until = fiber::wall_time() + length.min(BLOCK_MAX);
        let rate = per_second.clamp(1, THROTTLE_RATE_MAX);
        self.0.spared.borrow_mut().rate = Some((rate, until));
        self.change();
    }

    /// Nothing is asked for any more. Yields as [`Throttle::block_for`] does.
    pub fn resume(&self) {
        *self.0.spared.borrow_mut() = Spared::default();
        self.change();
    }

    /// Sets the rate that holds without a throttle. Does not yield.
    pub(crate) fn set_usual(&self, rate: Option<PublishRate>) {
        self.0.usual.set(rate);
        self.apply();
    }

    fn change(&self) {
        self.apply();
        self.0.changed.set();
        let json = self.spared().to_json();
        if let Err(error) = self.0.file.write(json) {
            log::warn!("what the cloud asked to be spared is not kept: {error}");
        }
    }

    /// Has the client honour it.
    fn apply(&self) {
        let now = fiber::wall_time();
        let spared = self.0.spared.borrow().at(now);
        let left = |until: SystemTime| until.duration_since(now).unwrap_or_default();
        let blocked = spared.blocked_until;
        let blocked = blocked.map(|until| fiber::Instant::now() + left(until));
        self.0.away.set(Reason::Blocked, blocked);
        let rate = spared.rate.map_or_else(
            || self.0.usual.get(),
            |(rate, _)| Some(PublishRate::per_second(rate, rate)),
        );
        if self.0.rate.replace(rate) != rate {
            self.0.client.set_publish_rate(rate);
        }
    }

    /// Ends what is over, until it is stopped: the body of a fiber. Yields.
    ///
    /// # Errors
    ///
    /// [`Stopped`](fiber::Stopped), always.
    pub(crate) fn serve(&self) -> Result<(), fiber::Stopped> {
        loop {
            self.0.changed.clear();
            let before = *self.0.spared.borrow();
            let now = fiber::wall_time();
            let counts = before.at(now);
            if counts != before {
                *self.0.spared.borrow_mut() = counts;
                self.apply();
            }
            let ends = [counts.blocked_until, counts.rate.map(|(_, until)| until)];
            let next = ends.into_iter().flatten().min();
            let again = next.map(|until| {
                let left = until.duration_since(now).unwrap_or_default();
                // A jump of the wall clock is found out soon.
                fiber::Instant::now() + left.min(super::windows::CLOCK_LOOK_MAX)
            });
            if let Err(error) = fiber::select(&[&self.0.changed], again) {
                return Err(fiber::cause(&error).unwrap_or(fiber::Stopped::NoRuntime));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn at(secs: u64) -> SystemTime {
        NOW + Duration::from_secs(secs)
    }

    #[test]
    fn what_is_over_does_not_count_and_what_is_too_far_off_counts_for_a_bounded_time() {
        let spared = Spared {
            blocked_until: Some(at(100)),
            rate: Some((5, at(200))),
        };
        assert_eq!(spared.at(at(99)), spared);
        assert_eq!(spared.at(at(100)).blocked_until, None);
        assert_eq!(spared.at(at(199)).rate, Some((5, at(200))));
        assert_eq!(spared.at(at(200)), Spared::default());
        let far = Spared {
            blocked_until: Some(at(4_000_000_000)),
            rate: None,
        };
        assert_eq!(far.at(NOW).blocked_until, Some(NOW + BLOCK_MAX));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_odd_contents_are_nothing() {
        let spared = Spared {
            blocked_until: Some(at(100)),
            rate: Some((5, at(200))),
        };
        let json = spared.to_json();
        assert_eq!(
            json,
            r#"{"schema":1,"blocked_until":100000,"rate":5,"rate_until":200000}"#
        );
        let read = |json: &str| Spared::of_json(&serde_json::from_str(json).unwrap());
        assert_eq!(read(&json), spared);
        for odd in [
            "{}",
            r#"{"blocked_until":"soon","rate":-1,"rate_until":5}"#,
            r#"{"rate":5}"#,
        ] {
            assert_eq!(read(odd), Spared::default(), "{odd}");
        }
        assert_eq!(
            read(r#"{"rate":0,"rate_until":1000}"#).rate,
            Some((1, at(1)))
        );
    }
}
