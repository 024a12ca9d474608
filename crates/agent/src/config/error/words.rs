//! What is said about each fault: what is wrong, what was expected, what was found, what to do.

use safe_rt::ALPN_PROTOCOLS_MAX;

use super::ConfigError;
use crate::config::keys::{Key, Section};
use crate::config::value::spell;

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
                format!("there is no table [{found}]"),
                list(Section::ALL),
                format!("[{found}]"),
                guess(*meant, "remove it"),
            ),
            Self::UnknownKey {
                section,
                found,
                meant,
            } => (
                format!("there is no key `{found}` in {section}"),
                format!("one of {}", section.keys().join(", ")),
                found.clone(),
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
                "a number and its unit, one of ms, s, m, h and d".to_owned(),
                found.clone(),
                format!(
                    "write {} = \"{number}s\" for seconds, or \"{number}m\" for minutes",
                    key.name
                ),
            ),
            Self::Duration { key, found } => (
                format!("{key} is no length of time"),
                "a whole number and its unit, one of ms, s, m, h and d".to_owned(),
                format!("{found:?}"),
                format!("write for example {}", key.example()),
            ),
            Self::DurationRange {
                key,
                found,
                min,
                max,
            } => (
                format!("{key} is out of range"),
                format!("{} to {}", spell(*min), spell(*max)),
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
                match key.section {
                    Section::Telemetry => "a topic, without + and #".to_owned(),
                    _ => "a filter of topics, with + for one level and # for the rest".to_owned(),
                },
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
            Self::SeveralPasswords(keys) => (
                "there is more than one password in [cloud]".to_owned(),
                "one of password_file, password_env and password".to_owned(),
                keys.iter()
                    .map(|key| key.name)
                    .collect::<Vec<_>>()
                    .join(", "),
                format!("keep one of them, {} for example", keys[0].name),
            ),
            Self::PasswordWithoutUser(key) => (
                format!("{key} needs a user"),
                "`user` beside it: MQTT has no password without a user name".to_owned(),
                "none".to_owned(),
                "add user = \"meter-17\"".to_owned(),
            ),
            Self::PasswordReadable(mode) => (
                "`password` in [cloud] stands in a file that others may read".to_owned(),
                "a file that its owner alone may read (mode 600)".to_owned(),
                format!("mode {mode:o}"),
                "run chmod 600 on it, or move the password to a file and write password_file"
                    .to_owned(),
            ),
            Self::PasswordVariable(name) => (
                "`password_env` in [cloud] names a variable that is not set".to_owned(),
                format!("{} in the environment of the agent", variable(name)),
                "no such variable".to_owned(),
                format!(
                    "set {} where the agent is started, or write password_file",
                    variable(name)
                ),
            ),
            Self::HalfIdentity { given, missing } => (
                format!("{given} is of no use alone"),
                format!("`{}` beside it", missing.name),
                "none".to_owned(),
                format!("add {}", missing.example()),
            ),
            Self::TlsForPlain(key) => (
                format!("{key} is for TLS, and the endpoint is plain text"),
                "an endpoint that begins with mqtts:// or wss://".to_owned(),
                "one that begins otherwise".to_owned(),
                format!("write mqtts:// or wss:// in `endpoint`, or remove `{}`", key.name),
            ),
            Self::NoAuthority => (
                "`authority` in [cloud] is missing".to_owned(),
                "a file with the authorities whose certificates are believed".to_owned(),
                "none".to_owned(),
                "add authority = \"ca.pem\"".to_owned(),
            ),
            Self::File { key, path, error } => (
                format!("{key} names a file that cannot be read"),
                format!("a file that this user may read at {}", path.display()),
                error.to_string(),
                "check the path, which is relative to this file, and who may read it".to_owned(),
            ),
            Self::Contents { key, path, error } => (
                format!("{key} names a file that does not hold what it should"),
                match key.name {
                    "authority" => "certificates of authorities, as PEM",
                    "certificate" => "the device's certificate, as PEM",
                    _ => "the certificate's private key, as PEM and without a password",
                }
                .to_owned(),
                format!("in {}: {error}", path.display()),
                format!("check that {} is the right file", path.display()),
            ),
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

/// The name of a variable, unless it looks more like the password itself.
fn variable(name: &str) -> &str {
    let is_usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    match name.bytes().all(is_usual) {
        true => name,
        false => "this variable",
    }
}

fn guess(meant: Option<&str>, otherwise: &str) -> String {
    match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => otherwise.to_owned(),
    }
}

fn first(section: Section) -> &'static str {
    Key::new(section, section.keys()[0]).example()
}
