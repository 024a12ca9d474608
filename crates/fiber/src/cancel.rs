//! Scopes of time and cancellation: `timeout`, `deadline`, `cancellable`.
//!
//! Scopes form a tree. The root belongs to the runtime, each fiber has one, each `timeout`,
//! `deadline`, `cancellable` and `scope` adds one below. Once a scope is over (its deadline
//! passed, or it was cancelled) so is all below it: every wait there fails until the scope is
//! left. The scope that is over first keeps its cause; only it turns the cause into its own
//! result.

use std::error::Error;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::core::{self, Core};
use crate::error::Stopped;
use crate::park::WaitReason;
use crate::scheduler::{Fibers, State, Wake};
use crate::timer::{Target, TimerKey};
use crate::world::clock::Instant;

const NONE: u32 = u32::MAX;

/// Waits that may fail in one scope before each further one costs a pause.
const FAILURES_FREE_MAX: u32 = 64;
/// That pause.
const FAILURE_PAUSE: Duration = Duration::from_millis(1);

/// Names one scope. Stale once the scope was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScopeRef {
    pub(crate) index: u32,
    generation: u32,
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
    failures: u32,
    deadline: Option<u64>,
    timer: Option<TimerKey>,
}

/// All scopes of one runtime.
pub(crate) struct Scopes {
    nodes: Vec<Node>,
    free: u32,
}

impl Scopes {
    /// The tree with its root, index 0.
    pub(crate) fn new() -> Self {
        let mut scopes = Self {
            nodes: Vec::new(),
            free: NONE,
        };
        scopes.add(NONE);
        scopes
    }

    pub(crate) fn root(&self) -> ScopeRef {
        ScopeRef {
            index: 0,
            generation: self.nodes[0].generation,
        }
    }

    /// Adds a scope below `parent`; it is over if the parent is.
    pub(crate) fn add(&mut self, parent: u32) -> ScopeRef {
        let (over, next) = match self.nodes.get(parent as usize) {
            Some(parent) => (parent.over, parent.first_child),
            None => (None, NONE),
        };
        let index = match self.free {
            NONE => {
                self.nodes.push(Node::new());
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 scopes")
            }
            index => {
                self.free = self.nodes[index as usize].next;
                index
            }
        };
        let generation = self.nodes[index as usize].generation;
        self.nodes[index as usize] = Node {
            generation,
            parent,
            next,
            over,
            ..Node::new()
        };
        if next != NONE {
            self.nodes[next as usize].previous = index;
        }
        if parent != NONE {
            self.nodes[parent as usize].first_child = index;
        }
        ScopeRef { index, generation }
    }

    /// Removes a scope that has neither children nor fibers left. Returns its timer.
    pub(crate) fn remove(&mut self, scope: ScopeRef) -> Option<TimerKey> {
        let node = &mut self.nodes[scope.index as usize];
        debug_assert!(
            node.first_child == NONE && node.first_fiber == NONE,
            "an empty scope"
        );
        node.generation = node.generation.wrapping_add(1);
        let timer = node.timer.take();
        let (parent, previous, next) = (node.parent, node.previous, node.next);
        node.next = self.free;
        self.free = scope.index;
        match previous {
            NONE => self.nodes[parent as usize].first_child = next,
            previous => self.nodes[previous as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        timer
    }

    /// Makes `scope` the innermost scope of a fiber that has none.
    pub(crate) fn enter(&mut self, fibers: &mut Fibers, fiber: u32, scope: u32) {
        let first = std::mem::replace(&mut self.nodes[scope as usize].first_fiber, fiber);
        if first != NONE {
            fibers[first].scope_previous = fiber;
        }
        let over = self.nodes[scope as usize].over;
        let record = &mut fibers[fiber];
        record.scope = scope;
        record.scope_previous = NONE;
        record.scope_next = first;
        record.stopped = over;
    }

    /// Takes a fiber out of its innermost scope.
    pub(crate) fn leave(&mut self, fibers: &mut Fibers, fiber: u32) {
        let record = &fibers[fiber];
        let (scope, previous, next) = (record.scope, record.scope_previous, record.scope_next);
        match previous {
            NONE => self.nodes[scope as usize].first_fiber = next,
            previous => fibers[previous].scope_next = next,
        }
        if next != NONE {
            fibers[next].scope_previous = previous;
        }
    }

    /// The nearest deadline over `scope`.
    fn nearest_deadline(&self, mut scope: u32) -> Option<u64> {
        let mut nearest: Option<u64> = None;
        while let Some(node) = self.nodes.get(scope as usize) {
            nearest = match (nearest, node.deadline) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            scope = node.parent;
        }
        nearest
    }

    fn get(&self, scope: ScopeRef) -> Option<&Node> {
        self.nodes
            .get(scope.index as usize)
            .filter(|node| node.generation == scope.generation)
    }

    /// Whether the scope is over.
    pub(crate) fn is_over(&self, scope: ScopeRef) -> bool {
        self.get(scope).is_some_and(|node| node.over.is_some())
    }

    /// The next node of the tree below `top` after `at`, in pre-order; `skip` leaves out what
    /// is below `at`.
    fn following(&self, top: u32, at: u32, skip: bool) -> u32 {
        if !skip && self.nodes[at as usize].first_child != NONE {
            return self.nodes[at as usize].first_child;
        }
        let mut at = at;
        while at != top {
            let node = &self.nodes[at as usize];
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
            failures: 0,
            deadline: None,
            timer: None,
        }
    }
}

impl Core {
    /// Ends a scope and all below it, waking what is parked there. Nothing when it is over.
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
            let node = &mut scopes.nodes[at as usize];
            let was_over = node.over.is_some();
            if !was_over {
                node.over = Some(over);
                let mut index = node.first_fiber;
                while index != NONE {
                    let fiber = &mut fibers[index];
                    let next = fiber.scope_next;
                    fiber.stopped = Some(over);
                    if fiber.state == State::Parked && !fiber.is_shielded() {
                        fiber.state = State::Ready;
                        fiber.wake = Wake::Stopped(over);
                        self.ready.push(&mut fibers, index);
                    }
                    index = next;
                }
            }
            at = scopes.following(scope.index, at, was_over);
        }
    }

