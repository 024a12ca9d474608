//! What a server is known to refuse beyond what MQTT itself forbids.
//!
//! Many providers answer a topic with too many levels, or a QoS that they do not offer, by closing the
//! connection without a word; a client that sends the same again has it closed again. So what can be
//! known before is refused before it goes anywhere. Pure: nothing here is a wait or a clock.

use std::fmt;

use crate::debug_is_text::debug_is_text;
use crate::packet::QoS;

/// What a server takes at most; anything that MQTT allows unless set.
///
/// # Examples
///
/// ```
/// use mqtt::QoS;
/// use mqtt::session::ServerLimits;
///
/// let limits = ServerLimits::new("broker.example").topic_levels(2).qos_max(QoS::AtLeastOnce);
/// assert!(limits.check_publish("a/b", 10, QoS::AtLeastOnce).is_ok());
/// let refused = limits.check_publish("a/b/c", 10, QoS::AtLeastOnce).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "expected at most 2 levels of a topic, as broker.example says, found 3"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Of the limits that are set next.
    source: Source,
    client_id_bytes: Bound,
    topic_bytes: Bound,
    topic_levels: Bound,
    exempt: Option<(&'static str, usize)>,
    payload_bytes: Bound,
    qos_max: QoS,
    qos_source: Source,
    filters_per_subscribe: Bound,
    subscriptions: Bound,
}

/// Who says something, and whether they only assume it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    set_by: &'static str,
    is_assumed: bool,
}

/// How much something may be, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    most: usize,
    source: Source,
}

impl Source {
    const fn bound(self, most: usize) -> Bound {
        let source = self;
        Bound { most, source }
    }

    const fn check(self, limit: Limit, found: usize, bound: usize) -> Result<(), Limited> {
        if found <= bound {
            return Ok(());
        }
        let Self { set_by, is_assumed } = self;
        Err(Limited {
            limit,
            found,
            bound,
            set_by,
            is_assumed,
        })
    }
}

impl Bound {
    const fn check(self, limit: Limit, found: usize) -> Result<(), Limited> {
        self.source.check(limit, found, self.most)
    }
}

impl ServerLimits {
    /// Starts without a limit. `set_by` is who has those that are set next, as errors name it.
    #[must_use]
    pub const fn new(set_by: &'static str) -> Self {
        let is_assumed = false;
        let source = Source { set_by, is_assumed };
        let none = source.bound(usize::MAX);
        Self {
            source,
            client_id_bytes: none,
            topic_bytes: none,
            topic_levels: none,
            exempt: None,
            payload_bytes: none,
            qos_max: QoS::ExactlyOnce,
            qos_source: source,
            filters_per_subscribe: none,
            subscriptions: none,
        }
    }

    /// Who has the limits that are set from here on.
    #[must_use]
    pub const fn said_by(mut self, set_by: &'static str) -> Self {
        let is_assumed = false;
        self.source = Source { set_by, is_assumed };
        self
    }

    /// Who assumes the limits that are set from here on, without being sure of them.
    #[must_use]
    pub const fn assumed_by(mut self, set_by: &'static str) -> Self {
        let is_assumed = true;
        self.source = Source { set_by, is_assumed };
        self
    }

    /// Longest client identifier, in bytes.
    #[must_use]
    pub const fn client_id_bytes(mut self, bytes: usize) -> Self {
        self.client_id_bytes = self.source.bound(bytes);
        self
    }

    /// Longest topic name and topic filter, in bytes.
    #[must_use]
    pub const fn topic_bytes(mut self, bytes: usize) -> Self {
        self.topic_bytes = self.source.bound(bytes);
        self
    }

    /// Most levels of a topic name and of a topic filter: one more than it has slashes.
    #[must_use]
    pub const fn topic_levels(mut self, levels: usize) -> Self {
        self.topic_levels = self.source.bound(levels);
        self
    }

    /// Topic names that begin with `prefix` count from behind their first `levels` levels on, for
    /// their length and their levels.
    #[must_use]
    pub const fn exempt(mut self, prefix: &'static str, levels: usize) -> Self {
        self.exempt = Some((prefix, levels));
        self
    }

    /// Largest application message, in bytes.
    #[must_use]
    pub const fn payload_bytes(mut self, bytes: usize) -> Self {
        self.payload_bytes = self.source.bound(bytes);
        self
    }

