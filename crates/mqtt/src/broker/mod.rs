//! An embedded broker: for demonstrations, for tests and for programs on one device.
//!
//! It speaks MQTT 3.1.1 with QoS 0, 1 and 2, retained messages, wills and kept sessions, over any
//! socket of this project, and does to single clients what bad networks do ([`Faults`]). It keeps
//! everything in memory, has no bridges and no clusters, and is no broker for production.
//!
//! ```text
//!  socket ◄─► connection ─┐                ┌─ session ─ queue
//!  socket ◄─► connection ─┼─► core ─ router┼─ session ─ queue
//!  program ◄─► handle ────┘     └ retained └─ local subscription
//! ```
//! `core` and below it are pure: no fiber, socket, clock or randomness. A message is queued for each
//! session it is for; the connection's fiber takes it from there when its socket has room.

mod connection;
mod core;
mod cut;
mod error;
mod faults;
mod handle;
mod local;
mod message;
mod options;
mod outgoing;
mod policy;
mod queue;
mod retained;
mod session;
mod shared;

use std::fmt;
use std::mem;
use std::rc::Rc;

use fiber::{FiberBuilder, SpawnError};
use safe_rt::{ACCEPT_PAUSE, Incoming, Listener, Socket};

pub use cut::{CutPacket, CutReport};
pub use error::BrokerError;
pub use faults::{DropAcks, FAULTS_MAX, Faults};
pub use local::LocalSubscription;
pub use message::BrokerMessage;
pub use options::{
    BROKER_ARRIVALS_MAX, BROKER_CONNECT_TIMEOUT, BROKER_CONNECTIONS_MAX,
    BROKER_PACKET_BYTES_DEFAULT, BROKER_QUEUE_BYTES_DEFAULT, BROKER_QUEUE_DEFAULT,
    BROKER_RETAINED_BYTES_DEFAULT, BROKER_RETAINED_DEFAULT, BROKER_SESSIONS_DEFAULT,
    BROKER_SUBSCRIPTIONS_MAX, BROKER_WINDOW_DEFAULT, BrokerOptions, LOCAL_QUEUE_MAX,
    LOCAL_SUBSCRIPTIONS_MAX,
};

pub use policy::{Beyond, CONNECTS_NOTED_MAX, PublishVerdict, SubscribeRefusal};

use self::core::Woken;
use crate::packet::QoS;
use crate::topic::{TopicFilter, check_topic_name};
use shared::{Place, Shared};

/// An MQTT broker on the runtime of this thread.
///
/// A clone is another handle of the same broker. Dropping handles stops nothing: connections go on
/// until they end, [`Broker::stop`] is called or the runtime ends.
///
/// # Examples
///
/// A client over a pipe, and the program's own side:
/// ```
/// use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, Publish, QoS, Wait};
///
/// # fn main_fiber() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::new(BrokerOptions::new());
/// let meters = broker.subscribe("meter/+")?;
///
/// let (ours, theirs) = fiber::net::pipe(4096);
/// broker.attach(theirs)?;
/// let client = Client::over(ours, ClientOptions::new(ClientId::new("meter-17")?));
/// client.connect()?;
/// client.publish(Publish::to("meter/17", "21.5").qos(QoS::AtLeastOnce).wait(Wait::Ack))?;
///
/// assert_eq!(meters.recv()?.payload(), b"21.5");
/// # Ok(())
/// # }
/// # fiber::run(main_fiber).unwrap().unwrap();
/// ```
/// And a client over TCP:
/// ```
/// use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions};
///
/// # fn main_fiber() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::new(BrokerOptions::new());
/// let listener = safe_rt::Listener::bind(([127, 0, 0, 1], 0).into())?;
/// let address = listener.local_addr()?;
/// broker.serve(listener)?;
///
/// let socket = fiber::net::TcpStream::connect(address)?;
/// let client = Client::over(socket, ClientOptions::new(ClientId::new("meter-17")?));
/// client.connect()?;
/// assert_eq!(broker.stats().connections, 1);
/// broker.stop();
/// # Ok(())
/// # }
/// # fiber::run(main_fiber).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct Broker {
    shared: Rc<Shared>,
}

