//! The program `agent doctor`.

use std::process::{Command, Output};

use crate::support::Folder;

fn doctor(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
    command.env_clear().arg("doctor").args(words);
    command.output().expect("the program runs")
}

fn text(output: &Output) -> (String, Option<i32>) {
    let out = String::from_utf8(output.stdout.clone()).expect("text");
    (out, output.status.code())
}

#[test]
fn the_checks_are_listed() {
    let (out, code) = text(&doctor(&["--list"]));
    assert_eq!(code, Some(0));
    assert_eq!(out.lines().count(), agent::doctor::CHECKS.len());
    assert!(out.starts_with("config "), "{out}");
}

#[test]
fn a_faulty_configuration_is_told_with_its_place_and_exit_code() {
    let folder = Folder::new();
    let config = folder.configure("mqtt://127.0.0.1:1", "keepalive = \"60s\"", "");
    let (out, code) = text(&doctor(&["--config", config.to_str().unwrap()]));
    assert_eq!(code, Some(78), "{out}");
    assert!(out.contains("agent.toml:7"), "{out}");
    assert!(out.contains("skip  tcp "), "{out}");
    assert!(
        out.lines()
            .last()
            .unwrap()
            .starts_with("The first thing to fix is config"),
        "{out}"
    );
}

#[test]
fn json_has_a_schema_and_the_secrets_of_the_configuration_are_nowhere() {
    let folder = Folder::new();
    folder.write("password", "correct horse");
    let cloud = "user = \"meter\"\npassword_file = \"password\"\n\
                 proxy = \"http://someone:hunter2@127.0.0.1:1\"";
    let config = folder.configure("mqtt://127.0.0.1:1", cloud, "");
    let output = doctor(&["--config", config.to_str().unwrap(), "--json", "--debug"]);
    let (out, code) = text(&output);
    assert_eq!(code, Some(69), "{out}");
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["schema"], 1);
    assert_eq!(value["first"]["id"], "proxy");
    assert_eq!(value["checks"][0]["id"], "config");
    let all = out + &String::from_utf8_lossy(&output.stderr);
    for secret in ["correct horse", "hunter2"] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[test]
fn some_checks_alone_are_made_with_what_they_need() {
    let folder = Folder::new();
    let config = folder.configure("mqtt://127.0.0.1:1", "", "");
    let config = config.to_str().unwrap();
    let (out, code) = text(&doctor(&["--config", config, "--only", "tcp", "--json"]));
    assert_eq!(code, Some(69));
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let ids: Vec<&str> = value["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["config", "dns", "tcp"]);
    let (out, code) = text(&doctor(&[
        "--config", config, "--skip", "tcp,tls", "--only", "config",
    ]));
    assert_eq!(code, Some(0), "{out}");
    let output = doctor(&["--config", config, "--only", "tsl"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tls-client"));
}
