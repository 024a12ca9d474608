//! An agent in a program that has a `main`, a runtime and a configuration of its own.
//!
//! `mosquitto -p 1883`, then `cargo run -p agent --example own_main -- mqtt://localhost STATE_DIR`

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it tells what became of its message")]

use std::error::Error;

use agent::Agent;
use agent::config::Config;
use mqtt::{ClientId, Wait};

fn config(endpoint: &str) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::new(endpoint.parse()?);
    config.set_device_id(&ClientId::new("meter-17")?)?;
    Ok(config)
}

fn device(endpoint: &str, state_dir: &str) -> Result<(), Box<dyn Error>> {
    Agent::builder()
        .config(config(endpoint)?)
        .state_dir(state_dir)
        .on_start(|agent| {
            let ours = agent.clone();
            agent.spawn("reading", move || {
                match ours.publish("meter-17/reading", "21.5") {
                    Ok(mut ticket) => {
                        println!("kept");
                        println!("{:?}", ticket.wait(Wait::Ack));
                    }
                    Err(error) => println!("not accepted: {error}"),
                }
                ours.stop("everything is said");
                Ok(())
            })?;
            Ok(())
        })
        .on_stop(|agent| println!("ran for {} s", agent.uptime().as_secs()))
        .run()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, state_dir] = words
        .try_into()
        .map_err(|_| "expected ENDPOINT STATE_DIR")?;
    fiber::run(move || device(&endpoint, &state_dir).map_err(|error| error.to_string()))??;
    Ok(())
}
