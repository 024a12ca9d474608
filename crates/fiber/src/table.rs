//! A list by 32-bit index whose misuse is told by one place, as in [`crate::cell`].

use std::ops::{Index, IndexMut};
use std::slice;

/// Numbers from here on mean no index, or the waiter that stands first.
pub(crate) const RESERVED_FROM: u32 = u32::MAX - 2;

/// What the records of fibers, scopes and waiters are kept in: indices into it are this crate's own.
#[derive(Debug)]
pub(crate) struct Table<T>(Vec<T>);

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with_capacity(len: usize) -> Self {
        Self(Vec::with_capacity(len))
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.0.get(index as usize)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.0.get_mut(index as usize)
    }

    pub(crate) fn len(&self) -> u32 {
        // Checked when they were added.
        self.0.len() as u32
    }

    /// Appends a record and tells its index.
    ///
    /// # Panics
    /// If there are as many as indices: the last of 32 bits have meanings of their own.
    #[inline]
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.0.len()).ok();
        let next = next.filter(|&index| index < RESERVED_FROM);
        let next = next.expect("fewer than 2^32 - 2 records");
        self.0.push(value);
        next
    }

    pub(crate) fn iter(&self) -> slice::Iter<'_, T> {
        self.0.iter()
    }

    #[cfg(feature = "sim")]
    pub(crate) fn iter_mut(&mut self) -> slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn index(&self, index: u32) -> &T {
        match self.0.get(index as usize) {
            Some(value) => value,
            None => missing(),
        }
    }
}

impl<T> IndexMut<u32> for Table<T> {
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.0.get_mut(index as usize) {
            Some(value) => value,
            None => missing(),
        }
    }
}

#[cold]
#[inline(never)]
#[cfg_attr(debug_assertions, track_caller)]
fn missing() -> ! {
    panic!("an index is of a record that was made");
}
