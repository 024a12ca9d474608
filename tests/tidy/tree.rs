//! The repository's files, read once per test.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lex::{self, Token};

/// A file of the repository.
pub(crate) struct File {
    /// From the repository's root, with `/` between folders.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The code as tokens, without comments and literals.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        lex::tokens(&lex::code_only(&self.text))
    }

    /// Whether the whole file is there for tests only, by its name.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 3] = [".git", "target", "corpus"];

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests package lies in the repository's root")
        .to_owned()
}

/// Every text file, sorted by path.
pub(crate) fn files() -> Vec<File> {
    let root = root();
    let mut out = Vec::new();
    collect(&root, &root, &mut out);
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// Every Rust source of the crates and of this package.
pub(crate) fn sources() -> Vec<File> {
    let mut files = all_sources();
    files.retain(|f| !f.path.starts_with("bench/") && !f.path.starts_with("fuzz/"));
    files
}

/// Every Rust source, those of the benchmarks and of the fuzzer among them.
pub(crate) fn all_sources() -> Vec<File> {
    let mut files = files();
    files.retain(|f| {
        let homes = ["crates/", "tests/", "bench/", "fuzz/"];
        f.path.ends_with(".rs") && homes.iter().any(|home| f.path.starts_with(home))
    });
    assert!(
        !files.is_empty(),
        "no Rust source found below {}",
        root().display()
    );
    files
}

/// Every Rust source of the crates.
pub(crate) fn crate_sources() -> Vec<File> {
    let mut files = sources();
    files.retain(|f| f.path.starts_with("crates/"));
    files
}

/// One document, by its path from the root; empty when it does not exist.
pub(crate) fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn collect(root: &Path, folder: &Path, out: &mut Vec<File>) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a listed entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_ref()) {
                collect(root, &path, out);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            let inside = path.strip_prefix(root).expect("entries lie below the root");
            out.push(File {
                path: inside.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}
