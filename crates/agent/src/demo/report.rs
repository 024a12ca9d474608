//! What is told of a cut, and the closing table: one number a line, after its name.

use std::fmt;
use std::time::Duration;

use mqtt::CutReport;

use super::count::Tally;
use super::verdict::Bite;
use crate::args::Fault;

/// Returns the line about where a cut hit.
pub(super) fn place(report: &CutReport) -> String {
    let received = report.received;
    let Some(packet) = report.inside else {
        return format!("link cut after byte {received}, between two packets");
    };
    let name = packet.packet_type.map_or_else(
        || "no packet".to_owned(),
        |packet_type| packet_type.to_string(),
    );
    match packet.len {
        Some(len) => format!(
            "link cut after byte {received}: {} of the {len} bytes of a {name} had come",
            packet.received
        ),
        None => format!(
            "link cut after byte {received}: {} bytes of a {name} had come",
            packet.received
        ),
    }
}

/// The closing table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    pub(super) tally: Tally,
    pub(super) commands: u64,
    pub(super) obeyed: u64,
    pub(super) bites: &'a [Bite],
    /// Certificates that the cloud made for it.
    pub(super) certificates: u64,
    /// Processes of the device, one after the other.
    pub(super) processes: u64,
    pub(super) seed: u64,
    pub(super) took: Duration,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, .. } = self;
        let count = |is: fn(Fault) -> bool| {
            let bites = self.bites.iter().filter(|bite| is(bite.fault));
            bites.count() as u64
        };
        let in_flight = self.bites.iter().map(|bite| bite.in_flight).min();
        let rows = [
            ("published", tally.published),
            ("published at QoS 2", tally.exactly_once),
            ("acknowledged", tally.acknowledged),
            ("received by the cloud", tally.received),
            ("lost", tally.lost + tally.under_way),
            ("doubled, allowed (QoS 1)", tally.doubled),
            ("doubled, forgotten (QoS 2)", tally.forgotten),
            ("doubled, not allowed", tally.wrongly_doubled),
            ("received, never published", tally.unknown),
            ("commands sent", self.commands),
            ("commands received", self.obeyed),
            ("commands answered", self.commands - tally.unanswered),
            ("links cut", count(|fault| fault == Fault::Cut)),
            ("power cuts", count(|fault| fault == Fault::PowerCut)),
            (
                "other faults",
                count(|fault| !matches!(fault, Fault::Cut | Fault::PowerCut)),
            ),
            ("device processes", self.processes),
            ("device certificates made", self.certificates),
            ("in flight at a fault, least", in_flight.unwrap_or(0) as u64),
            ("seed", self.seed),
        ];
        let mut rows = rows
            .map(|(name, number)| (name, number.to_string()))
            .to_vec();
        rows.push(("seconds", format!("{:.3}", self.took.as_secs_f64())));
        let widest = |width: usize, number: &String| width.max(number.len());
        let width = rows.iter().map(|(_, number)| number).fold(0, widest);
        writeln!(f)?;
        for (name, number) in rows {
            writeln!(f, "{name:<27} {number:>width$}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_every_row_ends_with_its_number() {
        let tally = Tally {
            published: 1234,
            lost: 1,
            under_way: 2,
            unanswered: 1,
            ..Tally::default()
        };
        let report = Report {
            tally,
            commands: 3,
            obeyed: 2,
            bites: &[],
            processes: 1,
            certificates: 1,
            seed: u64::from(u32::MAX),
            took: Duration::from_millis(2345),
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(
            lines.iter().all(|line| line.len() == lines[0].len()),
            "{text}"
        );
        assert!(lines[0].starts_with("published   "), "{text}");
        for expected in [
            "published 1234",
            "lost 3",
            "commands answered 2",
            "seconds 2.345",
        ] {
            let found = lines
                .iter()
                .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == expected);
            assert!(found, "{expected}: {text}");
        }
    }
}