    /// Highest QoS of a message that is published.
    #[must_use]
    pub const fn qos_max(mut self, qos: QoS) -> Self {
        (self.qos_max, self.qos_source) = (qos, self.source);
        self
    }

    /// Most topic filters in one SUBSCRIBE; at least 1.
    #[must_use]
    pub const fn filters_per_subscribe(mut self, filters: usize) -> Self {
        let filters = if filters == 0 { 1 } else { filters };
        self.filters_per_subscribe = self.source.bound(filters);
        self
    }

    /// Most topic filters that one client is subscribed to.
    #[must_use]
    pub const fn subscriptions(mut self, filters: usize) -> Self {
        self.subscriptions = self.source.bound(filters);
        self
    }

    /// Returns how many filters fit one SUBSCRIBE.
    #[must_use]
    pub const fn filters_per_subscribe_max(&self) -> usize {
        self.filters_per_subscribe.most
    }

    /// Returns how many filters one client may be subscribed to.
    #[must_use]
    pub const fn subscriptions_max(&self) -> usize {
        self.subscriptions.most
    }

    /// Returns the highest QoS.
    #[must_use]
    pub const fn highest_qos(&self) -> QoS {
        self.qos_max
    }

    /// Checks a message.
    ///
    /// # Errors
    /// The first limit that it is beyond.
    pub fn check_publish(&self, topic: &str, payload: usize, qos: QoS) -> Result<(), Limited> {
        self.check_topic(self.counted(topic))?;
        self.payload_bytes.check(Limit::PayloadBytes, payload)?;
        let (found, bound) = (qos.bits().into(), self.qos_max.bits().into());
        self.qos_source.check(Limit::QoS, found, bound)
    }

    /// Checks a client identifier.
    ///
    /// # Errors
    /// The limit, if it is beyond that.
    pub const fn check_client_id(&self, client_id: &str) -> Result<(), Limited> {
        self.client_id_bytes
            .check(Limit::ClientIdBytes, client_id.len())
    }

    /// Checks one SUBSCRIBE, after which there are `subscriptions` filters.
    ///
    /// # Errors
    /// The first limit that it is beyond.
    pub fn check_subscribe<'a>(
        &self,
        filters: impl ExactSizeIterator<Item = &'a str>,
        subscriptions: usize,
    ) -> Result<(), Limited> {
        let of_one = self.filters_per_subscribe;
        of_one.check(Limit::FiltersPerSubscribe, filters.len())?;
        self.subscriptions
            .check(Limit::Subscriptions, subscriptions)?;
        for filter in filters {
            self.check_topic(filter)?;
        }
        Ok(())
    }

    /// Checks a topic name or a topic filter alone.
    ///
    /// # Errors
    /// The first limit that it is beyond.
    pub fn check_topic(&self, topic: &str) -> Result<(), Limited> {
        self.topic_bytes.check(Limit::TopicBytes, topic.len())?;
        self.topic_levels.check(Limit::TopicLevels, levels(topic))
    }

    /// What of a topic name counts.
    fn counted<'a>(&self, topic: &'a str) -> &'a str {
        match self.exempt {
            Some((prefix, levels)) if topic.starts_with(prefix) => {
                let mut rest = topic.splitn(levels + 1, '/').skip(levels);
                rest.next().unwrap_or_default()
            }
            _ => topic,
        }
    }
}

fn levels(topic: &str) -> usize {
    topic.split('/').count()
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of a client identifier.
    ClientIdBytes,
    /// Bytes of a topic name or filter.
    TopicBytes,
    /// Levels of a topic name or filter.
    TopicLevels,
    /// Bytes of an application message.
    PayloadBytes,
    /// The QoS of a message.
    QoS,
    /// Topic filters in one SUBSCRIBE.
    FiltersPerSubscribe,
    /// Topic filters that a client is subscribed to.
    Subscriptions,
}

impl Limit {
    /// The words that an error says it with.
    const fn words(self) -> &'static str {
        match self {
            Self::ClientIdBytes => "bytes of a client identifier",
            Self::TopicBytes => "bytes of a topic",
            Self::TopicLevels => "levels of a topic",
            Self::PayloadBytes => "bytes of a message",
            Self::QoS => "for the QoS",
            Self::FiltersPerSubscribe => "topic filters in one SUBSCRIBE",
            Self::Subscriptions => "topic filters in all",
        }
    }
}

