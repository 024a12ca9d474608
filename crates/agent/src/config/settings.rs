//! What is set: the layers put together, every value with the place it comes from.

use std::path::Path;

use super::error::ConfigError;
use super::faults::{Faults, Layer, Whence};
use super::raw::{At, Placed, Raw, RawEntry};
use super::table::{Fate, Key, RETIRED, Retired, Section, meant};
use super::value::{self, Value};

/// A setting that was given.
#[derive(Clone, Debug)]
struct Slot {
    key: &'static Key,
    at: At,
    name_at: At,
    /// None where it was not understood, which is noted.
    value: Option<Value>,
}

/// A table that was given.
#[derive(Clone, Debug)]
struct Given {
    section: Section,
    /// Where it was given first.
    at: At,
    slots: Vec<Slot>,
}

/// Everything that is set.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    tables: Vec<Given>,
    /// Keys of other versions, if they are not those of the table.
    retired: Option<&'static [Retired]>,
}

/// How many tables of one name there may be, of those that may be there several times.
pub const CONFIG_TABLES_MAX: usize = 1_024;

/// One setting, understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    pub(super) key: &'static Key,
    pub(super) value: &'a Value,
    /// Where its value stands.
    pub(super) at: &'a At,
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    given: &'a Given,
}

impl<'a> Table<'a> {
    pub(super) const fn section(&self) -> Section {
        self.given.section
    }

    /// Where it begins.
    pub(super) const fn at(&self) -> &'a At {
        &self.given.at
    }

    /// Returns a setting that was given and understood.
    pub(super) fn get(&self, name: &str) -> Option<Setting<'a>> {
        let slot = self.slot(name)?;
        Some(Setting {
            key: slot.key,
            value: slot.value.as_ref()?,
            at: &slot.at,
        })
    }

    /// Whether a setting was given, understood or not; and where.
    pub(super) fn name_at(&self, name: &str) -> Option<&'a At> {
        self.slot(name).map(|slot| &slot.name_at)
    }

    /// Where the value of a setting stands, understood or not.
    pub(super) fn value_at(&self, name: &str) -> Option<&'a At> {
        self.slot(name).map(|slot| &slot.at)
    }

    fn slot(&self, name: &str) -> Option<&'a Slot> {
        // A key that is asked for and not in the table would be a setting that nobody can set.
        debug_assert!(Key::find(self.given.section, name).is_some(), "{name}");
        self.given.slots.iter().find(|slot| slot.key.name == name)
    }
}

