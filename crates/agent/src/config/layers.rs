//! The layers, one taken in after the other: files, folders of them, and single settings.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::ConfigError;
use super::faults::{Faults, Layer, Source, Whence, place};
use super::raw::{self, At, Raw, RawEntry, RawItem};
use super::settings::Settings;
use super::table::{Key, Kind, Section, meant};

/// How many files one folder of the configuration may have.
pub const CONFIG_FILES_MAX: usize = 256;
/// How large one file of the configuration may be, and one with certificates, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The layers that were read so far.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    /// Whether a text was no TOML, so that it is not known what is set.
    pub(super) is_broken: bool,
    files: usize,
}

pub(super) const fn at_start(source: usize) -> At {
    At {
        source,
        all: 0..0,
        point: 0..0,
    }
}

impl Layers {
    /// Takes the files of a folder in, in the order of their names; it need not be there. Yields.
    pub(super) fn folder(&mut self, folder: &Path) {
        for name in self.names(folder) {
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            let path = folder.join(name);
            if !is_hidden && path.extension() == Some(OsStr::new("toml")) {
                self.file(&path, None);
            }
        }
    }

    /// The names in a folder; none where it is not there.
    pub(super) fn names(&mut self, folder: &Path) -> Vec<OsString> {
        match fiber::fs::list(folder) {
            Ok(names) if names.len() > CONFIG_FILES_MAX => {
                self.faults
                    .note_whole(Some(folder), ConfigError::ManyFiles(names.len()));
                self.is_broken = true;
                Vec::new()
            }
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.faults
                    .note_whole(Some(folder), ConfigError::Unreadable(error));
                self.is_broken = true;
                Vec::new()
            }
        }
    }

    /// Takes a file in. Yields.
    pub(super) fn file(&mut self, path: &Path, layer: Option<Layer>) {
        self.text_file(path, fiber::fs::read_at_most(path, CONFIG_BYTES_MAX), layer);
    }

    pub(super) fn text_file(
        &mut self,
        path: &Path,
        read: io::Result<Vec<u8>>,
        layer: Option<Layer>,
    ) {
        self.files += 1;
        let layer = layer.unwrap_or(Layer::File(self.files));
        let bytes = match read {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) => {
                self.faults
                    .note_whole(Some(path), ConfigError::Unreadable(error));
                self.is_broken = true;
                return;
            }
        };
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => Zeroizing::new(text.to_owned()),
            Err(error) => {
                let at = place(&bytes, error.valid_up_to());
                self.faults.note_place(path, at, ConfigError::NotText);
                self.is_broken = true;
                return;
            }
        };
        let parsed = raw::parse(&text);
        let whence = Whence::File(path.to_owned());
        let source = self.faults.add(Source {
            whence,
            layer,
            text,
        });
        match parsed {
            Ok(entries) => self.settings.merge(source, &entries, &mut self.faults),
            Err(errors) => {
                self.is_broken = true;
                for (span, error) in errors {
                    let at = At {
                        source,
                        all: span.clone(),
                        point: span,
                    };
                    self.faults.note(&at, error);
                }
            }
        }
    }

    /// Tells of a variable that looks like a setting of a table that there is not.
    pub(super) fn foreign(&mut self, whence: Whence, section: &str) {
        let source = self.faults.add(Source {
            whence,
            layer: Layer::Environment,
            text: Zeroizing::new(String::new()),
        });
        let found = section.to_ascii_lowercase();
        let meant = meant(&found, Section::ALL.iter().map(|section| section.name()));
        let (at, is_near) = (at_start(source), meant.is_some());
        let error = ConfigError::UnknownSection { found, meant };
        // Another program may go by the same name; hardly by one of our tables, nearly.
        match is_near {
            true => self.faults.note(&at, error),
            false => self.faults.warn(&at, error),
        }
    }

    /// Takes one setting in that is no TOML: `section.key`, and for a table of texts
    /// `section.key.name`.
    pub(super) fn setting(&mut self, whence: Whence, layer: Layer, path: &str, value: &str) {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        let (key, name) = match key.split_once('.') {
            Some((key, name)) => (key, Some(name)),
            None => (key, None),
        };
        let text = Zeroizing::new(value.to_owned());
        let source = self.faults.add(Source {
            whence,
            layer,
            text,
        });
        let known = Section::by_name(section);
        if let Some(section) = known.filter(|section| section.is_repeated()) {
            self.faults
                .note(&at_start(source), ConfigError::OnlyInFiles(section));
            return;
        }
        let kind = known
            .and_then(|section| Key::find(section, key))
            .map_or(Kind::Text, |key| key.kind);
        let whole = |raw| RawItem {
            raw,
            span: 0..value.len(),
        };
        let entry = |name: &str, item| RawEntry {
            name: name.to_owned(),
            name_span: 0..0,
            item,
        };
        let item = match (kind, name) {
            (Kind::Map, Some(name)) => {
                let text = whole(Raw::Text(Zeroizing::new(value.to_owned())));
                whole(Raw::Table(vec![entry(name, text)]))
            }
            _ => whole(read_value(kind, value)),
        };
        let key = match (kind, name) {
            (Kind::Map, _) | (_, None) => key.to_owned(),
            // There is nothing below another key.
            (_, Some(name)) => format!("{key}.{name}"),
        };
        let table = whole(Raw::Table(vec![entry(&key, item)]));
        self.settings
            .merge(source, &[entry(section, table)], &mut self.faults);
    }
}

/// Understands what stands in a variable or behind `--set`: as TOML where it is no text.
fn read_value(kind: Kind, value: &str) -> Raw {
    let text = || Raw::Text(Zeroizing::new(value.to_owned()));
    match kind {
        Kind::Count { .. } | Kind::QoS | Kind::Bool | Kind::Map => {
            raw::parse_value(value).unwrap_or_else(text)
        }
        Kind::Texts | Kind::Alpn | Kind::Crons => match value.trim_start().starts_with('[') {
            true => raw::parse_value(value).unwrap_or_else(text),
            // One text is a list of one.
            false => Raw::List(vec![RawItem {
                raw: text(),
                span: 0..value.len(),
            }]),
        },
        _ => text(),
    }
}
