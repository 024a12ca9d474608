//! How a device gets its identity: from a cloud on the loopback interface, and in the simulator, where
//! power, network and clock fail.

#![forbid(unsafe_code)]
#![cfg(all(feature = "demo", feature = "provision"))]

#[cfg(feature = "sim")]
mod bad_days;
#[cfg(feature = "sim")]
mod cuts;
mod fleet;
#[cfg(feature = "sim")]
mod machines;
mod support;