impl Settings {
    /// Returns a table that is there once at most.
    pub(super) fn table(&self, section: Section) -> Option<Table<'_>> {
        self.tables(section).next()
    }

    /// Returns the tables of one name.
    pub(super) fn tables(&self, section: Section) -> impl Iterator<Item = Table<'_>> {
        let given = self
            .tables
            .iter()
            .filter(move |given| given.section == section);
        given.map(|given| Table { given })
    }

    /// Takes the entries of a source in, over what was set before.
    pub(super) fn merge(&mut self, source: usize, entries: &[RawEntry], faults: &mut Faults) {
        for entry in entries {
            let Some(section) = Section::by_name(&entry.name) else {
                let error = ConfigError::UnknownSection {
                    found: entry.name.clone(),
                    meant: meant(
                        &entry.name,
                        Section::ALL.iter().map(|section| section.name()),
                    ),
                };
                faults.note(&entry.at_name(source), error);
                continue;
            };
            let at = At {
                source,
                all: entry.name_span.clone(),
                point: entry.item.span.clone(),
            };
            match (&entry.item.raw, section.is_repeated()) {
                (Raw::Table(entries), false) => self.merge_table(section, at, entries, faults),
                (Raw::List(items), true) if items.len() > CONFIG_TABLES_MAX => {
                    let (found, most) = (items.len(), CONFIG_TABLES_MAX);
                    let what = format!("tables {section} in one file");
                    faults.note(&at, ConfigError::TooMany { what, found, most });
                }
                (Raw::List(items), true) => {
                    for item in items {
                        let at = At {
                            source,
                            all: item.span.start..item.span.start,
                            point: item.span.clone(),
                        };
                        match &item.raw {
                            Raw::Table(entries) => self.add(section, at, entries, faults),
                            other => {
                                let found = other.kind();
                                faults.note(&at, ConfigError::NotASection { section, found });
                            }
                        }
                    }
                }
                (other, _) => {
                    let found = other.kind();
                    faults.note(&at, ConfigError::NotASection { section, found });
                }
            }
        }
    }

    /// Sets settings of a table that is there once.
    fn merge_table(&mut self, section: Section, at: At, entries: &[RawEntry], faults: &mut Faults) {
        let source = at.source;
        let index = match self
            .tables
            .iter()
            .position(|given| given.section == section)
        {
            Some(index) => index,
            None => {
                let slots = Vec::new();
                self.tables.push(Given { section, at, slots });
                self.tables.len() - 1
            }
        };
        let given = &mut self.tables[index];
        for slot in slots(section, self.retired, source, entries, faults) {
            match given
                .slots
                .iter_mut()
                .find(|known| known.key.name == slot.key.name)
            {
                Some(known) => known.replace(slot),
                None => given.slots.push(slot),
            }
        }
    }

    /// Adds a table of which there may be several; one of an earlier source with the same name gives
    /// way to it.
    fn add(&mut self, section: Section, at: At, entries: &[RawEntry], faults: &mut Faults) {
        let slots = slots(section, self.retired, at.source, entries, faults);
        let new = Given { section, at, slots };
        let name = Key::known(section, section.name_key());
        let known = self.tables.iter_mut().find(|given| {
            given.section == section && named(given).is_some() && named(given) == named(&new)
        });
        match known {
            None => self.tables.push(new),
            Some(known) if known.at.source != new.at.source => *known = new,
            Some(_) => {
                let table = Table { given: &new };
                if let Some(setting) = table.get(name.name) {
                    let found = setting.value.plain();
                    faults.note(setting.at, ConfigError::Twice { key: name, found });
                }
            }
        }
    }
}

impl Section {
    /// The key that tells several tables of one name apart.
    pub(super) const fn name_key(self) -> &'static str {
        match self {
            Self::Command => "name",
            _ => "topic",
        }
    }
}

/// What tells a table from others of its name.
fn named(given: &Given) -> Option<&Value> {
    let name = given.section.name_key();
    let slot = given.slots.iter().find(|slot| slot.key.name == name)?;
    slot.value.as_ref()
}

impl Slot {
    /// Takes the place of a setting; tables of texts add to one another.
    fn replace(&mut self, mut new: Self) {
        if let (Some(Value::Map(old)), Some(Value::Map(map))) = (&self.value, &mut new.value) {
            for (name, value) in old {
                map.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        *self = new;
    }
}

/// Understands the settings of one table.
fn slots(
    section: Section,
    retired: Option<&'static [Retired]>,
    source: usize,
    entries: &[RawEntry],
    faults: &mut Faults,
) -> Vec<Slot> {
    let mut slots = Vec::new();
    for entry in entries {
        let key = match Key::find(section, &entry.name) {
            Some(key) => key,
            None => match unknown(section, retired, source, entry, faults) {
                // The new name comes first, wherever it stands.
                Some(key) if entries.iter().all(|other| other.name != key.name) => key,
                _ => continue,
            },
        };
        let at = entry.at_value(source);
        let written = Placed {
            value: entry.item.raw.clone(),
            at: at.clone(),
        };
        let mut found = Vec::new();
        let beside = match &faults.source(source).whence {
            Whence::File(path) => path.parent().unwrap_or_else(|| Path::new("")),
            Whence::Variable(_) | Whence::Flag(_) => Path::new(""),
        };
        let value = value::understand(key, &written, beside, &mut found);
        if faults.layer(&at) == Layer::Flags {
            match &value {
                Some(Value::Secret(_)) => {
                    found.push((at.clone(), ConfigError::SecretInFlag(key)));
                }
                // It is as visible, but was taken before: what runs is not to stop over it.
                Some(other) if other.has_secret() => {
                    faults.warn(&at, ConfigError::SecretInFlag(key));
                }
                _ => {}
            }
        }
        for (at, error) in found {
            faults.note(&at, error);
        }
        slots.push(Slot {
            key,
            at,
            name_at: entry.at_name(source),
            value,
        });
    }
    slots
}

/// Tells of a key that this version does not have. Returns the one that it is called now, if another
/// version had it.
fn unknown(
    section: Section,
    retired: Option<&'static [Retired]>,
    source: usize,
    entry: &RawEntry,
    faults: &mut Faults,
) -> Option<&'static Key> {
    let (at, found) = (entry.at_name(source), entry.name.clone());
    let all = retired.unwrap_or(RETIRED).iter();
    let mut known = all.filter(|retired| retired.section == section);
    if let Some(retired) = known.find(|retired| retired.name == found) {
        let error = ConfigError::Retired {
            section,
            found,
            retired,
        };
        faults.warn(&at, error);
        return match retired.fate {
            Fate::Renamed(name) => Key::find(section, name),
            Fate::Removed | Fate::Later => None,
        };
    }
    let meant = match faults.is_full() {
        // Nobody is told.
        true => None,
        false => meant(&found, section.keys().map(|key| key.name)),
    };
    let error = ConfigError::UnknownKey {
        section,
        found,
        meant,
    };
    faults.note(&at, error);
    None
}

#[cfg(test)]
mod tests {
    use super::super::layers::Layers;
    use super::*;