/// How much a broker holds, and what it had to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Connections, those included that are in a handshake or have sent no CONNECT.
    pub connections: usize,
    /// Sessions, kept and connected.
    pub sessions: usize,
    /// Messages queued in them and not sent yet.
    pub queued: usize,
    /// Retained messages.
    pub retained: usize,
    /// Messages dropped at the bound of a queue, so far.
    pub dropped: u64,
    /// Messages not retained for want of room, so far.
    pub not_retained: u64,
    /// Messages of clients discarded beyond their quota ([`BrokerOptions::publish_quota`]), so far.
    pub discarded: u64,
    /// Sessions ended because too much waited for a client that was away
    /// ([`BrokerOptions::offline_queue_max`]), so far.
    pub sessions_ended: u64,
}

impl Broker {
    /// Makes a broker without connections. Does not yield.
    #[must_use]
    pub fn new(options: BrokerOptions) -> Self {
        let shared = Shared::new(options);
        Self { shared }
    }

    /// Serves the connections that `listener` accepts, each on a fiber of its own from the TLS
    /// handshake on, until [`Broker::stop`] is called or the listener fails, which is logged. Without
    /// a fiber for the next one, and while [`BROKER_CONNECTIONS_MAX`] and [`BROKER_ARRIVALS_MAX`] are
    /// there, connections wait in the listener's queue. Each listener has one place of these for its
    /// next connection. Does not yield.
    ///
    /// Not by [`Listener::serve`], whose connections are children of the loop: these outlive their
    /// listener, which is closed at once when the broker is stopped.
    ///
    /// # Errors
    ///
    /// No fiber could be had for the listener.
    pub fn serve(&self, listener: Listener) -> Result<(), SpawnError> {
        let broker = self.clone();
        let accept = move || {
            let mut told = false;
            loop {
                // Its place and its fiber come first: nothing is accepted that cannot be served.
                let Ok(reserved) = broker.shared.wait_for_place() else {
                    return;
                };
                let (to_fiber, mut incoming) = fiber::oneshot::<Incoming>();
                let serve = move || {
                    if let Ok(Some(incoming)) = incoming.recv() {
                        serve_in(reserved.take(), || incoming.handshake());
                    }
                };
                if let Err(error) = connection_fiber().spawn(serve) {
                    if !mem::replace(&mut told, true) {
                        log::warn!("broker: connections wait for a fiber: {error}");
                    }
                    if fiber::sleep(ACCEPT_PAUSE).is_err() {
                        return;
                    }
                    continue;
                }
                told = false;
                match listener.accept() {
                    Ok(incoming) => drop(to_fiber.send(incoming)),
                    Err(error) => return log::debug!("broker: no longer listening: {error}"),
                }
            }
        };
        let fiber = FiberBuilder::new().name("broker listener").spawn(accept)?;
        let mut listeners = self.shared.listeners.borrow_mut();
        listeners.retain(|listener| !listener.is_finished());
        listeners.push(fiber);
        Ok(())
    }

    /// Serves a client over this socket, on a fiber of its own: a TCP stream, TLS, or one end of a
    /// [`fiber::net::pipe`]. Does not yield. Beyond [`BROKER_CONNECTIONS_MAX`] and
    /// [`BROKER_ARRIVALS_MAX`] the socket is closed.
    ///
    /// # Errors
    ///
    /// No fiber could be had.
    pub fn attach(&self, socket: impl Into<Socket>) -> Result<(), SpawnError> {
        let socket = socket.into();
        let Some(reserved) = self.shared.reserve() else {
            return Ok(());
        };
        let place = reserved.take();
        let serve = move || serve_in(place, || Ok(socket));
        connection_fiber().spawn(serve)?;
        Ok(())
    }

