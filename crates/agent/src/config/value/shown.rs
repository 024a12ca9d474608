//! A value, and how it is shown: as TOML, as JSON, bare; a secret never, but where it is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, QoS};
use safe_rt::Endpoint;
use zeroize::Zeroizing;

use super::spell;
use super::units::{self, Rate};
use crate::args::Password;
use crate::config::sections::ProxyChoice;
use crate::config::toml_text;

/// The word for no limit.
pub(in crate::config) const UNLIMITED: &str = "unlimited";

/// What a setting is set to.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) enum Value {
    Text(String),
    /// A user name, with what may be a secret behind a `?`.
    User(String),
    Id(ClientId),
    Endpoint {
        endpoint: Box<Endpoint>,
        port_is_set: bool,
        /// As it was written, with what may be a secret.
        text: Zeroizing<String>,
    },
    Proxy {
        proxy: Box<ProxyChoice>,
        /// As it was written, with a password perhaps.
        text: Zeroizing<String>,
    },
    Path(PathBuf),
    Secret(Password),
    /// None for no end.
    Duration(Option<Duration>),
    Bytes(u64),
    Count(u64),
    Rate(Rate),
    ByteRate(Rate),
    /// The word for no limit.
    Unlimited,
    Percent(u8),
    QoS(QoS),
    Bool(bool),
    Topic(TopicName),
    Filter(TopicFilter),
    Texts(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// As it could be written; a secret shows as `***`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |f: &mut fmt::Formatter<'_>, text: &str| f.write_str(&toml_text::quoted(text));
        match self {
            Self::Text(text) => quoted(f, text),
            Self::User(text) => match text.split_once('?') {
                Some((name, _)) => quoted(f, &format!("{name}?***")),
                None => quoted(f, text),
            },
            Self::Id(id) => quoted(f, id.as_str()),
            Self::Endpoint { endpoint, .. } => quoted(f, &endpoint.to_string()),
            Self::Proxy { proxy, .. } => quoted(
                f,
                match **proxy {
                    ProxyChoice::None => "none",
                    ProxyChoice::Environment => "environment",
                    // It may have a password.
                    ProxyChoice::Proxy(_) => "***",
                },
            ),
            Self::Path(path) => quoted(f, &path.to_string_lossy()),
            Self::Secret(_) => quoted(f, "***"),
            Self::Duration(None) => quoted(f, UNLIMITED),
            Self::Duration(Some(duration)) => quoted(f, &spell(*duration)),
            Self::Bytes(bytes) => quoted(f, &units::spell_bytes(*bytes)),
            Self::Count(count) => count.fmt(f),
            Self::Rate(rate) => quoted(f, &rate.to_string()),
            Self::ByteRate(rate) => {
                let bytes = units::spell_bytes(rate.count);
                quoted(f, &format!("{bytes}/{}", rate.unit()))
            }
            Self::Unlimited => quoted(f, UNLIMITED),
            Self::Percent(percent) => write!(f, "\"{percent}%\""),
            Self::QoS(qos) => (*qos as u8).fmt(f),
            Self::Bool(truth) => truth.fmt(f),
            Self::Topic(topic) => quoted(f, topic.as_str()),
            Self::Filter(filter) => quoted(f, filter.as_str()),
            Self::Texts(texts) => f.write_str(&toml_text::list(texts)),
            // Their names alone: what is handed over with a request may be a secret.
            Self::Map(map) => f.write_str(&toml_text::map(&hidden(map))),
        }
    }
}

impl Value {
    /// Whether it is a password or a token, or has one in it.
    pub(in crate::config) fn has_secret(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::Proxy { text, .. } => text.contains('@'),
            _ => false,
        }
    }

    /// As it could be written, secrets included, and with whole paths.
    pub(in crate::config) fn in_full(&self) -> Zeroizing<String> {
        let quoted = |text: &str| Zeroizing::new(toml_text::quoted(text));
        match self {
            Self::Secret(Password(bytes)) => {
                quoted(&Zeroizing::new(String::from_utf8_lossy(bytes).into_owned()))
            }
            Self::Endpoint { text, .. } | Self::Proxy { text, .. } => quoted(text),
            Self::Path(path) => {
                let whole = std::path::absolute(path);
                quoted(&whole.as_ref().unwrap_or(path).to_string_lossy())
            }
            Self::User(text) => quoted(text),
            Self::Map(map) => Zeroizing::new(toml_text::map(map)),
            other => Zeroizing::new(other.to_string()),
        }
    }

    /// As it is shown, a text without its quotes.
    pub(in crate::config) fn bare(&self) -> String {
        match self {
            Self::Text(_) | Self::Topic(_) | Self::Filter(_) => self.plain(),
            Self::Path(path) => path.display().to_string(),
            Self::Texts(_) | Self::Map(_) => self.to_string(),
            other => other.to_string().trim_matches('"').to_owned(),
        }
    }

    /// As JSON; a secret as `"***"`.
    pub(in crate::config) fn to_json(&self) -> String {
        match self {
            Self::Map(map) => {
                let map = hidden(map);
                let entry = |(name, text): (&String, &String)| {
                    let (name, text) = (toml_text::quoted(name), toml_text::quoted(text));
                    format!("{name}:{text}")
                };
                format!(
                    "{{{}}}",
                    map.iter().map(entry).collect::<Vec<_>>().join(",")
                )
            }
            // Texts, numbers and lists of them are written the same.
            other => other.to_string(),
        }
    }

    /// A text without quotes, anything else as it is written.
    pub(in crate::config) fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Topic(topic) => topic.as_str().to_owned(),
            Self::Filter(filter) => filter.as_str().to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The same names, and nothing of what they are set to.
fn hidden(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    map.keys()
        .map(|name| (name.clone(), "***".to_owned()))
        .collect()
}
