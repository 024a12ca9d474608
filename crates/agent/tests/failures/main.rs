//! The table of failures: an agent on each of the days that devices in the field have. It never ends by
//! itself, loses nothing that it took, and says what is wrong. Most are machines of the simulated world;
//! what the simulator has not is done to a process.
//!
//! `cargo test -p agent --features sim --test failures`

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first fault, and only it waits for its files"
)]

#[cfg(feature = "sim")]
mod clocks;
#[cfg(feature = "sim")]
mod disks;
#[cfg(feature = "sim")]
mod links;
#[cfg(feature = "sim")]
mod machines;
#[cfg(feature = "sim")]
mod memory;
mod processes;
#[allow(dead_code, reason = "it is for other tests, too")]
#[path = "../library/support.rs"]
mod support;
#[allow(unreachable_pub, reason = "it is part of a library elsewhere")]
#[path = "../../../../tests/src/temp_dir.rs"]
mod temp_dir;
