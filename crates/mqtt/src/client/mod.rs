//! The client: handles, the driver that owns the connection, tickets and handlers.
//!
//! One driver fiber per client owns the socket. Everything the program does goes through what
//! it shares with the handles, and is never borrowed while a fiber waits; so a publish from
//! inside a handler is a publish like any other.

mod ack;
mod admission;
mod answers;
mod asks;
mod clock;
mod course;
mod credentials;
mod deadlines;
mod dialling;
mod driver;
mod durable;
mod early;
mod error;
mod event;
mod expiry;
mod feeder;
mod gates;
mod handler;
mod idle;
mod inbox;
mod inline;
mod lasting;
mod leave;
mod limit;
mod line;
mod link;
mod login;
mod master;
mod message;
mod message_ref;
mod messages;
mod options;
mod outbox;
mod outputs;
mod overrun;
mod oversized;
mod poison;
mod publish;
mod read_buffer;
mod receive;
mod remote;
mod remote_messages;
mod remote_ticket;
mod request;
mod restore;
mod room;
mod run;
mod settings;
mod settled;
mod shared;
mod signs;
mod special;
mod standby;
mod stats;
mod store_failure;
mod stored;
mod subscribe;
mod subscription;
mod ticket;
mod turns;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use fiber::{FiberBuilder, Stopped};
use safe_rt::{Endpoint, Socket};

use self::clock::ClockWatch;
use self::course::Course;
use self::dialling::Dialler;

pub use self::ack::{ACK_STALL_TIMEOUT, Ack, AckHandle};
pub use self::answers::{
    ANSWER_FILTERS_MAX, OPEN_REQUESTS_MAX, REQUEST_TIMEOUT_DEFAULT, RequestError, RequestOptions,
};
pub use self::credentials::{Credentials, CredentialsError};
pub use self::early::{EARLY_BYTES_MAX, EARLY_MESSAGES_MAX, EARLY_WINDOW};
pub use self::error::{AlreadySent, EndCause, Error, PublishError, WaitCause, WaitError};
pub use self::event::{EVENTS_MAX, Event, SentPacket, Unanswered};
pub use self::handler::{HandlerError, OnError, REDELIVERY_PAUSE_MAX, REDELIVERY_PAUSE_MIN};
pub use self::idle::REST_TIMEOUT;
pub use self::inbox::{QOS_0_QUEUE_BYTES_MAX, QOS_0_QUEUE_MAX};
pub use self::leave::Remaining;
pub use self::message::{Message, Payload, Topic};
pub use self::message_ref::MessageRef;
pub use self::messages::Messages;
pub use self::options::{
    CONNECT_TIMEOUT_DEFAULT, ClientOptions, EXACTLY_ONCE_WINDOW_DEFAULT, KEEP_ALIVE_DEFAULT,
    MANUAL_ACK_TIMEOUT_DEFAULT, MAXIMUM_PACKET_SIZE_DEFAULT, OPERATION_TIMEOUT_DEFAULT,
    Resubscribe, WINDOW_DEFAULT, Will,
};
pub use self::outbox::{
    QUEUE_BYTES_DEFAULT, QUEUE_MESSAGES_DEFAULT, QUEUED_MESSAGE_BYTES, QueuePolicy,
};
pub use self::overrun::{INBOUND_BYTES_DEFAULT, INBOUND_WINDOW_DEFAULT, OVERRUN_GRACE_DEFAULT};
pub use self::publish::Publish;
pub use self::remote::{REMOTE_BYTES_MAX, REMOTE_MESSAGES_MAX, Remote};
pub use self::remote_messages::{RemoteMessage, RemoteMessages};
pub use self::remote_ticket::{RemoteError, RemoteTicket};
pub use self::stats::ClientStats;
pub use self::store_failure::{OnStoreFailure, StoreFailure};
pub use self::subscribe::Subscribe;
pub use self::subscription::{QUEUED_OVERHEAD, SubscriptionId};
pub use self::ticket::{Outcome, Ticket, Wait};

use self::feeder::StoreFibers;
use self::link::Serving;
use self::shared::{Shared, State, now};
use crate::packet::ClientId;
use crate::session::{ArgumentError, Phase};

