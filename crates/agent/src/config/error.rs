//! What can be wrong with a configuration, and how it is told.
//!
//! ```text
//! error[C009]: `keep_alive` in [cloud] has no unit
//!   --> /etc/agent/agent.toml:7:14
//!    = expected: a number and its unit, one of ms, s, m, h and d
//!    = found: 30
//!    = help: write keep_alive = "30s" for seconds, or "30m" for minutes
//! ```
//!
//! The codes are stable: one that is no longer used is not given to another fault. No line of the
//! file is shown, because passwords stand in such lines; what is shown is the value itself, where
//! it is none.

mod words;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mqtt::EncodeError;
use mqtt::topic::TopicError;
use safe_rt::{EndpointError, Scheme, TlsConfigError};

use super::keys::{Key, Section};

/// One fault of a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration cannot be read.
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
    MissingKey(Key),
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
        key: Key,
        /// What it must be.
        expected: &'static str,
        /// What it is; the value itself if it is no secret.
        found: String,
    },
    /// A length of time is a bare number.
    NoUnit {
        /// The setting.
        key: Key,
        /// The value as it was written.
        found: String,
        /// The number.
        number: String,
    },
    /// A text is no length of time.
    Duration {
        /// The setting.
        key: Key,
        /// The text.
        found: String,
    },
    /// A length of time is too short or too long.
    DurationRange {
        /// The setting.
        key: Key,
        /// The text.
        found: String,
        /// The shortest that is allowed.
        min: Duration,
        /// The longest that is allowed.
        max: Duration,
    },
    /// A quality of service is not 0, 1 or 2.
    QoS {
        /// The setting.
        key: Key,
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
        key: Key,
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
    /// There is more than one password.
    SeveralPasswords(Vec<Key>),
    /// There is a password and no user.
    PasswordWithoutUser(Key),
    /// A password stands in a file that others may read; its permissions.
    PasswordReadable(u32),
    /// The variable that the password is to be taken from is not set.
    PasswordVariable(String),
    /// There is only one of certificate and key.
    HalfIdentity {
        /// What is there.
        given: Key,
        /// What is not.
        missing: Key,
    },
    /// TLS is set up for an address without it.
    TlsForPlain(Key),
    /// The address asks for TLS, and nothing says whom to trust.
    NoAuthority,
    /// A file that the configuration names cannot be read.
    File {
        /// The setting.
        key: Key,
        /// The file.
        path: PathBuf,
        /// What reading it ended with.
        error: io::Error,
    },
    /// A file for TLS does not hold what it should.
    Contents {
        /// The setting.
        key: Key,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: TlsConfigError,
    },
    /// The address asks for a WebSocket, and this program was built without.
    NoWebSocket(Scheme),
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
    Duration => "C010",
    DurationRange => "C011",
    WrongType => "C012",
    QoS => "C013",
    EmptyId => "C014",
    Id => "C015",
    Endpoint => "C016",
    Topic => "C017",
    Session => "C018",
    AlpnLength => "C019",
    AlpnCount => "C020",
    SeveralPasswords => "C021",
    PasswordWithoutUser => "C022",
    PasswordReadable => "C023",
    PasswordVariable => "C024",
    HalfIdentity => "C025",
    TlsForPlain => "C026",
    NoAuthority => "C027",
    File => "C028",
    Contents => "C029",
    NoWebSocket => "C030",
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().what)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable(error) | Self::File { error, .. } => Some(error),
            Self::Id(error) => Some(error),
            Self::Endpoint { error, .. } => Some(error),
            Self::Topic { error, .. } => Some(error),
            Self::Contents { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A place in the file, both numbers from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A fault and where it is.
#[derive(Debug)]
pub struct Problem {
    /// Where; none if it is about the file as a whole.
    pub place: Option<Place>,
    /// What.
    pub error: ConfigError,
}

/// Everything that is wrong with a configuration; at least one fault.
#[derive(Debug)]
pub struct ConfigErrors {
    path: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Puts the faults in the order of the file.
    pub(super) fn new(path: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.place, problem.error.code()));
        Self {
            path: path.to_owned(),
            problems,
        }
    }

    /// Returns the faults, in the order of the file; those of the file as a whole come first.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem { place, error } in &self.problems {
            let words = error.words();
            writeln!(f, "error[{}]: {}", error.code(), words.what)?;
            write!(f, "  --> {}", self.path.display())?;
            if let Some(Place { line, column }) = place {
                write!(f, ":{line}:{column}")?;
            }
            writeln!(f, "\n   = expected: {}", words.expected)?;
            writeln!(f, "   = found: {}", words.found)?;
            writeln!(f, "   = help: {}\n", words.help)?;
        }
        let s = if self.problems.len() == 1 { "" } else { "s" };
        write!(f, "{} error{s}, nothing was started", self.problems.len())
    }
}

impl Error for ConfigErrors {}
