//! A deep call on a stack of its own, which does not wait; and what a deep call leaves behind.
//!
//! The fiber stays where it is and goes on there when the call returns. Nothing may wait meanwhile:
//! a stack that is lent for a call goes back when it ends, so as many are in use as calls are
//! nested, however many fibers there are.

use crate::core::{self, NO_FIBER};
use crate::coroutine;
use crate::error::SpawnError;
use crate::no_park::no_park;
use crate::stack::StackClass;

/// Runs `body` on another stack of at least `bytes` and returns what it returns.
///
/// For the rare deep call of a fiber whose stack is small: a parser that recurses, a library that
/// was written for the stack of a thread. The size is rounded up as that of
/// [`crate::FiberBuilder::stack_size`], and the stack is pooled with those of fibers.
///
/// Does not yield: `body` runs in a [`no_park`]. A panic of `body` goes on here.
///
/// # Errors
///
/// [`SpawnError`] outside a fiber, for more than [`crate::STACK_BYTES_MAX`], or without memory for
/// the stack. `body` was not run then.
///
/// # Examples
///
/// ```
/// fn depth(left: u32) -> u32 {
///     if left == 0 { 0 } else { depth(left - 1) + 1 }
/// }
/// # fiber::run(|| {
/// assert_eq!(fiber::on_big_stack(8 * 1024 * 1024, || depth(10_000)).unwrap(), 10_000);
/// # }).unwrap();
/// ```
#[track_caller]
pub fn on_big_stack<T>(bytes: usize, body: impl FnOnce() -> T) -> Result<T, SpawnError> {
    let core = core::current().ok_or(SpawnError::NoRuntime)?;
    if core.current.get() == NO_FIBER {
        return Err(SpawnError::NoRuntime);
    }
    let stack = core.stacks.take(StackClass::holding(bytes)?)?;
    Ok(no_park(|| coroutine::on_stack(stack, body)))
}

/// Gives back the memory that deep calls of this fiber left below on its stack, in whole pages.
///
/// A stack costs the pages that were touched. This is for a fiber that is about to wait for long, at a
/// depth that is far less than it once had: of many such fibers it may be half of the memory. Costs a
/// system call, and a page fault for each page that is touched again.
///
/// Does not yield. Outside a fiber it does nothing.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// fn depth(left: u32) -> u32 {
///     if left == 0 { 0 } else { depth(left - 1) + 1 }
/// }
/// assert_eq!(depth(1_000), 1_000);
/// fiber::trim_stack();
/// # }).unwrap();
/// ```
pub fn trim_stack() {
    coroutine::trim();
}
