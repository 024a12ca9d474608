//! What can go wrong once the command line is understood, and which exit code each failure is.

mod codes;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fiber::signal::Signal;
use fiber::{JoinError, RunError, SpawnError, Stopped};
use mqtt::store::OpenError;
use mqtt::{EndCause, Outcome, PublishError, WaitCause};
use safe_rt::{TlsConfigError, TlsError};

use self::codes::{
    exit_of_credentials, exit_of_end, exit_of_error, exit_of_hang_up, exit_of_wait, is_forbidden,
};
use crate::agent::AGENT_FIBERS_MAX;
use crate::config::ConfigErrors;
use crate::control::ControlError;
use crate::exit::Exit;
use crate::identity::StoreError;
use crate::out::PrintError;
use crate::publish::{INPUT_BYTES_MAX, LINE_BYTES_MAX};
use crate::service::command::HandlerRefused;
use crate::service::schedule::ScheduleError;

/// Why a tool did not do all that was asked of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The runtime could not be started, or a fiber of it panicked.
    Runtime(RunError),
    /// The configuration is faulty.
    Config(Box<ConfigErrors>),
    /// There are warnings about the configuration, so many, and there were to be none.
    Warnings(usize),
    /// There is no such setting.
    NoKey {
        /// What was asked for.
        found: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A setting has no value.
    NotSet(String),
    /// Nothing says who the device is.
    NoDeviceId,
    /// The identity of the device cannot be read or kept.
    Identity(Box<StoreError>),
    /// How the device is to get its identity cannot be used, in words.
    Provision(String),
    /// A topic of the configuration is none with the device's identifier in it.
    DeviceTopic {
        /// The identifier.
        id: mqtt::ClientId,
        /// What is wrong with the topic.
        error: mqtt::topic::TopicError,
    },
    /// The system does not let the program listen to signals.
    Signals(io::Error),
    /// No fiber could be started.
    Spawn(SpawnError),
    /// [`AGENT_FIBERS_MAX`] fibers of the agent run already.
    TooManyFibers,
    /// No configuration was named.
    NoConfig,
    /// A function that the program gave for the start failed.
    Hook(Box<dyn StdError>),
    /// The queue in the state directory cannot be used.
    Queue(OpenError),
    /// The schedule is none.
    Schedule(ScheduleError),
    /// A handler of commands was not taken.
    Command(HandlerRefused),
    /// A running agent cannot be asked, or refused.
    Control(ControlError),
    /// What `agent wait` waits for did not come about in time.
    WaitExpired,
    /// A second signal ended the stop that the first one began.
    StoppedTwice,
    /// A fiber that was waited for ended without a value.
    Join(JoinError),
    /// The system has no random bytes for a client identifier.
    Randomness(io::Error),
    /// The file that is to be sent cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What reading it ended with.
        source: io::Error,
    },
    /// The standard input cannot be read.
    Input(io::Error),
    /// A line of the standard input is longer than [`LINE_BYTES_MAX`].
    LineTooLong {
        /// Its number, from 1.
        line: u64,
    },
    /// The standard input is longer than [`INPUT_BYTES_MAX`].
    InputTooLong,
    /// The file with the password cannot be read.
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What reading it ended with.
        source: io::Error,
    },
    /// The variable that the password is to be taken from is not set.
    PasswordVariable(String),
    /// There is no such code to be explained.
    UnknownCode(String),
    /// Something is said of TLS, and the agent's own endpoint has none.
    TlsForPlain,
    /// A message is with the running agent, which keeps it in memory alone and has no connection.
    InMemory,
    /// The running agent took a message and gave it up, in this word.
    GivenUp(String),
    /// The files given for TLS are not usable.
    TlsConfig(TlsConfigError),
    /// There is no connection to the broker.
    Dial(safe_rt::Error),
    /// The broker did not accept the connection.
    Connect(mqtt::Error),
    /// The broker did not answer in the time that the connection may take.
    ConnectTimeout {
        /// That time.
        timeout: Duration,
        /// What was waited for when it was over, if it was before MQTT.
        during: Option<Box<safe_rt::Error>>,
    },
    /// A message could not be published, or not to the end.
    Publish(PublishError),
    /// A message was sent and its acknowledgement did not come.
    Unacknowledged(WaitCause),
    /// A message was not delivered, for all that is known.
    Undelivered(Outcome),
    /// The subscription could not be made.
    Subscribe(mqtt::Error),
    /// The broker refused every subscription.
    SubscriptionRefused {
        /// The topic filters.
        filters: Vec<String>,
    },
    /// The connection ended.
    Lost(Arc<EndCause>),
    /// What is to be printed cannot be written to the standard output.
    Output(io::Error),
    /// Nobody reads the standard output any more: there is nothing left to do, and nothing to be said.
    Unread,
    /// The standard input, which was to be one message, is empty.
    EmptyInput,
    /// A wait was stopped from outside.
    Stopped(Stopped),
    /// The time to receive in is over.
    Expired,
    /// A signal ended it before there was an answer.
    Signal(Signal),
}

