//! Messages that wait for their turn: bounded, the oldest of QoS 0 dropped first.

use std::collections::VecDeque;

use super::message::BrokerMessage;
use crate::packet::QoS;

/// Messages in order of arrival, in two lines: QoS 0 passes the other one while the window is full.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// QoS 0, with the place in the common order.
    at_most_once: VecDeque<(u64, BrokerMessage)>,
    /// QoS 1 and 2, alike.
    acknowledged: VecDeque<(u64, BrokerMessage)>,
    next: u64,
    bytes: usize,
}

impl Queue {
    /// Adds a message and drops others until count and bytes are within the bounds: the oldest of
    /// QoS 0, then the oldest of all. The new one stays even if it alone is too large.
    ///
    /// Returns how many were dropped.
    pub(super) fn push(&mut self, message: BrokerMessage, max: usize, bytes_max: usize) -> u64 {
        self.bytes += message.len();
        let line = match message.qos() {
            QoS::AtMostOnce => &mut self.at_most_once,
            QoS::AtLeastOnce | QoS::ExactlyOnce => &mut self.acknowledged,
        };
        line.push_back((self.next, message));
        self.next += 1;
        let mut dropped = 0;
        while self.len() > 1 && (self.len() > max || self.bytes > bytes_max) {
            let newest = self.next - 1;
            let spare = match self.at_most_once.front() {
                Some((place, _)) => *place != newest,
                None => false,
            };
            // A new message of QoS 0 that finds only acknowledged ones before it goes itself.
            let only_new = self.at_most_once.len() == 1 && !spare;
            if spare || only_new {
                self.pop_front(QoS::AtMostOnce);
            } else {
                self.pop_front(QoS::AtLeastOnce);
            }
            dropped += 1;
        }
        dropped
    }

    /// Whether a message has room without another one being dropped.
    pub(super) fn has_room(&self, message: &BrokerMessage, max: usize, bytes_max: usize) -> bool {
        self.len() == 0 || (self.len() < max && self.bytes + message.len() <= bytes_max)
    }

    /// Returns how many messages and bytes it would hold with one more.
    pub(super) fn with_one_more(&self, message: &BrokerMessage) -> (usize, usize) {
        (self.len() + 1, self.bytes + message.len())
    }

    /// Takes the next message: the oldest, or while the window is full the oldest of QoS 0.
    pub(super) fn pop(&mut self, window_open: bool) -> Option<BrokerMessage> {
        let first_of_0 = self.at_most_once.front().map(|(place, _)| *place);
        let first_of_others = self.acknowledged.front().map(|(place, _)| *place);
        let qos_0_first = match (first_of_0, first_of_others) {
            (Some(one), Some(other)) => !window_open || one < other,
            (Some(_), None) => true,
            (None, Some(_)) if window_open => false,
            (None, _) => return None,
        };
        self.pop_front(if qos_0_first {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        })
    }

    /// Drops the messages of QoS 0: the connection they were for is gone (MQTT3-4.3.1).
    pub(super) fn forget_at_most_once(&mut self) {
        while self.pop_front(QoS::AtMostOnce).is_some() {}
    }

    /// Returns how many messages wait.
    pub(super) fn len(&self) -> usize {
        self.at_most_once.len() + self.acknowledged.len()
    }

    fn pop_front(&mut self, qos: QoS) -> Option<BrokerMessage> {
        let line = match qos {
            QoS::AtMostOnce => &mut self.at_most_once,
            QoS::AtLeastOnce | QoS::ExactlyOnce => &mut self.acknowledged,
        };
        let (_, message) = line.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, qos: QoS) -> BrokerMessage {
        BrokerMessage::new("t", text.as_bytes(), qos, false)
    }

    fn fill(entries: &[(&str, u8)], max: usize, bytes_max: usize) -> (Queue, u64) {
        let mut queue = Queue::default();
        let mut dropped = 0;
        for (text, qos) in entries {
            let qos = QoS::from_bits(*qos).unwrap();
            dropped += queue.push(message(text, qos), max, bytes_max);
        }
        (queue, dropped)
    }

    fn drain(mut queue: Queue, window_open: bool) -> String {
        let mut all = String::new();
        while let Some(message) = queue.pop(window_open) {
            all.push_str(std::str::from_utf8(message.payload()).unwrap());
        }
        all
    }

    #[test]
    fn messages_leave_in_order_and_qos_0_passes_a_full_window() {
        let entries = [("a", 1), ("b", 0), ("c", 2), ("d", 0)];
        assert_eq!(drain(fill(&entries, 9, 99).0, true), "abcd");
        assert_eq!(drain(fill(&entries, 9, 99).0, false), "bd");
    }

    #[test]
    fn the_oldest_of_qos_0_is_dropped_first_and_then_the_oldest() {
        let (queue, dropped) = fill(&[("a", 1), ("b", 0), ("c", 0), ("d", 2)], 3, 99);
        assert_eq!((drain(queue, true).as_str(), dropped), ("acd", 1));
        let (queue, dropped) = fill(&[("a", 1), ("b", 2), ("c", 1)], 2, 99);
        assert_eq!((drain(queue, true).as_str(), dropped), ("bc", 1));
        let (queue, dropped) = fill(&[("a", 1), ("b", 2), ("c", 0)], 2, 99);
        assert_eq!((drain(queue, true).as_str(), dropped), ("ab", 1));
    }

    #[test]
    fn bytes_are_bounded_and_one_message_always_fits() {
        let (queue, dropped) = fill(&[("aaa", 1), ("bbb", 1)], 9, 7);
        assert_eq!((drain(queue, true).as_str(), dropped), ("bbb", 1));
        let (queue, dropped) = fill(&[("aaaaaaaaaa", 0)], 9, 7);
        assert_eq!((drain(queue, true).as_str(), dropped), ("aaaaaaaaaa", 0));
    }

    #[test]
    fn forgetting_qos_0_leaves_the_others_and_their_bytes() {
        let (mut queue, _) = fill(&[("a", 0), ("b", 1)], 9, 99);
        queue.forget_at_most_once();
        assert_eq!((queue.len(), queue.bytes), (1, 2));
    }
}
