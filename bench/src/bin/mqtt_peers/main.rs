//! The tasks of the mqtt suite, done by a peer: `mqtt_peers PEER PORT TASK`.

#![forbid(unsafe_code)]

mod rumqttc_sides;

use std::process::ExitCode;

use bench::mqtt::task::Task;
use bench::program;

/// A peer: its name, and how it does a task with the server at a port.
type Peer = (&'static str, fn(u16, Task) -> Done);

const PEERS: [Peer; 2] = [
    ("rumqttc", rumqttc_sides::first::perform),
    ("rumqttc-next", rumqttc_sides::next::perform),
];

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    program::client(1, |chosen, port, task| {
        let name = chosen.first().map_or("", String::as_str);
        let (_, perform) = PEERS
            .iter()
            .find(|(peer, _)| *peer == name)
            .ok_or_else(|| format!("no such peer: {name}"))?;
        perform(port, task).map_err(|error| error.to_string())
    })
}
