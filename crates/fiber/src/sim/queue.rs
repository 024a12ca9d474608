//! The run queue as the simulator uses it: taking a fiber out of the middle, and ending fibers
//! where they are.

use crate::core::{Core, NO_FIBER};
use crate::run_queue::RunQueue;
use crate::scheduler::{Fiber, Fibers, State};

impl RunQueue {
    /// How many there are, as far as `bound`.
    pub(crate) fn len_up_to(&self, fibers: &Fibers, bound: usize) -> usize {
        let mut len = 0;
        let mut at = self.head.get();
        while at != NO_FIBER && len < bound {
            len += 1;
            at = fibers[at].next_ready;
        }
        len
    }

    /// Takes one out of the middle.
    pub(crate) fn pop_nth<'a>(
        &self,
        fibers: &'a mut Fibers,
        nth: usize,
    ) -> Option<(u32, &'a mut Fiber)> {
        let mut before = NO_FIBER;
        let mut at = self.head.get();
        for _ in 0..nth {
            before = at;
            at = fibers.get(at)?.next_ready;
        }
        if before == NO_FIBER {
            return self.pop(fibers);
        }
        let next = fibers.get(at)?.next_ready;
        fibers[before].next_ready = next;
        if next == NO_FIBER {
            self.tail.set(before);
        }
        Some((at, &mut fibers[at]))
    }
}

impl Core {
    /// Takes the fiber that runs next.
    pub(crate) fn pick<'a>(&self, fibers: &'a mut Fibers) -> Option<(u32, &'a mut Fiber)> {
        match &self.sim {
            Some(sim) => sim.pick(self, &self.ready, fibers),
            None => self.ready.pop(fibers),
        }
    }

    /// Ends fibers where they are: they never run again, and nothing of them is dropped.
    pub(crate) fn abandon(&self, is_doomed: impl Fn(&Fiber) -> bool) {
        let mut fibers = self.fibers.borrow_mut();
        for _ in 0..self.ready.len_up_to(&fibers, usize::MAX) {
            let Some((index, _)) = self.ready.pop(&mut fibers) else {
                break;
            };
            if !is_doomed(&fibers[index]) {
                self.ready.push(&mut fibers, index);
            }
        }
        let mut ended = 0;
        for fiber in fibers.records.iter_mut() {
            if fiber.state != State::Free && is_doomed(fiber) {
                fiber.state = State::Free;
                // Its tokens are stale from here on, and its record is not used again.
                fiber.generation = fiber.generation.wrapping_add(1);
                ended += 1;
            }
        }
        fibers.live -= ended;
    }
}
