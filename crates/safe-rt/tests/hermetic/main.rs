//! Everything that needs no network, or loopback alone: virtual time, pipes, a PKI of one run.

#![forbid(unsafe_code)]

mod bare_peer;
mod clocks;
mod config;
mod garbage;
mod handshake;
mod listener;
mod loopback;
mod pki;
mod refusal;
mod serve;
mod signer;
#[cfg(feature = "sim")]
mod sim;
#[cfg(feature = "sim")]
mod sim_clocks;
mod stack;
mod stream;
mod support;
