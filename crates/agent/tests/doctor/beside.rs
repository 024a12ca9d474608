//! The doctor beside a running agent, which it asks and leaves alone.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use agent::control::Control;
use mqtt::BrokerOptions;
use serde_json::Value;

use crate::support::{Folder, run, serve};

/// The agent, killed when the value is dropped.
struct Agent(Child);

impl Agent {
    /// Starts it, and waits until its connection is in that state.
    fn start(folder: &Folder, config: &Path, proxy: &str, state: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command.args(["run", "--config"]).arg(config).env_clear();
        command
            .env("AGENT_CLOUD__PROXY", proxy)
            .stderr(Stdio::null());
        let agent = Self(command.spawn().expect("the program runs"));
        let socket = folder.path().join("state/control.sock");
        let ask = || {
            let mut control = Control::connect(&socket).ok()?;
            let answer = control.ask(&agent::control::Request::Status).ok()?;
            answer["status"]["link"]["state"]
                .as_str()
                .map(str::to_owned)
        };
        let wait = || {
            while ask().as_deref() != Some(state) {
                fiber::sleep(Duration::from_millis(20))?;
            }
            Ok::<_, fiber::Stopped>(())
        };
        let waited = fiber::timeout(Duration::from_secs(20), wait);
        assert!(matches!(waited, Ok(Ok(()))), "the agent is not {state}");
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn doctor(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command
        .env_clear()
        .args(["doctor", "--skip", "state-dir", "--config"]);
    command.arg(config).args(words);
    command
}

/// What the doctor says, and its exit code.
fn examine(config: &Path, words: &[&str]) -> (Option<i32>, Value) {
    let mut command = doctor(config, words);
    command.arg("--json");
    let output = fiber::offload(move || command.output().expect("the program runs"));
    let output = output.expect("a thread");
    let value = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), value)
}

#[track_caller]
fn found<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    let found = checks.iter().find(|check| check["id"] == id);
    found.unwrap_or_else(|| panic!("{id} in {report}"))
}

#[test]
fn an_agent_that_is_connected_says_so_and_stays() {
    run(|| {
        let seen = Rc::new(RefCell::new(0));
        let count = Rc::clone(&seen);
        let options = BrokerOptions::new().authenticate(move |_| {
            *count.borrow_mut() += 1;
            Ok(())
        });
        let (broker, endpoint) = serve(options);
        let folder = Folder::new();
        let config = folder.configure(&endpoint, "", "");
        let _agent = Agent::start(&folder, &config, "none", "online");
        let (code, report) = examine(&config, &[]);
        assert_eq!(code, Some(0), "{report}");
        let daemon = found(&report, "daemon");
        assert_eq!(daemon["outcome"], "ok", "{daemon}");
        assert!(daemon["text"].as_str().unwrap().contains("it is online"));
        let connect = found(&report, "mqtt-connect");
        assert_eq!(connect["outcome"], "ok", "{connect}");
        assert_eq!(*seen.borrow(), 1, "the agent alone has connected");
        for id in ["rights-subscribe", "rights-publish", "ping"] {
            assert_eq!(found(&report, id)["because_of"], "daemon", "{report}");
        }
        let (_, report) = examine(&config, &["--takeover"]);
        let connect = found(&report, "mqtt-connect")["text"].as_str().unwrap();
        assert!(connect.starts_with("accepted"), "{connect}");
        assert!(*seen.borrow() > 1);
        broker.stop();
    });
}

#[test]
fn what_the_agent_sees_in_its_own_surroundings_is_told() {
    run(|| {
        let (broker, endpoint) = serve(BrokerOptions::new());
        let folder = Folder::new();
        // The environment of this shell says nothing of a proxy.
        let config = folder.configure(&endpoint, "", "");
        let _agent = Agent::start(&folder, &config, "http://127.0.0.1:1", "offline");
        let (code, report) = examine(&config, &[]);
        assert_eq!(code, Some(69), "{report}");
        assert_eq!(found(&report, "tcp")["outcome"], "ok");
        let daemon = found(&report, "daemon");
        assert_eq!(daemon["outcome"], "warn", "{daemon}");
        let told = daemon["evidence"].to_string();
        assert!(told.contains("its own check proxy: "), "{told}");
        assert!(told.contains("health offline: "), "{told}");
        let connect = found(&report, "mqtt-connect");
        assert_eq!(report["first"]["id"], "mqtt-connect", "{report}");
        assert!(connect["code"].is_string(), "{connect}");
        let told = connect["evidence"].to_string();
        assert!(told.contains("the agent's last attempt: "), "{told}");
        broker.stop();
    });
}

#[test]
fn an_examination_is_made_again_and_again() {
    run(|| {
        let folder = Folder::new();
        let config = folder.configure("mqtt://127.0.0.1:1", "", "");
        let mut command = doctor(&config, &["--only", "config", "--json", "--watch", "5s"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let lines = fiber::offload(move || {
            let lines = BufReader::new(output).lines().take(2);
            lines.map(Result::unwrap).collect::<Vec<_>>()
        });
        drop(child.kill());
        drop(child.wait());
        let lines = lines.unwrap();
        assert_eq!(lines.len(), 2);
        for line in lines {
            let report: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(found(&report, "config")["outcome"], "ok");
        }
    });
}
