//! Telemetry that survives outages of the broker, deaths of the program and power cuts: a reading is
//! in the store before the next one is taken, and leaves it when the broker has it.
//!
//! `cargo run -p mqtt --example telemetry -- mqtt://localhost /var/lib/meter`, with or without a broker

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it tells what it does")]

use std::error::Error;
use std::time::Duration;

use mqtt::store::{File, Identity, Level, StoreOptions};
use mqtt::{Client, ClientId, ClientOptions, Event, Publish, QoS};

fn main_fiber(endpoint: &str, folder: &str) -> Result<(), Box<dyn Error>> {
    let identity = Identity::kept("meter-17", endpoint);
    let store = File::open(folder, StoreOptions::new(identity, Level::Synced))?;
    let options = ClientOptions::new(ClientId::new("meter-17")?).store(store);
    let client = Client::open(&endpoint.parse()?, options)?;
    println!(
        "{} readings of earlier runs wait to be sent",
        client.stored().len()
    );
    client.on_event(|client, event| match event {
        Event::Connected { .. } => println!("connected, {} to go", client.unacknowledged()),
        Event::Disconnected { cause, .. } => println!("not connected: {cause}"),
        other => println!("{other:?}"),
    });
    for number in 0..60 {
        let reading = format!("{:.1}", 21.5 + f64::from(number % 7) / 10.0);
        // Returns when the disk is sure of it, connected or not.
        client.publish(Publish::to("site/4/meter-17", &reading).qos(QoS::AtLeastOnce))?;
        fiber::sleep(Duration::from_secs(1))?;
    }
    let remaining = client.close(Duration::from_secs(5))?;
    println!("{} stay in the store", remaining.unacknowledged);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, folder] = &args[..] else {
        return Err("expected ENDPOINT FOLDER".into());
    };
    let (endpoint, folder) = (endpoint.clone(), folder.clone());
    fiber::run(move || main_fiber(&endpoint, &folder).map_err(|error| error.to_string()))??;
    Ok(())
}
