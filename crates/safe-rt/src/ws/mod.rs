//! MQTT over WebSocket (RFC 6455; MQTT 3.1.1 section 6): the only users of tungstenite.
//!
//! From tungstenite come the heads of frames, the heads of the handshake and the digest that proves
//! it. What lies between, its `WebSocket`, is not used (decision 0013): a stream needs no whole
//! messages, masks have to come from the randomness door, and the log must not see any payload.

mod client;
mod error;
mod frame;
mod handshake;
mod inbound;
mod options;
mod outbound;
mod server;
mod stream;

pub use self::error::{WsError, WsErrorKind};
pub use self::handshake::WS_HEAD_BYTES_MAX;
pub use self::options::{WS_HEADERS_BYTES_MAX, WsHeaderError, WsOptions};
pub use self::outbound::WS_FRAME_BYTES_MAX;
pub use self::server::WsServerOptions;
pub use self::stream::{WS_CLOSE_TIMEOUT, WS_TRANSPORT_READS_MAX};

pub(crate) use self::options::default_options;

pub(crate) use self::server::ServerWs;
pub(crate) use self::stream::WsStream;

/// The sub-protocol of MQTT [MQTT-6.0.0-3].
const SUB_PROTOCOL: &str = "mqtt";
