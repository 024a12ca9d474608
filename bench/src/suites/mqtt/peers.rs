//! The others of the suite: their programs, and what each has calls for.

use crate::child::Program;
use crate::mqtt::task::Task;
use crate::suites::mqtt::server::Place;

/// The program of most peers.
pub(super) const PEERS: &str = "mqtt_peers";
/// The peer whose name figures have.
pub(super) const RUMQTTC: &str = "rumqttc";
/// The limit.
pub(super) const RAW: &str = "raw";
/// The one that is built where there is a cmake.
const PAHO: &str = "paho-mqtt";
const MQTT5: &str = "mqtt5";
const NTEX: &str = "ntex-mqtt";

/// In the order in which they are measured.
const ALL: [&str; 6] = [RAW, RUMQTTC, "rumqttc-next", MQTT5, NTEX, PAHO];

/// Instructions of rumqttc 0.25 for a message, by workload.
const EXPECTED: [(&str, f64); 10] = [
    ("publish QoS 0", 3_920.0),
    ("publish QoS 1", 5_640.0),
    ("publish QoS 2", 7_450.0),
    ("receive QoS 0", 1_810.0),
    ("receive QoS 1", 2_470.0),
    ("receive QoS 2", 4_340.0),
    ("round trip", 8_620.0),
    ("connect and disconnect", 26_800.0),
    ("TLS: publish QoS 1", 10_500.0),
    ("TLS: round trip", 14_700.0),
];

/// The program of a peer.
pub(super) fn program(name: &str) -> Program {
    match name {
        RAW => Program::ours("mqtt_raw"),
        PAHO => Program::ours("mqtt_paho"),
        _ => Program::ours(PEERS).with(&[name.to_owned()]),
    }
}

/// What is to be said of peers that are not there.
pub(super) fn lacking() -> Option<String> {
    let is_built = program(PAHO).exists();
    (!is_built).then(|| format!("{PAHO}: not built: no cmake"))
}

/// Of these, those that do not take so long that they are left out where only a size or a window is another.
pub(super) fn quick(all: Vec<&'static str>) -> Vec<&'static str> {
    let is_quick = |name: &&str| !matches!(*name, MQTT5 | PAHO);
    all.into_iter().filter(is_quick).collect()
}

/// Who does a task with such a server, of those that were built.
pub(super) fn of(place: Place, task: Task) -> Vec<&'static str> {
    let does = |name: &&str| does(name, place, task) && program(name).exists();
    ALL.into_iter().filter(does).collect()
}

fn does(name: &str, place: Place, task: Task) -> bool {
    match name {
        // Built without TLS.
        RAW | PAHO => place != Place::Tls,
        // Has room for one message of QoS 2 at a time, and receives none.
        NTEX => place != Place::Tls && task.qos < 2,
        _ => true,
    }
}

/// How many times less a peer does than ours where it is timed: where the server is not what limits, it
/// takes that much longer, or about.
pub(super) fn share(name: &str, place: Place) -> usize {
    match (name, place) {
        (RAW, _) => 1,
        (MQTT5 | PAHO, Place::Sink) => 20,
        (_, Place::Sink) => 10,
        _ => 2,
    }
}

/// Instructions that rumqttc is known to take for a message of a workload.
pub(super) fn expected(workload: &str) -> Option<f64> {
    let known = EXPECTED.iter().find(|(name, _)| *name == workload);
    known.map(|(_, instructions)| *instructions)
}

#[cfg(test)]
mod tests {
    use super::{ALL, EXPECTED, does, expected};
    use crate::mqtt::task::{Kind, Task};
    use crate::suites::mqtt::server::Place;

    fn who(place: Place, qos: u8) -> Vec<&'static str> {
        let task = Task {
            kind: Kind::Publish,
            qos,
            bytes: 1,
            window: 1,
            count: 1,
        };
        ALL.into_iter()
            .filter(|name| does(name, place, task))
            .collect()
    }

    #[test]
    fn each_does_what_it_has_calls_for() {
        assert_eq!(who(Place::Sink, 1), ALL);
        assert!(!who(Place::Mosquitto, 2).contains(&"ntex-mqtt"));
        assert_eq!(who(Place::Tls, 1), ["rumqttc", "rumqttc-next", "mqtt5"]);
    }

    #[test]
    fn what_is_expected_is_of_a_workload_that_there_is() {
        let specs = crate::suites::mqtt::table::specs();
        for (name, instructions) in EXPECTED {
            let is_counted = |spec: &&crate::suites::mqtt::measure::Spec| {
                spec.name == name && spec.counted.is_some()
            };
            assert_eq!(specs.iter().filter(is_counted).count(), 1, "{name}");
            assert_eq!(expected(name), Some(instructions));
        }
        assert_eq!(expected("walk"), None);
    }
}
