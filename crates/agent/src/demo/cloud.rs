//! The cloud: a broker on the loopback interface behind TLS with client certificates, which counts
//! what arrives, sends commands, checks their answers, and can spoil the link to the device.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fiber::FiberBuilder;
use mqtt::{
    Broker, BrokerMessage, BrokerOptions, CutReport, DropAcks, Faults, LocalSubscription, QoS,
};
use safe_rt::{Endpoint, Incoming, Listener, Scheme, ServerTlsOptions};

use super::count::Arrived;
use super::error::DemoError;
use super::news::News;
use super::plan::Cut;
use super::protocol::{
    ALPN, ANSWERS, COMMANDS, Command, DEVICE, FROM_DEVICES, Reading, TELEMETRY, TEMPLATE,
};
use super::timeline::{Timeline, Who};
use crate::local_cloud::{Fleet, FleetOptions, LocalAuthority};

/// How long what the cloud says is held back on a link that fails: longer than any run.
const STALL: Duration = Duration::from_secs(24 * 3600);
/// How long to wait for a message before looking whether there is another broker.
const BROKER_PACE: Duration = Duration::from_millis(50);

/// The cloud of one device.
pub(super) struct Cloud {
    /// Another one after each time that it was killed.
    broker: RefCell<Broker>,
    arrivals: RefCell<Rc<LocalSubscription>>,
    /// What gives devices their identities, over each of the brokers.
    fleets: RefCell<Vec<Fleet>>,
    authority: Rc<LocalAuthority>,
    /// Whether nobody is served: the broker is dead.
    down: Rc<Cell<bool>>,
    endpoint: Endpoint,
    listener: Listener,
    timeline: Timeline,
    news: News,
    cut: Rc<Cell<Option<CutReport>>>,
    book: RefCell<Book>,
}

#[derive(Default)]
struct Book {
    arrived: Arrived,
    /// Bytes of the last reading's packet.
    reading_len: u64,
    /// Readings that came since the link stalled.
    since_stall: BTreeSet<u64>,
    /// Commands that were sent and have no answer yet.
    unanswered: Vec<Command>,
    commands: u64,
    /// For tests of the counting: every copy of this message is overlooked.
    overlooked: Option<u64>,
}

impl Cloud {
    /// Listens on the loopback interface, at a port that the system chooses. Nobody is served before
    /// [`Cloud::serve`].
    pub(super) fn new(
        authority: &Rc<LocalAuthority>,
        timeline: &Timeline,
        news: &News,
        overlooked: Option<u64>,
    ) -> Result<Self, DemoError> {
        let tls = ServerTlsOptions::new(authority.server("127.0.0.1")?)
            .require_client_certificate(authority.trust()?)
            .alpn([ALPN])
            .build()?;
        let listener =
            Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls).map_err(DemoError::Listen)?;
        let address = listener.local_addr().map_err(DemoError::Address)?;
        let endpoint = Endpoint::new(Scheme::Mqtts, &address.to_string())?;
        let cut = Rc::new(Cell::new(None));
        let broker = new_broker(&cut, news);
        let fleet = Fleet::serve(&broker, Rc::clone(authority), FleetOptions::new(TEMPLATE))?;
        timeline.say(
            Who::Cloud,
            format_args!("listening at {endpoint}, demands a client certificate and {ALPN}"),
        );
        Ok(Self {
            arrivals: RefCell::new(Rc::new(broker.subscribe(FROM_DEVICES)?)),
            broker: RefCell::new(broker),
            fleets: RefCell::new(vec![fleet]),
            authority: Rc::clone(authority),
            down: Rc::default(),
            endpoint,
            listener,
            timeline: timeline.clone(),
            news: news.clone(),
            cut,
            book: RefCell::new(Book {
                overlooked,
                ..Book::default()
            }),
        })
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes connections until the wait for one is stopped. Yields.
    pub(super) fn serve(&self) -> Result<(), DemoError> {
        loop {
            let incoming = match self.listener.accept() {
                Ok(incoming) => incoming,
                Err(error) if fiber::cause(&error).is_some() => return Ok(()),
                Err(error) => return Err(DemoError::Listen(error)),
            };
            if self.down.get() {
                continue;
            }
            let (broker, timeline) = (self.broker(), self.timeline.clone());
            FiberBuilder::new()
                .name("cloud handshake")
                .spawn(move || welcome(&broker, &timeline, incoming))?;
        }
    }

    fn broker(&self) -> Broker {
        self.broker.borrow().clone()
    }

    fn arrivals(&self) -> Rc<LocalSubscription> {
        Rc::clone(&self.arrivals.borrow())
    }

