//! What a soak found, and whether it is good.

use std::fmt;
use std::time::Duration;

use mqtt::QoS;

use crate::proxy::Counts;
use crate::tally::{Arrivals, Numbers};

/// How often each kind of trouble must have come for a run to say anything.
pub const TROUBLES_MIN: u32 = 3;

/// How many errors are told; the others are counted.
const ERRORS_TOLD: usize = 10;

/// One stream of numbers, from its publisher to the subscriber.
#[derive(Clone, Debug)]
pub struct Stream {
    /// How its messages went.
    pub qos: QoS,
    /// How often the publisher was killed.
    pub kills: u32,
    /// Messages that are in the publisher's store at the end.
    pub owned: usize,
    /// What the publisher said was acknowledged.
    pub acknowledged: Numbers,
    /// What the subscriber got.
    pub arrivals: Arrivals,
    /// How many of the doubles at QoS 2 the server is to blame for: it sent a message again that it
    /// had released.
    pub blamed: u64,
    /// The longest time without a message.
    pub outage: Duration,
    /// The most memory that a life of the publisher has had, in KiB.
    pub peak: Option<u64>,
}

impl Stream {
    /// Returns how many numbers were published: all up to the highest that anybody has heard of.
    #[must_use]
    pub fn sent(&self) -> u64 {
        let arrived = self.arrivals.numbers().highest();
        self.acknowledged.highest().max(arrived)
    }

    /// Returns how many numbers did not arrive.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let gaps = self.arrivals.numbers().missing(self.sent());
        gaps.iter().map(|(first, last)| last - first + 1).sum()
    }

    fn failures(&self) -> Vec<String> {
        let name = format!("QoS {}", self.qos as u8);
        let mut failures = Vec::new();
        if self.sent() == 0 {
            failures.push(format!("{name}: nothing was sent"));
        }
        if self.lost() > 0 {
            let gaps = self.arrivals.numbers().missing(self.sent());
            let told: Vec<_> = gaps.iter().take(ERRORS_TOLD).collect();
            failures.push(format!("{name}: lost from and to {told:?}"));
        }
        if self.arrivals.out_of_order() > 0 {
            failures.push(format!("{name}: numbers came out of order"));
        }
        if self.qos == QoS::ExactlyOnce && self.arrivals.doubled() > self.blamed {
            failures.push(format!("{name}: numbers came twice"));
        }
        if self.owned > 0 {
            failures.push(format!("{name}: the store still holds messages"));
        }
        if self.kills < TROUBLES_MIN {
            failures.push(format!("{name}: {} kills say nothing", self.kills));
        }
        failures
    }
}

/// What a soak found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What its faults were drawn from.
    pub seed: u64,
    /// How long faults came.
    pub length: Duration,
    /// The streams.
    pub streams: Vec<Stream>,
    /// How often the server was restarted.
    pub restarts: u32,
    /// What went wrong between the publishers and the server.
    pub publishers_link: Counts,
    /// What went wrong between the server and the subscriber.
    pub subscribers_link: Counts,
    /// The most memory that the subscriber, and all that is in its process, has had, in KiB.
    pub peak: Option<u64>,
    /// What else is wrong.
    pub errors: Vec<String>,
}

impl Report {
    /// Returns why the run is not good; nothing when it is.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> = self.streams.iter().flat_map(Stream::failures).collect();
        if self.restarts < TROUBLES_MIN {
            failures.push(format!("{} restarts say nothing", self.restarts));
        }
        failures.extend(self.errors.iter().take(ERRORS_TOLD).cloned());
        let untold = self.errors.len().saturating_sub(ERRORS_TOLD);
        if untold > 0 {
            failures.push(format!("{untold} more errors"));
        }
        failures
    }
}

