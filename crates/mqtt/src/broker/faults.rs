//! Faults on demand, by client identifier: what a bad network or a bad broker does to a client.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::BrokerError;
use crate::packet::ConnectReason;

/// Clients that may have faults; one beyond is an error.
pub const FAULTS_MAX: usize = 1_024;

/// Acknowledgements that are left out: PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropAcks {
    /// So many of the next ones; zero, the default, is none.
    Next(u32),
    /// Each one.
    All,
}

impl Default for DropAcks {
    fn default() -> Self {
        Self::Next(0)
    }
}

/// What goes wrong for one client; by default nothing.
///
/// Set while a connection is open it holds from the next byte on, without wait. `refuse`, `delay`,
/// `half_open` and [`DropAcks::All`] hold until they are changed; a cut and the counted acks are used
/// up by happening, which [`Broker::faults`](super::Broker::faults) shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Acknowledgements that are left out when their turn to be sent comes.
    pub drop_acks: DropAcks,
    /// How long each packet is held before its first byte leaves; later packets stay behind it. At
    /// most 64 KiB and one packet are held, the rest waits in the session.
    pub delay: Duration,
    /// Cuts the connection once the broker has sent exactly so many bytes of MQTT on it. A connection
    /// that is past that stays, and the next one is cut.
    pub cut_after_sent: Option<u64>,
    /// Cuts the connection once the broker has received exactly so many bytes of MQTT on it: whole
    /// packets within them are handled, their answers are not sent. Otherwise as `cut_after_sent`.
    pub cut_after_received: Option<u64>,
    /// Refuses each CONNECT for this reason.
    pub refuse: Option<ConnectReason>,
    /// Neither reads nor writes and keeps the socket; keep alive stands still. CONNECT itself is
    /// read, since it says who the client is, and not answered. It ends when it is unset, when the
    /// client connects anew, or when the broker stops.
    pub half_open: bool,
}

/// The faults of all clients.
#[derive(Debug, Default)]
pub(super) struct FaultTable(BTreeMap<String, Faults>);

impl FaultTable {
    pub(super) fn get(&self, client: &str) -> Faults {
        self.0.get(client).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, client: &str, faults: Faults) -> Result<(), BrokerError> {
        if faults == Faults::default() {
            self.0.remove(client);
            return Ok(());
        }
        if !self.0.contains_key(client) && self.0.len() >= FAULTS_MAX {
            return Err(BrokerError::TooManyFaults);
        }
        self.0.insert(client.to_owned(), faults);
        Ok(())
    }

    /// Decides about one acknowledgement: `true` leaves it out.
    pub(super) fn takes_ack(&mut self, client: &str) -> bool {
        match self.0.get_mut(client).map(|faults| &mut faults.drop_acks) {
            Some(DropAcks::All) => true,
            Some(DropAcks::Next(count)) if *count > 0 => {
                *count -= 1;
                true
            }
            Some(DropAcks::Next(_)) | None => false,
        }
    }

    /// Notes that a cut has happened.
    pub(super) fn used_cut(&mut self, client: &str, cut: Cut) {
        if let Some(faults) = self.0.get_mut(client) {
            match cut {
                Cut::Sent => faults.cut_after_sent = None,
                Cut::Received => faults.cut_after_received = None,
            }
        }
    }
}

/// Which of the two cuts happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Sent,
    Received,
}

/// How many of `wanted` bytes are allowed before a cut at `at`, when `done` are through.
pub(super) fn allowed(at: Option<u64>, done: u64, wanted: usize) -> usize {
    match at.and_then(|at| at.checked_sub(done)) {
        Some(left) => usize::try_from(left).map_or(wanted, |left| left.min(wanted)),
        None => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(drop_acks: DropAcks) -> FaultTable {
        let mut table = FaultTable::default();
        let faults = Faults {
            drop_acks,
            ..Faults::default()
        };
        table.set("a", faults).unwrap();
        table
    }

    #[test]
    fn exactly_the_acks_asked_for_are_left_out() {
        let mut table = with(DropAcks::Next(2));
        assert_eq!(
            [(); 4].map(|()| table.takes_ack("a")),
            [true, true, false, false]
        );
        assert!(with(DropAcks::All).takes_ack("a"));
        assert!(!with(DropAcks::All).takes_ack("b"));
        assert!(!with(DropAcks::default()).takes_ack("a"));
    }

    #[test]
    fn bytes_up_to_the_cut_are_allowed_and_a_missed_cut_is_none() {
        assert_eq!(allowed(None, 5, 9), 9);
        assert_eq!(allowed(Some(7), 5, 9), 2);
        assert_eq!(allowed(Some(5), 5, 9), 0);
        assert_eq!(allowed(Some(4), 5, 9), 9);
        assert_eq!(allowed(Some(u64::MAX), 0, 9), 9);
    }

    #[test]
    fn a_cut_is_used_up_and_the_number_of_clients_is_bounded() {
        let mut table = FaultTable::default();
        let faults = Faults {
            cut_after_sent: Some(1),
            cut_after_received: Some(2),
            ..Faults::default()
        };
        for number in 0..FAULTS_MAX {
            table.set(&number.to_string(), faults).unwrap();
        }
        assert_eq!(table.set("x", faults), Err(BrokerError::TooManyFaults));
        table.used_cut("7", Cut::Sent);
        assert_eq!(table.get("7").cut_after_sent, None);
        assert_eq!(table.get("7").cut_after_received, Some(2));
        table.set("7", Faults::default()).unwrap();
        assert_eq!(table.set("x", faults), Ok(()));
    }
}
