//! What `check-config` finds beyond what a start needs.

use std::fmt::Write as _;

use agent::config::{CONFIG_BYTES_MAX, CONFIG_FAULTS_MAX, CONFIG_TABLES_MAX, Level, Source};
use rcgen::{CertificateParams, KeyPair};

use crate::layers::{load, setting, source};
use crate::permit;
use crate::temp_dir::TempDir;

const AWS: &str = "[cloud]\nendpoint = \"mqtts://x.iot.eu-west-1.amazonaws.com\"\n";

/// Checks everything; returns the codes of the faults, and of the warnings, each with its place.
fn checked(source: Source) -> (Vec<String>, Vec<String>) {
    fiber::run(move || {
        let told = |problem: &agent::config::Problem| {
            let line = problem.place().map_or(0, |place| place.line);
            format!("{} {line}", problem.error.code())
        };
        match source.check(Level::Files) {
            Ok(warnings) => (Vec::new(), warnings.iter().map(told).collect()),
            Err(errors) => (errors.problems().iter().map(told).collect(), Vec::new()),
        }
    })
    .unwrap()
}

/// The same of a text, with the state in a folder that can be written.
fn check(root: &TempDir, text: &str) -> (Vec<String>, Vec<String>) {
    let file = root.write("agent.toml", text);
    let state = root.path().join("state");
    let variables = [("STATE_DIRECTORY", state.to_str().unwrap())];
    checked(source(root, &variables).file(file))
}

#[track_caller]
fn finds(root: &TempDir, text: &str, faults: &[&str], warnings: &[&str]) {
    let found = check(root, text);
    let of = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(found, (of(faults), of(warnings)), "{text}");
}

/// Writes a certificate that is valid in these years, and its key.
fn certificate(root: &TempDir, from: i32, until: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["meter-17".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    root.write("device.pem", params.self_signed(&key).unwrap().pem());
    root.write("device.key", key.serialize_pem());
    permit(&root.path().join("device.key"), 0o600);
}

#[test]
fn a_certificate_that_has_ended_is_a_fault_and_one_that_ends_soon_a_warning() {
    let root = TempDir::new();
    let text =
        "[cloud]\nendpoint = \"mqtts://h\"\ncertificate = \"device.pem\"\nkey = \"device.key\"\n";
    certificate(&root, 2020, 4000);
    finds(&root, text, &[], &[]);
    certificate(&root, 2019, 2020);
    finds(&root, text, &["C047 3"], &[]);
    // A third of its life is left, and less than a month.
    let now = fiber::run(fiber::wall_time).unwrap();
    let days = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let date = |days: u64| {
        let start = rcgen::date_time_ymd(1970, 1, 1);
        start + std::time::Duration::from_secs(days * 86_400)
    };
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["meter-17".to_owned()]).unwrap();
    for (before, after, warnings) in [(60, 8, &["C048 3"][..]), (4, 8, &[]), (300, 40, &[])] {
        params.not_before = date(days - before);
        params.not_after = date(days + after);
        root.write("device.pem", params.self_signed(&key).unwrap().pem());
        root.write("device.key", key.serialize_pem());
        finds(&root, text, &[], warnings);
    }
}

#[test]
fn files_with_secrets_that_others_may_read_are_faults() {
    let root = TempDir::new();
    certificate(&root, 2020, 4000);
    root.write("password", "hunter2");
    root.write("token", "hunter3");
    let text = "[cloud]\nendpoint = \"mqtts://h\"\ncertificate = \"device.pem\"\nkey = \"device.key\"\n\
                user = \"u\"\npassword_file = \"password\"\n[provision]\nmethod = \"https\"\n\
                url = \"https://p\"\ntoken_file = \"token\"\n";
    for name in ["password", "token"] {
        permit(&root.path().join(name), 0o600);
    }
    finds(&root, text, &[], &[]);
    for (name, fault) in [
        ("device.key", "C049 4"),
        ("password", "C049 6"),
        ("token", "C049 10"),
    ] {
        let path = root.path().join(name);
        for (mode, faults) in [(0o640, &[][..]), (0o644, &[fault]), (0o602, &[fault])] {
            permit(&path, mode);
            finds(&root, text, faults, &[]);
        }
        permit(&path, 0o600);
    }
    // Also a password in the address of a proxy.
    let text = "[cloud]\nendpoint = \"mqtts://h\"\nproxy = \"http://u:hunter2@p:1\"\n";
    finds(&root, text, &[], &[]);
    let file = root.path().join("agent.toml");
    permit(&file, 0o644);
    assert_eq!(checked(source(&root, &[]).file(file)).0, ["C023 3"]);
}

