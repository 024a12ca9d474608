//! A folder of its own for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers the folders of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// How many names are tried when folders of a killed process with the same id are in the way.
const NAMES_MAX: u32 = 1_000;

/// A folder that is removed with everything in it when the value is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Creates an empty folder whose name contains `label`.
    ///
    /// # Panics
    /// When the system's folder for temporary files cannot be written.
    #[must_use]
    #[track_caller]
    pub fn new(label: &str) -> Self {
        for _ in 0..NAMES_MAX {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("{label}-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self { path },
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot create {}: {error}", path.display()),
            }
        }
        panic!("{NAMES_MAX} folders named {label} are in the way");
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into the folder and returns its path.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, contents)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which clears the folder sooner or later.
        drop(fs::remove_dir_all(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_is_another_one_and_is_removed_with_its_contents() {
        let (one, two) = (TempDir::new("same"), TempDir::new("same"));
        assert_ne!(one.path(), two.path());
        let file = one.write("file", "text");
        assert_eq!(fs::read(&file).unwrap(), b"text");
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }
}
