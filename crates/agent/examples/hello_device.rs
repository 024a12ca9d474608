//! The smallest device: it connects, says hello and stays connected until it is told to stop.
//!
//! `mosquitto -p 1883`, then `cargo run -p agent --example hello_device -- --config agent.toml`, with
//! `id` in `[device]` and `endpoint` in `[cloud]` in that file.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use agent::Agent;

fn main() -> ExitCode {
    Agent::builder()
        .on_start(|agent| {
            let topic = format!("devices/{}/hello", agent.device_id());
            agent.publish(&topic, "world")?;
            Ok(())
        })
        .main()
}
