//! Retained messages: the last one of each topic, for subscriptions to come (MQTT3-3.3.1.3).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use super::message::BrokerMessage;
use crate::packet::QoS;
use crate::topic::{RouteId, TopicFilter};

/// Retained messages looked at for the new subscriptions of one client in a turn of its connection; the
/// others are for its next turns.
pub(super) const RETAINED_LOOKS_MAX: usize = 1_024;

/// The retained messages by topic; bounded in count and bytes.
#[derive(Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Rc<str>, Kept>,
    /// How many were ever kept.
    kept: u64,
    bytes: usize,
    max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(super) const fn new(max: usize, bytes_max: usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            kept: 0,
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
            self.bytes -= old.message.len();
        }
        if message.payload().is_empty() {
            return true;
        }
        let bytes = self.bytes.saturating_add(message.len());
        if self.messages.len() >= self.max || bytes > self.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.kept += 1;
        let kept = Kept {
            message: message.clone(),
            number: self.kept,
        };
        self.messages.insert(message.topic().into(), kept);
        true
    }

    /// Returns the messages for a subscription, in order of their topics.
    pub(super) fn matching(&self, filter: &TopicFilter) -> impl Iterator<Item = &BrokerMessage> {
        let messages = self.messages.values().map(|kept| &kept.message);
        messages.filter(|message| filter.matches(message.topic()))
    }

    /// Begins to look for the messages that a new subscription gets.
    pub(super) fn scan(&self, filter: TopicFilter, route: RouteId, granted: QoS) -> Scan {
        let literal = filter.as_str().split(['+', '#']).next().unwrap_or_default();
        // `a/#` matches `a` as well (MQTT3-4.7.1.2).
        let literal = literal.strip_suffix('/').unwrap_or(literal).len();
        Scan {
            filter,
            literal,
            route,
            granted,
            before: self.kept,
            behind: None,
        }
    }

    /// Looks for the next message of a scan, at up to `looks` of them, which is counted down. It is found
    /// again until [`Scan::pass`].
    pub(super) fn look(&self, scan: &mut Scan, looks: &mut usize) -> Look<'_> {
        let literal = &scan.filter.as_str()[..scan.literal];
        let from = match &scan.behind {
            Some(topic) => Bound::Excluded(&**topic),
            None => Bound::Included(literal),
        };
        let mut last = None;
        let mut found = Look::End;
        for (topic, kept) in self.messages.range::<str, _>((from, Bound::Unbounded)) {
            if !topic.starts_with(literal) {
                break;
            }
            if *looks == 0 {
                found = Look::Later;
                break;
            }
            *looks -= 1;
            // What was kept later was given to the subscription when it came.
            if kept.number <= scan.before && scan.filter.matches(topic) {
                found = Look::Found(&kept.message);
                break;
            }
            last = Some(topic);
        }
        if let Some(topic) = last {
            scan.behind = Some(Rc::clone(topic));
        }
        found
    }

    /// Returns how many messages are kept.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// A retained message.
#[derive(Debug)]
struct Kept {
    message: BrokerMessage,
    /// It was the so manieth that was kept.
    number: u64,
}

/// How far a new subscription has come in the retained messages that it begins with.
#[derive(Debug)]
pub(super) struct Scan {
    filter: TopicFilter,
    /// So many bytes of the filter begin every topic that it matches.
    literal: usize,
    /// The subscription: another one with the same filter has a scan of its own.
    pub(super) route: RouteId,
    pub(super) granted: QoS,
    /// Messages kept up to then are looked for.
    before: u64,
    /// The topic looked at last.
    behind: Option<Rc<str>>,
}

impl Scan {
    pub(super) fn filter(&self) -> &str {
        self.filter.as_str()
    }

    /// Goes on behind the message that was found.
    pub(super) fn pass(&mut self, topic: &str) {
        self.behind = Some(topic.into());
    }
}

/// What came of a look.
#[derive(Debug)]
pub(super) enum Look<'a> {
    Found(&'a BrokerMessage),
    /// There may be more, and it was looked at enough.
    Later,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Router;

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

    /// Everything that a scan finds with so many looks at a time, and how often it had to go on.
    fn scan_all(retained: &Retained, scan: &mut Scan, looks_max: usize) -> (Vec<String>, usize) {
        let (mut found, mut later) = (Vec::new(), 0);
        let mut looks = looks_max;
        loop {
            match retained.look(scan, &mut looks) {
                Look::Found(message) => {
                    found.push(message.topic().to_owned());
                    scan.pass(message.topic());
                }
                Look::Later => {
                    later += 1;
                    looks = looks_max;
                }
                Look::End => return (found, later),
            }
        }
    }

    fn route() -> RouteId {
        Router::new().insert(TopicFilter::new("a").unwrap(), ())
    }

    #[test]
    fn a_scan_finds_what_the_filter_matches_a_bounded_number_of_looks_at_a_time() {
        let mut retained = Retained::new(99, 999);
        let topics = ["$x/a", "/", "a", "a/b", "a/b/c", "a/bc", "aa", "b", "b/a"];
        for topic in topics {
            assert!(retained.set(&message(topic, "1")));
        }
        for filter in [
            "#", "a", "a/#", "a/+", "a/b", "a/b/#", "+/b", "+/+", "/", "/+", "+", "$x/#", "c/#",
        ] {
            let filter = TopicFilter::new(filter).unwrap();
            let expected = topics.into_iter().filter(|topic| filter.matches(topic));
            let expected: Vec<_> = expected.map(str::to_owned).collect();
            for looks in [1, 2, 3, 99] {
                let mut scan = retained.scan(filter.clone(), route(), QoS::AtMostOnce);
                let (found, later) = scan_all(&retained, &mut scan, looks);
                assert_eq!(found, expected, "{filter:?} with {looks} looks");
                assert!(later <= topics.len() / looks, "{later} times {looks}");
            }
        }
        // A filter without wildcards looks at its own topic alone, and at those that begin alike.
        let mut scan = retained.scan(TopicFilter::new("b/a").unwrap(), route(), QoS::AtMostOnce);
        assert_eq!(
            scan_all(&retained, &mut scan, 1),
            (vec!["b/a".to_owned()], 0)
        );
    }

    #[test]
    fn a_scan_leaves_out_what_was_kept_after_it_began() {
        let mut retained = Retained::new(9, 99);
        for topic in ["a", "b", "c"] {
            assert!(retained.set(&message(topic, "old")));
        }
        let mut scan = retained.scan(TopicFilter::new("#").unwrap(), route(), QoS::AtMostOnce);
        assert!(retained.set(&message("b", "new")) && retained.set(&message("d", "new")));
        assert!(retained.set(&message("c", "")));
        assert_eq!(scan_all(&retained, &mut scan, 9).0, ["a"]);
    }
}