/// A client of one broker.
///
/// [`Client::open`] makes one that connects by itself and stays connected; [`Client::over`] makes
/// one over a connection that the program has. Its session, what is under way and what it has
/// subscribed to, lives in memory and outlives each connection; with [`ClientOptions::store`] what is
/// under way outlives the program too.
///
/// Clones share the client. When the last one is dropped the client leaves in order: what was
/// published is sent, as far as it can within two seconds, then DISCONNECT, within two more
/// (MQTT3-3.14). While no connection is
/// accepted that ends it at once, and what is queued is lost: [`Client::close`] waits for one. A
/// handler is given the client; one that captures a clone of its own keeps the client alive until
/// [`Client::close`].
pub struct Client {
    shared: Rc<Shared>,
    /// The program holds it: it keeps the connection open.
    counted: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.shared.client_id)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        self.shared.handles.set(self.shared.handles.get() + 1);
        Self {
            shared: Rc::clone(&self.shared),
            counted: true,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.counted {
            let left = self.shared.handles.get() - 1;
            self.shared.handles.set(left);
            if left == 0 {
                self.leave();
            }
        }
    }
}

impl Client {
    /// A client that connects to `endpoint` by itself, stays connected and never gives up: after
    /// the end of a connection, whatever the cause, it makes another one, later and later while that
    /// fails ([`ClientOptions::backoff`]). Messages may be published, and subscriptions declared, at
    /// once; they go out when there is a connection. Does not yield without a store.
    ///
    /// The broker is asked to keep the session unless [`ClientOptions::clean_start`] says otherwise.
    /// With [`ClientOptions::store`] this goes on with what is in the store, and yields while messages
    /// that were in flight are read from it: [`Client::stored`] returns their tickets.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Subscribe, Wait};
    ///
    /// fn meter() -> Result<(), mqtt::Error> {
    ///     let endpoint = "mqtt://127.0.0.1:1".parse().expect("an endpoint");
    ///     let client = Client::open(&endpoint, ClientOptions::new(ClientId::new("meter-17")?))?;
    ///     let valve = Subscribe::to("valve", QoS::AtLeastOnce).wait(Wait::None);
    ///     client.subscribe_as(valve, |_client, message| {
    ///         println!("{} says {:?}", message.topic, message.data);
    ///         Ok(())
    ///     })?;
    ///     client.publish(Publish::to("meter", "21.5").qos(QoS::AtLeastOnce))?;
    ///     // Nobody listens there, so that nothing comes of it.
    ///     let remaining = client.close(std::time::Duration::from_millis(10))?;
    ///     assert_eq!(remaining.unacknowledged, 1);
    ///     Ok(())
    /// }
    /// fiber::run(meter).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for settings that make no CONNECT, [`Error::Spawn`] without room for a
    /// fiber and outside a runtime, [`Error::Store`] where the store is that of another client, or of
    /// another broker.
    pub fn open(endpoint: &Endpoint, options: ClientOptions) -> Result<Self, Error> {
        let clock = ClockWatch::new(options.settings.clock_floor());
        Self::open_with(Some(endpoint), Dialler::to(endpoint, clock), options)
    }

    /// As [`Client::open`], with connections made by a function of the program: over a transport of
    /// its own, or in memory. It is called on a fiber of the client for each attempt, may wait, and
    /// is cancelled when the client is closed or let go; where it panics, the attempt has failed.
    /// Yields as that does. A store is not asked for which broker it is.
    ///
    /// # Errors
    ///
    /// As [`Client::open`].
    pub fn open_by(
        connect: impl FnMut() -> Result<Socket, safe_rt::Error> + 'static,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        Self::open_with(None, Dialler::by(Box::new(connect)), options)
    }

    /// A client with this dialler. A store is that of a client of `endpoint`, where there is one.
    fn open_with(
        endpoint: Option<&Endpoint>,
        dialler: Dialler,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        options
            .login
            .check(&options.client_id, &options.settings, false)?;
        if let Some(store) = &options.settings.store {
            let claimed = store.claim(options.client_id.as_str(), endpoint);
            claimed.map_err(Error::Store)?;
        }
        let client = Self::new(options, true);
        restore::restore(&client.shared)?;
        let store = StoreFibers::start(&client.shared).map_err(Error::Spawn)?;
        client.shared.state().served = true;
        let store = store.map(Box::new);
        let mut serving = Box::new(Serving {
            shared: Rc::clone(&client.shared),
            course: Course::of(&client.shared, &dialler),
            dialler,
        });
        let served = FiberBuilder::new()
            .name("mqtt-driver")
            .spawn(move || link::serve(&mut serving, store));
        if let Err(error) = served {
            client.shared.state().served = false;
            return Err(Error::Spawn(error));
        }
        expiry::watch(&client.shared);
        Ok(client)
    }

