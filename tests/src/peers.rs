//! The foreign programs the interop tests talk to, and the gate before every such test.

use std::env;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Once, OnceLock};

/// Set by `test.sh`: a missing peer fails the test instead of leaving it out.
pub const REQUIRE_VARIABLE: &str = "REQUIRE_INTEROP";

/// Where servers are installed outside an ordinary user's PATH.
const SERVER_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];

/// Where package managers install for their own Python, which need not be the first one in PATH.
const PYTHON_FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];

/// Where packages put Mosquitto's plugins; folders one level below are searched as well.
const PLUGIN_FOLDERS: [&str; 6] = [
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/libexec",
    "/opt/homebrew/lib",
    "/opt/homebrew/opt/mosquitto/lib",
];

const PLUGIN: &str = "mosquitto_dynamic_security.so";

/// What is missing where no Python has it.
const PAHO: &str = "paho-mqtt for Python";

/// The programs that were found. Only the gate makes one, so a test that has it may use them.
#[derive(Clone, Debug)]
pub struct Peers {
    pub(crate) mosquitto: PathBuf,
    pub(crate) mosquitto_pub: PathBuf,
    pub(crate) mosquitto_sub: PathBuf,
    pub(crate) mosquitto_passwd: PathBuf,
    pub(crate) openssl: PathBuf,
    pub(crate) tinyproxy: PathBuf,
    pub(crate) dynamic_security: PathBuf,
    /// A Python that has Paho's client.
    pub(crate) python: PathBuf,
}

/// A program, plugin or library that is nowhere to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPeer(pub String);

impl fmt::Display for MissingPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not installed", self.0)
    }
}

impl std::error::Error for MissingPeer {}

impl Peers {
    /// Looks for all of them in PATH and in the usual folders, once in a process.
    ///
    /// # Errors
    /// The first one that is missing.
    pub fn find() -> Result<Self, MissingPeer> {
        static FOUND: OnceLock<Result<Peers, MissingPeer>> = OnceLock::new();
        let find = || Self::find_in(&search_path(), &plugin_folders());
        FOUND.get_or_init(find).clone()
    }

    /// Returns the peers, or `None` when one is missing and nobody insists on it.
    ///
    /// Prints one line per process when it leaves tests out: to the error output itself, which the
    /// test harness does not capture.
    ///
    /// # Panics
    /// When a peer is missing and `REQUIRE_INTEROP` is set.
    #[track_caller]
    pub fn gate() -> Option<Self> {
        static TOLD: Once = Once::new();
        match (Self::find(), env::var_os(REQUIRE_VARIABLE).is_some()) {
            (Ok(peers), _) => Some(peers),
            (Err(missing), true) => panic!("{missing}, and {REQUIRE_VARIABLE} is set"),
            (Err(missing), false) => {
                TOLD.call_once(|| {
                    let line = format!(
                        "interop tests left out: {missing}; ./test.sh installs it and runs them\n"
                    );
                    // A closed error output must not fail a test.
                    drop(io::stderr().write_all(line.as_bytes()));
                });
                None
            }
        }
    }

    /// Returns the path of OpenSSL's program.
    #[must_use]
    pub fn openssl(&self) -> &Path {
        &self.openssl
    }

    fn find_in(programs: &[PathBuf], plugins: &[PathBuf]) -> Result<Self, MissingPeer> {
        let program = |name| find_file(programs, name);
        Ok(Self {
            mosquitto: program("mosquitto")?,
            mosquitto_pub: program("mosquitto_pub")?,
            mosquitto_sub: program("mosquitto_sub")?,
            mosquitto_passwd: program("mosquitto_passwd")?,
            openssl: program("openssl")?,
            tinyproxy: program("tinyproxy")?,
            dynamic_security: find_file(plugins, PLUGIN)?,
            python: find_python(programs)?,
        })
    }
}

/// Looks for a program in PATH and in the usual folders.
///
/// # Errors
/// It is in none of them.
pub fn find_program(name: &str) -> Result<PathBuf, MissingPeer> {
    find_file(&search_path(), name)
}

fn search_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SERVER_FOLDERS.map(PathBuf::from))
        .chain(PYTHON_FOLDERS.map(PathBuf::from))
        .collect()
}

fn plugin_folders() -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let mut out: Vec<PathBuf> = PLUGIN_FOLDERS.map(PathBuf::from).to_vec();
    out.extend(
        PLUGIN_FOLDERS
            .iter()
            .flat_map(|folder| below(Path::new(folder))),
    );
    out
}

fn find_file(folders: &[PathBuf], name: &str) -> Result<PathBuf, MissingPeer> {
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| MissingPeer(name.to_owned()))
}

/// Finds the first Python that has Paho's client: there may be several, each with its own libraries.
fn find_python(folders: &[PathBuf]) -> Result<PathBuf, MissingPeer> {
    let has_paho = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import paho.mqtt.client"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let pythons = folders.iter().map(|folder| folder.join("python3"));
    let found = pythons.filter(|python| python.is_file()).find(has_paho);
    found.ok_or_else(|| MissingPeer(PAHO.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp_dir::TempDir;

    #[test]
    fn the_first_missing_peer_is_named() {
        let folder = TempDir::new("peers");
        let folders = [folder.path().to_owned()];
        let names = [
            "mosquitto",
            "mosquitto_pub",
            "mosquitto_sub",
            "mosquitto_passwd",
            "openssl",
            "tinyproxy",
            PLUGIN,
        ];
        for name in names {
            let missing = Peers::find_in(&folders, &folders).unwrap_err();
            assert_eq!(missing, MissingPeer(name.to_owned()));
            folder.write(name, "");
        }
        let paho = MissingPeer(PAHO.to_owned());
        assert_eq!(Peers::find_in(&folders, &folders).unwrap_err(), paho);
        // A Python without Paho is none, and hides none behind it.
        let bare = TempDir::new("bare-python");
        write_program(&bare, "exit 1");
        let folders = [bare.path().to_owned(), folder.path().to_owned()];
        assert_eq!(Peers::find_in(&folders, &folders).unwrap_err(), paho);
        let python = write_program(&folder, r#"[ "$*" = "-c import paho.mqtt.client" ]"#);
        let peers = Peers::find_in(&folders, &folders).unwrap();
        assert_eq!(peers.dynamic_security, folder.path().join(PLUGIN));
        assert_eq!(peers.python, python);
    }

    /// Writes a stand-in for Python, by another process: one of this process that is started meanwhile
    /// would have it open, and what is open for writing is not run.
    fn write_program(folder: &TempDir, body: &str) -> PathBuf {
        let path = folder.path().join("python3");
        let script = r##"printf '#!/bin/sh\n%s\n' "$0" >"$1" && chmod +x "$1""##;
        let mut shell = Command::new("/bin/sh");
        let status = shell.args(["-c", script, body]).arg(&path).status();
        assert!(status.unwrap().success());
        path
    }
}
