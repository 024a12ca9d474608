//! The calls as a C program would make them: one line each over the methods of [`Client`].
//!
//! They take the steps of a connected device one by one: a handle over a socket, CONNECT, publish
//! at each level of waiting, subscribe with a callback, unsubscribe. Whoever prefers methods finds
//! the same there, and both may be mixed: the handle is a [`Client`].
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "broker"))] fn main() {}
//! # #[cfg(feature = "broker")]
//! # fn main() {
//! use mqtt::*;
//!
//! fn on_set(rp: &MqttResp) {
//!     println!("{} says {:?}", rp.topic, rp.data);
//! }
//!
//! fn meter(sock: safe_rt::Socket) -> Result<(), Error> {
//!     let mq = mqtt_alloc(sock, "meter-17", None)?;
//!     mqtt_connect(&mq, Some("meter"), Some(b"secret"), MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK)?;
//!     mqtt_subscribe(&mq, on_set, MQTT_QOS_1, MQTT_WAIT_ACK, "site/4/meter-17/set")?;
//!     mqtt_publish(&mq, b"booted", MQTT_QOS_1, MQTT_WAIT_NONE, "site/4/meter-17/boot")?;
//!     mqtt_publish(&mq, b"21.5", MQTT_QOS_1, MQTT_WAIT_ACK, "site/4/meter-17/t")?;
//!     mqtt_unsubscribe(&mq, "site/4/meter-17/set", MQTT_WAIT_ACK)?;
//!     mqtt_disconnect(&mq)
//! }
//! # fiber::run(|| {
//! #     let broker = Broker::new(BrokerOptions::new());
//! #     let seen = broker.subscribe("site/#").unwrap();
//! #     let (sock, peer) = fiber::net::pipe(4096);
//! #     broker.attach(peer).unwrap();
//! #     meter(sock.into()).unwrap();
//! #     assert_eq!(seen.recv().unwrap().payload(), b"booted");
//! #     assert_eq!(seen.recv().unwrap().payload(), b"21.5");
//! # }).unwrap();
//! # }
//! ```

mod asking;
mod subscribing;

use std::ops::BitOr;
use std::time::Duration;

use fiber::Instant;
use safe_rt::Socket;

use crate::client::{
    AlreadySent, Client, ClientOptions, Error, Event, Message, OPERATION_TIMEOUT_DEFAULT, Publish,
    PublishError, Remaining, Ticket, Wait, Will,
};
use crate::packet::{ClientId, EncodeError, QoS};
use crate::session::ArgumentError;

pub use self::asking::*;
pub use self::subscribing::*;

/// What a callback is given.
pub type MqttResp = Message;

/// What is told of events, if anything.
pub type MqttEventProc = Option<Box<dyn FnMut(&Client, &Event)>>;

/// Waits for nothing but room in the queue.
pub const MQTT_WAIT_NONE: Wait = Wait::None;
/// Waits until the promise to deliver holds.
pub const MQTT_WAIT_STORED: Wait = Wait::Stored;
/// Waits until the kernel took the last byte.
pub const MQTT_WAIT_SENT: Wait = Wait::Sent;
/// Waits for the broker's answer.
pub const MQTT_WAIT_ACK: Wait = Wait::Ack;

/// At most once.
pub const MQTT_QOS_0: QoS = QoS::AtMostOnce;
/// At least once.
pub const MQTT_QOS_1: QoS = QoS::AtLeastOnce;
/// Exactly once.
pub const MQTT_QOS_2: QoS = QoS::ExactlyOnce;

/// What [`mqtt_connect`] asks for; joined by `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectFlags(u8);

