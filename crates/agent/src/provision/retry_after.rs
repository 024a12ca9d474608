//! When a service wants to be asked again (RFC 9110 section 10.2.3): in so many seconds, or at a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use ureq_proto::http::header::{DATE, HeaderMap, RETRY_AFTER};

/// The three forms of a date (RFC 9110 section 5.6.7); the first is the one that is written today.
const FORMS: [&str; 3] = [
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %e %H:%M:%S %Y",
];

/// Returns how long to wait. A date counts from what the service says the time is, so that the clock of
/// the device does not matter; from `now`, the time of the device if it can be believed, where the
/// service does not say it.
pub(super) fn of(headers: &HeaderMap, now: Option<SystemTime>) -> Option<Duration> {
    let text = |value: &'static str| headers.get(value)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(asked)?;
    let now = match text(DATE.as_str()).and_then(date) {
        Some(now) => now,
        None => now?,
    };
    Some(until.duration_since(now).unwrap_or_default())
}

fn date(text: &str) -> Option<SystemTime> {
    FORMS.iter().find_map(|form| {
        let parts = strtime::parse(form, text).ok()?;
        let at = TimeZone::UTC.to_timestamp(parts.to_datetime().ok()?);
        let seconds = u64::try_from(at.ok()?.as_second()).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use ureq_proto::http::HeaderValue;

    use super::*;

    /// The example of the standard, in its three forms.
    const DATES: [&str; 3] = [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ];
    const SECONDS: u64 = 784_111_777;

    fn wait(retry_after: &str, date: Option<&str>, now: Option<u64>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        headers.insert(RETRY_AFTER, value(retry_after));
        if let Some(date) = date {
            headers.insert(DATE, value(date));
        }
        let now = now.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        of(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_need_no_clock() {
        assert_eq!(wait("120", None, None), Some(120));
        assert_eq!(wait(" 0 ", None, Some(SECONDS)), Some(0));
        assert_eq!(wait("-1", None, Some(SECONDS)), None);
        assert_eq!(of(&HeaderMap::new(), None), None);
    }

    #[test]
    fn a_date_counts_from_what_the_service_says_the_time_is() {
        for date in DATES {
            let at = wait(date, Some("Sun, 06 Nov 1994 08:47:37 GMT"), Some(0));
            assert_eq!(at, Some(120), "{date}");
            assert_eq!(wait(date, None, Some(SECONDS - 30)), Some(30), "{date}");
            // It is over.
            assert_eq!(wait(date, None, Some(SECONDS + 30)), Some(0), "{date}");
            // Nobody knows what time it is.
            assert_eq!(wait(date, None, None), None, "{date}");
            assert_eq!(wait(date, Some("noon"), None), None, "{date}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(wait(text, None, Some(0)), None, "{text}");
        }
    }
}
