//! No secret is ever shown: not by what the configuration says of itself, and not by the program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use agent::config::{Effective, Level, Source};

use crate::layers::{load, source};
use crate::temp_dir::TempDir;

/// What every secret of these tests has in it, in each way to write it.
const SECRET: &str = "hunter";

/// The base64 of `hunter5`, and of it as a part of `user:hunter5`.
const ENCODED: [&str; 2] = ["aHVudGVyNQ", "dXNlcjpodW50ZXI1"];

#[track_caller]
fn is_silent(text: &str) {
    assert!(!text.contains(SECRET), "{text}");
    for encoded in ENCODED {
        assert!(!text.contains(encoded), "{text}");
    }
    // As numbers, the way bytes are written for debugging.
    assert!(!text.contains("104, 117, 110, 116, 101, 114"), "{text}");
}

/// Everything that can be said of a configuration.
fn told_of(effective: &Effective) -> String {
    let mut told = format!("{effective:?}\n{:?}\n", effective.config());
    for effect in effective.settings() {
        told += &format!(
            "{} {:?} {} {effect:?}\n",
            effect.path(),
            effect.value(),
            effect.origin()
        );
    }
    for warning in effective.warnings() {
        told += &format!("{warning} {warning:?}\n");
    }
    told
}

/// Configurations with a secret in each of the places that one may come from.
fn with_secrets(root: &TempDir) -> Vec<Source> {
    root.write("pw", "hunter1\n");
    root.write("run/mqtt", "hunter2");
    root.write("other/cloud.password", "hunter3");
    let main = "[cloud]\nendpoint = \"mqtts://127.0.0.1:1\"\nuser = \"u\"\nproxy = \"http://user:hunter5@127.0.0.1:1\"\n";
    let provision = "[provision]\nmethod = \"https\"\nurl = \"https://p\"\n";
    let write = |name: &str, rest: &str| root.write(name, format!("{main}{rest}"));
    let files = [
        write("file.toml", "password_file = \"pw\"\n"),
        write("inline.toml", "password = \"hunter4\"\n"),
        write("variable.toml", "password_env = \"SOME_SECRET\"\n"),
        write("credential.toml", "credential = \"mqtt\"\n"),
        write("none.toml", ""),
        write("token.toml", &format!("{provision}token = \"hunter6\"\n")),
    ];
    let folder = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (run, other) = (folder("run"), folder("other"));
    let of =
        |file: &std::path::PathBuf, variables: &[(&str, &str)]| source(root, variables).file(file);
    vec![
        of(&files[0], &[]),
        of(&files[1], &[]),
        of(&files[2], &[("SOME_SECRET", "hunter7")]),
        of(&files[3], &[("CREDENTIALS_DIRECTORY", &run)]),
        of(&files[4], &[("AGENT_CLOUD__PASSWORD", "hunter8")]),
        of(&files[4], &[("CREDENTIALS_DIRECTORY", &other)]),
        of(&files[5], &[]),
        of(
            &files[4],
            &[("AGENT_CLOUD__PROXY", "http://user:hunter9@proxy:1")],
        ),
    ]
}

#[test]
fn what_a_configuration_says_of_itself_has_no_secret_in_it() {
    let root = TempDir::new();
    let mut before: Option<Effective> = None;
    for source in with_secrets(&root) {
        is_silent(&format!("{source:?}"));
        let effective = load(source).unwrap_or_else(|errors| panic!("{errors}"));
        is_silent(&told_of(&effective));
        if let Some(before) = &before {
            let changes = effective.changes(before);
            is_silent(&format!("{changes} {changes:?}"));
        }
        before = Some(effective);
    }
}

