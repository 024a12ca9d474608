//! What the agent says about itself at an interval: one JSON object for each message,
//! without blanks between its parts.
//!
//! ```text
//! {"device":"meter-17","sequence":1,"uptime_secs":0,"received":0,
//!  "load":0.15,"memory_available_bytes":1024}
//! ```
//! Load and memory are there where the system tells them (`/proc`). While there is no connection
//! messages wait in the client; one that finds no room there within an interval is left out, which
//! shows as a gap in the sequence.

use std::fmt::Write as _;

use fiber::{Elapsed, Instant, Stopped};
use mqtt::{Client, Publish, PublishError, WaitCause};

use crate::config::Telemetry;
use crate::live::Live;

/// Publishes telemetry as `settings` say, until it is stopped. A new interval counts from the last
/// message on. Yields.
///
/// # Errors
///
/// [`Stopped`], always: nothing else ends it.
pub(crate) fn publish(
    client: &Client,
    device: &str,
    settings: &Live<Option<Telemetry>>,
) -> Result<(), Stopped> {
    let began = Instant::now();
    // When the last one was due.
    let mut last = None;
    let mut left_out: u64 = 0;
    let mut sequence = 1;
    loop {
        let telemetry = settings.some()?;
        let due = last.map_or(began, |last| last + telemetry.interval);
        let due = due.max(Instant::now());
        if settings.wait_until(due)? {
            continue;
        }
        let reading = Reading {
            device,
            sequence,
            uptime_secs: began.elapsed().as_secs(),
            received: client.stats().received,
            load: load(),
            memory_available_bytes: memory_available_bytes(),
        };
        let payload = reading.to_json();
        let publish = Publish::to(telemetry.topic.as_str(), &payload).qos(telemetry.qos);
        match fiber::timeout(telemetry.interval, || client.publish(publish)) {
            Ok(Ok(_)) | Err(Elapsed(Ok(_))) => {
                if left_out > 0 {
                    log::warn!("{left_out} telemetry messages found no room and were left out");
                }
                left_out = 0;
            }
            Ok(Err(PublishError::Full(WaitCause::Stopped(stopped @ Stopped::Cancelled)))) => {
                return Err(stopped);
            }
            Ok(Err(error)) | Err(Elapsed(Err(error))) => {
                if left_out == 0 {
                    log::warn!("telemetry is left out: {error}");
                }
                left_out += 1;
            }
        }
        last = Some(due);
        sequence += 1;
    }
}

/// What one message tells.
struct Reading<'a> {
    device: &'a str,
    /// Counts the messages of this run from 1.
    sequence: u64,
    uptime_secs: u64,
    /// Messages that have arrived.
    received: u64,
    /// Of the last minute; digits and a point.
    load: Option<String>,
    memory_available_bytes: Option<u64>,
}

impl Reading<'_> {
    fn to_json(&self) -> String {
        let mut json = format!(
            "{{\"device\":{},\"sequence\":{},\"uptime_secs\":{},\"received\":{}",
            quoted(self.device),
            self.sequence,
            self.uptime_secs,
            self.received
        );
        if let Some(load) = &self.load {
            json.push_str(",\"load\":");
            json.push_str(load);
        }
        if let Some(bytes) = self.memory_available_bytes {
            json.push_str(",\"memory_available_bytes\":");
            json.push_str(&bytes.to_string());
        }
        json.push('}');
        json
    }
}

/// A text as JSON writes it (RFC 8259 section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a text cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
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
    fn a_reading_is_one_json_object_with_what_is_known() {
        let mut reading = Reading {
            device: "meter \"17\"\\\n\u{7f}é",
            sequence: 1,
            uptime_secs: 12,
            received: 3,
            load: Some("0.15".to_owned()),
            memory_available_bytes: Some(1024),
        };
        assert_eq!(
            reading.to_json(),
            "{\"device\":\"meter \\\"17\\\"\\\\\\u000a\\u007fé\",\"sequence\":1,\"uptime_secs\":12,\
             \"received\":3,\"load\":0.15,\"memory_available_bytes\":1024}"
        );
        reading.load = None;
        reading.memory_available_bytes = None;
        assert!(reading.to_json().ends_with("\"received\":3}"));
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