    /// Counts what arrives, from one broker after the other, until the wait for it is stopped. Yields.
    pub(super) fn receive(&self) {
        loop {
            let arrivals = self.arrivals();
            match fiber::timeout(BROKER_PACE, || arrivals.recv()) {
                Ok(Ok(message)) | Err(fiber::Elapsed(Ok(message))) => self.enter(&message),
                Ok(Err(_)) => return,
                // To look whether there is another broker.
                Err(fiber::Elapsed(Err(_))) => {}
            }
        }
    }

    /// Counts what has arrived by now. Does not yield.
    fn receive_all(&self) {
        let arrivals = self.arrivals();
        while let Some(message) = arrivals.try_recv() {
            self.enter(&message);
        }
    }

    fn enter(&self, message: &BrokerMessage) {
        if message.topic() == ANSWERS {
            self.enter_answer(message.payload());
        } else {
            self.enter_reading(message);
        }
        self.news.tell();
    }

    fn enter_reading(&self, message: &BrokerMessage) {
        let mut book = self.book.borrow_mut();
        let sequence = match message.topic() {
            TELEMETRY => Reading::sequence_of(message.payload()),
            _ => None,
        };
        if sequence.is_some() && sequence == book.overlooked {
            return;
        }
        book.arrived.enter(sequence);
        book.since_stall.extend(sequence);
        book.reading_len = packet_len(message);
    }

    fn enter_answer(&self, payload: &[u8]) {
        let answer = std::str::from_utf8(payload).ok();
        let answer: Option<Command> = answer.and_then(|text| text.parse().ok());
        let answered = {
            let mut book = self.book.borrow_mut();
            let open = |command: &Command| Some(*command) == answer;
            let place = book.unanswered.iter().position(open);
            place.map(|place| book.unanswered.remove(place))
        };
        // The answer to a command that came once more comes once more.
        if let Some(command) = answered {
            let number = command.number;
            let text = format_args!("command {number}: answer received, it is the right one");
            self.timeline.say(Who::Cloud, text);
        }
    }

    /// Returns how many different readings have arrived.
    pub(super) fn seen(&self) -> u64 {
        self.book.borrow().arrived.distinct()
    }

    /// Waits until that many have. Yields until then.
    pub(super) fn wait_until_seen(&self, readings: u64) -> Result<(), DemoError> {
        let enough = || (self.seen() >= readings).then_some(());
        Ok(self.news.until(enough)?)
    }

    /// Sends the next command. Does not yield.
    pub(super) fn command(&self) -> Result<(), DemoError> {
        let command = {
            let mut book = self.book.borrow_mut();
            book.commands += 1;
            let number = book.commands;
            let command = Command {
                number,
                percent: number * 10 % 110,
            };
            book.unanswered.push(command);
            command
        };
        let connected = self.broker().handled_bytes(DEVICE).is_some();
        let note = if connected {
            ""
        } else {
            ", kept for the device"
        };
        self.timeline
            .say(Who::Cloud, format_args!("command {command}: sent{note}"));
        self.publish(command)
    }

    fn publish(&self, command: Command) -> Result<(), DemoError> {
        let text = command.to_string();
        Ok(self
            .broker()
            .publish(COMMANDS, text, QoS::AtLeastOnce, false)?)
    }

    /// Waits until every command is answered. Yields until then.
    pub(super) fn wait_for_answers(&self) -> Result<(), DemoError> {
        let answered = || self.book.borrow().unanswered.is_empty().then_some(());
        Ok(self.news.until(answered)?)
    }

    /// Returns how many certificates were made for devices.
    pub(super) fn certificates(&self) -> u64 {
        let fleets = self.fleets.borrow();
        let made = fleets.iter().map(|fleet| fleet.stats().certificates);
        made.sum::<usize>() as u64
    }

    /// Returns how many commands were sent, and how many of them have no answer.
    pub(super) fn commands(&self) -> (u64, u64) {
        let book = self.book.borrow();
        (book.commands, book.unanswered.len() as u64)
    }

    /// From now on nothing that the cloud says leaves for the device, acknowledgements included.
    /// Does not yield.
    pub(super) fn stall(&self) -> Result<(), DemoError> {
        self.spoil(|faults| faults.delay = STALL)
    }

    /// From now on acknowledgements are left out. Does not yield.
    pub(super) fn drop_acks(&self) -> Result<(), DemoError> {
        self.spoil(|faults| faults.drop_acks = DropAcks::All)
    }

    /// From now on nothing passes, in either direction, and the link stays. Does not yield.
    pub(super) fn freeze(&self) -> Result<(), DemoError> {
        self.spoil(|faults| faults.half_open = true)
    }

    fn spoil(&self, how: impl FnOnce(&mut Faults)) -> Result<(), DemoError> {
        // What the broker has acknowledged is entered before: all that comes later is not.
        self.receive_all();
        self.book.borrow_mut().since_stall.clear();
        let broker = self.broker();
        let mut faults = broker.faults(DEVICE);
        how(&mut faults);
        Ok(broker.set_faults(DEVICE, faults)?)
    }

