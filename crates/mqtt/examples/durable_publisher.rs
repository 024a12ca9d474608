//! Publishes numbers that survive the death of the program: whatever kills it, and however often, each
//! arrives, in order, and at QoS 2 once.
//!
//! `durable_publisher HOST PORT CLIENT_ID TOPIC QOS COUNT RATE STATE_DIR` publishes 1 to COUNT, RATE of
//! them in a second (0: as fast as they go), and tells of each that the broker acknowledged.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it tells what was acknowledged")]

use std::error::Error;
use std::time::Duration;

use mqtt::store::{File, Identity, Key, Level, Store, StoreOptions};
use mqtt::{Client, ClientId, ClientOptions, Outcome, Publish, QoS, Ticket, WaitCause};

fn tell(number: u64, mut ticket: Ticket) -> Result<(), WaitCause> {
    match ticket.outcome()? {
        Outcome::Acked { .. } => println!("ACKED {number}"),
        other => println!("LOST {number}: {other:?}"),
    }
    Ok(())
}

fn number(key: &Key) -> Option<u64> {
    key.as_bytes().try_into().map(u64::from_be_bytes).ok()
}

fn main_fiber(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [host, port, id, topic, qos, count, rate, folder] = args else {
        return Err("expected HOST PORT CLIENT_ID TOPIC QOS COUNT RATE STATE_DIR".into());
    };
    let endpoint = format!("mqtt://{host}:{port}");
    let (count, rate): (u64, u32) = (count.parse()?, rate.parse()?);
    let qos = if qos == "2" {
        QoS::ExactlyOnce
    } else {
        QoS::AtLeastOnce
    };
    let store = File::open(
        folder,
        StoreOptions::new(Identity::kept(id, &endpoint), Level::Synced),
    )?;
    let options = ClientOptions::new(ClientId::new(id)?).store(store.clone());
    let client = Client::open(&endpoint.parse()?, options.operation_timeout(None))?;
    // What an earlier run published: what is in the store, and what is done.
    let stored = client.stored();
    let keys = stored
        .iter()
        .filter_map(|(key, _)| key.as_ref().and_then(number));
    let done = store.recovered().outcomes;
    let last = keys
        .chain(done.iter().filter_map(|(key, ..)| number(key)))
        .max()
        .unwrap_or(0);
    let (to_teller, tickets) = fiber::channel::<(u64, Ticket)>(1_000);
    fiber::scope(|scope| {
        scope.spawn(move || {
            while let Some((number, ticket)) = tickets.recv()? {
                tell(number, ticket)?;
            }
            Ok(())
        })?;
        for (key, ticket) in stored {
            let number = key.as_ref().and_then(number).unwrap_or(0);
            to_teller
                .send((number, ticket))
                .map_err(|error| error.to_string())?;
        }
        for next in last + 1..=count {
            let (key, text) = (Key::new(next.to_be_bytes())?, next.to_string());
            let ticket = client.publish(Publish::to(topic, &text).qos(qos).key(key))?;
            to_teller
                .send((next, ticket))
                .map_err(|error| error.to_string())?;
            fiber::sleep(Duration::from_secs(1).checked_div(rate).unwrap_or_default())?;
        }
        drop(to_teller);
        Ok::<_, Box<dyn Error>>(())
    })?;
    client.close(Duration::from_secs(5))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    fiber::run(move || main_fiber(&args).map_err(|error| error.to_string()))??;
    Ok(())
}
