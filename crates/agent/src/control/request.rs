//! What a program may ask.

use std::fmt;

use data_encoding::BASE64;
use mqtt::QoS;
use serde_json::Value;

use crate::json;

/// Bytes of a request, its line end included: room for a message of 256 KiB.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 512 * 1024;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// How the agent is.
    Status,
    /// The same for people.
    Text,
    /// The same for Prometheus.
    Metrics,
    /// What its fibers do.
    Fibers,
    /// The messages that wait, from a position on.
    QueueList {
        /// The position of the first one.
        from: u64,
    },
    /// The same with their payloads.
    QueueExport {
        /// The position of the first one.
        from: u64,
    },
    /// Withdraws the oldest messages that were not sent.
    QueueDrop {
        /// How many.
        count: u64,
    },
    /// Has a connection for that long.
    Connect {
        /// How long, in seconds.
        seconds: u64,
    },
    /// Has the certificate renewed.
    Renew,
    /// What became of renewals.
    Renewal,
    /// Reads the configuration again.
    Reload,
    /// What it sees of its connection, and what its own checks find.
    Doctor,
    /// Publishes a message by way of the queue.
    Publish(Box<ToPublish>),
}

/// A message that a program hands to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToPublish {
    /// Where to.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// With which quality of service.
    pub qos: QoS,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// How long to wait until the broker has it, in seconds.
    pub wait: u64,
}

impl ToPublish {
    fn parse(value: &Value) -> Result<Self, RequestFault> {
        let text = |name: &'static str| value[name].as_str().ok_or(RequestFault::Text(name));
        let qos = value["qos"].as_u64().and_then(|qos| match qos {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        });
        let payload = BASE64.decode(text("payload")?.as_bytes());
        Ok(Self {
            topic: text("topic")?.to_owned(),
            payload: payload.map_err(|_| RequestFault::Base64)?,
            qos: qos.ok_or(RequestFault::Number("qos"))?,
            retain: value["retain"].as_bool().unwrap_or(false),
            wait: value["wait"].as_u64().unwrap_or(0),
        })
    }

    fn parts(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("topic", self.topic.as_str().into()),
            ("payload", BASE64.encode(&self.payload).into()),
            ("qos", self.qos.bits().into()),
            ("retain", self.retain.into()),
            ("wait", self.wait.into()),
        ]
    }
}

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestFault {
    /// It is no JSON object.
    NotJson,
    /// It is of another version.
    Schema,
    /// There is no such verb.
    Verb(String),
    /// A part is missing, or is no whole number.
    Number(&'static str),
    /// A part is missing, or is no text.
    Text(&'static str),
    /// The payload is not in Base64.
    Base64,
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("expected a JSON object on one line"),
            Self::Schema => f.write_str("expected `schema` to be 1"),
            Self::Verb(found) => write!(f, "there is no verb {found:?}"),
            Self::Number(name) => write!(f, "expected `{name}` to be a whole number"),
            Self::Text(name) => write!(f, "expected `{name}` to be a text"),
            Self::Base64 => f.write_str("expected `payload` to be Base64"),
        }
    }
}

impl std::error::Error for RequestFault {}

impl Request {
    /// Understands a line.
    ///
    /// # Errors
    ///
    /// [`RequestFault`].
    pub fn parse(line: &[u8]) -> Result<Self, RequestFault> {
        let value: Value = serde_json::from_slice(line).map_err(|_| RequestFault::NotJson)?;
        if !value.is_object() {
            return Err(RequestFault::NotJson);
        }
        if value["schema"] != 1 {
            return Err(RequestFault::Schema);
        }
        let number = |name: &'static str| value[name].as_u64().ok_or(RequestFault::Number(name));
        let from = || match &value["from"] {
            Value::Null => Ok(0),
            from => from.as_u64().ok_or(RequestFault::Number("from")),
        };
        match value["verb"].as_str().unwrap_or_default() {
            "status" => Ok(Self::Status),
            "text" => Ok(Self::Text),
            "metrics" => Ok(Self::Metrics),
            "fibers" => Ok(Self::Fibers),
            "queue-ls" => Ok(Self::QueueList { from: from()? }),
            "queue-export" => Ok(Self::QueueExport { from: from()? }),
            "queue-drop" => Ok(Self::QueueDrop {
                count: number("count")?,
            }),
            "connect" => Ok(Self::Connect {
                seconds: number("seconds")?,
            }),
            "renew" => Ok(Self::Renew),
            "renewal" => Ok(Self::Renewal),
            "reload" => Ok(Self::Reload),
            "doctor" => Ok(Self::Doctor),
            "publish" => Ok(Self::Publish(Box::new(ToPublish::parse(&value)?))),
            verb => Err(RequestFault::Verb(verb.chars().take(40).collect())),
        }
    }

