//! The queue of the fibers that can run: first in, first out, linked through their records.

use std::cell::Cell;

use crate::core::NO_FIBER;
use crate::scheduler::{Fiber, Fibers};

const NONE: u32 = NO_FIBER;

/// The fibers that can run, in order.
pub(crate) struct RunQueue {
    pub(crate) head: Cell<u32>,
    pub(crate) tail: Cell<u32>,
}

impl RunQueue {
    pub(crate) fn new() -> Self {
        Self {
            head: Cell::new(NONE),
            tail: Cell::new(NONE),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == NONE
    }

    /// The fiber that runs next.
    pub(crate) fn first(&self) -> Option<u32> {
        Some(self.head.get()).filter(|&head| head != NONE)
    }

    #[inline(always)]
    pub(crate) fn push(&self, fibers: &mut Fibers, index: u32) {
        fibers[index].next_ready = NONE;
        match self.tail.replace(index) {
            NONE => self.head.set(index),
            tail => fibers[tail].next_ready = index,
        }
    }

    #[inline(always)]
    pub(crate) fn pop<'a>(&self, fibers: &'a mut Fibers) -> Option<(u32, &'a mut Fiber)> {
        let head = self.head.get();
        if head == NONE {
            return None;
        }
        let fiber = &mut fibers[head];
        self.head.set(fiber.next_ready);
        if fiber.next_ready == NONE {
            self.tail.set(NONE);
        }
        Some((head, fiber))
    }
}
