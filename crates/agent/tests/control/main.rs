//! A running agent, asked by the tools of the same program; and what its service manager is told.

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

mod asking;
mod endings;
mod manager;
mod socket;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Running, configured};
use crate::temp_dir::TempDir;

/// Nobody listens there.
const NOWHERE: &str = "mqtt://127.0.0.1:1";

/// `agent` with these words.
fn agent(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.args(words).env_remove("NOTIFY_SOCKET");
    command
}

/// `agent run` for the device `meter-17`, with its state in the folder.
fn agent_run(folder: &TempDir, endpoint: &str, rest: &str) -> Command {
    let mut command = agent(&["run", "--config"]);
    command.arg(configured(folder.path(), "meter-17", endpoint, rest));
    command
}

/// Asks the agent whose state is in the folder; returns exit code, output and errors.
fn ask(folder: &Path, words: &[&str]) -> (i32, String, String) {
    ask_into(folder, "", words)
}

/// As [`ask`], with the output where these words of the shell say; the code is that of the program.
fn ask_into(folder: &Path, output: &str, words: &[&str]) -> (i32, String, String) {
    // A program that is at the start of a pipe tells its code by a file.
    let code = folder.join("code");
    let script =
        format!("{{ sleep 0.1; \"$@\"; echo $? >\"$CODE\"; }} {output}; exit $(cat \"$CODE\")");
    let mut command = match output {
        "" => agent(words),
        _ => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_agent")]);
            shell.args(words).env("CODE", code);
            shell
        }
    };
    command.arg("--state-dir").arg(folder.join("state"));
    fiber::offload(move || {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    })
    .unwrap()
}

/// As [`ask`], for a question that is answered.
#[track_caller]
fn answer(folder: &Path, words: &[&str]) -> String {
    let (code, output, errors) = ask(folder, words);
    assert_eq!((code, errors.as_str()), (0, ""), "{words:?}");
    output
}

/// Starts an agent, and waits until it can be asked.
#[track_caller]
fn start(folder: &TempDir, endpoint: &str, rest: &str) -> Running {
    let running = Running::start(agent_run(folder, endpoint, rest));
    while ask(folder.path(), &["status"]).0 != 0 {
        fiber::sleep(Duration::from_millis(20)).unwrap();
    }
    running
}
