//! The control socket: how programs on the same machine ask a running agent, and tell it what to do.
//!
//! A Unix socket with mode 0600. Each request is one line of JSON, and so is its answer:
//!
//! ```text
//!   {"schema":1,"verb":"status"}          {"schema":1,"ok":true,"status":{...}}
//!   {"schema":1,"verb":"queue-ls"}        {"schema":1,"ok":true,"messages":[...],"next":17}
//!   {"schema":1,"verb":"dance"}           {"schema":1,"ok":false,"error":"..."}
//! ```
//!
//! | verb | with | answer |
//! |---|---|---|
//! | `status` | | `status`: [`crate::status::Status::to_json`] |
//! | `text` | | `text`: the same for people |
//! | `metrics` | | `text`: the same for Prometheus |
//! | `fibers` | | `fibers`: a line for each |
//! | `queue-ls` | `from` | `messages` in their order, and `next` if there are more |
//! | `queue-export` | `from` | the same with their payloads, Base64 |
//! | `queue-drop` | `count` | `dropped`, `kept`: the oldest that were not sent, and those that were |
//! | `connect` | `seconds` | has a connection whatever the schedule says |
//! | `doctor` | | `status`, and `checks`: what the checks find that send nothing of MQTT, made by the agent |
//! | `publish` | `topic`, `payload` in Base64, `qos`, `retain`, `wait` in seconds | `outcome`: `acknowledged`, `sent`, `stored` or `waiting` in the queue, or how it was given up |
//! | `renew` | | `order`: has the certificate renewed; the number of that renewal |
//! | `renewal` | | `busy`, `ended`: how many have ended; `failure` of the last one; `certificate_id` in use |
//! | `reload` | | `changed`, `reconnect`, `restart`: what counts at once, with the next connection, after a restart |
//!
//! Answers may get further parts; none is renamed or removed within schema 1. A client may ask several
//! times on one connection. Only the agent's own user and root are answered.

mod client;
mod publish;
mod request;
mod server;

pub use client::{Control, ControlError};
pub use publish::PUBLISH_WAIT_MAX;
pub use request::{CONTROL_REQUEST_BYTES_MAX, Request, RequestFault, ToPublish};
pub use server::{CONTROL_CLIENTS_MAX, CONTROL_TIMEOUT, QUEUE_PAGE_MAX};

pub(crate) use server::serve;

/// The name of the socket in its folder.
pub const SOCKET_NAME: &str = "control.sock";
