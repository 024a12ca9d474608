//! What can be wrong with a command line.

use std::error::Error;
use std::fmt;

use mqtt::EncodeError;
use mqtt::packet::MAX_FIELD_LEN;
use mqtt::topic::TopicError;
use safe_rt::{EndpointError, ProxyUrlError};

use crate::config::NoSetting;

use super::{
    DEMO_FAULTS_MAX, DOCTOR_WATCH_MIN, KEEP_ALIVE_SECS_MIN, REPEAT_DELAY_MAX, RUN_FOR_MAX, Tool,
};
use crate::format::FormatError;

/// A command line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The tool it was for, whose help tells more.
    pub tool: Tool,
    /// What is wrong with it.
    pub error: UsageError,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// What is wrong with a command line. Names of options are as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// There is no command.
    NoCommand,
    /// The command is none of those known.
    UnknownCommand(String),
    /// The tool does not have this option, or takes no such argument.
    UnknownOption(String),
    /// Mosquitto's programs have this option, and this one does not.
    NotOffered {
        /// The option.
        option: String,
        /// Why it is not.
        reason: &'static str,
    },
    /// The option needs a value and is the last word.
    MissingValue(String),
    /// The option takes no value and was given one.
    UnexpectedValue(String),
    /// The option's value is not valid UTF-8.
    NotUnicode(String),
    /// The port is not a number from 1 to 65 535.
    Port(String),
    /// The host is neither a name nor an address.
    Host {
        /// What was given.
        text: String,
        /// The rule it breaks.
        error: EndpointError,
    },
    /// The quality of service is not a number from 0 to 2.
    QoS(String),
    /// The keep-alive is not a number from [`KEEP_ALIVE_SECS_MIN`] to 65 535.
    KeepAlive(String),
    /// Neither a count of messages nor `--all` is given.
    NoCount,
    /// It is nothing that can be waited for.
    Goal(String),
    /// The count of messages is not a number from 1.
    Count(String),
    /// The time to receive in is not a number of seconds from 1.
    Wait(String),
    /// The time to connect in is not a number of seconds.
    Timeout(String),
    /// The client identifier is empty.
    EmptyClientId,
    /// The client identifier makes no packet.
    ClientId(EncodeError),
    /// The name of the application protocol has this many bytes.
    Alpn(usize),
    /// The topic of `pub` is no topic name.
    Topic {
        /// What was given.
        text: String,
        /// The rule it breaks.
        error: TopicError,
    },
    /// A topic of `sub` is no topic filter.
    Filter {
        /// What was given.
        text: String,
        /// The rule it breaks.
        error: TopicError,
    },
    /// The topic of the will is no topic name.
    WillTopic {
        /// What was given.
        text: String,
        /// The rule it breaks.
        error: TopicError,
    },
    /// The payload of the will has this many bytes, more than CONNECT has room for.
    WillPayload(usize),
    /// The quality of service of the will is not a number from 0 to 2.
    WillQoS(String),
    /// Something is said of a will, and no topic makes one.
    WillWithoutTopic,
    /// The time of `--watch` is no length of time, or too short.
    Watch(String),
    /// The doctor has no such check.
    UnknownCheck(String),
    /// What is to be set is no setting.
    Setting(NoSetting),
    /// How much is to be checked is no level.
    Level(String),
    /// What is to be printed of the configuration is none of those known; empty if nothing is said.
    ConfigWord(String),
    /// `config get` was given no key.
    NoKey,
    /// The time to run for is no length of time.
    For(String),
    /// The seed of `demo` is not a number.
    Seed(String),
    /// The time of `demo` is not a number and its unit, or too long.
    RunFor(String),
    /// The fault of `demo` is none, or one too many.
    Fault(String),
    /// `pub` was given no topic.
    NoTopic,
    /// `pub` was given no message.
    NoMessage,
    /// `pub` was given more than one of `-m`, `-f`, `-l`, `-n` and `-s`: these two.
    SeveralMessages([&'static str; 2]),
    /// `request` was given no topic for the response.
    NoResponseTopic,
    /// Both a rehearsal and what there is are asked for.
    DryRunAndStatus,
    /// What `agent cert` is to do is nothing that it does; it may be empty.
    CertWord(String),
    /// Messages that the broker had kept are to be hidden, and no others shown.
    NothingRetained,
    /// How often to publish is not a number from 1.
    Repeat(String),
    /// The time between two messages is no number of seconds, or too long.
    RepeatDelay(String),
    /// The share of the messages is not a number from 0.1 to 100.
    RandomFilter(String),
    /// The layout of the messages is none.
    Format(FormatError),
    /// The URL has no scheme, or none that is known.
    UrlScheme,
    /// The URL has no topic.
    UrlTopic,
    /// The local address is none.
    BindAddress(String),
    /// The proxy is none.
    Proxy(ProxyUrlError),
    /// The version of MQTT is none.
    Protocol(String),
    /// The version of TLS is none that is spoken.
    TlsVersion(String),
    /// How many messages may be unacknowledged is not a number from 1 to 65 535.
    Window(String),
    /// Both a client identifier and the beginning of one are given.
    IdAndPrefix,
    /// Something is said of TLS, and the address has none.
    TlsForPlain,
    /// The address asks for a WebSocket, and this program was built without.
    NoWebSocket,
    /// The shell is none of those known; it may be empty.
    Shell(String),
    /// `sub` was given no topic.
    NoFilter,
    /// There is a password and no user name.
    PasswordWithoutUserName,
    /// The agent's configuration is named, and another broker as well.
    ConfigAndBroker,
    /// The session is to be kept, and no client identifier says whose it is.
    KeptSessionWithoutId,
    /// A certificate is given without its key, or the other way round.
    CertWithoutKey,
}

impl UsageError {
    /// Takes an error of the word splitter.
    pub(super) fn from_parser(error: lexopt::Error) -> Self {
        match error {
            lexopt::Error::UnexpectedValue { option, .. } => Self::UnexpectedValue(option),
            lexopt::Error::MissingValue { option } => {
                Self::MissingValue(option.unwrap_or_default())
            }
            other => Self::UnknownOption(other.to_string()),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => write!(f, "no command given: expected {}", commands()),
            Self::UnknownCommand(found) => {
                write!(f, "unknown command {found:?}: expected {}", commands())
            }
            Self::UnknownOption(found) => write!(f, "unknown option '{found}'"),
            Self::NotOffered { option, reason } => {
                write!(f, "option '{option}' is not offered: {reason}")
            }
            Self::MissingValue(option) => {
                write!(f, "{option} argument given but no value specified")
            }
            Self::UnexpectedValue(option) => {
                write!(f, "option '{option}' takes no value and was given one")
            }
            Self::NotUnicode(option) => write!(f, "malformed UTF-8 in {option} argument"),
            Self::Port(found) => {
                write!(f, "invalid port given: {found:?}, expected 1 to 65535")
            }
            Self::Host { text, error } => write!(f, "invalid host given: {text:?}: {error}"),
            Self::QoS(found) => write!(f, "invalid QoS given: {found:?}, expected 0, 1 or 2"),
            Self::KeepAlive(found) => write!(
                f,
                "invalid keepalive given: {found:?}, expected {KEEP_ALIVE_SECS_MIN} to 65535 seconds"
            ),
            Self::NoCount => f.write_str("expected --count N or --all"),
            Self::Goal(found) => write!(
                f,
                "invalid goal {found:?}: expected online, provisioned or drained"
            ),
            Self::Count(found) => {
                write!(f, "invalid message count {found:?}: expected 1 or more")
            }
            Self::Wait(found) => {
                write!(
                    f,
                    "invalid timeout {found:?}: expected 1 or more seconds, or a number with its unit"
                )
            }
            Self::Timeout(found) => write!(
                f,
                "invalid connect timeout {found:?}: expected seconds, or 0 for none"
            ),
            Self::EmptyClientId => f.write_str("invalid id: expected at least one character"),
            Self::ClientId(error) => write!(f, "invalid id: {error}"),
            Self::Alpn(len) => {
                write!(f, "invalid --tls-alpn of {len} bytes: expected 1 to 255")
            }
            Self::Topic { text, error } => write!(f, "invalid publish topic {text:?}: {error}"),
            Self::Filter { text, error } => {
                write!(f, "invalid subscription topic {text:?}: {error}")
            }
            Self::WillTopic { text, error } => write!(f, "invalid will topic {text:?}: {error}"),
            Self::WillPayload(len) => write!(
                f,
                "invalid will payload of {len} bytes: expected at most {MAX_FIELD_LEN}"
            ),
            Self::WillQoS(found) => {
                write!(f, "invalid will QoS given: {found:?}, expected 0, 1 or 2")
            }
            Self::WillWithoutTopic => f.write_str("a will needs a topic: expected --will-topic"),
            Self::UnknownCheck(name) => {
                let known = crate::doctor::CHECKS.iter().map(|check| check.id);
                let known = known.collect::<Vec<_>>().join(", ");
                write!(f, "no check is called {name:?}: expected some of {known}")
            }
            Self::Setting(error) => error.fmt(f),
            Self::Level(found) => {
                write!(f, "invalid level {found:?}: expected syntax or files")
            }
            Self::ConfigWord(found) if found.is_empty() => {
                f.write_str("nothing to print given: expected show, get or list")
            }
            Self::ConfigWord(found) => {
                write!(f, "unknown word {found:?}: expected show, get or list")
            }
            Self::NoKey => f.write_str("no key given: expected one such as cloud.keep_alive"),
            Self::For(found) => write!(
                f,
                "invalid time to run for {found:?}: expected a number and its unit, such as 30s \
                 or 5m"
            ),
            Self::Seed(found) => write!(f, "invalid seed {found:?}: expected a number"),
            Self::RunFor(found) => write!(
                f,
                "invalid --for {found:?}: expected a time as 60s or 5m, at most {} minutes",
                RUN_FOR_MAX.as_secs() / 60
            ),
            Self::Fault(found) => write!(
                f,
                "invalid --fault {found:?}: expected cut, stall, drop-acks, kill-broker or power-cut, \
                 at most {DEMO_FAULTS_MAX} of them"
            ),
            Self::NoTopic => f.write_str("no topic given: expected -t"),
            Self::NoMessage => f.write_str("no message given: expected -m, -f, -l, -n or -s"),
            Self::SeveralMessages([first, second]) if first == second => {
                write!(
                    f,
                    "only one message can be sent at once: {first} is given twice"
                )
            }
            Self::SeveralMessages([first, second]) => write!(
                f,
                "only one type of message can be sent at once: {first} and {second} are given"
            ),
            Self::NoResponseTopic => f.write_str("no topic of the response given: expected -e"),
            Self::DryRunAndStatus => f.write_str("--dry-run and --status cannot be used together"),
            Self::CertWord(found) if found.is_empty() => {
                f.write_str("nothing to do given: expected show, needs-renewal, renew or csr")
            }
            Self::CertWord(found) => write!(
                f,
                "unknown word {found:?}: expected show, needs-renewal, renew or csr"
            ),
            Self::NothingRetained => {
                f.write_str("-R and --retained-only together leave nothing to print")
            }
            Self::Repeat(found) => {
                write!(f, "invalid --repeat {found:?}: expected 1 or more")
            }
            Self::RepeatDelay(found) => write!(
                f,
                "invalid --repeat-delay {found:?}: expected seconds, at most {}",
                REPEAT_DELAY_MAX.as_secs()
            ),
            Self::RandomFilter(found) => write!(
                f,
                "invalid --random-filter {found:?}: expected 0.1 to 100 per cent"
            ),
            Self::Format(error) => write!(f, "invalid -F: {error}"),
            Self::UrlScheme => f.write_str(
                "invalid -L: expected mqtt://, mqtts://, ws://, wss:// or unix: at its beginning",
            ),
            Self::UrlTopic => f.write_str("invalid -L: topic missing, expected it after a slash"),
            Self::BindAddress(found) => {
                write!(
                    f,
                    "invalid -A {found:?}: expected an IP address of this machine"
                )
            }
            Self::Proxy(error) => write!(f, "invalid --proxy: {error}"),
            Self::Protocol(found) => {
                write!(f, "invalid protocol version {found:?}: expected mqttv311")
            }
            Self::TlsVersion(found) => {
                write!(
                    f,
                    "invalid --tls-version {found:?}: expected tlsv1.2 or tlsv1.3"
                )
            }
            Self::Window(found) => {
                write!(f, "invalid -M {found:?}: expected 1 to 65535")
            }
            Self::IdAndPrefix => f.write_str("-i and -I cannot be used together"),
            Self::TlsForPlain => f.write_str(
                "options of TLS are given, and the address is one without: expected mqtts:// or \
                 wss://",
            ),
            Self::NoWebSocket => f.write_str(
                "this program was built without WebSockets: expected mqtt:// or mqtts://",
            ),
            Self::Shell(found) if found.is_empty() => {
                f.write_str("no shell given: expected bash, zsh or fish")
            }
            Self::Shell(found) => {
                write!(f, "unknown shell {found:?}: expected bash, zsh or fish")
            }
            Self::NoFilter => {
                f.write_str("no topic to subscribe to (-t) or to unsubscribe from (-U) given")
            }
            Self::Watch(found) => write!(
                f,
                "expected a time of at least {} s with its unit for --watch, such as 1m, found {found}",
                DOCTOR_WATCH_MIN.as_secs()
            ),
            Self::ConfigAndBroker => f.write_str(
                "--config, --set, --state-dir and --root are about the agent's own broker: expected \
                 neither -h, -L, -p nor --unix",
            ),
            Self::PasswordWithoutUserName => {
                f.write_str("a password needs a user name: expected -u as well")
            }
            Self::KeptSessionWithoutId => {
                f.write_str("a kept session needs a client id: expected -i with -c")
            }
            Self::CertWithoutKey => {
                f.write_str("certificate and key belong together: expected both --cert and --key")
            }
        }
    }
}

/// The names of all commands.
fn commands() -> String {
    let names: Vec<&str> = Tool::ALL.iter().map(|tool| tool.about().words[0]).collect();
    let (last, others) = names.split_last().expect("there are commands");
    format!("{} or {last}", others.join(", "))
}

impl Error for UsageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Host { error, .. } => Some(error),
            Self::Setting(error) => Some(error),
            Self::ClientId(error) => Some(error),
            Self::Format(error) => Some(error),
            Self::Proxy(error) => Some(error),
            Self::Topic { error, .. }
            | Self::Filter { error, .. }
            | Self::WillTopic { error, .. } => Some(error),
            _ => None,
        }
    }
}