impl ConnectFlags {
    /// Whether all of `other` is asked for.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for ConnectFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The broker goes on with the session that it has (MQTT3-3.1.2.4).
pub const MQTT_CONNECT_KEEP_SESSION: ConnectFlags = ConnectFlags(0);
/// The broker drops the session that it has (MQTT3-3.1.2.4).
pub const MQTT_CONNECT_CLEAN_SESSION: ConnectFlags = ConnectFlags(2);

/// Makes a client over a connection; `on_event` is told what happens to it. Nothing is sent before
/// [`mqtt_connect`], and the `mqtt_set_` calls count for it. Does not yield.
///
/// # Errors
///
/// [`Error::Argument`] for what is no client identifier (MQTT3-3.1.3.1).
///
/// # Examples
///
/// ```
/// let (sock, _peer) = fiber::net::pipe(4096);
/// let told = Box::new(|_: &mqtt::Client, event: &mqtt::Event| println!("{event:?}"));
/// let mq = mqtt::mqtt_alloc(sock, "meter-17", Some(told))?;
/// assert!(!mqtt::mqtt_is_connected(&mq));
/// # Ok::<(), mqtt::Error>(())
/// ```
pub fn mqtt_alloc(
    sock: impl Into<Socket>,
    id: &str,
    on_event: MqttEventProc,
) -> Result<Client, Error> {
    let client = Client::over(sock, ClientOptions::new(ClientId::new(id)?));
    if let Some(on_event) = on_event {
        client.on_event(on_event);
    }
    Ok(client)
}

/// Sends CONNECT and waits as far as `wait` says; see [`Client::connect_as`]. Without a user name here
/// those of [`mqtt_set_credentials`] count.
///
/// # Errors
///
/// As [`Client::connect`]; [`Error::Argument`] for a password without a user name, which MQTT 3.1.1
/// does not have (MQTT3-3.1.2-22): the connection is untouched and may be used.
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     let options = BrokerOptions::new().authenticate(|connect| match connect.fields().password {
///         Some(b"secret") => Ok(()),
///         _ => Err(ConnectReason::BadUserNameOrPassword),
///     });
///     let broker = Broker::new(options);
///     for (password, wait, ends_well) in [
///         (b"secret", MQTT_WAIT_ACK, true),
///         (b"wanted", MQTT_WAIT_ACK, false),
///         (b"wanted", MQTT_WAIT_NONE, true), // so far
///     ] {
///         let (sock, peer) = fiber::net::pipe(4096);
///         broker.attach(peer)?;
///         let mq = mqtt_alloc(sock, "meter-17", None)?;
///         let flags = MQTT_CONNECT_CLEAN_SESSION;
///         let connected = mqtt_connect(&mq, Some("meter"), Some(password), flags, wait);
///         assert_eq!(connected.is_ok(), ends_well, "{connected:?}");
///     }
///     Ok(())
/// }).unwrap().unwrap();
/// # }
/// ```
pub fn mqtt_connect(
    mq: &Client,
    user_name: Option<&str>,
    password: Option<&[u8]>,
    flags: ConnectFlags,
    wait: Wait,
) -> Result<(), Error> {
    // What is set here is for this connection, not for a later one of a client that has its own.
    mq.check_unused()?;
    match (user_name, password) {
        (Some(user_name), password) => mq.set_credentials(user_name, password),
        (None, None) => {}
        (None, Some(_)) => return Err(EncodeError::PasswordWithoutUserName.into()),
    }
    mq.set_clean_start(flags.contains(MQTT_CONNECT_CLEAN_SESSION));
    mq.connect_as(wait)
}

/// Publishes a message and waits as far as `wait` says; see [`Client::publish`].
///
/// # Errors
///
/// As [`Client::publish`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fn report(mq: &Client) -> Result<(), Error> {
///     // Into the queue, and on.
///     mqtt_publish(mq, b"1", MQTT_QOS_0, MQTT_WAIT_NONE, "log")?;
///     // Until it is promised, has left, or the broker has it.
///     mqtt_publish(mq, b"2", MQTT_QOS_1, MQTT_WAIT_STORED, "log")?;
///     mqtt_publish(mq, b"3", MQTT_QOS_1, MQTT_WAIT_SENT, "log")?;
///     let ticket = mqtt_publish(mq, b"4", MQTT_QOS_2, MQTT_WAIT_ACK, "log")?;
///     assert_eq!(ticket.poll(), Some(Outcome::Acked { maybe_twice: false }));
///     Ok(())
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let seen = broker.subscribe("log").unwrap();
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     report(&mq).unwrap();
/// #     for number in [b"1", b"2", b"3", b"4"] {
/// #         assert_eq!(seen.recv().unwrap().payload(), number);
/// #     }
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_publish(
    mq: &Client,
    payload: &(impl AsRef<[u8]> + ?Sized),
    qos: QoS,
    wait: Wait,
    topic: &str,
) -> Result<Ticket, PublishError> {
    mq.publish(Publish::to(topic, payload).qos(qos).wait(wait))
}

/// Publishes a message that the broker keeps for later subscribers (MQTT3-3.3.1.3); otherwise as
/// [`mqtt_publish`]. An empty one removes what was kept.
///
/// # Errors
///
/// As [`Client::publish`].
pub fn mqtt_publish_retained(
    mq: &Client,
    payload: &(impl AsRef<[u8]> + ?Sized),
    qos: QoS,
    wait: Wait,
    topic: &str,
) -> Result<Ticket, PublishError> {
    let publish = Publish::to(topic, payload).qos(qos).retain(true);
    mq.publish(publish.wait(wait))
}

/// Withdraws a message that was never sent; see [`Ticket::abandon`]. Does not yield.
///
/// # Errors
///
/// As [`Ticket::abandon`].
///
/// # Examples
///
/// ```
/// use mqtt::*;
///
/// # fiber::run(|| {
/// let (sock, _peer) = fiber::net::pipe(4096);
/// let mq = mqtt_alloc(sock, "meter-17", None)?;
/// // There is no connection yet.
/// let ticket = mqtt_publish(&mq, b"21.5", MQTT_QOS_1, MQTT_WAIT_NONE, "meter")?;
/// assert_eq!(mqtt_abandon(&ticket), Ok(()));
/// assert_eq!(ticket.poll(), Some(Outcome::Withdrawn));
/// # Ok::<(), Error>(())
/// # }).unwrap().unwrap();
/// ```
pub fn mqtt_abandon(ticket: &Ticket) -> Result<(), AlreadySent> {
    ticket.abandon()
}

/// Sets the message that the broker publishes when the connection breaks (MQTT3-3.1.2.5); counts
/// from the next CONNECT on. Does not yield.
///
/// # Errors
///
/// As [`Client::set_will`].
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     let broker = Broker::new(BrokerOptions::new());
///     let gone = broker.subscribe("gone")?;
///     let (sock, peer) = fiber::net::pipe(4096);
///     broker.attach(peer)?;
///     let mq = mqtt_alloc(sock, "meter-17", None)?;
///     mqtt_set_will(&mq, "gone", b"meter-17", MQTT_QOS_1, false)?;
///     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK)?;
///     broker.stop(); // the connection breaks
///     assert_eq!(gone.recv()?.payload(), b"meter-17");
///     Ok(())
/// }).unwrap().unwrap();
/// # }
/// ```
pub fn mqtt_set_will(
    mq: &Client,
    topic: &str,
    payload: &(impl AsRef<[u8]> + ?Sized),
    qos: QoS,
    retain: bool,
) -> Result<(), ArgumentError> {
    mq.set_will(Some(Will {
        topic: topic.to_owned(),
        payload: payload.as_ref().to_vec(),
        qos,
        retain,
    }))
}

/// Sets the credentials; counts from the next CONNECT on. Does not yield.
pub fn mqtt_set_credentials(mq: &Client, user_name: &str, password: Option<&[u8]>) {
    mq.set_credentials(user_name, password);
}

/// Sets how long the link may be silent before it is tried (MQTT3-3.1.2.10); counts from the next
/// CONNECT on. Does not yield.
pub fn mqtt_set_keep_alive(mq: &Client, keep_alive: Duration) {
    mq.set_keep_alive(keep_alive);
}

/// Sets how long nothing may happen before the client leaves, zero for ever; see
/// [`ClientOptions::idle_timeout`]. Counts at once. Does not yield.
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
/// use std::time::Duration;
///
/// fiber::Runtime::builder().paused_clock(true).run(|| {
///     let broker = Broker::new(BrokerOptions::new());
///     let (sock, peer) = fiber::net::pipe(4096);
///     broker.attach(peer).unwrap();
///     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
///     mqtt_set_timeout(&mq, Duration::from_secs(20));
///     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
///     assert!(matches!(*mq.ended().unwrap(), EndCause::Idle));
/// }).unwrap();
/// # }
/// ```
pub fn mqtt_set_timeout(mq: &Client, timeout: Duration) {
    mq.set_idle_timeout((!timeout.is_zero()).then_some(timeout));
}

/// Sends PINGREQ unless one is under way (MQTT3-3.12); see [`Client::ping`]. Does not yield.
///
/// # Errors
///
/// As [`Client::ping`].
pub fn mqtt_ping(mq: &Client) -> Result<(), Error> {
    mq.ping()
}

/// Waits for what was published to be acknowledged, then sends DISCONNECT and closes the connection
/// (MQTT3-3.14); see [`Client::close`]. Yields until then, for as long as the ambient deadline
/// allows, else [`OPERATION_TIMEOUT_DEFAULT`].
///
/// # Errors
///
/// [`Error::Unfinished`] if not all was acknowledged in [`OPERATION_TIMEOUT_DEFAULT`],
/// [`Error::Wait`] when a scope ended the wait before that; the client is closed all the same.
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "broker"))] fn main() {}
/// # #[cfg(feature = "broker")]
/// # fn main() {
/// use mqtt::*;
///
/// fn leave(mq: &Client) -> Result<(), Error> {
///     mqtt_ping(mq)?;
///     mqtt_publish(mq, b"bye", MQTT_QOS_1, MQTT_WAIT_NONE, "log")?;
///     assert_eq!(mqtt_msgs_to_send(mq), 1);
///     assert!(mqtt_is_connected(mq));
///     mqtt_disconnect(mq)?;
///     assert_eq!(mqtt_msgs_to_send(mq), 0);
///     assert!(!mqtt_is_connected(mq));
///     assert!(mqtt_get_last_activity(mq).is_some());
///     Ok(())
/// }
/// # fiber::run(|| {
/// #     let broker = Broker::new(BrokerOptions::new());
/// #     let (sock, peer) = fiber::net::pipe(4096);
/// #     broker.attach(peer).unwrap();
/// #     let mq = mqtt_alloc(sock, "meter-17", None).unwrap();
/// #     mqtt_connect(&mq, None, None, MQTT_CONNECT_CLEAN_SESSION, MQTT_WAIT_ACK).unwrap();
/// #     leave(&mq).unwrap();
/// # }).unwrap();
/// # }
/// ```
pub fn mqtt_disconnect(mq: &Client) -> Result<(), Error> {
    let timeout =
        fiber::ambient_deadline().map_or(OPERATION_TIMEOUT_DEFAULT, |at| at - Instant::now());
    let remaining = mq.close(timeout)?;
    if remaining == Remaining::default() {
        Ok(())
    } else {
        Err(Error::Unfinished(remaining))
    }
}

/// Whether there is a connection that the broker has accepted. Does not yield.
#[must_use]
pub fn mqtt_is_connected(mq: &Client) -> bool {
    mq.is_connected()
}

/// How many messages of QoS 1 and 2 are not acknowledged yet, sent or not. Does not yield.
#[must_use]
pub fn mqtt_msgs_to_send(mq: &Client) -> usize {
    mq.unacknowledged()
}

/// When bytes last went in either direction; `None` before the first. Does not yield.
#[must_use]
pub fn mqtt_get_last_activity(mq: &Client) -> Option<Instant> {
    mq.last_activity()
}
