//! The suites, by name. A further one is a module here and a row in [`SUITES`].

pub mod fibers;
pub mod mqtt;
pub mod scale;
pub mod size;
pub mod store;

use crate::error::Failure;

/// How a suite was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only figures with this in their name.
    pub only: Option<String>,
    /// Rounds of what is measured in rounds.
    pub rounds: usize,
}

impl Options {
    /// Whether a figure of this name is asked for.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }
}

/// A suite: measures and prints, and says whether every figure could be measured.
pub type Suite = fn(&Options) -> Result<bool, Failure>;

/// All suites: name, what it is about, how it is run.
pub const SUITES: [(&str, &str, Suite); 5] = [
    (
        "fibers",
        "the runtime beside tokio, may and async-executor",
        fibers::run,
    ),
    (
        "mqtt",
        "the client beside its peers and a loop over a raw socket",
        mqtt::run,
    ),
    (
        "scale",
        "what a message costs beside more and more of something",
        scale::run,
    ),
    (
        "size",
        "the smallest programs: files, code by crate, memory, start",
        size::run,
    ),
    (
        "store",
        "what it costs to keep messages until they are acknowledged",
        store::run,
    ),
];
