//! What a program is made of: the code of its functions, by the crates that they belong to.
//!
//! A function that is generic is built for the types that it is used with, wherever that is; and the
//! optimiser puts small functions into those that call them. So code has no one owner. Here a function
//! belongs to the first crate of an order that its name mentions, and what was put into it belongs to it.
//! The name of `Vec<mqtt::Message>::push` mentions `alloc` and `mqtt`: where `mqtt` comes first it is
//! counted there, because without that crate it would not be in the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use crate::error::Failure;

/// Crates of the standard library: they own what mentions no other.
const STANDARD: [&str; 3] = ["core", "alloc", "std"];
/// How functions of ring begin that are not written in Rust.
const RING: [&str; 2] = ["ring_core", "_ring_core"];
/// The owner of functions whose names tell nothing.
const UNKNOWN: &str = "other";

/// A program with its symbols, as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Anatomy {
    /// Bytes of sections by name.
    sections: BTreeMap<String, u64>,
    /// Functions: their names without hashes, and their bytes.
    functions: Vec<(String, u64)>,
}

impl Anatomy {
    /// Reads a program that is not stripped.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let failure = |what: String| Failure::File {
            path: path.display().to_string(),
            what,
        };
        let bytes = fs::read(path).map_err(|error| failure(error.to_string()))?;
        let file = object::File::parse(bytes.as_slice()).map_err(|e| failure(e.to_string()))?;
        let sections = file.sections();
        let sections = sections.filter_map(|one| Some((one.name().ok()?.to_owned(), one.size())));
        let mut seen = BTreeSet::new();
        let functions = file
            .symbols()
            .filter(|one| one.kind() == SymbolKind::Text && one.size() > 0)
            // One function may have several names.
            .filter(|one| seen.insert(one.address()))
            .filter_map(|one| {
                let name = rustc_demangle::demangle(one.name().ok()?);
                Some((format!("{name:#}"), one.size()))
            });
        let anatomy = Self {
            functions: functions.collect(),
            sections: sections.collect(),
        };
        if anatomy.functions.is_empty() {
            return Err(failure("holds no symbols".to_owned()));
        }
        Ok(anatomy)
    }

    /// Bytes of a section; 0 where there is none.
    #[must_use]
    pub fn section(&self, name: &str) -> u64 {
        self.sections.get(name).copied().unwrap_or(0)
    }

    /// Bytes of code by crate, the largest first. `order` names the crates that come before others.
    #[must_use]
    pub fn by_crate(&self, order: &[&str]) -> Vec<(String, u64)> {
        let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, size) in &self.functions {
            *bytes.entry(owner(name, order)).or_default() += size;
        }
        let mut sorted: Vec<_> = bytes
            .into_iter()
            .map(|(owner, size)| (owner.to_owned(), size))
            .collect();
        sorted.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        sorted
    }

    /// Bytes of code of one crate, with `order` as in [`Anatomy::by_crate`].
    #[must_use]
    pub fn of(&self, owner: &str, order: &[&str]) -> u64 {
        let all = self.by_crate(order);
        let found = all.iter().find(|(name, _)| name == owner);
        found.map_or(0, |(_, size)| *size)
    }
}

/// The crate that a function belongs to.
fn owner<'a>(name: &'a str, order: &[&'a str]) -> &'a str {
    if RING.iter().any(|prefix| name.starts_with(prefix)) {
        return "ring";
    }
    let crates = mentioned(name);
    let ranked = order.iter().find(|one| crates.contains(one));
    let other = || crates.iter().find(|one| !STANDARD.contains(one));
    ranked
        .or_else(other)
        .or_else(|| crates.first())
        .copied()
        .unwrap_or(UNKNOWN)
}

/// The crates that a name mentions: the first words of its paths.
fn mentioned(name: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut crates = Vec::new();
    let mut at = 0;
    while let Some(begin) = name[at..].find(is_word) {
        let begin = at + begin;
        let len = name[begin..].find(|c| !is_word(c));
        at = len.map_or(name.len(), |len| begin + len);
        let begins_path = !name[..begin].ends_with("::");
        let goes_on = name[at..].starts_with("::");
        // `Self::method` and the like begin with a type.
        let is_crate = name[begin..].starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if begins_path && goes_on && is_crate {
            crates.push(&name[begin..at]);
        }
    }
    crates
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Anatomy, mentioned, owner};

    const ORDER: [&str; 2] = ["mqtt", "fiber"];

    #[test]
    fn paths_begin_with_crates() {
        let cases: [(&str, &[&str]); 6] = [
            ("mqtt::client::Client::open", &["mqtt"]),
            ("<mqtt::Error as core::fmt::Debug>::fmt", &["mqtt", "core"]),
            (
                "<alloc::vec::Vec<(u64, fiber::Fiber)>>::push",
                &["alloc", "fiber"],
            ),
            (
                "core::ptr::drop_in_place::<[alloc::string::String; 4]>",
                &["core", "alloc"],
            ),
            ("<&mut dyn log::Log>::log", &["log"]),
            ("memcpy", &[]),
        ];
        for (name, crates) in cases {
            assert_eq!(mentioned(name), crates, "{name}");
        }
    }

    #[test]
    fn a_function_belongs_to_the_first_crate_of_the_order_that_it_mentions() {
        let cases = [
            ("<alloc::vec::Vec<mqtt::Message>>::push", "mqtt"),
            ("fiber::spawn::<mqtt::run::{closure#0}>", "mqtt"),
            ("corosensei::enter::<fiber::Body>", "fiber"),
            ("fiber::run::<size_plain::main_fiber>", "fiber"),
            ("size_plain::main", "size_plain"),
            ("<alloc::vec::Vec<mio::Token>>::push", "mio"),
            ("core::fmt::write", "core"),
            ("ring_core_0_17_14__x25519_sc_mask", "ring"),
            ("memcpy", "other"),
        ];
        for (name, wanted) in cases {
            assert_eq!(owner(name, &ORDER), wanted, "{name}");
        }
    }

    #[test]
    fn sizes_of_one_crate_are_summed_the_largest_first() {
        let function = |name: &str, size| (name.to_owned(), size);
        let anatomy = Anatomy {
            functions: vec![
                function("core::fmt::write", 5),
                function("mqtt::a", 3),
                function("<alloc::rc::Rc<mqtt::b>>::drop_slow", 4),
            ],
            ..Anatomy::default()
        };
        let wanted = [("mqtt".to_owned(), 7), ("core".to_owned(), 5)];
        assert_eq!(anatomy.by_crate(&ORDER), wanted);
        assert_eq!(anatomy.of("mqtt", &ORDER), 7);
        assert_eq!(anatomy.of("rustls", &ORDER), 0);
    }

    /// A test is built with its symbols.
    #[test]
    fn a_program_is_read() {
        let anatomy = Anatomy::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(anatomy.section(".text") > 0);
        assert!(anatomy.of("bench", &["bench"]) > 0);
        assert!(
            Anatomy::read(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("Cargo.toml")
                    .as_path()
            )
            .is_err()
        );
    }
}
