//! A camera's driver calls back on a thread of its own; its pictures go out over the client, which
//! belongs to the thread that runs the fibers.
//!
//! `mosquitto -p 1883`, then `cargo run -p mqtt --example camera_thread`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "an example ends at the first fault")]

use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Outcome, Publish, QoS, Remote, RemoteError, Wait};

/// What the driver calls with each picture, on its own thread.
fn on_picture(remote: &Remote, picture: &[u8]) -> Result<(), RemoteError> {
    let publish = Publish::to("site/4/camera", picture).qos(QoS::AtLeastOnce);
    // Blocks this thread, and no fiber, until the broker has the picture.
    let ticket = remote.publish(publish.wait(Wait::Ack), Duration::from_secs(10))?;
    assert!(matches!(ticket.outcome(), Some(Ok(Outcome::Acked { .. }))));
    Ok(())
}

/// Stands for the driver.
fn camera(remote: &Remote) -> Result<(), RemoteError> {
    for number in 0..3_u8 {
        on_picture(remote, &[number; 1_000])?;
    }
    // One that may be left out where the client cannot keep up.
    let preview = Publish::to("site/4/preview", "small");
    match remote.try_publish(preview) {
        Err(RemoteError::Full) => Ok(()),
        other => other.map(drop),
    }
}

fn main_fiber() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = "mqtt://localhost".parse()?;
    let client = Client::open(&endpoint, ClientOptions::new(ClientId::new("camera-4")?))?;
    let remote = client.remote()?;
    // A work thread; a driver that has its own is given the handle in the same way.
    fiber::offload(move || camera(&remote))??;
    client.close(Duration::from_secs(5))?;
    Ok(())
}

fn main() {
    fiber::run(main_fiber).unwrap().unwrap();
}
