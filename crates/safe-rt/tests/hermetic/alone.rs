//! What belongs to the whole process: its environment, and its log.

use std::ffi::OsStr;
use std::process::Command;

use crate::support::logged;

/// Set in a process that runs one test alone.
const ALONE: &str = "SAFE_RT_TEST_ALONE";

/// Whether this process runs one test alone.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs the test with this whole name in a process of its own, with these variables in its
/// environment: there [`is_alone`] holds.
#[track_caller]
pub(crate) fn run_alone(test: &str, variables: &[(&str, &OsStr)]) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--test-threads=1", test])
        .envs(variables.iter().copied())
        .env(ALONE, "1")
        .output()
        .expect("this program once more");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{out}{err}"
    );
}

/// Returns the warnings and errors that are logged on this thread while `body` runs.
pub(crate) fn warnings(body: impl FnOnce()) -> Vec<String> {
    let ((), mut lines) = logged(body);
    lines.retain(|line| !line.starts_with("INFO "));
    lines
}
