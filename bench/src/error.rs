//! Why there is no figure.

use std::fmt;
use std::io;

/// Why a program gave no figure, or could not be asked.
#[derive(Debug)]
pub enum Failure {
    /// A program could not be started, or its output could not be read.
    Start {
        /// The command line.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// A program ended with a failure; what it said.
    Ended {
        /// The command line.
        command: String,
        /// Its exit code or signal, and its error output.
        said: String,
    },
    /// A program took longer than it may, and was killed.
    TimedOut {
        /// The command line.
        command: String,
    },
    /// A program ended well without a value that it was asked for.
    NoValue {
        /// The command line.
        command: String,
        /// The name of the value.
        name: String,
    },
    /// The system lacks what this is measured with: said, and no fault.
    Lacking(String),
    /// A file of the suite's own that cannot be read or written, or holds what it should not.
    File {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { command, source } => write!(f, "cannot run `{command}`: {source}"),
            Self::Ended { command, said } => write!(f, "`{command}` failed: {said}"),
            Self::TimedOut { command } => write!(f, "`{command}` took too long"),
            Self::NoValue { command, name } => write!(f, "`{command}` printed no `{name}`"),
            Self::Lacking(what) => write!(f, "{what}"),
            Self::File { path, what } => write!(f, "{path}: {what}"),
        }
    }
}

impl std::error::Error for Failure {}
