//! Settings of the broker, its bounds and its hooks.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use super::cut::CutReport;
use super::policy::{Policy, PublishVerdict};
use crate::packet::{Connect, ConnectReason, MAX_PACKET_LEN, QoS};

/// What a PUBLISH has beside topic and payload at most: its first byte and length, and the lengths of topic
/// and identifier.
const PUBLISH_HEAD_LEN: usize = 9;

/// Sessions, kept and connected, unless set; a client beyond is refused as
/// [`ConnectReason::ServerUnavailable`].
pub const BROKER_SESSIONS_DEFAULT: usize = 1_024;
/// Messages queued per session, unless set; beyond, the oldest of QoS 0 are dropped, then the
/// oldest.
pub const BROKER_QUEUE_DEFAULT: usize = 4_096;
/// Bytes of topic and payload queued per session, unless set; beyond, as for the number.
pub const BROKER_QUEUE_BYTES_DEFAULT: usize = 4 * 1024 * 1024;
/// Retained messages, unless set; one beyond is delivered and not retained.
pub const BROKER_RETAINED_DEFAULT: usize = 10_000;
/// Bytes of retained topics and payloads, unless set; beyond, as for the number.
pub const BROKER_RETAINED_BYTES_DEFAULT: usize = 16 * 1024 * 1024;
/// Bytes of a packet of a client, unless set; a longer one ends its connection. As many as a client of
/// this project takes: a message of a mebibyte passes, with its topic.
pub const BROKER_PACKET_BYTES_DEFAULT: usize = 2 * 1024 * 1024;
/// Messages of QoS 1 and 2 under way to a client, unless set; beyond, they wait in the queue.
pub const BROKER_WINDOW_DEFAULT: u16 = 128;
/// Filters of one session, and filters granted by one SUBSCRIBE; one beyond is refused in SUBACK.
pub const BROKER_SUBSCRIPTIONS_MAX: usize = 1_024;
/// Connections, those without CONNECT included; a client beyond is refused as
/// [`ConnectReason::ServerUnavailable`], unless it ends an earlier connection of its own.
pub const BROKER_CONNECTIONS_MAX: usize = 2_048;
/// Connections beyond these whose CONNECT is waited for; one more is closed at once.
pub const BROKER_ARRIVALS_MAX: usize = 64;
/// Time for CONNECT to come; then the connection is closed.
pub const BROKER_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Subscriptions of the program itself; one beyond is an error.
pub const LOCAL_SUBSCRIPTIONS_MAX: usize = 1_024;
/// Messages queued for one of these; beyond, the oldest are dropped.
pub const LOCAL_QUEUE_MAX: usize = 4_096;

type Authenticate = Box<dyn FnMut(&Connect<'_>) -> Result<(), ConnectReason>>;
type Authorize = Box<dyn FnMut(&str, &str, QoS) -> bool>;
type AuthorizePublish = Box<dyn FnMut(&str, &str, QoS) -> PublishVerdict>;
type OnCut = Box<dyn FnMut(&str, &CutReport)>;

/// The bounds that can be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) sessions_max: usize,
    pub(super) queue_max: usize,
    pub(super) queue_bytes_max: usize,
    pub(super) retained_max: usize,
    pub(super) retained_bytes_max: usize,
    pub(super) maximum_packet_size: usize,
    pub(super) window: usize,
}

/// Settings of a [`Broker`](super::Broker): bounds, and who may do what.
///
/// Without hooks every client is welcome and may publish and subscribe to everything.
pub struct BrokerOptions {
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    pub(super) hooks: Hooks,
}

