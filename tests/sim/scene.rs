//! A device, a broker and a reader, each on a machine of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fiber::sim::{Host, World};
use fiber::{JoinHandle, sleep, timeout};
use mqtt::{
    CONNECT_TIMEOUT_DEFAULT, Client, ClientId, ClientOptions, Error, Event, Outcome, Publish,
    PublishError, QoS, Ticket, Wait,
};
use safe_rt::{
    BACKOFF_LONG_CAP_DEFAULT, DIAL_TIMEOUT_DEFAULT, DialOptions, Endpoint, Resolver, ServerTls,
    Socket,
};

use crate::coverage::Coverage;
use crate::faults::{draw, draw_up_to};

pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// By then a client has found out that its connection is dead: it asks after [`KEEP_ALIVE`], waits at
/// least 5 s for an answer, and four times that while the transport takes bytes.
const FOUND_OUT_AFTER: Duration = Duration::from_secs(10 + 4 * 5);
/// What one attempt to connect takes at most.
const ATTEMPT: Duration = DIAL_TIMEOUT_DEFAULT.saturating_add(CONNECT_TIMEOUT_DEFAULT);
/// How long after the last fault a client is connected again at the latest: it finds out, or its last
/// attempt fails, it pauses, perhaps as after refusals, and then an attempt succeeds.
pub(crate) const LINK_UP: Duration = ATTEMPT
    .saturating_add(BACKOFF_LONG_CAP_DEFAULT)
    .saturating_add(ATTEMPT);
/// Far more than anything takes once nothing goes wrong any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);
/// Messages that a device publishes.
pub(crate) const MESSAGES: u8 = 24;
pub(crate) const TOPIC: &str = "meter/reading";

/// How the machines talk to each other.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) endpoint: &'static str,
    pub(crate) dial: DialOptions,
    pub(crate) server: Option<ServerTls>,
    /// How many connections the clients of the run made.
    pub(crate) connections: Rc<Cell<usize>>,
    /// What happened to them.
    pub(crate) coverage: Coverage,
    /// The clients that are connected, as they say.
    pub(crate) up: Rc<RefCell<BTreeSet<String>>>,
}

impl Transport {
    pub(crate) fn plain() -> Self {
        Self {
            endpoint: "mqtt://broker",
            dial: DialOptions::default(),
            server: None,
            connections: Rc::default(),
            coverage: Coverage::default(),
            up: Rc::default(),
        }
    }

    /// Waits, after the last fault, until a client is connected again, or its program has ended.
    pub(crate) fn wait_up(&self, host: &Host) {
        sleep(FOUND_OUT_AFTER).expect("no scope is over");
        let is_up = || self.up.borrow().contains(&host.name());
        let wait = || {
            while !is_up() && !host.fibers().is_empty() {
                sleep(Duration::from_secs(1)).expect("it is connected in time");
            }
        };
        timeout(LINK_UP - FOUND_OUT_AFTER, wait).expect("it is connected in time");
    }

    pub(crate) fn options(&self, client_id: &str) -> ClientOptions {
        ClientOptions::new(ClientId::new(client_id).expect("a client identifier"))
            .keep_alive(KEEP_ALIVE)
            .operation_timeout(None)
            .dial(self.dial_options())
    }

    /// Options for one life of a program: what names it looked up dies with it.
    fn dial_options(&self) -> DialOptions {
        self.dial.clone().resolver(Resolver::new())
    }

    pub(crate) fn open(&self, client_id: &str) -> Client {
        let client = self.open_as(client_id, self.options(client_id));
        client.expect("a client")
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.parse().expect("an endpoint")
    }

    pub(crate) fn dial(&self) -> Result<Socket, safe_rt::Error> {
        safe_rt::dial(&self.endpoint(), &self.dial_options())
    }

