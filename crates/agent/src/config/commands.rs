//! `agent check-config`, `agent config` and `agent init`: what they print.

use std::fmt;

use super::document;
use super::effective::{Effect, Effective};
use super::error::Problem;
use super::source::{Level, Source};
use super::table::{KEYS, Section, meant};
use crate::args::{ConfigArgs, ConfigPrint};
use crate::failure::Failure;
use crate::out;

/// The number of the form of what is printed as JSON.
const SCHEMA: u32 = 1;

/// Checks a configuration, and tells what is wrong with it. Yields.
///
/// # Errors
///
/// [`Failure::Config`], [`Failure::Output`], [`Failure::Unread`], and [`Failure::Warnings`] where warnings
/// are not to be.
pub fn check(source: &Source, level: Level, deny_warnings: bool) -> Result<(), Failure> {
    let warnings = source.check(level).map_err(Failure::config)?;
    warn(&warnings);
    if deny_warnings && !warnings.is_empty() {
        return Err(Failure::Warnings(warnings.len()));
    }
    out::text("the configuration is in order\n")
}

/// Tells what should be changed.
fn warn(warnings: &[Problem]) {
    for warning in warnings {
        out::plain(Warning(warning));
    }
}

/// As an error is told, with the other word.
struct Warning<'a>(&'a Problem);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, "warning")?;
        f.write_str("\n")
    }
}

/// Prints what is asked for. Yields.
///
/// # Errors
///
/// [`Failure::Config`]; [`Failure::NoKey`] for a name that is none; [`Failure::NotSet`] for a key
/// that has no value; [`Failure::Output`], [`Failure::Unread`].
pub fn print(args: &ConfigArgs) -> Result<(), Failure> {
    let source = || args.source.source();
    match &args.print {
        ConfigPrint::Show { origin, json } => show(&source(), *origin, *json),
        ConfigPrint::Get(path) => get(&source(), path),
        ConfigPrint::List { markdown: true, .. } => out::text(&document::reference()),
        ConfigPrint::List { doc, section, .. } => list(*doc, section.as_deref()),
    }
}

/// Prints every setting that has a value. Yields.
fn show(source: &Source, with_origin: bool, as_json: bool) -> Result<(), Failure> {
    let effective = source.load().map_err(Failure::config)?;
    let text = match as_json {
        true => json(&effective),
        false => lines(&effective, with_origin),
    };
    out::text(&text)
}

fn lines(effective: &Effective, with_origin: bool) -> String {
    let mut out = String::new();
    for effect in effective.settings() {
        let Some(value) = effect.value() else {
            continue;
        };
        match with_origin {
            true => out += &format!("{} = {value}  # {}\n", effect.path(), effect.origin()),
            false => out += &format!("{} = {value}\n", effect.path()),
        }
    }
    out
}

/// One object; every setting with its value, or null, and its origin.
fn json(effective: &Effective) -> String {
    let settings: Vec<String> = effective.settings().iter().map(json_of).collect();
    format!(
        "{{\"schema\":{SCHEMA},\"settings\":[{}]}}\n",
        settings.join(",")
    )
}

fn json_of(effect: &Effect) -> String {
    let text = super::toml_text::quoted;
    let mut out = format!("{{\"key\":{},\"value\":", text(&effect.path()));
    match &effect.value {
        Some(value) => out += &value.to_json(),
        None => out += "null",
    }
    let origin = text(&effect.origin().to_string());
    let applies = text(&effect.key().applies.to_string());
    out + &format!(",\"origin\":{origin},\"applies\":{applies}}}")
}

/// Prints one value: a text without its quotes. Yields.
fn get(source: &Source, path: &str) -> Result<(), Failure> {
    let effective = source.load().map_err(Failure::config)?;
    let found = effective
        .settings()
        .iter()
        .find(|effect| effect.path() == path);
    let Some(effect) = found else {
        if KEYS.iter().any(|key| key.path() == path) {
            return Err(Failure::NotSet(path.to_owned()));
        }
        return Err(Failure::NoKey {
            found: path.to_owned(),
            meant: nearest(path),
        });
    };
    match &effect.value {
        Some(value) => out::text(&format!("{}\n", value.bare())),
        None => Err(Failure::NotSet(path.to_owned())),
    }
}

/// The key that was probably meant.
fn nearest(path: &str) -> Option<String> {
    let (section, name) = path.split_once('.')?;
    let section = Section::by_name(section)
        .or_else(|| Section::by_name(meant(section, Section::ALL.iter().map(|s| s.name()))?))?;
    let name = meant(name, section.keys().map(|key| key.name))?;
    Some(format!("{}.{name}", section.name()))
}

/// Prints the keys, with `doc` what they mean; of one table alone, if one is named.
fn list(doc: bool, section: Option<&str>) -> Result<(), Failure> {
    let section = match section {
        None => None,
        Some(name) => Some(Section::by_name(name).ok_or_else(|| Failure::NoKey {
            found: name.to_owned(),
            meant: meant(name, Section::ALL.iter().map(|s| s.name())).map(str::to_owned),
        })?),
    };
    out::text(&match doc {
        true => document::descriptions(section),
        false => document::names(section),
    })
}

/// Prints a new configuration.
///
/// # Errors
///
/// [`Failure::Output`], [`Failure::Unread`].
pub fn init() -> Result<(), Failure> {
    out::text(&document::example())
}
