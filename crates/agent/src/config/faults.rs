//! The texts that a configuration is made of, and what is found to be wrong in them.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::{ConfigError, ConfigErrors, Excerpt, Origin, Place, Problem};
use super::raw::At;
use super::table::Kind;

/// The longest line of which an excerpt is shown, in bytes.
pub(super) const EXCERPT_BYTES_MAX: usize = 160;
/// The most faults that are told, and the most warnings; what is found beyond is counted.
pub const CONFIG_FAULTS_MAX: usize = 50;

/// Which layer a text belongs to: a value of a higher one takes the place of one of a lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// What the service manager says of folders.
    Manager,
    /// A file, by its number.
    File(usize),
    /// What the service manager handed over.
    Credentials,
    /// The environment.
    Environment,
    /// The command line.
    Flags,
}

/// Where a text comes from.
#[derive(Clone, Debug)]
pub(super) enum Whence {
    File(PathBuf),
    Variable(String),
    /// The setting that `--set` sets.
    Flag(String),
}

/// One text: a file, a variable, an option.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) whence: Whence,
    pub(super) layer: Layer,
    pub(super) text: Zeroizing<String>,
}

/// All texts, and the faults found so far.
#[derive(Default)]
pub(super) struct Faults {
    sources: Vec<Source>,
    problems: Vec<Problem>,
    /// Those beyond the bound.
    more: usize,
    warnings: Vec<Problem>,
}

