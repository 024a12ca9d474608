//! What is said about what `check-config` looks at beyond the layers: files, their modes and ends, what
//! the broker takes, keys of other versions.

use safe_rt::Utc;

use super::Words;
use crate::config::error::ConfigError as E;
use crate::config::table::{Fate, Section};

/// The words, if it is one of those.
pub(super) fn words(error: &E) -> Option<Words> {
    let (what, expected, found, help) = match error {
        E::Cron { key, found, reason } => (
            format!("{key} has an expression that is none"),
            "minute, hour, day of the month, month and day of the week, in UTC".to_owned(),
            format!("{found:?}: {reason}"),
            format!("write for example {}", key.example()),
        ),
        E::TooMany { what, found, most } => (
            format!("there are too many {what}"),
            format!("at most {most}"),
            found.to_string(),
            "leave some out".to_owned(),
        ),
        E::Expired { key, path, ended } => (
            format!("{key} names a certificate that has ended"),
            "one that is valid".to_owned(),
            format!("in {}: valid until {}", path.display(), Utc(*ended)),
            "replace the file by a new certificate".to_owned(),
        ),
        E::EndsSoon { key, path, ended } => (
            format!("{key} names a certificate that ends soon"),
            "one that is valid for longer".to_owned(),
            format!("in {}: valid until {}", path.display(), Utc(*ended)),
            "replace the file by a new certificate before that".to_owned(),
        ),
        E::FileReadable { key, path, mode } => (
            format!("{key} names a file that others may read or change"),
            "a file that only its owner and its group may read (mode 640, or 600)".to_owned(),
            format!("mode {mode:o}"),
            format!("run chmod o= {}", path.display()),
        ),
        E::FileOwner { key, path, owner } => (
            format!("{key} names a file of another user"),
            "a file of this user, or of root".to_owned(),
            format!("one of user {owner}, who may change it"),
            format!("run chown on {}", path.display()),
        ),
        E::NotWritable { key, path, error } => (
            format!("{key} is a folder that cannot be written"),
            format!("that this user may write to {}", path.display()),
            error.to_string(),
            "check who may write there, or whether this is the user that the agent runs as"
                .to_owned(),
        ),
        E::Beyond {
            key,
            expected,
            found,
            help,
        } => (
            format!("{key} is beyond what the broker takes"),
            expected.clone(),
            found.clone(),
            help.clone(),
        ),
        E::Retired {
            section,
            found,
            retired,
        } => {
            let (version, why) = (retired.version, retired.why);
            let (what, help) = match retired.fate {
                Fate::Renamed(name) => (
                    format!("`{found}` in {section} is called `{name}` since version {version}"),
                    format!("write {name} instead"),
                ),
                Fate::Removed => (
                    format!("`{found}` in {section} means nothing since version {version}"),
                    "remove it".to_owned(),
                ),
                Fate::Later => (
                    format!("`{found}` in {section} means nothing before version {version}"),
                    "update the agent, or remove it".to_owned(),
                ),
            };
            (what, why.to_owned(), format!("`{found}`"), help)
        }
        E::EmptySecret { key } => (
            format!("{key} gives an empty text"),
            "a secret of at least one byte".to_owned(),
            "nothing".to_owned(),
            "write it anew: a file may have lost its contents with the power".to_owned(),
        ),
        E::NoHandlers => (
            format!("{} allows no command", Section::Commands),
            format!("at least one table {} beside it", Section::Command),
            "none".to_owned(),
            format!(
                "add a {}, or remove {}",
                Section::Command,
                Section::Commands
            ),
        ),
        _ => return None,
    };
    Some(Words {
        what,
        expected,
        found,
        help,
    })
}
