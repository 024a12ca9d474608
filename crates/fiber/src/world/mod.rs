//! The doors to the outside. Everything a program can learn or do beyond its own memory passes
//! one of them, so that a test can put another world behind it.

pub(crate) mod alarm;
pub(crate) mod clock;
pub mod fs;
pub(crate) mod net;
pub(crate) mod offload;
pub mod random;
pub(crate) mod resolve;
pub(crate) mod tcp;
pub(crate) mod watchdog;
