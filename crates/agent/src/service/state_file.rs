//! Small files in the state directory: whole or as they were, whenever the power goes.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fiber::{Mutex, fs};
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
    /// Whoever has it writes.
    writing: Rc<Mutex<()>>,
}

impl StateFile {
    pub(super) fn new(folder: Option<&Path>, name: &'static str) -> Self {
        Self {
            folder: folder.map(Path::to_owned),
            name,
            writing: Rc::new(Mutex::new(())),
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

    /// Writes what `text` returns when it is this call's turn: writes of several fibers come one after the
    /// other, so that the last one has the latest contents. Yields until it is there after a power cut, too.
    ///
    /// # Errors
    ///
    /// What the system answered; then it is as it was.
    pub(super) fn write(&self, text: impl FnOnce() -> String) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let _writing = self.writing.lock().map_err(io::Error::other)?;
        durable::put(folder, self.name, text().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn of_several_who_write_the_last_one_has_the_latest_contents_and_none_fails() {
        let at = std::env::temp_dir().join(format!("agent-state-file-{}", std::process::id()));
        fiber::run(move || {
            fs::create_dir_all(&at).unwrap();
            let file = StateFile::new(Some(&at), "numbers.json");
            let latest = Rc::new(Cell::new(0));
            let writers: Vec<_> = (0..8)
                .map(|_| {
                    let (file, latest) = (file.clone(), Rc::clone(&latest));
                    let write = move || {
                        for _ in 0..10 {
                            latest.set(latest.get() + 1);
                            // Of different lengths.
                            let text = || {
                                let number = latest.get();
                                let rest = "x".repeat(number * 37 % 1_000);
                                format!("{{\"schema\":1,\"number\":{number},\"rest\":\"{rest}\"}}")
                            };
                            file.write(text).unwrap();
                        }
                    };
                    fiber::spawn(write).unwrap()
                })
                .collect();
            for mut writer in writers {
                writer.join().unwrap();
            }
            assert_eq!(file.read().unwrap()["number"], 80);
            fs::remove(at.join("numbers.json")).unwrap();
            fs::remove_dir(&at).unwrap();
        })
        .unwrap();
    }
}