impl Failure {
    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connect(mqtt::Error::Wait(WaitCause::ConnectionLost(end))) => match &**end {
                EndCause::Refused(reason) => Exit::Refused(*reason),
                // There has been none yet.
                _ => Exit::Unavailable,
            },
            Self::Connect(error) => exit_of_error(error),
            Self::Subscribe(error) => match error {
                // Brokers that forbid a subscription may hang up in place of an answer.
                mqtt::Error::Wait(WaitCause::ConnectionLost(end)) => exit_of_hang_up(end),
                error => exit_of_error(error),
            },
            Self::Unacknowledged(WaitCause::ConnectionLost(end)) => exit_of_hang_up(end),
            Self::Publish(PublishError::Wait(error)) => match &error.cause {
                WaitCause::ConnectionLost(end) => exit_of_hang_up(end),
                cause => exit_of_wait(cause),
            },
            Self::Publish(PublishError::Full(cause)) | Self::Unacknowledged(cause) => {
                exit_of_wait(cause)
            }
            Self::Lost(end) => exit_of_end(end),
            Self::Undelivered(_) | Self::InMemory | Self::GivenUp(_) => Exit::TryAgain,
            Self::SubscriptionRefused { .. } => Exit::Denied,
            Self::Expired => Exit::Expired,
            Self::Signal(Signal::Interrupt) => Exit::Interrupted,
            Self::Signal(_) => Exit::Terminated,
            Self::WaitExpired => Exit::TryAgain,
            Self::Control(ControlError::Refused(_)) => Exit::Failed,
            Self::Control(_) => Exit::Unavailable,
            Self::Config(errors) => errors.exit(),
            Self::NoKey { .. } | Self::TlsForPlain => Exit::Usage,
            Self::Warnings(_)
            | Self::NoDeviceId
            | Self::Provision(_)
            | Self::DeviceTopic { .. }
            | Self::NoConfig
            | Self::Schedule(_)
            | Self::Command(_) => Exit::Config,
            Self::NotSet(_) | Self::Dial(_) | Self::ConnectTimeout { .. } => Exit::Unavailable,
            Self::File { .. } => Exit::NoInput,
            Self::PasswordFile { source, .. } => exit_of_credentials(source),
            Self::PasswordVariable(_) => Exit::NoInput,
            Self::TlsConfig(TlsConfigError::File { source, .. }) => exit_of_credentials(source),
            Self::TlsConfig(_)
            | Self::LineTooLong { .. }
            | Self::InputTooLong
            | Self::EmptyInput
            | Self::UnknownCode(_)
            | Self::Publish(_) => Exit::Data,
            Self::Unread => Exit::Done,
            Self::Input(_) | Self::Output(_) => Exit::InputOutput,
            Self::Runtime(_) | Self::Join(_) | Self::TooManyFibers => Exit::Internal,
            Self::Hook(_) | Self::StoppedTwice => Exit::Failed,
            Self::Identity(error) => match &**error {
                StoreError::Io { source, .. } if is_forbidden(source) => Exit::Credentials,
                _ => Exit::System,
            },
            Self::Signals(_)
            | Self::Spawn(_)
            | Self::Queue(_)
            | Self::Randomness(_)
            | Self::Stopped(_) => Exit::System,
        }
    }
}

