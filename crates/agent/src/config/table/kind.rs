//! What may stand in a key, and how that is told.

use std::time::Duration;

use crate::config::value::spell;
use crate::config::value::units::spell_bytes;

/// What may stand in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// A client identifier.
    Id,
    /// The address of a broker.
    Endpoint,
    /// An address that begins with `https://`.
    Url,
    /// The address of an HTTP proxy, `none` or `environment`.
    Proxy,
    /// A file or a folder, looked for beside the file that names it.
    Path,
    /// The path of a Unix socket, or `none`.
    Socket,
    /// The full path of a program.
    Program,
    /// The name of a variable of the environment.
    Variable,
    /// The name of a systemd credential.
    Credential,
    /// A text that never shows.
    Secret,
    /// A length of time with its unit.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
        /// The word for no end, if there may be none.
        open: Option<&'static str>,
    },
    /// A size with its unit.
    Bytes {
        /// The smallest, in bytes.
        min: u64,
        /// The largest, in bytes.
        max: u64,
    },
    /// A whole number.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// How often in a time: `10/s`.
    Rate,
    /// How many bytes in a time: `512KB/s`.
    ByteRate,
    /// A part of a whole: `80%`.
    Percent,
    /// A quality of service.
    QoS,
    /// True or false.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A topic name.
    Topic,
    /// A topic filter.
    Filter,
    /// The name of a command.
    Name,
    /// What is logged.
    LogFilter,
    /// A list of any texts.
    Texts,
    /// A list of names of application protocols.
    Alpn,
    /// A list of cron expressions.
    Crons,
    /// A table of texts.
    Map,
}

impl Kind {
    /// Returns what must stand in the file, for a message about a value of another type.
    pub(in crate::config) const fn type_expected(self) -> &'static str {
        match self {
            Self::Count { .. } | Self::QoS => "a number",
            Self::Bool => "true or false",
            Self::Texts | Self::Alpn | Self::Crons => "a list of texts",
            Self::Map => "a table of texts",
            _ => "a text in quotes",
        }
    }

    /// Whether a bare number is a value of it that lacks its unit.
    pub(in crate::config) const fn has_unit(self) -> bool {
        matches!(
            self,
            Self::Duration { .. }
                | Self::Bytes { .. }
                | Self::Rate
                | Self::ByteRate
                | Self::Percent
        )
    }

    /// Whether what stands in it may be, or hold, a password: it is then never shown as it is.
    pub(in crate::config) const fn is_secret(self) -> bool {
        matches!(self, Self::Secret)
    }

    /// Returns what may stand in it, in few words, for documents.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Id => "text of 1 to 65535 bytes".to_owned(),
            Self::Endpoint => {
                "mqtts://, mqtt://, wss:// or ws:// and a host, or unix:/path".to_owned()
            }
            Self::Url => "https:// and a host".to_owned(),
            Self::Proxy => "http://HOST:PORT, \"none\" or \"environment\"".to_owned(),
            Self::Path => "path, looked for beside the file that says it".to_owned(),
            Self::Socket => "path, or \"none\"".to_owned(),
            Self::Program => "full path".to_owned(),
            Self::Variable => "name of a variable".to_owned(),
            Self::Credential => "name of a credential".to_owned(),
            Self::Secret => "text, never shown".to_owned(),
            Self::Duration { min, max, open } => {
                let range = format!("{} to {}", spell(min), spell(max));
                match open {
                    Some(word) => format!("{range}, or \"{word}\""),
                    None => range,
                }
            }
            Self::Bytes { min, max } => format!("{} to {}", spell_bytes(min), spell_bytes(max)),
            Self::Count { min, max } => format!("{min} to {max}"),
            Self::Rate => "number in a time, as \"10/s\", \"10/m\" or \"100/h\"".to_owned(),
            Self::ByteRate => "size in a time, as \"512KB/s\" or \"10MB/d\"".to_owned(),
            Self::Percent => "1% to 99%".to_owned(),
            Self::QoS => "0, 1 or 2".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                either(&words)
            }
            Self::Topic => "topic, without + and #".to_owned(),
            Self::Filter => "filter of topics".to_owned(),
            Self::Name => "1 to 64 letters, digits, -, _ and .".to_owned(),
            Self::LogFilter => "level, or part=level with commas between".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::Alpn => "list of at most 16 names of 1 to 255 bytes".to_owned(),
            Self::Crons => "list of cron expressions".to_owned(),
            Self::Map => "table of texts".to_owned(),
        }
    }
}

/// Joins words as a choice.
pub(in crate::config) fn either<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
