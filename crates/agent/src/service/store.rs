//! Values that the cloud keeps for the device, by name: asked for and set by requests, with the last
//! known ones in the state directory for the time without a connection.
//!
//! ```text
//!   TOPIC/get/ID   {"key":"limit"}              ANSWERS/ID   {"value":80}
//!   TOPIC/set/ID   {"key":"limit","value":80}   ANSWERS/ID   {"ok":true}
//! ```
//! A value is whatever JSON has; `{"value":null}`, or an answer without a value, is that there is none.
//! An answer `{"error":"text"}` refuses. `ID` is a request's own, see [`mqtt::RequestOptions::reply_to`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use mqtt::{Client, RequestError, RequestOptions};
use serde_json::Value;

use super::state_file::StateFile;
use crate::json;

/// Values that are remembered; beyond that the one that was not used for longest is forgotten.
pub const STORE_KEYS_MAX: usize = 256;
/// Bytes of a key.
pub const STORE_KEY_BYTES_MAX: usize = 128;
/// Bytes of a value, as JSON.
pub const STORE_VALUE_BYTES_MAX: usize = 2 * 1024;
/// How long a value is waited for unless the caller has less time.
pub const STORE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A value, and how fresh it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Found {
    /// As the cloud has it now.
    Fresh(Option<Value>),
    /// As the device knew it last; the cloud could not be asked.
    Remembered(Value),
}

impl Found {
    /// The value, however fresh.
    #[must_use]
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Fresh(value) => value,
            Self::Remembered(value) => Some(value),
        }
    }
}

/// Why there is no value, or none was set.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The key is empty, or longer than [`STORE_KEY_BYTES_MAX`].
    Key(usize),
    /// The value is longer than [`STORE_VALUE_BYTES_MAX`].
    Value(usize),
    /// The cloud did not answer, and no earlier value is known.
    Request(RequestError),
    /// The cloud refused, with this text.
    Refused(String),
    /// The answer is none.
    Answer,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(found) => write!(
                f,
                "expected a key of 1 to {STORE_KEY_BYTES_MAX} bytes, found {found}"
            ),
            Self::Value(found) => write!(
                f,
                "expected a value of at most {STORE_VALUE_BYTES_MAX} bytes, found {found}"
            ),
            Self::Request(error) => error.fmt(f),
            Self::Refused(text) => write!(f, "the cloud refused: {text}"),
            Self::Answer => f.write_str("expected an answer that is a JSON object"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Key(_) | Self::Value(_) | Self::Refused(_) | Self::Answer => None,
        }
    }
}

/// What is remembered: each value with the count of uses at which it was used last.
#[derive(Clone, Debug, Default, PartialEq)]
struct Memory {
    values: BTreeMap<String, (u64, Value)>,
    uses: u64,
}

impl Memory {
    fn of_json(value: &Value) -> Self {
        let mut memory = Self::default();
        let Some(values) = value["values"].as_object() else {
            return memory;
        };
        for (key, value) in values {
            let fits = is_key(key) && value.to_string().len() <= STORE_VALUE_BYTES_MAX;
            if fits {
                memory.put(key, Some(value.clone()));
            }
        }
        memory
    }

    fn to_json(&self) -> String {
        let values: Vec<(&str, Value)> = self
            .values
            .iter()
            .map(|(key, (_, value))| (key.as_str(), value.clone()))
            .collect();
        json::object_of(&[
            ("schema", "1".to_owned()),
            ("values", json::object(&values)),
        ])
    }

    fn get(&mut self, key: &str) -> Option<Value> {
        self.uses += 1;
        let (used, value) = self.values.get_mut(key)?;
        *used = self.uses;
        Some(value.clone())
    }

    /// Remembers a value, or that there is none; whether anything changed.
    fn put(&mut self, key: &str, value: Option<Value>) -> bool {
        let Some(value) = value else {
            return self.values.remove(key).is_some();
        };
        self.uses += 1;
        let earlier = self
            .values
            .insert(key.to_owned(), (self.uses, value.clone()));
        if self.values.len() > STORE_KEYS_MAX {
            let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.values.remove(&oldest);
            }
        }
        earlier.is_none_or(|(_, earlier)| earlier != value)
    }
}

fn is_key(key: &str) -> bool {
    (1..=STORE_KEY_BYTES_MAX).contains(&key.len())
}

/// The values that the cloud keeps for this device. Clones share it.
#[derive(Clone)]
pub struct DeviceStore(Rc<Shared>);

struct Shared {
    client: Client,
    topic: String,
    options: RequestOptions,
    memory: RefCell<Memory>,
    file: StateFile,
}

impl fmt::Debug for DeviceStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceStore")
            .field("topic", &self.0.topic)
            .field("remembered", &self.0.memory.borrow().values.len())
            .finish_non_exhaustive()
    }
}

