//! The file door on the real disk.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::fs::{self, FILE_BYTES_MAX, File};
use crate::tests::real;

/// A folder that is gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fiber-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_written_at_its_end_and_read_in_places() {
    let folder = Folder::new("places");
    let path = folder.0.clone();
    real(move || {
        assert_eq!(
            File::open(path.join("log")).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let file = File::create(path.join("log")).unwrap();
        assert_eq!(file.append(*b"hello ").unwrap(), 0);
        assert_eq!(file.append(*b"world").unwrap(), 6);
        assert_eq!(file.read_at(4, 3).unwrap(), b"o w");
        assert_eq!(file.read_at(9, 100).unwrap(), b"ld");
        assert_eq!(file.read_at(100, 1).unwrap(), b"");
        let huge = file.read_at(0, usize::try_from(FILE_BYTES_MAX).unwrap() + 1);
        assert_eq!(huge.unwrap_err().kind(), ErrorKind::FileTooLarge);
        file.set_size(5).unwrap();
        assert_eq!(file.size().unwrap(), 5);
        file.sync().unwrap();
        // What is in a file stays when it is opened to be made.
        let again = File::create(path.join("log")).unwrap();
        assert_eq!(again.read_at(0, 10).unwrap(), b"hello");
        assert_eq!(fs::permissions(path.join("log")).unwrap(), 0o600);
    });
}

#[test]
fn names_are_made_listed_renamed_and_removed() {
    let folder = Folder::new("names");
    let path = folder.0.clone();
    real(move || {
        fs::create_dir(path.join("state")).unwrap();
        assert_eq!(fs::permissions(path.join("state")).unwrap(), 0o700);
        File::create(path.join("b")).unwrap();
        File::create(path.join("a")).unwrap();
        assert_eq!(fs::list(path.as_path()).unwrap(), ["a", "b", "state"]);
        fs::rename(path.join("a"), path.join("b")).unwrap();
        fs::sync_dir(path.as_path()).unwrap();
        fs::remove(path.join("b")).unwrap();
        assert_eq!(fs::list(path.as_path()).unwrap(), ["state"]);
        let gone = fs::remove(path.join("b")).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    });
}
