//! The last configuration that was good, kept in the state directory: what a device runs on when the
//! present one is faulty.
//!
//! A configuration is good once a connection has been stable on it for [`GOOD_AFTER`]. It is kept as
//! one TOML file, for its owner alone, with everything that was set in any layer, and with a checksum.
//! Files that it names are named, not copied: an identity or a password that changes is the new one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use safe_rt::Utc;
use zeroize::Zeroizing;

use super::effective::Effective;
use super::error::ConfigErrors;
use super::source::Source;
use crate::identity::durable;

/// How long a connection must have been stable for the configuration to be kept.
pub const GOOD_AFTER: Duration = Duration::from_secs(5 * 60);

/// The folder in the state directory, and the file in it.
const FOLDER: &str = "config";
const FILE: &str = "good.toml";
/// How the first line begins, which has the checksum of all after it.
const HEAD: &str = "# Kept by the agent, which writes it anew.";

/// What a device starts with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Started {
    /// What it runs on.
    pub effective: Effective,
    /// Why that is not the present configuration, if it is the last good one.
    pub rejected: Option<Rejected>,
}

/// Why the present configuration was passed over.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rejected {
    /// What is wrong with it.
    pub errors: ConfigErrors,
    /// When the one that is run on was kept, as it was noted, and its checksum.
    pub kept: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.errors.tell(f)?;
        let count = self.errors.count();
        let s = if count == 1 { "" } else { "s" };
        write!(
            f,
            "{count} error{s}, nothing was changed: the agent runs on the configuration {}",
            self.kept
        )
    }
}

impl Source {
    /// Reads the configuration to start with: the present one or, if that is faulty, the last that
    /// was good. Yields.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), where no good one was kept, or it is of no use any more.
    pub fn start(&self) -> Result<Started, ConfigErrors> {
        let errors = match self.load() {
            Ok(effective) => {
                return Ok(Started {
                    effective,
                    rejected: None,
                });
            }
            Err(errors) => errors,
        };
        let Some((path, kept)) = find(&self.state_dir()) else {
            return Err(errors);
        };
        match self.alone(path).load() {
            Ok(effective) => Ok(Started {
                effective,
                rejected: Some(Rejected { errors, kept }),
            }),
            Err(stale) => {
                log::warn!("the last good configuration is of no use any more: {stale}");
                Err(errors)
            }
        }
    }
}

/// Keeps a configuration as one that is good; does nothing if it is kept already. Yields.
///
/// # Errors
///
/// What the system answered; what was kept before stays then.
pub fn keep(effective: &Effective) -> io::Result<()> {
    let text = Zeroizing::new(effective.to_toml());
    let checksum = crc32fast::hash(text.as_bytes());
    let state = &effective.config().state.dir;
    let is_kept = find(state).is_some_and(|(_, kept)| kept.ends_with(&shown(checksum)));
    if is_kept {
        return Ok(());
    }
    let folder = state.join(FOLDER);
    durable::make_folder(state)?;
    durable::make_folder(&folder)?;
    let now = Utc(fiber::wall_time());
    let text = Zeroizing::new(format!("{HEAD} of {now} {}\n{}", shown(checksum), *text));
    durable::put(&folder, FILE, text.as_bytes())
}

fn shown(checksum: u32) -> String {
    format!("({checksum:08x})")
}

/// Finds the last good configuration, and tells when it was kept. None if there is none, or if it is
/// not as it was written.
fn find(state: &Path) -> Option<(PathBuf, String)> {
    let path = state.join(FOLDER).join(FILE);
    let bytes = Zeroizing::new(fiber::fs::read(path.as_path()).ok()?);
    let text = std::str::from_utf8(&bytes).ok()?;
    let (head, rest) = text.split_once('\n')?;
    let kept = head.strip_prefix(HEAD)?.trim_start();
    let is_whole = kept.ends_with(&shown(crc32fast::hash(rest.as_bytes())));
    is_whole.then(|| (path, kept.to_owned()))
}