    /// Closes every listener and connection; wills are published, as for connections that are lost.
    /// Sessions, retained messages and local subscriptions stay, and the broker can be served and
    /// attached to anew: the restart of a broker that keeps its state. Does not yield.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Publishes a message as a client would. Does not yield.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Topic`] for what is no topic name, [`BrokerError::MessageTooLarge`].
    pub fn publish(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        qos: QoS,
        retain: bool,
    ) -> Result<(), BrokerError> {
        let message = BrokerMessage::new(topic, payload.as_ref(), qos, retain);
        self.give(&message, |core| core.publish(&message, None))
    }

    /// Publishes a message to the client with this identifier alone, as an answer to it: nobody else
    /// gets it, whoever subscribed to its topic. Nobody does where the client has not. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`Broker::publish`].
    pub fn publish_to(
        &self,
        client_id: &str,
        topic: &str,
        payload: impl AsRef<[u8]>,
        qos: QoS,
    ) -> Result<(), BrokerError> {
        let message = BrokerMessage::new(topic, payload.as_ref(), qos, false);
        self.give(&message, |core| core.publish_to(client_id, &message))
    }

    /// Checks a message of the program, and gives it away.
    fn give(
        &self,
        message: &BrokerMessage,
        give: impl FnOnce(&mut core::Core),
    ) -> Result<(), BrokerError> {
        check_topic_name(message.topic())?;
        self.shared.with(|core| {
            let (max, found) = (core.limits.maximum_packet_size, message.len());
            if found > max {
                return Err(BrokerError::MessageTooLarge { max, found });
            }
            give(core);
            Ok(())
        })
    }

    /// Subscribes without a socket, beginning with the retained messages. Does not yield.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Topic`] for what is no topic filter, [`BrokerError::TooManySubscriptions`].
    pub fn subscribe(&self, filter: &str) -> Result<LocalSubscription, BrokerError> {
        let filter = TopicFilter::new(filter)?;
        let id = self.shared.with(|core| core.subscribe_local(filter))?;
        Ok(LocalSubscription::new(Rc::clone(&self.shared), id))
    }

    /// Sets what goes wrong for the client with this identifier, now if it is connected, and on its
    /// later connections; [`Faults::default`] ends it. Does not yield.
    ///
    /// # Errors
    ///
    /// [`BrokerError::TooManyFaults`].
    pub fn set_faults(&self, client_id: &str, faults: Faults) -> Result<(), BrokerError> {
        self.shared.faults.borrow_mut().set(client_id, faults)?;
        self.shared.with(|core| {
            if let Some(id) = core.connection_of(client_id) {
                core.woken.insert(Woken::Connection(id));
            }
        });
        Ok(())
    }

    /// Returns the faults of a client, without what was used up.
    #[must_use]
    pub fn faults(&self, client_id: &str) -> Faults {
        self.shared.faults.borrow().get(client_id)
    }

    /// Returns how many bytes the packets have that the broker handled on the connection of a client;
    /// `None` without a connection. A packet begins behind that many bytes, which is how to aim
    /// [`Faults::cut_after_received`] at the inside of one. Does not yield.
    #[must_use]
    pub fn handled_bytes(&self, client_id: &str) -> Option<u64> {
        self.shared.with(|core| {
            let id = core.connection_of(client_id)?;
            core.connections.get(&id).map(|c| c.handled_bytes)
        })
    }

    /// Returns how much the broker holds. Does not yield.
    #[must_use]
    pub fn stats(&self) -> BrokerStats {
        let connections = self.shared.connections();
        self.shared.with(|core| BrokerStats {
            connections,
            sessions: core.clients.len(),
            queued: core
                .clients
                .values()
                .map(|client| client.session.queue.len())
                .sum(),
            retained: core.retained.len(),
            dropped: core.dropped,
            not_retained: core.not_retained,
            discarded: core.discarded,
            sessions_ended: core.sessions_ended,
        })
    }
}

fn connection_fiber() -> FiberBuilder {
    FiberBuilder::new().name("broker connection")
}

/// Serves a connection that has its place, from the handshake on.
fn serve_in(place: Place, handshake: impl FnOnce() -> Result<Socket, safe_rt::Error>) {
    match handshake() {
        Ok(socket) => {
            if let Some(entry) = place.enter() {
                connection::serve(entry, socket);
            }
        }
        Err(error) => log::debug!("broker: {error}"),
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
