//! A command as it comes, and its answer as it leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

/// Bytes of a command; a longer one is malformed.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a command's identifier, and of its name.
pub const COMMAND_ID_BYTES_MAX: usize = 64;
/// Arguments of one command.
const ARGS_MAX: usize = 32;

/// What the cloud asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// The caller's name for it.
    pub id: String,
    /// What is to be done.
    pub name: String,
    /// With what.
    pub args: BTreeMap<String, Value>,
    /// When it is not to be begun any more, in milliseconds of Unix time.
    pub expires: Option<u64>,
}

impl Command {
    /// Understands a command, or says why it is none.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, String> {
        if payload.len() > COMMAND_BYTES_MAX {
            let found = payload.len();
            return Err(format!(
                "expected at most {COMMAND_BYTES_MAX} bytes, found {found}"
            ));
        }
        let value: Value = serde_json::from_slice(payload)
            .map_err(|error| format!("expected a JSON object: {error}"))?;
        let Value::Object(mut object) = value else {
            return Err("expected a JSON object".to_owned());
        };
        let id = take_text(&mut object, "id")?;
        let name = take_text(&mut object, "command")?;
        let expires = match object.remove("expires") {
            None => None,
            Some(value) => Some(
                value
                    .as_u64()
                    .ok_or("expected `expires` to be milliseconds")?,
            ),
        };
        let args = match object.remove("args") {
            None => Map::new(),
            Some(Value::Object(args)) => args,
            Some(_) => return Err("expected `args` to be an object".to_owned()),
        };
        if args.len() > ARGS_MAX {
            return Err(format!("expected at most {ARGS_MAX} arguments"));
        }
        for (name, value) in &args {
            if matches!(value, Value::Null | Value::Array(_) | Value::Object(_)) {
                return Err(format!(
                    "expected the argument {name:?} to be a text, a number or a boolean"
                ));
            }
        }
        Ok(Self {
            id,
            name,
            args: args.into_iter().collect(),
            expires,
        })
    }

    /// A number that is another one for another command, nearly always (FNV-1a).
    pub(super) fn print(&self) -> u64 {
        let args: Map<String, Value> = self.args.clone().into_iter().collect();
        let about = format!("{}\0{}\0{:?}", self.name, Value::Object(args), self.expires);
        about.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// An argument that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.args.get(name)?.as_str()
    }

    /// An argument as it would be written: a text without its quotation marks.
    #[must_use]
    pub fn written(&self, name: &str) -> Option<String> {
        match self.args.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

fn take_text(object: &mut Map<String, Value>, name: &str) -> Result<String, String> {
    match object.remove(name) {
        Some(Value::String(text)) if (1..=COMMAND_ID_BYTES_MAX).contains(&text.len()) => Ok(text),
        Some(_) => Err(format!(
            "expected `{name}` to be a text of 1 to {COMMAND_ID_BYTES_MAX} bytes"
        )),
        None => Err(format!("expected `{name}`, found none")),
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Done,
    Failed,
    TimedOut,
    Unknown,
    Refused,
    Busy,
    Malformed,
    Expired,
    Interrupted,
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer<'a> {
    command: Option<&'a Command>,
    status: Status,
    code: Option<i32>,
    output: String,
    truncated: bool,
    took: Option<Duration>,
}

impl<'a> Answer<'a> {
    pub(super) fn of(command: &'a Command, status: Status, output: &str) -> Self {
        Self {
            command: Some(command),
            status,
            code: None,
            output: output.to_owned(),
            truncated: false,
            took: None,
        }
    }

    pub(super) fn malformed(reason: &str) -> Self {
        Self {
            command: None,
            status: Status::Malformed,
            code: None,
            output: reason.to_owned(),
            truncated: false,
            took: None,
        }
    }

    pub(super) fn took(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }

    pub(super) fn code(mut self, code: Option<i32>) -> Self {
        self.code = code;
        self
    }

    pub(super) fn truncated(mut self, truncated: bool) -> Self {
        self.truncated = truncated;
        self
    }

    /// As [`to_json`](Self::to_json), with no more of the end of the output than there is room for.
    pub(super) fn into_json_within(mut self, max: usize) -> Vec<u8> {
        let whole = self.to_json();
        if whole.len() <= max {
            return whole;
        }
        let output = std::mem::take(&mut self.output);
        self.truncated = true;
        let mut room = max.saturating_sub(self.to_json().len());
        let mut from = output.len();
        for (at, char) in output.char_indices().rev() {
            // Without the quotation marks.
            let bytes = Value::from(String::from(char)).to_string().len() - 2;
            if bytes > room {
                break;
            }
            room -= bytes;
            from = at;
        }
        self.output = output[from..].to_owned();
        self.to_json()
    }

    /// One object, its parts always in this order.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut parts = vec![("schema", Value::from(1))];
        if let Some(command) = self.command {
            parts.push(("id", command.id.as_str().into()));
            parts.push(("command", command.name.as_str().into()));
        }
        parts.push(("status", self.status.name().into()));
        if let Some(code) = self.code {
            parts.push(("code", code.into()));
        }
        parts.push(("output", self.output.as_str().into()));
        parts.push(("truncated", self.truncated.into()));
        if let Some(took) = self.took {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            parts.push(("millis", millis.into()));
        }
        crate::json::object(&parts).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_understood_with_its_arguments() {
        let payload = br#"{"id":"7f","command":"set","args":{"to":"a b","n":-1.5,"on":true}}"#;
        let command = Command::parse(payload).unwrap();
        assert_eq!((command.id.as_str(), command.name.as_str()), ("7f", "set"));
        assert_eq!(command.text("to"), Some("a b"));
        assert_eq!(command.text("n"), None);
        assert_eq!(command.written("n").unwrap(), "-1.5");
        assert_eq!(command.written("on").unwrap(), "true");
        assert_eq!(command.written("off"), None);
    }

    #[test]
    fn what_is_no_command_says_what_was_expected() {
        let long = format!(r#"{{"id":"{}","command":"a"}}"#, "x".repeat(65));
        let huge = "x".repeat(COMMAND_BYTES_MAX + 1);
        let many: Vec<String> = (0..33).map(|n| format!(r#""a{n}":1"#)).collect();
        let many = format!(
            r#"{{"id":"1","command":"a","args":{{{}}}}}"#,
            many.join(",")
        );
        for (payload, expected) in [
            ("", "JSON object"),
            ("[]", "JSON object"),
            (r#"{"command":"a"}"#, "`id`"),
            (r#"{"id":1,"command":"a"}"#, "`id`"),
            (r#"{"id":"","command":"a"}"#, "`id`"),
            (r#"{"id":"1"}"#, "`command`"),
            (r#"{"id":"1","command":"a","args":[]}"#, "`args`"),
            (r#"{"id":"1","command":"a","args":{"x":[1]}}"#, "\"x\""),
            (r#"{"id":"1","command":"a","args":{"x":null}}"#, "\"x\""),
            (long.as_str(), "`id`"),
            (huge.as_str(), "at most"),
            (many.as_str(), "at most"),
        ] {
            let reason = Command::parse(payload.as_bytes()).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn an_answer_is_one_object_with_its_parts_in_order() {
        let command = Command::parse(br#"{"id":"7","command":"a"}"#).unwrap();
        let answer = Answer::of(&command, Status::Failed, "line\n\"two\"")
            .code(Some(2))
            .truncated(true)
            .took(Duration::from_millis(1_250));
        assert_eq!(
            String::from_utf8(answer.to_json()).unwrap(),
            r#"{"schema":1,"id":"7","command":"a","status":"failed","code":2,"output":"line\n\"two\"","truncated":true,"millis":1250}"#
        );
    }
}
