//! What the tests across the crates stand on: certificates, foreign servers and programs, a broker
//! that follows a script.
//!
//! Nothing here is part of the product. Only this package may use the standard library's files,
//! threads, clocks and sockets directly (`clippy.toml`): it drives programs that are not ours.

#![forbid(unsafe_code)]

pub mod aedes;
pub mod lives;
pub mod mosquitto;
pub mod paho;
pub mod peers;
pub mod pki;
pub mod process;
pub mod program;
pub mod provisioning_server;
pub mod proxy;
pub mod random;
pub mod scripted;
pub mod soak;
pub mod tally;
pub mod temp_dir;
pub mod tinyproxy;
