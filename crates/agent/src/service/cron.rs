//! Cron expressions of five fields, as crontab(5) has them: minute, hour, day of the month, month, day
//! of the week, in UTC.
//!
//! ```text
//!   field   *   5   1-5   */15   10-50/20   1,15,20-22   JAN   mon-fri
//!   alias   @hourly  @daily  @midnight  @weekly  @monthly  @yearly  @annually
//! ```
//! Days of the week count from 0, Sunday, to 7, Sunday again. Where both kinds of days are restricted, a
//! day of either kind is one (POSIX); a field that begins with `*` restricts nothing in that sense. Each
//! field is a set of bits, so that what comes next is found by looking at bits. Pure.

/// Days that are looked through for the next one that matches: eight years and a day, as 29 February
/// may be that far off.
const SEARCH_DAYS: i64 = 8 * 366 + 1;
const MINUTES_OF_DAY: i64 = 24 * 60;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field may have.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field::new("minute", 0, 59, &[]),
    Field::new("hour", 0, 23, &[]),
    Field::new("day of the month", 1, 31, &[]),
    Field::new("month", 1, 12, &MONTHS),
    Field::new("day of the week", 0, 7, &DAYS),
];

impl Field {
    const fn new(name: &'static str, min: u32, max: u32, names: &'static [&'static str]) -> Self {
        Self {
            name,
            min,
            max,
            names,
        }
    }

    /// The set that a text means.
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',')
            .try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    /// One part of a list: a value, a range or everything, each perhaps with a step.
    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => (range, Some(step)),
        };
        let step = match step {
            None => 1,
            Some(step) => match number(step) {
                Some(step) if (1..=self.max).contains(&step) => step,
                _ => return Err(self.expected(&format!("a step of 1 to {}", self.max), text)),
            },
        };
        let (from, to) = if range == "*" {
            (self.min, self.max)
        } else if let Some((from, to)) = range.split_once('-') {
            (self.value(from, text)?, self.value(to, text)?)
        } else {
            let from = self.value(range, text)?;
            // As in most crons: 10/20 is 10-59/20.
            (from, if text.contains('/') { self.max } else { from })
        };
        if from > to {
            return Err(self.expected("a range that begins before it ends", text));
        }
        let values = (from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        Ok(values.fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str, part: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        let named = self.names.iter().position(|name| *name == lower);
        let named = named.and_then(|index| u32::try_from(index).ok());
        match named.map(|index| index + self.min).or_else(|| number(text)) {
            Some(value) if (self.min..=self.max).contains(&value) => Ok(value),
            _ => Err(self.expected(&format!("{} to {}", self.min, self.max), part)),
        }
    }

    fn expected(&self, what: &str, found: &str) -> String {
        format!("expected as {} {what}, found {found:?}", self.name)
    }
}

/// A number of one or two digits, and nothing else.
fn number(text: &str) -> Option<u32> {
    let is_digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?
}

/// An expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    month_days: u64,
    months: u64,
    week_days: u64,
    /// A day must be in both sets of days; else one is enough.
    both: bool,
}

impl Cron {
    /// Understands an expression, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            text => text,
        };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let Ok(words) = <[&str; 5]>::try_from(words.as_slice()) else {
            return Err(format!("expected 5 fields, found {}", words.len()));
        };
        let mut sets = [0; 5];
        for ((set, field), word) in sets.iter_mut().zip(&FIELDS).zip(words) {
            *set = field.parse(word)?;
        }
        let [minutes, hours, month_days, months, mut week_days] = sets;
        // Sunday by either number.
        week_days |= week_days >> 7;
        let cron = Self {
            minutes,
            hours,
            month_days,
            months,
            week_days,
            both: words[2].starts_with('*') || words[4].starts_with('*'),
        };
        match cron.next_after(0) {
            Some(_) => Ok(cron),
            None => Err("there is no such day".to_owned()),
        }
    }

    /// The first minute that matches after a minute, both counted from the beginning of 1970.
    pub(super) fn next_after(&self, minute: i64) -> Option<i64> {
        let first = minute.checked_add(1)?;
        let day = first.div_euclid(MINUTES_OF_DAY);
        (day..=day.checked_add(SEARCH_DAYS)?).find_map(|day| {
            let start = day * MINUTES_OF_DAY;
            self.of_day(day)?
                .find(|at| start + at >= first)
                .map(|at| start + at)
        })
    }

    /// The last minute that matches up to a minute, that one included, not before 1970.
    pub(super) fn last_until(&self, minute: i64) -> Option<i64> {
        let day = minute.div_euclid(MINUTES_OF_DAY);
        let first = 0.max(day - SEARCH_DAYS);
        (first..=day).rev().find_map(|day| {
            let start = day * MINUTES_OF_DAY;
            let times = self.of_day(day)?;
            times
                .filter(|at| start + at <= minute)
                .last()
                .map(|at| start + at)
        })
    }

    /// The minutes of a day that match, if it is a day that does.
    fn of_day(&self, day: i64) -> Option<impl Iterator<Item = i64> + use<>> {
        let (month, month_day) = date_of(day);
        // 1 January 1970 was a Thursday.
        let week_day = (day + 4).rem_euclid(7);
        let (by_month, by_week) = (
            has(self.month_days, month_day),
            has(self.week_days, week_day),
        );
        let is_day = if self.both {
            by_month && by_week
        } else {
            by_month || by_week
        };
        let (hours, minutes) = (self.hours, self.minutes);
        (has(self.months, month) && is_day).then(|| {
            let of_hour = move |hour| {
                let minutes = (0..60).filter(move |minute| has(minutes, *minute));
                minutes.map(move |minute| hour * 60 + minute)
            };
            (0..24)
                .filter(move |hour| has(hours, *hour))
                .flat_map(of_hour)
        })
    }
}

