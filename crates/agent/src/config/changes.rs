//! What is different between two configurations, and when that takes effect.

use std::collections::BTreeMap;
use std::fmt;

use super::effective::{Effect, Effective};
use super::error::Origin;
use super::table::Applies;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The whole name of the setting, as [`Effect::path`].
    pub path: String,
    /// What it was, as TOML; none where nothing was set.
    pub before: Option<String>,
    /// What it is, as TOML; none where nothing is set any more. The same as before where it is the
    /// contents of a file that changed.
    pub after: Option<String>,
    /// Where the new value comes from.
    pub origin: Origin,
    /// When it takes effect.
    pub applies: Applies,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            before,
            after,
            ..
        } = self;
        match (before, after) {
            (Some(before), Some(after)) if before == after => {
                write!(f, "{path}: other contents of {after}")?;
            }
            (before, after) => {
                let told =
                    |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                write!(f, "{path}: {} instead of {}", told(after), told(before))?;
            }
        }
        write!(f, ", {} ({})", self.applies, self.origin)
    }
}

/// All differences, in the order of the table of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all of them.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    /// Whether this setting is different, by its whole name.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.0.iter().any(|change| change.path == path)
    }

    /// Returns those that take effect in this way.
    pub fn that_apply(&self, applies: Applies) -> impl Iterator<Item = &Change> {
        self.0
            .iter()
            .filter(move |change| change.applies == applies)
    }

    /// Whether a change needs this, or something of a table.
    #[must_use]
    pub fn touches(&self, section: super::Section) -> bool {
        let name = section.name();
        self.0
            .iter()
            .any(|change| change.path.split('.').next() == Some(name))
    }
}

impl fmt::Display for Changes {
    /// A line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Change::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Compares two configurations.
pub(super) fn between(before: &Effective, after: &Effective) -> Changes {
    let old: BTreeMap<_, _> = by_path(before);
    let new: BTreeMap<_, _> = by_path(after);
    let mut changes = Vec::new();
    for effect in after.settings() {
        let was = old.get(&effect.path());
        let key = effect.key();
        let same_value = was.map(|was| &was.value) == Some(&effect.value)
            || was.is_none() && effect.value.is_none();
        let digest = |of: &Effective| {
            let found = of
                .contents()
                .iter()
                .find(|(known, _)| std::ptr::eq(*known, key));
            found.map(|(_, digest)| *digest)
        };
        if !same_value || digest(before) != digest(after) {
            changes.push(Change {
                path: effect.path(),
                before: was.and_then(|was| was.value()),
                after: effect.value(),
                origin: effect.origin().clone(),
                applies: key.applies,
            });
        }
    }
    for effect in before.settings() {
        if effect.value.is_some() && !new.contains_key(&effect.path()) {
            changes.push(Change {
                path: effect.path(),
                before: effect.value(),
                after: None,
                origin: Origin::Default,
                applies: effect.key().applies,
            });
        }
    }
    Changes(changes)
}

fn by_path(of: &Effective) -> BTreeMap<String, &Effect> {
    let effects = of.settings().iter();
    effects.map(|effect| (effect.path(), effect)).collect()
}
