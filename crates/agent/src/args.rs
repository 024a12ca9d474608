//! The command line: from words to what a tool is to do, such as [`RunArgs`] or [`PubArgs`], or to
//! the one error in it.
//!
//! The letters of `pub`, `sub` and `request` are those of `mosquitto_pub`, `mosquitto_sub` and
//! `mosquitto_rr`. What those programs take is taken and means the same; `--opt=value`, `-qVALUE` and
//! `-rn` are taken as well. Letters of theirs that are not offered here are known and refused by name,
//! with the reason. Every option stands in one table, [`flags`], from which the help, the manual page
//! and the completions are made as well. Nothing here reads a file, a clock or the environment.

mod config;
mod control;
mod demo;
mod doctor;
mod error;
pub mod flags;
mod given;
mod identity;
mod link;
mod parse;
#[cfg(test)]
mod tests;
mod tool;
mod url;
mod will;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use mqtt::topic::{TopicFilter, TopicName};
use mqtt::{ClientId, QoS, Will};
use safe_rt::{Endpoint, Proxy, TlsVersion};
use zeroize::Zeroize as _;

use crate::format::Format;

pub use self::config::{CheckArgs, ConfigArgs, ConfigPrint, SourceArgs};
pub use self::control::{Ask, ControlArgs, Form, Goal, WAIT_TIMEOUT_DEFAULT};
pub use self::demo::{DEMO_FAULTS_MAX, DemoArgs, Fault, RUN_FOR_MAX};
pub use self::doctor::{DOCTOR_WATCH_MIN, DoctorArgs};
pub use self::error::{Rejected, UsageError};
pub use self::identity::{CertArgs, CertOrder, DeprovisionArgs, ProvisionArgs, ProvisionOrder};
pub use self::tool::{About, Exits, Tool};

/// Shortest keep-alive that can be asked for, in seconds.
pub const KEEP_ALIVE_SECS_MIN: u16 = 5;
/// Longest `--repeat-delay`.
pub const REPEAT_DELAY_MAX: Duration = Duration::from_secs(24 * 3600);

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print the help of this tool.
    Help(Tool),
    /// Print the version.
    Version,
    /// Connect and stay connected.
    Run(RunArgs),
    /// Publish.
    Pub(Box<PubArgs>),
    /// Subscribe.
    Sub(Box<SubArgs>),
    /// Publish a request and wait for the response.
    Request(Box<RequestArgs>),
    /// Check the configuration.
    CheckConfig(CheckArgs),
    /// Print something of the configuration.
    Config(ConfigArgs),
    /// Print a new configuration.
    Init,
    /// Explain codes.
    Explain(ExplainArgs),
    /// Show it.
    Demo(DemoArgs),
    /// Ask a running agent.
    Control(ControlArgs),
    /// Get an identity, or say what there is.
    Provision(Box<ProvisionArgs>),
    /// Give the identity up.
    Deprovision(Box<DeprovisionArgs>),
    /// Something about certificates.
    Cert(Box<CertArgs>),
    /// Examine the way to the broker.
    Doctor(Box<DoctorArgs>),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Print the manual page.
    Man,
}

/// What `agent run` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// When to end by itself (`--for`).
    pub limit: Option<Duration>,
    /// Whether to log everything.
    pub debug: bool,
}

/// What `agent explain` is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExplainArgs {
    /// The codes; none for a list of all.
    pub codes: Vec<String>,
    /// Whether to print everything as a document (`--markdown`).
    pub markdown: bool,
}

/// What `agent completions` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionsArgs {
    /// For which shell.
    pub shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
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
    /// How often to publish it; lines of the standard input are published once.
    pub repeat: NonZeroU32,
    /// How long to wait between two of them.
    pub repeat_delay: Duration,
}

/// Where the messages of `agent pub` come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageSource {
    /// One message, given as it is (`-m`), or empty (`-n`).
    Text(Vec<u8>),
    /// One message: the bytes of a file (`-f`).
    File(PathBuf),
    /// One message: all of the standard input (`-s`).
    Stdin,
    /// One message for each line of the standard input (`-l`).
    Lines,
}

/// What `agent sub` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubArgs {
    /// How to connect.
    pub connection: ConnectionArgs,
    /// What to subscribe to, with which quality of service at most; there may be nothing.
    pub subscriptions: Vec<(TopicFilter, QoS)>,
    /// Which subscriptions of the session to end (`-U`).
    pub unsubscribe: Vec<TopicFilter>,
    /// Whether to end once the broker has answered all that (`-E`).
    pub exit_subscribed: bool,
    /// When to end (`-W`).
    pub wait: Option<Duration>,
    /// Which messages to take.
    pub take: TakeArgs,
    /// How to print them.
    pub output: OutputArgs,
}

