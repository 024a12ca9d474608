//! A device that is told what to do, and says what came of it: a failed command is tried again, and
//! what fails each time is reported.
//!
//! `mosquitto -p 1883`, then `cargo run -p mqtt --example command_handler`, and
//! `mosquitto_pub -t site/4/valve/set -m open -q 1`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]

use std::error::Error;

use fiber::signal::{Signal, Signals};
use mqtt::{
    Client, ClientId, ClientOptions, HandlerError, Message, OnError, Publish, QoS, Subscribe, Wait,
};

/// Moves the valve; its motor may be stuck.
fn turn(valve: &str, to: &[u8]) -> Result<&'static str, HandlerError> {
    match to {
        b"open" => Ok("open"),
        b"shut" => Ok("shut"),
        _ => Err(HandlerError::new(format!("{valve} knows no such position"))),
    }
}

fn on_command(client: &Client, message: &Message) -> Result<(), HandlerError> {
    let valve = message.topic.trim_end_matches("/set");
    let position = turn(valve, &message.data)?;
    let state = Publish::to(valve, position)
        .qos(QoS::AtLeastOnce)
        .retain(true);
    // Waits until the broker has it; the command is acknowledged after that, and no other waits.
    client.publish(state.wait(Wait::Ack))?;
    Ok(())
}

fn main_fiber() -> Result<(), Box<dyn Error>> {
    let endpoint = "mqtt://localhost".parse()?;
    let client = Client::open(&endpoint, ClientOptions::new(ClientId::new("valves-4")?))?;
    client.on_dead_letter(|client, message| {
        let report = Publish::to("site/4/failed", &message.data).qos(QoS::AtLeastOnce);
        client.publish(report)?;
        Ok(())
    });
    let commands = Subscribe::to("site/4/+/set", QoS::AtLeastOnce);
    client.subscribe_as(
        commands.on_error(OnError::Redeliver { limit: 2 }),
        on_command,
    )?;
    Signals::listen(&[Signal::Interrupt, Signal::Terminate])?.recv()?;
    Ok(())
}

fn main() {
    fiber::run(main_fiber).unwrap().unwrap();
}
