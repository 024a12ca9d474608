//! Starting fibers. A new fiber goes to the end of the run queue and its parent runs on.

use std::borrow::Cow;
use std::panic::Location;
use std::rc::Rc;

use crate::core::{self, Core};
use crate::coroutine::{Facts, FiberCoroutine, PanicPayload};
use crate::error::SpawnError;
use crate::join::{JoinCell, JoinHandle};
use crate::scope::Scope;
use crate::scope_tree::ScopeRef;
use crate::stack::{FiberStack, StackClass};

impl Core {
    /// Checks that a fiber may be started here and now, and takes a stack for it.
    pub(crate) fn stack_for_spawn(&self, class: StackClass) -> Result<FiberStack, SpawnError> {
        if std::thread::panicking() {
            return Err(SpawnError::Unwinding);
        }
        if self.fibers.borrow().live >= self.fibers_max {
            return Err(SpawnError::FiberLimit {
                fibers_max: self.fibers_max,
            });
        }
        self.stacks.take(class)
    }

    /// Makes a fiber in `scope` and puts it at the end of the queue.
    pub(crate) fn add_fiber(&self, coroutine: FiberCoroutine, scope: ScopeRef) -> u32 {
        let mut fibers = self.fibers.borrow_mut();
        let index = fibers.add(coroutine);
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.sim {
            let parent = fibers.get(self.current.get()).map(|parent| parent.host);
            fibers[index].host = sim.host_of_new(parent);
        }
        self.scopes
            .borrow_mut()
            .enter(&mut fibers, index, scope.index);
        self.ready.push(&mut fibers, index);
        self.counters.spawns.add(1);
        index
    }
}

/// Starts fibers with settings of their own.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// let mut blink = fiber::FiberBuilder::new().name("blink").spawn(|| 7).unwrap();
/// assert_eq!(blink.join().unwrap(), 7);
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct FiberBuilder {
    name: Cow<'static, str>,
    stack_bytes: Option<usize>,
}

impl FiberBuilder {
    /// A fiber without a name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the fiber in logs and reports.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the size of the fiber's stack (default [`crate::STACK_BYTES_DEFAULT`]), rounded up to
    /// 64 KiB, 256 KiB, 1 MiB and so on up to [`crate::STACK_BYTES_MAX`].
    ///
    /// Of that a guard at the low end (4 KiB on x86-64, else 64 KiB) and up to 2 KiB at the top
    /// cannot be used. Only pages that are touched cost memory.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Starts the fiber; see [`spawn`].
    ///
    /// # Errors
    ///
    /// As [`spawn`], and [`SpawnError::StackTooLarge`].
    #[track_caller]
    pub fn spawn<T, F>(self, body: F) -> Result<JoinHandle<T>, SpawnError>
    where
        T: 'static,
        F: FnOnce() -> T + 'static,
    {
        let location = Location::caller();
        let (core, stack) = self.begin()?;
        Ok(start(&core, stack, self.name, location, body))
    }

    /// Starts a child of a scope; see [`Scope::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Scope::spawn`], and [`SpawnError::StackTooLarge`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fiber::run(|| {
    /// let site = String::from("site/4");
    /// fiber::scope(|s| {
    ///     fiber::FiberBuilder::new()
    ///         .name("reader")
    ///         .spawn_scoped(s, || { assert!(site.starts_with("site")); Ok(()) })
    /// })
    /// .unwrap();
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, E, F>(
        self,
        scope: &'scope Scope<'scope, '_, E>,
        body: F,
    ) -> Result<(), SpawnError>
    where
        F: FnOnce() -> Result<(), E> + 'scope,
        E: 'scope,
    {
        let location = Location::caller();
        let class = self.class()?;
        scope.spawn_as(self.name, class, location, body)
    }

    /// What of a start does not depend on the body: that is in the program once.
    #[inline]
    fn begin(&self) -> Result<(Rc<Core>, FiberStack), SpawnError> {
        let core = core::current().ok_or(SpawnError::NoRuntime)?;
        let stack = core.stack_for_spawn(self.class()?)?;
        Ok((core, stack))
    }

    fn class(&self) -> Result<StackClass, SpawnError> {
        match self.stack_bytes {
            None => Ok(StackClass::DEFAULT),
            Some(bytes) => StackClass::holding(bytes),
        }
    }
}

/// As [`FiberBuilder::spawn`], for a runtime at hand.
pub(crate) fn spawn_on<T, F>(
    core: &Rc<Core>,
    name: Cow<'static, str>,
    class: StackClass,
    location: &'static Location<'static>,
    body: F,
) -> Result<JoinHandle<T>, SpawnError>
where
    T: 'static,
    F: FnOnce() -> T + 'static,
{
    let stack = core.stack_for_spawn(class)?;
    Ok(start(core, stack, name, location, body))
}

/// Starts a fiber on a stack.
fn start<T, F>(
    core: &Rc<Core>,
    stack: FiberStack,
    name: Cow<'static, str>,
    location: &'static Location<'static>,
    body: F,
) -> JoinHandle<T>
where
    T: 'static,
    F: FnOnce() -> T + 'static,
{
    let cell = Rc::new(JoinCell::new());
    let end = {
        let cell = Rc::clone(&cell);
        move |result: Result<T, PanicPayload>| cell.complete(result)
    };
    let facts = Facts::new(name, location, core.clock.now());
    let coroutine = FiberCoroutine::new(stack, facts, body, end);
    let index = core.add_fiber(coroutine, ScopeRef::ROOT);
    JoinHandle::new(cell, core, index)
}

/// Starts a fiber that runs `body`, after those that are ready now. Does not yield.
///
/// The fiber is independent of the scopes around this call; it ends by itself, by its handle's
/// `cancel`, or when the runtime shuts down. For children that borrow, see [`crate::scope()`].
///
/// # Errors
///
/// [`SpawnError`] outside a runtime, while unwinding, at the bound on fibers, or without memory
/// for a stack.
#[track_caller]
pub fn spawn<T, F>(body: F) -> Result<JoinHandle<T>, SpawnError>
where
    T: 'static,
    F: FnOnce() -> T + 'static,
{
    FiberBuilder::new().spawn(body)
}
