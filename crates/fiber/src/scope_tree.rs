//! The tree of scopes: which are over, why, and which fibers are to be told.
//!
//! The root belongs to the runtime; a fiber has a scope of its own below it as soon as it needs one;
//! each `timeout`, `deadline`, `cancellable` and `scope` adds one below. Once a scope is over (its deadline passed, or it was
//! cancelled) so is all below it: every wait there fails until the scope is left. The scope that
//! is over first keeps its cause; only it turns the cause into its own result. A `shield` is the
//! exception: it and what is below it is over by its own deadline alone.

use std::mem;

use crate::core::Core;
use crate::error::Stopped;
use crate::park::WaitReason;
use crate::scheduler::{Fibers, State, Wake};
use crate::table::Table;
use crate::timer::{Target, TimerKey};
use crate::world::clock::Instant;

const NONE: u32 = u32::MAX;

/// Waits of one fiber that may fail in a row, until it leaves the scope that is over, before
/// each further one costs a pause.
const FAILURES_FREE_MAX: u8 = 64;
/// That pause.
const FAILURE_PAUSE_NANOS: u64 = 1_000_000;
/// Scopes that there is room for from the beginning.
const NODES_AT_FIRST: usize = 16;

/// Names one scope. Stale once the scope was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeRef {
    pub(crate) index: u32,
    generation: u32,
}

impl ScopeRef {
    /// The runtime's own scope, which is made first and never removed.
    pub(crate) const ROOT: Self = Self {
        index: 0,
        generation: 0,
    };
}

/// Why a scope is over, and which scope said so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(crate) cause: Stopped,
    origin: ScopeRef,
}

struct Node {
    generation: u32,
    parent: u32,
    first_child: u32,
    previous: u32,
    next: u32,
    /// First of the fibers whose innermost scope this is.
    first_fiber: u32,
    over: Option<Over>,
    /// Whether a wait failed by this scope.
    observed: bool,
    /// Whether the end of an outer scope stops here; if so with the failed waits of its fiber
    /// before, which count on after it.
    shield: Option<u8>,
    deadline: Option<u64>,
    timer: Option<TimerKey>,
}

/// All scopes of one runtime.
pub(crate) struct Scopes {
    nodes: Table<Node>,
    free: u32,
    /// Scopes that have a deadline.
    with_deadline: u32,
}

impl Scopes {
    /// The tree with its root, index 0.
    pub(crate) fn new() -> Self {
        let mut scopes = Self {
            nodes: Table::with_capacity(NODES_AT_FIRST),
            free: NONE,
            with_deadline: 0,
        };
        scopes.add(NONE);
        scopes
    }

    /// Adds a scope below `parent`; it is over if the parent is.
    pub(crate) fn add(&mut self, parent: u32) -> ScopeRef {
        let (over, next) = match self.nodes.get(parent) {
            Some(parent) => (parent.over, parent.first_child),
            None => (None, NONE),
        };
        let index = match self.free {
            NONE => self.nodes.push(Node::new()),
            index => {
                self.free = self.nodes[index].next;
                index
            }
        };
        let generation = self.nodes[index].generation;
        self.nodes[index] = Node {
            generation,
            parent,
            next,
            over,
            ..Node::new()
        };
        if next != NONE {
            self.nodes[next].previous = index;
        }
        if parent != NONE {
            self.nodes[parent].first_child = index;
        }
        ScopeRef { index, generation }
    }

    /// Removes a scope that has neither children nor fibers left. Returns its timer.
    pub(crate) fn remove(&mut self, scope: ScopeRef) -> Option<TimerKey> {
        let node = &mut self.nodes[scope.index];
        debug_assert!(
            node.first_child == NONE && node.first_fiber == NONE,
            "an empty scope"
        );
        node.generation = node.generation.wrapping_add(1);
        let timer = node.timer.take();
        self.with_deadline -= u32::from(node.deadline.take().is_some());
        let (parent, previous, next) = (node.parent, node.previous, node.next);
        node.next = self.free;
        self.free = scope.index;
        match previous {
            NONE => self.nodes[parent].first_child = next,
            previous => self.nodes[previous].next = next,
        }
        if next != NONE {
            self.nodes[next].previous = previous;
        }
        timer
    }

    /// Makes `scope` the innermost scope of a fiber that has none.
    pub(crate) fn enter(&mut self, fibers: &mut Fibers, fiber: u32, scope: u32) {
        let first = mem::replace(&mut self.nodes[scope].first_fiber, fiber);
        if first != NONE {
            fibers[first].scope_previous = fiber;
        }
        let over = self.nodes[scope].over;
        let record = &mut fibers[fiber];
        record.scope = scope;
        record.scope_previous = NONE;
        record.scope_next = first;
        record.stopped = over.is_some();
    }

