//! What a program may ask.

use std::fmt;

use serde_json::Value;

use crate::json;

/// Bytes of a request, its line end included.
pub const CONTROL_REQUEST_BYTES_MAX: usize = 4 * 1024;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Reads the configuration again.
    Reload,
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
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("expected a JSON object on one line"),
            Self::Schema => f.write_str("expected `schema` to be 1"),
            Self::Verb(found) => write!(f, "there is no verb {found:?}"),
            Self::Number(name) => write!(f, "expected `{name}` to be a whole number"),
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
            "reload" => Ok(Self::Reload),
            verb => Err(RequestFault::Verb(verb.chars().take(40).collect())),
        }
    }

    /// Writes it as a line, without the line end.
    #[must_use]
    pub fn to_json(self) -> String {
        let (verb, number) = match self {
            Self::Status => ("status", None),
            Self::Text => ("text", None),
            Self::Metrics => ("metrics", None),
            Self::Fibers => ("fibers", None),
            Self::QueueList { from } => ("queue-ls", Some(("from", from))),
            Self::QueueExport { from } => ("queue-export", Some(("from", from))),
            Self::QueueDrop { count } => ("queue-drop", Some(("count", count))),
            Self::Connect { seconds } => ("connect", Some(("seconds", seconds))),
            Self::Reload => ("reload", None),
        };
        let mut parts = vec![("schema", Value::from(1)), ("verb", verb.into())];
        if let Some((name, value)) = number {
            parts.push((name, value.into()));
        }
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
            Request::Reload,
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
        ] {
            assert_eq!(Request::parse(line.as_bytes()), Err(expected), "{line}");
        }
    }
}
