//! What few clients use, and is made when it is used first: of thousands of idle ones each takes a
//! pointer for it.

use std::cell::OnceCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A value that is made when it is asked for; [`Seldom::get`] and [`Seldom::get_mut`] look without making
/// it.
#[derive(Clone)]
pub(crate) struct Seldom<T>(OnceCell<Box<T>>);

impl<T> Seldom<T> {
    /// One that is not made yet.
    pub(crate) const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// The value, if it was made.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().map(|value| &**value)
    }

    /// The value, if it was made, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.get_mut().map(|value| &mut **value)
    }
}

impl<T: Default> Seldom<T> {
    /// The value, or what it would have been made as.
    #[cfg(feature = "client")]
    pub(crate) fn into_value(self) -> T {
        self.0.into_inner().map_or_else(T::default, |value| *value)
    }
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> Deref for Seldom<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.get_or_init(make)
    }
}

impl<T: Default> DerefMut for Seldom<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_init(make);
        self.0.get_mut().expect("made above")
    }
}

impl<T: fmt::Debug> fmt::Debug for Seldom<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cold]
fn make<T: Default>() -> Box<T> {
    Box::default()
}

#[cfg(test)]
mod tests {
    use super::Seldom;

    #[test]
    fn looking_makes_nothing_and_asking_does() {
        let mut list = Seldom::<Vec<u8>>::new();
        assert!(list.get().is_none() && list.get_mut().is_none());
        list.push(1);
        assert_eq!(list.get(), Some(&vec![1]));
        let other = Seldom::<Vec<u8>>::new();
        assert!(other.is_empty() && other.get().is_some());
    }
}
