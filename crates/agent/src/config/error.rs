//! What can be wrong with a configuration, and how it is told.
//!
//! ```text
//! error[C009]: `keep_alive` in [cloud] has no unit
//!   --> /etc/agent/conf.d/20-site.toml:7:14
//!    |
//!  7 | keep_alive = 30
//!    |              ^^
//!    = expected: a number and its unit, one of ms, s, m, h and d
//!    = found: 30
//!    = help: write keep_alive = "30s" for seconds, or "30m" for minutes
//! ```
//!
//! The codes are stable: one that is no longer used is not given to another fault. Of a line no more
//! is shown than the setting that the fault is about, and of a setting that may be a password, or
//! hold one, no more than its name.

mod problem;
mod words;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use mqtt::EncodeError;
use mqtt::topic::TopicError;
use safe_rt::{EndpointError, Scheme, TlsConfigError};

pub(super) use self::problem::Excerpt;
pub use self::problem::{ConfigErrors, Origin, Place, Problem};
use super::table::{Key, Retired, Section};

/// One fault of a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file of the configuration cannot be read.
    Unreadable(io::Error),
    /// The configuration is not UTF-8.
    NotText,
    /// The text is no TOML; what the parser says about it.
    Syntax(String),
    /// There is no such table.
    UnknownSection {
        /// Its name.
        found: String,
        /// Which one was probably meant.
        meant: Option<&'static str>,
    },
    /// There is no such setting in this table.
    UnknownKey {
        /// The table.
        section: Section,
        /// Its name.
        found: String,
        /// Which one was probably meant.
        meant: Option<&'static str>,
    },
    /// A table that must be there is not.
    MissingSection(Section),
    /// A setting that must be there is not.
    MissingKey(&'static Key),
    /// What should be a table is none, or the other way of writing one.
    NotASection {
        /// The table.
        section: Section,
        /// What it is.
        found: &'static str,
    },
    /// A value is of another type.
    WrongType {
        /// The setting.
        key: &'static Key,
        /// What it must be.
        expected: &'static str,
        /// What it is; the value itself if it is no secret.
        found: String,
    },
    /// A value is a bare number where it needs a unit.
    NoUnit {
        /// The setting.
        key: &'static Key,
        /// The value as it was written.
        found: String,
        /// The number.
        number: String,
    },
    /// A text does not have the form that it must have.
    Malformed {
        /// The setting.
        key: &'static Key,
        /// The text.
        found: String,
    },
    /// A value is too small or too large.
    OutOfRange {
        /// The setting.
        key: &'static Key,
        /// The value as it was written.
        found: String,
    },
    /// A quality of service is not 0, 1 or 2.
    QoS {
        /// The setting.
        key: &'static Key,
        /// The number.
        found: String,
    },
    /// The device's name is empty.
    EmptyId,
    /// The device's name makes no packet.
    Id(EncodeError),
    /// The address of the broker is none.
    Endpoint {
        /// The text, without credentials.
        found: String,
        /// The rule it breaks.
        error: EndpointError,
    },
    /// A topic, or a filter of topics, is none.
    Topic {
        /// The setting.
        key: &'static Key,
        /// The text.
        found: String,
        /// The rule it breaks.
        error: TopicError,
    },
    /// The session is to be neither kept nor clean.
    Session(String),
    /// The name of an application protocol is empty or too long.
    AlpnLength(usize),
    /// There are too many application protocols.
    AlpnCount(usize),
    /// There is more than one source of a password or a token.
    SeveralSecrets(Vec<&'static Key>),
    /// There is a password and no user.
    PasswordWithoutUser(&'static Key),
    /// A secret stands in a file that others may read.
    SecretReadable {
        /// The setting.
        key: &'static Key,
        /// The permissions of the file.
        mode: u32,
    },
    /// The variable that a secret is to be taken from is not set.
    SecretVariable {
        /// The setting.
        key: &'static Key,
        /// The name of the variable, if it looks like one.
        name: String,
    },
    /// There is only one of certificate and key.
    HalfIdentity {
        /// What is there.
        given: &'static Key,
        /// What is not.
        missing: &'static Key,
    },
    /// TLS is set up for an address without it.
    TlsForPlain(&'static Key),
    /// A file that the configuration names cannot be read.
    File {
        /// The setting.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// What reading it ended with.
        error: io::Error,
    },
    /// A file for TLS does not hold what it should.
    Contents {
        /// The setting.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: TlsConfigError,
    },
    /// The address asks for a WebSocket, and this program was built without.
    NoWebSocket(Scheme),
    /// A text is none of the words that it may be.
    Choice {
        /// The setting.
        key: &'static Key,
        /// The text.
        found: String,
        /// The words.
        words: &'static [&'static str],
    },
    /// The address of the provisioning service is none.
    Url {
        /// The setting.
        key: &'static Key,
    },
    /// The address of the proxy is none; the rule it breaks.
    Proxy(String),
    /// The name of a credential is no file name.
    CredentialName(&'static Key),
    /// A credential is asked for, and the service manager gave none.
    NoCredentials {
        /// The setting.
        key: &'static Key,
        /// The name of the credential.
        name: String,
    },
    /// A setting that this way of provisioning needs is not there.
    ProvisionNeeds {
        /// The setting.
        key: &'static Key,
        /// The way.
        method: &'static str,
    },
    /// A setting belongs to the other way of provisioning.
    ProvisionForeign {
        /// The setting.
        key: &'static Key,
        /// The way that was chosen.
        method: &'static str,
    },
    /// Renewal is to end before it begins.
    RenewOrder {
        /// From which part of its life, in per cent.
        from: u8,
        /// Until which part, in per cent.
        until: u8,
    },
    /// A table is there several times with the same name.
    Twice {
        /// The setting that tells them apart.
        key: &'static Key,
        /// Its value.
        found: String,
    },
    /// A list that must not be empty is.
    EmptyList(&'static Key),
    /// A secret stands on the command line.
    SecretInFlag(&'static Key),
    /// A secret stands in a file of the configuration, which is allowed and not good.
    SecretInline(&'static Key),
    /// A table that may be there several times is set by a variable or an option.
    OnlyInFiles(Section),
    /// A folder of the configuration has too many files.
    ManyFiles(usize),
    /// A window of the schedule is no cron expression.
    Cron {
        /// The setting.
        key: &'static Key,
        /// The text.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is more of something than may be.
    TooMany {
        /// What it is.
        what: String,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// A certificate has ended.
    Expired {
        /// The setting that names it.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// When.
        ended: SystemTime,
    },
    /// A certificate ends soon.
    EndsSoon {
        /// The setting that names it.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// When.
        ended: SystemTime,
    },
    /// Others may read or change a file with a secret.
    FileReadable {
        /// The setting that names it.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file with a secret is of another user.
    FileOwner {
        /// The setting that names it.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// The user, by number.
        owner: u32,
    },
    /// A folder cannot be written.
    NotWritable {
        /// The setting that names it.
        key: &'static Key,
        /// The folder.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// A setting is beyond what the broker takes, or another value is used in its place.
    Beyond {
        /// The setting.
        key: &'static Key,
        /// What it may be, and who says so.
        expected: String,
        /// What it is.
        found: String,
        /// What to do.
        help: String,
    },
    /// A key of another version.
    Retired {
        /// The table.
        section: Section,
        /// Its name.
        found: String,
        /// What became of it.
        retired: &'static Retired,
    },
    /// A secret is there, and empty.
    EmptySecret {
        /// The setting that says where it is.
        key: &'static Key,
    },
    /// Commands have a topic, and none is allowed.
    NoHandlers,
}

/// Gives every fault its code, and lists all codes.
macro_rules! codes {
    ($($variant:ident => $code:literal,)*) => {
        impl ConfigError {
            /// Every code that there is, in order.
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// Returns the code, by which documents and people refer to this fault.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }
        }
    };
}

codes! {
    Unreadable => "C001",
    NotText => "C002",
    Syntax => "C003",
    UnknownSection => "C004",
    UnknownKey => "C005",
    MissingSection => "C006",
    MissingKey => "C007",
    NotASection => "C008",
    NoUnit => "C009",
    Malformed => "C010",
    OutOfRange => "C011",
    WrongType => "C012",
    QoS => "C013",
    EmptyId => "C014",
    Id => "C015",
    Endpoint => "C016",
    Topic => "C017",
    Session => "C018",
    AlpnLength => "C019",
    AlpnCount => "C020",
    SeveralSecrets => "C021",
    PasswordWithoutUser => "C022",
    SecretReadable => "C023",
    SecretVariable => "C024",
    HalfIdentity => "C025",
    TlsForPlain => "C026",
    File => "C028",
    Contents => "C029",
    NoWebSocket => "C030",
    Choice => "C031",
    Url => "C032",
    Proxy => "C033",
    CredentialName => "C034",
    NoCredentials => "C035",
    ProvisionNeeds => "C036",
    ProvisionForeign => "C037",
    RenewOrder => "C038",
    Twice => "C039",
    EmptyList => "C040",
    SecretInFlag => "C041",
    OnlyInFiles => "C042",
    ManyFiles => "C043",
    SecretInline => "C044",
    Cron => "C045",
    TooMany => "C046",
    Expired => "C047",
    EndsSoon => "C048",
    FileReadable => "C049",
    FileOwner => "C050",
    NotWritable => "C051",
    Beyond => "C052",
    Retired => "C053",
    EmptySecret => "C054",
    NoHandlers => "C055",
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().what)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable(error)
            | Self::File { error, .. }
            | Self::NotWritable { error, .. } => Some(error),
            Self::Id(error) => Some(error),
            Self::Endpoint { error, .. } => Some(error),
            Self::Topic { error, .. } => Some(error),
            Self::Contents { error, .. } => Some(error),
            _ => None,
        }
    }
}
