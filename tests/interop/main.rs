//! The interop tier: against a real Mosquitto and its clients, a real OpenSSL, a real
//! tinyproxy, and a broker that speaks WebSocket.
//!
//! Every test begins with [`peers`]: where one of them is not installed the tests are left out with
//! one line, unless `REQUIRE_INTEROP` is set, as `test.sh` does. `minimum` holds the number of
//! tests in this binary; a tidy test and `test.sh` compare it.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends its test, helpers included"
)]

mod agent_cli;
mod agent_run;
mod broker;
mod client;
mod doctor;
mod identity;
mod kill;
mod proxy;
mod restart;
mod support;
mod tls_mosquitto;
mod tls_openssl;
mod web_socket;

use tests::peers::Peers;

/// The gate before every test: the foreign programs, or `None` where they may be missing.
#[track_caller]
fn peers() -> Option<Peers> {
    Peers::gate()
}
