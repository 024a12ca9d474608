//! Builds the programs of the suite, each alone and as a device with little room would.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Failure;
use crate::symbols::Anatomy;

/// Names that tell the types of a generic function.
const NAMES: &str = "-C symbol-mangling-version=v0";

/// A program as it was built, and as it is delivered.
#[derive(Debug)]
pub(super) struct Built {
    /// With its symbols.
    whole: PathBuf,
    /// Without.
    pub(super) stripped: PathBuf,
}

impl Built {
    /// Bytes of the file.
    pub(super) fn bytes(&self) -> Result<f64, Failure> {
        let of = fs::metadata(&self.stripped);
        let bytes = of.map_err(|error| Failure::File {
            path: self.stripped.display().to_string(),
            what: error.to_string(),
        })?;
        Ok(bytes.len() as f64)
    }

    /// What it is made of.
    pub(super) fn anatomy(&self) -> Result<Anatomy, Failure> {
        Anatomy::read(&self.whole)
    }
}

/// What else a device with little room may ask of the linker: relocations in a table of bits, which
/// glibc 2.36 and musl 1.2.4 read, and no unwind tables.
const LINKED: &str = concat!(
    " -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,-T,",
    env!("CARGO_MANIFEST_DIR"),
    "/size/tables.ld"
);

/// Builds a package of the folder `bench/size`.
pub(super) fn small(package: &str) -> Result<Built, Failure> {
    program(package, &target(), "", &[])
}

/// As [`small`], with the default features of the client.
pub(super) fn whole(package: &str) -> Result<Built, Failure> {
    program(
        package,
        &target().join("whole"),
        "",
        &["--features", "whole"],
    )
}

/// As [`small`], linked without what a device can do without.
pub(super) fn linked(package: &str) -> Result<Built, Failure> {
    program(package, &target().join("linked"), LINKED, &[])
}

fn program(package: &str, target: &Path, linked: &str, more: &[&str]) -> Result<Built, Failure> {
    let mut cargo = cargo("Cargo.toml", target);
    cargo
        .args(["--profile", "size", "--package", package])
        .args(more);
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" ");
    flags.push(NAMES);
    flags.push(linked);
    cargo.env("RUSTFLAGS", flags);
    finish(cargo, target.join("size").join(package))
}

/// Builds the agent as it is packaged, or without its default features.
pub(super) fn agent(default_features: bool) -> Result<Built, Failure> {
    let target = target().join("agent");
    let mut cargo = cargo("../Cargo.toml", &target);
    cargo.args(["--release", "--package", "agent", "--bin", "agent"]);
    if !default_features {
        cargo.arg("--no-default-features");
    }
    finish(cargo, target.join("release/agent"))
}

fn cargo(manifest: &str, target: &Path) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(target);
    cargo
}

/// Builds, and strips what was built.
fn finish(mut cargo: Command, whole: PathBuf) -> Result<Built, Failure> {
    run(&mut cargo)?;
    let mut stripped = whole.clone();
    stripped.as_mut_os_string().push(".stripped");
    let mut strip = Command::new("strip");
    strip.arg("--strip-all").arg("-o").args([&stripped, &whole]);
    run(&mut strip)?;
    Ok(Built { whole, stripped })
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|_| Failure::Lacking(format!("{name} is not installed")))?;
    if output.status.success() {
        return Ok(());
    }
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failure::Ended {
        command: format!("{name} {}", words.join(" ")),
        said: format!("{}: {}", output.status, errors.trim()),
    })
}

/// The target folder that the runner itself was built in.
fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.parent().and_then(Path::parent);
    target.map(Path::to_owned).unwrap_or_default()
}