/// Something is beyond what the server takes; it was not sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// What is limited.
    pub limit: Limit,
    /// How much it is.
    pub found: usize,
    /// How much it may be.
    pub bound: usize,
    /// Whose limit it is: the server, or what stands for it.
    pub set_by: &'static str,
    /// They only assume it.
    pub is_assumed: bool,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            found,
            bound,
            set_by,
            is_assumed,
        } = self;
        let words = limit.words();
        let says = if *is_assumed { "assumes" } else { "says" };
        write!(
            f,
            "expected at most {bound} {words}, as {set_by} {says}, found {found}"
        )
    }
}

debug_is_text!(Limited);

impl std::error::Error for Limited {}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ServerLimits = ServerLimits::new("the test")
        .topic_bytes(12)
        .topic_levels(3)
        .exempt("$x/rules/", 3)
        .payload_bytes(100)
        .qos_max(QoS::AtLeastOnce)
        .filters_per_subscribe(2)
        .subscriptions(5);

    fn publish(topic: &str, payload: usize, qos: QoS) -> Result<(), (Limit, usize, usize)> {
        LIMITS
            .check_publish(topic, payload, qos)
            .map_err(|found| (found.limit, found.found, found.bound))
    }

    #[test]
    fn a_message_at_each_limit_passes_and_one_beyond_is_told() {
        let qos = QoS::AtLeastOnce;
        assert_eq!(publish("a/b/34567890", 100, qos), Ok(()));
        assert_eq!(
            publish("a/b/345678901", 100, qos),
            Err((Limit::TopicBytes, 13, 12))
        );
        assert_eq!(publish("a/b/c/", 0, qos), Err((Limit::TopicLevels, 4, 3)));
        assert_eq!(publish("a", 101, qos), Err((Limit::PayloadBytes, 101, 100)));
        assert_eq!(publish("a", 0, QoS::ExactlyOnce), Err((Limit::QoS, 2, 1)));
    }

    #[test]
    fn an_exempt_prefix_does_not_count() {
        let qos = QoS::AtMostOnce;
        assert_eq!(publish("$x/rules/a_long_name/a/b/c", 0, qos), Ok(()));
        assert_eq!(publish("$x/rules/a_long_name", 0, qos), Ok(()));
        assert_eq!(
            publish("$x/rules/n/a/b/c/d", 0, qos),
            Err((Limit::TopicLevels, 4, 3))
        );
    }

    #[test]
    fn filters_are_counted_in_a_packet_and_in_all() {
        let check = |filters: &[&str], all| {
            LIMITS
                .check_subscribe(filters.iter().copied(), all)
                .map_err(|found| (found.limit, found.found))
        };
        assert_eq!(check(&["a/#", "b/+/c"], 5), Ok(()));
        assert_eq!(
            check(&["a", "b", "c"], 3),
            Err((Limit::FiltersPerSubscribe, 3))
        );
        assert_eq!(check(&["a"], 6), Err((Limit::Subscriptions, 6)));
        assert_eq!(check(&["a/+/+/#"], 1), Err((Limit::TopicLevels, 4)));
    }

    #[test]
    fn each_limit_has_who_says_it_and_what_is_assumed_is_no_fact() {
        let limits = ServerLimits::new("the provider")
            .client_id_bytes(4)
            .assumed_by("the provider")
            .topic_levels(1)
            .said_by("[limits]")
            .payload_bytes(0);
        let told = |checked: Result<(), Limited>| checked.unwrap_err().to_string();
        assert_eq!(
            told(limits.check_client_id("meter")),
            "expected at most 4 bytes of a client identifier, as the provider says, found 5"
        );
        assert_eq!(
            told(limits.check_publish("a/b", 0, QoS::AtMostOnce)),
            "expected at most 1 levels of a topic, as the provider assumes, found 2"
        );
        assert_eq!(
            told(limits.check_publish("a", 1, QoS::AtMostOnce)),
            "expected at most 0 bytes of a message, as [limits] says, found 1"
        );
    }

    #[test]
    fn without_a_limit_everything_passes() {
        let none = ServerLimits::new("nobody");
        let topic = "a/".repeat(30_000);
        assert!(
            none.check_publish(&topic, usize::MAX, QoS::ExactlyOnce)
                .is_ok()
        );
        let filters = vec!["a/#"; 1_000];
        assert!(none.check_subscribe(filters.into_iter(), 1_000_000).is_ok());
    }
}
