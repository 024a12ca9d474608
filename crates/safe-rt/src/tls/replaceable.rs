//! A configuration that is replaced while connections run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::evidence::Own;

/// Options, and what was built of them: replaced together or not at all.
///
/// Shared by every clone of a configuration, on whatever thread. The lock is held while a pointer
/// is copied or new options are built, and never across a wait.
pub(super) struct Replaceable<O, C>(Mutex<Current<O, C>>);

/// What connections are made with, and what the texts of their errors say of this side.
pub(super) struct Built<C> {
    pub(super) config: Arc<C>,
    pub(super) own: Arc<Own>,
}

struct Current<O, C> {
    options: O,
    config: Arc<C>,
}

impl<O: Clone, C> Replaceable<O, C> {
    pub(super) fn new<E>(
        options: O,
        build: impl FnOnce(&O) -> Result<Arc<C>, E>,
    ) -> Result<Self, E> {
        let config = build(&options)?;
        Ok(Self(Mutex::new(Current { options, config })))
    }

    /// Returns what new connections are made with.
    pub(super) fn config(&self) -> Arc<C> {
        Arc::clone(&self.lock().config)
    }

    /// Changes the options and builds anew; if that fails, everything stays as it is.
    pub(super) fn replace<E>(
        &self,
        change: impl FnOnce(O) -> O,
        build: impl FnOnce(&O) -> Result<Arc<C>, E>,
    ) -> Result<(), E> {
        let mut current = self.lock();
        let options = change(current.options.clone());
        let config = build(&options)?;
        *current = Current { options, config };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Current<O, C>> {
        // Both halves are assigned at once, so a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
