//! Small files in the state directory: whole or as they were, whenever the power goes.

use std::io;
use std::path::{Path, PathBuf};

use fiber::fs;
use serde_json::Value;

use crate::identity::durable;

/// Bytes of such a file; a longer one is not read. Room for the answers of all commands that may wait to
/// be told, with every character written as two.
const STATE_FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One file, which may be nowhere: then nothing is kept.
#[derive(Clone, Debug)]
pub(super) struct StateFile {
    folder: Option<PathBuf>,
    name: &'static str,
}

impl StateFile {
    pub(super) fn new(folder: Option<&Path>, name: &'static str) -> Self {
        Self {
            folder: folder.map(Path::to_owned),
            name,
        }
    }

    /// Whether there is a place for it.
    pub(super) const fn is_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// Reads it; `None` where it is not there, or nothing that this version can read. Yields.
    ///
    /// What cannot be read is put beside, and told: it does not keep the agent from starting.
    pub(super) fn read(&self) -> Option<Value> {
        let path = self.folder.as_ref()?.join(self.name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                log::warn!("{} is not used: {error}", path.display());
                return None;
            }
        };
        let parsed = if bytes.len() <= STATE_FILE_BYTES_MAX {
            serde_json::from_slice::<Value>(&bytes).ok()
        } else {
            None
        };
        let found = parsed.filter(|value| value["schema"] == 1);
        if found.is_none() {
            let beside = path.with_extension("bad");
            log::warn!(
                "{} is damaged, and is now {}",
                path.display(),
                beside.display()
            );
            if let Err(error) = fs::rename(&path, &beside) {
                log::warn!("{} cannot be renamed: {error}", path.display());
            }
        }
        found
    }

    /// Writes it. Yields until it is there after a power cut, too.
    ///
    /// # Errors
    ///
    /// What the system answered; then it is as it was.
    pub(super) fn write(&self, json: &str) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        durable::put(folder, self.name, json.as_bytes())
    }
}
