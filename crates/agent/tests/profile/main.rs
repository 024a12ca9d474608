//! The client behind each profile, against the embedded broker that plays the provider: with the
//! profile it keeps within the limits, without it the provider refuses as it does in the field.
//!
//! In memory and in virtual time.

#![forbid(unsafe_code)]
#![cfg(feature = "demo")]

mod harness;
mod limits;
mod process;
mod quotas;
mod refusals;
mod stored;
