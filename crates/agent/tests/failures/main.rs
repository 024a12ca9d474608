//! The table of failures: an agent on a machine of the simulated world, on each of the days that devices
//! in the field have. It never ends by itself, loses nothing that it took, and says what is wrong.
//!
//! `cargo test -p agent --features sim --test failures`

#![forbid(unsafe_code)]
#![cfg(feature = "sim")]

mod clocks;
mod disks;
mod links;
mod machines;