    /// A client over a connection that is there already. Nothing is sent before
    /// [`Client::connect`]. Does not yield.
    ///
    /// When the connection ends, waits end with [`WaitCause::ConnectionLost`] and nothing new is
    /// taken until [`Client::attach`] gives it another.
    #[must_use]
    pub fn over(socket: impl Into<Socket>, options: ClientOptions) -> Self {
        let client = Self::new(options, false);
        client.shared.state().socket = Some(Box::new(socket.into()));
        client
    }

    fn new(options: ClientOptions, connects: bool) -> Self {
        let shared = Rc::new(Shared::new(options, connects));
        shared.handles.set(1);
        Self {
            shared,
            counted: true,
        }
    }

    /// The handle that handlers get: it does not keep the connection open.
    fn inside(shared: &Rc<Shared>) -> Self {
        Self {
            shared: Rc::clone(shared),
            counted: false,
        }
    }

    /// Gives a client of [`Client::over`] whose connection has ended another one. The session goes
    /// on: with [`Client::connect`] what was under way is sent again. The broker keeps its part of
    /// the session only if every connection asked for that: [`ClientOptions::clean_start`] with
    /// `false`. Does not yield.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyConnected`] while it has one or makes its own; [`Error::Wait`] after a close.
    pub fn attach(&self, socket: impl Into<Socket>) -> Result<(), Error> {
        let socket = socket.into();
        let mut state = self.shared.state();
        if state.over || state.closing {
            return Err(Error::Wait(WaitCause::Closed));
        }
        if state.served || state.socket.is_some() {
            return Err(Error::AlreadyConnected);
        }
        state.end = None;
        state.socket = Some(Box::new(socket));
        Ok(())
    }

    /// Sends CONNECT and waits for the broker's answer (MQTT3-3.1). Yields until it is there;
    /// the ambient deadline limits that, and the connect timeout in any case.
    ///
    /// Returns whether the broker had kept a session (MQTT3-3.2.2.2). When the ambient deadline
    /// ends the wait the client goes on connecting until it is closed or dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the broker's reason, [`Error::Argument`] for settings that make no
    /// packet, [`Error::Credentials`] without the credentials that were asked for, [`Error::AlreadyConnected`] on a
    /// second call for one connection and on a client that connects by itself, [`Error::Spawn`] without room for the
    /// driver's fiber, [`Error::Wait`] when the wait ended early or the connection did, and after a close.
    pub fn connect(&self) -> Result<bool, Error> {
        self.start()?;
        self.wait_connected()
    }

    /// Sends CONNECT and waits up to `wait`: for nothing, until its bytes were accepted by the
    /// kernel, or for the broker's answer; otherwise as [`Client::connect`].
    ///
    /// # Errors
    ///
    /// As [`Client::connect`], as far as it waits.
    pub fn connect_as(&self, wait: Wait) -> Result<(), Error> {
        self.start()?;
        match wait {
            Wait::None | Wait::Stored => Ok(()),
            Wait::Sent => self.wait_introduced(),
            Wait::Ack => self.wait_connected().map(drop),
        }
    }

    /// Checks that there is a connection to be used by [`Client::connect`].
    pub(crate) fn check_unused(&self) -> Result<(), Error> {
        let state = self.shared.state();
        if state.over || state.closing {
            return Err(Error::Wait(WaitCause::Closed));
        }
        let unused = state.socket.is_some();
        unused.then_some(()).ok_or(Error::AlreadyConnected)
    }

    fn start(&self) -> Result<(), Error> {
        self.check_unused()?;
        self.ask_for_credentials()?;
        let socket = {
            let mut state = self.shared.state();
            // The program may have done something else meanwhile.
            if state.over || state.closing {
                return Err(Error::Wait(WaitCause::Closed));
            }
            let Shared {
                client_id, options, ..
            } = &*self.shared;
            state.login.check(client_id, options, true)?;
            let socket = state.socket.take().ok_or(Error::AlreadyConnected)?;
            if state.begin(&self.shared.client_id, true).is_err() {
                return Err(Error::AlreadyConnected);
            }
            state.served = true;
            state.events.push(Event::Attach);
            socket
        };
        let shared = Rc::clone(&self.shared);
        let driver = FiberBuilder::new()
            .name("mqtt-driver")
            .spawn(move || link::serve_one(&shared, *socket));
        if let Err(error) = driver {
            leave::finish(&self.shared, Arc::new(EndCause::Closed));
            return Err(Error::Spawn(error));
        }
        Ok(())
    }

