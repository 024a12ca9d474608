//! The example of the README: a device that stays connected to a broker on this machine, answers
//! what it is told, publishes, and leaves.
//!
//! `mosquitto -p 1883`, then `cargo run -p mqtt --example first_connection`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]

use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};

fn main_fiber() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = "mqtt://localhost".parse()?;
    // Connects by itself and stays connected; what is not acknowledged is sent again.
    let client = Client::open(&endpoint, ClientOptions::new(ClientId::new("meter-17")?))?;
    client.subscribe("site/4/valve", QoS::AtLeastOnce, |client, message| {
        // A handler may wait: its fiber does, and nothing else.
        let answer = Publish::to("site/4/valve/is", &message.data).qos(QoS::AtLeastOnce);
        client.publish(answer.wait(Wait::Ack))?;
        Ok(())
    })?;
    for reading in ["21.5", "21.6", "21.4"] {
        let publish = Publish::to("site/4/meter", reading).qos(QoS::AtLeastOnce);
        client.publish(publish.wait(Wait::Ack))?;
        fiber::sleep(Duration::from_secs(1))?;
    }
    Ok(())
}

fn main() {
    fiber::run(main_fiber).unwrap().unwrap();
}
