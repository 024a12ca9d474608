//! `agent check-config`, `agent config` and `agent init`, as programs: what they print, and where, and
//! with which code they end.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output};

use agent::config::document;

use crate::permit;
use crate::temp_dir::TempDir;

/// Runs the agent with an environment of these variables alone.
fn agent(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .args(args);
    command.output().unwrap()
}

/// The same, below a folder.
fn agent_in(
    root: &TempDir,
    variables: &[(&str, &str)],
    words: &str,
) -> (Option<i32>, String, String) {
    let mut args: Vec<&str> = words.split_whitespace().collect();
    args.extend(["--root", root.path().to_str().unwrap()]);
    let output = agent(variables, &args);
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(&root.path().display().to_string(), "ROOT")
    };
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn configured() -> TempDir {
    let root = TempDir::new();
    let text =
        "[cloud]\nendpoint = \"mqtts://broker.example\"\nuser = \"u\"\npassword = \"hunter2\"\n";
    root.write("etc/agent/agent.toml", text);
    root.write("etc/agent/conf.d/site.toml", "[queue]\nmax_age = \"7d\"\n");
    root
}

#[test]
fn a_configuration_in_order_is_said_to_be_and_a_faulty_one_told_whole() {
    let root = configured();
    // Whoever runs this may not write to the folder that there is without.
    let state = root.path().join("state");
    let state = ("STATE_DIRECTORY", state.to_str().unwrap());
    let (code, printed, told) = agent_in(&root, &[state], "check-config");
    assert_eq!(
        (code, printed.as_str()),
        (Some(0), "the configuration is in order\n"),
        "{told}"
    );

    let warning = "warning[C044]: `password` in [cloud] stands in the configuration itself\n  --> ROOT/etc/agent/agent.toml:4:12\n";
    assert!(told.starts_with(warning), "{told}");
    let (code, printed, told) = agent_in(&root, &[state], "check-config --deny-warnings");
    assert_eq!((code, printed.as_str()), (Some(78), ""), "{told}");
    assert!(
        told.ends_with("Error: 1 warnings about the configuration\n"),
        "{told}"
    );

    root.write("etc/agent/conf.d/site.toml", "[queue]\nmax_age = 7\n");
    let (code, printed, told) = agent_in(&root, &[("AGENT_CLOUD__USR", "u")], "check-config");
    assert_eq!((code, printed.as_str()), (Some(78), ""), "{told}");
    let expected = "\
error[C009]: `max_age` in [queue] has no unit
  --> ROOT/etc/agent/conf.d/site.toml:2:11
    |
  2 | max_age = 7
    |           ^
   = expected: a whole number and its unit, one of ms, s, m, h and d, or \"unlimited\"
   = found: 7
   = help: write max_age = \"7s\" for seconds, or \"7m\" for minutes

error[C005]: there is no key `usr` in [cloud]
  --> environment AGENT_CLOUD__USR
";
    assert!(told.starts_with(expected), "{told}");
    assert!(
        told.ends_with("\n   = help: did you mean `user`?\n\n2 errors, nothing was started\n"),
        "{told}"
    );
}

#[test]
fn the_code_tells_what_kind_of_fault_there_is() {
    let root = configured();
    let main = root.path().join("etc/agent/agent.toml");
    let missing = "check-config -c /nonexistent/agent.toml";
    assert_eq!(agent_in(&root, &[], missing).0, Some(66));
    permit(&main, 0o644);
    let (code, _, told) = agent_in(&root, &[], "check-config");
    assert_eq!(code, Some(77), "{told}");
    assert!(
        told.contains("error[C023]") && !told.contains("hunter2"),
        "{told}"
    );
    // What can be told without the files is in order.
    assert_eq!(
        agent_in(&root, &[], "check-config --level syntax").0,
        Some(0)
    );
    permit(&main, 0o600);
    for words in [
        "check-config --level all",
        "config",
        "config get",
        "config get cloud.usr",
        "init x",
    ] {
        let (code, printed, told) = agent_in(&root, &[], words);
        assert_eq!((code, printed.as_str()), (Some(64), ""), "{words}: {told}");
    }
}

