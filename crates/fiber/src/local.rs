//! Values that each fiber has one of, as threads have thread-locals.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;

use crate::coroutine::{discard, with_running};
use crate::error::Stopped;

/// What one fiber keeps: its values by the address of their key, in order of their first use.
/// Boxed, for most fibers have none.
pub(crate) type Locals = Option<Box<Vec<(usize, Rc<dyn Any>)>>>;

/// Names a value that each fiber has one of; made by [`crate::fiber_local!`].
///
/// A fiber that never asks for it has none, and nothing is allocated for it. Values are dropped when
/// their fiber has ended, by a panic too, the one used last first, before whoever joins the fiber is
/// woken. They are dropped on the fiber: their drops may wait, and use the values that are left. Of
/// a fiber that is leaked at the end of its runtime they are not dropped.
pub struct LocalKey<T: 'static> {
    init: fn() -> T,
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

impl<T: 'static> LocalKey<T> {
    /// For the macro, which makes it a static: its address tells it from others.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(init: fn() -> T) -> Self {
        Self { init }
    }

    /// Calls `body` with the running fiber's value, which is made at the first use.
    ///
    /// Yields where `body` does; no borrow is held meanwhile. Inside a value's own initialisation
    /// the same key gives the value of the inner one, which the fiber then keeps.
    ///
    /// # Errors
    ///
    /// [`Stopped::NoRuntime`] outside a fiber, and while the values of the fiber are dropped for one
    /// that was dropped already or never used.
    pub fn with<R>(&'static self, body: impl FnOnce(&T) -> R) -> Result<R, Stopped> {
        let value = match self.find()? {
            Some(value) => value,
            None => {
                let made = Rc::new((self.init)());
                match self.find()? {
                    Some(value) => value,
                    None => {
                        self.keep(&made);
                        made
                    }
                }
            }
        };
        Ok(body(&value))
    }

    fn find(&'static self) -> Result<Option<Rc<T>>, Stopped> {
        let found = with_running(|facts, _| {
            let locals = facts.locals.borrow();
            let found = locals
                .iter()
                .flat_map(|locals| locals.iter())
                .filter(|(key, _)| *key == self.address())
                .find_map(|(_, value)| Rc::clone(value).downcast().ok());
            match found {
                None if facts.locals_ended.get() => Err(Stopped::NoRuntime),
                found => Ok(found),
            }
        });
        found.unwrap_or(Err(Stopped::NoRuntime))
    }

    fn keep(&'static self, value: &Rc<T>) {
        let entry = (self.address(), Rc::clone(value) as Rc<dyn Any>);
        with_running(|facts, _| {
            facts
                .locals
                .borrow_mut()
                .get_or_insert_default()
                .push(entry);
        });
    }

    fn address(&'static self) -> usize {
        ptr::from_ref(self).addr()
    }
}

/// Drops the running fiber's values; from here on it gets no new ones.
#[inline]
pub(crate) fn end() {
    let has_values = with_running(|facts, _| {
        facts.locals_ended.set(true);
        facts.locals.borrow().is_some()
    });
    if has_values == Some(true) {
        drop_all();
    }
}

#[cold]
fn drop_all() {
    loop {
        let value = with_running(|facts, _| {
            let mut locals = facts.locals.borrow_mut();
            let value = locals.as_mut().and_then(|locals| locals.pop());
            if value.is_none() {
                *locals = None;
            }
            value
        });
        let Some(value) = value.flatten() else { break };
        // Code of the user, while nothing is borrowed.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            discard(payload, "while a value of the fiber was dropped");
        }
    }
}

/// Declares values that each fiber has one of, as `thread_local!` does for threads.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// fiber::fiber_local! {
///     /// Requests that this fiber answered.
///     static ANSWERED: Cell<u32> = Cell::new(0);
/// }
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     ANSWERED.with(|count| count.set(7))?;
///     let mut other = fiber::spawn(|| ANSWERED.with(Cell::get))?;
///     assert_eq!(other.join().map_err(|error| error.to_string())?, Ok(0));
///     assert_eq!(ANSWERED.with(Cell::get), Ok(7));
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! fiber_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $init:expr) => {
        $(#[$attribute])*
        $visibility static $name: $crate::LocalKey<$type> = {
            fn init() -> $type {
                $init
            }
            $crate::LocalKey::new(init)
        };
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $init:expr; $($rest:tt)*) => {
        $crate::fiber_local! { $(#[$attribute])* $visibility static $name: $type = $init }
        $crate::fiber_local! { $($rest)* }
    };
}
