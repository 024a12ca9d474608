//! What a session keeps of its options.

use std::time::Duration;

use super::{OnSessionLoss, SessionOptions};
use crate::packet::Version;

/// [`SessionOptions`] without the rates, which the pace has.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) version: Version,
    pub(super) window: u16,
    pub(super) inbound_window: u16,
    pub(super) ping_after: Option<Duration>,
    pub(super) connack_timeout: Duration,
    pub(super) disconnect_timeout: Duration,
    pub(super) on_session_loss: OnSessionLoss,
    pub(super) packet_bytes_max: usize,
    pub(super) recorded: bool,
    #[cfg(any(test, feature = "planted"))]
    pub(super) planted: Option<super::Planted>,
}

impl Kept {
    pub(super) const fn of(options: SessionOptions) -> Self {
        let SessionOptions {
            version,
            window,
            inbound_window,
            ping_after,
            connack_timeout,
            disconnect_timeout,
            on_session_loss,
            publish_rate: _,
            publish_byte_rate: _,
            packet_bytes_max,
            recorded,
            #[cfg(any(test, feature = "planted"))]
            planted,
        } = options;
        Self {
            version,
            window,
            inbound_window,
            ping_after,
            connack_timeout,
            disconnect_timeout,
            on_session_loss,
            packet_bytes_max,
            recorded,
            #[cfg(any(test, feature = "planted"))]
            planted,
        }
    }
}
