//! TOML as it was written: values with the part of the text that they stand in.
//!
//! What was a text in the file may be a password, so that all texts are overwritten when they are
//! dropped.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::ConfigError;

/// How many places are told where the text is no TOML.
pub(super) const SYNTAX_ERRORS_MAX: usize = 4;

/// Where something stands: in which source, and in which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// The source, by its number.
    pub(super) source: usize,
    /// The key and its value; the key alone, or the head of a table, where there is no value.
    pub(super) all: Range<usize>,
    /// What a message points at.
    pub(super) point: Range<usize>,
}

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// A value as it was written.
#[derive(Clone)]
pub(super) enum Raw {
    Text(Zeroizing<String>),
    /// A whole number by its digits, and whether they are decimal.
    Integer(String, bool),
    Float(String),
    Bool(bool),
    Date,
    List(Vec<RawItem>),
    Table(Vec<RawEntry>),
}

/// Shows what kind of value it is and not which.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A value and its bytes.
#[derive(Clone, Debug)]
pub(super) struct RawItem {
    pub(super) raw: Raw,
    pub(super) span: Range<usize>,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct RawEntry {
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) item: RawItem,
}

impl RawEntry {
    /// Where it stands, for a message about the name.
    pub(super) fn at_name(&self, source: usize) -> At {
        At {
            source,
            all: self.name_span.clone(),
            point: self.name_span.clone(),
        }
    }

    /// Where it stands, for a message about the value.
    pub(super) fn at_value(&self, source: usize) -> At {
        At {
            source,
            all: self.name_span.start..self.item.span.end.max(self.name_span.end),
            point: self.item.span.clone(),
        }
    }
}

impl Raw {
    /// The type of a value, in words.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(..) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "a truth value",
            Self::Date => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// What it is, and itself where it is a simple one and no secret.
    pub(super) fn shown(&self, is_secret: bool) -> String {
        let kind = self.kind();
        match self {
            _ if is_secret => kind.to_owned(),
            Self::Text(text) => format!("{kind}, {:?}", text.as_str()),
            Self::Integer(digits, _) | Self::Float(digits) => format!("{kind}, {digits}"),
            Self::Bool(truth) => format!("{kind}, {truth}"),
            Self::Date | Self::List(_) | Self::Table(_) => kind.to_owned(),
        }
    }
}

/// Takes a text apart. Where it is no TOML, what the parser says about the first places.
pub(super) fn parse(text: &str) -> Result<Vec<RawEntry>, Vec<(Range<usize>, ConfigError)>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(entries(root.get_ref()));
    }
    // One mistake makes many of the lines after it look wrong, and what is left of the text says
    // nothing reliable.
    let told = errors.iter().take(SYNTAX_ERRORS_MAX).map(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        (at..at, ConfigError::Syntax(error.message().to_owned()))
    });
    Err(told.collect())
}

/// Takes one value apart, as it could stand behind a `=`.
pub(super) fn parse_value(text: &str) -> Option<Raw> {
    let (value, errors) = DeValue::parse_recoverable(text);
    errors.is_empty().then(|| item(&value).raw)
}

fn entries(table: &DeTable<'_>) -> Vec<RawEntry> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(name, value)| RawEntry {
            name: name.get_ref().clone().into_owned(),
            name_span: name.span(),
            item: item(value),
        })
        .collect();
    // In the order of the text: the parser's map has an order of its own.
    entries.sort_by_key(|entry| entry.name_span.start);
    entries
}

fn item(value: &Spanned<DeValue<'_>>) -> RawItem {
    let raw = match value.get_ref() {
        DeValue::String(text) => Raw::Text(Zeroizing::new(text.clone().into_owned())),
        DeValue::Integer(integer) => {
            Raw::Integer(integer.as_str().to_owned(), integer.radix() == 10)
        }
        DeValue::Float(float) => Raw::Float(float.as_str().to_owned()),
        DeValue::Boolean(truth) => Raw::Bool(*truth),
        DeValue::Datetime(_) => Raw::Date,
        DeValue::Array(list) => Raw::List(list.iter().map(item).collect()),
        DeValue::Table(table) => Raw::Table(entries(table)),
    };
    RawItem {
        raw,
        span: value.span(),
    }
}
