//! The agent as a library: its builder, its hooks, its queue, and the examples as they are shipped.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first fault, and only it waits for its files"
)]

#[allow(unreachable_pub, reason = "it is part of a library elsewhere")]
#[path = "../../../../tests/src/temp_dir.rs"]
mod temp_dir;

mod builder;
mod examples;
mod support;
