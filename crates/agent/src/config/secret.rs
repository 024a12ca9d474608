//! Where a password or a token comes from: a file, a variable, a systemd credential, or the
//! configuration itself, where nobody but the owner of the file may read it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::ConfigError;
use super::faults::{Faults, Layer};
use super::raw::At;
use super::settings::Table;
use super::table::{Key, Section};
use super::value::Value;
use crate::args::Password;

/// What may be set of a file's permissions if a secret stands in it: nothing but its owner's.
pub(super) const OTHERS: u32 = 0o077;
/// How large a file with a secret may be, in bytes.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A way to give a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    File,
    Variable,
    Credential,
    Inline,
}

/// All ways, in the order in which they are documented.
pub(super) const SOURCES: [Source; 4] = [
    Source::File,
    Source::Variable,
    Source::Credential,
    Source::Inline,
];

impl Source {
    /// The key that gives it in a table.
    pub(super) const fn name(self, section: Section) -> &'static str {
        match (section, self) {
            (_, Self::Credential) => "credential",
            (Section::Provision, Self::File) => "token_file",
            (Section::Provision, Self::Variable) => "token_env",
            (Section::Provision, Self::Inline) => "token",
            (_, Self::File) => "password_file",
            (_, Self::Variable) => "password_env",
            (_, Self::Inline) => "password",
        }
    }
}

/// A secret that is still where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    key: &'static Key,
    at: At,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    File(PathBuf),
    Variable(String),
    Credential(String),
    Inline(Password),
}

impl Wanted {
    /// The setting that says where the secret is.
    pub(super) const fn key(&self) -> &'static Key {
        self.key
    }

    /// Where that stands.
    pub(super) const fn at(&self) -> &At {
        &self.at
    }
}

/// Finds the one way that is given in a table. Of several the one that the highest layer sets counts;
/// several in one layer are a fault.
pub(super) fn wanted(table: &Table<'_>, faults: &mut Faults) -> Option<Wanted> {
    let section = table.section();
    // Understood or not: one that is not is there all the same.
    let given = SOURCES.iter().filter_map(|source| {
        let name = source.name(section);
        Some((
            Key::known(section, name),
            table.value_at(name)?,
            table.name_at(name)?,
        ))
    });
    let given: Vec<_> = given.collect();
    let highest = given.iter().map(|(_, at, _)| faults.layer(at)).max()?;
    let given: Vec<_> = given
        .into_iter()
        .filter(|(_, at, _)| faults.layer(at) == highest)
        .collect();
    if given.len() > 1 {
        let keys = given.iter().map(|(key, ..)| *key).collect();
        let last = given
            .iter()
            .map(|(.., name_at)| *name_at)
            .max_by_key(|at| (at.source, at.all.start))?;
        faults.note(last, ConfigError::SeveralSecrets(keys));
    }
    let (key, ..) = given.first()?;
    let setting = table.get(key.name)?;
    let from = match (setting.value, setting.key.name) {
        (Value::Path(path), _) => From::File(path.clone()),
        (Value::Secret(secret), _) => From::Inline(secret.clone()),
        (Value::Text(name), "credential") => From::Credential(name.clone()),
        (Value::Text(name), _) => From::Variable(name.clone()),
        _ => return None,
    };
    Some(Wanted {
        key: setting.key,
        at: setting.at.clone(),
        from,
    })
}

/// Where secrets are fetched from.
pub(super) struct Places<'a> {
    /// Looks up a variable of the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder of systemd's credentials.
    pub(super) credentials: Option<&'a Path>,
}

/// Fetches a secret. Yields.
pub(super) fn fetch(wanted: &Wanted, places: &Places<'_>, faults: &mut Faults) -> Option<Password> {
    let secret = look_up(wanted, places, faults)?;
    if secret.0.is_empty() {
        let key = wanted.key;
        faults.note(&wanted.at, ConfigError::EmptySecret { key });
    }
    Some(secret)
}

fn look_up(wanted: &Wanted, places: &Places<'_>, faults: &mut Faults) -> Option<Password> {
    let Wanted { key, at, from } = wanted;
    match from {
        From::File(path) => read(key, path, at, faults),
        From::Credential(name) => match places.credentials {
            Some(folder) => read(key, &folder.join(name), at, faults),
            None => {
                let name = name.clone();
                faults.note(at, ConfigError::NoCredentials { key, name });
                None
            }
        },
        From::Variable(name) => {
            // A name that none can have is not set.
            let possible = !name.is_empty() && !name.contains(['=', '\0']);
            let value = possible.then(|| (places.variable)(name)).flatten();
            if value.is_none() {
                // What does not look like a name may be the secret itself.
                let is_usual = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                let name = match name.chars().all(is_usual) {
                    true => name.clone(),
                    false => "this variable".to_owned(),
                };
                faults.note(at, ConfigError::SecretVariable { key, name });
            }
            Some(Password(value?.into_encoded_bytes()))
        }
        From::Inline(secret) => {
            // What stands in no file is not read by who may read a file.
            if let Some(path) = faults.file(at).map(Path::to_owned) {
                match fiber::fs::permissions(path) {
                    Ok(mode) if mode & OTHERS == 0 => {
                        if matches!(faults.layer(at), Layer::File(_)) {
                            faults.warn(at, ConfigError::SecretInline(key));
                        }
                    }
                    Ok(mode) => faults.note(at, ConfigError::SecretReadable { key, mode }),
                    // Read a moment ago and gone now: as unreadable as it can be.
                    Err(error) => faults.note(at, ConfigError::Unreadable(error)),
                }
            }
            Some(secret.clone())
        }
    }
}

fn read(key: &'static Key, path: &Path, at: &At, faults: &mut Faults) -> Option<Password> {
    match fiber::fs::read_at_most(path, SECRET_BYTES_MAX) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            // Editors end the last line; the secret does not.
            let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            Some(Password(text.to_vec()))
        }
        Err(error) => {
            let path = path.to_owned();
            faults.note(at, ConfigError::File { key, path, error });
            None
        }
    }
}
