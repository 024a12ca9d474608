//! A folder for one measurement.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Failure;

/// The environment variable with the folder that folders are made in.
pub const FOLDER_VARIABLE: &str = "BENCH_DIR";

/// A folder that is removed with the value.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes one, empty, where [`FOLDER_VARIABLE`] says, or where the system keeps such.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn new() -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = place().join(format!("bench-{}-{number}", process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(Failure::File {
                path: path.display().to_string(),
                what: error.to_string(),
            }),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it, as a word of a command line.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// The failure of a file in it.
    #[must_use]
    pub fn failure(&self, error: &io::Error) -> Failure {
        Failure::File {
            path: self.path.display().to_string(),
            what: error.to_string(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind disturbs nobody.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Where folders are made.
#[must_use]
pub fn place() -> PathBuf {
    std::env::var_os(FOLDER_VARIABLE).map_or_else(std::env::temp_dir, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::Folder;

    #[test]
    fn a_folder_is_gone_with_its_value() {
        let (one, other) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(one.path(), other.path());
        let path = one.path().to_owned();
        std::fs::write(one.file("file"), "text").unwrap();
        assert!(path.join("file").is_file());
        drop(one);
        assert!(!path.exists());
    }
}
