//! The configuration of the agent: what is understood, and every fault in its exact words.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests prepare files and look at them from outside, and end where something is amiss"
)]

mod checks;
mod commands;
mod documents;
mod faults;
mod kept;
mod layers;
mod secrets;
mod temp_dir;
mod understood;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use agent::config::{Config, ConfigErrors};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use temp_dir::TempDir;

/// A configuration that is in order and as short as can be.
const LEAST: &str = "[device]\nid = \"meter-17\"\n[cloud]\nendpoint = \"mqtt://127.0.0.1:1883\"\n";

/// A folder with everything that a configuration may name.
fn folder() -> TempDir {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();

    let folder = TempDir::new();
    folder.write("ca.pem", authority_pem);
    folder.write("device.pem", certificate.pem());
    folder.write("device.key", key.serialize_pem());
    folder.write("other.key", KeyPair::generate().unwrap().serialize_pem());
    folder.write("notes.txt", "nothing of use");
    folder.write("password", "hunter2\n");
    folder
}

/// Loads a file of the folder, alone.
fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let path = path.to_owned();
    let loaded = fiber::run(move || Config::load(&path));
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

/// Loads a text, as a file that its owner alone may read.
fn load_text(folder: &TempDir, text: impl AsRef<[u8]>) -> Result<Config, ConfigErrors> {
    load(&folder.write("agent.toml", text))
}

#[track_caller]
fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn understood(folder: &TempDir, text: &str) -> Config {
    load_text(folder, text).unwrap_or_else(|errors| panic!("{errors}"))
}
