//! A broker on a port of this machine, and programs that are started beside it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use mqtt::{Broker, BrokerOptions};
use safe_rt::Listener;

/// How long a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` with a broker; it is given an endpoint.
#[track_caller]
pub(crate) fn with_broker(options: BrokerOptions, body: impl FnOnce(&Broker, &str) + 'static) {
    on_fibers(move || {
        let broker = Broker::new(options);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let endpoint = format!("mqtt://{}", listener.local_addr().unwrap());
        broker.serve(listener).unwrap();
        body(&broker, &endpoint);
        broker.stop();
    });
}

/// Runs `body` on a fiber, within [`LIMIT`].
#[track_caller]
pub(crate) fn on_fibers(body: impl FnOnce() + 'static) {
    let ran = fiber::run(move || fiber::timeout(LIMIT, body).map_err(|_| "it took too long"));
    ran.unwrap().unwrap();
}

/// An example of this package, which `cargo test --test library` alone does not build.
pub(crate) fn example(name: &str) -> Command {
    static BUILT: Once = Once::new();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_agent"));
    let folder = program.parent().unwrap();
    BUILT.call_once(|| {
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            name => name,
        };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--package=agent",
            "--examples",
            "--profile",
            profile,
        ]);
        cargo.arg("--target-dir").arg(folder.parent().unwrap());
        // What cargo tells a test about its package would look like a change to build scripts.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
                cargo.env_remove(&name);
            }
        }
        assert!(cargo.status().unwrap().success());
    });
    Command::new(folder.join("examples").join(name))
}

/// Writes a configuration.
pub(crate) fn configured(folder: &Path, id: &str, endpoint: &str, rest: &str) -> PathBuf {
    let path = folder.join("agent.toml");
    let state = folder.join("state");
    let text = format!(
        "[device]\nid = \"{id}\"\n[cloud]\nendpoint = \"{endpoint}\"\n{rest}\n[state]\ndir = {state:?}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A program that is killed when the value is dropped.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits beside the fibers until a line of the error output has `text` in it.
    pub(crate) fn wait_for(&mut self, text: &'static str) {
        let child = self.0.as_mut().unwrap();
        child.stderr = Some(read_until(child.stderr.take().unwrap(), text));
    }

    /// As [`Running::wait_for`], of the output.
    pub(crate) fn wait_printed(&mut self, text: &'static str) {
        let child = self.0.as_mut().unwrap();
        child.stdout = Some(read_until(child.stdout.take().unwrap(), text));
    }

    /// Waits beside the fibers for its end; returns its exit code and what it printed to both outputs.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        let mut child = self.0.take().unwrap();
        fiber::offload(move || {
            let mut printed = String::new();
            child
                .stdout
                .take()
                .unwrap()
                .read_to_string(&mut printed)
                .unwrap();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut printed)
                .unwrap();
            (child.wait().unwrap().code(), printed)
        })
        .unwrap()
    }
}

/// Reads to the end of the first line with `text` in it, and not a byte further.
fn read_until<R: Read + Send + 'static>(mut output: R, text: &'static str) -> R {
    fiber::offload(move || {
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            output
                .read_exact(&mut byte)
                .unwrap_or_else(|_| panic!("{text} was not said"));
            line.push(byte[0]);
            if byte == *b"\n" && String::from_utf8_lossy(&line).contains(text) {
                return output;
            }
            if byte == *b"\n" {
                line.clear();
            }
        }
    })
    .unwrap()
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
