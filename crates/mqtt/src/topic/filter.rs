//! Topic filters: what a subscription asks for.
//!
//! Clauses: MQTT3-4.7.1-2 and 4.7.1-3 (place of the wildcards), 4.7.2-1 (`$`-topics), 4.7.3-1 to
//! 4.7.3-3 (size, null character).

use std::fmt;
use std::ops::Deref;

use super::name::{TopicError, check_size};

/// A checked topic filter: `+` stands for one level, `#` for all that follow and for the level
/// before it.
///
/// Derefs to `str`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Box<str>);

impl TopicFilter {
    /// Takes `text` as a topic filter.
    ///
    /// # Errors
    /// One variant of [`TopicError`] for each rule of MQTT3-4.7 that binds filters.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, TopicError> {
        let text = text.into();
        check_topic_filter(&text)?;
        Ok(Self(text))
    }

    /// Tells whether a message on `topic` is for this filter.
    ///
    /// This is the definition of matching; the router finds the same filters faster. A filter that
    /// begins with a wildcard does not match a topic that begins with `$` (MQTT3-4.7.2-1).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for pattern in self.split('/') {
            match (pattern, levels.next()) {
                // Also where the topic has ended: "a/#" matches "a", the parent level.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (pattern, Some(level)) if pattern == level => {}
                (_, _) => return false,
            }
        }
        levels.next().is_none()
    }

    /// Tells whether every topic that `other` matches is matched by this filter too, level by level.
    ///
    /// `+/#` is not said to cover `#`, though it does; nothing is said to be covered that is not.
    pub fn covers(&self, other: &Self) -> bool {
        if other.starts_with('$') && self.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = other.split('/');
        for pattern in self.split('/') {
            match (pattern, levels.next()) {
                // Also where the other has ended: "a/#" covers "a".
                ("#", _) => return true,
                (_, Some("#")) => return false,
                ("+", Some(_)) => {}
                (pattern, Some(level)) if pattern == level => {}
                (_, _) => return false,
            }
        }
        levels.next().is_none()
    }

    /// Tells whether the filter holds a wildcard; without one it matches one topic alone.
    pub fn has_wildcard(&self) -> bool {
        self.contains(['+', '#'])
    }

    /// Returns the filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for TopicFilter {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicFilter {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

