//! What a check found.

use std::borrow::Cow;
use std::time::Duration;

use crate::explain::{self, Explanation};

/// How a check ended. The order is that of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was not made.
    Skip,
    /// All is well.
    Ok,
    /// All is well, and there is something to know.
    Note,
    /// It works, and may not for long.
    Warn,
    /// It does not work.
    Fail,
}

impl Outcome {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The name of the check.
    pub id: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, in one line.
    pub text: String,
    /// What shows it, a line each.
    pub evidence: Vec<String>,
    /// What can be explained by `agent explain`.
    pub code: Option<&'static str>,
    /// What helps, if the code does not say it well enough.
    pub remedy: Option<Cow<'static, str>>,
    /// What can be pasted as it is: the statement of a right that is missing.
    pub paste: Option<String>,
    /// The check that it could not be made without.
    pub because_of: Option<&'static str>,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Self {
            id: "",
            outcome,
            text: text.into(),
            evidence: Vec::new(),
            code: None,
            remedy: None,
            paste: None,
            because_of: None,
            took: Duration::ZERO,
        }
    }

    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self::new(Outcome::Ok, text)
    }

    pub(super) fn note(text: impl Into<String>) -> Self {
        Self::new(Outcome::Note, text)
    }

    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self::new(Outcome::Warn, text)
    }

    pub(super) fn fail(text: impl Into<String>) -> Self {
        Self::new(Outcome::Fail, text)
    }

    /// There is nothing for it to look at.
    pub(super) fn skip(text: impl Into<String>) -> Self {
        Self::new(Outcome::Skip, text)
    }

    /// It fails by the title of a code.
    pub(super) fn fail_by(code: &'static str) -> Self {
        Self::fail(title(code)).code(code)
    }

    /// It warns by the title of a code.
    pub(super) fn warn_by(code: &'static str) -> Self {
        Self::warn(title(code)).code(code)
    }

    /// It could not be made because of another one.
    pub(super) fn because_of(id: &'static str) -> Self {
        let mut finding = Self::skip(format!("because of {id}"));
        finding.because_of = Some(id);
        finding
    }

    pub(super) const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(super) fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn maybe_remedy(mut self, remedy: Option<Cow<'static, str>>) -> Self {
        self.remedy = remedy.or(self.remedy);
        self
    }

    pub(super) fn paste(mut self, paste: impl Into<String>) -> Self {
        self.paste = Some(paste.into());
        self
    }

    /// Returns what its code means, if it has one.
    #[must_use]
    pub fn explanation(&self) -> Option<&'static Explanation> {
        explain::find(self.code?)
    }

    /// Returns what helps, if there is something to say.
    #[must_use]
    pub fn fix(&self) -> Option<Cow<'static, str>> {
        let of_code = || self.explanation().map(|found| Cow::Borrowed(found.fix));
        self.remedy.clone().or_else(of_code)
    }
}

fn title(code: &'static str) -> &'static str {
    explain::find(code).map_or(code, |found| found.title)
}
