//! The program of a device whose machine crashes: it owns each reading until its store does, and goes
//! on after each crash with what it finds there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::Host;
use fiber::{Elapsed, JoinHandle, sleep, timeout};
use mqtt::store::{File, Identity, Key, Level, Mode, OpenError, Store, StoreOptions};
use mqtt::{
    Client, ClientOptions, Error, Outcome, Planted, Publish, PublishError, QoS, Remaining,
    Subscribe, Ticket, Wait, WaitCause, WaitError,
};

use crate::faults::{draw, draw_up_to};
use crate::scene::{LINK_UP, PATIENCE, TOPIC, Transport};
use crate::tap;

/// Readings that the device publishes, over all its lives.
pub(crate) const READINGS: u8 = 40;
/// Messages that the device is sent.
pub(crate) const COMMANDS: u8 = 12;
/// Where the device is sent them.
pub(crate) const COMMAND_TOPIC: &str = "meter/command";
/// What a close may take beyond its time, store included.
const CLOSING: Duration = Duration::from_secs(7);
const FOLDER: &str = "/var/lib/store";

/// What was seen of all lives of the program. It lies outside the machine.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Readings of which the client said that they are stored, or kept.
    pub(crate) owned: BTreeSet<u8>,
    /// Readings of which it said that the broker has them, and whether maybe twice: false if it
    /// ever said so.
    pub(crate) acked: BTreeMap<u8, bool>,
    /// Readings that a power cut took while it left later ones: of what was not synced any part may be
    /// there. They are published again, behind those.
    pub(crate) late: BTreeSet<u8>,
    /// Commands whose handler was started, in each life.
    pub(crate) handled: Vec<Vec<u8>>,
    /// Commands that the broker has acknowledged to their sender.
    pub(crate) commanded: BTreeSet<u8>,
    /// The disk was full at some time: a message that finds no room may be overtaken.
    pub(crate) was_full: bool,
    /// What was settled when a reading was first published: it comes before that.
    pub(crate) before: BTreeMap<u8, BTreeSet<u8>>,
    /// How many lives found what in their store.
    pub(crate) found: Found,
}

/// How many lives found messages in these states.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) queued: u32,
    pub(crate) in_flight: u32,
    pub(crate) released: u32,
    pub(crate) received: u32,
}

impl Ledger {
    fn note(&mut self, number: u8, outcome: Option<Outcome>) {
        match outcome {
            None | Some(Outcome::Kept) => {
                self.owned.insert(number);
            }
            Some(Outcome::Acked { maybe_twice }) => {
                let twice = self.acked.entry(number).or_insert(maybe_twice);
                *twice &= maybe_twice;
            }
            Some(other) => panic!("reading {number} came to {other:?}"),
        }
    }

    /// Notes that a reading is about to be published.
    fn begin(&mut self, number: u8) {
        let settled = (0..number).filter(|of| self.is_settled(*of)).collect();
        self.before.entry(number).or_insert(settled);
    }

    /// Checks that of one QoS what was published first came first, as far as the store was sure of
    /// it in time.
    pub(crate) fn check_order(&self, seen: &[u8]) {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut first = Vec::new();
            for &number in seen.iter().filter(|&&number| qos_of(number) == qos) {
                if !first.contains(&number) && !self.late.contains(&number) {
                    first.push(number);
                }
            }
            if !self.was_full {
                assert!(first.is_sorted(), "{qos:?} out of order: {seen:?}");
            }
            for (at, number) in first.iter().enumerate() {
                let Some(before) = self.before.get(number) else {
                    continue;
                };
                let is_overtaken = |later: &&u8| before.contains(later);
                let overtaken = first[at..].iter().find(is_overtaken);
                assert_eq!(overtaken, None, "{number} came before it: {seen:?}");
            }
        }
    }

    fn is_settled(&self, number: u8) -> bool {
        self.owned.contains(&number) || self.acked.contains_key(&number)
    }

    /// Whether the handler of each command was started.
    fn all_handled(&self) -> bool {
        (0..COMMANDS).all(|command| self.handled.iter().flatten().any(|&of| of == command))
    }
}

/// How the device works in one run.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) transport: Transport,
    pub(crate) level: Level,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    /// What left and came.
    pub(crate) tap: Rc<RefCell<tap::Log>>,
    /// What its client does wrong.
    pub(crate) planted: Option<Planted>,
    /// It is sent commands.
    pub(crate) is_commanded: bool,
    /// Set when the broker has its subscription.
    pub(crate) subscribed: Rc<fiber::Event>,
    /// Its machine.
    pub(crate) host: Host,
    window: u16,
    /// It publishes again also what it is sure of.
    repeats: bool,
}

impl Device {
    pub(crate) fn new(transport: Transport, level: Level, host: Host) -> Self {
        Self {
            host,
            transport,
            level,
            ledger: Rc::default(),
            tap: Rc::default(),
            planted: None,
            is_commanded: true,
            subscribed: Rc::default(),
            window: [1, 3, 10, 100][draw(4) as usize],
            repeats: draw(2) == 0,
        }
    }

