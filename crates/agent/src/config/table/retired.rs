//! Keys of other versions: what became of each, so that a configuration of before or after an update
//! is still one.
//!
//! Such a key is told as a warning, and a device starts with it; any other unknown key is a fault.

use super::Section;

/// A key that this version does not have, and another one has.
#[derive(Debug)]
#[non_exhaustive]
pub struct Retired {
    /// The table it stands in.
    pub section: Section,
    /// Its name there.
    pub name: &'static str,
    /// What became of it.
    pub fate: Fate,
    /// The first version in which that is so.
    pub version: &'static str,
    /// What to know about it.
    pub why: &'static str,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It has another name in the same table, and what is set by the old one counts.
    Renamed(&'static str),
    /// It means nothing any more.
    Removed,
    /// A later version has it; here it means nothing yet.
    Later,
}

/// All of them.
pub static RETIRED: &[Retired] = &[Retired {
    section: Section::Cloud,
    name: "session_expiry",
    fate: Fate::Removed,
    version: "0.1.0",
    why: "MQTT 3.1.1 has no such field, so that the broker alone decides how long it keeps a session",
}];
