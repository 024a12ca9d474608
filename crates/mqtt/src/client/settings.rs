//! What the options of a client come to beside who it is: what clients that are set alike have in common.

use std::rc::Rc;
use std::thread::LocalKey;
use std::time::Duration;

use safe_rt::{BackoffOptions, DialOptions, Endpoint};

use super::login::Login;
use super::options::{
    CONNECT_TIMEOUT_DEFAULT, EXACTLY_ONCE_WINDOW_DEFAULT, MANUAL_ACK_TIMEOUT_DEFAULT,
    MAXIMUM_PACKET_SIZE_DEFAULT, OPERATION_TIMEOUT_DEFAULT, Resubscribe, WINDOW_DEFAULT,
};
use super::outbox::{QUEUE_BYTES_DEFAULT, QUEUE_MESSAGES_DEFAULT, QueuePolicy};
use super::overrun::{INBOUND_BYTES_DEFAULT, INBOUND_WINDOW_DEFAULT, OVERRUN_GRACE_DEFAULT};
use super::store_failure::OnStoreFailure;
use crate::packet::MAX_PACKET_LEN;
use crate::session::{OnSessionLoss, PublishByteRate, PublishRate, ServerLimits};
use crate::store::Store;

thread_local! {
    // Most clients have the defaults, and there may be many.
    pub(super) static SETTINGS: Rc<Settings> = Rc::default();
    pub(super) static LOGIN: Rc<Login> = Rc::default();
}

/// The value that all clients of the thread begin with.
pub(super) fn shared_default<T: Default>(place: &'static LocalKey<Rc<T>>) -> Rc<T> {
    // A thread that ends may have none any more.
    place.try_with(Rc::clone).unwrap_or_default()
}

/// Settings of a client; [`super::ClientOptions`] says what they mean.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) operation_timeout: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) window: u16,
    pub(super) exactly_once_window: u16,
    pub(super) inbound_window: u16,
    pub(super) inbound_bytes: usize,
    pub(super) overrun_grace: Duration,
    pub(super) maximum_packet_size: usize,
    pub(super) server_maximum_packet_size: usize,
    pub(super) server_limits: Option<Rc<ServerLimits>>,
    pub(super) publish_rate: Option<PublishRate>,
    pub(super) publish_byte_rate: Option<PublishByteRate>,
    pub(super) ping_after: Option<Duration>,
    pub(super) coalesce: bool,
    pub(super) queue_messages_max: usize,
    pub(super) queue_bytes_max: usize,
    pub(super) queue_age_max: Option<Duration>,
    pub(super) queue_policy: QueuePolicy,
    pub(super) on_session_loss: OnSessionLoss,
    pub(super) resubscribe: Resubscribe,
    pub(super) manual_ack_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) store: Option<Rc<dyn Store>>,
    pub(super) on_store_failure: OnStoreFailure,
    /// None for the defaults.
    pub(super) dial: Option<Box<DialOptions>>,
    pub(super) fallbacks: Vec<Endpoint>,
    /// Likewise.
    pub(super) backoff: Option<Box<BackoffOptions>>,
    #[cfg(any(test, feature = "planted"))]
    pub(super) planted: Option<crate::session::Planted>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            operation_timeout: Some(OPERATION_TIMEOUT_DEFAULT),
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            window: WINDOW_DEFAULT,
            exactly_once_window: EXACTLY_ONCE_WINDOW_DEFAULT,
            inbound_window: INBOUND_WINDOW_DEFAULT,
            inbound_bytes: INBOUND_BYTES_DEFAULT,
            overrun_grace: OVERRUN_GRACE_DEFAULT,
            maximum_packet_size: MAXIMUM_PACKET_SIZE_DEFAULT,
            server_maximum_packet_size: MAX_PACKET_LEN,
            server_limits: None,
            publish_rate: None,
            publish_byte_rate: None,
            ping_after: None,
            coalesce: true,
            queue_messages_max: QUEUE_MESSAGES_DEFAULT,
            queue_bytes_max: QUEUE_BYTES_DEFAULT,
            queue_age_max: None,
            queue_policy: QueuePolicy::default(),
            on_session_loss: OnSessionLoss::default(),
            resubscribe: Resubscribe::default(),
            manual_ack_timeout: MANUAL_ACK_TIMEOUT_DEFAULT,
            idle_timeout: None,
            store: None,
            on_store_failure: OnStoreFailure::default(),
            dial: None,
            fallbacks: Vec::new(),
            backoff: None,
            #[cfg(any(test, feature = "planted"))]
            planted: None,
        }
    }
}