/// Which of the messages that arrive are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakeArgs {
    /// After how many messages to end (`-C`).
    pub count: Option<NonZeroU64>,
    /// Messages whose topic matches one of these are hidden (`-T`).
    pub hidden: Vec<TopicFilter>,
    /// What is done with messages that the broker had kept.
    pub retained: Retained,
    /// Whether to have the broker forget them (`--remove-retained`).
    pub remove_retained: bool,
    /// How many of a thousand messages are printed (`--random-filter`); `None` for all.
    pub share: Option<u16>,
}

/// What is done with messages that the broker had kept from before the subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retained {
    /// They are printed as others are.
    #[default]
    Shown,
    /// They are not (`-R`).
    Hidden,
    /// Only they are, and the first other message is the end (`--retained-only`).
    Only,
}

/// How messages are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputArgs {
    /// Whether to print the topic as well (`-v`).
    pub verbose: bool,
    /// How each is laid out (`-F`).
    pub format: Option<Format>,
    /// Whether JSON of the format is broken into lines (`--pretty`).
    pub pretty: bool,
    /// Whether a line end follows; not with `-N`.
    pub line_end: bool,
}

impl Default for OutputArgs {
    fn default() -> Self {
        Self {
            verbose: false,
            format: None,
            pretty: false,
            line_end: true,
        }
    }
}

/// What `agent request` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestArgs {
    /// How to connect.
    pub connection: ConnectionArgs,
    /// Where to publish the request.
    pub topic: TopicName,
    /// Where the response comes (`-e`); there are no wildcards in it.
    pub response_topic: TopicFilter,
    /// What to publish; not [`MessageSource::Lines`].
    pub source: MessageSource,
    /// With which quality of service, of request and subscription.
    pub qos: QoS,
    /// When to end (`-W`).
    pub wait: Option<Duration>,
    /// How to print the response.
    pub output: OutputArgs,
}

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionArgs {
    /// Whether the agent's own connection is meant, where there is a configuration of it: no option
    /// names a broker.
    pub own: Option<OwnArgs>,
    /// Where the broker is; its scheme says whether there is TLS.
    pub endpoint: Endpoint,
    /// What TLS needs; there exactly when the endpoint asks for it.
    pub tls: Option<TlsArgs>,
    /// The client identifier.
    pub client_id: ClientIdArgs,
    /// Who is connecting.
    pub credentials: Option<LoginArgs>,
    /// What the broker publishes when the program is lost.
    pub will: Option<Will>,
    /// How long the link may be silent.
    pub keep_alive: Duration,
    /// Whether the broker drops what it kept for this client identifier.
    pub clean_start: bool,
    /// From which local address (`-A`).
    pub local_address: Option<IpAddr>,
    /// Through which network interface (`--interface`).
    pub interface: Option<String>,
    /// Through which proxy (`--proxy`).
    pub proxy: Option<Proxy>,
    /// How many messages of QoS 1 and 2 may be unacknowledged (`-M`).
    pub window: Option<NonZeroU16>,
    /// How long the connection may take; `None` for ever.
    pub timeout: Option<Duration>,
    /// Whether to log everything.
    pub debug: bool,
    /// Whether to print no errors.
    pub quiet: bool,
}

/// What was said of the agent's own connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnArgs {
    /// Where its configuration is.
    pub source: SourceArgs,
    /// Whether there must be one, because an option names it.
    pub is_needed: bool,
    /// Whether authorities are given, which take the place of the configuration's.
    pub trust_is_given: bool,
    /// Whether the keep-alive is given.
    pub keep_alive_is_given: bool,
    /// Whether anything at all is given of the connection, so that it cannot be that of a running
    /// agent.
    pub is_apart: bool,
}

/// Which client identifier to connect with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdArgs {
    /// One that no other client has.
    Random,
    /// This one (`-i`).
    Given(ClientId),
    /// This, and then the number of the process (`-I`).
    Prefix(String),
}

/// What TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsArgs {
    /// The file with trusted authorities.
    pub cafile: Option<PathBuf>,
    /// The folder with such files.
    pub capath: Option<PathBuf>,
    /// Whether the authorities of the system are trusted as well.
    pub system: bool,
    /// The files with the own certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The application protocol to offer.
    pub alpn: Option<String>,
    /// The only version that is spoken; `None` for all.
    pub version: Option<TlsVersion>,
    /// Whether a certificate for another name is taken.
    pub insecure: bool,
}

/// Who is connecting with a tool for a moment; without a user name there is no password
/// (MQTT3-3.1.2-22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginArgs {
    /// The user name; it may be empty.
    pub user_name: String,
    /// Where the password is.
    pub password: Option<PasswordSource>,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// Here (`-P`).
    Given(Password),
    /// In a file (`--pw-file`).
    File(PathBuf),
    /// In a variable of the environment (`--pw-env`).
    Environment(String),
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
/// assert!(matches!(command, Ok(Command::Sub(args)) if args.output.verbose));
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