impl DeviceStore {
    /// Reads what is remembered. Yields.
    pub(crate) fn open(
        client: Client,
        topic: String,
        answers: String,
        state_dir: Option<&std::path::Path>,
    ) -> Self {
        let file = StateFile::new(state_dir, "store.json");
        let memory = file
            .read()
            .as_ref()
            .map(Memory::of_json)
            .unwrap_or_default();
        Self(Rc::new(Shared {
            client,
            topic,
            options: RequestOptions::reply_to(answers).timeout(STORE_TIMEOUT_DEFAULT),
            memory: RefCell::new(memory),
            file,
        }))
    }

    /// Asks for a value, and remembers it; where nobody answers, returns what is remembered. Yields
    /// until then, for [`STORE_TIMEOUT_DEFAULT`] at most; not at all for an answer that is remembered
    /// while there is no connection.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn get(&self, key: &str) -> Result<Found, StoreError> {
        if !is_key(key) {
            return Err(StoreError::Key(key.len()));
        }
        if !self.0.client.is_connected()
            && let Some(value) = self.0.memory.borrow_mut().get(key)
        {
            return Ok(Found::Remembered(value));
        }
        let request = json::object(&[("key", key.into())]);
        match self.ask("get", &request) {
            Ok(mut answer) => {
                let value = answer["value"].take();
                let value = Some(value).filter(|value| !value.is_null());
                if value.as_ref().is_some_and(is_too_long) {
                    return Ok(Found::Fresh(value));
                }
                self.remember(key, value.clone());
                Ok(Found::Fresh(value))
            }
            Err(StoreError::Request(error)) => {
                let remembered = self.0.memory.borrow_mut().get(key);
                remembered
                    .map(Found::Remembered)
                    .ok_or(StoreError::Request(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Sets a value, or removes it with [`Value::Null`]; the cloud has it when this returns. Yields until
    /// then, for [`STORE_TIMEOUT_DEFAULT`] at most.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: after [`StoreError::Request`] the cloud may have it or not.
    pub fn set(&self, key: &str, value: impl Into<Value>) -> Result<(), StoreError> {
        let value = value.into();
        if !is_key(key) {
            return Err(StoreError::Key(key.len()));
        }
        if is_too_long(&value) {
            return Err(StoreError::Value(value.to_string().len()));
        }
        let request = json::object(&[("key", key.into()), ("value", value.clone())]);
        self.ask("set", &request)?;
        self.remember(key, Some(value).filter(|value| !value.is_null()));
        Ok(())
    }

    fn ask(&self, what: &str, request: &str) -> Result<Value, StoreError> {
        let topic = format!("{}/{what}", self.0.topic);
        let answer = self.0.client.request(&topic, request, &self.0.options);
        let answer = answer.map_err(StoreError::Request)?;
        let answer: Value = serde_json::from_slice(&answer.data).map_err(|_| StoreError::Answer)?;
        if !answer.is_object() {
            return Err(StoreError::Answer);
        }
        match answer["error"].as_str() {
            Some(text) => Err(StoreError::Refused(text.to_owned())),
            None => Ok(answer),
        }
    }

    fn remember(&self, key: &str, value: Option<Value>) {
        let changed = self.0.memory.borrow_mut().put(key, value);
        if changed {
            let json = || self.0.memory.borrow().to_json();
            if let Err(error) = self.0.file.write(json) {
                log::warn!("a value of the cloud is not remembered: {error}");
            }
        }
    }
}

fn is_too_long(value: &Value) -> bool {
    value.to_string().len() > STORE_VALUE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first() {
        let mut memory = Memory::default();
        for number in 0..STORE_KEYS_MAX {
            assert!(memory.put(&format!("key {number}"), Some(number.into())));
        }
        assert_eq!(memory.get("key 0"), Some(0.into()));
        assert!(memory.put("one more", Some(true.into())));
        assert_eq!(memory.values.len(), STORE_KEYS_MAX);
        assert_eq!(memory.get("key 1"), None);
        assert_eq!(memory.get("key 0"), Some(0.into()));
        assert!(!memory.put("key 0", Some(0.into())), "nothing has changed");
        assert!(memory.put("key 0", None));
        assert!(!memory.put("key 0", None));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_odd_contents_are_left_out() {
        let mut memory = Memory::default();
        memory.put("b", Some(serde_json::json!({"deep": [1, "x"]})));
        memory.put("a", Some(80.into()));
        let json = memory.to_json();
        assert_eq!(
            json,
            r#"{"schema":1,"values":{"a":80,"b":{"deep":[1,"x"]}}}"#
        );
        let again = Memory::of_json(&serde_json::from_str(&json).unwrap());
        assert_eq!(again.values.keys().collect::<Vec<_>>(), ["a", "b"]);
        let long = "x".repeat(STORE_VALUE_BYTES_MAX);
        let odd = serde_json::json!({"schema": 1, "values": {"": 1, "long": long, "good": 1}});
        let memory = Memory::of_json(&odd);
        assert_eq!(memory.values.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(Memory::of_json(&Value::Null), Memory::default());
    }
}
