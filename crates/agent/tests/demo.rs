//! `agent demo` with its device as a process of its own, which is killed and started again.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "these are tests")]
#![cfg(feature = "demo")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs it with a folder for temporary files of its own, which must be empty afterwards.
fn demo(words: &[&str], input: &str) -> (Output, String) {
    let name = format!("demo-{}-{}", std::process::id(), words.len());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut running = Command::new(env!("CARGO_BIN_EXE_agent"))
        .arg("demo")
        .args(words)
        .env("TMPDIR", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = running.stdin.take().unwrap();
    keys.write_all(input.as_bytes()).unwrap();
    drop(keys);
    let output = running.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let left = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(left, 0, "something is left behind:\n{printed}");
    std::fs::remove_dir(&folder).unwrap();
    (output, printed)
}

/// Runs it with the keyboard and gives it these signals, one after the other, once the device is
/// connected; returns its exit code and what it printed.
fn signalled(signals: &[&str]) -> (Option<i32>, String) {
    let name = format!("demo-{}-{}", std::process::id(), signals.join("-"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut running = Command::new(env!("CARGO_BIN_EXE_agent"))
        .args(["demo", "--interactive"])
        .env("TMPDIR", &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    let mut output = BufReader::new(running.stdout.take().unwrap());
    while !printed.contains("connected, session new") {
        assert!(output.read_line(&mut printed).unwrap() > 0, "{printed}");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    for signal in signals {
        let kill = format!("kill -{signal} {}", running.id());
        let killed = Command::new("/bin/sh").args(["-c", &kill]).status();
        assert!(killed.unwrap().success());
        // Its device, which has a process group of its own, goes on unless it is told.
        if signals.len() == 1 {
            while !printed.contains("that is enough") {
                assert!(output.read_line(&mut printed).unwrap() > 0, "{printed}");
            }
        }
    }
    output.read_to_string(&mut printed).unwrap();
    let code = running.wait().unwrap().code();
    let left = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(left, 0, "keys are left behind:\n{printed}");
    std::fs::remove_dir(&folder).unwrap();
    (code, printed)
}

#[test]
fn a_signal_is_enough_and_nothing_stays() {
    for signal in ["INT", "TERM"] {
        let (code, printed) = signalled(&[signal]);
        assert_eq!(code, Some(0), "{printed}");
        assert_eq!(row(&printed, "lost"), 0, "{printed}");
        assert!(
            printed.contains("nothing was shown: nothing was done"),
            "{printed}"
        );
    }
}

#[test]
fn a_second_signal_does_not_wait_and_nothing_stays() {
    let (code, printed) = signalled(&["TERM", "INT"]);
    assert!(matches!(code, Some(130 | 143)), "{code:?}: {printed}");
    assert!(!printed.contains("received by the cloud"), "{printed}");
}

/// The number of a row of the closing table.
#[track_caller]
fn row(printed: &str, name: &str) -> u64 {
    let line = printed.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no row {name}:\n{printed}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_device_that_is_killed_goes_on_with_what_is_on_its_disk_and_loses_nothing() {
    let words = ["--seed", "7", "--fault", "power-cut", "--fault=power-cut"];
    let (output, printed) = demo(&words, "");
    assert_eq!(output.status.code(), Some(0), "{printed}{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(row(&printed, "lost"), 0, "{printed}");
    assert_eq!(row(&printed, "doubled, not"), 0, "{printed}");
    assert_eq!(row(&printed, "received, never"), 0, "{printed}");
    assert_eq!(row(&printed, "power cuts"), 2, "{printed}");
    assert_eq!(row(&printed, "device processes"), 3, "{printed}");
    // The identity outlives the processes.
    assert_eq!(row(&printed, "device certificates"), 1, "{printed}");
    assert_eq!(printed.matches("identity proven").count(), 1, "{printed}");
    assert_eq!(printed.matches("has its identity").count(), 2, "{printed}");
    assert!(row(&printed, "in flight at a fault") >= 5, "{printed}");
    assert_eq!(
        row(&printed, "published "),
        row(&printed, "received by the cloud"),
        "{printed}"
    );
    for text in [
        "killed with",
        "messages in its queue on the disk",
        "session kept",
    ] {
        assert!(printed.contains(text), "no {text:?}:\n{printed}");
    }
    for line in printed.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_keyboard_says_what_happens() {
    let (output, printed) = demo(&["--interactive"], "m\np\nx\nc\nq\n");
    assert_eq!(output.status.code(), Some(0), "{printed}{output:?}");
    assert_eq!(row(&printed, "power cuts"), 1, "{printed}");
    assert_eq!(row(&printed, "links cut"), 1, "{printed}");
    assert_eq!(row(&printed, "lost"), 0, "{printed}");
    // Shown at the beginning, and for the button that there is not.
    assert_eq!(printed.matches("Press a letter").count(), 2, "{printed}");
}
