//! The doors to the outside. Everything a program can learn or do beyond its own memory passes
//! one of them, so that a test can put another world behind it.

pub(crate) mod alarm;
pub(crate) mod clock;
mod file;
pub mod fs;
pub(crate) mod net;
pub(crate) mod offload;
pub mod random;
pub(crate) mod resolve;
#[cfg(feature = "sim")]
mod sides;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod unix;
pub(crate) mod watchdog;
