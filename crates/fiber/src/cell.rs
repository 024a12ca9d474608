//! A `RefCell` whose misuse is told by one place.
//!
//! A borrow that cannot be had is a broken invariant of this crate. The standard cell names the caller,
//! so each call brings a panic, its place and two relocations into every program: 70 bytes. Here
//! builds with debug assertions name the caller, others do not.

use std::cell::{self, Ref, RefMut};

/// See [`cell::RefCell`].
#[derive(Debug, Default)]
pub(crate) struct RefCell<T>(cell::RefCell<T>);

impl<T> RefCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(cell::RefCell::new(value))
    }

    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn borrow(&self) -> Ref<'_, T> {
        match self.0.try_borrow() {
            Ok(value) => value,
            Err(_) => in_use(),
        }
    }

    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn borrow_mut(&self) -> RefMut<'_, T> {
        match self.0.try_borrow_mut() {
            Ok(value) => value,
            Err(_) => in_use(),
        }
    }
}

#[cold]
#[inline(never)]
#[cfg_attr(debug_assertions, track_caller)]
fn in_use() -> ! {
    panic!("a cell is borrowed by one at a time");
}
