//! An MQTT client whose calls yield the fiber while they wait.
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Wait};
//!
//! # fn broker(stream: fiber::net::PipeStream) -> std::io::Result<()> {
//! #     use std::io::{Read, Write};
//! #     let stream = &mut &stream;
//! #     stream.read_exact(&mut [0; 22])?; // CONNECT
//! #     stream.write_all(b"\x20\x02\x00\x00")?;
//! #     stream.read_exact(&mut [0; 12])?; // SUBSCRIBE
//! #     stream.write_all(b"\x90\x03\x00\x01\x01\x30\x09\x00\x05valve1\x2e")?;
//! #     stream.read_exact(&mut [0; 15])?; // PUBLISH
//! #     stream.write_all(b"\x40\x02\x00\x02")?;
//! #     stream.read_to_end(&mut Vec::new()).map(drop)
//! # }
//! # fn main_fiber() -> Result<(), mqtt::Error> {
//! # let (socket, peer) = fiber::net::pipe(4096);
//! # fiber::spawn(move || broker(peer))?;
//! let client = Client::over(socket, ClientOptions::new(ClientId::new("meter-17")?));
//! client.connect()?;
//! client.subscribe("valve", QoS::AtLeastOnce, |_client, message| {
//!     println!("{} says {:?}", message.topic, message.data);
//!     Ok(())
//! })?;
//! client.publish(Publish::to("meter", "21.5").qos(QoS::AtLeastOnce).wait(Wait::Ack))?;
//! client.close(std::time::Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! # fiber::run(main_fiber).unwrap().unwrap();
//! # }
//! ```
//!
//! The protocol core ([`packet`], [`topic`] and [`session`]) is pure: it does no I/O, reads no
//! clock, draws no random number and starts no thread; time is an argument ([`Time`]). It is all
//! that is left without the feature `client`, and then the crate has no dependency.
//!
//! Features, of which the first three are on unless `default-features = false`:
//!
//! | feature | with it |
//! |---|---|
//! | `client` | [`Client`] and all that is not the protocol core |
//! | `store` | [`ClientOptions::store`]: messages outlive the program; a smallest program is 150 KB larger |
//! | `tls` | `mqtts://` |
//! | `ws` | `ws://`, and `wss://` with `tls` |
//! | `broker` | the embedded broker |
//!
//! For a device with little room: `default-features = false` with the features that it needs, and a profile
//! with `opt-level = "z"`, `lto = "fat"`, `codegen-units = 1`, `panic = "abort"` and `strip = true`. The
//! linker saves another sixth with `-z pack-relative-relocs` and a script that leaves out unwind tables
//! (`bench/size/tables.ld`); a backtrace is empty then.
//!
//! Spoken is MQTT 3.1.1 with QoS 0, 1 and 2. [`Client::open`] makes its connections itself and stays
//! connected; [`Client::over`] uses one that the program has.
//!
//! What happens is told through the `log` crate. A logger must not call a client, nor wait for one: it
//! may be called while the state of that client is borrowed, and such a call would panic.

#![forbid(unsafe_code)]

#[cfg(feature = "broker")]
mod broker;
#[cfg(feature = "client")]
mod calls;
#[cfg(feature = "client")]
mod client;
mod control_buffer;
mod debug_is_text;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod outbound_log;
#[cfg(feature = "client")]
mod packed_map;
pub mod packet;
mod seldom;
pub mod session;
mod sorted;
#[cfg(feature = "client")]
pub mod store;
#[cfg(test)]
mod tests;
mod time;
pub mod topic;

#[cfg(feature = "broker")]
pub use broker::*;
#[cfg(feature = "client")]
pub use calls::*;
#[cfg(feature = "client")]
pub use client::{
    ACK_STALL_TIMEOUT, ANSWER_FILTERS_MAX, Ack, AckHandle, AlreadySent, CONNECT_TIMEOUT_DEFAULT,
    Client, ClientOptions, ClientStats, Credentials, CredentialsError, EARLY_BYTES_MAX,
    EARLY_MESSAGES_MAX, EARLY_WINDOW, EVENTS_MAX, EXACTLY_ONCE_WINDOW_DEFAULT, EndCause, Error,
    Event, HandlerError, INBOUND_BYTES_DEFAULT, INBOUND_WINDOW_DEFAULT, KEEP_ALIVE_DEFAULT,
    MANUAL_ACK_TIMEOUT_DEFAULT, MAXIMUM_PACKET_SIZE_DEFAULT, Message, MessageRef, Messages,
    OPEN_REQUESTS_MAX, OPERATION_TIMEOUT_DEFAULT, OVERRUN_GRACE_DEFAULT, OnError, OnStoreFailure,
    Outcome, Payload, Publish, PublishError, QOS_0_QUEUE_BYTES_MAX, QOS_0_QUEUE_MAX,
    QUEUE_BYTES_DEFAULT, QUEUE_MESSAGES_DEFAULT, QUEUED_MESSAGE_BYTES, QUEUED_OVERHEAD,
    QueuePolicy, REDELIVERY_PAUSE_MAX, REDELIVERY_PAUSE_MIN, REMOTE_BYTES_MAX, REMOTE_MESSAGES_MAX,
    REQUEST_TIMEOUT_DEFAULT, REST_TIMEOUT, Remaining, Remote, RemoteError, RemoteMessage,
    RemoteMessages, RemoteTicket, RequestError, RequestOptions, Resubscribe, SentPacket,
    StoreFailure, Subscribe, SubscriptionId, Ticket, Topic, Unanswered, WINDOW_DEFAULT, Wait,
    WaitCause, WaitError, Will,
};
pub use control_buffer::{CONTROL_BYTES_MAX, ControlBuffer};
pub use outbound_log::{LOG_BYTES_MAX, LOG_BYTES_MIN, LogFull, LogOffset, OutboundLog};
pub use packet::{
    ClientId, ConnectReason, DecodeError, EncodeError, PacketId, QoS, SubscribeReason, Version,
};
#[cfg(any(test, feature = "planted"))]
#[doc(hidden)]
pub use session::Planted;
pub use time::Time;
