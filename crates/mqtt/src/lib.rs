//! An MQTT client whose calls yield the fiber while they wait.
//!
//! The protocol core ([`packet`], [`topic`] and [`session`]) is pure: it does no I/O, reads no
//! clock, draws no random number and starts no thread; time is an argument ([`Time`]). It is all
//! that is left without the feature `client`, and then the crate has no dependency.

#[cfg(feature = "client")]
mod client;
mod control_buffer;
mod outbound_log;
pub mod packet;
pub mod session;
mod time;
pub mod topic;

#[cfg(feature = "client")]
pub use client::{
    CONNECT_TIMEOUT_DEFAULT, Client, ClientOptions, ClientStats, EndCause, Error, HandlerError,
    INBOUND_BYTES_MAX, KEEP_ALIVE_DEFAULT, MAXIMUM_PACKET_SIZE_DEFAULT, Message, Messages,
    OPERATION_TIMEOUT_DEFAULT, Outcome, Payload, Publish, PublishError, QOS_0_QUEUE_BYTES_MAX,
    QOS_0_QUEUE_MAX, Remaining, SubscriptionId, Ticket, Topic, WINDOW_DEFAULT, Wait, WaitCause,
    WaitError, Will,
};
pub use control_buffer::{CONTROL_BYTES_MAX, ControlBuffer};
pub use outbound_log::{LOG_BYTES_MAX, LOG_BYTES_MIN, LogFull, LogOffset, OutboundLog};
pub use packet::{
    ClientId, ConnectReason, DecodeError, EncodeError, PacketId, QoS, SubscribeReason, Version,
};
pub use time::Time;
