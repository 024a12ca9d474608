//! A real tinyproxy for one test: an HTTP proxy with a port of its own, gone with the value.
//!
//! As Mosquitto it refuses port 0, so a port is taken by binding to 0, released, and given to it;
//! when somebody else was faster, the start is tried again with another one.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use crate::peers::Peers;
use crate::process::{PROCESS_TIMEOUT, ProcessError, Running};
use crate::temp_dir::TempDir;

/// How often the start is tried when the port was taken in between.
const START_TRIES_MAX: u32 = 10;

/// What it logs once it listens.
const READY: &str = "Accepting connections";

/// What it prints when the port is taken.
const PORT_TAKEN: &str = "Could not create listening sockets";

/// How a proxy shall be set up.
#[derive(Clone, Debug)]
pub struct Options {
    program: PathBuf,
    lines: Vec<String>,
}

impl Options {
    /// A proxy that connects anybody of this machine to anything.
    #[must_use]
    pub fn new(peers: &Peers) -> Self {
        let lines = ["Listen 127.0.0.1", "MaxClients 20", "LogLevel Info"];
        Self {
            program: peers.tinyproxy.clone(),
            lines: lines.map(str::to_owned).to_vec(),
        }
    }

    /// Connects only who knows this name and password, both of letters and digits alone.
    #[must_use]
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.lines.push(format!("BasicAuth {user} {password}"));
        self
    }

    /// Connects to this port, and to no other than those allowed so.
    #[must_use]
    pub fn allow_port(mut self, port: u16) -> Self {
        self.lines.push(format!("ConnectPort {port}"));
        self
    }

    /// Starts the proxy and waits until it listens.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub fn start(&self) -> Result<Tinyproxy, ProcessError> {
        let mut tries = 1;
        loop {
            match self.try_start() {
                Err(ProcessError::EndedEarly { printed, .. })
                    if printed.contains(PORT_TAKEN) && tries < START_TRIES_MAX =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn try_start(&self) -> Result<Tinyproxy, ProcessError> {
        let folder = TempDir::new("tinyproxy");
        let port = free_port();
        let lines = self.lines.join("\n");
        let config = folder.write("tinyproxy.conf", format!("Port {port}\n{lines}\n"));
        let program = self.program.clone();
        let running = spawn(&program, &config)?;
        Ok(Tinyproxy {
            program,
            config,
            running,
            port,
            _folder: folder,
        })
    }
}

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub struct Tinyproxy {
    program: PathBuf,
    config: PathBuf,
    running: Running,
    port: u16,
    /// Holds the configuration for as long as the proxy runs.
    _folder: TempDir,
}

impl Tinyproxy {
    /// Returns the port where it listens, on the loopback interface.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once, with every connection that goes through it.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts a killed proxy again, with the same configuration and port, and waits until it listens.
    ///
    /// # Errors
    /// See [`ProcessError`].
    pub fn start_again(&mut self) -> Result<(), ProcessError> {
        self.running = spawn(&self.program, &self.config)?;
        Ok(())
    }
}

/// Starts the proxy in the foreground, where its log is its output.
fn spawn(program: &PathBuf, config: &PathBuf) -> Result<Running, ProcessError> {
    let mut running = Running::start(Command::new(program).arg("-d").arg("-c").arg(config))?;
    while !running.next_line(PROCESS_TIMEOUT)?.contains(READY) {}
    Ok(running)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    held.local_addr().expect("it has an address").port()
}
