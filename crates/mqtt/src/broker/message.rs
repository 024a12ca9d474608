//! A message inside the broker: shared by all sessions it is queued for.

use std::fmt;
use std::rc::Rc;

use crate::packet::{QoS, Will};

/// An application message as the broker holds it (MQTT3-3.3).
///
/// A clone shares topic and payload.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerMessage {
    topic: Rc<str>,
    payload: Rc<[u8]>,
    qos: QoS,
    retain: bool,
    /// Known to subscriptions of the program alone.
    publisher: Option<Rc<str>>,
}

impl BrokerMessage {
    /// Makes a message; its topic is a topic name that was checked.
    pub(super) fn new(topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain,
            publisher: None,
        }
    }

    /// Notes who published it.
    pub(super) fn published_by(mut self, client: Option<&str>) -> Self {
        self.publisher = client.map(Rc::from);
        self
    }

    /// Makes the message of a will.
    pub(super) fn of_will(will: &Will<'_>) -> Self {
        Self::new(will.topic, will.payload, will.qos, will.retain)
    }

    /// Returns the same message for a subscription: at most with the QoS granted to it, and with
    /// the RETAIN flag that tells whether it was kept from before (MQTT3-3.3.1-8, 3.3.1-9).
    pub(super) fn delivered(&self, granted: QoS, retain: bool) -> Self {
        Self {
            qos: self.qos.min(granted),
            retain,
            ..self.clone()
        }
    }

    /// Returns the topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the application message; it may be empty.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the QoS: that of the publisher, or a lower one that was granted.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Returns the RETAIN flag: of a delivered message, whether it was kept from before the
    /// subscription (MQTT3-3.3.1-8).
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Returns the identifier of the client that published it, on a connection of its own: of a message
    /// that comes to a [`LocalSubscription`](super::LocalSubscription) and was neither kept from before,
    /// nor a will, nor published by the program.
    #[must_use]
    pub fn publisher(&self) -> Option<&str> {
        self.publisher.as_deref()
    }

    /// Returns the bytes of topic and payload, which is what the bounds of queues count.
    pub(super) fn len(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

impl fmt::Debug for BrokerMessage {
    /// Shows the length of the payload in place of the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerMessage")
            .field("topic", &&*self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("publisher", &self.publisher)
            .finish()
    }
}
