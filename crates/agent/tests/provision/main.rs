//! How a device gets its identity: from a cloud on the loopback interface, and in the simulator, where
//! power, network and clock fail.

#![forbid(unsafe_code)]
#![cfg(all(feature = "demo", feature = "provision"))]

#[cfg(feature = "sim")]
mod bad_days;
mod cert;
#[cfg(feature = "sim")]
mod claims;
mod commands;
#[cfg(feature = "sim")]
mod cuts;
mod doubt;
mod fleet;
mod giving_up;
mod https;
#[cfg(feature = "sim")]
mod machines;
mod process;
#[allow(
    unreachable_pub,
    reason = "the file is a module of the crate of tests, to be copied"
)]
#[path = "../../../../tests/src/provisioning_server.rs"]
mod provisioning_server;
mod renewal;
mod support;
#[cfg(feature = "sim")]
mod trash;
