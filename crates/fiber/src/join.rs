//! Waiting for a fiber's end.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::core::{self, Core};
use crate::coroutine::PanicPayload;
use crate::error::JoinError;
use crate::local;
use crate::park::{Line as _, Link, Unparker, WaitList, WaitReason, wait_apart};
use crate::sync::Source;

/// Where a fiber leaves its value.
pub(crate) struct JoinCell<T> {
    result: Cell<Option<Result<T, PanicPayload>>>,
    finished: Cell<bool>,
    waiters: WaitList,
}

impl<T> JoinCell<T> {
    pub(crate) fn new() -> Self {
        Self {
            result: Cell::new(None),
            finished: Cell::new(false),
            waiters: WaitList::new(),
        }
    }

    pub(crate) fn complete(&self, result: Result<T, PanicPayload>) {
        let core = note_end(result.is_err());
        self.result.set(Some(result));
        self.finished.set(true);
        if let Some(core) = &core {
            self.waiters.wake_all_apart(core);
        }
    }

    pub(crate) fn take(&self) -> Option<Result<T, PanicPayload>> {
        self.result.take()
    }
}

/// Does what is due at the end of a fiber, whatever its value; returns its runtime.
#[inline]
fn note_end(panicked: bool) -> Option<Rc<Core>> {
    let core = core::current();
    local::end();
    if let Some(core) = &core {
        core.counters.panics.add(u64::from(panicked));
    }
    core
}

/// A fiber that was spawned. Dropping the handle lets the fiber run on by itself.
///
/// It belongs to its thread, like all of this crate:
///
/// ```compile_fail,E0277
/// fn sent_elsewhere<T: Send>(_: T) {}
/// sent_elsewhere(fiber::spawn(|| 1).unwrap());
/// ```
///
/// and a fiber of its own may not borrow:
///
/// ```compile_fail,E0373
/// let local = 1;
/// let handle = fiber::spawn(|| local + 1);
/// ```
pub struct JoinHandle<T> {
    cell: Rc<JoinCell<T>>,
    /// The fiber's runtime, and its record there for as long as it has not finished.
    runtime: u32,
    index: u32,
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(cell: Rc<JoinCell<T>>, core: &Core, index: u32) -> Self {
        Self {
            cell,
            runtime: core.id,
            index,
        }
    }

    /// Waits for the fiber's end and takes its value. Yields until then.
    ///
    /// # Errors
    ///
    /// [`JoinError::Panicked`] with what it panicked with; [`JoinError::Stopped`] when this wait
    /// ended early, in which case the handle can be joined again; [`JoinError::Taken`] after a
    /// join that gave the value.
    #[inline(always)]
    pub fn join(&mut self) -> Result<T, JoinError> {
        while !self.cell.finished.get() {
            let core = core::required().map_err(JoinError::Stopped)?;
            wait_apart(&core, &self.cell.waiters, WaitReason::Join).map_err(JoinError::Stopped)?;
        }
        match self.cell.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(payload)) => Err(JoinError::Panicked(payload)),
            None => Err(JoinError::Taken),
        }
    }

    /// What the fiber left, if it ended and nobody took it yet.
    pub(crate) fn take(&self) -> Option<Result<T, PanicPayload>> {
        self.cell.take()
    }

    /// Whether the fiber has ended. Does not yield.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.cell.finished.get()
    }

    /// Cancels the fiber: every wait in it fails with [`crate::Stopped::Cancelled`] from now on.
    /// Does not yield and does not wait for its end.
    pub fn cancel(&self) {
        if !self.is_finished()
            && let Some(core) = core::current()
            && core.id == self.runtime
        {
            core.cancel_fiber(self.index);
        }
    }
}

impl<T> Source for JoinHandle<T> {
    /// Whether a join would not wait: the fiber has ended.
    fn is_ready(&self) -> bool {
        self.is_finished()
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        let core = core::required()?;
        Ok(self.cell.waiters.link(&core, waiter))
    }

    fn unlink(&self, link: Link) {
        if let Some(core) = core::current() {
            self.cell.waiters.unlink(&core, link);
        }
    }
}
