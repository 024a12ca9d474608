//! Everything that needs no network, or loopback alone: virtual time, pipes, a PKI of one run.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "some tests block the thread on purpose, and some ask the system what it took"
)]

mod alone;
mod anywhere;
mod bare_peer;
mod black_hole;
mod bystanders;
mod clocks;
mod config;
mod crowd;
mod danger;
mod dial_options;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "sim")]
mod dns_sim;
mod forged;
mod garbage;
mod handshake;
mod key_log;
mod listener;
mod loopback;
mod middle;
#[cfg(feature = "dns")]
mod name_server;
mod pki;
mod proxy;
mod records;
mod refusal;
mod reload;
mod resumption;
mod revocation;
mod revocation_rivals;
mod serve;
mod signer;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod sim_addresses;
#[cfg(feature = "sim")]
mod sim_clocks;
#[cfg(feature = "sim")]
mod sim_dial;
#[cfg(feature = "sim")]
mod sim_hostile;
#[cfg(feature = "sim")]
mod sim_services;
mod slow_hello;
mod stack;
mod stream;
mod support;
mod system_roots;
mod texts;
mod traffic;
mod trust;
mod unix;
#[cfg(feature = "ws")]
mod ws;
