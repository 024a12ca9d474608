//! Builds the benchmarks in `bench/`, which lie outside the workspace, and runs them with the words of
//! the command line: `cargo run --release -p tests --bin bench -- fibers`.

#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Budgets are of this project's own operations and programs: the peers are not even built for them.
    let is_budget = ["budget", "--check", "--write"];
    let peers = !words.iter().any(|word| is_budget.contains(&word.as_str()));
    let mut build = cargo("build");
    if !peers {
        build.arg("--no-default-features");
    } else if has_cmake() {
        // A peer around a library in C.
        build.args(["--features", "paho"]);
    }
    if !build.status()?.success() {
        return Ok(ExitCode::FAILURE);
    }
    let runner = target().join("release/bench_runner");
    let mut runner = Command::new(runner);
    clean(&mut runner);
    let ended = runner.args(words).status()?;
    Ok(if ended.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn has_cmake() -> bool {
    let mut cmake = Command::new("cmake");
    cmake
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    cmake.status().is_ok_and(|ended| ended.success())
}

fn cargo(verb: &str) -> Command {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        verb,
        "--quiet",
        "--release",
        "--locked",
        "--bins",
        "--manifest-path",
    ]);
    cargo.arg(manifest).arg("--target-dir").arg(target());
    clean(&mut cargo);
    cargo
}

/// Takes out what cargo tells a program about its own package: it is not about the others.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
}

/// A folder of its own beside the workspace's profiles: no program of the one replaces one of the
/// other.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let profile = program.parent().unwrap_or_else(|| Path::new("target"));
    profile.parent().unwrap_or(profile).join("bench")
}
