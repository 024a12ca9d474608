//! The doctor against what goes wrong between a device and its broker, each made on loopback.

#![forbid(unsafe_code)]
#![cfg(feature = "demo")]

mod beside;
mod network;
mod rights;
mod session;
mod support;
mod tls;
mod tool;
mod watch;
