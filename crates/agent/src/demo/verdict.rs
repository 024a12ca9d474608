//! What a run has shown, and which exit code that is.
//!
//! Pure. That the fault bit is decided from what was measured: a run in which it did not is no
//! success, however well everything went.

use std::fmt;

use mqtt::CutPacket;
use mqtt::packet::PacketType;

use super::count::Tally;
use crate::args::Fault;

/// Messages that must be in flight when the link is cut.
pub const IN_FLIGHT_MIN: usize = 5;

/// What was measured of one cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bite {
    /// What was done.
    pub(super) fault: Fault,
    /// Messages that the cloud had and whose acknowledgement the device had not.
    pub(super) in_flight: usize,
    /// The packet of the device that had come in part.
    pub(super) inside: Option<CutPacket>,
    /// The link came back by itself.
    pub(super) came_back: bool,
}

/// What is missing for a run to show anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Miss {
    /// Nothing was done to the device or its link.
    NoFault,
    /// It was cut between two packets.
    Boundary,
    /// It was cut in a packet that is none of PUBLISH.
    OtherPacket,
    /// Fewer messages than [`IN_FLIGHT_MIN`] were in flight.
    FewInFlight {
        /// How many.
        found: usize,
    },
    /// The link did not come back.
    NotBack,
    /// The time was over before everything was shown.
    Unfinished,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFault => f.write_str("nothing was done to the device or its link"),
            Self::Boundary => f.write_str("the link was cut between two packets, not inside one"),
            Self::OtherPacket => f.write_str("the link was cut in a packet other than a PUBLISH"),
            Self::FewInFlight { found } => write!(
                f,
                "expected at least {IN_FLIGHT_MIN} messages in flight at the fault, found {found}"
            ),
            Self::NotBack => f.write_str("the link did not come back"),
            Self::Unfinished => f.write_str("the time was over before everything was shown"),
        }
    }
}

impl Bite {
    /// Returns what is missing, if something is.
    fn miss(&self) -> Option<Miss> {
        if let Fault::Cut | Fault::DropAcks = self.fault {
            match self.inside.map(|packet| packet.packet_type) {
                None => return Some(Miss::Boundary),
                Some(Some(PacketType::Publish)) => {}
                Some(_) => return Some(Miss::OtherPacket),
            }
        }
        if self.in_flight < IN_FLIGHT_MIN {
            let found = self.in_flight;
            return Some(Miss::FewInFlight { found });
        }
        (!self.came_back).then_some(Miss::NotBack)
    }
}

/// What a run has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The fault bit; nothing is lost, nothing wrongly doubled.
    Kept,
    /// Something is.
    Broken,
    /// Nothing was shown either way.
    NotShown(Miss),
}