#[test]
fn an_empty_secret_and_a_token_that_is_gone_are_warnings() {
    let root = TempDir::new();
    permit(&root.write("empty", "\n"), 0o600);
    let cloud = "[cloud]\nendpoint = \"mqtts://h\"\nuser = \"u\"\n";
    finds(
        &root,
        &format!("{cloud}password_file = \"empty\"\n"),
        &[],
        &["C054 4"],
    );
    finds(
        &root,
        &format!("{cloud}password_file = \"gone\"\n"),
        &["C028 4"],
        &[],
    );
    let provision = format!("{cloud}[provision]\nmethod = \"https\"\nurl = \"https://p\"\n");
    for (token, code) in [
        ("token_file = \"gone\"", "C028 7"),
        ("token_file = \"empty\"", "C054 7"),
        ("token_env = \"GONE\"", "C024 7"),
        ("credential = \"gone\"", "C035 7"),
    ] {
        let text = format!("{provision}{token}\n");
        finds(&root, &text, &[], &[code]);
        // A device that has its identity starts.
        let file = root.path().join("agent.toml");
        let loaded =
            load(source(&root, &[]).file(file)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings().len(), 1);
    }
}

#[test]
fn what_provisioning_needs_is_looked_at() {
    let root = TempDir::new();
    certificate(&root, 2019, 2020);
    let aws = "[cloud]\nendpoint = \"mqtts://h\"\n[provision]\nmethod = \"aws\"\ntemplate = \"t\"\n\
               claim_certificate = \"device.pem\"\nclaim_key = \"device.key\"\n";
    // It may have been used already.
    finds(&root, aws, &[], &["C047 6"]);
    permit(
        &root.write("device.key", KeyPair::generate().unwrap().serialize_pem()),
        0o600,
    );
    finds(&root, aws, &["C029 7"], &[]);
    finds(
        &root,
        &aws.replace("device.key", "gone.key"),
        &[],
        &["C028 7"],
    );
    let https = "[cloud]\nendpoint = \"mqtts://h\"\n[provision]\nmethod = \"https\"\n\
                 url = \"https://p\"\nauthority = \"device.pem\"\n";
    finds(&root, https, &[], &[]);
    finds(
        &root,
        &https.replace("device.pem", "device.key"),
        &["C029 6"],
        &[],
    );
    finds(
        &root,
        &https.replace("device.pem", "gone.pem"),
        &["C028 6"],
        &[],
    );
}

#[test]
fn a_folder_that_is_none_is_a_fault() {
    let root = TempDir::new();
    root.write("file", "");
    let text = "[cloud]\nendpoint = \"mqtts://h\"\n[state]\ndir = \"file/state\"\n";
    finds(&root, text, &["C051 4"], &[]);
    finds(&root, &text.replace("file/", ""), &[], &[]);
}

#[test]
fn what_the_broker_would_refuse_is_found_before_it_is_sent() {
    let root = TempDir::new();
    let deep = "[telemetry]\ntopic = \"1/2/3/4/5/6/7/8/9\"\n";
    finds(&root, &format!("{AWS}{deep}"), &["C052 4"], &[]);
    finds(
        &root,
        &format!("{AWS}[telemetry]\ntopic = \"a\"\nqos = 2\n"),
        &[],
        &["C052 5"],
    );
    finds(
        &root,
        &format!("{AWS}keep_alive = \"5s\"\n"),
        &[],
        &["C052 3"],
    );
    finds(&root, &format!("{AWS}keep_alive = \"5m\"\n"), &[], &[]);
    let id = format!("[device]\nid = \"{}\"\n{AWS}", "x".repeat(129));
    finds(&root, &id, &["C052 2"], &[]);
    let mut many = AWS.to_owned();
    for number in 0..51 {
        write!(many, "[[subscription]]\ntopic = \"a/{number}\"\n").unwrap();
    }
    // The one that is too many; the limit is assumed.
    finds(&root, &many, &[], &["C052 104"]);
    finds(
        &root,
        &format!("{many}[limits]\nsubscriptions = \"unlimited\"\n"),
        &[],
        &[],
    );
    finds(
        &root,
        &format!("{many}[limits]\nsubscriptions = 50\n"),
        &["C052 104"],
        &[],
    );
    finds(
        &root,
        &format!("{AWS}profile = \"plain\"\n{deep}"),
        &[],
        &[],
    );
}

