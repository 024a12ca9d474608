//! What a configuration is understood as.

use std::path::Path;
use std::time::Duration;

use agent::args::{Credentials, Password};
use agent::config::{Config, Limits};
use mqtt::{QoS, QueuePolicy};

use crate::{LEAST, folder, understood};

fn device_id(config: &Config) -> Option<&str> {
    config.device.id.as_ref().map(|id| id.as_str())
}

#[test]
fn the_shortest_configuration_has_the_documented_defaults() {
    let config = understood(&folder(), LEAST);
    assert_eq!(device_id(&config), Some("meter-17"));
    assert_eq!(config.cloud.endpoint.to_string(), "mqtt://127.0.0.1:1883");
    assert_eq!(config.cloud.keep_alive, None);
    assert!(!config.cloud.clean_start && config.cloud.credentials.is_none());
    assert!(config.cloud.trust.is_none() && config.cloud.identity.is_none());
    assert!(config.telemetry.is_none() && config.subscriptions.is_empty());
    assert!(config.provision.is_none() && config.commands.is_none());
    assert!(config.schedule.is_none() && config.metrics.is_none());
    assert_eq!(config.state.dir, Path::new("/var/lib/agent"));
    let socket = config.control.socket.as_deref();
    assert_eq!(socket, Some(Path::new("/var/lib/agent/control.sock")));
    assert_eq!(config.queue.max_messages, 100_000);
    assert_eq!(config.queue.max_disk, 64 << 20);
    assert_eq!(config.queue.when_full, QueuePolicy::DropOldest);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.log.filter, "warn,agent=info");
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
    assert!(config.cloud.trust.is_some() && config.cloud.identity.is_some());
    assert!(config.cloud.clean_start && !config.cloud.port_is_set);
    assert_eq!(config.cloud.keep_alive, Some(Duration::from_secs(300)));
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
