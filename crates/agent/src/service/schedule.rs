//! When the device is to be connected: windows that begin by a cron expression and last for a while.
//!
//! ```text
//!   cron "0 6 * * *", duration 20m, jitter 5m
//!                06:00   06:03             06:23
//!   ────closed─────┼───────╞═══════ open ════╡─────closed────►
//!                  └ jitter┘
//! ```
//! Pure: the wall time is an argument, and so is the part of the jitter that a device takes, which is
//! the same for all its windows so that they keep their distance. Times are in UTC. What a window is
//! at some time depends on that time alone: after a jump of the clock it is asked again, and nothing
//! that was planned before counts.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cron::Cron;

/// Cron expressions of one schedule.
pub const SCHEDULE_WINDOWS_MAX: usize = 32;
/// The shortest window: a connection over a slow link takes that long to be made.
pub const WINDOW_DURATION_MIN: Duration = Duration::from_secs(10);
/// The longest window.
pub const WINDOW_DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The length of a window unless set otherwise.
pub const WINDOW_DURATION_DEFAULT: Duration = Duration::from_secs(10 * 60);
/// The most that windows may begin later than their expression says.
pub const WINDOW_JITTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// When the device is to be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Cron expressions of five fields, in UTC, at each of which a window begins. Without any the
    /// device is connected always.
    pub windows: Vec<String>,
    /// How long a window lasts.
    pub duration: Duration,
    /// By how much a window begins later at most; each device takes a part of it by its own name.
    pub jitter: Duration,
    /// How long after the start of the program the first connection is made at the earliest.
    pub delay: Duration,
    /// Whether what is published between windows has a connection made for it.
    pub on_demand: bool,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            duration: WINDOW_DURATION_DEFAULT,
            jitter: Duration::ZERO,
            delay: Duration::ZERO,
            on_demand: false,
        }
    }
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleError {
    /// It is no cron expression.
    Expression {
        /// The text.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There are more than [`SCHEDULE_WINDOWS_MAX`] of them.
    TooMany(usize),
    /// The length of a window is out of its bounds.
    WindowLength(Duration),
    /// The jitter is more than [`WINDOW_JITTER_MAX`].
    Jitter(Duration),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression { found, reason } => write!(
                f,
                "expected a cron expression of five fields such as \"0 6 * * *\", found {found:?}: {reason}"
            ),
            Self::TooMany(found) => write!(
                f,
                "expected at most {SCHEDULE_WINDOWS_MAX} windows, found {found}"
            ),
            Self::WindowLength(found) => write!(
                f,
                "expected a window of {} s to {} s, found {} s",
                WINDOW_DURATION_MIN.as_secs(),
                WINDOW_DURATION_MAX.as_secs(),
                found.as_secs()
            ),
            Self::Jitter(found) => write!(
                f,
                "expected a jitter of at most {} s, found {} s",
                WINDOW_JITTER_MAX.as_secs(),
                found.as_secs()
            ),
        }
    }
}

impl std::error::Error for ScheduleError {}

/// Checks one cron expression.
pub(crate) fn check_expression(text: &str) -> Result<(), String> {
    Cron::parse(text).map(drop)
}

/// What a schedule says of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Plan {
    /// There is no schedule: connected always.
    Always,
    /// A window is open.
    Open {
        /// When it is over.
        until: SystemTime,
    },
    /// No window is open.
    Closed {
        /// When the next one begins; `None` if none ever does.
        until: Option<SystemTime>,
    },
}

/// Windows, checked.
#[derive(Clone, Debug)]
pub struct Schedule {
    windows: Vec<Cron>,
    duration: Duration,
    shift: Duration,
}

impl Schedule {
    /// Checks the options. `share` says which part of the jitter is this device's, see [`share_of`].
    ///
    /// # Errors
    ///
    /// [`ScheduleError`]: the first thing that is wrong.
    pub fn new(options: &ScheduleOptions, share: f64) -> Result<Self, ScheduleError> {
        if options.windows.len() > SCHEDULE_WINDOWS_MAX {
            return Err(ScheduleError::TooMany(options.windows.len()));
        }
        if !(WINDOW_DURATION_MIN..=WINDOW_DURATION_MAX).contains(&options.duration) {
            return Err(ScheduleError::WindowLength(options.duration));
        }
        if options.jitter > WINDOW_JITTER_MAX {
            return Err(ScheduleError::Jitter(options.jitter));
        }
        let parse = |text: &String| {
            Cron::parse(text).map_err(|reason| ScheduleError::Expression {
                found: text.clone(),
                reason,
            })
        };
        Ok(Self {
            windows: options
                .windows
                .iter()
                .map(parse)
                .collect::<Result<_, _>>()?,
            duration: options.duration,
            shift: options.jitter.mul_f64(share.clamp(0.0, 1.0)),
        })
    }

