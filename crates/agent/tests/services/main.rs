//! The services of an agent over a real connection, to the broker of this workspace.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first fault, and only it waits for its files"
)]

#[allow(unreachable_pub, reason = "it is part of a library elsewhere")]
#[path = "../../../../tests/src/temp_dir.rs"]
mod temp_dir;

mod asking;
mod commands;
mod telling;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use agent::config::Config;
use agent::{Agent, AgentBuilder};
use mqtt::{Broker, BrokerOptions, ClientId};
use safe_rt::Listener;

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` with a broker; it is given an endpoint.
#[track_caller]
fn with_broker(body: impl FnOnce(&Broker, &str) + 'static) {
    let run = move || {
        let broker = Broker::new(BrokerOptions::new());
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let endpoint = format!("mqtt://{}", listener.local_addr().unwrap());
        broker.serve(listener).unwrap();
        body(&broker, &endpoint);
        broker.stop();
    };
    let ran = fiber::run(move || fiber::timeout(LIMIT, run).map_err(|_| "it took too long"));
    ran.unwrap().unwrap();
}

/// The agent `meter-17` at that endpoint.
fn builder(endpoint: &str) -> AgentBuilder {
    let mut config = Config::new(endpoint.parse().unwrap());
    config
        .set_device_id(&ClientId::new("meter-17").unwrap())
        .unwrap();
    Agent::builder().config(config)
}

/// Runs an agent until `body`, on a fiber of its own, is done.
#[track_caller]
fn run(builder: AgentBuilder, body: impl FnOnce(&Agent) + 'static) {
    let done = Rc::new(Cell::new(false));
    let is_done = Rc::clone(&done);
    let ran = builder
        .on_start(move |agent| {
            let ours = agent.clone();
            fiber::spawn(move || {
                body(&ours);
                is_done.set(true);
                ours.stop("the test is done");
            })?;
            Ok(())
        })
        .limit(Some(LIMIT))
        .run();
    ran.unwrap();
    assert!(done.get(), "it failed, or took too long");
}
