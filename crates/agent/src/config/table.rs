//! Every key of the configuration, in one place: what may stand in it, what it means, what holds
//! without it, and when a change of it takes effect.
//!
//! The parser, the messages, `agent config`, `agent init` and the documents are all made of this
//! table, so that none of them can know a key that the others do not.

mod keys;
mod kind;
mod retired;

use std::fmt;

pub use self::keys::KEYS;
pub use self::kind::Kind;
pub(super) use self::kind::either;
pub use self::retired::{Fate, RETIRED, Retired};
use super::value::UNLIMITED;

/// A table of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Section {
    /// `[device]`: who the device is.
    Device,
    /// `[cloud]`: how to connect.
    Cloud,
    /// `[state]`: where the agent keeps what it must not forget.
    State,
    /// `[provision]`: how the device gets its identity.
    Provision,
    /// `[queue]`: what waits to be sent.
    Queue,
    /// `[telemetry]`: what to publish.
    Telemetry,
    /// `[[subscription]]`: what to subscribe to; may be repeated.
    Subscription,
    /// `[commands]`: where commands arrive.
    Commands,
    /// `[[command]]`: what a command may start; may be repeated.
    Command,
    /// `[schedule]`: when to be connected.
    Schedule,
    /// `[limits]`: what the broker allows.
    Limits,
    /// `[metrics]`: figures about the agent itself.
    Metrics,
    /// `[control]`: how the tools reach the running agent.
    Control,
    /// `[log]`: what is logged.
    Log,
}

impl Section {
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 14] = [
        Self::Device,
        Self::Cloud,
        Self::State,
        Self::Provision,
        Self::Queue,
        Self::Telemetry,
        Self::Subscription,
        Self::Commands,
        Self::Command,
        Self::Schedule,
        Self::Limits,
        Self::Metrics,
        Self::Control,
        Self::Log,
    ];

    /// Returns its name without brackets.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Cloud => "cloud",
            Self::State => "state",
            Self::Provision => "provision",
            Self::Queue => "queue",
            Self::Telemetry => "telemetry",
            Self::Subscription => "subscription",
            Self::Commands => "commands",
            Self::Command => "command",
            Self::Schedule => "schedule",
            Self::Limits => "limits",
            Self::Metrics => "metrics",
            Self::Control => "control",
            Self::Log => "log",
        }
    }

    /// Whether it may be there several times.
    #[must_use]
    pub const fn is_repeated(self) -> bool {
        matches!(self, Self::Subscription | Self::Command)
    }

    /// Whether something holds of it where it is not there: not so of tables that turn something on.
    pub(super) const fn has_defaults(self) -> bool {
        matches!(
            self,
            Self::Device
                | Self::Cloud
                | Self::State
                | Self::Queue
                | Self::Limits
                | Self::Control
                | Self::Log
        )
    }

    /// Returns what it is for, in one sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Device => "Who the device is.",
            Self::Cloud => "How to connect. Only `endpoint` must be there.",
            Self::State => {
                "Where the agent keeps what it must not forget; nothing else is written."
            }
            Self::Provision => "How the device gets its identity, where it has none yet.",
            Self::Queue => "What waits to be sent while there is no connection.",
            Self::Telemetry => "What the agent says about itself, if anything.",
            Self::Subscription => {
                "What is printed as it arrives; may be repeated, and files add to one another: a \
                 topic that is there again is set anew."
            }
            Self::Commands => "Where commands arrive; of use with `[[command]]`.",
            Self::Command => {
                "A program that a command may start, never through a shell; may be repeated, and \
                 files add to one another: a name that is there again is set anew."
            }
            Self::Schedule => "When to be connected. Without this table: always.",
            Self::Limits => {
                "What the broker allows. Without a key here, what the profile of the endpoint says."
            }
            Self::Metrics => "Figures about the agent itself, published at an interval.",
            Self::Control => "How the tools reach the running agent.",
            Self::Log => "What is logged.",
        }
    }

    /// Returns its keys, in the order of the table.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.section == self)
    }

    /// Finds a section by its name.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_repeated() {
            true => write!(f, "[[{}]]", self.name()),
            false => write!(f, "[{}]", self.name()),
        }
    }
}

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Applies {
    /// At once, on the connection that is there.
    Live,
    /// With the next connection; the one that there is stays.
    Reconnect,
    /// When the agent is started again.
    Restart,
}

