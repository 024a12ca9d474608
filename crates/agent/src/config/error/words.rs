//! What is said about each fault: what is wrong, what was expected, what was found, what to do.

mod checks;
mod more;

use safe_rt::ALPN_PROTOCOLS_MAX;

use super::ConfigError;
use crate::config::table::{Key, Kind, Section};

/// What is said about a fault.
pub(super) struct Words {
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) found: String,
    pub(super) help: String,
}

impl ConfigError {
    /// What is said about it.
    pub(super) fn words(&self) -> Words {
        let (what, expected, found, help) = match self {
            Self::Unreadable(error) => (
                "the configuration cannot be read".to_owned(),
                "a file that this user may read".to_owned(),
                error.to_string(),
                "check the path after --config, and who may read the file".to_owned(),
            ),
            Self::NotText => (
                "the configuration is not UTF-8".to_owned(),
                "text in UTF-8".to_owned(),
                "other bytes".to_owned(),
                "save the file as UTF-8".to_owned(),
            ),
            Self::Syntax(message) => (
                "this is no TOML".to_owned(),
                "lines such as key = \"value\", under tables such as [cloud]".to_owned(),
                message.clone(),
                "texts stand in quotes; see https://toml.io".to_owned(),
            ),
            Self::UnknownSection { found, meant } => (
                format!("there is no table [{}]", found.escape_debug()),
                list(Section::ALL),
                format!("[{}]", found.escape_debug()),
                guess(*meant, "remove it"),
            ),
            Self::UnknownKey {
                section,
                found,
                meant,
            } => (
                format!("there is no key `{}` in {section}", found.escape_debug()),
                format!("one of {}", section.keys().map(|key| key.name).collect::<Vec<_>>().join(", ")),
                found.escape_debug().to_string(),
                guess(*meant, "remove it"),
            ),
            Self::MissingSection(section) => (
                format!("{section} is missing"),
                format!("a table {section}"),
                "none".to_owned(),
                format!("add a line {section}, and below it {}", first(*section)),
            ),
            Self::MissingKey(key) => (
                format!("{key} is missing"),
                format!("a line that sets it below {}", key.section),
                "none".to_owned(),
                format!("add {}", key.example()),
            ),
            Self::NotASection { section, found } => (
                format!("`{}` is no table", section.name()),
                format!("a line {section}"),
                (*found).to_owned(),
                format!("write {section} on a line of its own, and its keys below"),
            ),
            Self::WrongType {
                key,
                expected,
                found,
            } => (
                format!("{key} is of another type"),
                (*expected).to_owned(),
                found.clone(),
                format!("write for example {}", key.example()),
            ),
            Self::NoUnit { key, found, number } => (
                format!("{key} has no unit"),
                measure(key.kind),
                found.clone(),
                with_unit(key, number),
            ),
            Self::Malformed { key, found } => (
                format!("{key} is no {}", called(key.kind)),
                measure(key.kind),
                format!("{found:?}"),
                format!("write for example {}", key.example()),
            ),
            Self::OutOfRange { key, found } => (
                format!("{key} is out of range"),
                key.allowed(),
                found.clone(),
                format!("write for example {}", key.example()),
            ),
            Self::QoS { key, found } => (
                format!("{key} is no quality of service"),
                "0 (at most once), 1 (at least once) or 2 (exactly once)".to_owned(),
                found.clone(),
                "write qos = 1".to_owned(),
            ),
            Self::EmptyId => (
                "`id` in [device] is empty".to_owned(),
                "a name that no other device has".to_owned(),
                "\"\"".to_owned(),
                "write for example id = \"meter-17\"".to_owned(),
            ),
            Self::Id(error) => (
                "`id` in [device] cannot be sent".to_owned(),
                "at most 65535 bytes without a null character".to_owned(),
                error.to_string(),
                "write for example id = \"meter-17\"".to_owned(),
            ),
            Self::Endpoint { found, error } => (
                format!("`endpoint` in [cloud] is no address of a broker: {error}"),
                "mqtts://HOST:PORT or wss://HOST:PORT/PATH, or for plain text mqtt://, ws:// or unix:/PATH"
                    .to_owned(),
                format!("{found:?}"),
                "write for example endpoint = \"mqtts://broker.example:8883\"".to_owned(),
            ),
            Self::NoWebSocket(scheme) => (
                "`endpoint` in [cloud] asks for a WebSocket, which this program was built without"
                    .to_owned(),
                "mqtts://HOST:PORT, or for plain text mqtt://HOST:PORT or unix:/PATH".to_owned(),
                format!("{}://", scheme.as_str()),
                "use such a port of the broker, or build the agent with --features ws".to_owned(),
            ),
            Self::Topic { key, found, error } => (
                format!("{key} is not valid: {error}"),
                match key.kind {
                    Kind::Filter => "a filter of topics, with + for one level and # for the rest",
                    Kind::Id => "an identifier that can stand in the topics that have {id}",
                    _ => "a topic, without + and #",
                }
                .to_owned(),
                format!("{found:?}"),
                format!("write for example {}", key.example()),
            ),
            Self::Session(found) => (
                "`session` in [cloud] is not valid".to_owned(),
                "\"kept\" or \"clean\"".to_owned(),
                format!("{found:?}"),
                "write session = \"kept\" to lose nothing while the device is away".to_owned(),
            ),
            Self::AlpnLength(found) => (
                "`alpn` in [cloud] has a name that cannot be sent".to_owned(),
                "names of 1 to 255 bytes".to_owned(),
                format!("one of {found}"),
                "write for example alpn = [\"mqtt\"]".to_owned(),
            ),
            Self::AlpnCount(found) => (
                "`alpn` in [cloud] has too many names".to_owned(),
                format!("at most {ALPN_PROTOCOLS_MAX}"),
                found.to_string(),
                "write for example alpn = [\"mqtt\"]".to_owned(),
            ),
            other => return checks::words(other).unwrap_or_else(|| more::words(other)),
        };
        Words {
            what,
            expected,
            found,
            help,
        }
    }
}

