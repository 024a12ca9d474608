//! A gateway: a hundred child devices in one process and on one thread, each with a connection, a
//! fiber and commands of its own.
//!
//! `mosquitto -p 1883`, then `cargo run -p agent --example gateway -- --config agent.toml`

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use agent::Agent;
use agent::config::Config;
use mqtt::{ClientId, QoS, Subscribe, Wait};

const CHILDREN: usize = 100;

/// Starts one child: it publishes a reading every second, and takes a set point.
fn start_child(gateway: &Agent, config: &Config) -> Result<(), Box<dyn Error>> {
    let child = Agent::start(config)?;
    let topic = format!("gateway/{}", child.device_id());
    let filter = format!("{topic}/set");
    let set = Subscribe::to(&filter, QoS::AtLeastOnce).wait(Wait::None);
    let answer = format!("{topic}/is");
    child.mqtt().subscribe_as(set, move |client, message| {
        client.publish(mqtt::Publish::to(&answer, &message.data))?;
        Ok(())
    })?;
    // The child lives as long as this fiber, and that as long as the gateway.
    gateway.spawn("child", move || {
        let mut second = fiber::interval(Duration::from_secs(1));
        for number in 1_u64.. {
            second.tick()?;
            if child.publish(&topic, &number.to_string()).is_err() {
                break;
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn main() -> ExitCode {
    Agent::builder()
        .on_start(|gateway| {
            let mut config = gateway.config().clone();
            for number in 1..=CHILDREN {
                let id = ClientId::new(format!("{}-{number}", gateway.device_id()))?;
                config.set_device_id(&id)?;
                start_child(gateway, &config)?;
            }
            Ok(())
        })
        .main()
}