impl fmt::Display for Applies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "at once",
            Self::Reconnect => "with the next connection",
            Self::Restart => "at the next start",
        })
    }
}

/// A setting: a row of the table.
#[derive(Debug)]
#[non_exhaustive]
pub struct Key {
    /// The table it stands in.
    pub section: Section,
    /// Its name there.
    pub name: &'static str,
    /// What may stand in it.
    pub kind: Kind,
    /// What holds without it, as it would be written; none where there is no such value.
    pub default: Option<&'static str>,
    /// When a change takes effect.
    pub applies: Applies,
    /// A value, as it could be written.
    pub value: &'static str,
    /// What it means, in a sentence or two.
    pub meaning: &'static str,
}

impl Key {
    /// Returns a line that sets it, as it could stand in a file.
    #[must_use]
    pub fn example(&self) -> String {
        format!("{} = {}", self.name, self.value)
    }

    /// Returns its name with that of its table: `cloud.keep_alive`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section.name(), self.name)
    }

    /// Whether it may be set to the word for no limit.
    pub(super) fn may_be_unlimited(&self) -> bool {
        self.section == Section::Limits
    }

    /// Returns what may stand in it, in few words, for documents.
    #[must_use]
    pub fn allowed(&self) -> String {
        let allowed = self.kind.allowed();
        match self.may_be_unlimited() {
            true => format!("{allowed}, or \"{UNLIMITED}\""),
            false => allowed,
        }
    }

    /// Finds a key of the table.
    #[must_use]
    pub fn find(section: Section, name: &str) -> Option<&'static Self> {
        section.keys().find(|key| key.name == name)
    }

    /// A key that is known to be there.
    pub(super) fn known(section: Section, name: &str) -> &'static Self {
        Self::find(section, name).expect("only keys of the table are asked for")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` in {}", self.name, self.section)
    }
}

/// The name of `known` that `found` was probably meant to be.
pub(super) fn meant(
    found: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    // Far longer than any name, it is near to none.
    if found.len() > GUESSED_BYTES_MAX {
        return None;
    }
    known
        .map(|name| (distance(&found, name), name))
        .filter(|&(distance, name)| distance <= 1 + name.len() / 4)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// The longest name that is compared with the known ones.
pub(super) const GUESSED_BYTES_MAX: usize = 64;

/// How many characters must be put in, left out or replaced to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, a) in from.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, &b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_nearly_right_is_guessed_and_a_strange_one_is_not() {
        let keys = || Section::Cloud.keys().map(|key| key.name);
        for (found, expected) in [
            ("keepalive", Some("keep_alive")),
            ("keep-alive", Some("keep_alive")),
            ("Endpoint", Some("endpoint")),
            ("endpiont", Some("endpoint")),
            ("passwordfile", Some("password_file")),
            ("sesion", Some("session")),
            ("colour", None),
            ("", None),
            (&"x".repeat(1_000_000), None),
        ] {
            assert_eq!(meant(found, keys()), expected, "{found}");
        }
    }

    #[test]
    fn every_section_has_keys_and_no_key_is_there_twice() {
        for section in Section::ALL {
            let mut names: Vec<_> = section.keys().map(|key| key.name).collect();
            let total = names.len();
            names.sort_unstable();
            names.dedup();
            assert!(total > 0 && names.len() == total, "{section}");
            assert_eq!(Section::by_name(section.name()), Some(section));
        }
        let sections: usize = Section::ALL
            .map(|section| section.keys().count())
            .iter()
            .sum();
        assert_eq!(sections, KEYS.len());
    }
}
