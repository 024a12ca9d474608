//! What a client is set to.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use safe_rt::{BackoffOptions, DialOptions, Endpoint};

use super::credentials::{Ask, Credentials, CredentialsError};
use super::login::Login;
use super::outbox::QueuePolicy;
use super::settings::{LOGIN, SETTINGS, Settings, shared_default};
#[cfg(feature = "store")]
use super::store_failure::OnStoreFailure;
use crate::packet::{ClientId, QoS};
use crate::session::{OnSessionLoss, PublishByteRate, PublishRate, ServerLimits};
#[cfg(feature = "store")]
use crate::store::Store;

/// Keep-alive unless set otherwise (MQTT3-3.1.2.10).
pub const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(60);
/// Time for a call that waits, where no scope sets a limit.
pub const OPERATION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Time for CONNECT to be answered.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// QoS 1 and 2 messages that may be unacknowledged at once.
pub const WINDOW_DEFAULT: u16 = 1_000;
/// QoS 2 messages that may be under way at once. Mosquitto, as it is configured when installed,
/// acknowledges the 21st and then forgets it.
pub const EXACTLY_ONCE_WINDOW_DEFAULT: u16 = 20;
/// Time for the program to acknowledge a message of a subscription with `Ack::Manual`.
pub const MANUAL_ACK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
/// Largest packet that is accepted from the broker, in bytes.
pub const MAXIMUM_PACKET_SIZE_DEFAULT: usize = 2 * 1024 * 1024;

/// A message the broker publishes for the client when its connection breaks (MQTT3-3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Application message.
    pub payload: Vec<u8>,
    /// Quality of service.
    pub qos: QoS,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// When subscriptions are asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resubscribe {
    /// When the broker does not have the session any more (MQTT3-3.2.2-3).
    #[default]
    WhenNew,
    /// On every connection, which makes the broker send retained messages again.
    Always,
}

/// Settings of a [`super::Client`].
#[derive(Clone)]
pub struct ClientOptions {
    pub(crate) client_id: ClientId,
    pub(super) login: Rc<Login>,
    pub(super) settings: Rc<Settings>,
}

impl fmt::Debug for ClientOptions {
    /// Leaves the password out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("client_id", &self.client_id)
            .field("clean_start", &self.login.clean_start)
            .field("keep_alive", &self.login.keep_alive)
            .field("user_name", &self.login.user_name)
            .finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// The defaults for a client identifier: a keep-alive of 60 s, no credentials.
    #[must_use]
    pub fn new(client_id: ClientId) -> Self {
        Self {
            client_id,
            login: shared_default(&LOGIN),
            settings: shared_default(&SETTINGS),
        }
    }

    fn settings(&mut self) -> &mut Settings {
        Rc::make_mut(&mut self.settings)
    }

    /// Whether the broker drops what it kept for this client identifier, at each connection
    /// (MQTT3-3.1.2.4).
    ///
    /// Unless said otherwise, a client over one connection starts clean, and one that makes its
    /// connections itself keeps its session.
    #[must_use]
    pub fn clean_start(mut self, clean_start: bool) -> Self {
        Rc::make_mut(&mut self.login).clean_start = Some(clean_start);
        self
    }