    /// Adds a scope below the fiber's innermost and makes it that.
    #[inline]
    fn push(&mut self, fibers: &mut Fibers, fiber: u32) -> ScopeRef {
        let scope = self.add(fibers[fiber].scope);
        self.leave(fibers, fiber);
        self.enter(fibers, fiber, scope.index);
        scope
    }

    /// Gives a fiber that is right below the root a scope of its own there.
    fn add_own(&mut self, fibers: &mut Fibers, fiber: u32) -> ScopeRef {
        fibers[fiber].has_scope = true;
        self.push(fibers, fiber)
    }

    /// The scope right below the root over `scope`, or `scope` itself.
    fn outermost(&self, scope: u32) -> ScopeRef {
        let mut index = scope;
        while self.nodes[index].parent != ScopeRef::ROOT.index {
            index = self.nodes[index].parent;
        }
        ScopeRef {
            index,
            generation: self.nodes[index].generation,
        }
    }

    /// Why a scope that is over is.
    fn over(&self, scope: u32) -> Over {
        self.nodes[scope]
            .over
            .expect("a fiber is stopped by a scope that is over")
    }

    /// Takes a fiber out of its innermost scope.
    pub(crate) fn leave(&mut self, fibers: &mut Fibers, fiber: u32) {
        let record = &fibers[fiber];
        let (scope, previous, next) = (record.scope, record.scope_previous, record.scope_next);
        match previous {
            NONE => self.nodes[scope].first_fiber = next,
            previous => fibers[previous].scope_next = next,
        }
        if next != NONE {
            fibers[next].scope_previous = previous;
        }
    }

    /// Whether any scope has a deadline.
    #[inline]
    pub(crate) const fn have_deadlines(&self) -> bool {
        self.with_deadline > 0
    }

    /// The nearest deadline over `scope`, up to the first shield.
    pub(crate) fn nearest_deadline(&self, mut scope: u32) -> Option<u64> {
        let mut nearest: Option<u64> = None;
        while let Some(node) = self.nodes.get(scope) {
            nearest = match (nearest, node.deadline) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            scope = match node.shield {
                Some(_) => NONE,
                None => node.parent,
            };
        }
        nearest
    }

    fn get(&self, scope: ScopeRef) -> Option<&Node> {
        self.nodes
            .get(scope.index)
            .filter(|node| node.generation == scope.generation)
    }

    /// Whether the scope was not left yet.
    pub(crate) fn is_entered(&self, scope: ScopeRef) -> bool {
        self.get(scope).is_some()
    }

    /// Whether the scope is over.
    pub(crate) fn is_over(&self, scope: ScopeRef) -> bool {
        self.get(scope).is_some_and(|node| node.over.is_some())
    }

    /// The next node of the tree below `top` after `at`, in pre-order; `skip` leaves out what
    /// is below `at`.
    fn following(&self, top: u32, at: u32, skip: bool) -> u32 {
        if !skip && self.nodes[at].first_child != NONE {
            return self.nodes[at].first_child;
        }
        let mut at = at;
        while at != top {
            let node = &self.nodes[at];
            if node.next != NONE {
                return node.next;
            }
            at = node.parent;
        }
        NONE
    }
}

impl Node {
    fn new() -> Self {
        Self {
            generation: 0,
            parent: NONE,
            first_child: NONE,
            previous: NONE,
            next: NONE,
            first_fiber: NONE,
            over: None,
            observed: false,
            shield: None,
            deadline: None,
            timer: None,
        }
    }
}

impl Core {
    /// Ends a scope and all below it but for shields, waking what is parked there: of the fibers of
    /// one scope those that entered it last first. Nothing when it is over.
    pub(crate) fn expire(&self, scope: ScopeRef, cause: Stopped) {
        let mut scopes = self.scopes.borrow_mut();
        if scopes.get(scope).is_none_or(|node| node.over.is_some()) {
            return;
        }
        let over = Over {
            cause,
            origin: scope,
        };
        let mut fibers = self.fibers.borrow_mut();
        let mut at = scope.index;
        while at != NONE {
            let node = &mut scopes.nodes[at];
            let spared = node.over.is_some() || (node.shield.is_some() && at != scope.index);
            if !spared {
                node.over = Some(over);
                let mut index = node.first_fiber;
                while index != NONE {
                    let fiber = &mut fibers[index];
                    let next = fiber.scope_next;
                    fiber.stopped = true;
                    if fiber.state == State::Parked && !fiber.is_shielded() {
                        fiber.state = State::Ready;
                        self.counters.wakes.add(1);
                        fiber.wake = Wake::Stopped;
                        self.ready.push(&mut fibers, index);
                    }
                    index = next;
                }
            }
            at = scopes.following(scope.index, at, spared);
        }
    }

