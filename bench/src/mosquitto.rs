//! The system's Mosquitto for one measurement: a port and a folder of its own, gone with the value.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{Program, Running};
use crate::error::Failure;
use crate::folder::Folder;
use crate::mqtt::address::Address;

/// The program that makes certificates.
const CERTIFICATES: &str = "mqtt_certificates";
/// Where a server lies that the search path does not name.
const SERVER_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"];
/// How long it may take until it accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether it does.
const PAUSE: Duration = Duration::from_millis(2);
/// How often it is started when its port was taken in between.
const START_TRIES: usize = 5;
/// As many messages under way as it has when installed.
const WINDOW_MIN: usize = 20;

/// A Mosquitto that runs; killed when dropped.
#[derive(Debug)]
pub struct Mosquitto {
    address: Address,
    running: Running,
    _folder: Folder,
}

impl Mosquitto {
    /// Starts one that lets anybody in, has room for `window` messages under way in either direction, and
    /// keeps all that a subscriber has not taken yet.
    ///
    /// # Errors
    /// [`Failure::Lacking`] where none is installed, or no certificate can be made; others where it does
    /// not start.
    pub fn start(tls: bool, window: usize) -> Result<Self, Failure> {
        let program = find()?;
        let folder = Folder::new()?;
        let authority = tls.then(|| make_certificates(&folder)).transpose()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = free_port().map_err(|error| folder.failure(&error))?;
            let file = folder.path().join("mosquitto.conf");
            let text = configuration(folder.path(), port, window, tls, &user());
            fs::write(&file, text).map_err(|error| folder.failure(&error))?;
            let words = ["-c".to_owned(), file.display().to_string()];
            let mut running = Program::at(&program).with(&words).start()?;
            if is_up(&mut running, port) {
                let address = Address { port, authority };
                return Ok(Self {
                    address,
                    running,
                    _folder: folder,
                });
            }
            if tries == START_TRIES {
                return Err(Failure::Ended {
                    command: program.display().to_string(),
                    said: match running.finish() {
                        Ok(values) => values.errors,
                        Err(failure) => failure.to_string(),
                    },
                });
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Keeps it on one processor.
    pub fn keep_on(&self, cpu: usize) {
        self.running.keep_on(cpu);
    }
}

/// Makes an authority and what it signed for the server; returns the file of the authority.
fn make_certificates(folder: &Folder) -> Result<PathBuf, Failure> {
    let program = Program::ours(CERTIFICATES);
    if !program.exists() {
        return Err(Failure::Lacking(format!("{CERTIFICATES} was not built")));
    }
    program.with(&[folder.path().display().to_string()]).run()?;
    Ok(folder.path().join("authority.pem"))
}

fn find() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SERVER_FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join("mosquitto"))
        .find(|file| file.is_file())
        .ok_or_else(|| Failure::Lacking("mosquitto is not installed".to_owned()))
}

/// A port that nobody has. Mosquitto cannot be asked to take any.
fn free_port() -> io::Result<u16> {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(held.local_addr()?.port())
}

/// Waits until somebody accepts; false when it ended, or takes too long.
fn is_up(running: &mut Running, port: u16) -> bool {
    let end_by = Instant::now() + START_TIMEOUT;
    while !running.has_ended() && Instant::now() < end_by {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

/// The name of the user that this process runs as: a server that is started as root takes another, which
/// could not read the folder.
fn user() -> String {
    let output = Command::new("id").arg("-un").output();
    output.map_or_else(
        |_| "root".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn configuration(folder: &Path, port: u16, window: usize, tls: bool, user: &str) -> String {
    let window = window.max(WINDOW_MIN);
    let mut text = format!(
        "user {user}\nlog_dest stderr\nlog_type error\nallow_anonymous true\npersistence false\n\
         set_tcp_nodelay true\nmax_inflight_messages {window}\nmax_queued_messages 0\n\
         listener {port} 127.0.0.1\n"
    );
    if tls {
        for (setting, file) in [("certfile", "server.pem"), ("keyfile", "server.key")] {
            text += &format!("{setting} {}\n", folder.join(file).display());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::configuration;

    #[test]
    fn the_configuration_has_one_listener_of_its_kind() {
        let text = |tls| configuration(Path::new("/f"), 1883, 5, tls, "me");
        for tls in [false, true] {
            let text = text(tls);
            assert_eq!(text.matches("listener ").count(), 1);
            assert!(text.contains("listener 1883 127.0.0.1\n"));
            assert!(text.contains("max_inflight_messages 20\n"), "{text}");
            assert_eq!(text.contains("certfile /f/server.pem\n"), tls);
            assert_eq!(text.contains("keyfile /f/server.key\n"), tls);
        }
    }
}
