//! The hermetic tier: in memory and in virtual time, against the scripted broker.
//!
//! No network, no sleep that passes time, no clock of the wall; all of it in a few seconds.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends its test, helpers included"
)]

mod acks;
mod agent_run;
mod bad_server;
mod broker_bounds;
mod broker_client;
mod broker_connect;
mod broker_delivery;
mod broker_faults;
mod broker_harness;
mod broker_listener;
mod broker_model;
mod broker_rules;
mod broker_sessions;
mod counting;
mod credentials;
mod cuts;
mod demo;
mod durable;
mod ending;
mod endpoints;
mod exactly_once;
mod flapping;
mod flood;
mod handler_failures;
mod handler_waits;
mod handlers;
mod harness;
mod idling;
mod inbound_window;
mod inline_failures;
mod inline_handlers;
mod inline_reentry;
mod leaving;
mod link;
mod liveness;
mod masters;
mod outcomes;
mod overrun;
mod oversized;
mod pacing;
mod patience;
mod pausing;
mod publishing;
mod queue;
mod queue_age;
mod queue_stored;
mod reconnect;
mod remote;
mod remote_abandon;
mod remote_subscribe;
mod requests;
mod restarts;
mod resting;
mod resubscribing;
mod room;
mod runs;
mod slow_disk;
mod socket_options;
mod store;
mod store_failure;
mod subscribing;
mod suspended;
mod telling;
mod turns;
mod unsure;
mod wait_limits;
