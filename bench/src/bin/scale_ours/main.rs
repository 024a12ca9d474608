//! What the suite of growth measures, done by this project's client: `scale_ours PORT SWEEP`.

#![forbid(unsafe_code)]

mod devices;

use std::cell::Cell;
use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bench::mqtt::sink;
use bench::mqtt::task::TOPIC;
use bench::program::{self, Share};
use bench::sweep::{self, Beside, Sweep};
use fiber::net::TcpStream;
use fiber::{Event, FiberBuilder};
use mqtt::store::Memory;
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};

type Done = Result<(), Box<dyn Error>>;

/// Bytes of a payload.
const PAYLOAD: [u8; 64] = [b'x'; 64];
/// Fibers that publish, each of which waits for its message.
const PUBLISHERS: usize = 100;
/// And all others together.
const OTHER_FIBERS: usize = 10_000;
/// Until nothing moves any more.
const REST: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    sweep::main(|port, sweep| {
        // A device takes some: its own, those of its client, those of the broker for it.
        let runtime = fiber::Runtime::builder().fibers_max(6 * sweep.n + OTHER_FIBERS);
        match runtime.run(move || perform(port, sweep)) {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
}

fn perform(port: u16, sweep: Sweep) -> Done {
    match sweep.beside {
        Beside::Queued => queued(port, sweep.n, options()?),
        Beside::Stored => queued(
            port,
            sweep.n,
            options()?.store(Memory::new(sweep.n + 1, 1 << 40)),
        ),
        Beside::Filters => filters(port, sweep),
        Beside::Fibers => fibers(port, sweep),
        Beside::Connections => connections(port, sweep),
        Beside::Devices => devices::perform(sweep),
    }
}

fn options() -> Result<ClientOptions, Box<dyn Error>> {
    Ok(ClientOptions::new(ClientId::new("scale")?))
}

fn message() -> Publish<'static> {
    Publish::to(TOPIC, &PAYLOAD).qos(QoS::AtLeastOnce)
}

fn open(port: u16) -> Result<Client, Box<dyn Error>> {
    let client = Client::open(&format!("mqtt://127.0.0.1:{port}").parse()?, options()?)?;
    client.wait_connected()?;
    Ok(client)
}

/// Everything is published before CONNECT is sent.
fn queued(port: u16, n: usize, options: ClientOptions) -> Done {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port).into())?;
    let client = Client::over(socket, options.queue_max(n + 1, usize::MAX >> 1));
    let share = Share::start();
    for _ in 1..n {
        drop(client.publish(message().wait(Wait::None))?);
    }
    let mut last = client.publish(message().wait(Wait::None))?;
    client.connect()?;
    last.wait(Wait::Ack)?;
    share.report(n);
    client.close(Duration::from_secs(5))?;
    Ok(())
}

/// Each subscription has a filter without wildcards, and its own handler.
fn filters(port: u16, Sweep { n, count, .. }: Sweep) -> Done {
    let client = open(port)?;
    let left = Rc::new(Cell::new(count));
    let all = Rc::new(Event::new());
    for number in 0..n {
        let (left, all) = (Rc::clone(&left), Rc::clone(&all));
        let filter = sink::turn_topic(n, count, number);
        client.subscribe_inline(&filter, QoS::AtMostOnce, move |_, _| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                all.set();
            }
            Ok(())
        })?;
    }
    let share = Share::start();
    client.subscribe_inline(&sink::turn_filter(n, count), QoS::AtMostOnce, |_, _| Ok(()))?;
    all.wait()?;
    share.report(count);
    client.close(Duration::from_secs(5))?;
    Ok(())
}

fn fibers(port: u16, Sweep { n, count, .. }: Sweep) -> Done {
    let never = Rc::new(Event::new());
    let mut waiting = Vec::with_capacity(n);
    for _ in 0..n {
        let never = Rc::clone(&never);
        waiting.push(FiberBuilder::new().spawn(move || never.wait())?);
    }
    fiber::yield_now()?;
    let client = open(port)?;
    measure(&client, count)?;
    client.close(Duration::from_secs(5))?;
    never.set();
    Ok(())
}

fn connections(port: u16, Sweep { n, count, .. }: Sweep) -> Done {
    let first = open(port)?;
    // Before there are publishers, whose stacks would be taken for those of connections.
    let before = program::resident();
    let mut idle = Vec::with_capacity(n);
    for _ in 0..n {
        idle.push(open(port)?);
    }
    fiber::sleep(REST)?;
    let grown = program::resident().saturating_sub(before);
    program::report("each", grown as f64 / n as f64);
    publish(&first, PUBLISHERS)?;
    measure(&first, count)
}

/// Publishes, and reports.
fn measure(client: &Client, count: usize) -> Done {
    let share = Share::start();
    publish(client, count)?;
    share.report(count);
    Ok(())
}

/// Publishes by fibers that wait for each message.
fn publish(client: &Client, count: usize) -> Done {
    let left = Cell::new(count);
    let one = || {
        while left.get() > 0 {
            left.set(left.get() - 1);
            client.publish(message().wait(Wait::Ack))?;
        }
        Ok(())
    };
    fiber::scope(|scope| -> Result<(), mqtt::Error> {
        for _ in 0..PUBLISHERS {
            scope.spawn(one)?;
        }
        Ok(())
    })?;
    Ok(())
}