#[test]
fn a_limit_is_told_with_what_to_write_and_what_is_assumed_is_no_fact() {
    let root = TempDir::new();
    let file = root.write("agent.toml", format!("{AWS}keep_alive = \"5s\"\n"));
    let source = source(&root, &[("STATE_DIRECTORY", "/tmp")]).file(file);
    let told = fiber::run(move || source.check(Level::Files).unwrap()[0].to_string()).unwrap();
    let expected = "   = expected: assumed here: 30s to 20m, because endpoint profile is `aws`\n   = found: 5s\n   = help: write keep_alive = \"30s\", which is used in its place";
    assert!(told.ends_with(expected), "{told}");
}

#[test]
fn the_windows_of_a_schedule_are_cron_expressions_that_come() {
    let root = TempDir::new();
    for (window, faults) in [
        ("0 */4 * * *", &[][..]),
        ("0 0 29 2 *", &[]),
        ("banana", &["C045 4"]),
        ("0 */4 * *", &["C045 4"]),
        ("99 * * * *", &["C045 4"]),
        ("0 0 30 2 *", &["C045 4"]),
    ] {
        let text =
            format!("[cloud]\nendpoint = \"mqtts://h\"\n[schedule]\nwindows = [\"{window}\"]\n");
        finds(&root, &text, faults, &[]);
    }
    let windows = ["\"0 6 * * *\""; 33].join(", ");
    let text = format!("[cloud]\nendpoint = \"mqtts://h\"\n[schedule]\nwindows = [{windows}]\n");
    finds(&root, &text, &["C046 4"], &[]);
    let text = "[cloud]\nendpoint = \"mqtts://h\"\n[schedule]\nwindows = [\"0 6 * * *\"]\nduration = \"9s\"\n";
    finds(&root, text, &["C011 5"], &[]);
}

#[test]
fn a_key_of_another_version_is_a_warning() {
    let root = TempDir::new();
    let text =
        "[cloud]\nendpoint = \"mqtts://h\"\nsession_expiry = \"1h\"\n[commands]\ntopic = \"c\"\n";
    finds(&root, text, &[], &["C053 3", "C055 4"]);
}

#[test]
fn a_huge_file_costs_neither_memory_nor_time_nor_screens_of_text() {
    let root = TempDir::new();
    let mut text = "[cloud]\nendpoint = \"mqtts://h\"\n".to_owned();
    let mut number = 0_usize;
    while text.len() < 1024 * 1024 - 20 {
        writeln!(text, "a{number} = 1").unwrap();
        number += 1;
    }
    let file = root.write("agent.toml", &text);
    let source_of = |file: std::path::PathBuf| source(&root, &[]).file(file);
    let errors = load(source_of(file)).unwrap_err();
    assert_eq!(errors.problems().len(), CONFIG_FAULTS_MAX);
    assert_eq!(errors.count(), number);
    let told = errors.to_string();
    let end = format!(
        "\n\nand {} more\n\n{number} errors, nothing was started",
        number - 50
    );
    assert!(
        told.ends_with(&end) && told.len() < 100_000,
        "{}",
        told.len()
    );

    let text = "#".repeat(usize::try_from(CONFIG_BYTES_MAX).unwrap() + 1);
    let errors = load(source_of(root.write("large.toml", text))).unwrap_err();
    assert!(
        errors.to_string().contains("at most 1048576 bytes"),
        "{errors}"
    );

    let mut text = "[cloud]\nendpoint = \"mqtts://h\"\n".to_owned();
    for number in 0..=CONFIG_TABLES_MAX {
        write!(text, "[[subscription]]\ntopic = \"{number}\"\n").unwrap();
    }
    let errors = load(source_of(root.write("tables.toml", text))).unwrap_err();
    assert_eq!(errors.problems()[0].error.code(), "C046");
    root.write("password", "x".repeat(64 * 1024 + 1));
    let text = "[cloud]\nendpoint = \"mqtts://h\"\nuser = \"u\"\npassword_file = \"password\"\n";
    finds(&root, text, &["C028 4"], &[]);
}