    fn store_options(&self) -> StoreOptions {
        let identity = Identity {
            client_id: "device".to_owned(),
            endpoint: self.transport.endpoint.to_owned(),
            protocol_level: 4,
            mode: Mode::Kept,
        };
        StoreOptions::new(identity, self.level)
            .segment_bytes(2_048)
            .reserve_bytes(4_096)
    }

    /// The store and the client, once the disk has let them be. A file that cannot be read is put aside
    /// when a store is opened, so reads fail after that alone.
    fn open(&self) -> (File, Client) {
        self.host.set_failing_reads(0);
        loop {
            let opened = File::open(FOLDER, self.store_options());
            let opened = opened.map(|store| {
                let options = self.transport.options("device").window(self.window);
                let options = options.planted(self.planted);
                let client = self.open_client(options.store(store.clone()));
                (store, client)
            });
            match opened {
                Ok((store, Ok(client))) => {
                    if draw(3) == 0 {
                        self.host.set_failing_reads(draw(100_000));
                    }
                    return (store, client);
                }
                Err(OpenError::Io(_)) => {}
                Ok((_, Err(error))) => panic!("the client was not opened: {error}"),
                Err(error) => panic!("the store was not opened: {error}"),
            }
            let _ = sleep(Duration::from_millis(50));
        }
    }

    fn open_client(&self, options: ClientOptions) -> Result<Client, Error> {
        let (transport, log) = (self.transport.clone(), Rc::clone(&self.tap));
        let dial = move || Ok(tap::tap(transport.dial()?, &log));
        let client = Client::open_by(dial, options)?;
        let coverage = self.transport.coverage.clone();
        client.on_event(move |_, event| coverage.note_event(event));
        Ok(client)
    }

    /// Notes what becomes of a reading.
    fn watch(&self, number: u8, mut ticket: Ticket) -> JoinHandle<()> {
        let ledger = Rc::clone(&self.ledger);
        let watch = move || {
            if ticket.wait(Wait::Stored).is_ok() {
                ledger.borrow_mut().note(number, ticket.poll());
            }
            let waited = ticket.wait(Wait::Ack);
            let outcome = ticket.poll();
            assert!(outcome.is_some(), "reading {number}: {waited:?}");
            // The client ended before its store was sure of the reading: it is published again.
            if !matches!(outcome, Some(Outcome::Withdrawn | Outcome::SessionLost)) {
                ledger.borrow_mut().note(number, outcome);
            }
        };
        fiber::spawn(watch).expect("a fiber")
    }

    /// The body of the program: as long as the machine lets it, or until all is done.
    pub(crate) fn live(&self, is_last: bool) {
        let (store, client) = self.open();
        let life = self.begin(&store);
        if is_last {
            let up = timeout(LINK_UP, || client.wait_connected());
            let up = up.expect("it is connected in time, for nothing goes wrong any more");
            up.expect("it is open");
            self.cut_some();
        }
        self.subscribe(&client, life);
        let mut watchers = Vec::new();
        for (key, ticket) in client.stored() {
            let number = key.expect("each has a key").as_bytes()[0];
            watchers.push(self.watch(number, ticket));
        }
        let is_closing = !is_last && draw(3) == 0;
        if is_closing {
            let (device, client, store) = (self.clone(), client.clone(), store.clone());
            let leave = move || {
                let _ = sleep(draw_up_to(Duration::from_secs(3)));
                device.close(client, store, draw_up_to(Duration::from_secs(3)));
            };
            fiber::spawn(leave).expect("a fiber");
        }
        self.publish_all(&client, &mut watchers);
        if !is_last {
            let lets_go = is_closing || draw(4) == 0;
            let held = (!lets_go).then_some((client, store));
            let _ = sleep(PATIENCE * 24);
            drop(held);
            return;
        }
        let settle = || {
            for watcher in &mut watchers {
                watcher.join().expect("it is watched to its end");
            }
            while self.is_commanded && !self.ledger.borrow().all_handled() {
                sleep(Duration::from_secs(1)).expect("all commands are handled in time");
            }
        };
        timeout(PATIENCE, settle).expect("all is done once nothing goes wrong");
        let remaining = self.close(client, store, Duration::from_secs(60));
        assert_eq!(remaining, Remaining::default());
        self.host.set_failing_reads(0);
        let store = File::open(FOLDER, self.store_options()).expect("the disk is well");
        let left = store.recovered();
        assert!(left.queued.is_empty(), "{left:?}");
        assert!(left.in_flight.is_empty(), "{left:?}");
        assert!(left.released.is_empty(), "{left:?}");
    }

    /// Has the connection end a few times more.
    fn cut_some(&self) {
        let tap = Rc::clone(&self.tap);
        let cut = move || {
            for _ in 0..draw(4) {
                let _ = sleep(draw_up_to(Duration::from_millis(500)));
                tap.borrow().cut();
            }
        };
        fiber::spawn(cut).expect("a fiber");
    }