fn list(sections: impl IntoIterator<Item = Section>) -> String {
    let names: Vec<_> = sections.into_iter().map(|s| s.to_string()).collect();
    format!("one of {}", names.join(", "))
}

fn guess(meant: Option<&'static str>, otherwise: &str) -> String {
    match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => otherwise.to_owned(),
    }
}

fn first(section: Section) -> String {
    section.keys().next().map_or_else(String::new, Key::example)
}

/// What a text of this kind is called.
const fn called(kind: Kind) -> &'static str {
    match kind {
        Kind::Duration { .. } => "length of time",
        Kind::Bytes { .. } => "size",
        Kind::Rate | Kind::ByteRate => "rate",
        Kind::Percent => "part of a whole",
        Kind::Program => "full path",
        Kind::Path | Kind::Socket => "path",
        Kind::Name => "name of a command",
        Kind::LogFilter => "filter of the log",
        _ => "such value",
    }
}

/// What a text of this kind is made of.
fn measure(kind: Kind) -> String {
    match kind {
        Kind::Duration { open, .. } => {
            let usual = "a whole number and its unit, one of ms, s, m, h and d";
            match open {
                Some(word) => format!("{usual}, or \"{word}\""),
                None => usual.to_owned(),
            }
        }
        Kind::Bytes { .. } => {
            "a whole number and its unit, one of B, KB, MB, GB, KiB, MiB and GiB".to_owned()
        }
        Kind::Rate => "a whole number and one of /s, /m, /h and /d".to_owned(),
        Kind::ByteRate => "a size and one of /s, /m, /h and /d".to_owned(),
        Kind::Percent => "a whole number and %".to_owned(),
        Kind::Program => "a path that begins with /".to_owned(),
        Kind::Path | Kind::Socket => "a path that is not empty".to_owned(),
        kind => kind.allowed(),
    }
}

/// The fix for a number without a unit, as it can be pasted.
fn with_unit(key: &Key, number: &str) -> String {
    let name = key.name;
    match key.kind {
        Kind::Duration { .. } => {
            format!("write {name} = \"{number}s\" for seconds, or \"{number}m\" for minutes")
        }
        Kind::Bytes { .. } => {
            format!(
                "write {name} = \"{number}B\" for bytes, or \"{number}KiB\" for 1024 times as many"
            )
        }
        Kind::Rate => format!("write {name} = \"{number}/s\" for so many in a second"),
        Kind::Percent => format!("write {name} = \"{number}%\""),
        _ => format!("write for example {}", key.example()),
    }
}
