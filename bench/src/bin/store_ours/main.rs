//! What the suite of the durable store measures: `store_ours publish PORT KEEP FOLDER WINDOW COUNT`,
//! `store_ours append FOLDER BYTES COUNT`.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::durable::{self, Errand, Keep};
use bench::mqtt::task::TOPIC;
use bench::program::{self, Share};
use mqtt::store::{File, Identity, Level, Memory, StoreOptions};
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};

type Done = Result<(), Box<dyn Error>>;

/// Bytes of a payload.
const PAYLOAD: [u8; 256] = [b'x'; 256];
/// The name of the client.
const NAME: &str = "store";
/// More than all messages take.
const STORED_BYTES: u64 = 1 << 30;
/// Round trips of a packet that no store has to do with.
const CONTROLS: usize = 200;
/// Its filter.
const CONTROL: &str = "store/control";

fn main() -> ExitCode {
    durable::main(|errand| match errand {
        Errand::Append {
            folder,
            bytes,
            count,
        } => append(Path::new(&folder), bytes, count).map_err(|error| error.to_string()),
        publish @ Errand::Publish { .. } => match fiber::run(move || perform(&publish)) {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
    })
}

fn perform(errand: &Errand) -> Done {
    let Errand::Publish {
        port,
        keep,
        folder,
        window,
        count,
    } = errand
    else {
        return Err("not to be performed by fibers".into());
    };
    let is_connected = *port > 0;
    // Nobody listens on port 1 of this machine.
    let endpoint = format!("mqtt://127.0.0.1:{}", if is_connected { *port } else { 1 });
    let options = ClientOptions::new(ClientId::new(NAME)?).window(u16::try_from(*window)?);
    let on_disk = |level| {
        let identity = Identity::kept(NAME, &endpoint);
        let options = StoreOptions::new(identity, level);
        File::open(
            folder,
            options.messages_max(count + 1).bytes_max(STORED_BYTES),
        )
    };
    let options = match keep {
        Keep::Nothing => options.queue_max(count + 1, usize::MAX >> 1),
        Keep::Memory => options.store(Memory::new(count + 1, STORED_BYTES)),
        Keep::Flushed => options.store(on_disk(Level::Flushed)?),
        Keep::Synced => options.store(on_disk(Level::Synced)?),
    };
    let client = Client::open(&endpoint.parse()?, options)?;
    if is_connected {
        client.wait_connected()?;
    }
    let level = if is_connected {
        Wait::Ack
    } else {
        Wait::Stored
    };
    let written = program::written()?;
    let left = Cell::new(*count);
    let one = || {
        while left.get() > 0 {
            left.set(left.get() - 1);
            let message = Publish::to(TOPIC, &PAYLOAD).qos(QoS::AtLeastOnce);
            client.publish(message.wait(level))?;
        }
        Ok(())
    };
    let trips = Cell::new(Vec::new());
    let share = Share::start();
    fiber::scope(|scope| -> Result<(), mqtt::Error> {
        for _ in 0..*window {
            scope.spawn(one)?;
        }
        if is_connected {
            scope.spawn(|| {
                trips.set(controls(&client, &left)?);
                Ok(())
            })?;
        }
        Ok(())
    })?;
    share.report(*count);
    let own = program::written()? - written;
    program::report("written", own as f64 / *count as f64);
    if is_connected {
        program::report_trips(trips.take());
        client.close(Duration::from_secs(5))?;
    }
    Ok(())
}

/// Times SUBSCRIBE and its answer, beside the messages, while there are any left. Neither waits for a disk.
fn controls(client: &Client, left: &Cell<usize>) -> Result<Vec<Duration>, mqtt::Error> {
    let mut trips = Vec::with_capacity(CONTROLS);
    while left.get() > 0 && trips.len() < CONTROLS {
        let began = Instant::now();
        client.subscribe(CONTROL, QoS::AtMostOnce, |_, _| Ok(()))?;
        trips.push(began.elapsed());
        client.unsubscribe(CONTROL)?;
        fiber::sleep(Duration::from_millis(1))?;
    }
    Ok(trips)
}

fn append(folder: &Path, bytes: usize, count: usize) -> Done {
    let path = folder.join("appended");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)?;
    let block = vec![b'x'; bytes];
    let began = Instant::now();
    for _ in 0..count {
        file.write_all(&block)?;
        file.sync_data()?;
    }
    let took = began.elapsed();
    program::report("sync_us", took.as_secs_f64() * 1e6 / count as f64);
    fs::remove_file(path)?;
    Ok(())
}
