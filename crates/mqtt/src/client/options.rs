//! What a client is set to.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use safe_rt::{BackoffOptions, DialOptions, Endpoint};

use super::login::Login;
use crate::packet::{ClientId, QoS};
use crate::session::OnSessionLoss;
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
    pub(super) login: Login,
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) window: u16,
    pub(crate) exactly_once_window: u16,
    pub(crate) maximum_packet_size: usize,
    pub(crate) on_session_loss: OnSessionLoss,
    pub(crate) resubscribe: Resubscribe,
    pub(crate) manual_ack_timeout: Duration,
    pub(crate) store: Option<Rc<dyn Store>>,
    pub(crate) dial: DialOptions,
    pub(crate) fallbacks: Vec<Endpoint>,
    pub(crate) backoff: BackoffOptions,
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
            login: Login::default(),
            operation_timeout: Some(OPERATION_TIMEOUT_DEFAULT),
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            window: WINDOW_DEFAULT,
            exactly_once_window: EXACTLY_ONCE_WINDOW_DEFAULT,
            maximum_packet_size: MAXIMUM_PACKET_SIZE_DEFAULT,
            on_session_loss: OnSessionLoss::default(),
            resubscribe: Resubscribe::default(),
            manual_ack_timeout: MANUAL_ACK_TIMEOUT_DEFAULT,
            store: None,
            dial: DialOptions::default(),
            fallbacks: Vec::new(),
            backoff: BackoffOptions::new(),
        }
    }

    /// Whether the broker drops what it kept for this client identifier, at each connection
    /// (MQTT3-3.1.2.4).
    ///
    /// Unless said otherwise, a client over one connection starts clean, and one that makes its
    /// connections itself keeps its session.
    #[must_use]
    pub fn clean_start(mut self, clean_start: bool) -> Self {
        self.login.clean_start = Some(clean_start);
        self
    }

    /// How long the link may be silent before it is tried; rounded up to whole seconds, at most
    /// 65 535. Zero turns it off (MQTT3-3.1.2.10).
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.login.keep_alive = keep_alive;
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
        self.login.user_name = Some(user_name.into());
        self.login.password = password.map(Into::into);
        self
    }

    /// A message for the case that the connection breaks.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.login.will = Some(will);
        self
    }

    /// Time for calls that wait where no scope sets a limit; `None` waits for ever.
    #[must_use]
    pub fn operation_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.operation_timeout = timeout;
        self
    }

    /// Time for CONNECT to be answered, whatever limit a scope sets beside it.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// QoS 1 and 2 messages that may be unacknowledged at once (at least 1); further ones wait.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.window = window.max(1);
        self
    }

    /// QoS 2 messages that may be under way at once (at least 1), within the window; further ones
    /// wait, while those of QoS 1 pass.
    ///
    /// The default is what Mosquitto keeps of them unless its `max_inflight_messages` says more:
    /// it acknowledges what is beyond, and loses it.
    #[must_use]
    pub fn exactly_once_window(mut self, window: u16) -> Self {
        self.exactly_once_window = window.max(1);
        self
    }

    /// Largest packet that is accepted from the broker, in bytes (Maximum Packet Size).
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: usize) -> Self {
        self.maximum_packet_size = bytes;
        self
    }

    /// What becomes of QoS 2 messages that were under way when the broker lost the session.
    #[must_use]
    pub fn on_session_loss(mut self, on_session_loss: OnSessionLoss) -> Self {
        self.on_session_loss = on_session_loss;
        self
    }

    /// When subscriptions are asked for again.
    #[must_use]
    pub fn resubscribe(mut self, resubscribe: Resubscribe) -> Self {
        self.resubscribe = resubscribe;
        self
    }

    /// Time for the program to acknowledge a message of a subscription with
    /// [`Ack::Manual`](super::Ack::Manual), from when the handler is called with it.
    #[must_use]
    pub fn manual_ack_timeout(mut self, timeout: Duration) -> Self {
        self.manual_ack_timeout = timeout;
        self
    }

    /// Where messages of QoS 1 and 2 are kept until the broker has them, and what the session must not
    /// forget with them; for [`super::Client::open`] alone, which goes on with what is in it. A store
    /// is for one client at a time.
    ///
    /// With [`store::File`](crate::store::File) they outlive the program, and at
    /// [`Level::Synced`](crate::store::Level::Synced) a power cut; then a publish waits for
    /// [`Wait::Stored`](super::Wait::Stored) unless told otherwise. How many there may be is the
    /// store's business; a publish waits for room.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(Rc::new(store));
        self
    }

    /// How connections are made, TLS included; for [`super::Client::open`] alone.
    #[must_use]
    pub fn dial(mut self, dial: DialOptions) -> Self {
        self.dial = dial;
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
        self.fallbacks.push(endpoint);
        self
    }

    /// How long to wait before the next attempt to connect; for [`super::Client::open`] alone.
    #[must_use]
    pub fn backoff(mut self, backoff: BackoffOptions) -> Self {
        self.backoff = backoff;
        self
    }
}