fn memory(peak: Option<u64>) -> String {
    peak.map_or_else(|| "unknown".to_owned(), |kib| format!("{kib} KiB"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, faults for {:?}", self.seed, self.length)?;
        writeln!(f, "server: {} restarts", self.restarts)?;
        writeln!(f, "publishers' link: {}", self.publishers_link)?;
        writeln!(f, "subscriber's link: {}", self.subscribers_link)?;
        for stream in &self.streams {
            writeln!(f, "QoS {}:", stream.qos as u8)?;
            let row = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
                writeln!(f, "  {name:<20} {value:>12}")
            };
            row(f, "kills", &stream.kills)?;
            row(f, "sent", &stream.sent())?;
            row(f, "owned at the end", &stream.owned)?;
            row(f, "told acknowledged", &stream.acknowledged.len())?;
            row(f, "received", &stream.arrivals.numbers().len())?;
            row(f, "lost", &stream.lost())?;
            row(f, "doubled", &stream.arrivals.doubled())?;
            if stream.qos == QoS::ExactlyOnce {
                row(f, "  by the server", &stream.blamed)?;
            }
            row(f, "out of order", &stream.arrivals.out_of_order())?;
            let outage = format!("{} ms", stream.outage.as_millis());
            row(f, "longest outage", &outage)?;
            row(f, "publisher's peak", &memory(stream.peak))?;
        }
        writeln!(f, "subscriber's peak: {}", memory(self.peak))?;
        let failures = self.failures();
        if failures.is_empty() {
            return writeln!(f, "passed");
        }
        for failure in failures {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(qos: QoS, arrived: &[u64]) -> Stream {
        let mut arrivals = Arrivals::default();
        let mut acknowledged = Numbers::default();
        for number in arrived {
            arrivals.note(*number);
        }
        for number in 1..=4 {
            acknowledged.insert(number);
        }
        Stream {
            qos,
            kills: TROUBLES_MIN,
            owned: 0,
            acknowledged,
            arrivals,
            blamed: 0,
            outage: Duration::ZERO,
            peak: None,
        }
    }

    fn report(stream: Stream) -> Report {
        Report {
            seed: 1,
            length: Duration::from_secs(1),
            streams: vec![stream],
            restarts: TROUBLES_MIN,
            publishers_link: Counts::default(),
            subscribers_link: Counts::default(),
            peak: Some(1),
            errors: Vec::new(),
        }
    }

    #[test]
    fn what_must_not_be_is_a_failure_and_a_double_only_at_qos_2() {
        let (one, two) = (QoS::AtLeastOnce, QoS::ExactlyOnce);
        let cases: [(QoS, &[u64], &str); 8] = [
            (two, &[1, 2, 3, 4], ""),
            (one, &[1, 2, 3, 3, 1, 4], ""),
            (two, &[1, 2, 3, 3, 4], "twice"),
            (two, &[1, 3, 2, 4], "order"),
            (one, &[1, 3, 2, 4], "order"),
            (two, &[1, 2, 3], "lost from and to [(4, 4)]"),
            (one, &[1, 2, 3], "lost from and to [(4, 4)]"),
            (two, &[1, 2, 3, 4, 6], "lost from and to [(5, 5)]"),
        ];
        for (qos, arrived, expected) in cases {
            let failures = report(stream(qos, arrived)).failures();
            let right = match (&failures[..], expected) {
                ([], "") => true,
                ([failure], expected) => !expected.is_empty() && failure.contains(expected),
                _ => false,
            };
            assert!(right, "{arrived:?}: {failures:?}");
        }
    }

    #[test]
    fn a_double_that_the_server_is_to_blame_for_is_no_failure_and_one_more_is() {
        let mut report = report(stream(QoS::ExactlyOnce, &[1, 2, 2, 3, 3, 4]));
        for (blamed, failures) in [(2, 0), (1, 1)] {
            report.streams[0].blamed = blamed;
            assert_eq!(report.failures().len(), failures, "{blamed}");
        }
    }

    #[test]
    fn a_run_in_which_too_little_went_wrong_or_anything_else_did_is_a_failure() {
        let good = report(stream(QoS::ExactlyOnce, &[1, 2, 3, 4]));
        let bad = |spoil: fn(&mut Report)| {
            let mut spoilt = good.clone();
            spoil(&mut spoilt);
            let failures = spoilt.failures();
            assert!(spoilt.to_string().contains("FAILED"), "{failures:?}");
            failures.len()
        };
        assert!(good.to_string().ends_with("passed\n"));
        assert_eq!(bad(|report| report.restarts = 2), 1);
        assert_eq!(bad(|report| report.streams[0].kills = 2), 1);
        assert_eq!(bad(|report| report.streams[0].owned = 1), 1);
        assert_eq!(bad(|report| report.errors = vec!["no end".to_owned()]), 1);
        assert_eq!(bad(|report| report.errors = vec![String::new(); 12]), 11);
        let nothing = |report: &mut Report| {
            report.streams[0].arrivals = Arrivals::default();
            report.streams[0].acknowledged = Numbers::default();
        };
        assert_eq!(bad(nothing), 1);
    }
}
