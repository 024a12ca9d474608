//! A configuration that is read again by a running agent: what counts at once, with the next
//! connection, and at the next start.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first fault, and only it waits for its files"
)]

#[allow(unreachable_pub, reason = "it is part of a library elsewhere")]
#[path = "../../../../tests/src/temp_dir.rs"]
mod temp_dir;

#[allow(dead_code, reason = "it is for other tests, too")]
#[path = "../library/support.rs"]
mod support;

mod connection;
mod services;

use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::Duration;

use mqtt::{Broker, Client, ClientId, ClientOptions};

use crate::support::configured;
use crate::temp_dir::TempDir;

/// A running agent, its configuration, and what it says.
struct Device {
    folder: TempDir,
    endpoint: String,
    child: Child,
}

impl Drop for Device {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Device {
    /// Starts `agent run` with this beside the device's name and the endpoint, and waits until it is
    /// connected.
    #[track_caller]
    fn start(folder: TempDir, endpoint: &str, rest: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        let config = configured(folder.path(), "meter-17", endpoint, rest);
        command.args(["run", "--config"]).arg(config);
        command.env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
        let file = |name| File::create(folder.path().join(name)).unwrap();
        command.stdout(file("printed")).stderr(file("logged"));
        let device = Self {
            endpoint: endpoint.to_owned(),
            child: command.spawn().unwrap(),
            folder,
        };
        device.ask(&["wait"]);
        device
    }

    /// Asks it; returns what it says.
    #[track_caller]
    fn ask(&self, words: &[&str]) -> String {
        let (is_good, output) = self.try_ask(words);
        assert!(is_good, "{words:?}: {output}");
        output
    }

    fn try_ask(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(words);
        let state = self.folder.path().join("state");
        command.arg("--state-dir").arg(state);
        fiber::offload(move || {
            let output = command.output().unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let said = text(output.stdout) + &text(output.stderr);
            (output.status.success(), said)
        })
        .unwrap()
    }

    /// Changes its configuration, and has it read again; returns what `agent reload` prints.
    #[track_caller]
    fn reload(&self, rest: &str) -> String {
        configured(self.folder.path(), "meter-17", &self.endpoint, rest);
        self.ask(&["reload"])
    }

    /// What it has printed so far.
    fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("printed")).unwrap()
    }

    /// What it has logged so far.
    fn logged(&self) -> String {
        fs::read_to_string(self.folder.path().join("logged")).unwrap()
    }

    /// Waits until it has printed this.
    fn wait_printed(&self, text: &str) {
        while !self.printed().contains(text) {
            fiber::sleep(Duration::from_millis(10)).unwrap();
        }
    }

    /// Waits until it has logged this so often.
    fn wait_logged(&self, text: &str, count: usize) {
        while self.logged().matches(text).count() < count {
            fiber::sleep(Duration::from_millis(10)).unwrap();
        }
    }
}

/// Takes the device's place at the broker, so that it has to connect again.
#[track_caller]
fn throw_out(broker: &Broker) {
    let (near, far) = fiber::net::pipe(4_096);
    broker.attach(far).unwrap();
    let options = ClientOptions::new(ClientId::new("meter-17").unwrap());
    let options = options.credentials("intruder", None::<Vec<u8>>);
    let client = Client::over(near, options);
    client.connect().unwrap();
    client.close(Duration::ZERO).unwrap();
}