impl Verdict {
    /// Decides. `finished` says that the run came to its end: nothing is under way any more, and
    /// every command is answered.
    pub(super) fn of(tally: &Tally, bites: &[Bite], finished: bool) -> Self {
        if tally.is_broken() {
            return Self::Broken;
        }
        if bites.is_empty() {
            return Self::NotShown(Miss::NoFault);
        }
        if let Some(miss) = bites.iter().find_map(Bite::miss) {
            return Self::NotShown(miss);
        }
        match (finished, tally.under_way + tally.unanswered) {
            (true, 0) => Self::Kept,
            // The link was back, and they did not come, or no answer did.
            (_, 1..) => Self::Broken,
            (false, 0) => Self::NotShown(Miss::Unfinished),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt::{Broker, BrokerOptions, Faults};
    use std::cell::Cell;
    use std::io::Write as _;
    use std::rc::Rc;

    /// A packet in part, as a broker reports it: of the bytes it was sent, `received` came.
    fn in_part(sent: &'static [u8], received: u64) -> Option<CutPacket> {
        let report = Rc::new(Cell::new(None));
        let told = Rc::clone(&report);
        let body = move || {
            let broker = Broker::new(
                BrokerOptions::new().on_cut(move |_, report| told.set(Some(report.inside))),
            );
            let connect = b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
            let cut = Faults {
                cut_after_received: Some(connect.len() as u64 + received),
                ..Faults::default()
            };
            broker.set_faults("a", cut).unwrap();
            let (mut ours, theirs) = fiber::net::pipe(1024);
            broker.attach(theirs).unwrap();
            ours.write_all(&[connect, sent].concat()).unwrap();
            while report.get().is_none() {
                fiber::yield_now().unwrap();
            }
            report.get().unwrap()
        };
        fiber::run(body).unwrap()
    }

    #[test]
    fn what_was_measured_decides() {
        let publish = in_part(b"\x32\x06\x00\x01t\x00\x01x", 4);
        let ping = in_part(b"\xC0\x00", 1);
        let boundary = in_part(b"\xC0\x00", 2);
        assert_eq!(boundary, None);
        let bite = |in_flight, inside, came_back| Bite {
            fault: Fault::Cut,
            in_flight,
            inside,
            came_back,
        };
        let good = bite(5, publish, true);
        let fine = Tally {
            published: 9,
            acknowledged: 9,
            received: 9,
            doubled: 3,
            ..Tally::default()
        };
        let lost = Tally { lost: 1, ..fine };
        let doubled = Tally {
            wrongly_doubled: 1,
            ..fine
        };
        let unknown = Tally { unknown: 1, ..fine };
        let stuck = Tally {
            under_way: 1,
            ..fine
        };
        let unanswered = Tally {
            unanswered: 1,
            ..fine
        };
        let not_shown = Verdict::NotShown;
        let elsewhere = |fault, in_flight| Bite {
            fault,
            ..bite(in_flight, None, true)
        };
        let power = elsewhere(Fault::PowerCut, 5);
        let empty = elsewhere(Fault::PowerCut, 0);
        let silent = elsewhere(Fault::DropAcks, 5);
        let table: [(&str, Tally, &[Bite], bool, Verdict); 19] = [
            ("power cut", fine, &[power], true, Verdict::Kept),
            (
                "nothing in the queue",
                fine,
                &[power, empty],
                true,
                not_shown(Miss::FewInFlight { found: 0 }),
            ),
            (
                "not cut after all",
                fine,
                &[silent],
                true,
                not_shown(Miss::Boundary),
            ),
            ("all is well", fine, &[good], true, Verdict::Kept),
            ("twice", fine, &[good, good], true, Verdict::Kept),
            ("lost", lost, &[good], true, Verdict::Broken),
            ("lost without a cut", lost, &[], true, Verdict::Broken),
            ("doubled", doubled, &[good], true, Verdict::Broken),
            ("unknown", unknown, &[good], true, Verdict::Broken),
            ("stuck", stuck, &[good], false, Verdict::Broken),
            ("no answer", unanswered, &[good], false, Verdict::Broken),
            ("no cut", fine, &[], true, not_shown(Miss::NoFault)),
            (
                "at a boundary",
                fine,
                &[good, bite(9, boundary, true)],
                true,
                not_shown(Miss::Boundary),
            ),
            (
                "in another packet",
                fine,
                &[bite(9, ping, true)],
                true,
                not_shown(Miss::OtherPacket),
            ),
            (
                "few in flight",
                fine,
                &[bite(4, publish, true), good],
                true,
                not_shown(Miss::FewInFlight { found: 4 }),
            ),
            (
                "not back",
                fine,
                &[bite(5, publish, false)],
                false,
                not_shown(Miss::NotBack),
            ),
            (
                "not back, and some wait for that",
                stuck,
                &[bite(5, publish, false)],
                false,
                not_shown(Miss::NotBack),
            ),
            (
                "out of time",
                fine,
                &[good],
                false,
                not_shown(Miss::Unfinished),
            ),
            (
                "lost, and not back",
                lost,
                &[bite(5, publish, false)],
                false,
                Verdict::Broken,
            ),
        ];
        for (name, tally, bites, finished, verdict) in table {
            assert_eq!(Verdict::of(&tally, bites, finished), verdict, "{name}");
        }
    }
}