const fn has(set: u64, value: i64) -> bool {
    set >> value & 1 == 1
}

/// Month and day of the month of a day counted from 1 January 1970, by the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last of its year, and from there five
/// months are 153 days.
const fn date_of(day: i64) -> (i64, i64) {
    const DAYS_BEFORE_1970: i64 = 719_468;
    const DAYS_OF_CYCLE: i64 = 146_097;
    let of_cycle = (day + DAYS_BEFORE_1970).rem_euclid(DAYS_OF_CYCLE);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month_day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (month, month_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 29 November 2026, a Sunday, in days.
    const DAY: i64 = 20_786;

    fn cron(text: &str) -> Cron {
        Cron::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn at(day: i64, hour: i64, minute: i64) -> i64 {
        (day * 24 + hour) * 60 + minute
    }

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        for (day, date) in [
            (0, (1, 1)),
            (58, (2, 28)),
            (59, (3, 1)),
            (789, (2, 29)),
            (DAY, (11, 29)),
            (DAY + 32, (12, 31)),
            (DAY + 33, (1, 1)),
            // 2100 is no leap year.
            (47_540, (2, 28)),
            (47_541, (3, 1)),
        ] {
            assert_eq!(date_of(day), date, "{day}");
        }
    }

    #[test]
    fn the_next_time_is_found_across_hours_days_months_and_leap_years() {
        let now = at(DAY, 12, 30);
        for (text, expected) in [
            ("* * * * *", now + 1),
            ("30 * * * *", at(DAY, 13, 30)),
            ("0 6 * * *", at(DAY + 1, 6, 0)),
            ("*/15 9-17 * * *", at(DAY, 12, 45)),
            ("10/20 12 * * *", at(DAY, 12, 50)),
            ("0 0 1 * *", at(DAY + 2, 0, 0)),
            ("0 0 31 12 *", at(DAY + 32, 0, 0)),
            ("5 4 * * sun", at(DAY + 7, 4, 5)),
            ("5 4 * * 7", at(DAY + 7, 4, 5)),
            ("0 9 * * Mon-Fri", at(DAY + 1, 9, 0)),
            // Of two kinds of days either is enough: Tuesday comes first.
            ("0 0 13 * tue", at(DAY + 2, 0, 0)),
            // But not where one of them restricts nothing.
            ("0 0 */2 * tue", at(DAY + 2, 0, 0)),
            ("0 0 29 feb *", at(21_243, 0, 0)),
            ("@weekly", at(DAY + 7, 0, 0)),
            ("@hourly", at(DAY, 13, 0)),
        ] {
            assert_eq!(cron(text).next_after(now), Some(expected), "{text}");
        }
    }

    #[test]
    fn forwards_and_backwards_the_same_times_are_found_as_by_looking_at_each_minute() {
        for text in [
            "*/7 */5 * * *",
            "0 6 1,15 * *",
            "59 23 * * 5",
            "0 0 1-7 * mon",
            "0 0 */3 1-11/2 1-5",
            "30 12 31 * *",
        ] {
            let cron = cron(text);
            let (start, end) = (at(DAY, 0, 0), at(DAY + 120, 0, 0));
            let matches = |minute: i64| {
                let day = minute.div_euclid(MINUTES_OF_DAY);
                let of_day = minute.rem_euclid(MINUTES_OF_DAY);
                cron.of_day(day)
                    .is_some_and(|mut times| times.any(|at| at == of_day))
            };
            let mut forwards = Vec::new();
            let mut minute = start - 1;
            while let Some(next) = cron.next_after(minute).filter(|next| *next < end) {
                forwards.push(next);
                minute = next;
            }
            let mut backwards = Vec::new();
            let mut minute = end - 1;
            while let Some(last) = cron.last_until(minute).filter(|last| *last >= start) {
                backwards.push(last);
                minute = last - 1;
            }
            backwards.reverse();
            let expected: Vec<i64> = (start..end).filter(|minute| matches(*minute)).collect();
            assert!(!expected.is_empty(), "{text}");
            assert_eq!(forwards, expected, "{text}");
            assert_eq!(backwards, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_says_which_field_is_wrong() {
        for (text, expected) in [
            ("", "5 fields, found 0"),
            ("0 6 * *", "5 fields, found 4"),
            ("0 0 6 * * *", "5 fields, found 6"),
            ("60 * * * *", "minute 0 to 59, found \"60\""),
            ("* 24 * * *", "hour 0 to 23"),
            ("* * 0 * *", "day of the month 1 to 31"),
            ("* * * 13 *", "month 1 to 12"),
            ("* * * * 8", "day of the week 0 to 7"),
            ("* * * * someday", "day of the week"),
            ("*/0 * * * *", "a step of 1 to 59"),
            ("*/x * * * *", "a step"),
            ("30-10 * * * *", "begins before it ends"),
            ("1,,2 * * * *", "minute"),
            ("-1 * * * *", "minute"),
            ("+1 * * * *", "minute"),
            ("001 * * * *", "minute"),
            ("0 0 30 2 *", "no such day"),
            ("@soon", "5 fields"),
        ] {
            let error = Cron::parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn nothing_is_found_before_1970_and_the_end_of_time_is_no_trap() {
        let cron = cron("0 6 * * *");
        assert_eq!(cron.last_until(at(0, 5, 59)), None);
        assert_eq!(cron.last_until(at(0, 6, 0)), Some(at(0, 6, 0)));
        assert_eq!(cron.next_after(-1_000_000), Some(at(-694, 6, 0)));
        assert_eq!(cron.next_after(i64::MAX), None);
    }
}
