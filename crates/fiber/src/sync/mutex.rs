//! A value that one fiber at a time may use across its waits.

use std::cell::{Cell, RefCell, RefMut};
use std::error::Error;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

use crate::core::{self, NO_FIBER};
use crate::error::Stopped;
use crate::park::WaitReason;
use crate::sync::permits::{AcquireError, Permits};

/// Why a mutex was not locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError {
    /// The calling fiber has locked it already; the wait would never end.
    Held,
    /// The wait ended early.
    Stopped(Stopped),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("the calling fiber has locked the mutex already"),
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Held => None,
            Self::Stopped(stopped) => Some(stopped),
        }
    }
}

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Stopped(stopped) => stopped.into(),
            LockError::Held => Self::other(error),
        }
    }
}

/// Which fiber: of which runtime, in which slot, of which generation.
type Holder = (u32, u32, u32);

/// A value that one fiber at a time may use, across waits too. What is not used across a wait needs
/// no mutex: a [`RefCell`] does, because no other fiber runs meanwhile.
///
/// Fair: it is handed over in order of arrival, and nobody who comes later passes by. A wait that
/// ends early gives up its place, and what was handed to it goes to the next.
///
/// There is no poisoning. A panic ends the fiber, its guard unlocks, and the next one finds what the
/// value was left as: the panic is told where the fiber is joined, and a flag that every caller
/// unwraps would only spread it to fibers that can go on. Who leaves a value half changed across a
/// wait sees to it that a panic does not show.
///
/// A fiber that locks twice is told so instead of waiting for itself; the fiber that locked counts
/// as the holder, wherever its guard is. Two fibers that each wait for what the other holds wait
/// until their scopes end.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// let line = fiber::Mutex::new(String::new());
/// fiber::scope(|s| {
///     for word in ["one ", "two "] {
///         let line = &line;
///         s.spawn(move || {
///             let mut line = line.lock()?;
///             line.push_str(word);
///             fiber::yield_now().map_err(fiber::LockError::Stopped)?;
///             line.push_str(word);
///             Ok::<_, fiber::LockError>(())
///         })
///         .unwrap();
///     }
///     Ok(())
/// })
/// .unwrap();
/// assert_eq!(line.into_inner(), "one one two two ");
/// # }).unwrap();
/// ```
pub struct Mutex<T: ?Sized> {
    permits: Permits,
    holder: Cell<Option<Holder>>,
    /// Borrowed by whoever has the permit.
    value: RefCell<T>,
}

/// The value of a locked [`Mutex`]; unlocks it when dropped.
#[must_use = "the mutex is unlocked when this is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    /// Ends before the mutex is unlocked: fields are dropped in order.
    value: RefMut<'a, T>,
    _unlock: Unlock<'a>,
}

struct Unlock<'a> {
    permits: &'a Permits,
    holder: &'a Cell<Option<Holder>>,
}

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.holder.set(None);
        self.permits.give_back(1);
    }
}

impl<T> Mutex<T> {
    /// A mutex that nobody has locked.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self {
            permits: Permits::new(1),
            holder: Cell::new(None),
            value: RefCell::new(value),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, waiting for whoever holds it. Does not yield when it is free.
    ///
    /// # Errors
    ///
    /// [`LockError`].
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        if self.permits.try_take(1).is_err() {
            let caller = caller();
            if caller.is_some() && caller == self.holder.get() {
                return Err(LockError::Held);
            }
            match self.permits.take(1, WaitReason::Lock) {
                Ok(()) => {}
                Err(AcquireError::Stopped(stopped)) => return Err(LockError::Stopped(stopped)),
                Err(AcquireError::Closed | AcquireError::TooMany { .. }) => {
                    unreachable!("it has its one permit and is never closed")
                }
            }
        }
        Ok(self.guard())
    }

    /// Locks if it is free and nobody waits for it. Neither waits nor yields.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.permits.try_take(1).ok().map(|()| self.guard())
    }

    /// The value, which nobody else can use now.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn guard(&self) -> MutexGuard<'_, T> {
        self.holder.set(caller());
        MutexGuard {
            value: self.value.borrow_mut(),
            _unlock: Unlock {
                permits: &self.permits,
                holder: &self.holder,
            },
        }
    }
}

/// The running fiber, if one runs.
fn caller() -> Option<Holder> {
    let core = core::current()?;
    let index = core.current.get();
    if index == NO_FIBER {
        return None;
    }
    let generation = core.fibers.borrow()[index].generation;
    Some((core.id, index, generation))
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Mutex");
        // Locked, for whoever is written to may wait.
        match self.try_lock() {
            Some(guard) => text.field("value", &&*guard),
            None => text.field("value", &format_args!("<locked>")),
        };
        text.finish_non_exhaustive()
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
