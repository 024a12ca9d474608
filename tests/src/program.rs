//! Programs of this workspace, for tests that run them.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process;

/// How long `cargo` may take to build a program.
const BUILD_TIMEOUT: Duration = Duration::from_secs(1200);

/// Returns the path of a program of a package, built first when it is out of date, as the running
/// program was built.
///
/// # Panics
/// When `cargo` cannot build it.
#[must_use]
#[track_caller]
pub fn built(package: &str, name: &str) -> PathBuf {
    let running = env::current_exe().expect("the system knows which program runs");
    // Tests lie in `target/PROFILE/deps`, programs in `target/PROFILE`.
    let folder = running.parent().expect("a program lies in a folder");
    let folder = if folder.ends_with("deps") {
        folder.parent().expect("cargo's folder layout")
    } else {
        folder
    };
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target = folder.parent().expect("cargo's folder layout");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
    cargo.args(["--profile", profile]);
    cargo
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test about its package would look like a change to build scripts, and
    // half of the dependencies would be built again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            cargo.env_remove(&name);
        }
    }
    let built = process::run(&mut cargo, BUILD_TIMEOUT).unwrap_or_else(|error| panic!("{error}"));
    assert!(
        built.status.success(),
        "cannot build {name}:\n{}",
        built.stderr
    );
    folder.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_workspace_is_built_and_found() {
        assert!(built("agent", "agent").is_file());
    }
}
