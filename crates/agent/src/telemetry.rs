//! What the agent says about itself at an interval: a reading of several figures, gathered with others
//! into messages as [`crate::service::batch`] says.
//!
//! ```text
//! {"t":1795959000123,"uptime_secs":0,"received":0,"load":0.15,"memory_available_bytes":1024}
//! ```
//! Load and memory are there where the system tells them (`/proc`). While there is no connection
//! messages wait in the client; where a message finds no room there and the next one is full, a reading
//! is left out.

use fiber::{Elapsed, Instant, Stopped};
use mqtt::Client;

use crate::config::Telemetry;
use crate::live::Live;
use crate::service::{NotTaken, Readings};

/// Measures as `settings` say, until it is stopped. A new interval counts from the last reading on.
/// Yields.
///
/// # Errors
///
/// [`Stopped`], always: nothing else ends it.
pub(crate) fn measure(
    client: &Client,
    readings: &Readings,
    settings: &Live<Option<Telemetry>>,
) -> Result<(), Stopped> {
    let began = Instant::now();
    // When the last one was due.
    let mut last = None;
    let mut left_out: u64 = 0;
    loop {
        let interval = settings.some()?.interval;
        let due = last.map_or(began, |last| last + interval);
        let due = due.max(Instant::now());
        if settings.wait_until(due)? {
            continue;
        }
        let figures = Figures {
            uptime_secs: began.elapsed().as_secs(),
            received: client.stats().received,
            load: load(),
            memory_available_bytes: memory_available_bytes(),
        };
        let parts = figures.parts();
        let taken = fiber::timeout(interval, || readings.record_sample(&parts));
        match taken.unwrap_or_else(|Elapsed(taken)| taken) {
            Ok(()) => {
                if left_out > 0 {
                    log::warn!(
                        "{left_out} readings of the agent itself found no room and were left out"
                    );
                }
                left_out = 0;
            }
            Err(error) => {
                if left_out == 0 {
                    let why = match error {
                        NotTaken::NoRoom => "there is no room in the queue".to_owned(),
                        NotTaken::Reading(error) => error.to_string(),
                    };
                    log::warn!("a reading of the agent itself is left out: {why}");
                }
                left_out += 1;
            }
        }
        last = Some(due);
    }
}

/// What one reading tells.
struct Figures {
    uptime_secs: u64,
    /// Messages that have arrived.
    received: u64,
    /// Of the last minute; digits and a point.
    load: Option<String>,
    memory_available_bytes: Option<u64>,
}

impl Figures {
    /// Their names and values, those that are known.
    fn parts(&self) -> Vec<(&'static str, String)> {
        let mut parts = vec![
            ("uptime_secs", self.uptime_secs.to_string()),
            ("received", self.received.to_string()),
        ];
        parts.extend(self.load.clone().map(|load| ("load", load)));
        let memory = self.memory_available_bytes;
        parts.extend(memory.map(|bytes| ("memory_available_bytes", bytes.to_string())));
        parts
    }
}

/// How many processes ran or wanted to, on average over the last minute.
fn load() -> Option<String> {
    load_of(&String::from_utf8(fiber::fs::read("/proc/loadavg").ok()?).ok()?)
}

fn load_of(loadavg: &str) -> Option<String> {
    let load = loadavg.split_whitespace().next()?;
    // As it is written there it is a number of JSON, too; anything else is not sent on.
    let (whole, fraction) = load.split_once('.')?;
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let whole_is_canonical = whole == "0" || !whole.starts_with('0');
    (is_number(whole) && whole_is_canonical && is_number(fraction)).then(|| load.to_owned())
}

/// How much memory programs could still have.
fn memory_available_bytes() -> Option<u64> {
    available_of(&String::from_utf8(fiber::fs::read("/proc/meminfo").ok()?).ok()?)
}

fn available_of(meminfo: &str) -> Option<u64> {
    let rest = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = rest.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_what_is_known() {
        let mut figures = Figures {
            uptime_secs: 12,
            received: 3,
            load: Some("0.15".to_owned()),
            memory_available_bytes: Some(1024),
        };
        let text = |figures: &Figures| {
            let parts = figures.parts().into_iter();
            let parts = parts.map(|(name, value)| format!("{name}={value}"));
            parts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            text(&figures),
            "uptime_secs=12 received=3 load=0.15 memory_available_bytes=1024"
        );
        figures.load = None;
        figures.memory_available_bytes = None;
        assert_eq!(text(&figures), "uptime_secs=12 received=3");
    }

    #[test]
    fn load_and_memory_are_taken_only_as_the_kernel_writes_them() {
        assert_eq!(load_of("0.52 0.58 0.59 1/389 12345\n").unwrap(), "0.52");
        assert_eq!(load_of("12.00 1 1").unwrap(), "12.00");
        for odd in ["", "x.1", "1", "1.", ".1", "-1.0", "01.0", "1.0x", "1e3.0"] {
            assert_eq!(load_of(odd), None, "{odd}");
        }
        let meminfo = "MemTotal:  2048 kB\nMemAvailable:    1234 kB\nBuffers: 1 kB\n";
        assert_eq!(available_of(meminfo), Some(1234 * 1024));
        for odd in [
            "",
            "MemAvailable:",
            "MemAvailable: x kB",
            "MemAvailable: 1 MB",
            "MemAvailable: 18446744073709551615 kB",
        ] {
            assert_eq!(available_of(odd), None, "{odd}");
        }
    }
}
