//! A real Mosquitto for one test: its own ports, its own folder, gone with the value.
//!
//! Mosquitto refuses port 0, so a port is taken by binding to 0, released, and given to the server;
//! when somebody else was faster, the start is tried again with other ports. The configuration
//! names the current user, because a server started as root drops to a user of its own and cannot
//! read the test's folder.
//!
//! When a test fails, the server's log is printed with it.

mod config;

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::Peers;
use crate::pki::Identity;
use crate::process::{self, PROCESS_TIMEOUT};
use crate::temp_dir::TempDir;

/// How long a server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a line of the log is waited for.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the start is tried when a port was taken in between.
const START_TRIES_MAX: u32 = 10;

/// How often log, port and end of the server are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// One way into the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// TCP alone.
    Plain,
    /// TLS with a server certificate.
    Tls,
    /// TLS that also demands a certificate of the client.
    MutualTls,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Access {
    Anybody,
    Password {
        user: String,
        password: String,
    },
    /// Anybody, but for one subscription.
    DeniedFilter(String),
}

/// How a server shall be set up.
#[derive(Clone, Debug)]
pub struct Options {
    peers: Peers,
    tls: Option<Identity>,
    mutual_tls: Option<(Identity, String)>,
    tls_version: Option<String>,
    revoked: Option<String>,
    access: Access,
    lines: Vec<String>,
}

