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

/// Lists that stacks in use are divided in: systems put mappings side by side, so that each has its share.
const LISTS: usize = 1_024;

#[derive(Default)]
struct State {
    /// By address; none before the first stack.
    in_use: Vec<Vec<DefaultStack>>,
    spare: Vec<DefaultStack>,
}

impl State {
    /// The list of the stack with this low end, of those that lie so many bytes apart.
    fn list(&mut self, low: StackPointer, apart: usize) -> &mut Vec<DefaultStack> {
        self.in_use.resize_with(LISTS, Vec::new);
        &mut self.in_use[low.get() / apart % LISTS]
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
        state.list(low, self.layout().1).push(stack);
        Ok((low, high, fresh))
    }

    /// Takes back the stack whose low end that is.
    pub(super) fn give_back(&self, low: StackPointer) {
        let mut state = self.state.borrow_mut();
        let list = state.list(low, self.layout().1);
        let at = list.iter().position(|stack| stack.limit() == low);
        let stack = list.swap_remove(at.expect("a stack is given back once"));
        if state.spare.len() < self.spare_max {
            state.spare.push(stack);
        } else {
            drop(stack);
            self.splits.remove();
        }
    }
}
