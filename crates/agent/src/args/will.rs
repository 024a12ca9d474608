//! The will, from its options (MQTT3-3.1.2.5): what the broker publishes when the program is lost.

use mqtt::packet::MAX_FIELD_LEN;
use mqtt::topic::TopicName;
use mqtt::{QoS, Will};

use super::UsageError;

/// What was given of a will, before it is known whether there is one.
#[derive(Default)]
pub(super) struct GivenWill {
    topic: Option<TopicName>,
    payload: Option<Vec<u8>>,
    qos: Option<QoS>,
    retain: bool,
}

impl GivenWill {
    /// `--will-topic`; the last one counts.
    pub(super) fn topic(&mut self, text: String) -> Result<(), UsageError> {
        match TopicName::new(text.as_str()) {
            Ok(topic) => self.topic = Some(topic),
            Err(error) => return Err(UsageError::WillTopic { text, error }),
        }
        Ok(())
    }

    /// `--will-payload`: any bytes that fit into CONNECT (MQTT3-3.1.3.3).
    pub(super) fn payload(&mut self, bytes: Vec<u8>) -> Result<(), UsageError> {
        match bytes.len() {
            0..=MAX_FIELD_LEN => self.payload = Some(bytes),
            len => return Err(UsageError::WillPayload(len)),
        }
        Ok(())
    }

    /// `--will-qos`.
    pub(super) const fn qos(&mut self, qos: QoS) {
        self.qos = Some(qos);
    }

    /// `--will-retain`.
    pub(super) const fn retain(&mut self) {
        self.retain = true;
    }

    /// Makes the will; without a topic there is none, and nothing may have been said of it but its
    /// quality of service, which `mosquitto_sub` takes alone as well.
    pub(super) fn into_will(self) -> Result<Option<Will>, UsageError> {
        let Some(topic) = self.topic else {
            let given = self.payload.is_some() || self.retain;
            return if given {
                Err(UsageError::WillWithoutTopic)
            } else {
                Ok(None)
            };
        };
        Ok(Some(Will {
            topic: topic.as_str().to_owned(),
            payload: self.payload.unwrap_or_default(),
            qos: self.qos.unwrap_or_default(),
            retain: self.retain,
        }))
    }
}
