//! The smallest program of this project's client: connects, subscribes, publishes one message that is
//! acknowledged, and waits for messages. `size_plain PORT FILTER PAUSE`: the handler of a message takes
//! so many milliseconds.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};

fn main() -> Result<(), Box<dyn Error>> {
    fiber::run(main_fiber)?
}

fn main_fiber() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(port), Some(filter), Some(pause)) = (words.next(), words.next(), words.next()) else {
        return Err("size_plain PORT FILTER PAUSE".into());
    };
    let pause = Duration::from_millis(pause.parse()?);
    let endpoint = ["mqtt://127.0.0.1:", &port].concat().parse()?;
    let client = Client::open(&endpoint, ClientOptions::new(ClientId::new("size")?))?;
    client.wait_connected()?;
    println!("connected 1");
    client.subscribe(&filter, QoS::AtLeastOnce, move |_, _| {
        Ok(fiber::sleep(pause)?)
    })?;
    let message = Publish::to("size/a", "up 1 s").qos(QoS::AtLeastOnce);
    client.publish(message.wait(Wait::Ack))?;
    println!("acknowledged 1");
    client.ended()?;
    Ok(())
}