    pub(crate) fn open_as(&self, client_id: &str, options: ClientOptions) -> Result<Client, Error> {
        let name = client_id.to_owned();
        let client = Client::open(&self.endpoint(), options)?;
        let connections = Rc::clone(&self.connections);
        let coverage = self.coverage.clone();
        let up = Rc::clone(&self.up);
        client.on_event(move |_, event| {
            coverage.note_event(event);
            match event {
                Event::Connected { .. } => drop(up.borrow_mut().insert(name.clone())),
                Event::Disconnected { .. } => drop(up.borrow_mut().remove(&name)),
                _ => {}
            }
            if let Event::Connected { .. } = event {
                connections.set(connections.get() + 1);
            }
        });
        Ok(client)
    }
}

/// Payloads, in the order in which they came.
pub(crate) type Seen = Rc<RefCell<Vec<u8>>>;

/// Starts a reader on the machine `reader`, and returns once it has subscribed.
pub(crate) fn start_reader(world: &World, transport: &Transport) -> Seen {
    let seen = Seen::default();
    let (note, transport) = (Rc::clone(&seen), transport.clone());
    let ready = Rc::new(fiber::Event::new());
    let subscribed = Rc::clone(&ready);
    let reading = world.host("reader").start(move || {
        let client = transport.open("reader");
        let handler = move |_: &Client, message: &mqtt::Message| {
            note.borrow_mut().push(message.data[0]);
            if draw(4) == 0 {
                let _ = sleep(draw_up_to(Duration::from_millis(200)));
            }
            Ok(())
        };
        client
            .subscribe(TOPIC, QoS::ExactlyOnce, handler)
            .expect("a subscription");
        subscribed.set();
        let _ = sleep(PATIENCE * 24);
    });
    drop(reading.expect("a fiber"));
    ready.wait().expect("no scope is over");
    seen
}

/// The quality of service of a message.
pub(crate) fn qos_of(number: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(number % 3)]
}

/// The ticket of a message that the client took, whether or not it waited for long enough.
fn taken(result: Result<Ticket, PublishError>) -> Option<Ticket> {
    match result {
        Ok(ticket) => Some(ticket),
        Err(PublishError::Wait(error)) => Some(error.ticket),
        Err(PublishError::Full(_)) => None,
        Err(other) => panic!("expected to be taken, found {other}"),
    }
}

/// A QoS 1 or 2 message that a client took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) number: u8,
    /// The client said that it may have come twice.
    pub(crate) maybe_twice: bool,
}

/// Starts a device on the machine `device`, which publishes and at last returns what its client took
/// at QoS 1 and 2. `known`: it has a session with the broker when this returns.
pub(crate) fn start_device(
    world: &World,
    transport: &Transport,
    known: bool,
) -> JoinHandle<Vec<Taken>> {
    let transport = transport.clone();
    let ready = Rc::new(fiber::Event::new());
    let connected = Rc::clone(&ready);
    let device = world.host("device").start(move || {
        let client = transport.open("device");
        if known {
            client.wait_connected().expect("a connection");
        }
        connected.set();
        let mut tickets = Vec::new();
        for number in 0..MESSAGES {
            let qos = qos_of(number);
            let payload = [number];
            let publish = Publish::to(TOPIC, &payload).qos(qos);
            let published = if draw(3) == 0 {
                let limit = draw_up_to(Duration::from_secs(2));
                let (Ok(result) | Err(fiber::Elapsed(result))) =
                    timeout(limit, || client.publish(publish.wait(Wait::Ack)));
                result
            } else {
                client.publish(publish)
            };
            let Some(ticket) = taken(published) else {
                continue;
            };
            if qos != QoS::AtMostOnce {
                tickets.push((number, ticket));
            }
            let _ = sleep(draw_up_to(Duration::from_millis(1_500)));
        }
        let settle = || -> Vec<Taken> {
            let outcomes = tickets.iter_mut().map(|(number, ticket)| {
                let number = *number;
                match ticket.outcome() {
                    Ok(Outcome::Acked { maybe_twice }) => Taken {
                        number,
                        maybe_twice,
                    },
                    other => panic!("expected {number} to be acknowledged, found {other:?}"),
                }
            });
            outcomes.collect()
        };
        let settled = timeout(PATIENCE, settle);
        settled.expect("everything is acknowledged once nothing goes wrong")
    });
    ready.wait().expect("no scope is over");
    device.expect("a fiber")
}
