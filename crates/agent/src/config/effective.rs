//! The configuration as it came to be: what holds, and where each value comes from.

use std::fmt;

use super::Config;
use super::changes::{self, Changes};
use super::error::{Origin, Problem};
use super::faults::Faults;
use super::load::Loaded;
use super::raw::{At, Placed, parse_value};
use super::settings::Settings;
use super::source::MANAGERS;
use super::table::{Key, Section};
use super::value::{self, Value};

/// A configuration, and where each of its values comes from.
pub struct Effective {
    config: Config,
    settings: Vec<Effect>,
    /// Digests of what was read from files and other places that settings name.
    contents: Vec<(&'static Key, u64)>,
    warnings: Vec<Problem>,
}

impl fmt::Debug for Effective {
    /// Leaves out the digests, which are of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effective")
            .field("config", &self.config)
            .field("settings", &self.settings)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// What one setting is, and why.
#[derive(Clone, Debug)]
pub struct Effect {
    key: &'static Key,
    /// Which of several tables it stands in.
    table: Option<String>,
    /// None where the key has no default.
    pub(super) value: Option<Value>,
    origin: Origin,
}

impl Effect {
    /// Returns the key.
    #[must_use]
    pub const fn key(&self) -> &'static Key {
        self.key
    }

    /// Returns its whole name, `cloud.keep_alive`; in a table that is there several times with what
    /// tells it from the others, `command.reboot.timeout`.
    #[must_use]
    pub fn path(&self) -> String {
        match &self.table {
            Some(table) => format!("{}.{table}.{}", self.key.section.name(), self.key.name),
            None => self.key.path(),
        }
    }

    /// Returns the value as it could be written in TOML; a secret as `"***"`. None where nothing is
    /// set and there is no default.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        self.value.as_ref().map(Value::to_string)
    }

    /// Returns where it comes from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Effective {
    pub(super) fn new(settings: &Settings, loaded: Loaded, faults: &mut Faults) -> Self {
        Self {
            config: loaded.config,
            settings: effects(settings, faults),
            contents: loaded.contents,
            warnings: faults.take_warnings(),
        }
    }

    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the configuration out.
    #[must_use]
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Returns every setting, in the order of the table: what is set, and what holds without that.
    /// Tables that are not there and need not be are left out.
    #[must_use]
    pub fn settings(&self) -> &[Effect] {
        &self.settings
    }

    /// Returns what is not wrong, and should be changed all the same.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Returns what is different from another configuration, the one from before.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Changes {
        changes::between(before, self)
    }

    pub(super) fn contents(&self) -> &[(&'static Key, u64)] {
        &self.contents
    }

    /// Writes everything that is set as one TOML text, secrets included.
    pub(super) fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut head = None;
        for effect in &self.settings {
            // What the service manager says it says again.
            let is_said_anew = matches!(&effect.origin, Origin::Variable(name) if MANAGERS.contains(&name.as_str()));
            let (Some(value), false) = (&effect.value, effect.origin == Origin::Default) else {
                continue;
            };
            if is_said_anew {
                continue;
            }
            let section = effect.key.section;
            let table = Some((section, effect.table.clone()));
            if head != table {
                out.push_str(&format!("\n{section}\n"));
                head = table;
            }
            out.push_str(effect.key.name);
            out.push_str(" = ");
            out.push_str(&value.in_full());
            out.push('\n');
        }
        out
    }
}

/// Every setting with its origin.
fn effects(settings: &Settings, faults: &Faults) -> Vec<Effect> {
    let mut effects = Vec::new();
    for section in Section::ALL {
        let mut is_there = false;
        for table in settings.tables(section) {
            is_there = true;
            let name = section.is_repeated().then(|| {
                let name = table.get(section.name_key());
                name.map_or_else(String::new, |name| name.value.plain())
            });
            for key in section.keys() {
                let set = table.get(key.name);
                effects.push(Effect {
                    key,
                    table: name.clone(),
                    value: set
                        .map(|setting| setting.value.clone())
                        .or_else(|| default(key)),
                    origin: set.map_or(Origin::Default, |setting| faults.origin(setting.at)),
                });
            }
        }
        if !is_there && section.has_defaults() {
            effects.extend(section.keys().map(|key| Effect {
                key,
                table: None,
                value: default(key),
                origin: Origin::Default,
            }));
        }
    }
    effects
}

/// What holds without a setting.
pub(super) fn default(key: &'static Key) -> Option<Value> {
    // A test reads every default.
    let raw = parse_value(key.default?)?;
    let at = At {
        source: 0,
        all: 0..0,
        point: 0..0,
    };
    let written = Placed { value: raw, at };
    value::understand(key, &written, std::path::Path::new(""), &mut Vec::new())
}