#[test]
fn what_holds_is_shown_with_its_origin_and_without_secrets() {
    let root = configured();
    let variables = [("AGENT_CLOUD__KEEP_ALIVE", "30s")];
    let words = "config show --origin --set log.filter=debug";
    let (code, printed, told) = agent_in(&root, &variables, words);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    for line in [
        "cloud.endpoint = \"mqtts://broker.example:8883\"  # ROOT/etc/agent/agent.toml:2:12",
        "cloud.password = \"***\"  # ROOT/etc/agent/agent.toml:4:12",
        "cloud.keep_alive = \"30s\"  # environment AGENT_CLOUD__KEEP_ALIVE",
        "cloud.session = \"kept\"  # default",
        "queue.max_age = \"7d\"  # ROOT/etc/agent/conf.d/site.toml:2:11",
        "log.filter = \"debug\"  # option --set log.filter",
    ] {
        assert!(
            printed.lines().any(|found| found == line),
            "{line}\n{printed}"
        );
    }
    let (_, plain, _) = agent_in(&root, &variables, "config show");
    assert!(
        plain
            .lines()
            .any(|line| line == "cloud.keep_alive = \"30s\""),
        "{plain}"
    );
    assert!(!plain.contains("cloud.alpn"), "{plain}");

    let (code, json, _) = agent_in(&root, &variables, "config show --json");
    assert_eq!(code, Some(0));
    assert!(
        json.starts_with("{\"schema\":1,\"settings\":[{\"key\":\"device.id\",\"value\":null,"),
        "{json}"
    );
    let keep_alive = "{\"key\":\"cloud.keep_alive\",\"value\":\"30s\",\
                      \"origin\":\"environment AGENT_CLOUD__KEEP_ALIVE\",\"applies\":";
    assert!(json.contains(keep_alive), "{json}");
    assert!(
        json.contains("\"key\":\"queue.max_messages\",\"value\":100000,"),
        "{json}"
    );
    for printed in [printed, plain, json] {
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[test]
fn one_value_is_printed_as_it_is() {
    let root = configured();
    let more = "[[command]]\nname = \"reboot\"\nprogram = \"/bin/true\"\nargs = [\"a\", \"b\"]\n[commands]\ntopic = \"c\"\n";
    root.write("etc/agent/conf.d/more.toml", more);
    for (path, value) in [
        ("cloud.endpoint", "mqtts://broker.example:8883"),
        ("cloud.password", "***"),
        ("queue.max_messages", "100000"),
        ("state.dir", "/var/lib/agent"),
        ("command.reboot.program", "/bin/true"),
        ("command.reboot.args", "[\"a\", \"b\"]"),
        ("command.reboot.timeout", "1m"),
    ] {
        let (code, printed, told) = agent_in(&root, &[], &format!("config get {path}"));
        assert_eq!(
            (code, printed),
            (Some(0), format!("{value}\n")),
            "{path}: {told}"
        );
    }
    let (code, printed, told) = agent_in(&root, &[], "config get cloud.alpn");
    assert_eq!((code, printed.as_str()), (Some(69), ""));
    assert!(
        told.contains("cloud.alpn is not set, and has no default"),
        "{told}"
    );
    let (_, _, told) = agent_in(&root, &[], "config get clout.keepalive");
    assert!(told.contains("did you mean cloud.keep_alive?"), "{told}");
}

#[test]
fn keys_are_listed_and_described_without_any_configuration() {
    let none = TempDir::new();
    let (code, printed, _) = agent_in(&none, &[], "config list metrics");
    assert_eq!(
        (code, printed.as_str()),
        (Some(0), "metrics.topic\nmetrics.interval\n")
    );
    let (_, printed, _) = agent_in(&none, &[], "config list --doc metrics");
    assert!(
        printed.contains("metrics.interval\n  How often.\n  Value:    1s to 7d\n"),
        "{printed}"
    );
    let (_, printed, _) = agent_in(&none, &[], "config list --markdown");
    assert_eq!(printed, document::reference());
    let (code, _, told) = agent_in(&none, &[], "config list metric");
    assert_eq!(code, Some(64));
    assert!(told.contains("did you mean metrics?"), "{told}");
}

#[test]
fn a_new_configuration_is_printed_and_in_order() {
    let output = agent(&[], &["init"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, document::example().as_bytes());
    let root = TempDir::new();
    root.write("etc/agent/agent.toml", output.stdout);
    let state = root.path().join("state");
    let variables = [("STATE_DIRECTORY", state.to_str().unwrap())];
    assert_eq!(
        agent_in(&root, &variables, "check-config --deny-warnings").0,
        Some(0)
    );
}

/// Every file below a folder, with when it was changed.
fn files(folder: &std::path::Path) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        found.push((entry.path(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn none_of_them_writes_anything() {
    let root = configured();
    let state = root.path().join("state");
    let variables = [("STATE_DIRECTORY", state.to_str().unwrap())];
    let before = files(root.path());
    for words in [
        "check-config",
        "config show",
        "config get state.dir",
        "config list",
    ] {
        assert_eq!(agent_in(&root, &variables, words).0, Some(0), "{words}");
    }
    assert_eq!(files(root.path()), before);
    assert!(
        before
            .iter()
            .all(|(path, _)| path.file_name() != Some(OsStr::new("state")))
    );
}