    const OTHERS: &[Retired] = &[
        retired("keepalive", Fate::Renamed("keep_alive")),
        retired("broker", Fate::Removed),
        retired("quic", Fate::Later),
    ];

    const fn retired(name: &'static str, fate: Fate) -> Retired {
        Retired {
            section: Section::Cloud,
            name,
            fate,
            version: "7.0.0",
            why: "it was so",
        }
    }

    /// Takes settings in; returns the keep-alive, faults and warnings.
    fn taken(settings: &[(&str, &str)]) -> (Option<String>, Vec<&'static str>, Vec<String>) {
        let mut layers = Layers::default();
        layers.settings.retired = Some(OTHERS);
        for (path, value) in settings {
            let whence = Whence::Variable("AGENT_X".to_owned());
            layers.setting(whence, Layer::Environment, path, value);
        }
        let table = layers.settings.table(Section::Cloud);
        let value = table.and_then(|table| Some(table.get("keep_alive")?.value.to_string()));
        let warnings = layers.faults.take_warnings();
        let warnings = warnings.iter().map(|it| it.error.to_string()).collect();
        let errors = layers.faults.into_errors();
        let codes = errors.problems().iter().map(|it| it.error.code());
        (value, codes.collect(), warnings)
    }

    #[test]
    fn a_key_of_another_version_is_a_warning_and_one_of_none_a_fault() {
        let (value, faults, warnings) = taken(&[("cloud.keepalive", "30s")]);
        assert_eq!((value.as_deref(), faults.len()), (Some("\"30s\""), 0));
        let expected = "`keepalive` in [cloud] is called `keep_alive` since version 7.0.0";
        assert_eq!(warnings, [expected]);

        let (value, faults, warnings) = taken(&[("cloud.broker", "x"), ("cloud.quic", "x")]);
        assert_eq!((value, faults.len()), (None, 0));
        let expected = [
            "`broker` in [cloud] means nothing since version 7.0.0",
            "`quic` in [cloud] means nothing before version 7.0.0",
        ];
        assert_eq!(warnings, expected);

        // What it is set to is looked at by its new name.
        let (_, faults, _) = taken(&[("cloud.keepalive", "30")]);
        assert_eq!(faults, ["C009"]);
        let (_, faults, warnings) = taken(&[("cloud.kepalive", "30s"), ("queue.broker", "x")]);
        assert_eq!((faults, warnings.len()), (vec!["C005", "C005"], 0));
    }

    #[test]
    fn every_key_of_another_version_is_none_of_this_one() {
        for retired in RETIRED {
            let known = Key::find(retired.section, retired.name);
            assert!(known.is_none(), "{}", retired.name);
            if let Fate::Renamed(name) = retired.fate {
                assert!(Key::find(retired.section, name).is_some(), "{name}");
            }
        }
    }
}
