//! `agent pub`, `sub` and `request` without a broker on the command line: that of the agent's own
//! configuration, beside the agent or by way of it.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first fault, and only it waits for its files"
)]

#[allow(dead_code, reason = "it is for other tests, too")]
#[path = "doctor/support.rs"]
mod certificates;
#[allow(dead_code, reason = "it is for other tests, too")]
#[path = "library/support.rs"]
mod support;

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use mqtt::{Broker, BrokerOptions};
use safe_rt::Listener;

use crate::certificates::{Authority, Folder, LOOPBACK};
use crate::support::{Running, on_fibers};

/// Nobody listens there.
const NOWHERE: &str = "mqtt://127.0.0.1:1";

/// Client identifiers, in the order in which they came.
type Seen = Rc<RefCell<Vec<String>>>;

/// A broker that notes who connects.
fn noting() -> (BrokerOptions, Seen) {
    let seen = Seen::default();
    let noted = Rc::clone(&seen);
    let options = BrokerOptions::new().authenticate(move |connect| {
        noted
            .borrow_mut()
            .push(connect.fields().client_id.to_owned());
        Ok(())
    });
    (options, seen)
}

/// A broker over TLS that wants a certificate of `authority`, and a configuration for it.
fn secure(folder: &Folder, options: BrokerOptions) -> (Broker, std::path::PathBuf) {
    let authority = Authority::new();
    let tls = authority.server("localhost");
    let tls = tls.require_client_certificate(authority.trust()).build();
    let broker = Broker::new(options);
    let listener = Listener::bind_tls(LOOPBACK, tls.unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    broker.serve(listener).unwrap();
    let (certificate, key) = authority.sign("meter-17");
    folder.write("ca.pem", &authority.pem);
    folder.write("device.pem", &certificate);
    folder.write("device.key", &key);
    let cloud = "authority = \"ca.pem\"\ncertificate = \"device.pem\"\nkey = \"device.key\"";
    let config = folder.configure(&format!("mqtts://localhost:{port}"), cloud, "");
    (broker, config)
}

/// `agent TOOL --config CONFIG` with these words; returns code, output and errors.
fn agent(tool: &str, config: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.arg(tool).arg("--config").arg(config).args(words);
    fiber::offload(move || {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    })
    .unwrap()
}

#[track_caller]
fn done(tool: &str, config: &Path, words: &[&str]) -> String {
    let (code, output, errors) = agent(tool, config, words);
    assert_eq!((code, errors.as_str()), (0, ""), "{words:?}");
    output
}

/// Asks the agent whose state is in the folder.
#[track_caller]
fn ask(folder: &Folder, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    let state = folder.path().join("state");
    command.args(words).arg("--state-dir").arg(state);
    let output = fiber::offload(move || command.output().unwrap()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `agent run` with this configuration, once it is so far.
fn run(folder: &Folder, config: &Path, goal: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(["run", "--config"]).arg(config);
    command.env_remove("NOTIFY_SOCKET");
    let running = Running::start(command);
    ask(folder, &["wait", "--for", goal]);
    running
}

#[test]
fn a_configured_device_needs_no_broker_on_the_command_line() {
    on_fibers(|| {
        let folder = Folder::new();
        let (options, seen) = noting();
        let (broker, config) = secure(&folder, options);
        let heard = broker.subscribe("up/#").unwrap();
        done("pub", &config, &["-t", "up/a", "-m", "x", "-q", "1"]);
        assert_eq!(heard.recv().unwrap().payload(), b"x");
        broker
            .publish("kept", b"y", mqtt::QoS::AtLeastOnce, true)
            .unwrap();
        let printed = done("sub", &config, &["-t", "kept", "-C", "1", "-W", "20"]);
        assert_eq!(printed, "y\n");
        // Nobody answers, which is known only once the request was taken.
        let words = ["-t", "up/ask", "-e", "answer", "-m", "z", "-W", "5"];
        let (code, _, errors) = agent("request", &config, &words);
        assert_eq!(code, 27, "{errors}");
        assert_eq!(heard.recv().unwrap().payload(), b"z");
        // Each is a client beside the agent, and one that is named is that one.
        for id in seen.borrow().iter() {
            assert!(id.starts_with("meter-17-cli-"), "{id}");
        }
        done("pub", &config, &["-t", "up/a", "-n", "-i", "other"]);
        let ids = seen.borrow();
        assert_eq!(ids.last().map(String::as_str), Some("other"));
        assert_eq!(ids.len(), 4);
        broker.stop();
    });
}

#[test]
fn what_is_said_of_the_connection_takes_the_place_of_the_configuration() {
    on_fibers(|| {
        let folder = Folder::new();
        let (broker, config) = secure(&folder, BrokerOptions::new());
        folder.write("other.pem", &Authority::new().pem);
        let other = folder.path().join("other.pem");
        let other = other.to_str().unwrap();
        let message = ["-t", "up", "-n"];
        let words = [&message[..], &["--cafile", other]].concat();
        let (code, _, errors) = agent("pub", &config, &words);
        assert_eq!(code, 69, "{errors}");
        let (code, _, errors) = agent("pub", &config, &["-h", "localhost", "-t", "a", "-n"]);
        assert_eq!(code, 64, "{errors}");
        assert!(errors.contains("--config"), "{errors}");
        // Never plain text where TLS was meant.
        let plain = folder.configure(NOWHERE, "", "");
        let (code, _, errors) = agent("pub", &plain, &words);
        assert_eq!(code, 64, "{errors}");
        let faulty = folder.configure(NOWHERE, "colour = 1", "");
        let (code, _, errors) = agent("pub", &faulty, &message);
        assert_eq!(code, 78, "{errors}");
        assert!(errors.contains("colour"), "{errors}");
        broker.stop();
    });
}

#[test]
fn a_message_goes_by_way_of_the_agent_that_runs_and_makes_no_second_connection() {
    on_fibers(|| {
        let folder = Folder::new();
        let (options, seen) = noting();
        let (broker, config) = secure(&folder, options);
        let heard = broker.subscribe("up/#").unwrap();
        let running = run(&folder, &config, "online");
        for qos in ["0", "1", "2"] {
            done("pub", &config, &["-t", "up/a", "-m", qos, "-q", qos]);
            assert_eq!(heard.recv().unwrap().payload(), qos.as_bytes());
        }
        let words = ["-t", "up/a", "-m", "r", "--repeat", "2", "-q", "1"];
        done("pub", &config, &words);
        assert_eq!(heard.recv().unwrap().payload(), b"r");
        assert_eq!(heard.recv().unwrap().payload(), b"r");
        // As large as a message by that way may be, and larger: a connection of its own then.
        assert_eq!(*seen.borrow(), ["meter-17"]);
        let payload = "x".repeat(300_000);
        folder.write("small", &payload);
        folder.write("large", &payload.repeat(2));
        for (name, clients) in [("small", 1), ("large", 2)] {
            let path = folder.path().join(name);
            let words = ["-t", "up/f", "-f", path.to_str().unwrap(), "-q", "1"];
            done("pub", &config, &words);
            assert_eq!(heard.recv().unwrap().payload().len() / 300_000, clients);
            assert_eq!(seen.borrow().len(), clients, "{name}");
        }
        // What names a client is one of its own, and the agent stays connected.
        done("pub", &config, &["-t", "up/b", "-n", "-i", "other"]);
        let status = ask(&folder, &["status", "--json"]);
        assert!(status.contains("\"connects_total\":1"), "{status}");
        drop(running);
        broker.stop();
    });
}

#[test]
fn an_agent_without_a_connection_keeps_the_message_in_its_queue() {
    on_fibers(|| {
        let folder = Folder::new();
        let config = folder.configure(NOWHERE, "", "");
        let running = run(&folder, &config, "drained");
        let words = ["-t", "up/a", "-m", "later", "-q", "1"];
        let (code, _, errors) = agent("pub", &config, &words);
        assert_eq!(code, 0, "{errors}");
        assert!(
            errors.contains("in the queue of the running agent"),
            "{errors}"
        );
        assert!(ask(&folder, &["queue", "ls"]).contains("up/a"));
        // Of QoS 0 nothing is kept, and nobody may think so.
        let (code, _, errors) = agent("pub", &config, &["-t", "up/b", "-m", "x"]);
        assert_eq!(code, 75, "{errors}");
        assert!(errors.contains("in its memory alone"), "{errors}");
        drop(running);
        // Without it, and without a broker, nothing is done.
        let (code, _, errors) = agent("pub", &config, &words);
        assert_eq!(code, 69, "{errors}");
    });
}
