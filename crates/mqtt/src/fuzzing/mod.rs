//! What fuzzers run: functions from any bytes to nothing, which panic where a promise is broken.
//!
//! They are here, and not beside the fuzzer in `fuzz/`, because some need what is private, and so
//! that the tests of this crate can run them as well: over the files in `fuzz/corpus/`, and over
//! changes to these for as long as they are told to. Outside tests they are there with the feature
//! `fuzzing` alone, and are no part of the public surface. `docs/testing.md` says how to use them.

#[cfg(feature = "broker")]
mod brokers;
#[cfg(feature = "store")]
mod clients;
pub(crate) mod input;
mod packets;
mod peers;
#[cfg(test)]
mod tests;
mod topics;

#[cfg(feature = "broker")]
pub use brokers::brokers;
#[cfg(feature = "store")]
pub use clients::clients;
pub use packets::packets;
pub use peers::peers;
pub use topics::topics;

use crate::session::tests::histories;
use input::Input;

/// A function that any bytes may be given to.
pub type Target = fn(&[u8]);

/// All of them by name, which is that of their folder in `fuzz/corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("packets", packets),
    ("topics", topics),
    ("histories", histories),
    ("peers", peers),
    #[cfg(feature = "client")]
    ("stores", stores),
    #[cfg(feature = "store")]
    ("clients", clients),
    #[cfg(feature = "broker")]
    ("brokers", brokers),
];

/// Drives a session, an honest server and the link between them: commands, bytes that leave in
/// pieces, packets that come, handlers that end, cuts, a server that loses the session, a record that
/// is late, crashes. What is promised must be kept at every step and everything come to its end.
///
/// The input: one byte for each decision.
pub fn histories(data: &[u8]) {
    let mut input = Input::new(data);
    histories::any_history(&mut |bound| (!input.is_empty()).then(|| input.below(bound)));
}

/// Damages the files of a store and opens it: nothing that lies there keeps it from being opened, what
/// was not damaged is kept, nothing is there twice, the damage is reported once, and the store goes
/// on.
///
/// The input: which store (one byte), then the changes.
#[cfg(feature = "client")]
pub fn stores(data: &[u8]) {
    crate::store::tests::fuzzed::any_damage(&mut Input::new(data));
}
