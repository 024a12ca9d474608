//! The client and the embedded broker on machines of the simulated world, whose network does what
//! the seed says: a confirmed message is there, and none of QoS 2 comes twice.
//!
//! `SIM_SEEDS=1000 cargo test -p tests --features sim --test sim`; `SEED=x` runs one seed.

#![forbid(unsafe_code)]

mod clocks;
mod coverage;
mod delivery;
mod durable;
mod faults;
mod forgetful;
mod many;
mod planted;
mod promises;
mod scene;
mod server;
mod store;
mod survivor;
mod tap;
mod tls;
