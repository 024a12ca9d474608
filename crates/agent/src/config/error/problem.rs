//! A fault with its place, and all faults of a configuration together.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use super::ConfigError;
use crate::exit::Exit;

/// A place in a file, both numbers from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// From nowhere: it is what holds without a setting.
    Default,
    /// From a file, and from where in it, if from one place.
    File {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Option<Place>,
    },
    /// From a variable of the environment.
    Variable(String),
    /// From the command line: the option and what it sets.
    Flag(String),
}

impl Origin {
    /// Returns where in a file it is.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match self {
            Self::File { place, .. } => *place,
            Self::Default | Self::Variable(_) | Self::Flag(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, place } => {
                write!(f, "{}", path.display())?;
                match place {
                    Some(Place { line, column }) => write!(f, ":{line}:{column}"),
                    None => Ok(()),
                }
            }
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "option {name}"),
        }
    }
}

/// A fault and where it is.
#[derive(Debug)]
#[non_exhaustive]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What.
    pub error: ConfigError,
    /// The order of the sources, and in them.
    pub(in crate::config) order: (usize, usize),
    pub(in crate::config) excerpt: Option<Excerpt>,
}

impl Problem {
    /// Returns where in a file it is; none if it is about the file as a whole, or about no file.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        self.origin.place()
    }
}

/// What of the text is shown, in one line, and which part of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Excerpt {
    pub(in crate::config) text: String,
    /// How many characters are before what is meant.
    pub(in crate::config) before: usize,
    /// How many characters are meant; at least one.
    pub(in crate::config) len: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error")
    }
}

impl Problem {
    /// Writes it as an error or as a warning, without a line end.
    pub(in crate::config) fn write(&self, f: &mut fmt::Formatter<'_>, rank: &str) -> fmt::Result {
        let words = self.error.words();
        writeln!(f, "{rank}[{}]: {}", self.error.code(), words.what)?;
        writeln!(f, "  --> {}", self.origin)?;
        if let Some(Excerpt { text, before, len }) = &self.excerpt {
            let line = self
                .place()
                .map_or_else(String::new, |place| place.line.to_string());
            let margin = line.len().max(2);
            let (none, before, marks) = ("", " ".repeat(*before), "^".repeat(*len));
            writeln!(f, " {none:margin$} |")?;
            writeln!(f, " {line:>margin$} | {text}")?;
            writeln!(f, " {none:margin$} | {before}{marks}")?;
        }
        writeln!(f, "   = expected: {}", words.expected)?;
        writeln!(f, "   = found: {}", words.found)?;
        write!(f, "   = help: {}", words.help)
    }
}

/// Everything that is wrong with a configuration; at least one fault.
#[derive(Debug)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
    /// How many more there are, which are not told.
    more: usize,
}

impl ConfigErrors {
    /// Puts the faults in the order of the sources.
    pub(in crate::config) fn new(mut problems: Vec<Problem>, more: usize) -> Self {
        problems.sort_by(|a, b| (a.order, a.error.code()).cmp(&(b.order, b.error.code())));
        Self { problems, more }
    }

    /// Returns the exit code: 66 where the one thing that is wrong is that a file of the
    /// configuration is not there, 77 where only secrets cannot be read or can be read by others,
    /// and 78 for all else.
    #[must_use]
    pub fn exit(&self) -> Exit {
        use std::io::ErrorKind::{NotFound, PermissionDenied};

        let all =
            |is: fn(&ConfigError) -> bool| self.problems.iter().all(|problem| is(&problem.error));
        let is_missing = |error: &ConfigError| matches!(error, ConfigError::Unreadable(error) if error.kind() == NotFound);
        let is_forbidden = |error: &ConfigError| match error {
            ConfigError::SecretReadable { .. } | ConfigError::FileReadable { .. } => true,
            ConfigError::Unreadable(error) | ConfigError::File { error, .. } => {
                error.kind() == PermissionDenied
            }
            _ => false,
        };
        if all(is_missing) {
            Exit::NoInput
        } else if all(is_forbidden) {
            Exit::Credentials
        } else {
            Exit::Config
        }
    }

    /// Writes the faults, each with an empty line after it.
    pub(in crate::config) fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "{problem}\n\n"))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "and {more} more\n\n"),
        }
    }

    /// Returns how many there are, told or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.problems.len() + self.more
    }

    /// Returns the faults that are told, [`CONFIG_FAULTS_MAX`](crate::config::CONFIG_FAULTS_MAX) at
    /// most, in the order of the sources and of each file; those of a file as a whole come first.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f)?;
        let (count, s) = (self.count(), if self.count() == 1 { "" } else { "s" });
        write!(f, "{count} error{s}, nothing was started")
    }
}

impl Error for ConfigErrors {}
