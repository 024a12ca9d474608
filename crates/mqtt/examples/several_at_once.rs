//! Several things at once, each in a straight line, and a clean stop: on SIGINT or SIGTERM every fiber
//! ends at its next wait, and what was published is still delivered.
//!
//! `mosquitto -p 1883`, then `cargo run -p mqtt --example several_at_once`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]

use std::error::Error;
use std::time::Duration;

use fiber::signal::{Signal, Signals};
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS};

/// Publishes what `read` says every `pause`, until it is stopped.
fn report(
    client: &Client,
    topic: &str,
    pause: Duration,
    mut read: impl FnMut() -> String,
) -> Result<(), mqtt::Error> {
    let mut ticks = fiber::interval(pause);
    while ticks.tick().is_ok() {
        client.publish(Publish::to(topic, &read()).qos(QoS::AtLeastOnce))?;
    }
    Ok(())
}

fn main_fiber() -> Result<(), Box<dyn Error>> {
    let signals = Signals::listen(&[Signal::Interrupt, Signal::Terminate])?;
    let endpoint = "mqtt://localhost".parse()?;
    let client = Client::open(&endpoint, ClientOptions::new(ClientId::new("gateway-4")?))?;
    let mut beats = 0;
    fiber::scope(|scope| {
        scope.spawn(|| {
            report(&client, "site/4/heat", Duration::from_secs(2), || {
                "21.5".into()
            })
        })?;
        scope.spawn(|| {
            report(&client, "site/4/beat", Duration::from_secs(1), || {
                beats += 1;
                beats.to_string()
            })
        })?;
        signals.recv()?;
        // The children end, and this waits for them.
        scope.cancel();
        Ok::<_, mqtt::Error>(())
    })?;
    client.close(Duration::from_secs(5))?;
    Ok(())
}

fn main() {
    fiber::run(main_fiber).unwrap().unwrap();
}
