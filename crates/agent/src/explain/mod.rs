//! `agent explain CODE`: what each stable code means, how to check it and what helps.
//!
//! A code is a letter and three digits, `C` for the configuration, `T` for the connection, `P` for
//! provisioning, `S` for storage, or the name of a health condition, such as `state-readonly`. One
//! that is no longer used is not given to another fault. There is one table for each kind, in a file
//! of its own, and everything that tells a person about a fault takes its words from there: this
//! command, the doctor, hints in the log, and `docs/guide/troubleshooting.md`, which a test keeps
//! equal to [`markdown`].

mod config;
mod files;
mod find;
mod health;
mod mqtt;
mod network;
mod provisioning;
mod rights;
mod storage;
mod storage_codes;
#[cfg(test)]
mod tests;
mod text;
mod tls;

use std::fmt;

pub use self::find::{code_of_dial, code_of_end, code_of_refusal, code_of_tls};
pub use self::storage_codes::{code_of_report, code_of_store_failure};
pub use self::text::{markdown, overview};

/// What one code means.
///
/// The texts are whole sentences in plain words, without line ends; whoever shows them breaks the
/// lines. `fix` begins with what mostly helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The code.
    pub code: &'static str,
    /// What is wrong, in a few words, without a full stop.
    pub title: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// How to find out whether that is it.
    pub verify: &'static str,
    /// What helps.
    pub fix: &'static str,
    /// What is particular to one provider.
    pub notes: &'static [Note],
}

/// What is particular to one provider about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// The provider, as people call it.
    pub provider: &'static str,
    /// What is particular, in whole sentences.
    pub text: &'static str,
    /// How well it is known. What is not known well is kept for whoever maintains the table, and
    /// not shown to anybody else.
    pub evidence: Evidence,
}

/// How well a fact about a provider is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// The provider's documentation or source says so.
    Documented,
    /// Users reported it, with the remedy that helped.
    Reported,
    /// Believed, and never checked: not shown.
    Unverified,
}

impl Explanation {
    /// The notes that may be shown.
    pub fn shown_notes(&self) -> impl Iterator<Item = &'static Note> {
        self.notes
            .iter()
            .filter(|note| note.evidence != Evidence::Unverified)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::show(self, f)
    }
}

/// The kinds of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `C###`: the configuration.
    Config,
    /// `T###`: the connection.
    Connection,
    /// `P###`: provisioning.
    Provisioning,
    /// `S###`: storage.
    Storage,
    /// Names: health conditions.
    Health,
}

impl Kind {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 5] = [
        Self::Config,
        Self::Connection,
        Self::Provisioning,
        Self::Storage,
        Self::Health,
    ];

    /// Its name, as a heading.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "Configuration",
            Self::Connection => "Connection",
            Self::Provisioning => "Provisioning",
            Self::Storage => "Storage",
            Self::Health => "Health",
        }
    }

    /// Its explanations, in the order of the codes.
    pub fn explanations(self) -> impl Iterator<Item = &'static Explanation> {
        let tables: &[&[Explanation]] = match self {
            Self::Config => &[config::TABLE, files::TABLE],
            Self::Connection => &[network::TABLE, tls::TABLE, mqtt::TABLE, rights::TABLE],
            Self::Provisioning => &[provisioning::TABLE],
            Self::Storage => &[storage::TABLE],
            Self::Health => &[health::TABLE],
        };
        tables.iter().copied().flatten()
    }
}

/// Returns every explanation that there is.
pub fn all() -> impl Iterator<Item = &'static Explanation> {
    Kind::ALL.into_iter().flat_map(Kind::explanations)
}

/// Finds what a code means; capitals do not matter.
///
/// # Examples
///
/// ```
/// let explanation = agent::explain::find("c009").expect("a code");
/// assert_eq!(explanation.code, "C009");
/// assert!(agent::explain::find("C999").is_none());
/// ```
#[must_use]
pub fn find(code: &str) -> Option<&'static Explanation> {
    all().find(|explanation| explanation.code.eq_ignore_ascii_case(code))
}
