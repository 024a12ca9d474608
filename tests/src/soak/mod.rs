//! Publishers, a server and a subscriber for a long time, and all goes wrong that may: links fail, the
//! publishers are killed, the server is restarted. Then all that was published must have arrived.
//!
//! The publishers are programs of their own, whose stores outlive them; the server is a Mosquitto that
//! saves what it holds when it is told to end. Killing the server is not part of it: a server that loses
//! what it has acknowledged loses messages, whatever its clients do.
//!
//! The links fail, the publishers are killed and the server is restarted all the time. Mosquitto 2.0.11
//! has two faults that no client can make up for; both show with subscribers on bare sockets too:
//!
//! - To a subscriber that comes back and has more waiting than may be in flight to it (20 by default), it
//!   sends what has just been published before what has waited. So nothing bounds what is in flight here.
//! - After a restart it sends QoS 2 messages again for which it had sent PUBREL. `watch` tells these from
//!   doubles that are ours.

mod report;
mod subscriber;
mod watch;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use fiber::Event;
use mqtt::QoS;
use mqtt::store::{File, Identity, Level, Store as _, StoreOptions};

pub use self::report::{Report, Stream, TROUBLES_MIN};
use self::subscriber::Inlet;
use self::watch::Watch;
use crate::lives::{self, Publisher, Settings};
use crate::mosquitto::{Listener, Mosquitto, Options as ServerOptions};
use crate::peers::Peers;
use crate::process::mosquitto_pub;
use crate::proxy::{Proxy, Times};
use crate::random::Random;
use crate::temp_dir::TempDir;

/// What is published behind the numbers.
const END: &str = "end";

/// Messages that a publisher's last life publishes beyond the highest that it told of.
const AT_THE_END: u64 = 200;

/// How long each step may take once nothing goes wrong any more.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// When the links fail.
const FAULTS: Times = Times {
    sound: Duration::from_millis(50)..=Duration::from_millis(1500),
    fault: Duration::from_millis(50)..=Duration::from_millis(1500),
};

/// A run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `durable_publisher`.
    pub program: PathBuf,
    /// How long all goes wrong.
    pub length: Duration,
    /// Messages that each publisher publishes in a second.
    pub rate: u32,
    /// What decides over what goes wrong.
    pub seed: u64,
}

impl Options {
    /// How long a publisher lives: many lives in a short run, and no life of hours in a long one.
    fn life(&self) -> RangeInclusive<Duration> {
        let (short, long) = (Duration::from_millis(200), Duration::from_secs(20));
        (self.length / 40).clamp(short, long)..=(self.length / 12).clamp(short, long)
    }

    /// How long the server runs before it is restarted.
    fn service(&self) -> RangeInclusive<Duration> {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(60));
        (self.length / 16).clamp(short, long)..=(self.length / 8).clamp(short, long)
    }
}

/// What went wrong that should not have.
#[derive(Clone, Debug, Default)]
struct Errors(std::rc::Rc<std::cell::RefCell<Vec<String>>>);

impl Errors {
    /// Notes the error, if it is one.
    fn note<T>(&self, what: &str, result: io::Result<T>) -> Option<T> {
        result
            .map_err(|error| self.0.borrow_mut().push(format!("{what}: {error}")))
            .ok()
    }
}

/// What the lives of a publisher came to.
struct Lived {
    publisher: Publisher,
    kills: u32,
    peak: Option<u64>,
}

/// Runs everything and returns what was found.
///
/// # Errors
/// When it cannot be set up. What goes wrong from then on stands in the report.
pub fn run(peers: &Peers, options: &Options) -> Result<Report, Box<dyn Error>> {
    let (peers, options) = (peers.clone(), options.clone());
    fiber::run(move || main_fiber(&peers, &options).map_err(|error| error.to_string()))?
        .map_err(Into::into)
}

fn main_fiber(peers: &Peers, options: &Options) -> Result<Report, Box<dyn Error>> {
    let mut random = Random::new(options.seed);
    let folder = TempDir::new("soak");
    let server = start_server(peers, &folder)?;
    let (port, address) = (
        server.port(Listener::Plain),
        server.address(Listener::Plain),
    );
    let watch = Watch::default();
    let watching = watch.clone();
    let mut draw = || Random::new(random.draw());
    let publishers_link = Proxy::start(address, FAULTS, draw())?;
    let subscribers_link = Proxy::watched(address, FAULTS, draw(), move || watching.connection())?;
    let client = subscriber::open(subscribers_link.address())?;
    let parts = [QoS::AtLeastOnce, QoS::ExactlyOnce].map(|qos| {
        let topic = format!("soak/{}", qos as u8);
        let inlet = subscriber::subscribe(&client, &topic, &watch)?;
        Ok::<_, mqtt::Error>((publisher(options, qos, publishers_link.address()), inlet))
    });
    let [first, second] = parts;
    let (first, second) = (first?, second?);

    let errors = Errors::default();
    let over = Event::new();
    let mut lives = Vec::new();
    let mut inlets = Vec::new();
    for (publisher, inlet) in [first, second] {
        let (errors, over) = (errors.clone(), over.clone());
        let (life, random) = (options.life(), Random::new(random.draw()));
        lives.push(fiber::spawn(move || {
            live(publisher, &life, random, &over, &errors)
        })?);
        inlets.push(inlet);
    }
    publishers_link.begin_faults();
    subscribers_link.begin_faults();
    let mut serving = {
        let (errors, over) = (errors.clone(), over.clone());
        let (service, random) = (options.service(), Random::new(random.draw()));
        fiber::spawn(move || restart(server, &service, random, &over, &errors))?
    };
    fiber::sleep(options.length)?;
    over.set();
    for link in [&publishers_link, &subscribers_link] {
        link.end_faults();
    }
    // It lives until the end.
    let (_server, restarts) = serving.join()?;

    let mut streams = Vec::new();
    for (mut lived, inlet) in lives.into_iter().zip(&inlets) {
        let lived = lived.join()??;
        streams.push(drain(peers, port, lived, inlet, &errors));
    }
    let _ = client.close(DRAIN_TIMEOUT);
    Ok(Report {
        seed: options.seed,
        length: options.length,
        streams,
        restarts,
        publishers_link: publishers_link.counts(),
        subscribers_link: subscribers_link.counts(),
        peak: lives::peak_memory(std::process::id()),
        errors: errors.0.take(),
    })
}

