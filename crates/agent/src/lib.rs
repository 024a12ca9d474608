//! The device agent: library and binary.
//!
//! `agent run` connects as a configuration file says and stays connected. `agent pub`, `agent sub`
//! and `agent request` are tools for a moment: they do as `mosquitto_pub`, `mosquitto_sub` and
//! `mosquitto_rr` do, with the same letters, so that scripts can be moved over by changing one word.
//! `agent explain` says what a stable code means. `agent demo`, behind the feature `demo`, is a device and its cloud in
//! one program, and a link between them that fails.
//!
//! ```text
//!   arguments ──► args ──► config ───► run ──────────► out ──► exit code
//!                  │                    └──► telemetry          │
//!                  └─────► connect ──► publish ─────────────────┤
//!                             └──────► subscribe ──► out ───────┘
//! ```
//!
//! [`args`] is pure; [`run`](mod@run), [`publish`] and [`subscribe`] run on fibers, so that nothing they wait for, a
//! broker, a file, a line on the standard input or a slow reader of the standard output, stops the
//! connection's keep-alive. What goes wrong is a [`failure::Failure`], and that alone decides the
//! [`exit::Exit`] code.

#![forbid(unsafe_code)]

mod agent;
pub mod args;
pub mod ask;
mod asleep;
pub mod attach;
mod builder;
pub mod completions;
pub mod config;
pub mod connect;
pub mod control;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod failure;
pub mod format;
pub mod help;
pub mod identity;
#[cfg(feature = "provision")]
pub mod identity_tools;
mod json;
mod lasted;
mod life;
mod link;
mod live;
#[cfg(feature = "demo")]
pub mod local_cloud;
pub mod logging;
pub mod man;
mod memory;
mod notify;
pub mod out;
mod own;
pub mod profile;
#[cfg(feature = "provision")]
pub mod provision;
pub mod publish;
mod queue;
mod reload;
pub mod request;
pub mod run;
pub mod service;
pub mod status;
pub mod subscribe;
mod supervise;
mod telemetry;

pub use agent::{AGENT_FIBERS_MAX, Agent, RecordError};
pub use builder::AgentBuilder;
pub use queue::QueueOptions;
pub use reload::Reloaded;
pub use supervise::{Ailment, HealthCode, Link, LinkStats, STUCK_GRACE, Supervisor};
