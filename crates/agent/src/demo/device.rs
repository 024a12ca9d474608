//! The device, as a program of yours would be written: it reads from top to bottom, and nowhere does
//! it say what to do when the link fails or when its process is killed.
//!
//! It publishes readings without waiting for one before it takes the next, each kept on the disk until
//! the cloud has it, and obeys commands. [`Told`] is what this demonstration wants to know of it.

use std::path::Path;
use std::time::Duration;

use mqtt::store::{File, Identity, Key, Level, StoreOptions};
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Subscribe, Wait};
use safe_rt::{BackoffOptions, DialOptions};

use super::birth;
use super::error::DemoError;
use super::life;
use super::protocol::{ANSWERS, COMMANDS, Command, DEVICE, Reading, TELEMETRY, qos_of};
use super::told::{Told, key_of};
use crate::config::Config;
use crate::connect::LEAVE_TIMEOUT;

/// Where messages are kept, in the device's folder.
pub(super) const QUEUE: &str = "queue";
/// Where its identity is kept.
pub(super) const STATE: &str = "state";

/// Takes a reading every `pace` and obeys commands, until it is told that it is enough. Yields; returns
/// once everything is acknowledged.
pub(super) fn run(folder: &Path, pace: Duration) -> Result<(), DemoError> {
    let told = Told::connect(&folder.join(life::SOCKET)).map_err(DemoError::Line)?;
    fiber::scope(|scope| {
        scope.spawn(|| told.write().map_err(DemoError::Line))?;
        scope.spawn(|| {
            told.follow();
            Ok(())
        })?;
        scope.spawn(|| {
            told.listen().map_err(DemoError::Line)?;
            // Nobody is left to be a device for.
            scope.cancel();
            Ok(())
        })?;
        measure(folder, pace, &told)?;
        told.flush()?;
        scope.cancel();
        Ok(())
    })
}

/// What the device is for.
fn measure(folder: &Path, pace: Duration, told: &Told) -> Result<(), DemoError> {
    let config = Config::load(&folder.join(super::CONFIG))
        .map_err(|errors| DemoError::Config(Box::new(errors)))?;
    // At once if it has one; else it gets one from the cloud.
    let own = birth::identity(&folder.join(STATE), &config, told)?;
    let cloud = config.cloud;
    let alpn = cloud.alpn.clone().unwrap_or_default();
    let alpn: Vec<&str> = alpn.iter().map(String::as_str).collect();
    let queue = StoreOptions::new(
        Identity::kept(DEVICE, cloud.endpoint.to_string()),
        Level::Synced,
    );
    let queue = File::open(folder.join(QUEUE), queue)?;
    let mut options = ClientOptions::new(ClientId::new(DEVICE).map_err(mqtt::Error::from)?)
        .store(queue.clone())
        .backoff(backoff());
    if let Some(tls) = cloud.tls(Some(own), &alpn)? {
        options = options.dial(DialOptions::new().tls(tls));
    }
    let client = Client::open(&cloud.endpoint, options)?;

    let link = told.clone();
    client.on_event(move |_client, event| link.event(event));

    // There is no connection yet, and need not be.
    let commands = Subscribe::to(COMMANDS, QoS::AtLeastOnce).wait(Wait::None);
    let valve = told.clone();
    client.subscribe_as(commands, move |client, message| {
        let command: Command = std::str::from_utf8(&message.data)?.parse()?;
        valve.obey(command);
        let answer = command.to_string();
        // The command is acknowledged when this returns: not before the cloud has the answer.
        let answer = Publish::to(ANSWERS, &answer).qos(QoS::AtLeastOnce);
        client.publish(answer.wait(Wait::Ack))?;
        valve.answered(command);
        Ok(())
    })?;

    // What an earlier process left on the disk goes first.
    for sequence in told.earlier(&client, &queue).. {
        if told.is_enough() {
            break;
        }
        let reading = Reading::take(sequence).to_string();
        let publish = Publish::to(TELEMETRY, &reading)
            .qos(qos_of(sequence))
            .key(Key::new(key_of(sequence))?);
        let ticket = client.publish(publish.wait(Wait::Stored))?;
        told.published(sequence, ticket);
        fiber::sleep(pace)?;
    }

    told.wait_for_acknowledgements()?;
    client.close(LEAVE_TIMEOUT)?;
    Ok(())
}

/// Short delays, so that there is something to see: three links that fail within a minute count as
/// flapping, and then delays are drawn from the long spans.
const fn backoff() -> BackoffOptions {
    const SPAN: Duration = Duration::from_millis(400);
    const LONGEST: Duration = Duration::from_millis(800);
    BackoffOptions::new()
        .base(SPAN)
        .cap(LONGEST)
        .long_base(SPAN)
        .long_cap(LONGEST)
        .floor(Duration::from_millis(100))
}
