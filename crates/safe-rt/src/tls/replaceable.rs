//! A configuration that is replaced while connections run.

use core::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::evidence::Own;

/// Options, and what was built of them: replaced together or not at all.
///
/// Shared by every clone of a configuration, on whatever thread. The lock is held while a pointer
/// is copied or new options are built, and never across a wait; nor is anything dropped meanwhile
/// that came from outside, because a signer may wait in its drop, or come back to this configuration.
pub(super) struct Replaceable<O, C>(Mutex<Current<O, C>>);

/// What connections are made with, what they can resume, and what the texts of their errors say of
/// this side.
pub(super) struct Built<C, S> {
    pub(super) config: Arc<C>,
    pub(super) sessions: Arc<S>,
    pub(super) own: Arc<Own>,
}

struct Current<O, C> {
    options: O,
    config: Arc<C>,
}

/// What is not needed any more once something was replaced, or was not.
enum Gone<O, C> {
    Old(Current<O, C>),
    New(O),
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
        let (outcome, gone) = match build(&options) {
            Ok(config) => {
                let new = Current { options, config };
                (Ok(()), Gone::Old(mem::replace(&mut *current, new)))
            }
            Err(error) => (Err(error), Gone::New(options)),
        };
        drop(current);
        drop(gone);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Current<O, C>> {
        // Both halves are assigned at once, so a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    type Configuration = Replaceable<Option<Arc<Signer>>, ()>;

    /// What a program gave: it comes back to the configuration when it is dropped.
    struct Signer {
        within: Weak<Configuration>,
        dropped: Arc<AtomicU32>,
    }

    impl Drop for Signer {
        fn drop(&mut self) {
            if let Some(within) = self.within.upgrade() {
                assert!(within.0.try_lock().is_ok(), "the lock is held");
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn what_goes_is_dropped_when_the_lock_is_free() {
        let configuration: Configuration =
            Replaceable::new(None, |_| Ok::<_, ()>(Arc::new(()))).expect("it builds");
        let configuration = Arc::new(configuration);
        let dropped = Arc::new(AtomicU32::new(0));
        let signer = || {
            let (within, dropped) = (Arc::downgrade(&configuration), Arc::clone(&dropped));
            Some(Arc::new(Signer { within, dropped }))
        };
        let works = |_: &_| Ok::<_, ()>(Arc::new(()));
        configuration
            .replace(|_| signer(), works)
            .expect("it builds");
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        // The former one goes.
        configuration
            .replace(|_| signer(), works)
            .expect("it builds");
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        // The new one goes.
        configuration
            .replace(|_| signer(), |_| Err(()))
            .expect_err("it does not build");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    }
}
