//! Times for people: the date and the hour in UTC, with no leap seconds, as Unix time has none.

use core::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Shows a time as `2026-11-29 13:30:00 UTC`, to the second; one before 1970 as 1970.
///
/// # Examples
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// let time = UNIX_EPOCH + Duration::from_secs(1_795_959_000);
/// assert_eq!(safe_rt::Utc(time).to_string(), "2026-11-29 13:30:00 UTC");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = seconds_of(self.0);
        let (year, month, day) = date_of(seconds / DAY);
        let time = seconds % DAY;
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Returns the whole seconds since 1970, zero before.
pub(crate) fn seconds_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const DAY: u64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_CYCLE: u64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Returns year, month and day of a day counted from 1 January 1970.
///
/// Years begin in March here, so that the leap day is the last of its year, and from there 153 days
/// are five months.
const fn date_of(day: u64) -> (u64, u64, u64) {
    let day = day + DAYS_BEFORE_1970;
    let of_cycle = day % DAYS_OF_CYCLE;
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year + day / DAYS_OF_CYCLE * 400 + (month <= 2) as u64;
    (year, month, day_of_month)
}

/// Returns the second of a date and an hour, if there is such a date; the inverse of the above.
#[cfg(feature = "tls")]
pub(crate) fn seconds_at(date: [u64; 3], time: [u64; 3]) -> Option<u64> {
    let ([year, month, day], [hour, minute, second]) = (date, time);
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && day >= 1
        && hour < 24
        && minute < 60
        && second < 60;
    if !fits {
        return None;
    }
    let (year, from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year - DAYS_BEFORE_1970;
    // A day that the month does not have comes out as one of the next month.
    (date_of(days).2 == day).then_some(days * DAY + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn text(seconds: u64) -> String {
        Utc(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    }

    #[test]
    fn seconds_are_shown_as_dates() {
        let table = [
            (0, "1970-01-01 00:00:00 UTC"),
            (86_399, "1970-01-01 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_164_799, "2024-02-28 23:59:59 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (1_767_225_600, "2026-01-01 00:00:00 UTC"),
            (2_147_483_648, "2038-01-19 03:14:08 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ];
        for (seconds, expected) in table {
            assert_eq!(text(seconds), expected);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Utc(before).to_string(), "1970-01-01 00:00:00 UTC");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn each_day_of_800_years_there_and_back() {
        for day in 0..2 * DAYS_OF_CYCLE {
            let (year, month, of_month) = date_of(day);
            let again = seconds_at([year, month, of_month], [23, 59, 59]);
            assert_eq!(again, Some(day * DAY + DAY - 1));
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_date_that_does_not_exist_has_no_second() {
        let noon = [12, 0, 0];
        for date in [
            [1969, 12, 31],
            [2025, 2, 29],
            [2026, 4, 31],
            [2026, 13, 1],
            [2026, 0, 1],
            [2026, 1, 0],
            [2026, 1, 99],
            [10_000, 1, 1],
        ] {
            assert_eq!(seconds_at(date, noon), None, "{date:?}");
        }
        for time in [[24, 0, 0], [0, 60, 0], [0, 0, 60]] {
            assert_eq!(seconds_at([2026, 1, 1], time), None, "{time:?}");
        }
    }
}