/// A server that keeps all that it has acknowledged, and its order.
fn start_server(peers: &Peers, folder: &TempDir) -> io::Result<Mosquitto> {
    let location = format!("persistence_location {}/", folder.path().display());
    let mut options = ServerOptions::new(peers)
        .line("persistence true")
        .line(&location)
        .line("autosave_interval 0")
        .line("max_queued_messages 0")
        .line("max_inflight_messages 0");
    // Not every packet: a run may be long.
    for kind in ["none", "error", "warning", "notice", "information"] {
        options = options.line(&format!("log_type {kind}"));
    }
    fiber::offload(move || options.start().map_err(io::Error::other))?
}

fn publisher(options: &Options, qos: QoS, link: SocketAddr) -> Publisher {
    Publisher::new(Settings {
        program: options.program.clone(),
        port: link.port(),
        id: format!("publisher-{}", qos as u8),
        topic: format!("soak/{}", qos as u8),
        qos,
        rate: options.rate,
    })
}

/// Waits for a time that is drawn, or until all is over.
fn wait(over: &Event, random: &mut Random, range: &RangeInclusive<Duration>) {
    // The end of the wait is all that counts.
    let _ = fiber::timeout(random.time(range), || over.wait());
}

/// Lets a publisher live and kills it, again and again.
fn live(
    mut publisher: Publisher,
    life: &RangeInclusive<Duration>,
    mut random: Random,
    over: &Event,
    errors: &Errors,
) -> io::Result<Lived> {
    let (mut kills, mut peak) = (0, None);
    while !over.is_set() {
        let started;
        (publisher, started) = fiber::offload(move || {
            let started = publisher.start(u64::MAX);
            (publisher, started)
        })?;
        let running = started?;
        wait(over, &mut random, life);
        let (killed, memory);
        (publisher, killed, memory) = fiber::offload(move || {
            let memory = lives::peak_memory(running.id());
            let killed = publisher.kill(running);
            (publisher, killed, memory)
        })?;
        peak = peak.max(memory);
        kills += u32::from(errors.note("a life of a publisher", killed).is_some());
    }
    Ok(Lived {
        publisher,
        kills,
        peak,
    })
}

/// Ends the server and starts it again, again and again.
fn restart(
    mut server: Mosquitto,
    service: &RangeInclusive<Duration>,
    mut random: Random,
    over: &Event,
    errors: &Errors,
) -> (Option<Mosquitto>, u32) {
    let mut restarts = 0;
    loop {
        wait(over, &mut random, service);
        if over.is_set() {
            return (Some(server), restarts);
        }
        let restarted = fiber::offload(move || {
            server.terminate();
            server.start_again().map_err(io::Error::other)?;
            Ok(server)
        });
        let restarted = restarted.unwrap_or_else(|error| Err(error.into()));
        match errors.note("a restart of the server", restarted) {
            Some(again) => server = again,
            None => return (None, restarts),
        }
        restarts += 1;
    }
}

/// Lets a publisher live until all is acknowledged, and waits until all has come.
fn drain(peers: &Peers, port: u16, lived: Lived, inlet: &Inlet, errors: &Errors) -> Stream {
    let Lived {
        mut publisher,
        kills,
        peak,
    } = lived;
    let peers = peers.clone();
    let drained = fiber::offload(move || {
        let count = publisher.acknowledged().highest() + AT_THE_END;
        let finished = publisher
            .start(count)
            .and_then(|life| publisher.finish(life, DRAIN_TIMEOUT));
        // The server keeps the order: what comes of the numbers comes before this.
        let end = ["-t", &publisher.settings().topic, "-q", "2", "-m", END];
        let said = mosquitto_pub(&peers, port, &end).map_err(io::Error::other);
        (publisher, finished, said)
    });
    let (publisher, finished, said) = drained.expect("the offloaded work does not panic");
    errors.note("the last life of a publisher", finished);
    errors.note("the end of a stream", said);
    if fiber::timeout(DRAIN_TIMEOUT, || inlet.ended.wait()).is_err() {
        errors.note::<()>("the subscriber", Err(io::ErrorKind::TimedOut.into()));
    }
    let owned = errors.note("the store of a publisher", owned(&publisher));
    let received = inlet.received();
    Stream {
        qos: publisher.settings().qos,
        kills,
        owned: owned.unwrap_or_default(),
        acknowledged: publisher.acknowledged().clone(),
        arrivals: received.arrivals,
        blamed: received.blamed,
        outage: received.outage,
        peak,
    }
}

/// Returns how many messages are in the store of a publisher.
fn owned(publisher: &Publisher) -> io::Result<usize> {
    let Settings { port, id, .. } = publisher.settings();
    let identity = Identity::kept(id, format!("mqtt://127.0.0.1:{port}"));
    let options = StoreOptions::new(identity, Level::Synced);
    let store = File::open(publisher.state(), options).map_err(io::Error::other)?;
    let recovered = store.recovered();
    Ok(recovered.queued.len() + recovered.in_flight.len() + recovered.released.len())
}
