//! Each example does what it says, started as a user starts it.

use std::collections::BTreeSet;

use mqtt::{BrokerOptions, DropAcks, Faults, QoS};

use crate::support::{Running, configured, example, with_broker};
use crate::temp_dir::TempDir;

#[test]
fn hello_device_says_hello_and_leaves_in_order() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-hello");
        let hello = broker.subscribe("devices/+/hello").unwrap();
        let mut command = example("hello_device");
        command.arg("--config");
        command.arg(configured(folder.path(), "meter-17", endpoint, ""));
        let device = Running::start(command);
        let message = hello.recv().unwrap();
        assert_eq!(message.topic(), "devices/meter-17/hello");
        assert_eq!(message.payload(), b"world");
        device.signal("TERM");
        let (code, printed) = device.finish();
        assert_eq!(code, Some(0), "{printed}");
        assert!(
            printed.contains("the broker acknowledged everything"),
            "{printed}"
        );
    });
}

#[test]
fn the_configuration_may_be_named_by_the_environment_and_must_be_named() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let (code, printed) = Running::start(example("hello_device")).finish();
        assert_eq!(code, Some(78), "{printed}");
        assert!(printed.contains("AGENT_CONFIG"), "{printed}");

        let folder = TempDir::new("agent-hello");
        let hello = broker.subscribe("devices/+/hello").unwrap();
        let mut command = example("hello_device");
        let config = configured(folder.path(), "meter-18", endpoint, "");
        command.env("AGENT_CONFIG", config);
        let device = Running::start(command);
        assert_eq!(hello.recv().unwrap().topic(), "devices/meter-18/hello");
        drop(device);
    });
}

#[test]
fn the_sensor_sends_its_readings_in_batches_and_obeys() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-sensor");
        let readings = broker.subscribe("sensor/readings").unwrap();
        let answers = broker.subscribe("sensor/commands/answer").unwrap();
        let mut command = example("sensor");
        command.arg("--config");
        command.arg(configured(folder.path(), "meter-17", endpoint, ""));
        let sensor = Running::start(command);
        let text = |payload: &[u8]| String::from_utf8(payload.to_vec()).unwrap();
        let first = text(readings.recv().unwrap().payload());
        assert!(first.contains("\"n\":\"temperature\""), "{first}");
        let ask = br#"{"id":"1","command":"every","args":{"millis":10}}"#;
        broker
            .publish("sensor/commands", ask, QoS::AtLeastOnce, false)
            .unwrap();
        let answer = text(answers.recv().unwrap().payload());
        assert!(answer.contains("every 10 ms"), "{answer}");
        // From now on messages are full, and leave for that.
        while text(readings.recv().unwrap().payload())
            .matches("\"t\":")
            .count()
            < 20
        {}
        sensor.signal("TERM");
        let (code, printed) = sensor.finish();
        assert_eq!(code, Some(0), "{printed}");
    });
}

#[test]
fn the_gateway_connects_a_hundred_children_that_hear_and_speak() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-gateway");
        let readings = broker.subscribe("gateway/+").unwrap();
        let answers = broker.subscribe("gateway/+/is").unwrap();
        let mut command = example("gateway");
        command.arg("--config");
        command.arg(configured(folder.path(), "gw", endpoint, ""));
        let gateway = Running::start(command);
        let mut heard = BTreeSet::new();
        while heard.len() < 100 {
            heard.insert(readings.recv().unwrap().topic().to_owned());
        }
        assert!(heard.contains("gateway/gw-1") && heard.contains("gateway/gw-100"));
        // The gateway itself has a connection, too.
        assert_eq!(broker.stats().connections, 101);
        for number in [1, 57, 100] {
            let topic = format!("gateway/gw-{number}/set");
            broker
                .publish(&topic, b"on", QoS::AtLeastOnce, false)
                .unwrap();
            let answer = answers.recv().unwrap();
            assert_eq!(answer.topic(), format!("gateway/gw-{number}/is"));
            assert_eq!(answer.payload(), b"on");
        }
        gateway.signal("TERM");
        let (code, printed) = gateway.finish();
        assert_eq!(code, Some(0), "{printed}");
    });
}

#[test]
fn a_program_with_a_main_of_its_own_keeps_what_it_said_through_its_death() {
    with_broker(BrokerOptions::new(), |broker, endpoint| {
        let folder = TempDir::new("agent-own-main");
        let readings = broker.subscribe("meter-17/reading").unwrap();
        let start = || {
            let mut command = example("own_main");
            command.arg(endpoint).arg(folder.path().join("state"));
            Running::start(command)
        };
        // Nobody acknowledges its message before it is killed.
        let faults = Faults {
            drop_acks: DropAcks::All,
            ..Faults::default()
        };
        broker.set_faults("meter-17", faults).unwrap();
        let mut first = start();
        first.wait_printed("kept");
        readings.recv().unwrap();
        drop(first);

        broker.set_faults("meter-17", Faults::default()).unwrap();
        let (code, printed) = start().finish();
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("Ok(Some(Acked"), "{printed}");
        assert!(printed.contains("ran for"), "{printed}");
        // That of the first life again, and that of the second.
        for _ in 0..2 {
            assert_eq!(readings.recv().unwrap().payload(), b"21.5");
        }
    });
}