impl BrokerOptions {
    /// Starts with the defaults of this module.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits {
            sessions_max: BROKER_SESSIONS_DEFAULT,
            queue_max: BROKER_QUEUE_DEFAULT,
            queue_bytes_max: BROKER_QUEUE_BYTES_DEFAULT,
            retained_max: BROKER_RETAINED_DEFAULT,
            retained_bytes_max: BROKER_RETAINED_BYTES_DEFAULT,
            maximum_packet_size: BROKER_PACKET_BYTES_DEFAULT,
            window: BROKER_WINDOW_DEFAULT.into(),
        };
        Self {
            limits,
            policy: Policy::default(),
            hooks: Hooks::default(),
        }
    }

    /// Sets how many sessions there may be, kept and connected together.
    #[must_use]
    pub const fn sessions_max(mut self, sessions: usize) -> Self {
        self.limits.sessions_max = sessions;
        self
    }

    /// Sets how many messages and how many bytes of them are queued per session; one message always
    /// is.
    #[must_use]
    pub const fn queue_max(mut self, messages: usize, bytes: usize) -> Self {
        self.limits.queue_max = messages;
        self.limits.queue_bytes_max = bytes;
        self
    }

    /// Sets how many messages and how many bytes of them are retained.
    #[must_use]
    pub const fn retained_max(mut self, messages: usize, bytes: usize) -> Self {
        self.limits.retained_max = messages;
        self.limits.retained_bytes_max = bytes;
        self
    }

    /// Sets the most bytes of a packet, fixed header included, and of a message that is published
    /// locally, topic included; at most what MQTT allows, [`MAX_PACKET_LEN`], less a PUBLISH's head.
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: usize) -> Self {
        self.limits.maximum_packet_size = bytes.min(MAX_PACKET_LEN - PUBLISH_HEAD_LEN);
        self
    }

    /// Sets how many messages of QoS 1 and 2 may be under way to one client; at least 1.
    #[must_use]
    pub fn window(mut self, messages: u16) -> Self {
        self.limits.window = messages.max(1).into();
        self
    }

    /// Asks this hook about every CONNECT: a refusal is answered with its reason (MQTT3-3.1.4-4).
    /// It must not wait: a client that comes while it does is refused as
    /// [`ConnectReason::ServerUnavailable`].
    #[must_use]
    pub fn authenticate(
        mut self,
        hook: impl FnMut(&Connect<'_>) -> Result<(), ConnectReason> + 'static,
    ) -> Self {
        self.hooks.authenticate = Some(RefCell::new(Box::new(hook)));
        self
    }

    /// Asks this hook about every filter of a SUBSCRIBE, with client identifier, filter and QoS:
    /// `false` is answered with the return code 0x80 (MQTT3-3.9.3). It must not wait: what comes
    /// while it does is refused.
    #[must_use]
    pub fn authorize_subscribe(
        mut self,
        hook: impl FnMut(&str, &str, QoS) -> bool + 'static,
    ) -> Self {
        self.hooks.authorize_subscribe = Some(RefCell::new(Box::new(hook)));
        self
    }

    /// Asks this hook about every message that a client publishes, with client identifier, topic and
    /// QoS. It must not wait: what comes while it does ends its connection.
    #[must_use]
    pub fn authorize_publish(
        mut self,
        hook: impl FnMut(&str, &str, QoS) -> PublishVerdict + 'static,
    ) -> Self {
        self.hooks.authorize_publish = Some(RefCell::new(Box::new(hook)));
        self
    }

    /// Tells this hook of every connection that [`Faults`](super::Faults) cut, with client identifier
    /// and place. It must not wait: of what is cut while it does it is not told.
    #[must_use]
    pub fn on_cut(mut self, hook: impl FnMut(&str, &CutReport) + 'static) -> Self {
        self.hooks.on_cut = Some(RefCell::new(Box::new(hook)));
        self
    }
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BrokerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerOptions")
            .field("limits", &self.limits)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The questions that the program answers.
#[derive(Default)]
pub(super) struct Hooks {
    authenticate: Option<RefCell<Authenticate>>,
    authorize_subscribe: Option<RefCell<Authorize>>,
    authorize_publish: Option<RefCell<AuthorizePublish>>,
    on_cut: Option<RefCell<OnCut>>,
}

impl Hooks {
    pub(super) fn may_connect(&self, connect: &Connect<'_>) -> Result<(), ConnectReason> {
        let Some(hook) = &self.authenticate else {
            return Ok(());
        };
        match hook.try_borrow_mut() {
            Ok(mut hook) => hook(connect),
            Err(_) => Err(ConnectReason::ServerUnavailable),
        }
    }

    pub(super) fn cut(&self, client: &str, report: &CutReport) {
        if let Some(Ok(mut hook)) = self.on_cut.as_ref().map(RefCell::try_borrow_mut) {
            hook(client, report);
        }
    }

    pub(super) fn may_publish(&self, client: &str, topic: &str, qos: QoS) -> PublishVerdict {
        match self.authorize_publish.as_ref().map(RefCell::try_borrow_mut) {
            None => PublishVerdict::Allow,
            Some(Ok(mut hook)) => hook(client, topic, qos),
            Some(Err(_)) => PublishVerdict::HangUp,
        }
    }

    pub(super) fn may_subscribe(&self, client: &str, filter: &str, qos: QoS) -> bool {
        match self
            .authorize_subscribe
            .as_ref()
            .map(RefCell::try_borrow_mut)
        {
            None => true,
            Some(Ok(mut hook)) => hook(client, filter, qos),
            Some(Err(_)) => false,
        }
    }
}
