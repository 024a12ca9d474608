//! The program as people and scripts meet it before there is any network: help, codes, the manual
//! page, completions, exit codes.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use agent::args::Tool;

fn agent(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

/// What a success printed.
#[track_caller]
fn printed(args: &[&str]) -> String {
    let output = agent(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn fails(args: &[&str], code: i32, text: &str) {
    let output = agent(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    assert!(errors.contains(text), "{args:?}: {errors}");
    assert!(output.stdout.is_empty(), "{args:?}");
}

#[test]
fn every_command_has_a_help_and_is_named_in_that_of_all() {
    let all = printed(&["--help"]);
    for tool in Tool::ALL {
        let word = tool.about().words[0];
        assert!(all.contains(&format!("agent {word} ")), "{word}");
        let help = printed(&[word, "--help"]);
        assert!(help.starts_with(&format!("Usage: agent {word}")), "{help}");
        assert!(help.contains("\nExit codes:\n"), "{help}");
    }
}

#[test]
fn what_is_wrong_with_the_words_is_64_for_every_command() {
    fails(&[], 64, "no command given: expected run, pub, sub,");
    fails(&["walk"], 64, "unknown command \"walk\"");
    for tool in Tool::ALL {
        let word = tool.about().words[0];
        let help = format!("Use 'agent {word} --help'");
        fails(&[word, "--no-such-option"], 64, &help);
    }
    fails(
        &["sub", "-t", "a", "-x", "5"],
        64,
        "MQTT 5 is not spoken yet",
    );
    fails(
        &["pub", "-t", "a", "-m", "x", "-n"],
        64,
        "-m and -n are given",
    );
}

#[test]
fn codes_are_explained_one_by_one_and_all_at_once() {
    let text = printed(&["explain", "t090", "C009"]);
    assert!(text.starts_with("T090: the broker closed"), "{text}");
    assert!(
        text.contains("\n\nC009: a length of time has no unit"),
        "{text}"
    );
    let all = printed(&["explain"]);
    for entry in agent::explain::all() {
        let line = all.lines().find(|line| {
            let told = line.trim_start().split_once(' ');
            told.is_some_and(|(code, title)| code == entry.code && title.trim() == entry.title)
        });
        assert!(line.is_some(), "{}", entry.code);
    }
    assert!(printed(&["explain", "--markdown"]).starts_with("## Configuration\n\n### C001: "));
    fails(&["explain", "T999"], 65, "agent explain lists all");
}

#[test]
fn nothing_is_connected_to_where_a_file_is_missing() {
    let missing = ["-t", "a", "-h", "192.0.2.1"];
    let with = |more: &[&'static str]| [&["pub"], &missing[..], more].concat();
    fails(&with(&["-f", "/nonexistent/x"]), 66, "/nonexistent/x");
    fails(
        &with(&["-n", "--cafile", "/nonexistent/x"]),
        66,
        "/nonexistent/x",
    );
    fails(
        &with(&["-n", "-u", "a", "--pw-file", "/nonexistent/x"]),
        66,
        "/nonexistent/x",
    );
    fails(
        &with(&["-n", "-u", "a", "--pw-env", "AGENT_NOT_SET"]),
        66,
        "AGENT_NOT_SET",
    );
    // What is there and no certificate.
    let program = env!("CARGO_BIN_EXE_agent");
    fails(
        &[&with(&["-n", "--cafile"])[..], &[program]].concat(),
        65,
        "cannot set up TLS",
    );
    // An empty message would remove what the broker keeps, and whoever was to write it may have failed.
    fails(&with(&["-r", "-s"]), 65, "the standard input is empty");
    let request = ["request", "-t", "a", "-e", "b", "-h", "192.0.2.1", "-s"];
    fails(&request, 65, "published with -n");
    let quiet = agent(&with(&["-f", "/nonexistent/x", "--quiet"]));
    assert_eq!(quiet.status.code(), Some(66));
    assert!(quiet.stderr.is_empty());
}

/// The shell's words, in which `"$@"` is the program.
fn in_shell(script: &str, args: &[&str]) -> Output {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_agent")])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

/// Commands that print something to the standard output without a network, and end with 0.
const PRINTING: [&[&str]; 14] = [
    &["--help"],
    &["--version"],
    &["sub", "--help"],
    &["init"],
    &["config", "list"],
    &["config", "list", "--doc"],
    &["config", "list", "--markdown"],
    &["explain"],
    &["explain", "T021", "C009"],
    &["explain", "--markdown"],
    &["completions", "bash"],
    &["completions", "fish"],
    &["man"],
    &["doctor", "--list"],
];

#[test]
fn what_could_not_be_printed_is_74() {
    for args in PRINTING {
        let output = in_shell("exec \"$@\" >/dev/full", args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{args:?}: {errors}");
        assert!(
            errors.starts_with("Error: cannot write to the standard output: "),
            "{args:?}: {errors}"
        );
    }
    // What the doctor found is worth less than that nobody was told.
    let doctor = ["doctor", "--config", "/nonexistent/x", "--json"];
    let output = in_shell("exec \"$@\" >/dev/full", &doctor);
    assert_eq!(output.status.code(), Some(74));
}

#[test]
fn a_reader_that_has_enough_is_no_fault_and_nothing_is_said() {
    for args in PRINTING {
        // Long enough for the reader to be gone.
        let script = "{ sleep 0.1; \"$@\"; echo \"code $?\" >&2; } | true";
        let output = in_shell(script, args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors, "code 0\n", "{args:?}");
    }
}

/// Gives a text to a program, and returns what it says; `None` if there is no such program.
fn given_to(program: &str, args: &[&str], text: &str) -> Option<Output> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    // It reads all of it before it says much.
    child.stdin.take()?.write_all(text.as_bytes()).ok()?;
    child.wait_with_output().ok()
}

#[test]
fn the_manual_page_has_no_fault_that_its_formatters_know() {
    let page = printed(&["man"]);
    assert!(page.starts_with(".TH AGENT 1 "), "{page}");
    for (program, args) in [
        ("man", &["-l", "--warnings", "-"][..]),
        ("groff", &["-man", "-Tutf8", "-ww", "-z"]),
        ("mandoc", &["-Tlint", "-Wwarning"]),
    ] {
        let Some(output) = given_to(program, args, &page) else {
            continue;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{program}");
    }
}

#[test]
fn every_shell_that_is_there_takes_its_completions() {
    for (shell, args) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
    ] {
        let script = printed(&["completions", shell]);
        let Some(output) = given_to(shell, args, &script) else {
            continue;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{shell}");
    }
    fails(&["completions", "csh"], 64, "expected bash, zsh or fish");
    fails(&["completions"], 64, "no shell given");
}

/// What bash offers after these words, the last of which is being written.
fn offered(words: &[&str]) -> Option<Vec<String>> {
    let mut script = printed(&["completions", "bash"]);
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    script += &format!(
        "COMP_WORDS=(agent {}); COMP_CWORD={}; _agent; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        quoted.join(" "),
        words.len()
    );
    let output = given_to("bash", &["--norc"], &script)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "", "{words:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn bash_offers_commands_options_and_values() {
    let Some(commands) = offered(&["su"]) else {
        return;
    };
    assert_eq!(commands, ["sub", "subscribe"]);
    let check = |words: &[&str], expected: &[&str]| {
        assert_eq!(offered(words).unwrap(), expected, "{words:?}");
    };
    check(
        &["sub", "-t", "a", "--will-"],
        &[
            "--will-topic",
            "--will-payload",
            "--will-qos",
            "--will-retain",
        ],
    );
    check(&["subscribe", "-q", ""], &["0", "1", "2"]);
    check(&["pub", "--tls-version", "tlsv1.3"], &["tlsv1.3"]);
    check(&["explain", "T02"], &["T020", "T021"]);
    check(&["completions", "z"], &["zsh"]);
    // A value that can be anything, and a command that is none.
    check(&["pub", "-t", ""], &[""]);
    check(&["walk", "-"], &[""]);
    let all = offered(&["pub", "-"]).unwrap();
    let own: Vec<&str> = Tool::Pub
        .sections()
        .flat_map(|(_, rows)| rows)
        .flat_map(|row| row.names)
        .copied()
        .collect();
    assert_eq!(all, own);
    // Files of a folder that this test knows.
    let manifest = format!("{}/Cargo.to", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(
        offered(&["pub", "-f", &manifest]).unwrap(),
        [format!("{manifest}ml")]
    );
}