#[test]
fn what_is_told_of_faults_has_no_secret_in_it() {
    let cloud = "[cloud]\nendpoint = \"mqtts://h\"\nuser = \"u\"\n";
    let provision = "[provision]\nmethod = \"https\"\nurl = \"https://p\"\n";
    for text in [
        "[cloud]\nendpoint = \"mqtts://u:hunter2@h\"\n".to_owned(),
        "[cloud]\nendpoint = \"wss://h/mqtt?key=hunter2\"\nkeep_alive = 1\n".to_owned(),
        "[cloud]\nendpoint = \"mqtts://h:hunter2\"\npassword = \"hunter2\"\n[x]\n"
            .replace("h:hunter2", "u:hunter2@"),
        format!("{cloud}password = [\"hunter2\"]\n"),
        format!("{cloud}password = {{ a = \"hunter2\" }}\n"),
        format!("{cloud}pasword = \"hunter2\"\n"),
        format!("{cloud}pasword = {{ a = \"hunter2\" }}\n"),
        format!("{cloud}password = \"hunter2\"\npassword_env = \"hunter2\"\n"),
        format!("{cloud}password_env = \"hunter2\"\n"),
        format!("{cloud}credential = \"/hunter2\"\n"),
        format!("{cloud}proxy = \"hunter2\"\n"),
        format!("{cloud}proxy = \"socks5://u:hunter2@p\"\n"),
        format!("{cloud}proxy = [\"http://u:hunter2@p\"]\n"),
        format!("{cloud}password = \"hunter2\nuser = 1\n"),
        "cloud = { endpoint = 1, user = \"u\", password = \"hunter2\", keep_alive = 30 }\n"
            .to_owned(),
        "cloud = { endpoint = \"mqtt://h\", password = \"hunter2\" }\n".to_owned(),
        format!(
            "{provision}{}token = 1\n",
            cloud.replace("[cloud]", "token = \"hunter2\"\n[cloud]")
        ),
        format!(
            "{cloud}{}",
            provision.replace("https://p", "https://u:hunter2@p")
        ),
        format!(
            "{cloud}{}",
            provision.replace("\"https://p\"", "[\"https://u:hunter2@p\"]")
        ),
        format!("{cloud}{provision}token = \"hunter2\"\ntoken_env = \"hunter2\"\n"),
        format!("{cloud}{provision}token = \"hunter2\"\ntemplate = \"t\"\n"),
    ] {
        let root = TempDir::new();
        let file = root.write("agent.toml", &text);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        for level in [Level::Syntax, Level::Files] {
            let source = source(&root, &[]).file(&file);
            let checked = fiber::run(move || source.check(level)).unwrap();
            match checked {
                Ok(warnings) => is_silent(&format!("{warnings:?}")),
                Err(errors) => is_silent(&format!("{errors}\n{errors:?}")),
            }
        }
    }
    let variables = [
        [
            ("AGENT_CLOUD__PASSWORD", "hunter2"),
            ("AGENT_CLOUD__PASSWORD_ENV", "hunter2"),
        ],
        [
            ("AGENT_CLOUD__PASWORD", "hunter2"),
            ("AGENT_CLOUD__ENDPOINT", "mqtts://u:hunter2@h"),
        ],
        [
            ("AGENT_CLOUD__PROXY", "hunter2"),
            ("AGENT_PROVISION__TOKENS", "hunter2"),
        ],
        [
            ("AGENT_PASSWORD__CLOUD", "hunter2"),
            ("AGENT_COMMAND__NAME", "hunter2"),
        ],
    ];
    for variables in variables {
        let source = source(&TempDir::new(), &variables);
        let errors = load(source.set("cloud.password=hunter2").unwrap()).unwrap_err();
        is_silent(&format!("{errors}\n{errors:?}"));
    }
}

#[test]
fn what_the_program_prints_has_no_secret_in_it() {
    let root = TempDir::new();
    root.write("run/mqtt", "hunter2");
    let state = root.path().join("state");
    let main = format!(
        "[device]\nid = \"d\"\n[cloud]\nendpoint = \"mqtt://127.0.0.1:1\"\nuser = \"u\"\npassword = \"hunter4\"\n\
         proxy = \"http://user:hunter5@127.0.0.1:1\"\n[state]\ndir = \"{}\"\n",
        state.display()
    );
    let good = root.write("agent.toml", &main);
    let faulty = root.write("faulty.toml", format!("{main}[clout]\nkey = \"hunter6\"\n"));
    for file in [good, faulty] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent"));
        command
            .env_clear()
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full");
        command
            .args(["run", "--debug", "--for", "1s", "--config"])
            .arg(file);
        let output = command.output().unwrap();
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(!printed[1].is_empty());
        is_silent(&printed.concat());
    }
}
