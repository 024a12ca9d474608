//! Running a test in a process of its own: for what ends the process, or counts its memory.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

/// Says to a process of the test binary that it is such a child.
const CHILD: &str = "FIBER_TEST_CHILD";

/// What a child says when it came to its end: a name that is no test's runs nothing.
const DONE: &str = "the child is done";

/// Runs `body` in a child: this very test, found by its name. The child's output comes back.
///
/// `test` is its whole name within the crate; `environment` is added to that of this process.
#[track_caller]
pub(crate) fn in_child(test: &str, environment: &[(&str, &str)], body: impl FnOnce()) -> Output {
    if std::env::var_os(CHILD).is_some() {
        body();
        std::io::stdout().write_all(DONE.as_bytes()).unwrap();
        std::process::exit(0);
    }
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// As [`in_child`] for a body that comes to its end.
#[track_caller]
pub(crate) fn passes_in_child(test: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    let output = in_child(test, environment, body);
    let done = output
        .stdout
        .windows(DONE.len())
        .any(|part| part == DONE.as_bytes());
    assert!(done && output.status.success(), "{}", text(&output));
}

/// As [`in_child`] for a body that dies of touching memory it must not. Returns what it said.
#[track_caller]
pub(crate) fn dies_in_child(
    test: &str,
    environment: &[(&str, &str)],
    body: impl FnOnce(),
) -> String {
    let output = in_child(test, environment, body);
    let signal = output.status.signal();
    assert!(
        matches!(signal, Some(libc::SIGSEGV | libc::SIGBUS)),
        "{}",
        text(&output)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