    /// What is to be at that time. Windows that overlap or touch are one.
    #[must_use]
    pub fn at(&self, now: SystemTime) -> Plan {
        if self.windows.is_empty() {
            return Plan::Always;
        }
        let mut until = now;
        // Each turn finds a window that ends later; overlapping ones may have no end at all.
        for _ in 0..SCHEDULE_WINDOWS_MAX {
            match self.last_end(until) {
                Some(end) if end > until => until = end,
                _ => break,
            }
        }
        if until > now {
            return Plan::Open { until };
        }
        Plan::Closed {
            until: self.next_start(now),
        }
    }

    /// The starts of the next windows, at most so many, in order.
    #[must_use]
    pub fn next(&self, now: SystemTime, count: usize) -> Vec<SystemTime> {
        let mut starts = Vec::new();
        let mut from = now;
        while starts.len() < count {
            let Some(start) = self.next_start(from) else {
                break;
            };
            starts.push(start);
            from = start;
        }
        starts
    }

    /// The end of the window that began last and is open at `at`, the latest of all expressions.
    fn last_end(&self, at: SystemTime) -> Option<SystemTime> {
        let base = minute_of(at.checked_sub(self.shift)?);
        let ends = self.windows.iter().filter_map(|cron| {
            let start = start_of(cron.last_until(base)?)?.checked_add(self.shift)?;
            let end = start.checked_add(self.duration)?;
            (end > at).then_some(end)
        });
        ends.max()
    }

    /// The first start after `at`.
    fn next_start(&self, at: SystemTime) -> Option<SystemTime> {
        // Before 1970 for a device that does not know the time yet.
        let base = at.checked_sub(self.shift).map_or(-1, minute_of);
        let starts = self
            .windows
            .iter()
            .filter_map(|cron| start_of(cron.next_after(base)?)?.checked_add(self.shift));
        starts.min()
    }
}

/// The whole minutes since 1970; -1 before.
fn minute_of(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(-1, |since| {
        i64::try_from(since.as_secs() / 60).unwrap_or(i64::MAX)
    })
}

fn start_of(minute: i64) -> Option<SystemTime> {
    let minutes = u64::try_from(minute).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(minutes.checked_mul(60)?))
}

