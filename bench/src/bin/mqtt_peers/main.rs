//! The tasks of the mqtt suite, done by a peer: `mqtt_peers PEER ADDRESS TASK`.

#![forbid(unsafe_code)]

mod mqtt5_side;
mod ntex_side;
mod rumqttc_sides;

use std::process::ExitCode;

use bench::mqtt::address::Address;
use bench::mqtt::task::Task;
use bench::program;

/// A peer: its name, and how it does a task with a server.
type Peer = (&'static str, fn(&Address, Task) -> Done);

const PEERS: [Peer; 4] = [
    ("mqtt5", mqtt5_side::perform),
    ("ntex-mqtt", ntex_side::perform),
    ("rumqttc", rumqttc_sides::first::perform),
    ("rumqttc-next", rumqttc_sides::next::perform),
];

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    // What ours encrypts with, for all: one is to be chosen where several crates ask for rustls.
    let ring = rustls::crypto::ring::default_provider();
    if ring.install_default().is_err() {
        eprintln!("another provider of cryptography is installed");
        return ExitCode::FAILURE;
    }
    program::client(1, |chosen, address, task| {
        let name = chosen.first().map_or("", String::as_str);
        let (_, perform) = PEERS
            .iter()
            .find(|(peer, _)| *peer == name)
            .ok_or_else(|| format!("no such peer: {name}"))?;
        perform(address, task).map_err(|error| error.to_string())
    })
}