/// Checks that `filter` may stand in a SUBSCRIBE or UNSUBSCRIBE; allocates nothing.
///
/// # Errors
/// As [`TopicFilter::new`].
pub fn check_topic_filter(filter: &str) -> Result<(), TopicError> {
    check_size(filter)?;
    let bytes = filter.as_bytes();
    for (at, byte) in filter.bytes().enumerate() {
        let starts_level = at == 0 || bytes[at - 1] == b'/';
        match byte {
            0 => return Err(TopicError::Null { at }),
            b'#' if !starts_level || at + 1 != bytes.len() => {
                return Err(TopicError::MultiLevelWildcard { at });
            }
            b'+' if !starts_level || bytes.get(at + 1).is_some_and(|&next| next != b'/') => {
                return Err(TopicError::SingleLevelWildcard { at });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), TopicError>) {
        assert_eq!(check_topic_filter(text), expected, "{text:?}");
        assert_eq!(
            TopicFilter::new(text).map(|f| f.to_string()),
            expected.map(|()| text.into())
        );
        assert_eq!(TopicFilter::try_from(text).map(|_| ()), expected);
    }

    #[test]
    fn wildcards_fill_whole_levels_and_hash_is_last() {
        for text in [
            "#", "+", "a/#", "a/+", "+/#", "/#", "/+", "+/", "+/+/+", "a//#", "$SYS/#", "/",
        ] {
            check(text, Ok(()));
        }
        let hash = |at| Err(TopicError::MultiLevelWildcard { at });
        check("a#", hash(1));
        check("#a", hash(0));
        check("#/", hash(0));
        check("#/a", hash(0));
        check("a/#/b", hash(2));
        check("##", hash(0));
        check("a/b#", hash(3));
        let plus = |at| Err(TopicError::SingleLevelWildcard { at });
        check("a+", plus(1));
        check("+a", plus(0));
        check("++", plus(0));
        check("a/+b/c", plus(2));
        check("+#", plus(0));
        check("#+", hash(0));
    }

    #[test]
    fn filters_share_the_rules_of_size_and_null_with_names() {
        check("", Err(TopicError::Empty));
        check("a\0", Err(TopicError::Null { at: 1 }));
        check(&"x".repeat(65_535), Ok(()));
        check(
            &"x".repeat(65_536),
            Err(TopicError::TooLong { len: 65_536 }),
        );
    }

    #[test]
    fn matching_follows_the_examples_of_the_standard() {
        for (filter, topics) in [
            (
                "sport/tennis/player1/#",
                &[
                    "sport/tennis/player1",
                    "sport/tennis/player1/ranking",
                    "sport/tennis/player1/score/x",
                ][..],
            ),
            ("sport/#", &["sport", "sport/", "sport/a/b"]),
            ("#", &["a", "/", "a/b/c", "a/$x"]),
            ("sport/tennis/+", &["sport/tennis/player1", "sport/tennis/"]),
            ("sport/+", &["sport/"]),
            ("+", &["finance", "a$"]),
            ("+/+", &["/finance", "a/b", "/"]),
            ("/+", &["/finance", "/"]),
            ("+/tennis/#", &["a/tennis", "/tennis/x/y"]),
            ("$SYS/#", &["$SYS", "$SYS/a"]),
            ("$SYS/monitor/+", &["$SYS/monitor/Clients"]),
            ("a//b", &["a//b"]),
        ] {
            let filter = TopicFilter::new(filter).unwrap();
            for topic in topics {
                assert!(filter.matches(topic), "{filter} {topic}");
            }
        }
    }

    #[test]
    fn what_must_not_match_does_not() {
        for (filter, topics) in [
            (
                "sport/tennis/player1/#",
                &["sport/tennis/player2", "sport/tennis", "sport"][..],
            ),
            (
                "sport/tennis/+",
                &["sport/tennis/player1/ranking", "sport/tennis"],
            ),
            ("sport/+", &["sport", "sport/a/b"]),
            ("+", &["/finance", "a/b", "$SYS"]),
            ("#", &["$SYS", "$SYS/a", "$"]),
            ("+/monitor/Clients", &["$SYS/monitor/Clients"]),
            ("+/#", &["$SYS/a"]),
            ("a", &["A", "a/", "/a", "ab", ""]),
            ("a/#", &["ab", "A/b"]),
            ("a//b", &["a/b", "a/x/b"]),
        ] {
            let filter = TopicFilter::new(filter).unwrap();
            for topic in topics {
                assert!(!filter.matches(topic), "{filter} {topic}");
            }
        }
    }

    #[test]
    fn a_filter_is_text_and_knows_whether_it_is_one_topic() {
        let filter = TopicFilter::new("site/+/set").unwrap();
        assert_eq!(
            (&*filter, filter.as_str(), filter.as_ref()),
            ("site/+/set", "site/+/set", "site/+/set")
        );
        assert!(filter.has_wildcard());
        assert!(TopicFilter::new("a/#").unwrap().has_wildcard());
        assert!(!TopicFilter::new("a/b").unwrap().has_wildcard());
    }

    #[test]
    fn a_filter_covers_another_by_level_and_not_by_text() {
        for (ours, theirs, covered) in [
            ("a/b/#", "a/b", true),
            ("a/b/#", "a/b/#", true),
            ("a/b/#", "a/b/+/c", true),
            ("a/b/#", "a/bc/d", false),
            ("a/b/#", "a/bc", false),
            ("a/b/#", "a/#", false),
            ("a/b/#", "a/+/c", false),
            ("a/+/#", "a/b/c/#", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("#", "a/+", true),
            ("#", "$SYS/a", false),
            ("+/#", "$SYS/#", false),
            ("$SYS/#", "$SYS/a", true),
            ("a", "a", true),
            ("a", "a/#", false),
        ] {
            let [ours, theirs] = [ours, theirs].map(|text| TopicFilter::new(text).unwrap());
            assert_eq!(ours.covers(&theirs), covered, "{ours} and {theirs}");
        }
    }

    #[test]
    fn what_a_covered_filter_matches_its_cover_matches_too() {
        const TEXTS: [&str; 5] = ["a", "", "$a", "+", "#"];
        let mut texts: Vec<String> = Vec::new();
        for first in TEXTS {
            texts.push(first.to_owned());
            for second in TEXTS {
                texts.push(format!("{first}/{second}"));
                texts.extend(TEXTS.map(|third| format!("{first}/{second}/{third}")));
            }
        }
        let filters = texts
            .iter()
            .filter_map(|text| TopicFilter::new(text.as_str()).ok());
        let filters = Vec::from_iter(filters);
        let topics = texts.iter().filter(|text| !text.contains(['+', '#']));
        let topics = Vec::from_iter(topics);
        let mut covered = 0;
        for ours in &filters {
            for theirs in filters.iter().filter(|theirs| ours.covers(theirs)) {
                covered += 1;
                for topic in topics.iter().filter(|topic| theirs.matches(topic)) {
                    assert!(
                        ours.matches(topic),
                        "{ours} does not match {topic}, {theirs} does"
                    );
                }
            }
        }
        assert!(covered > filters.len(), "more than each itself");
    }
}
