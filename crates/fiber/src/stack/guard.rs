//! How stacks are guarded, and how many guards the process may have.
//!
//! ```text
//!  setting of the builder ─► else FIBER_GUARDS ─► else the first that works:
//!     Regions   MADV_GUARD_INSTALL, Linux 6.13     a mark in the page table, no mapping
//!     Pages     mprotect                           splits a mapping in two, so it is bounded
//!     Mapped    a mapping per stack, mprotected    likewise
//! ```

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::SpawnError;
use crate::sys::{self, Guard};

/// Names the environment variable that chooses the guards where the builder does not.
const VARIABLE: &str = "FIBER_GUARDS";

/// Mappings of a process where the system does not tell: what Linux has unless set otherwise.
const MAPPINGS_DEFAULT: usize = 65_530;

/// How the low ends of a runtime's stacks are guarded against overflow.
///
/// A runtime tries them in this order and takes the first that works; see
/// [`crate::RuntimeBuilder::stack_guards`] for choosing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StackGuards {
    /// Guard regions of the kernel (Linux 6.13). They need no mapping of their own: as many stacks
    /// as there is memory for.
    Regions,
    /// Pages without access. Each stack costs two of the mappings that a process may have, so all
    /// stacks of the process together may use 80 % of them; one more is
    /// [`SpawnError::StackLimit`].
    Pages,
    /// Each stack is a mapping of its own with such a page, for systems where stacks cannot be
    /// carved from a larger one. Bounded like `Pages`.
    Mapped,
}

impl StackGuards {
    /// Chooses once for a runtime.
    ///
    /// # Errors
    ///
    /// What was asked for does not work here, or its name in the environment is none.
    pub(super) fn choose(setting: Option<Self>) -> io::Result<Self> {
        let asked = match setting {
            Some(asked) => Some(asked),
            None => std::env::var_os(VARIABLE)
                .map(|name| Self::named(&name))
                .transpose()?,
        };
        match asked {
            Some(asked) if asked.works() => Ok(asked),
            Some(asked) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("stack guards of the kind {asked:?} do not work on this system"),
            )),
            None => Ok([Self::Regions, Self::Pages]
                .into_iter()
                .find(|guards| guards.works())
                .unwrap_or(Self::Mapped)),
        }
    }

    fn named(name: &OsStr) -> io::Result<Self> {
        match name.to_str() {
            Some("regions") => Ok(Self::Regions),
            Some("pages") => Ok(Self::Pages),
            Some("mapped") => Ok(Self::Mapped),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("expected regions, pages or mapped in {VARIABLE}, found {name:?}"),
            )),
        }
    }

    /// Tries it out. Not remembered: memory that is locked meanwhile takes no guard regions.
    fn works(self) -> bool {
        match self {
            Self::Regions => sys::guard_is_real(Guard::Region),
            Self::Pages => sys::guard_is_real(Guard::Page),
            Self::Mapped => true,
        }
    }
}

/// Stacks of the process whose guards split a mapping, of all its runtimes.
static SPLITTING_STACKS: AtomicUsize = AtomicUsize::new(0);

/// Mappings that this process may have.
fn mappings_max() -> usize {
    static MAPPINGS: OnceLock<usize> = OnceLock::new();
    *MAPPINGS.get_or_init(|| sys::mappings_max().unwrap_or(MAPPINGS_DEFAULT))
}

/// Stacks that may be guarded by splitting mappings: 40 % of the mappings, two for each. The last
/// fifth is left to the rest of the program.
fn splitting_stacks_max() -> usize {
    mappings_max() / 5 * 2
}

/// The stacks of one pool that split mappings, counted among those of the process.
#[derive(Debug, Default)]
pub(super) struct Splits(Cell<usize>);

impl Splits {
    /// Counts one more.
    ///
    /// # Errors
    ///
    /// [`SpawnError::StackLimit`] when the process has as many as it may have.
    pub(super) fn add(&self) -> Result<(), SpawnError> {
        let stacks_max = splitting_stacks_max();
        if SPLITTING_STACKS.fetch_add(1, Ordering::Relaxed) >= stacks_max {
            SPLITTING_STACKS.fetch_sub(1, Ordering::Relaxed);
            return Err(SpawnError::StackLimit {
                stacks_max,
                mappings_max: mappings_max(),
            });
        }
        self.0.set(self.0.get() + 1);
        Ok(())
    }

    /// One of them is no more.
    pub(super) fn remove(&self) {
        self.0.set(self.0.get() - 1);
        SPLITTING_STACKS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Splits {
    fn drop(&mut self) {
        SPLITTING_STACKS.fetch_sub(self.0.get(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_an_error_that_says_so() {
        assert_eq!(
            StackGuards::named(OsStr::new("pages")).unwrap(),
            StackGuards::Pages
        );
        let error = StackGuards::named(OsStr::new("page")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("\"page\""));
    }

    #[test]
    fn protected_pages_are_found_to_work_and_a_setting_goes_before_the_environment() {
        assert!(StackGuards::Pages.works());
        for guards in [StackGuards::Pages, StackGuards::Mapped] {
            assert_eq!(StackGuards::choose(Some(guards)).unwrap(), guards);
        }
    }

    #[test]
    fn a_pool_gives_back_what_it_counted() {
        let splits = Splits::default();
        splits.add().unwrap();
        splits.add().unwrap();
        splits.remove();
        assert_eq!(splits.0.get(), 1);
        assert!(SPLITTING_STACKS.load(Ordering::Relaxed) >= 1);
        assert!(splitting_stacks_max() * 2 <= mappings_max());
    }
}
