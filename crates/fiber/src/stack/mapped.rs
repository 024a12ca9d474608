//! Stacks that are a mapping each: corosensei's `DefaultStack`, pooled.

use corosensei::stack::{DefaultStack, Stack, StackPointer};

use super::arena::HOT_BYTES_MAX;
use super::guard::Splits;
use crate::cell::RefCell;
use crate::error::SpawnError;
use crate::sys;

/// Finished stacks of one size that are kept for the next fiber, or as many as there is room for in
/// [`HOT_BYTES_MAX`].
const SPARE_STACKS_MAX: usize = 64;

/// Stacks of one size.
pub(super) struct Mapped {
    bytes: usize,
    guard_bytes: usize,
    spare_max: usize,
    splits: Splits,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The highest first: systems map from above, so a new one mostly comes last.
    in_use: Vec<DefaultStack>,
    spare: Vec<DefaultStack>,
}

impl State {
    /// Where the stack with this low end is, or belongs.
    fn find(&self, low: StackPointer) -> Result<usize, usize> {
        self.in_use
            .binary_search_by(|stack| low.cmp(&stack.limit()))
    }
}

impl Mapped {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            guard_bytes: sys::page_size(),
            spare_max: SPARE_STACKS_MAX.min(HOT_BYTES_MAX / bytes),
            splits: Splits::default(),
            state: RefCell::default(),
        }
    }

    /// Sizes of the guard and of a stack with it.
    pub(super) fn layout(&self) -> (usize, usize) {
        (self.guard_bytes, self.bytes + self.guard_bytes)
    }

    /// Takes a stack and tells its two ends, the low one first. The flag says whether it is new.
    pub(super) fn take(&self) -> Result<(StackPointer, StackPointer, bool), SpawnError> {
        let mut state = self.state.borrow_mut();
        let spare = state.spare.pop();
        let fresh = spare.is_none();
        let stack = match spare {
            Some(stack) => stack,
            None => {
                self.splits.add()?;
                DefaultStack::new(self.bytes).map_err(|error| {
                    self.splits.remove();
                    SpawnError::Stack(error)
                })?
            }
        };
        let (low, high) = (stack.limit(), stack.base());
        let at = state.find(low).unwrap_or_else(|at| at);
        state.in_use.insert(at, stack);
        Ok((low, high, fresh))
    }

    /// Takes back the stack whose low end that is.
    pub(super) fn give_back(&self, low: StackPointer) {
        let mut state = self.state.borrow_mut();
        let at = state.find(low).expect("a stack is given back once");
        let stack = state.in_use.remove(at);
        if state.spare.len() < self.spare_max {
            state.spare.push(stack);
        } else {
            drop(stack);
            self.splits.remove();
        }
    }
}
