//! aedes, a broker for Node.js, behind the WebSocket server `ws`: what `tests/peers/websocket/` says.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use crate::peers::{MissingPeer, REQUIRE_VARIABLE, find_program};
use crate::process::{PROCESS_TIMEOUT, Running};

/// Node.js and the packages, which `test.sh` puts below the folder of what is built.
#[derive(Clone, Debug)]
pub struct Aedes {
    node: PathBuf,
    packages: PathBuf,
}

/// A broker that listens; killed when dropped.
#[derive(Debug)]
pub struct Listening {
    /// The program; it prints what it was told, and what clients do.
    pub running: Running,
    /// Where it listens.
    pub port: u16,
}

impl Aedes {
    /// Returns the peer, or `None` when it is missing and nobody insists on it; see
    /// [`Peers::gate`](crate::peers::Peers::gate).
    ///
    /// # Panics
    /// When it is missing and `REQUIRE_INTEROP` is set.
    #[track_caller]
    #[must_use]
    pub fn gate() -> Option<Self> {
        static TOLD: Once = Once::new();
        match (Self::find(), env::var_os(REQUIRE_VARIABLE).is_some()) {
            (Ok(found), _) => Some(found),
            (Err(missing), true) => panic!("{missing}, and {REQUIRE_VARIABLE} is set"),
            (Err(missing), false) => {
                TOLD.call_once(|| {
                    let line = format!(
                        "WebSocket interop tests left out: {missing}; ./test.sh installs it\n"
                    );
                    // A closed error output must not fail a test.
                    drop(io::stderr().write_all(line.as_bytes()));
                });
                None
            }
        }
    }

    fn find() -> Result<Self, MissingPeer> {
        let node = find_program("node")?;
        let missing = || MissingPeer("aedes for Node.js".to_owned());
        // This program is in `debug/deps` of that folder.
        let program = env::current_exe().map_err(|_| missing())?;
        let built = program.ancestors().nth(3).ok_or_else(missing)?;
        let packages = built.join("peers/websocket/node_modules");
        for package in ["aedes", "ws"] {
            if !packages.join(package).join("package.json").is_file() {
                return Err(missing());
            }
        }
        Ok(Self { node, packages })
    }

    /// Starts the broker with these arguments of its script, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Listening {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/websocket");
        let mut node = Command::new(&self.node);
        node.env("NODE_PATH", &self.packages);
        node.arg(folder.join("broker.js")).args(arguments);
        let mut running = Running::start(&mut node).expect("Node.js can be started");
        let line = running
            .next_line(PROCESS_TIMEOUT)
            .expect("the broker listens");
        let port = line
            .strip_prefix("listening ")
            .and_then(|port| port.parse().ok())
            .expect("a port is printed first");
        Listening { running, port }
    }
}
