//! The example of the README: connects to a broker on this machine, subscribes, publishes, leaves.
//!
//! `mosquitto -p 1883`, then `cargo run -p mqtt --example first_connection`

#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example prints, and ends at the first fault"
)]

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};

fn main_fiber() -> Result<(), Box<dyn std::error::Error>> {
    let socket = safe_rt::dial(&"mqtt://localhost".parse()?, &safe_rt::DialOptions::new())?;
    let client = Client::over(socket, ClientOptions::new(ClientId::new("meter-17")?));
    client.connect()?;
    client.subscribe("site/4/valve", QoS::AtLeastOnce, |_client, message| {
        println!("{} says {:?}", message.topic, message.data);
        Ok(())
    })?;
    client.publish(
        Publish::to("site/4/meter", "21.5")
            .qos(QoS::AtLeastOnce)
            .wait(Wait::Ack),
    )?;
    Ok(())
}

fn main() {
    fiber::run(main_fiber).unwrap().unwrap();
}