    /// Compares what the store has with what was said of it; returns the number of this life.
    fn begin(&self, store: &File) -> usize {
        let mut ledger = self.ledger.borrow_mut();
        for number in &ledger.owned {
            let known = store.key(&key_of(*number));
            assert!(known.is_some(), "reading {number} was stored");
        }
        let is_known = |number: &u8| store.key(&key_of(*number)).is_some();
        let last = (0..READINGS).rev().find(is_known).unwrap_or(0);
        let lost = (0..last).filter(|number| !is_known(number));
        ledger.late.extend(lost);
        let recovered = store.recovered();
        self.tap.borrow_mut().new_life(&recovered);
        let found = &mut ledger.found;
        found.queued += u32::from(!recovered.queued.is_empty());
        found.in_flight += u32::from(!recovered.in_flight.is_empty());
        found.released += u32::from(!recovered.released.is_empty());
        found.received += u32::from(!recovered.received.is_empty());
        ledger.handled.push(Vec::new());
        ledger.handled.len() - 1
    }

    fn subscribe(&self, client: &Client, life: usize) {
        let (client, ledger) = (client.clone(), Rc::clone(&self.ledger));
        let subscribed = Rc::clone(&self.subscribed);
        let tap = self.tap.clone();
        let handler = move |_: &Client, command: &mqtt::Message| {
            let number = command.data[0];
            let is_done = tap.borrow().acknowledged.contains(&number);
            assert!(
                !is_done,
                "command {number} was acknowledged and comes again"
            );
            ledger.borrow_mut().handled[life].push(number);
            if draw(3) == 0 {
                let _ = sleep(draw_up_to(Duration::from_millis(300)));
            }
            Ok(())
        };
        let subscribe = move || {
            let commands = Subscribe::to(COMMAND_TOPIC, QoS::ExactlyOnce).wait(Wait::Ack);
            // An error is that the client was closed before.
            if client.subscribe_as(commands, handler).is_ok() {
                subscribed.set();
            }
        };
        fiber::spawn(subscribe).expect("a fiber");
    }

    /// Publishes what the store may not have, until the client is closed.
    fn publish_all(&self, client: &Client, watchers: &mut Vec<JoinHandle<()>>) {
        let pause = [2, 100, 1_000][draw(3) as usize];
        for number in 0..READINGS {
            if !self.repeats && self.ledger.borrow().is_settled(number) {
                continue;
            }
            self.ledger.borrow_mut().begin(number);
            let Some(ticket) = self.publish(client, number) else {
                return;
            };
            watchers.push(self.watch(number, ticket));
            if draw(4) != 0 {
                let _ = sleep(draw_up_to(Duration::from_millis(pause)));
            }
        }
    }

    /// Publishes a reading; `None` if the client was closed before it was taken.
    fn publish(&self, client: &Client, number: u8) -> Option<Ticket> {
        let payload = vec![number; 1 + usize::from(number) * 37 % 200];
        let publish = Publish::to(TOPIC, &payload)
            .qos(qos_of(number))
            .key(key_of(number));
        loop {
            let wait = [Wait::None, Wait::Stored, Wait::Stored, Wait::Ack][draw(4) as usize];
            let limit = match wait {
                Wait::Ack => Some(Duration::from_secs(2)),
                Wait::Stored if draw(3) == 0 => Some(Duration::from_millis(20)),
                _ => None,
            };
            let publish = || client.publish(publish.wait(wait));
            let published = match limit {
                Some(limit) => {
                    let (Ok(result) | Err(Elapsed(result))) = timeout(draw_up_to(limit), publish);
                    result
                }
                None => publish(),
            };
            match published {
                Ok(ticket) => {
                    if wait == Wait::Stored {
                        self.ledger.borrow_mut().note(number, ticket.poll());
                    }
                    return Some(ticket);
                }
                Err(PublishError::Wait(WaitError { ticket, .. })) => return Some(ticket),
                Err(PublishError::Full(WaitCause::Stopped(_))) => {}
                Err(PublishError::Full(WaitCause::Closed | WaitCause::ConnectionLost(_))) => {
                    return None;
                }
                Err(error) => panic!("reading {number} was not taken: {error}"),
            }
        }
    }

    /// Closes the client, which ends in time, and looks whether the store can be opened again.
    fn close(&self, client: Client, store: File, limit: Duration) -> Remaining {
        let closed = timeout(limit + CLOSING, || client.close(limit));
        let closed = closed.expect("it ends in time").expect("no scope is over");
        drop((client, store));
        // Those who wait for tickets learn of it, and let go of the client.
        let _ = sleep(Duration::from_secs(3));
        self.host.set_failing_reads(0);
        match File::open(FOLDER, self.store_options()) {
            Ok(_) | Err(OpenError::Io(_)) => {}
            Err(error) => panic!("the store is not free after a close: {error}"),
        }
        closed
    }
}

/// The quality of service of a reading.
pub(crate) fn qos_of(number: u8) -> QoS {
    [QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(number % 2)]
}

fn key_of(number: u8) -> Key {
    Key::new([number]).expect("a byte")
}
