//! The tasks of the mqtt suite, done by paho-mqtt, which wraps a library in C with threads of its own:
//! `mqtt_paho ADDRESS TASK`. A message that is published gives a token, which is waited for where the window
//! is full. With a folder in the environment (`BENCH_KEEP`) it keeps each message in a file there until it is
//! acknowledged.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bench::mqtt::address::Address;
use bench::mqtt::task::{Kind, TOPIC, Task};
use bench::program::{self, Share};
use paho_mqtt::{
    AsyncClient, ConnectOptionsBuilder, CreateOptionsBuilder, DeliveryToken, Message,
    PersistenceType,
};

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    program::client(0, |_, address, task| {
        perform(address, task).map_err(|error| error.to_string())
    })
}

fn perform(address: &Address, task: Task) -> Done {
    if address.authority.is_some() {
        return Err("it is built without TLS".into());
    }
    if task.kind == Kind::Connect {
        let client = create(address, task)?;
        let share = Share::start();
        for _ in 0..task.count {
            connect(&client, task)?;
            client.disconnect(None).wait()?;
        }
        share.report(task.count);
        return Ok(());
    }
    let client = create(address, task)?;
    if matches!(task.kind, Kind::Receive | Kind::Inline) {
        return receive(&client, task);
    }
    connect(&client, task)?;
    let payload = vec![b'x'; task.bytes];
    let qos = i32::from(task.qos);
    let share = Share::start();
    let written = program::written().ok();
    match task.kind {
        Kind::Trip => {
            for _ in 0..task.count {
                client
                    .publish(Message::new(TOPIC, payload.as_slice(), qos))
                    .wait()?;
            }
        }
        Kind::Delay => {
            let mut trips = Vec::with_capacity(task.count);
            for _ in 0..task.count {
                let began = Instant::now();
                client
                    .publish(Message::new(TOPIC, payload.as_slice(), qos))
                    .wait()?;
                trips.push(began.elapsed());
            }
            program::report_trips(trips);
            return Ok(());
        }
        _ => {
            let mut tokens: VecDeque<DeliveryToken> = VecDeque::with_capacity(task.window);
            for _ in 0..task.count {
                if tokens.len() == task.window
                    && let Some(oldest) = tokens.pop_front()
                {
                    oldest.wait()?;
                }
                tokens.push_back(client.publish(Message::new(TOPIC, payload.as_slice(), qos)));
            }
            for token in tokens {
                token.wait()?;
            }
            if task.qos == 0 {
                // The one that is answered, behind all.
                client
                    .publish(Message::new(TOPIC, payload.as_slice(), 1))
                    .wait()?;
            }
        }
    }
    share.report(task.count);
    // Packets among them, for it writes to its socket by the same call.
    if let (Some(before), Ok(after)) = (written, program::written()) {
        program::report("written", (after - before) as f64 / task.count as f64);
    }
    client.disconnect(None).wait()?;
    Ok(())
}

fn create(address: &Address, task: Task) -> Result<AsyncClient, Box<dyn std::error::Error>> {
    let options = CreateOptionsBuilder::new_v3()
        .server_uri(address.url("mqtt", "mqtts"))
        .client_id("peer")
        .max_buffered_messages(i32::try_from(task.window)?)
        .persistence(match std::env::var_os(program::KEEP_VARIABLE) {
            Some(folder) if !folder.is_empty() => PersistenceType::FilePath(folder.into()),
            _ => PersistenceType::None,
        });
    Ok(AsyncClient::new(options.finalize())?)
}

fn connect(client: &AsyncClient, task: Task) -> Done {
    let options = ConnectOptionsBuilder::new_v3()
        .clean_session(true)
        .keep_alive_interval(Duration::from_secs(60))
        .max_inflight(i32::try_from(task.window)?)
        .finalize();
    client.connect(options).wait()?;
    Ok(())
}

fn receive(client: &AsyncClient, task: Task) -> Done {
    let messages = client.start_consuming();
    connect(client, task)?;
    let share = Share::start();
    client
        .subscribe(task.filter(), i32::from(task.qos))
        .wait()?;
    for _ in 0..task.count {
        let message = messages.recv()?.ok_or("the connection has ended")?;
        assert_eq!(message.payload().len(), task.bytes);
    }
    share.report(task.count);
    client.disconnect(None).wait()?;
    Ok(())
}
