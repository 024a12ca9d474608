//! Why a command about the identity did not do what it was asked for.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use fiber::signal::Signal;
use safe_rt::TlsConfigError;

use crate::config::ConfigErrors;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::identity::StoreError;
use crate::provision::ProvisionError;

/// Why `agent provision`, `agent deprovision` or `agent cert` did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum ToolError {
    /// What other commands fail with as well.
    Failure(Failure),
    /// The configuration does not say how the device gets an identity.
    NoProvision,
    /// The state directory is locked.
    AgentRuns {
        /// The state directory.
        path: PathBuf,
    },
    /// The state directory is another user's.
    Owner {
        /// The state directory.
        path: PathBuf,
        /// The number of its user.
        owner: u32,
        /// The number of the user that asks.
        own: u32,
    },
    /// The state directory cannot be written.
    NotWritable(PathBuf),
    /// The store of identities failed.
    Store(StoreError),
    /// There is no identity.
    NoIdentity,
    /// The configuration names the certificate, which nobody renews.
    Configured,
    /// The configuration names the key, and this does not read it.
    ConfiguredKey,
    /// The cloud is to make the key of the identity in the making.
    CloudKey,
    /// The key of the device makes no request.
    Key {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The certificate does not tell its dates.
    NoDates,
    /// One attempt came to nothing.
    Attempt(ProvisionError),
    /// The running agent could not renew the certificate, in its words.
    Running(String),
    /// It took longer than it was given.
    TimedOut {
        /// Why the last attempt came to nothing.
        last: Option<String>,
    },
    /// It was interrupted.
    Signal(Signal),
    /// There is nobody to be asked.
    NoTerminal,
    /// Who was asked said no.
    Declined,
    /// The answer could not be read.
    Input(io::Error),
    /// A check of the rehearsal failed.
    Checks(usize),
}

impl ToolError {
    /// Takes the faults of a configuration.
    pub(super) fn config(errors: ConfigErrors) -> Self {
        Self::Failure(Failure::config(errors))
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Failure(failure) => failure.exit(),
            Self::NoProvision | Self::Configured | Self::ConfiguredKey | Self::CloudKey => {
                Exit::Config
            }
            Self::AgentRuns { .. } | Self::TimedOut { .. } | Self::Running(_) | Self::Signal(_) => {
                Exit::TryAgain
            }
            Self::Owner { .. } => Exit::Credentials,
            Self::NotWritable(_) | Self::Store(_) => Exit::System,
            Self::NoIdentity => Exit::NoInput,
            Self::NoDates | Self::Key { .. } => Exit::Data,
            Self::Attempt(error) => exit_of_attempt(error),
            Self::NoTerminal => Exit::Usage,
            Self::Declined => Exit::Failed,
            Self::Input(_) => Exit::InputOutput,
            Self::Checks(_) => Exit::Unavailable,
        }
    }

    /// Returns what a person can do about it, if there is something to say beyond the text.
    #[must_use]
    pub fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Failure(failure) => failure.remedy(),
            Self::NoProvision => Some(
                "set `method` in [provision]; `agent config list provision --doc` tells the keys"
                    .into(),
            ),
            Self::AgentRuns { .. } => Some(
                "stop it first, as with `systemctl stop agent`; `agent provision --status`, \
                 `agent cert show` and `agent cert renew` work beside it"
                    .into(),
            ),
            Self::Owner { owner, .. } => Some(
                format!("run this as that user, as with `sudo -u '#{owner}' agent ...`").into(),
            ),
            Self::NoIdentity => Some("`agent provision` gets one".into()),
            Self::NoTerminal => Some("--yes asks nothing".into()),
            Self::Attempt(error) => Some(explained(error.code())),
            _ => None,
        }
    }
}

fn explained(code: &str) -> Cow<'static, str> {
    format!("`agent explain {code}` says more").into()
}

fn exit_of_attempt(error: &ProvisionError) -> Exit {
    match error {
        ProvisionError::Store(StoreError::Io { .. } | StoreError::NoRoom { .. }) => Exit::System,
        ProvisionError::NoClaim { .. } => Exit::NoInput,
        ProvisionError::Tls(TlsConfigError::File { .. }) => Exit::Credentials,
        ProvisionError::Tls(_) => Exit::Data,
        ProvisionError::Dial(_) | ProvisionError::Http(_) | ProvisionError::Silent { .. } => {
            Exit::Unavailable
        }
        ProvisionError::Mqtt(mqtt::Error::Refused(_) | mqtt::Error::SubscribeRefused { .. })
        | ProvisionError::NotProven(_) => Exit::Denied,
        ProvisionError::Refused(refusal) if refusal.status < 500 => Exit::Denied,
        ProvisionError::Key(_) | ProvisionError::Spawn(_) | ProvisionError::Stopped(_) => {
            Exit::System
        }
        _ => Exit::TryAgain,
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(failure) => failure.fmt(f),
            Self::NoProvision => f.write_str(
                "the configuration does not say how the device gets an identity: expected \
                 [provision]",
            ),
            Self::AgentRuns { path } => write!(
                f,
                "the agent runs, and has the state directory {} for itself",
                path.display()
            ),
            Self::Owner { path, owner, own } => write!(
                f,
                "{} belongs to user {owner}, and this runs as user {own}: what it would make \
                 there, the agent could not read",
                path.display()
            ),
            Self::NotWritable(path) => {
                write!(f, "{} cannot be written", path.display())
            }
            Self::Store(error) => error.fmt(f),
            Self::NoIdentity => f.write_str("the device has no identity"),
            Self::Configured => f.write_str(
                "the configuration names the certificate and its key: they are renewed by whoever \
                 made them",
            ),
            Self::ConfiguredKey => f.write_str(
                "the configuration names the key of the device: a request for it is made by \
                 `openssl req -new -key FILE`",
            ),
            Self::CloudKey => f.write_str(
                "an identity is in the making whose key the cloud makes: there is nothing to be \
                 signed",
            ),
            Self::Key { path, reason } => {
                write!(f, "the key {} makes no request: {reason}", path.display())
            }
            Self::NoDates => f.write_str("the certificate does not tell when it ends"),
            Self::Attempt(error) => error.fmt(f),
            Self::Running(text) => write!(
                f,
                "the running agent could not renew the certificate, and keeps the one it has: {text}"
            ),
            Self::TimedOut { last } => {
                f.write_str("no identity in the time that was given (--timeout)")?;
                match last {
                    Some(last) => write!(f, "; last: {last}"),
                    None => Ok(()),
                }
            }
            Self::Signal(signal) => write!(
                f,
                "interrupted ({signal}); what was reached is kept, and gone on with next time"
            ),
            Self::NoTerminal => f.write_str("there is no terminal to ask at"),
            Self::Declined => f.write_str("not confirmed: nothing was changed"),
            Self::Input(error) => write!(f, "cannot read the answer: {error}"),
            Self::Checks(failed) => write!(f, "{failed} checks failed; nothing was made"),
        }
    }
}

impl std::error::Error for ToolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failure(failure) => Some(failure),
            Self::Store(error) => Some(error),
            Self::Attempt(error) => Some(error),
            Self::Input(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Failure> for ToolError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<StoreError> for ToolError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<fiber::Stopped> for ToolError {
    fn from(stopped: fiber::Stopped) -> Self {
        Self::Failure(Failure::Stopped(stopped))
    }
}