impl Faults {
    /// Takes a text in; later ones come before earlier ones. Returns its number.
    pub(super) fn add(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// Returns the text of a source.
    pub(super) fn source(&self, source: usize) -> &Source {
        &self.sources[source]
    }

    /// Returns the layer of what stands there.
    pub(super) fn layer(&self, at: &At) -> Layer {
        self.sources[at.source].layer
    }

    /// Returns the file that it stands in, if it is one.
    pub(super) fn file(&self, at: &At) -> Option<&Path> {
        match &self.sources[at.source].whence {
            Whence::File(path) => Some(path),
            Whence::Variable(_) | Whence::Flag(_) => None,
        }
    }

    /// Notes a fault at a part of a text.
    pub(super) fn note(&mut self, at: &At, error: ConfigError) {
        // To tell a place means to count the lines before it.
        match self.is_full() {
            true => self.more += 1,
            false => self.problems.push(self.problem(at, error)),
        }
    }

    /// Whether as many are noted as are told: what makes the next one need not be found out.
    pub(super) const fn is_full(&self) -> bool {
        self.problems.len() >= CONFIG_FAULTS_MAX
    }

    fn problem(&self, at: &At, error: ConfigError) -> Problem {
        let excerpt = match error.hides_value() {
            true => None,
            false => self.excerpt(at),
        };
        Problem {
            origin: self.origin(at),
            error,
            order: (at.source + 1, at.point.start),
            excerpt,
        }
    }

    fn push(&mut self, problem: Problem) {
        match self.is_full() {
            true => self.more += 1,
            false => self.problems.push(problem),
        }
    }

    /// Notes what stops nothing, and should be changed all the same.
    pub(super) fn warn(&mut self, at: &At, error: ConfigError) {
        if self.warnings.len() < CONFIG_FAULTS_MAX {
            self.warnings.push(self.problem(at, error));
        }
    }

    /// The same of what is set nowhere.
    pub(super) fn warn_whole(&mut self, error: ConfigError) {
        if self.warnings.len() < CONFIG_FAULTS_MAX {
            self.warnings.push(Problem::of(Origin::Default, error));
        }
    }

    /// Returns how many faults are noted, for [`only_warn`](Self::only_warn).
    pub(super) const fn mark(&self) -> usize {
        self.problems.len()
    }

    /// Has those of the faults since `mark` that are of this kind be warnings.
    pub(super) fn only_warn(&mut self, mark: usize, is_meant: impl Fn(&ConfigError) -> bool) {
        let since = self.problems.split_off(mark.min(self.problems.len()));
        for problem in since {
            match is_meant(&problem.error) {
                true => self.warnings.push(problem),
                false => self.problems.push(problem),
            }
        }
    }

    /// Notes a fault of a file as a whole, or of none.
    pub(super) fn note_whole(&mut self, path: Option<&Path>, error: ConfigError) {
        let origin = path.map_or(Origin::Default, |path| Origin::File {
            path: path.to_owned(),
            place: None,
        });
        self.push(Problem::of(origin, error));
    }

    /// Notes a fault at a place of a file that is no text.
    pub(super) fn note_place(&mut self, path: &Path, place: Place, error: ConfigError) {
        let origin = Origin::File {
            path: path.to_owned(),
            place: Some(place),
        };
        let order = (self.sources.len() + 1, 0);
        let problem = Problem::of(origin, error);
        self.push(Problem { order, ..problem });
    }

    /// Returns where something stands.
    pub(super) fn origin(&self, at: &At) -> Origin {
        let source = &self.sources[at.source];
        match &source.whence {
            Whence::File(path) => Origin::File {
                path: path.clone(),
                place: Some(place(source.text.as_bytes(), at.point.start)),
            },
            Whence::Variable(name) => Origin::Variable(name.clone()),
            Whence::Flag(name) => Origin::Flag(format!("--set {name}")),
        }
    }

    /// The setting alone, and none of what else may stand in its line.
    fn excerpt(&self, at: &At) -> Option<Excerpt> {
        let source = &self.sources[at.source];
        let shown = source.text.get(at.all.clone())?;
        let before = source.text.get(at.all.start..at.point.start)?;
        let marked = source.text.get(at.point.clone())?;
        if shown.is_empty()
            || shown.len() > EXCERPT_BYTES_MAX
            || shown.chars().any(char::is_control)
        {
            return None;
        }
        let name = match &source.whence {
            Whence::File(_) => String::new(),
            Whence::Variable(name) | Whence::Flag(name) => format!("{name}="),
        };
        Some(Excerpt {
            before: name.chars().count() + before.chars().count(),
            len: marked.chars().count().max(1),
            text: name + shown,
        })
    }

    /// Takes out what is to be told and stops nothing.
    pub(super) fn take_warnings(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.warnings)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_errors(self) -> ConfigErrors {
        ConfigErrors::new(self.problems, self.more)
    }
}

impl Problem {
    /// One that stands at no part of a text.
    const fn of(origin: Origin, error: ConfigError) -> Self {
        Self {
            origin,
            error,
            order: (0, 0),
            excerpt: None,
        }
    }
}

impl ConfigError {
    /// Whether the value that it is about may be a password or hold one.
    fn hides_value(&self) -> bool {
        if let Self::Endpoint { found, .. } = self {
            // Dots stand for what was left out.
            return found.contains("...");
        }
        let kind = match self {
            // The query of an endpoint may be a signature.
            Self::NoWebSocket(_) => return true,
            Self::Unreadable(_) | Self::NotText | Self::Syntax(_) | Self::Proxy(_) => return true,
            Self::WrongType { key, .. }
            | Self::NoUnit { key, .. }
            | Self::Malformed { key, .. }
            | Self::Url { key }
            | Self::CredentialName(key)
            | Self::SecretInFlag(key)
            | Self::SecretInline(key)
            | Self::Choice { key, .. }
            | Self::OutOfRange { key, .. }
            | Self::File { key, .. }
            | Self::NoCredentials { key, .. }
            | Self::SecretReadable { key, .. }
            | Self::EmptySecret { key }
            | Self::SecretVariable { key, .. } => key.kind,
            _ => return false,
        };
        matches!(
            kind,
            Kind::Secret
                | Kind::Variable
                | Kind::Credential
                | Kind::Url
                | Kind::Proxy
                | Kind::Endpoint
        )
    }
}

/// The line and column of a byte; one past the end is a place as well.
pub(super) fn place(text: &[u8], at: usize) -> Place {
    let before = &text[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let newlines = before.iter().filter(|&&byte| byte == b'\n').count();
    let column = String::from_utf8_lossy(&before[line_start..])
        .chars()
        .count();
    Place {
        line: newlines + 1,
        column: column + 1,
    }
}