    /// Records that a wait failed; returns why.
    #[cold]
    pub(crate) fn note_failure(&self, over: Over) -> Stopped {
        let mut scopes = self.scopes.borrow_mut();
        if scopes.get(over.origin).is_some() {
            scopes.nodes[over.origin.index as usize].observed = true;
        }
        over.cause
    }

    /// Fails a wait whose scope is over already. It still gives up the turn, so that a loop that
    /// swallows the error starves nobody; after 64 in a row it also costs a millisecond.
    #[cold]
    pub(crate) fn fail(&self, over: Over) -> Stopped {
        let index = self.current.get();
        let failures = {
            let scope = self.fibers.borrow()[index].scope;
            let node = &mut self.scopes.borrow_mut().nodes[scope as usize];
            node.failures = node.failures.saturating_add(1);
            node.failures
        };
        if failures <= FAILURES_FREE_MAX {
            self.give_up_turn();
        } else {
            if failures == FAILURES_FREE_MAX + 1 {
                let fiber = self.fibers.borrow()[index].describe(index);
                log::warn!(
                    "{fiber} goes on waiting although its scope is over ({})",
                    over.cause
                );
            }
            if let Ok(token) = self.prepare() {
                let until = self.clock.now() + FAILURE_PAUSE.as_nanos() as u64;
                self.timers.borrow_mut().insert(until, Target::Fiber(token));
                // A shielded wait on a live timer: it ends by that timer alone.
                let _ = self.park(WaitReason::Penalty);
            }
        }
        self.note_failure(over)
    }

    /// Adds a scope below the running fiber's and enters it.
    pub(crate) fn push_scope(&self) -> Result<ScopeRef, Stopped> {
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let outer = fibers.get(index).ok_or(Stopped::NoRuntime)?.scope;
        let mut scopes = self.scopes.borrow_mut();
        let scope = scopes.add(outer);
        scopes.leave(&mut fibers, index);
        scopes.enter(&mut fibers, index, scope.index);
        Ok(scope)
    }

    /// Leaves and removes the running fiber's innermost scope.
    ///
    /// Returns why it is over, if a wait failed by it.
    pub(crate) fn pop_scope(&self, scope: ScopeRef) -> Option<Stopped> {
        let index = self.current.get();
        let mut fibers = self.fibers.borrow_mut();
        let mut scopes = self.scopes.borrow_mut();
        let node = &scopes.nodes[scope.index as usize];
        let own = node
            .over
            .filter(|over| node.observed && over.origin == scope);
        let parent = node.parent;
        scopes.leave(&mut fibers, index);
        scopes.enter(&mut fibers, index, parent);
        if let Some(timer) = scopes.remove(scope) {
            self.timers.borrow_mut().cancel(timer);
        }
        own.map(|over| over.cause)
    }

    fn set_deadline(&self, scope: ScopeRef, at: Instant) {
        let timer = self
            .timers
            .borrow_mut()
            .insert(at.as_nanos(), Target::Scope(scope));
        let mut scopes = self.scopes.borrow_mut();
        let node = &mut scopes.nodes[scope.index as usize];
        node.timer = Some(timer);
        node.deadline = Some(at.as_nanos());
    }
}