    /// Asks the program for the credentials of the next CONNECT, if it is to be asked.
    fn ask_for_credentials(&self) -> Result<(), Error> {
        let ask = self.shared.state().login.ask.clone();
        let Some(ask) = ask else { return Ok(()) };
        let credentials = ask.credentials(self.shared.options.connect_timeout);
        let credentials = credentials.map_err(Error::Credentials)?;
        let login = &mut self.shared.state().login;
        let login = Rc::make_mut(login);
        // The program may have set others meanwhile.
        if login.ask.is_some() {
            login.set_credentials(credentials);
        }
        Ok(())
    }

    /// Waits until the broker has accepted a connection; a client that has left for having nothing to
    /// do connects for that. Returns whether it had kept a session
    /// (MQTT3-3.2.2.2). Yields until then; the ambient deadline limits that.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] and [`Error::Wait`] when there is no connection and none will come: only a
    /// close ends the trying of a client that connects by itself.
    pub fn wait_connected(&self) -> Result<bool, Error> {
        self.shared.look_until(|state| {
            match (&state.end, state.session.phase()) {
                (Some(end), _) => Some(Err(match **end {
                    EndCause::Refused(reason) => Error::Refused(reason),
                    _ => Error::Wait(WaitCause::ConnectionLost(Arc::clone(end))),
                })),
                (None, Phase::Up { session_present }) => Some(Ok(session_present)),
                // It was up, and is being left.
                (None, Phase::Draining { .. } | Phase::Leaving { .. }) => {
                    Some(Err(Error::Wait(WaitCause::Closed)))
                }
                (None, _) => {
                    if state.is_resting() {
                        state.standby.wanted = true;
                        self.shared.wake.set();
                    }
                    None
                }
            }
        })?
    }

    /// Waits until CONNECT was accepted by the kernel.
    fn wait_introduced(&self) -> Result<(), Error> {
        self.shared.look_until(|state| match &state.end {
            Some(end) => Some(Err(Error::Wait(WaitCause::ConnectionLost(Arc::clone(end))))),
            None if state.introduced => Some(Ok(())),
            None => None,
        })?
    }

    /// Whether the broker accepted the connection and it has not ended. Does not yield.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.state().is_up()
    }

    /// Waits for the end of the connection and tells why it ended. Yields until then. A client that
    /// connects by itself ends when it is closed.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early.
    pub fn ended(&self) -> Result<Arc<EndCause>, Stopped> {
        let ends = self.shared.state().ends;
        // The next connection may have been given before this fiber runs.
        self.shared.look_until(|state| {
            let missed = state.last_end.clone().filter(|_| state.ends > ends);
            state.end.clone().or(missed)
        })
    }

    /// Sends PINGREQ now, ahead of what waits, unless one is under way (MQTT3-3.12); what the broker
    /// must answer in time, or the connection is given up. A client that has left for having nothing to
    /// do connects instead. Does not yield.
    ///
    /// # Errors
    ///
    /// [`Error::Wait`] when there is no connection.
    pub fn ping(&self) -> Result<(), Error> {
        let mut state = self.shared.state();
        if state.is_resting() {
            // CONNECT asks for an answer as well.
            state.standby.wanted = true;
        } else {
            let State { session, log, .. } = &mut *state;
            let pinged = session.ping(now(), log);
            pinged.map_err(|_| Error::Wait(WaitCause::Closed))?;
        }
        self.shared.wake.set();
        Ok(())
    }

    /// How many messages of QoS 1 and 2 are not acknowledged yet, sent or not. Does not yield.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.shared.state().unacknowledged()
    }
}

impl State {
    /// Enters CONNECT for the next connection.
    fn begin(&mut self, client_id: &ClientId, clean_start: bool) -> Result<(), EndCause> {
        let Self { session, login, .. } = self;
        let connect = login.connect(client_id, clean_start);
        let connect = connect.map_err(|error| EndCause::Argument(ArgumentError::Packet(error)))?;
        let begun = session.connect(&connect, now());
        begun.map_err(|_| EndCause::Closed)
    }
}