impl Failure {
    /// Takes the faults of a configuration.
    pub(crate) fn config(errors: ConfigErrors) -> Self {
        Self::Config(Box::new(errors))
    }

    /// What it means that something that arrived was not printed; nothing where nobody wants to
    /// read any more, which is no fault.
    pub(crate) fn of_print(error: &PrintError) -> Result<(), Self> {
        match error {
            PrintError::Closed => Ok(()),
            PrintError::Io(error) => Err(Self::Output(io::Error::new(
                error.kind(),
                Arc::clone(error),
            ))),
            PrintError::Stopped(stopped) => Err(Self::Stopped(*stopped)),
            PrintError::Spawn(_) => Err(Self::Output(io::Error::other(error.clone()))),
        }
    }
}

impl Failure {
    /// Returns what a person can do about a connection that did not come about, in one sentence, if
    /// there is something to say beyond the text.
    #[must_use]
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Dial(error) => error.remedy(),
            Self::ConnectTimeout { during, .. } => during.as_ref()?.remedy(),
            Self::Connect(mqtt::Error::Wait(WaitCause::ConnectionLost(end))) | Self::Lost(end) => {
                remedy_of_end(end)
            }
            _ => None,
        }
    }
}

/// As [`Failure::remedy`], for the end of a connection.
pub(crate) fn remedy_of_end(end: &EndCause) -> Option<Cow<'static, str>> {
    match end {
        EndCause::Dial(error) => error.remedy(),
        EndCause::Transport(error) => TlsError::of(error).map(TlsError::remedy),
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(error) => error.fmt(f),
            Self::Config(errors) => errors.fmt(f),
            Self::Warnings(count) => write!(f, "{count} warnings about the configuration"),
            Self::NoKey { found, meant } => match meant {
                Some(meant) => write!(f, "there is no setting {found}: did you mean {meant}?"),
                None => write!(f, "there is no setting {found}"),
            },
            Self::NotSet(path) => write!(f, "{path} is not set, and has no default"),
            Self::NoDeviceId => {
                f.write_str("expected `id` in [device] of the configuration, found none")
            }
            Self::Identity(error) => write!(f, "the identity of the device: {error}"),
            Self::Provision(text) => write!(f, "[provision]: {text}"),
            Self::DeviceTopic { id, error } => {
                write!(f, "a topic with the device id {id} in it is none: {error}")
            }
            Self::Signals(error) => write!(f, "cannot listen to signals: {error}"),
            Self::Spawn(error) => error.fmt(f),
            Self::TooManyFibers => write!(
                f,
                "expected at most {AGENT_FIBERS_MAX} fibers of the agent, found as many"
            ),
            Self::NoConfig => f.write_str(
                "no configuration is named: expected `--config FILE` or the variable AGENT_CONFIG",
            ),
            Self::Hook(error) => write!(f, "the program could not start: {error}"),
            Self::Queue(OpenError::InUse) => {
                f.write_str("another process uses the state directory")
            }
            Self::Queue(error) => error.fmt(f),
            Self::Schedule(error) => write!(f, "the schedule cannot be used: {error}"),
            Self::Command(error) => write!(f, "a command cannot be used: {error}"),
            Self::Control(error) => error.fmt(f),
            Self::WaitExpired => f.write_str("it did not come about in time (--timeout)"),
            Self::StoppedTwice => f.write_str("a second signal ended the stop before it was done"),
            Self::Join(error) => error.fmt(f),
            Self::Randomness(error) => write!(f, "no random bytes for a client id: {error}"),
            Self::File { path, source } => {
                write!(f, "cannot read the file {}: {source}", path.display())
            }
            Self::Input(error) => write!(f, "cannot read the standard input: {error}"),
            Self::LineTooLong { line } => write!(
                f,
                "line {line} of the standard input has more than {LINE_BYTES_MAX} bytes"
            ),
            Self::InputTooLong => {
                write!(
                    f,
                    "the standard input has more than {INPUT_BYTES_MAX} bytes"
                )
            }
            Self::EmptyInput => f.write_str(
                "the standard input is empty; an empty message is published with -n (--null-message)",
            ),
            Self::PasswordFile { path, source } => {
                write!(
                    f,
                    "cannot read the password in {}: {source}",
                    path.display()
                )
            }
            Self::PasswordVariable(name) => {
                write!(f, "the variable {name:?} of --pw-env is not set")
            }
            Self::UnknownCode(code) => {
                write!(
                    f,
                    "there is no code {code:?}; agent explain lists all of them"
                )
            }
            Self::TlsForPlain => f.write_str(
                "options for TLS are given, and the endpoint of the configuration has none",
            ),
            Self::InMemory => f.write_str(
                "the running agent has no connection, and keeps the message in its memory alone",
            ),
            Self::GivenUp(how) => write!(f, "the running agent gave the message up: {how}"),
            Self::TlsConfig(error) => write!(f, "cannot set up TLS: {error}"),
            Self::Dial(error) => write!(f, "cannot connect: {error}"),
            Self::Connect(error) => match error {
                mqtt::Error::Refused(_) => error.fmt(f),
                _ => write!(f, "the broker did not accept the connection: {error}"),
            },
            Self::ConnectTimeout { timeout, .. } => {
                write!(f, "no connection after {} s (--timeout)", timeout.as_secs())
            }
            Self::Publish(error) => write!(f, "cannot publish: {error}"),
            Self::Unacknowledged(cause) => {
                write!(f, "a message was not acknowledged: {cause}")
            }
            Self::Undelivered(Outcome::Withdrawn) => {
                f.write_str("a message was not sent: the connection ended before")
            }
            Self::Undelivered(_) => {
                f.write_str("a message was not acknowledged: the connection ended before")
            }
            Self::Subscribe(error) => write!(f, "cannot subscribe: {error}"),
            Self::SubscriptionRefused { filters } => {
                write!(
                    f,
                    "the broker refused to subscribe to {}",
                    filters.join(", ")
                )
            }
            Self::Lost(cause) => write!(f, "connection lost: {cause}"),
            Self::Output(error) => write!(f, "cannot write to the standard output: {error}"),
            Self::Unread => f.write_str("nobody reads the standard output any more"),
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Expired => f.write_str("timed out"),
            Self::Signal(signal) => write!(f, "{signal} came before an answer"),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Runtime(error) => Some(error),
            Self::Config(errors) => Some(errors),
            Self::Identity(error) => Some(error),
            Self::DeviceTopic { error, .. } => Some(error),
            Self::NoDeviceId
            | Self::Provision(_)
            | Self::Warnings(_)
            | Self::NoKey { .. }
            | Self::NotSet(_) => None,
            Self::Spawn(error) => Some(error),
            Self::Hook(error) => Some(&**error),
            Self::Queue(error) => Some(error),
            Self::Control(error) => Some(error),
            Self::Schedule(error) => Some(error),
            Self::Command(error) => Some(error),
            Self::Join(error) => Some(error),
            Self::Signals(error)
            | Self::Randomness(error)
            | Self::Input(error)
            | Self::Output(error) => Some(error),
            Self::File { source, .. } | Self::PasswordFile { source, .. } => Some(source),
            Self::TlsConfig(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::ConnectTimeout { during, .. } => match during {
                Some(error) => Some(&**error),
                None => None,
            },
            Self::Connect(error) | Self::Subscribe(error) => Some(error),
            Self::Publish(error) => Some(error),
            Self::Unacknowledged(cause) => Some(cause),
            Self::Lost(cause) => Some(cause),
            Self::Stopped(stopped) => Some(stopped),
            Self::LineTooLong { .. }
            | Self::TooManyFibers
            | Self::NoConfig
            | Self::StoppedTwice
            | Self::TlsForPlain
            | Self::InMemory
            | Self::GivenUp(_)
            | Self::WaitExpired
            | Self::InputTooLong
            | Self::EmptyInput
            | Self::Unread
            | Self::PasswordVariable(_)
            | Self::UnknownCode(_)
            | Self::Undelivered(_)
            | Self::SubscriptionRefused { .. }
            | Self::Signal(_)
            | Self::Expired => None,
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}
