//! The two books, one kept by the device and one by the cloud, and what their comparison says.
//!
//! Pure. Neither side sees the other's book before the end: a message is lost when the device's has
//! it and the cloud's has not.

use std::collections::{BTreeMap, BTreeSet};

use mqtt::QoS;

/// What the device published, by sequence number.
#[derive(Clone, Debug, Default)]
pub(super) struct Published(BTreeMap<u64, Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    qos: QoS,
    end: End,
}

/// What became of a message, as the device was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is under way.
    Open,
    /// The cloud has it.
    Acknowledged {
        /// Perhaps more than once.
        maybe_twice: bool,
    },
    /// It was given up.
    GivenUp,
}

impl Published {
    /// Enters a message; one that is known, because the device tells of it once more, stays as it is.
    pub(super) fn enter(&mut self, sequence: u64, qos: QoS) {
        let end = End::Open;
        self.0.entry(sequence).or_insert(Entry { qos, end });
    }

    /// Notes what became of a message.
    pub(super) fn end(&mut self, sequence: u64, end: End) {
        if let Some(entry) = self.0.get_mut(&sequence) {
            entry.end = end;
        }
    }

    /// Whether it is known what became of a message.
    pub(super) fn is_ended(&self, sequence: u64) -> bool {
        let entry = self.0.get(&sequence);
        entry.is_some_and(|entry| entry.end != End::Open)
    }

    /// Returns the messages of which that is not known.
    pub(super) fn open(&self) -> BTreeSet<u64> {
        let open = self.0.iter().filter(|(_, entry)| entry.end == End::Open);
        open.map(|(sequence, _)| *sequence).collect()
    }

    /// Whether the outcome says that the message may have been sent more than once.
    pub(super) fn may_be_there_twice(&self, sequence: u64) -> bool {
        let entry = self.0.get(&sequence);
        entry.is_some_and(|entry| entry.end == End::Acknowledged { maybe_twice: true })
    }
}

/// What the cloud received: how many copies, by sequence number.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrived {
    copies: BTreeMap<u64, u64>,
    /// Messages without a sequence number that can be read.
    unreadable: u64,
}

impl Arrived {
    /// Enters what came.
    pub(super) fn enter(&mut self, sequence: Option<u64>) {
        match sequence {
            Some(sequence) => *self.copies.entry(sequence).or_default() += 1,
            None => self.unreadable += 1,
        }
    }

    /// Returns how many different messages came.
    pub(super) fn distinct(&self) -> u64 {
        self.copies.len() as u64
    }
}

/// What the comparison of the two books says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that the device published.
    pub published: u64,
    /// Those of them that are of QoS 2.
    pub exactly_once: u64,
    /// Those that it was told are acknowledged.
    pub acknowledged: u64,
    /// Those that the cloud received, copies not counted.
    pub received: u64,
    /// Those that the cloud did not receive although the device was told that they are at their end.
    pub lost: u64,
    /// Those that the cloud did not receive and that are still under way.
    pub under_way: u64,
    /// Copies beyond the first of QoS 1 messages whose outcome is open, or said that there may be.
    pub doubled: u64,
    /// Copies beyond the first of QoS 2 messages that were in flight when the cloud lost its half of
    /// what would have ruled them out.
    pub forgotten: u64,
    /// Copies beyond the first that must not be: of QoS 2, or where the outcome ruled it out.
    pub wrongly_doubled: u64,
    /// Messages that the cloud received and nobody published.
    pub unknown: u64,
    /// Commands that the device did not answer.
    pub unanswered: u64,
}

impl Tally {
    /// Compares the books.
    ///
    /// A cloud that was killed with its sessions may see the QoS 2 messages again that were in flight
    /// then, the `forgotten` ones: the other half of what would have ruled that out is gone.
    pub(super) fn of(published: &Published, arrived: &Arrived, forgotten: &BTreeSet<u64>) -> Self {
        let mut tally = Self {
            unknown: arrived.unreadable,
            ..Self::default()
        };
        let mut known = 0;
        for (sequence, entry) in &published.0 {
            let copies = arrived.copies.get(sequence).copied().unwrap_or(0);
            known += copies;
            tally.published += 1;
            tally.exactly_once += u64::from(entry.qos == QoS::ExactlyOnce);
            tally.acknowledged += u64::from(matches!(entry.end, End::Acknowledged { .. }));
            let Some(surplus) = copies.checked_sub(1) else {
                match entry.end {
                    End::Open => tally.under_way += 1,
                    End::Acknowledged { .. } | End::GivenUp => tally.lost += 1,
                }
                continue;
            };
            tally.received += 1;
            match entry.qos {
                _ if entry.end == (End::Acknowledged { maybe_twice: false }) => {
                    tally.wrongly_doubled += surplus;
                }
                QoS::AtLeastOnce => tally.doubled += surplus,
                _ if forgotten.contains(sequence) => tally.forgotten += surplus,
                _ => tally.wrongly_doubled += surplus,
            }
        }
        tally.unknown += arrived.copies.values().sum::<u64>() - known;
        tally
    }

