//! The tasks of the mqtt suite, done by this project's client: `mqtt_ours ADDRESS TASK`.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bench::mqtt::address::Address;
use bench::mqtt::task::{Kind, TOPIC, Task};
use bench::program::{self, Share};
use fiber::Event;
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};
use safe_rt::{ClientTlsOptions, DialOptions, Trust};

type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    program::client(0, |_, address, task| {
        let address = address.clone();
        match fiber::run(move || perform(&address, task)) {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
}

fn perform(address: &Address, task: Task) -> Done {
    if task.kind == Kind::Connect {
        let share = Share::start();
        for _ in 0..task.count {
            connect(address, task)?.close(Duration::from_secs(5))?;
        }
        share.report(task.count);
        return Ok(());
    }
    let client = connect(address, task)?;
    let payload = vec![b'x'; task.bytes];
    match task.kind {
        Kind::Delay => {
            let mut trips = Vec::with_capacity(task.count);
            for _ in 0..task.count {
                let began = Instant::now();
                client.publish(message(&payload, task).wait(Wait::Ack))?;
                trips.push(began.elapsed());
            }
            program::report_trips(trips);
        }
        _ => {
            let share = Share::start();
            match task.kind {
                Kind::Receive => receive(&client, task, false)?,
                Kind::Inline => receive(&client, task, true)?,
                Kind::Publish if task.qos > 0 => publish(&client, task, &payload)?,
                _ => stream(&client, task, &payload)?,
            }
            share.report(task.count);
        }
    }
    client.close(Duration::from_secs(5))?;
    Ok(())
}

fn connect(address: &Address, task: Task) -> Result<Client, Box<dyn Error>> {
    let window = u16::try_from(task.window)?;
    let mut options = ClientOptions::new(ClientId::new("ours")?)
        .window(window)
        .exactly_once_window(window)
        .maximum_packet_size(1 << 20);
    if task.kind == Kind::Stream || task.qos == 0 {
        // Whoever publishes faster than the broker takes waits for room, and not behind a queue that is
        // full all the time.
        options = options.queue_max(1, 1 << 20);
    }
    if let Some(authority) = address.authority()? {
        let tls = ClientTlsOptions::new(Trust::from_pem(authority)?).build()?;
        options = options.dial(DialOptions::new().tls(tls));
    }
    let client = Client::open(&address.url("mqtt", "mqtts").parse()?, options)?;
    client.wait_connected()?;
    Ok(client)
}

fn qos(task: Task) -> QoS {
    match task.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

fn message(payload: &[u8], task: Task) -> Publish<'_> {
    Publish::to(TOPIC, payload).qos(qos(task))
}

/// One fiber for each place of the window, which waits for each of its messages.
fn publish(client: &Client, task: Task, payload: &[u8]) -> Done {
    let left = Cell::new(task.count);
    let one = || {
        while left.get() > 0 {
            left.set(left.get() - 1);
            client.publish(message(payload, task).wait(Wait::Ack))?;
        }
        Ok(())
    };
    fiber::scope(|scope| -> Result<(), mqtt::Error> {
        for _ in 0..task.window {
            scope.spawn(one)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// One fiber, which waits for the last message alone; at QoS 0 for one that is acknowledged, behind all.
/// A round trip is the same with each message the last one.
fn stream(client: &Client, task: Task, payload: &[u8]) -> Done {
    let level = if task.kind == Kind::Trip {
        Wait::Ack
    } else {
        Wait::None
    };
    for _ in 1..task.count {
        drop(client.publish(message(payload, task).wait(level))?);
    }
    let last = message(payload, task);
    let last = match task.qos {
        0 => last.qos(QoS::AtLeastOnce),
        _ => last,
    };
    client.publish(last.wait(Wait::Ack))?;
    Ok(())
}

fn receive(client: &Client, task: Task, inline: bool) -> Done {
    let left = Rc::new(Cell::new(task.count));
    let all = Rc::new(Event::new());
    let (counter, end) = (Rc::clone(&left), Rc::clone(&all));
    let count = move |payload: &[u8]| {
        assert_eq!(payload.len(), task.bytes);
        counter.set(counter.get() - 1);
        if counter.get() == 0 {
            end.set();
        }
    };
    if inline {
        client.subscribe_inline(&task.filter(), qos(task), move |_, message| {
            count(message.data);
            Ok(())
        })?;
    } else {
        client.subscribe(&task.filter(), qos(task), move |_, message| {
            count(&message.data);
            Ok(())
        })?;
    }
    all.wait()?;
    Ok(())
}
