//! A folder of the demonstration's own below the system's folder for temporary files, which goes when
//! the demonstration ends.

use std::io;
use std::path::{Path, PathBuf};

use fiber::fs;

/// How deep folders are removed: deeper than a device makes any.
const DEPTH_MAX: usize = 8;

/// Makes a folder that is there for this process alone, and returns its path. Yields.
pub(super) fn make() -> io::Result<PathBuf> {
    let mut bytes = [0; 4];
    fiber::random::fill(&mut bytes)?;
    let name = format!(
        "agent-demo-{}-{:08x}",
        std::process::id(),
        u32::from_ne_bytes(bytes)
    );
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path)?;
    Ok(path)
}

/// Removes a folder and what is in it. Yields.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    remove_below(path, DEPTH_MAX)
}

fn remove_below(path: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("the folder is too deep to be removed"));
    }
    for name in fs::list(path)? {
        let entry = path.join(name);
        // A folder is no file: of which kind it is, the system says.
        if fs::remove(&entry).is_err() {
            remove_below(&entry, depth - 1)?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_own_and_goes_with_everything_in_it() {
        fiber::run(|| {
            let (one, other) = (make().unwrap(), make().unwrap());
            assert_ne!(one, other);
            fs::create_dir_all(one.join("a/b")).unwrap();
            let file = fiber::net::UnixListener::bind(one.join("a/b/socket")).unwrap();
            drop(file);
            remove(&one).unwrap();
            assert!(fs::list(&one).is_err());
            remove(&other).unwrap();
        })
        .unwrap();
    }
}
