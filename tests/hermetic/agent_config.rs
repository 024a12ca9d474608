//! The configuration of `agent run`: what is understood, and every fault in its exact words.

mod faults;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use agent::args::{Credentials, Password};
use agent::config::{Config, ConfigErrors};
use mqtt::QoS;
use tests::pki::Pki;
use tests::temp_dir::TempDir;

/// A configuration that is in order and as short as can be.
const LEAST: &str = "[device]\nid = \"meter-17\"\n[cloud]\nendpoint = \"mqtt://127.0.0.1:1883\"\n";

/// A folder with everything that a configuration may name.
fn folder() -> TempDir {
    let pki = Pki::new();
    let folder = TempDir::new("agent-config");
    folder.write("ca.pem", pki.authority.certificate());
    folder.write("device.pem", &pki.client.certificate);
    folder.write("device.key", &pki.client.key);
    folder.write("other.key", &pki.server.key);
    folder.write("notes.txt", "nothing of use");
    folder.write("password", "hunter2\n");
    folder
}

/// Loads a file of the folder.
fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let path = path.to_owned();
    let loaded = fiber::run(move || Config::load(&path));
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

/// Loads a text, as a file that its owner alone may read.
fn load_text(folder: &TempDir, text: impl AsRef<[u8]>) -> Result<Config, ConfigErrors> {
    let path = folder.write("agent.toml", text);
    permit(&path, 0o600);
    load(&path)
}

#[track_caller]
fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn understood(folder: &TempDir, text: &str) -> Config {
    load_text(folder, text).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_shortest_configuration_has_the_documented_defaults() {
    let config = understood(&folder(), LEAST);
    assert_eq!(config.device_id.as_str(), "meter-17");
    assert_eq!(config.cloud.endpoint.to_string(), "mqtt://127.0.0.1:1883");
    assert_eq!(config.cloud.keep_alive, Duration::from_secs(60));
    assert!(!config.cloud.clean_start);
    assert!(config.cloud.tls.is_none() && config.cloud.credentials.is_none());
    assert!(config.telemetry.is_none() && config.subscriptions.is_empty());
}

#[test]
fn every_key_is_understood() {
    let text = r#"
        [device]
        id = "meter-17"
        [cloud]
        endpoint = "mqtts://broker.example"
        user = "meter"
        password_file = "password"
        authority = "ca.pem"
        certificate = "device.pem"
        key = "device.key"
        alpn = ["mqtt", "x-amzn-mqtt-ca"]
        keep_alive = "5m"
        session = "clean"
        [telemetry]
        topic = "up"
        interval = "250ms"
        qos = 2
        [[subscription]]
        topic = "down/#"
        qos = 0
        [[subscription]]
        topic = "down"
    "#;
    let config = understood(&folder(), text);
    assert_eq!(
        config.cloud.endpoint.to_string(),
        "mqtts://broker.example:8883"
    );
    let credentials = Credentials {
        user_name: "meter".to_owned(),
        password: Some(Password(b"hunter2".to_vec())),
    };
    assert_eq!(config.cloud.credentials, Some(credentials));
    assert!(config.cloud.tls.is_some() && config.cloud.clean_start);
    assert_eq!(config.cloud.keep_alive, Duration::from_secs(300));
    let telemetry = config.telemetry.unwrap();
    assert_eq!(telemetry.topic.as_str(), "up");
    assert_eq!(
        (telemetry.interval, telemetry.qos),
        (Duration::from_millis(250), QoS::ExactlyOnce)
    );
    let subscriptions: Vec<_> = config
        .subscriptions
        .iter()
        .map(|s| (s.topic.as_str(), s.qos))
        .collect();
    let expected = [("down/#", QoS::AtMostOnce), ("down", QoS::AtLeastOnce)];
    assert_eq!(subscriptions, expected);
}

#[test]
fn a_password_may_stand_in_a_file_that_its_owner_alone_may_read() {
    let text = format!("{LEAST}user = \"meter\"\npassword = \"hunter2\"\n");
    let config = understood(&folder(), &text);
    let credentials = config.cloud.credentials.unwrap();
    assert_eq!(credentials.password, Some(Password(b"hunter2".to_vec())));
    assert!(!format!("{credentials:?}").contains("hunter2"));
}

#[test]
fn the_example_is_understood_and_so_are_the_defaults_that_it_shows() {
    let example = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/agent.example.toml"
    ))
    .unwrap();
    let folder = folder();
    let config = understood(&folder, &example);
    assert!(config.cloud.tls.is_some() && config.telemetry.is_some());

    // One after the other, what is commented out.
    let with: Vec<String> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.contains(" = "))
        .map(str::to_owned)
        .collect();
    assert_eq!(with.len(), 10, "{with:?}");
    for line in with {
        let commented = format!("# {line}\n");
        let mut text = example.replacen(&commented, &format!("{line}\n"), 1);
        if line.starts_with("password") {
            text = text.replace("# user", "user");
        }
        let defaults = format!("{config:?}");
        if line.starts_with("password_env") {
            let errors = load_text(&folder, &text).unwrap_err();
            assert_eq!(errors.problems()[0].error.code(), "C024", "{errors}");
            continue;
        }
        let changed = format!("{:?}", understood(&folder, &text));
        let is_default = ["alpn", "user", "password"]
            .iter()
            .all(|key| !line.starts_with(key));
        if is_default {
            assert_eq!(changed, defaults, "{line}");
        }
    }
}