    /// Whether something happened that must not, whatever was still to come.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.lost > 0 || self.wrongly_doubled > 0 || self.unknown > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: End = End::Acknowledged { maybe_twice: false };
    const TWICE: End = End::Acknowledged { maybe_twice: true };

    fn tally(messages: &[(QoS, End)], arrivals: &[u64]) -> Tally {
        tally_without(&BTreeSet::new(), messages, arrivals)
    }

    fn tally_without(
        forgotten: &BTreeSet<u64>,
        messages: &[(QoS, End)],
        arrivals: &[u64],
    ) -> Tally {
        let (mut published, mut arrived) = (Published::default(), Arrived::default());
        for ((qos, end), sequence) in messages.iter().zip(1..) {
            published.enter(sequence, *qos);
            published.end(sequence, *end);
            // Told once more, as by a process that began anew.
            published.enter(sequence, *qos);
            assert_eq!(published.may_be_there_twice(sequence), *end == TWICE);
        }
        for sequence in arrivals {
            arrived.enter(Some(*sequence));
        }
        Tally::of(&published, &arrived, forgotten)
    }

    #[test]
    fn every_message_once_is_neither_lost_nor_doubled() {
        let messages = [
            (QoS::AtLeastOnce, ONCE),
            (QoS::ExactlyOnce, ONCE),
            (QoS::AtLeastOnce, TWICE),
        ];
        let expected = Tally {
            published: 3,
            exactly_once: 1,
            acknowledged: 3,
            received: 3,
            ..Tally::default()
        };
        // The order does not matter.
        for arrivals in [[1, 2, 3], [3, 1, 2]] {
            assert_eq!(tally(&messages, &arrivals), expected);
        }
        assert!(!expected.is_broken());
    }

    #[test]
    fn a_message_that_did_not_come_is_lost_unless_it_is_under_way() {
        let q1 = QoS::AtLeastOnce;
        for (end, lost) in [(ONCE, 1), (TWICE, 1), (End::GivenUp, 1), (End::Open, 0)] {
            let tally = tally(&[(q1, ONCE), (q1, end), (q1, ONCE)], &[1, 3]);
            assert_eq!((tally.received, tally.lost), (2, lost), "{end:?}");
            assert_eq!(tally.under_way, 1 - lost, "{end:?}");
            assert_eq!(tally.is_broken(), lost > 0, "{end:?}");
        }
        // A copy of another one does not make up for it.
        let tally = tally(&[(q1, TWICE), (q1, ONCE)], &[1, 1]);
        assert_eq!((tally.lost, tally.doubled), (1, 1));
    }

    #[test]
    fn copies_are_allowed_at_qos_1_where_the_outcome_said_so_and_nowhere_else() {
        let table = [
            (QoS::AtLeastOnce, TWICE, true),
            (QoS::AtLeastOnce, End::Open, true),
            (QoS::AtLeastOnce, End::GivenUp, true),
            (QoS::AtLeastOnce, ONCE, false),
            (QoS::ExactlyOnce, TWICE, false),
            (QoS::ExactlyOnce, ONCE, false),
            (QoS::ExactlyOnce, End::Open, false),
        ];
        for (qos, end, allowed) in table {
            let tally = tally(&[(qos, end)], &[1, 1, 1]);
            let counts = (tally.doubled, tally.wrongly_doubled);
            assert_eq!(
                counts,
                if allowed { (2, 0) } else { (0, 2) },
                "{qos:?} {end:?}"
            );
            assert_eq!(tally.is_broken(), !allowed, "{qos:?} {end:?}");
        }
    }

    #[test]
    fn a_broker_that_was_killed_excuses_what_was_in_flight_then_and_nothing_else() {
        let q2 = QoS::ExactlyOnce;
        let found = tally_without(
            &BTreeSet::from([1]),
            &[(q2, TWICE), (q2, TWICE), (q2, ONCE)],
            &[1, 1, 2, 3],
        );
        assert_eq!((found.forgotten, found.wrongly_doubled), (1, 0));
        assert_eq!(found.doubled, 0, "that row is of QoS 1");
        assert!(!found.is_broken());
        // Another one, in a later round; and one of which the outcome rules it out.
        for arrivals in [&[1, 2, 2, 3][..], &[1, 2, 3, 3]] {
            let found = tally_without(
                &BTreeSet::from([1, 3]),
                &[(q2, TWICE), (q2, TWICE), (q2, ONCE)],
                arrivals,
            );
            assert_eq!((found.forgotten, found.wrongly_doubled), (0, 1));
            assert!(found.is_broken());
        }
    }

    #[test]
    fn what_nobody_published_is_told() {
        let found = tally(&[(QoS::AtLeastOnce, ONCE)], &[0, 1, 2]);
        assert_eq!((found.received, found.unknown), (1, 2));
        assert!(found.is_broken());
        let mut arrived = Arrived::default();
        arrived.enter(None);
        let found = Tally::of(&Published::default(), &arrived, &BTreeSet::new());
        assert_eq!((found.unknown, arrived.distinct()), (1, 0));
    }
}