    /// Writes it as a line, without the line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (verb, rest) = match self {
            Self::Status => ("status", vec![]),
            Self::Text => ("text", vec![]),
            Self::Metrics => ("metrics", vec![]),
            Self::Fibers => ("fibers", vec![]),
            Self::QueueList { from } => ("queue-ls", vec![("from", (*from).into())]),
            Self::QueueExport { from } => ("queue-export", vec![("from", (*from).into())]),
            Self::QueueDrop { count } => ("queue-drop", vec![("count", (*count).into())]),
            Self::Connect { seconds } => ("connect", vec![("seconds", (*seconds).into())]),
            Self::Renew => ("renew", vec![]),
            Self::Renewal => ("renewal", vec![]),
            Self::Reload => ("reload", vec![]),
            Self::Doctor => ("doctor", vec![]),
            Self::Publish(message) => ("publish", message.parts()),
        };
        let mut parts = vec![("schema", Value::from(1)), ("verb", verb.into())];
        parts.extend(rest);
        json::object(&parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_read_as_it_was_written() {
        for request in [
            Request::Status,
            Request::Text,
            Request::Metrics,
            Request::Fibers,
            Request::QueueList { from: 7 },
            Request::QueueExport { from: u64::MAX },
            Request::QueueDrop { count: 1 },
            Request::Connect { seconds: 60 },
            Request::Renew,
            Request::Renewal,
            Request::Reload,
            Request::Doctor,
            Request::Publish(Box::new(ToPublish {
                topic: "a/b".to_owned(),
                payload: vec![0, 255, b'x'],
                qos: QoS::ExactlyOnce,
                retain: true,
                wait: 20,
            })),
        ] {
            assert_eq!(Request::parse(request.to_json().as_bytes()), Ok(request));
        }
        let first = br#"{"schema":1,"verb":"queue-ls"}"#;
        assert_eq!(Request::parse(first), Ok(Request::QueueList { from: 0 }));
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (line, expected) in [
            ("", RequestFault::NotJson),
            ("status", RequestFault::NotJson),
            ("[1]", RequestFault::NotJson),
            (r#"{"verb":"status"}"#, RequestFault::Schema),
            (r#"{"schema":2,"verb":"status"}"#, RequestFault::Schema),
            (r#"{"schema":1}"#, RequestFault::Verb(String::new())),
            (
                r#"{"schema":1,"verb":"dance"}"#,
                RequestFault::Verb("dance".to_owned()),
            ),
            (
                r#"{"schema":1,"verb":"queue-drop"}"#,
                RequestFault::Number("count"),
            ),
            (
                r#"{"schema":1,"verb":"queue-ls","from":-1}"#,
                RequestFault::Number("from"),
            ),
            (
                r#"{"schema":1,"verb":"publish","topic":"a","payload":"eA==","qos":3}"#,
                RequestFault::Number("qos"),
            ),
            (
                r#"{"schema":1,"verb":"publish","topic":"a","payload":"x","qos":1}"#,
                RequestFault::Base64,
            ),
            (
                r#"{"schema":1,"verb":"publish","topic":7,"payload":"","qos":1}"#,
                RequestFault::Text("topic"),
            ),
        ] {
            assert_eq!(Request::parse(line.as_bytes()), Err(expected), "{line}");
        }
    }
}