/// Why a server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The program could not be started, or no port could be had.
    Io(io::Error),
    /// It ended, for another reason than a taken port.
    Ended(String),
    /// It did not accept connections in time.
    NotReady(String),
    /// Every port was taken by somebody else before the server could have it.
    PortsTaken(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => write!(f, "cannot start mosquitto"),
            Self::Ended(log) => write!(f, "mosquitto ended at its start; its log:\n{log}"),
            Self::NotReady(log) => {
                write!(
                    f,
                    "mosquitto accepts nothing after {START_TIMEOUT:?}; its log:\n{log}"
                )
            }
            Self::PortsTaken(log) => {
                write!(
                    f,
                    "{START_TRIES_MAX} times a port was taken; the last log:\n{log}"
                )
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Ended(_) | Self::NotReady(_) | Self::PortsTaken(_) => None,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Options {
    /// A server that lets anybody in over plain TCP.
    #[must_use]
    pub fn new(peers: &Peers) -> Self {
        let peers = peers.clone();
        Self {
            peers,
            tls: None,
            mutual_tls: None,
            tls_version: None,
            revoked: None,
            access: Access::Anybody,
            lines: Vec::new(),
        }
    }

    /// Adds a TLS listener with this certificate.
    #[must_use]
    pub fn tls(mut self, server: &Identity) -> Self {
        self.tls = Some(server.clone());
        self
    }

    /// Adds a TLS listener that demands a client certificate of the authority given in PEM.
    #[must_use]
    pub fn mutual_tls(mut self, server: &Identity, client_authority: &str) -> Self {
        self.mutual_tls = Some((server.clone(), client_authority.to_owned()));
        self
    }

    /// Accepts no lower version of TLS than this: `tlsv1.2` or `tlsv1.3`.
    #[must_use]
    pub fn tls_version(mut self, version: &str) -> Self {
        self.tls_version = Some(version.to_owned());
        self
    }

    /// Refuses client certificates that this revocation list names, in PEM.
    #[must_use]
    pub fn revoked_clients(mut self, list: &str) -> Self {
        self.revoked = Some(list.to_owned());
        self
    }

    /// Lets in only who knows this name and password.
    #[must_use]
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.access = Access::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        self
    }

    /// Refuses a subscription to exactly this filter, with the return code 128.
    #[must_use]
    pub fn deny_subscription(mut self, filter: &str) -> Self {
        self.access = Access::DeniedFilter(filter.to_owned());
        self
    }

    /// Adds a line to the configuration file.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts the server and waits until every listener accepts.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(&self) -> Result<Mosquitto, StartError> {
        let mut log = String::new();
        for _ in 0..START_TRIES_MAX {
            match self.try_start() {
                Err(StartError::Ended(text)) if text.contains("Address already in use") => {
                    log = text
                }
                result => return result,
            }
        }
        Err(StartError::PortsTaken(log))
    }

    fn try_start(&self) -> Result<Mosquitto, StartError> {
        let folder = TempDir::new("mosquitto");
        let ports = free_ports(self.listeners())?;
        let config = folder.write("mosquitto.conf", config::file(self, &folder, &ports));
        let log = folder.path().join("mosquitto.log");
        let child = spawn(&self.peers.mosquitto, &config, &log)?;
        let mut server = Mosquitto {
            program: self.peers.mosquitto.clone(),
            config,
            child,
            ports,
            log,
            starts: 1,
            folder,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn listeners(&self) -> Vec<Listener> {
        let tls = self.tls.is_some().then_some(Listener::Tls);
        let mutual_tls = self.mutual_tls.is_some().then_some(Listener::MutualTls);
        [Some(Listener::Plain), tls, mutual_tls]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    config: PathBuf,
    child: Child,
    ports: Vec<(Listener, u16)>,
    /// The log since the last start.
    log: PathBuf,
    starts: u32,
    /// Holds configuration, certificates and logs for as long as the server runs.
    folder: TempDir,
}

/// Starts the server, with a new log.
fn spawn(program: &Path, config: &Path, log: &Path) -> io::Result<Child> {
    let log_file = fs::File::create(log)?;
    Command::new(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log_file.try_clone()?)
        .stderr(log_file)
        .spawn()
}

impl Mosquitto {
    /// Ends the server at once; what it did not save is lost.
    pub fn stop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Ends the server in order, by SIGTERM, and waits for its end; with persistence it saves first.
    ///
    /// # Panics
    /// When it cannot be done.
    #[track_caller]
    pub fn terminate(&mut self) {
        process::send_signal(self.child.id(), "TERM");
        self.child
            .wait()
            .expect("it was started and not waited for");
    }

    /// Starts a stopped server again, with the same configuration and ports and a new log, and
    /// waits until every listener accepts.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_again(&mut self) -> Result<(), StartError> {
        self.starts += 1;
        let name = format!("mosquitto-{}.log", self.starts);
        self.log = self.folder.path().join(name);
        self.child = spawn(&self.program, &self.config, &self.log)?;
        self.wait_until_ready()
    }

    /// Returns the port of a listener.
    ///
    /// # Panics
    /// When the server was set up without it.
    #[must_use]
    #[track_caller]
    pub fn port(&self, listener: Listener) -> u16 {
        let found = self.ports.iter().find(|(which, _)| *which == listener);
        found
            .unwrap_or_else(|| panic!("the server has no {listener:?} listener"))
            .1
    }

    /// Returns the address of a listener.
    ///
    /// # Panics
    /// When the server was set up without it.
    #[must_use]
    #[track_caller]
    pub fn address(&self, listener: Listener) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(listener)))
    }

    /// Returns what the server has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Waits until the log contains `text`; the server logs every packet.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + LOG_TIMEOUT;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "mosquitto never logged `{text}`:\n{}",
                self.log()
            );
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until the server has answered a subscription of this client.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    #[track_caller]
    pub fn wait_for_suback(&self, client_id: &str) {
        self.wait_for_log(&format!("Sending SUBACK to {client_id}"));
    }

    fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.child.try_wait()?.is_some() {
                return Err(StartError::Ended(self.log()));
            }
            // The log tells this server from another one that took the port.
            if self.log().contains(" running") && self.accepts_everywhere() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StartError::NotReady(self.log()));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn accepts_everywhere(&self) -> bool {
        self.ports
            .iter()
            .all(|(_, port)| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            // Nothing can be done about a closed error output.
            drop(writeln!(
                io::stderr(),
                "--- log of mosquitto ---\n{}---",
                self.log()
            ));
        }
    }
}

/// Makes the password file with Mosquitto's own tool.
fn write_password_file(peers: &Peers, path: &Path, user: &str, password: &str) {
    let mut command = Command::new(&peers.mosquitto_passwd);
    command.args(["-b", "-c"]).arg(path).args([user, password]);
    let made = process::run(&mut command, PROCESS_TIMEOUT).expect("mosquitto_passwd can be run");
    assert!(
        made.status.success(),
        "mosquitto_passwd failed: {}",
        made.stderr
    );
}

/// Ports that were free a moment ago; all are held until the last is found, so no two are equal.
fn free_ports(listeners: Vec<Listener>) -> io::Result<Vec<(Listener, u16)>> {
    let mut held = Vec::new();
    for listener in listeners {
        held.push((listener, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?));
    }
    held.into_iter()
        .map(|(which, held)| Ok((which, held.local_addr()?.port())))
        .collect()
}

fn read_log(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
