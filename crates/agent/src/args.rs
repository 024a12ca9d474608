//! The command line: from words to [`RunArgs`], [`DemoArgs`], [`PubArgs`] and [`SubArgs`], or to the
//! one error in it.
//!
//! The letters of `pub` and `sub` are those of `mosquitto_pub` and `mosquitto_sub`. What those
//! programs take is taken and means the same; `--opt=value`, `-qVALUE` and `-rn` are taken as well.
//! Letters of theirs that are not offered here are known and refused by name. Nothing here reads a
//! file, a clock or the environment.

mod control;
mod demo;
mod doctor;
mod error;
mod option;
mod parse;
#[cfg(test)]
mod tests;
mod will;

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, QoS, Will};
use safe_rt::Endpoint;
use zeroize::Zeroize as _;

pub use self::control::{Ask, ControlArgs, Form, Goal, WAIT_TIMEOUT_DEFAULT};
pub use self::demo::{DEMO_FAULTS_MAX, DemoArgs, Fault, RUN_FOR_MAX};
pub use self::doctor::DoctorArgs;
pub use self::error::{Rejected, UsageError};

/// Shortest keep-alive that can be asked for, in seconds.
pub const KEEP_ALIVE_SECS_MIN: u16 = 5;

/// The programs in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `agent` itself.
    Agent,
    /// `agent run`.
    Run,
    /// `agent pub`, or `agent publish`.
    Pub,
    /// `agent sub`, or `agent subscribe`.
    Sub,
    /// `agent demo`.
    Demo,
    /// `agent doctor`.
    Doctor,
    /// `agent status`, `fibers`, `queue`, `wait` and `reload`.
    Control,
}

impl Tool {
    /// Returns how it is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Run => "agent run",
            Self::Pub => "agent pub",
            Self::Sub => "agent sub",
            Self::Demo => "agent demo",
            Self::Doctor => "agent doctor",
            Self::Control => "agent status",
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print the help of this tool.
    Help(Tool),
    /// Print the version.
    Version,
    /// Connect and stay connected.
    Run(RunArgs),
    /// Ask a running agent.
    Control(ControlArgs),
    /// Publish.
    Pub(Box<PubArgs>),
    /// Subscribe.
    Sub(Box<SubArgs>),
    /// Show it.
    Demo(DemoArgs),
    /// Examine the way to the broker.
    Doctor(Box<DoctorArgs>),
}

/// What `agent run` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// The configuration (`--config`).
    pub config: PathBuf,
    /// When to end by itself (`--for`).
    pub limit: Option<Duration>,
    /// Whether to log everything.
    pub debug: bool,
}

/// What `agent pub` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubArgs {
    /// How to connect.
    pub connection: ConnectionArgs,
    /// Where to publish.
    pub topic: TopicName,
    /// What to publish.
    pub source: MessageSource,
    /// With which quality of service.
    pub qos: QoS,
    /// Whether the broker keeps the message for later subscribers.
    pub retain: bool,
}

/// Where the messages of `agent pub` come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageSource {
    /// One message, given as it is (`-m`), or empty (`-n`).
    Text(Vec<u8>),
    /// One message: the bytes of a file (`-f`).
    File(PathBuf),
    /// One message for each line of the standard input (`-l`).
    Lines,
}

/// What `agent sub` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubArgs {
    /// How to connect.
    pub connection: ConnectionArgs,
    /// What to subscribe to; at least one.
    pub filters: Vec<TopicFilter>,
    /// With which quality of service at most.
    pub qos: QoS,
    /// After how many messages to end (`-C`).
    pub count: Option<NonZeroU64>,
    /// When to end (`-W`).
    pub wait: Option<Duration>,
    /// Whether to print the topic as well (`-v`).
    pub verbose: bool,
}

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionArgs {
    /// Where the broker is; its scheme says whether there is TLS.
    pub endpoint: Endpoint,
    /// What TLS needs; there exactly when the endpoint asks for it.
    pub tls: Option<TlsArgs>,
    /// The client identifier; `None` for a random one.
    pub client_id: Option<ClientId>,
    /// Who is connecting.
    pub credentials: Option<Credentials>,
    /// What the broker publishes when the program is lost.
    pub will: Option<Will>,
    /// How long the link may be silent.
    pub keep_alive: Duration,
    /// Whether the broker drops what it kept for this client identifier.
    pub clean_start: bool,
    /// How long the connection may take; `None` for ever.
    pub timeout: Option<Duration>,
    /// Whether to log everything.
    pub debug: bool,
}

/// What TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsArgs {
    /// The file with the trusted authorities.
    pub cafile: PathBuf,
    /// The files with the own certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The application protocol to offer.
    pub alpn: Option<String>,
}

/// A user name and perhaps a password; without the former there is no latter (MQTT3-3.1.2-22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name; it may be empty.
    pub user_name: String,
    /// The password.
    pub password: Option<Password>,
}

/// A password, which never shows, and which is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Understands the words after the program's name.
///
/// # Errors
///
/// [`Rejected`]: the first word that is wrong, or else what is missing or contradicts itself.
///
/// # Examples
///
/// ```
/// use agent::args::{Command, Tool, UsageError, parse};
///
/// let command = parse(["sub", "-t", "a/#", "-C", "3", "-v"]);
/// assert!(matches!(command, Ok(Command::Sub(args)) if args.verbose));
/// let rejected = parse(["pub", "-t", "a"]).unwrap_err();
/// assert_eq!((rejected.tool, rejected.error), (Tool::Pub, UsageError::NoMessage));
/// ```
pub fn parse<I>(words: I) -> Result<Command, Rejected>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    parse::command(lexopt::Parser::from_args(words.into_iter().map(Into::into)))
}
