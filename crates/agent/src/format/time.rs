//! A moment as text: what `@` and a letter of `strftime` stand for, in the locale `C`.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

/// A moment in the time zone of whoever reads it.
#[derive(Clone, Debug)]
pub struct Moment {
    zoned: ZonedDateTime,
    zone: String,
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Moment {
    /// The moment at this time after the beginning of 1970, in a time zone. One beyond the year 9999
    /// is told as its end.
    #[must_use]
    pub fn new(since_1970: Duration, zone: &TimeZone) -> Self {
        let timestamp = Timestamp::UNIX_EPOCH
            .checked_add(since_1970)
            .unwrap_or(Timestamp::MAX);
        let info = zone.to_offset_info(timestamp);
        Self {
            zone: info.abbreviation().to_owned(),
            zoned: timestamp.to_zoned_datetime(zone.clone()),
        }
    }

    /// The nanoseconds of the second.
    pub(super) fn nanoseconds(&self) -> i32 {
        self.zoned.timestamp().subsec_nanosecond()
    }

    /// Seconds since 1970 with nine decimals.
    pub(super) fn seconds(&self) -> String {
        let seconds = self.zoned.timestamp().as_second();
        format!("{seconds}.{:09}", self.nanoseconds())
    }

    /// Date, time and offset (ISO 8601).
    pub(super) fn iso(&self) -> String {
        self.text("%FT%T%z")
    }

    /// The same with microseconds, as it stands in JSON.
    pub(super) fn json(&self) -> String {
        let micros = self.nanoseconds() / 1_000;
        format!("{}.{micros:06}Z{}", self.text("%FT%T"), self.text("%z"))
    }

    fn text(&self, format: &str) -> String {
        let mut out = Vec::new();
        let mut letters = format.bytes();
        while let Some(byte) = letters.next() {
            match byte {
                b'%' => self.write(letters.next().unwrap_or(b'%'), &mut out),
                other => out.push(other),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Appends what a letter of `strftime` stands for. What stands for nothing is appended as it is,
    /// after a `%`, as the C library of Linux does.
    pub(super) fn write(&self, letter: u8, out: &mut Vec<u8>) {
        let at = &self.zoned;
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let hour_of_12 = (hour + 11).rem_euclid(12) + 1;
        let (sunday, monday) = (
            i16::from(at.weekday().to_sunday_zero_offset()),
            i16::from(at.weekday().to_monday_zero_offset()),
        );
        let day = at.day_of_year() - 1;
        let week = at.date().iso_week_date();
        let half = if hour < 12 { "AM" } else { "PM" };
        let text = match letter {
            b'a' => name(&DAYS, sunday, 3).to_owned(),
            b'A' => name(&DAYS, sunday, usize::MAX).to_owned(),
            b'b' | b'h' => name(&MONTHS, (at.month() - 1).into(), 3).to_owned(),
            b'B' => name(&MONTHS, (at.month() - 1).into(), usize::MAX).to_owned(),
            b'c' => self.text("%a %b %e %H:%M:%S %Y"),
            b'C' => format!("{:02}", at.year().div_euclid(100)),
            b'd' => format!("{:02}", at.day()),
            b'D' | b'x' => self.text("%m/%d/%y"),
            b'e' => format!("{:2}", at.day()),
            b'F' => self.text("%Y-%m-%d"),
            b'g' => format!("{:02}", week.year().rem_euclid(100)),
            b'G' => week.year().to_string(),
            b'H' => format!("{hour:02}"),
            b'I' => format!("{hour_of_12:02}"),
            b'j' => format!("{:03}", day + 1),
            b'k' => format!("{hour:2}"),
            b'l' => format!("{hour_of_12:2}"),
            b'm' => format!("{:02}", at.month()),
            b'M' => format!("{minute:02}"),
            b'n' => "\n".to_owned(),
            b'p' => half.to_owned(),
            b'P' => half.to_ascii_lowercase(),
            b'r' => self.text("%I:%M:%S %p"),
            b'R' => self.text("%H:%M"),
            b's' => at.timestamp().as_second().to_string(),
            b'S' => format!("{second:02}"),
            b't' => "\t".to_owned(),
            b'T' | b'X' => self.text("%H:%M:%S"),
            b'u' => (monday + 1).to_string(),
            b'U' => format!("{:02}", (day + 7 - sunday) / 7),
            b'V' => format!("{:02}", week.week()),
            b'w' => sunday.to_string(),
            b'W' => format!("{:02}", (day + 7 - monday) / 7),
            b'y' => format!("{:02}", at.year().rem_euclid(100)),
            b'Y' => at.year().to_string(),
            b'z' => self.offset(),
            b'Z' => self.zone.clone(),
            b'%' => "%".to_owned(),
            // It is taken for a width, of what then does not come.
            digit @ b'3'..=b'9' => {
                let width = usize::from(digit - b'0');
                format!("{:>width$}", format!("%{}", char::from(digit)))
            }
            other => {
                out.extend([b'%', other]);
                return;
            }
        };
        out.extend(text.bytes());
    }

    fn offset(&self) -> String {
        let seconds = self.zoned.offset().seconds();
        let minutes = seconds.abs() / 60;
        let sign = if seconds < 0 { '-' } else { '+' };
        format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
    }
}

fn name(names: &[&'static str], at: i16, letters: usize) -> &'static str {
    let found = usize::try_from(at).ok().and_then(|at| names.get(at));
    let name = found.copied().unwrap_or("?");
    name.get(..letters.min(name.len())).unwrap_or(name)
}
