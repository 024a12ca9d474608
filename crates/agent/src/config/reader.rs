//! Reading a parsed text table by table, with a note of everything that is wrong.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Place, Problem};
use super::keys::{Key, Section, meant};

/// A value, and the byte of the text that it begins at.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

impl<T> Placed<T> {
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Placed<U> {
        Placed {
            value: map(self.value),
            at: self.at,
        }
    }
}

/// The faults found so far in one text.
pub(super) struct Faults<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl<'t> Faults<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self {
            text,
            problems: Vec::new(),
        }
    }

    /// Notes a fault of the file as a whole.
    pub(super) fn note(&mut self, error: ConfigError) {
        self.problems.push(Problem { place: None, error });
    }

    /// Notes a fault at a byte of the text.
    pub(super) fn note_at(&mut self, at: usize, error: ConfigError) {
        let place = Some(place(self.text.as_bytes(), at));
        self.problems.push(Problem { place, error });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
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

/// One table, whose unknown keys are noted already.
pub(super) struct Table<'a, 't> {
    section: Section,
    table: &'a DeTable<'t>,
    /// Where it begins.
    at: usize,
}

impl<'a, 't> Table<'a, 't> {
    pub(super) fn new(
        section: Section,
        table: &'a DeTable<'t>,
        at: Range<usize>,
        faults: &mut Faults<'_>,
    ) -> Self {
        for key in table.keys() {
            let found: &str = key.get_ref();
            if !section.keys().contains(&found) {
                let error = ConfigError::UnknownKey {
                    section,
                    found: found.to_owned(),
                    meant: meant(found, section.keys().iter().copied()),
                };
                faults.note_at(key.span().start, error);
            }
        }
        Self {
            section,
            table,
            at: at.start,
        }
    }

    pub(super) const fn key(&self, name: &'static str) -> Key {
        Key::new(self.section, name)
    }

    /// Where a setting's name stands, if it is there.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.table
            .get_key_value(name)
            .map(|(key, _)| key.span().start)
    }

    fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.table.get(name)
    }

    /// Notes that a setting is missing, unless it is there.
    pub(super) fn require(&self, name: &'static str, faults: &mut Faults<'_>) {
        if self.value(name).is_none() {
            faults.note_at(self.at, ConfigError::MissingKey(self.key(name)));
        }
    }

    /// Reads a text.
    pub(super) fn text(
        &self,
        name: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<&'a str>> {
        self.typed(name, "a text in quotes", faults, |value| value.as_str())
    }

    /// Reads an integer, as its digits.
    pub(super) fn integer(
        &self,
        name: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<&'a str>> {
        self.typed(name, "a number", faults, |value| {
            // Another radix is another way to write a small number; nobody needs it here.
            value
                .as_integer()
                .filter(|integer| integer.radix() == 10)
                .map(|integer| integer.as_str())
        })
    }

    /// Reads a list.
    pub(super) fn list(
        &self,
        name: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<&'a DeArray<'t>>> {
        self.typed(name, "a list of texts", faults, |value| value.as_array())
    }

    /// Reads the text of a length of time; a bare number has an error of its own.
    pub(super) fn duration_text(
        &self,
        name: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<&'a str>> {
        let value = self.value(name)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            _ => return self.text(name, faults),
        };
        let error = ConfigError::NoUnit {
            key: self.key(name),
            found: number.clone(),
            number: number.split('.').next().unwrap_or_default().to_owned(),
        };
        faults.note_at(value.span().start, error);
        None
    }

    fn typed<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        faults: &mut Faults<'_>,
        take: impl FnOnce(&'a DeValue<'t>) -> Option<T>,
    ) -> Option<Placed<T>> {
        let value = self.value(name)?;
        let at = value.span().start;
        let taken = take(value.get_ref());
        if taken.is_none() {
            let key = self.key(name);
            let found = shown(key, value.get_ref());
            faults.note_at(
                at,
                ConfigError::WrongType {
                    key,
                    expected,
                    found,
                },
            );
        }
        taken.map(|value| Placed { value, at })
    }
}

/// What a value is, and itself where it is a simple one and no secret.
pub(super) fn shown(key: Key, value: &DeValue<'_>) -> String {
    let kind = kind(value);
    if key.name == "password" {
        return kind.to_owned();
    }
    match value {
        DeValue::String(text) => format!("{kind}, {text:?}"),
        DeValue::Integer(integer) => format!("{kind}, {integer}"),
        DeValue::Float(float) => format!("{kind}, {float}"),
        DeValue::Boolean(boolean) => format!("{kind}, {boolean}"),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => kind.to_owned(),
    }
}

/// The type of a value, in words.
pub(super) const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
