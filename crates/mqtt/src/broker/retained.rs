//! Retained messages: the last one of each topic, for subscriptions to come (MQTT3-3.3.1.3).

use std::collections::BTreeMap;
use std::rc::Rc;

use super::message::BrokerMessage;
use crate::topic::TopicFilter;

/// The retained messages by topic; bounded in count and bytes.
#[derive(Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Rc<str>, BrokerMessage>,
    bytes: usize,
    max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(super) const fn new(max: usize, bytes_max: usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            bytes: 0,
            max,
            bytes_max,
        }
    }

    /// Keeps the message in place of the one before (MQTT3-3.3.1-5); an empty one only removes that
    /// (MQTT3-3.3.1-10, 3.3.1-11).
    ///
    /// Returns whether it could be obeyed: `false` means that there was no room, and that the topic
    /// has no retained message now, since the one before is out of date.
    pub(super) fn set(&mut self, message: &BrokerMessage) -> bool {
        if let Some(old) = self.messages.remove(message.topic()) {
            self.bytes -= old.len();
        }
        if message.payload().is_empty() {
            return true;
        }
        let bytes = self.bytes.saturating_add(message.len());
        if self.messages.len() >= self.max || bytes > self.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.messages
            .insert(message.topic().into(), message.clone());
        true
    }

    /// Returns the messages for a subscription, in order of their topics.
    pub(super) fn matching(&self, filter: &TopicFilter) -> impl Iterator<Item = &BrokerMessage> {
        self.messages
            .values()
            .filter(|message| filter.matches(message.topic()))
    }

    /// Returns how many messages are kept.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::QoS;

    fn message(topic: &str, payload: &str) -> BrokerMessage {
        BrokerMessage::new(topic, payload.as_bytes(), QoS::AtLeastOnce, true)
    }

    #[track_caller]
    fn check(retained: &Retained, filter: &str, expected: &[&str]) {
        let filter = TopicFilter::new(filter).unwrap();
        let found: Vec<_> = retained
            .matching(&filter)
            .map(|m| format!("{}={}", m.topic(), String::from_utf8_lossy(m.payload())))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_last_message_of_a_topic_is_kept_and_an_empty_one_removes_it() {
        let mut retained = Retained::new(9, 99);
        assert!(retained.set(&message("a/b", "1")) && retained.set(&message("a/b", "2")));
        assert!(retained.set(&message("$x", "3")));
        check(&retained, "#", &["a/b=2"]);
        check(&retained, "$x", &["$x=3"]);
        assert!(retained.set(&message("a/b", "")) && retained.set(&message("none", "")));
        check(&retained, "#", &[]);
        assert_eq!((retained.len(), retained.bytes), (1, 3));
    }

    #[test]
    fn count_and_bytes_are_bounded_and_nothing_out_of_date_is_left() {
        let mut retained = Retained::new(2, 10);
        assert!(retained.set(&message("a", "1")) && retained.set(&message("b", "1")));
        assert!(!retained.set(&message("c", "1")));
        assert!(retained.set(&message("a", "1234567")));
        assert!(!retained.set(&message("b", "12")));
        check(&retained, "#", &["a=1234567"]);
    }
}