    /// Records that a wait of the running fiber failed; returns why.
    #[cold]
    pub(crate) fn note_failure(&self) -> Stopped {
        let fiber = &mut self.fibers.borrow_mut()[self.current.get()];
        fiber.failures = fiber.failures.saturating_add(1);
        let mut scopes = self.scopes.borrow_mut();
        let over = scopes.over(fiber.scope);
        if scopes.get(over.origin).is_some() {
            scopes.nodes[over.origin.index].observed = true;
        }
        over.cause
    }

    /// Fails a wait whose scope is over already. It still gives up the turn, so that a loop that
    /// swallows the error starves nobody; after 64 in a row it also costs a millisecond. Scopes
    /// that the loop opens and leaves on the way do not hide it.
    #[cold]
    pub(crate) fn fail(&self) -> Stopped {
        let index = self.current.get();
        let failures = self.fibers.borrow()[index].failures;
        // The wait is over before the turn is given up: a wake must go to one who can use it.
        let _ = self.prepare();
        if failures < FAILURES_FREE_MAX {
            self.give_up_turn();
        } else {
            if failures == FAILURES_FREE_MAX {
                let fiber = self.fiber_info(index);
                let scope = self.fibers.borrow()[index].scope;
                let cause = self.scopes.borrow().over(scope).cause;
                log::warn!("{fiber} goes on waiting although its scope is over ({cause})");
            }
            // Not the token above: a logger may have waited.
            if let Ok(token) = self.prepare() {
                let until = self.clock.read().saturating_add(FAILURE_PAUSE_NANOS);
                self.add_timer(until, Target::Fiber(token));
                // A shielded wait on a live timer: it ends by that timer alone.
                let _ = self.park_apart(WaitReason::Penalty);
            }
        }
        self.note_failure()
    }

    /// Adds a scope below the running fiber's and enters it.
    pub(crate) fn push_scope(&self) -> Result<ScopeRef, Stopped> {
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let fiber = fibers.get(index).ok_or(Stopped::NoRuntime)?;
        let mut scopes = self.scopes.borrow_mut();
        if fiber.scope == ScopeRef::ROOT.index {
            scopes.add_own(&mut fibers, index);
        }
        Ok(scopes.push(&mut fibers, index))
    }

    /// Cancels a fiber that has not ended and runs right below the root or in a scope of its own
    /// there.
    pub(crate) fn cancel_fiber(&self, index: u32) {
        let own = {
            let mut fibers = self.fibers.borrow_mut();
            let mut scopes = self.scopes.borrow_mut();
            if fibers[index].has_scope {
                scopes.outermost(fibers[index].scope)
            } else {
                scopes.add_own(&mut fibers, index)
            }
        };
        self.expire(own, Stopped::Cancelled);
    }

    /// Takes a fiber that has ended out of its scope, and removes the one that is its own.
    pub(crate) fn leave_scopes(&self, fibers: &mut Fibers, index: u32) {
        let mut scopes = self.scopes.borrow_mut();
        scopes.leave(fibers, index);
        if fibers[index].has_scope {
            let own = scopes.outermost(fibers[index].scope);
            // It has no deadline.
            let _ = scopes.remove(own);
        }
    }

    /// As [`Core::push_scope`], for a scope that is over by its own deadline alone.
    pub(crate) fn push_shield(&self) -> Result<ScopeRef, Stopped> {
        let scope = self.push_scope()?;
        let mut fibers = self.fibers.borrow_mut();
        let fiber = &mut fibers[self.current.get()];
        fiber.stopped = false;
        let node = &mut self.scopes.borrow_mut().nodes[scope.index];
        node.over = None;
        node.shield = Some(mem::take(&mut fiber.failures));
        Ok(scope)
    }

    /// Leaves and removes the running fiber's innermost scope.
    ///
    /// Returns why it is over, if a wait failed by it.
    pub(crate) fn pop_scope(&self, scope: ScopeRef) -> Option<Stopped> {
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let mut scopes = self.scopes.borrow_mut();
        let node = &scopes.nodes[scope.index];
        let own = node.over.filter(|over| over.origin == scope);
        let (observed, parent) = (node.observed, node.parent);
        match node.shield {
            Some(failures) => fibers[index].failures = failures,
            None if own.is_some() => fibers[index].failures = 0,
            None => {}
        }
        scopes.leave(&mut fibers, index);
        scopes.enter(&mut fibers, index, parent);
        if let Some(timer) = scopes.remove(scope) {
            self.cancel_timer(timer);
        }
        own.filter(|_| observed).map(|over| over.cause)
    }

    pub(crate) fn set_deadline(&self, scope: ScopeRef, at: Instant) {
        let timer = self.add_timer(at.as_nanos(), Target::Scope(scope));
        let mut scopes = self.scopes.borrow_mut();
        let node = &mut scopes.nodes[scope.index];
        node.timer = Some(timer);
        node.deadline = Some(at.as_nanos());
        scopes.with_deadline += 1;
    }
}