/// Leaves a scope however its body ends.
pub(crate) struct Entered<'a> {
    core: &'a Core,
    pub(crate) scope: ScopeRef,
    left: bool,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(core: &'a Core) -> Result<Self, Stopped> {
        Ok(Self {
            core,
            scope: core.push_scope()?,
            left: false,
        })
    }

    pub(crate) fn leave(mut self) -> Option<Stopped> {
        self.left = true;
        self.core.pop_scope(self.scope)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.core.pop_scope(self.scope);
        }
    }
}

/// A wait inside a [`timeout`] or [`deadline`] failed because its time was over.
///
/// Holds what the body returned all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed<T>(pub T);

impl<T> fmt::Display for Elapsed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stopped::TimedOut.fmt(f)
    }
}

impl<T: fmt::Debug> Error for Elapsed<T> {}

/// A wait inside a [`cancellable`] failed because its [`Canceller`] was used.
///
/// Holds what the body returned all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled<T>(pub T);

impl<T> fmt::Display for Cancelled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Stopped::Cancelled.fmt(f)
    }
}

impl<T: fmt::Debug> Error for Cancelled<T> {}

/// Runs `body` with at most `duration` for all its waits together.
///
/// Yields where the body does. One timer serves the whole scope, however many waits it holds.
/// Outside a fiber the body runs without a limit: its waits fail by themselves.
///
/// # Errors
///
/// [`Elapsed`] with the body's value when a wait in it failed by this very limit. A body that
/// never waited past the limit, or that failed by an outer scope, gives `Ok`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// # fiber::run(|| {
/// let slow = fiber::timeout(Duration::from_millis(5), || fiber::sleep(Duration::from_secs(60)));
/// assert!(slow.is_err());
/// # }).unwrap();
/// ```
pub fn timeout<T>(duration: Duration, body: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
    deadline(Instant::now() + duration, body)
}

/// Runs `body` with `at` as the end of all its waits; otherwise as [`timeout`].
///
/// # Errors
///
/// As [`timeout`].
pub fn deadline<T>(at: Instant, body: impl FnOnce() -> T) -> Result<T, Elapsed<T>> {
    let Some(core) = core::current() else {
        return Ok(body());
    };
    let Ok(entered) = Entered::new(&core) else {
        return Ok(body());
    };
    core.set_deadline(entered.scope, at);
    let value = body();
    match entered.leave() {
        Some(_) => Err(Elapsed(value)),
        None => Ok(value),
    }
}

/// Ends the waits of a [`cancellable`] body, or of a fiber, from outside it.
#[derive(Clone, Debug)]
pub struct Canceller {
    core: Weak<Core>,
    scope: ScopeRef,
}

impl Canceller {
    pub(crate) fn new(core: &Rc<Core>, scope: ScopeRef) -> Self {
        Self {
            core: Rc::downgrade(core),
            scope,
        }
    }

    /// Cancels: every wait in the scope fails with [`Stopped::Cancelled`] from now on.
    ///
    /// Does not yield. Nothing happens when the scope was left already.
    pub fn cancel(&self) {
        if let Some(core) = self.core.upgrade() {
            core.expire(self.scope, Stopped::Cancelled);
        }
    }
}

/// Runs `body` in a scope that others can cancel.
///
/// Yields where the body does.
///
/// # Errors
///
/// [`Cancelled`] with the body's value when a wait in it failed because of the [`Canceller`].
pub fn cancellable<T>(body: impl FnOnce(&Canceller) -> T) -> Result<T, Cancelled<T>> {
    let nowhere = Canceller {
        core: Weak::new(),
        scope: ScopeRef {
            index: 0,
            generation: 0,
        },
    };
    let Some(core) = core::current() else {
        return Ok(body(&nowhere));
    };
    let Ok(entered) = Entered::new(&core) else {
        return Ok(body(&nowhere));
    };
    let value = body(&Canceller::new(&core, entered.scope));
    match entered.leave() {
        Some(_) => Err(Cancelled(value)),
        None => Ok(value),
    }
}

/// The nearest deadline over the running fiber, if any.
///
/// Does not yield. For calls that set themselves a default when nobody set a limit.
#[must_use]
pub fn ambient_deadline() -> Option<Instant> {
    let core = core::current()?;
    let scope = core.fibers.borrow().get(core.current.get())?.scope;
    core.scopes
        .borrow()
        .nearest_deadline(scope)
        .map(Instant::from_nanos)
}