    /// Ends what is wrong with the link. Does not yield.
    pub(super) fn heal(&self) -> Result<(), DemoError> {
        self.broker().set_faults(DEVICE, Faults::default())?;
        self.receive_all();
        Ok(())
    }

    /// Kills the broker: its connections end, and what it kept for the device is lost with it. Does not
    /// yield.
    pub(super) fn kill_broker(&self) -> Result<(), DemoError> {
        self.receive_all();
        self.down.set(true);
        self.broker().stop();
        let broker = new_broker(&self.cut, &self.news);
        *self.arrivals.borrow_mut() = Rc::new(broker.subscribe(FROM_DEVICES)?);
        let options = FleetOptions::new(TEMPLATE);
        let fleet = Fleet::serve(&broker, Rc::clone(&self.authority), options)?;
        self.fleets.borrow_mut().push(fleet);
        *self.broker.borrow_mut() = broker;
        Ok(())
    }

    /// Lets the new broker serve. Does not yield.
    pub(super) fn revive(&self) {
        self.down.set(false);
    }

    /// Sends the commands again that have no answer: a broker that was killed forgot them. Does not
    /// yield.
    pub(super) fn repeat_commands(&self) -> Result<(), DemoError> {
        let unanswered = self.book.borrow().unanswered.clone();
        for command in unanswered {
            let number = command.number;
            self.timeline
                .say(Who::Cloud, format_args!("command {number}: sent once more"));
            self.publish(command)?;
        }
        Ok(())
    }

    /// Cuts the link once a part of one of the device's next packets has arrived. Does not yield.
    pub(super) fn cut(&self, cut: Cut) -> Result<(), DemoError> {
        let len = self.book.borrow().reading_len;
        // The packet after next: of the next one some bytes may be there already.
        let broker = self.broker();
        let at = broker
            .handled_bytes(DEVICE)
            .map(|handled| handled + len + cut.bytes_of(len));
        let faults = Faults {
            cut_after_received: at,
            ..broker.faults(DEVICE)
        };
        Ok(broker.set_faults(DEVICE, faults)?)
    }

    /// Waits for the cut, and ends what is wrong with the link. Yields until then.
    pub(super) fn wait_for_cut(&self) -> Result<CutReport, DemoError> {
        let report = self.news.until(|| self.cut.take())?;
        self.heal()?;
        Ok(report)
    }

    /// Returns which readings came since the link stalled.
    pub(super) fn since_stall(&self) -> BTreeSet<u64> {
        self.book.borrow().since_stall.clone()
    }

    /// Returns a copy of the book of readings, and ends all connections. Does not yield.
    pub(super) fn close(&self) -> Arrived {
        self.receive_all();
        self.broker().stop();
        self.book.borrow().arrived.clone()
    }
}

/// A broker that knows nobody yet.
fn new_broker(cut: &Rc<Cell<Option<CutReport>>>, news: &News) -> Broker {
    let (report, told) = (Rc::clone(cut), news.clone());
    Broker::new(BrokerOptions::new().on_cut(move |_client, place| {
        report.set(Some(*place));
        told.tell();
    }))
}

/// Runs the handshake with whoever connects, and hands the connection to the broker.
fn welcome(broker: &Broker, timeline: &Timeline, incoming: Incoming) {
    let peer = incoming.peer();
    let socket = match incoming.handshake() {
        Ok(socket) => socket,
        Err(error) => {
            return timeline.say(Who::Cloud, format_args!("turned {peer} away: {error}"));
        }
    };
    // The TLS library serves clients that offer no protocol at all.
    if socket.alpn() != Some(ALPN.as_bytes()) {
        return timeline.say(
            Who::Cloud,
            format_args!("turned {peer} away: it did not offer {ALPN}"),
        );
    }
    let version = socket.tls_version();
    let version = version.map_or_else(|| "TLS".to_owned(), |version| version.to_string());
    timeline.say(
        Who::Cloud,
        format_args!("{version} with {ALPN} and a client certificate"),
    );
    if let Err(error) = broker.attach(socket) {
        timeline.say(Who::Cloud, format_args!("cannot serve {peer}: {error}"));
    }
}

/// The bytes of the PUBLISH packet that a message of QoS 1 or 2 came in (MQTT3-3.3).
fn packet_len(message: &BrokerMessage) -> u64 {
    let remaining = 2 + message.topic().len() + 2 + message.payload().len();
    // Seven bits of it in each byte (MQTT3-2.2.3).
    let length_bytes = match remaining {
        0..=127 => 1,
        128..=16_383 => 2,
        _ => 3,
    };
    (1 + length_bytes + remaining) as u64
}