    /// How long the link may be silent before it is tried; rounded up to whole seconds, at most
    /// 65 535. Zero turns it off (MQTT3-3.1.2.10).
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        Rc::make_mut(&mut self.login).keep_alive = keep_alive;
        self
    }

    /// Credentials for the broker. In 3.1.1 there is no password without a user name
    /// (MQTT3-3.1.2-22), so that cannot be said here.
    #[must_use]
    pub fn credentials(
        mut self,
        user_name: impl Into<String>,
        password: Option<impl Into<Vec<u8>>>,
    ) -> Self {
        let credentials = Credentials::new(user_name, password);
        let login = Rc::make_mut(&mut self.login);
        login.set_credentials(credentials);
        login.ask = None;
        self
    }

    /// Asks for the credentials before each attempt to connect, in place of fixed ones: for tokens
    /// that expire and passwords that change.
    ///
    /// A client of [`super::Client::open`] calls the function before it dials, on a fiber of its own:
    /// it may wait, for [`ClientOptions::connect_timeout`] at most, and is cancelled when the client is
    /// closed or let go, or a pause begins. Where it fails the attempt has failed, with
    /// [`EndCause::Credentials`](super::EndCause::Credentials); the endpoint keeps its turn, and the
    /// error says whether the next attempt is made as after a lost link or as after a refusal. One of
    /// [`super::Client::over`] calls it in [`super::Client::connect`] on the fiber of that call, which
    /// returns [`Error::Credentials`](super::Error::Credentials) and still has its connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use mqtt::{ClientId, ClientOptions, Credentials};
    /// let options = ClientOptions::new(ClientId::new("meter-17")?).credentials_by(|| {
    ///     let token = std::fs::read("/run/meter/token")?;
    ///     Ok(Credentials::new("meter", Some(token)))
    /// });
    /// # Ok::<(), mqtt::Error>(())
    /// ```
    #[must_use]
    pub fn credentials_by(
        mut self,
        ask: impl Fn() -> Result<Credentials, CredentialsError> + 'static,
    ) -> Self {
        Rc::make_mut(&mut self.login).ask = Some(Ask::new(ask));
        self
    }

    /// A message for the case that the connection breaks.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        Rc::make_mut(&mut self.login).will = Some(will);
        self
    }

    /// Time for calls that wait where no scope sets a limit; `None` waits for ever.
    #[must_use]
    pub fn operation_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings().operation_timeout = timeout;
        self
    }

    /// Time for CONNECT to be answered, whatever limit a scope sets beside it.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings().connect_timeout = timeout;
        self
    }

    /// What the client does wrong, for a test that is to find it.
    #[cfg(any(test, feature = "planted"))]
    #[doc(hidden)]
    #[must_use]
    pub fn planted(mut self, fault: Option<crate::session::Planted>) -> Self {
        self.settings().planted = fault;
        self
    }

    /// QoS 1 and 2 messages that may be unacknowledged at once (at least 1); further ones wait in the
    /// queue.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.settings().window = window.max(1);
        self
    }

    /// QoS 2 messages that may be under way at once (at least 1), within the window; further ones
    /// wait, while those of QoS 1 pass.
    ///
    /// The default is what Mosquitto keeps of them unless its `max_inflight_messages` says more:
    /// it acknowledges what is beyond, and loses it.
    #[must_use]
    pub fn exactly_once_window(mut self, window: u16) -> Self {
        self.settings().exactly_once_window = window.max(1);
        self
    }

    /// Received QoS 1 and 2 messages that may await their acknowledgement by the client at once (at
    /// least 1), which leave in order of arrival. With more the client reads nothing until there is
    /// room, see [`ClientOptions::overrun_grace`].
    ///
    /// A broker has a window of its own, by default of 20 to 100 messages mostly: while that is not
    /// larger than this one, reading never waits for handlers, so that a handler may itself wait for
    /// whatever the broker answers.
    #[must_use]
    pub fn inbound_window(mut self, window: u16) -> Self {
        self.settings().inbound_window = window.max(1);
        self
    }

    /// Bytes of received QoS 1 and 2 messages that may be unhandled at once, counted for each handler
    /// that gets them, with [`QUEUED_OVERHEAD`](super::QUEUED_OVERHEAD) for each, and with those that
    /// the program is to acknowledge. With more the client reads nothing until there is room, see
    /// [`ClientOptions::overrun_grace`]. A single message may be larger, and the last one that finds
    /// room counts once for that.
    #[must_use]
    pub fn inbound_bytes(mut self, bytes: usize) -> Self {
        self.settings().inbound_bytes = bytes;
        self
    }

    /// How long the client waits for room, when a message finds none, while it reads nothing: handlers
    /// run on meanwhile, and acknowledgements leave. If there is some in time, reading goes on. Else
    /// the connection ends, [`EndCause::Overrun`](super::EndCause::Overrun), and
    /// [`super::Client::open`] makes the next one when half of the unhandled messages are handled
    /// ([`Event::Overrun`](super::Event::Overrun)).
    #[must_use]
    pub fn overrun_grace(mut self, grace: Duration) -> Self {
        self.settings().overrun_grace = grace;
        self
    }

    /// Largest packet that is accepted from the broker, in bytes (Maximum Packet Size). A larger
    /// message is read past without being kept, acknowledged, counted
    /// ([`ClientStats::oversized`](super::ClientStats::oversized)) and told
    /// ([`Event::Oversized`](super::Event::Oversized)); any other packet that is larger ends the
    /// connection.
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: usize) -> Self {
        self.settings().maximum_packet_size = bytes;
        self
    }

    /// Largest packet that the broker takes, in bytes, the fixed header included; what MQTT allows
    /// ([`MAX_PACKET_LEN`](crate::packet::MAX_PACKET_LEN)) unless set, and never more than the
    /// outbound log holds. A larger message or request is an argument error before it goes anywhere:
    /// many brokers close the connection for one.
    #[must_use]
    pub fn server_maximum_packet_size(mut self, bytes: usize) -> Self {
        self.settings().server_maximum_packet_size = bytes;
        self
    }

    /// How many messages leave in a time, and how many at once after a quiet time; any number unless
    /// set. For brokers that close the connection, or drop messages, beyond a rate.
    ///
    /// Messages beyond that wait in their order ([`Event::Throttled`](super::Event::Throttled)), and
    /// nothing else does: requests, acknowledgements and pings go ahead of them. Messages that are sent
    /// again count like others. When the client leaves it waits for them no longer than for others.
    #[must_use]
    pub fn publish_rate(mut self, rate: PublishRate) -> Self {
        self.settings().publish_rate = Some(rate);
        self
    }

    /// How many bytes of messages leave in a time, and how many at once after a quiet time; any number
    /// unless set. Holds beside [`ClientOptions::publish_rate`], and in the same way. A message larger
    /// than the burst leaves when as much could, and those behind it wait for the rest.
    #[must_use]
    pub fn publish_byte_rate(mut self, rate: PublishByteRate) -> Self {
        self.settings().publish_byte_rate = Some(rate);
        self
    }

    /// What the broker is known to refuse; whatever MQTT allows unless set. A message or a
    /// subscription that is beyond is an argument error
    /// ([`ArgumentError::ServerLimit`](crate::session::ArgumentError::ServerLimit)) before it goes
    /// anywhere, and what is asked for again on a new connection is cut into as many SUBSCRIBEs as
    /// they ask for. Such a message of an earlier store is given up: [`super::Event::Unsendable`].
    #[must_use]
    pub fn server_limits(mut self, limits: ServerLimits) -> Self {
        self.settings().server_limits = Some(Rc::new(limits));
        self
    }

    /// How long nothing may be sent, or nothing received, before the link is tried by PINGREQ; at
    /// least a second. The keep-alive unless set; works also where that is off.
    #[must_use]
    pub fn ping_after(mut self, silence: Duration) -> Self {
        self.settings().ping_after = Some(silence);
        self
    }

    /// Whether small messages of QoS 1 and 2, and PUBRELs, wait up to a millisecond for acknowledgements that are on
    /// their way, so that many leave in one write; unless set, they do. Only while more messages are unacknowledged than
    /// unsent, until anything else is to be sent, or a call waits for that. The broker is heard up to that much later.
    #[must_use]
    pub fn coalesce(mut self, coalesce: bool) -> Self {
        self.settings().coalesce = coalesce;
        self
    }

    /// How many messages (at least 1) and bytes of them may wait to be sent: for a connection, for the
    /// window or for the outbound log. Each counts
    /// [`QUEUED_MESSAGE_BYTES`](super::QUEUED_MESSAGE_BYTES) beside its topic and payload; a single one
    /// may be larger. With a [store](Self::store) that is for QoS 0 alone.
    #[must_use]
    pub fn queue_max(mut self, messages: usize, bytes: usize) -> Self {
        self.settings().queue_messages_max = messages;
        self.settings().queue_bytes_max = bytes;
        self
    }

    /// How long a message may wait to be sent; older ones are [`Outcome::Expired`](super::Outcome).
    /// For ever, unless set. What was sent does not expire: it is sent again until it is acknowledged.
    #[must_use]
    pub fn queue_age_max(mut self, age: Option<Duration>) -> Self {
        self.settings().queue_age_max = age;
        self
    }

    /// What becomes of a message for which there is no room, unless
    /// [`Publish::queue_policy`](super::Publish::queue_policy) says it; [`QueuePolicy::Wait`] unless
    /// set.
    #[must_use]
    pub fn queue_policy(mut self, policy: QueuePolicy) -> Self {
        self.settings().queue_policy = policy;
        self
    }

    /// What becomes of QoS 2 messages that were under way when the broker lost the session.
    #[must_use]
    pub fn on_session_loss(mut self, on_session_loss: OnSessionLoss) -> Self {
        self.settings().on_session_loss = on_session_loss;
        self
    }

    /// When subscriptions are asked for again.
    #[must_use]
    pub fn resubscribe(mut self, resubscribe: Resubscribe) -> Self {
        self.settings().resubscribe = resubscribe;
        self
    }

    /// Time for the program to acknowledge a message of a subscription with
    /// [`Ack::Manual`](super::Ack::Manual), from when the handler is called with it.
    #[must_use]
    pub fn manual_ack_timeout(mut self, timeout: Duration) -> Self {
        self.settings().manual_ack_timeout = timeout;
        self
    }

    /// Leaves the connection, by DISCONNECT, when no message went in either direction for that long
    /// and nothing is unacknowledged or unanswered; never, unless set. PINGREQ and its answer are no
    /// messages, and the will is not published.
    ///
    /// A client of [`super::Client::open`] connects at first as ever. Once it has left
    /// ([`Event::Idle`](super::Event::Idle)) it makes a connection when there is something to do: a
    /// publish, a subscription that the broker must be told of, a request, a ping,
    /// [`wait_connected`](super::Client::wait_connected) or
    /// [`retry_now`](super::Client::retry_now). Nothing is due before, but the least time between two
    /// attempts. One of [`super::Client::over`] ends with [`EndCause::Idle`](super::EndCause::Idle)
    /// and waits to be given another connection.
    ///
    /// Subscriptions stay. With a session that is kept, as it is unless
    /// [`ClientOptions::clean_start`] says otherwise, the broker holds messages of QoS 1 and 2 until
    /// the next connection, as many as it likes, and drops those of QoS 0. With a clean start it drops
    /// all, and the subscriptions are made again with each connection. A client that must be reached
    /// at any time stays connected.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings().idle_timeout = Some(timeout);
        self
    }

    /// Where messages of QoS 1 and 2 are kept until the broker has them, and what the session must not
    /// forget with them; for [`super::Client::open`] alone, which goes on with what is in it. A store
    /// is for one client at a time, and its identity must be that of the client
    /// ([`Error::Store`](super::Error::Store)).
    ///
    /// With [`store::File`](crate::store::File) they outlive the program, and at
    /// [`Level::Synced`](crate::store::Level::Synced) a power cut; then a publish waits for
    /// [`Wait::Stored`](super::Wait::Stored) unless told otherwise. How many there may be is the
    /// store's business; where there is no room a publish does as its
    /// [`QueuePolicy`](super::QueuePolicy) says.
    #[cfg(feature = "store")]
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.settings().store = Some(Rc::new(store));
        self
    }

    /// What becomes of messages of QoS 1 and 2 that are published while the store fails;
    /// [`OnStoreFailure::Degrade`] unless set. [`Event::StoreFailed`](super::Event::StoreFailed) and
    /// [`Event::StoreRecovered`](super::Event::StoreRecovered) tell when.
    #[cfg(feature = "store")]
    #[must_use]
    pub fn on_store_failure(mut self, on_store_failure: OnStoreFailure) -> Self {
        self.settings().on_store_failure = on_store_failure;
        self
    }

    /// How connections are made, TLS included; for [`super::Client::open`] alone. Where PINGREQ tries an idle link
    /// the kernel does not, unless [`DialOptions::keep_alive`] was called: that would wake a radio as well.
    #[must_use]
    pub fn dial(mut self, dial: DialOptions) -> Self {
        self.settings().dial = Some(Box::new(dial));
        self
    }

    /// A further endpoint of the broker, for [`super::Client::open`] alone; may be called again.
    ///
    /// Endpoints are tried in turn: an attempt that fails passes the turn to the next one, and so does
    /// the third connection running that ends within a minute; after the last one comes the first.
    /// The end of any other connection does not: where the session is, the client comes back to
    /// first, and it does not return to the first endpoint for being the first.
    ///
    /// A broker keeps sessions by itself: one that is kept at another endpoint is a lost session, and
    /// [`Event::Connected`](super::Event::Connected) says so. What was in flight is sent as new
    /// messages, at QoS 2 as [`ClientOptions::on_session_loss`] says, and subscriptions are made
    /// again. What an endpoint has kept of an earlier time is not taken for this session: messages
    /// that it sends again may have been handled, and identifiers that it may still use are cleared
    /// before use. The same is so with a store: it does not know which of several endpoints had what
    /// is in it, so the first connection goes on with it as with a lost session. Endpoints behind
    /// which there is one and the same broker had better be one name with several addresses.
    #[must_use]
    pub fn fallback(mut self, endpoint: Endpoint) -> Self {
        self.settings().fallbacks.push(endpoint);
        self
    }

    /// How long to wait before the next attempt to connect; for [`super::Client::open`] alone.
    #[must_use]
    pub fn backoff(mut self, backoff: BackoffOptions) -> Self {
        self.settings().backoff = Some(Box::new(backoff));
        self
    }
}
