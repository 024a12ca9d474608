//! One client asks another and gets an answer, in a straight line.
//!
//! `mosquitto -p 1883`, then `cargo run -p mqtt --example request_response`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]
#![allow(clippy::print_stdout, reason = "it tells the answers")]

use std::error::Error;
use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, RequestOptions};

fn open(client_id: &str) -> Result<Client, Box<dyn Error>> {
    let options = ClientOptions::new(ClientId::new(client_id)?);
    Ok(Client::open(&"mqtt://localhost".parse()?, options)?)
}

/// Answers `meter/read/ID` at `panel/answers/ID`.
fn meter() -> Result<Client, Box<dyn Error>> {
    let meter = open("meter-17")?;
    meter.subscribe("meter/read/+", QoS::AtLeastOnce, |client, message| {
        let id = message.topic.rsplit('/').next().unwrap_or_default();
        // At QoS 0, so that the answer overtakes whatever the other side has yet to handle.
        client.publish(Publish::to(&format!("panel/answers/{id}"), "21.5"))?;
        Ok(())
    })?;
    Ok(meter)
}

fn main_fiber() -> Result<(), Box<dyn Error>> {
    let meter = meter()?;
    let panel = open("panel")?;
    let options = RequestOptions::reply_to("panel/answers").timeout(Duration::from_secs(5));
    for _ in 0..3 {
        let answer = panel.request("meter/read", "", &options)?;
        println!("the meter says {}", String::from_utf8_lossy(&answer.data));
    }
    panel.close(Duration::from_secs(5))?;
    meter.close(Duration::from_secs(5))?;
    Ok(())
}

fn main() {
    fiber::run(main_fiber).unwrap().unwrap();
}