/// Which part of a jitter is a device's, by its name: spread evenly over all names, and always the
/// same for one of them.
#[must_use]
pub fn share_of(device_id: &str) -> f64 {
    // FNV-1a, and its high bits, which depend on each byte.
    let hash = device_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let high = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
    f64::from(high) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29 00:00 UTC, a Sunday.
    const DAY: u64 = 1_795_910_400;
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(DAY + secs)
    }

    fn made(windows: &[&str], minutes: u64) -> Schedule {
        let options = ScheduleOptions {
            windows: windows.iter().map(|&text| text.to_owned()).collect(),
            duration: Duration::from_secs(minutes * MINUTE),
            ..ScheduleOptions::default()
        };
        Schedule::new(&options, 0.0).unwrap()
    }

    #[test]
    fn a_window_opens_lasts_and_closes() {
        let schedule = made(&["0 6 * * *"], 20);
        let open = Plan::Open {
            until: at(6 * HOUR + 20 * MINUTE),
        };
        let closed = |until| Plan::Closed { until: Some(until) };
        assert_eq!(schedule.at(at(0)), closed(at(6 * HOUR)));
        assert_eq!(schedule.at(at(6 * HOUR - 1)), closed(at(6 * HOUR)));
        assert_eq!(schedule.at(at(6 * HOUR)), open);
        assert_eq!(schedule.at(at(6 * HOUR + 20 * MINUTE - 1)), open);
        // The end is no part of it: it closes.
        let tomorrow = at(30 * HOUR);
        assert_eq!(schedule.at(at(6 * HOUR + 20 * MINUTE)), closed(tomorrow));
    }

    #[test]
    fn every_second_of_a_week_is_open_exactly_when_its_last_start_is_recent() {
        let schedule = made(&["15 */4 * * *", "0 9 * * 1-5"], 30);
        for minute in 0..7 * 24 * 60 {
            let day = (minute / (24 * 60)) % 7;
            let of_day = minute % (24 * 60);
            let every_four = (of_day + 4 * 60 - 15) % (4 * 60) < 30;
            let weekday = (1..=5).contains(&day) && (9 * 60..9 * 60 + 30).contains(&of_day);
            let is_open = matches!(schedule.at(at(minute * MINUTE)), Plan::Open { .. });
            assert_eq!(is_open, every_four || weekday, "minute {minute}");
        }
    }

    #[test]
    fn windows_that_overlap_are_one() {
        let schedule = made(&["0 6 * * *", "10 6 * * *", "25 6 * * *"], 20);
        let until = at(6 * HOUR + 45 * MINUTE);
        assert_eq!(schedule.at(at(6 * HOUR + MINUTE)), Plan::Open { until });
        // Without any gap the end is put off again and again, and asked for in bounded time.
        let always = made(&["* * * * *"], 10);
        assert!(matches!(always.at(at(0)), Plan::Open { .. }));
    }

    #[test]
    fn jitter_moves_a_window_as_a_whole_and_is_the_devices_own() {
        let options = ScheduleOptions {
            windows: vec!["0 6 * * *".to_owned()],
            duration: Duration::from_secs(20 * MINUTE),
            jitter: Duration::from_secs(10 * MINUTE),
            ..ScheduleOptions::default()
        };
        let half = Schedule::new(&options, 0.5).unwrap();
        let start = at(6 * HOUR + 5 * MINUTE);
        assert_eq!(half.at(at(6 * HOUR)), Plan::Closed { until: Some(start) });
        let until = start + Duration::from_secs(20 * MINUTE);
        assert_eq!(half.at(start), Plan::Open { until });
        assert_eq!(
            share_of("meter-17").to_bits(),
            share_of("meter-17").to_bits()
        );
        let shares: Vec<f64> = (0..1_000)
            .map(|n| share_of(&format!("meter-{n}")))
            .collect();
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let count = shares
                .iter()
                .filter(|share| (from..from + 0.1).contains(*share))
                .count();
            assert!((50..200).contains(&count), "{count} of 1000 from {from}");
        }
    }

    #[test]
    fn a_jump_of_the_clock_changes_only_what_is_asked_after_it() {
        let schedule = made(&["0 6 * * *"], 20);
        let year_1970 = UNIX_EPOCH + Duration::from_secs(5);
        let until = Some(UNIX_EPOCH + Duration::from_secs(6 * HOUR));
        assert_eq!(schedule.at(year_1970), Plan::Closed { until });
        assert!(matches!(schedule.at(at(6 * HOUR + 1)), Plan::Open { .. }));
        assert!(matches!(schedule.at(at(0)), Plan::Closed { .. }));
    }

    #[test]
    fn the_next_windows_are_told_in_order() {
        let schedule = made(&["0 6 * * *", "0 18 * * *"], 10);
        let hours = [6, 18, 30, 42].map(|hour| at(hour * HOUR));
        assert_eq!(schedule.next(at(0), 4), hours);
        assert!(made(&[], 10).next(at(0), 4).is_empty());
        assert_eq!(made(&[], 10).at(at(0)), Plan::Always);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_text() {
        let refused = |options: ScheduleOptions| Schedule::new(&options, 0.0).unwrap_err();
        for text in [
            "",
            "0 6 * *",
            "61 * * * *",
            "0 0 6 * * *",
            "soon",
            "0 6 * * 9",
        ] {
            let error = refused(ScheduleOptions {
                windows: vec![text.to_owned()],
                ..ScheduleOptions::default()
            });
            assert!(matches!(error, ScheduleError::Expression { .. }), "{text}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
        let many = ScheduleOptions {
            windows: vec!["0 6 * * *".to_owned(); 33],
            ..ScheduleOptions::default()
        };
        assert_eq!(refused(many), ScheduleError::TooMany(33));
        for (duration, jitter) in [(9, 0), (604_801, 0), (60, 86_401)] {
            let options = ScheduleOptions {
                duration: Duration::from_secs(duration),
                jitter: Duration::from_secs(jitter),
                ..ScheduleOptions::default()
            };
            let error = refused(options);
            assert!(matches!(
                error,
                ScheduleError::WindowLength(_) | ScheduleError::Jitter(_)
            ));
        }
    }
}