#[test]
fn what_a_lower_layer_says_of_another_endpoint_or_method_does_not_count() {
    let root = TempDir::new();
    let vendor = "[cloud]\nauthority = \"gone.pem\"\n[provision]\nmethod = \"https\"\nurl = \"https://p\"\ntoken_file = \"gone\"\n";
    root.write("usr/lib/agent/conf.d/vendor.toml", vendor);
    let site = "[cloud]\nendpoint = \"mqtt://127.0.0.1:1\"\n[provision]\nmethod = \"aws\"\ntemplate = \"t\"\nclaim_certificate = \"c\"\nclaim_key = \"k\"\n";
    root.write("etc/agent/agent.toml", site);
    let loaded = load(source(&root, &[])).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(loaded.config().cloud.trust.is_none());
    // In one layer they are faults, and so is what a higher one says.
    root.write(
        "etc/agent/conf.d/more.toml",
        "[cloud]\nauthority = \"x\"\n[provision]\nurl = \"https://p\"\n",
    );
    let errors = load(source(&root, &[])).unwrap_err();
    let codes: Vec<_> = errors.problems().iter().map(|it| it.error.code()).collect();
    assert_eq!(codes, ["C026", "C037"], "{errors}");
}

#[test]
fn credentials_and_variables_of_others_are_no_settings() {
    let root = TempDir::new();
    root.write(
        "etc/agent/agent.toml",
        "[cloud]\nendpoint = \"mqtts://h\"\n",
    );
    for name in ["device.key", "cloud.pem", "state.json", "log.token"] {
        root.write(&format!("run/{name}"), "no text");
    }
    root.write("run/cloud.user", "someone\r\n");
    let folder = root.path().join("run");
    let variables = [
        ("CREDENTIALS_DIRECTORY", folder.to_str().unwrap()),
        ("AGENT_Spring__Name", "x"),
    ];
    let loaded = load(source(&root, &variables)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(setting(&loaded, "cloud.user").0, "\"someone\"");
    let codes: Vec<_> = loaded.warnings().iter().map(|it| it.error.code()).collect();
    assert_eq!(codes, ["C004"]);
}

#[test]
fn folders_that_the_service_manager_made_are_shown_as_what_they_are() {
    let root = TempDir::new();
    root.write(
        "etc/agent/agent.toml",
        "[cloud]\nendpoint = \"mqtts://h\"\n",
    );
    let variables = [("STATE_DIRECTORY", "/s:/t"), ("RUNTIME_DIRECTORY", "/r")];
    let loaded = load(source(&root, &variables)).unwrap_or_else(|errors| panic!("{errors}"));
    let dir = (
        "\"/s\"".to_owned(),
        "environment STATE_DIRECTORY".to_owned(),
    );
    assert_eq!(setting(&loaded, "state.dir"), dir);
    let socket = "\"/r/control.sock\"".to_owned();
    assert_eq!(setting(&loaded, "control.socket").0, socket);
    root.write(
        "etc/agent/agent.toml",
        "[cloud]\nendpoint = \"mqtts://h\"\n[state]\ndir = \"/mine\"\n",
    );
    let loaded = load(source(&root, &variables)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(setting(&loaded, "state.dir").0, "\"/mine\"");
}

#[test]
fn what_may_be_a_secret_beside_passwords_is_not_shown() {
    let root = TempDir::new();
    let text = "[cloud]\nendpoint = \"mqtts://h\"\nuser = \"meter?token=hunter2\"\n\
                [provision]\nmethod = \"https\"\nurl = \"https://p\"\nparameters = { Code = \"hunter3\" }\n";
    root.write("etc/agent/agent.toml", text);
    let loaded = load(source(&root, &[])).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(setting(&loaded, "cloud.user").0, "\"meter?***\"");
    assert_eq!(
        setting(&loaded, "provision.parameters").0,
        "{ Code = \"***\" }"
    );
    let provision = format!("{:?} {:?}", loaded.config().provision, loaded.settings());
    assert!(!provision.contains("hunter"), "{provision}");
    for url in [
        "https://p?token=hunter2",
        "https:///v1",
        "https://:1",
        "https://h h",
        "https://h#x",
    ] {
        root.write("etc/agent/agent.toml", text.replace("https://p", url));
        let errors = load(source(&root, &[])).unwrap_err();
        assert_eq!(errors.problems()[0].error.code(), "C032", "{url}");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
    let refused = Source::system().set("cloud.password:hunter2").unwrap_err();
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
}
