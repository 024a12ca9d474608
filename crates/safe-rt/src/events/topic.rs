//! Who listens to one name, and how a signal reaches them.
//!
//! Nothing is borrowed while code of the user runs: a watcher, the clone of a payload, a drop.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use fiber::Event;

use crate::contain::contain;

type Call<T> = Box<dyn FnMut(&T)>;

/// A watcher that was registered.
pub(super) struct Watcher<T> {
    /// Borrowed while it is called, which is never inside itself.
    call: RefCell<Call<T>>,
    gone: Cell<bool>,
}

impl<T> Watcher<T> {
    pub(super) fn new(call: impl FnMut(&T) + 'static) -> Self {
        Self {
            call: RefCell::new(Box::new(call)),
            gone: Cell::new(false),
        }
    }

    /// Calls it, where it must not wait; it is gone if it panics.
    fn call(&self, payload: &T) {
        let called = contain(|| fiber::no_park(|| (self.call.borrow_mut())(payload)));
        if called.is_none() {
            self.gone.set(true);
            log::error!("the watcher of a signal panicked and is taken off");
        }
    }
}

/// One wait for the next signal.
pub(super) struct Wait<T> {
    clone: fn(&T) -> T,
    payload: Cell<Option<T>>,
    pub(super) emitted: Event,
}

impl<T> Wait<T> {
    pub(super) fn new() -> Self
    where
        T: Clone,
    {
        Self {
            clone: T::clone,
            payload: Cell::new(None),
            emitted: Event::new(),
        }
    }

    pub(super) fn take(&self) -> Option<T> {
        self.payload.take()
    }
}

/// All who listen to one name.
pub(super) struct Topic<T> {
    /// In the order in which they came. While a signal is delivered only the end grows.
    watchers: RefCell<Vec<Rc<Watcher<T>>>>,
    waits: RefCell<Vec<Rc<Wait<T>>>>,
    last: RefCell<Option<Rc<T>>>,
    delivering: Cell<bool>,
}

impl<T> Topic<T> {
    pub(super) const fn new() -> Self {
        Self {
            watchers: RefCell::new(Vec::new()),
            waits: RefCell::new(Vec::new()),
            last: RefCell::new(None),
            delivering: Cell::new(false),
        }
    }

    /// Returns how many listen.
    pub(super) fn listeners(&self) -> usize {
        self.watchers.borrow().len() + self.waits.borrow().len()
    }

    /// Returns whether nothing is lost if this is forgotten.
    pub(super) fn is_idle(&self) -> bool {
        self.listeners() == 0 && self.last.borrow().is_none() && !self.is_delivering()
    }

    pub(super) const fn is_delivering(&self) -> bool {
        self.delivering.get()
    }

    /// Returns the last payload, if it was kept.
    pub(super) fn last(&self) -> Option<Rc<T>> {
        self.last.borrow().clone()
    }

    pub(super) fn forget(&self) {
        drop(self.last.take());
    }

    /// Ends the waits and calls the watchers; returns how many both are.
    pub(super) fn deliver(&self, payload: &T, latch: Option<fn(&T) -> T>) -> usize {
        let delivering = Delivering::begin(self);
        if let Some(latch) = latch {
            drop(self.last.replace(Some(Rc::new(latch(payload)))));
        }
        // Those that begin from here on wait for the next signal.
        let (waits, watchers) = (self.waits.take(), self.watchers.borrow().len());
        let mut heard = 0;
        for wait in waits {
            match contain(|| (wait.clone)(payload)) {
                Some(clone) => {
                    wait.payload.set(Some(clone));
                    wait.emitted.set();
                    heard += 1;
                }
                None => {
                    log::error!("the payload of a signal panicked when it was cloned");
                    self.wait(&wait);
                }
            }
        }
        for index in 0..watchers {
            let watcher = self.watchers.borrow().get(index).map(Rc::clone);
            if let Some(watcher) = watcher.filter(|watcher| !watcher.gone.get()) {
                watcher.call(payload);
                heard += 1;
            }
        }
        drop(delivering);
        heard
    }

    /// Adds a watcher; calls it with the last payload if there is one and it is `latched`.
    pub(super) fn watch(&self, watcher: &Rc<Watcher<T>>, latched: bool) {
        self.watchers.borrow_mut().push(Rc::clone(watcher));
        if let Some(last) = self.last().filter(|_| latched) {
            let _delivering = Delivering::begin(self);
            watcher.call(&last);
        }
    }

    /// Ends a watcher: at once, or after the delivery that is under way.
    pub(super) fn unwatch(&self, watcher: &Watcher<T>) {
        watcher.gone.set(true);
        self.sweep();
    }

    /// Adds a wait.
    pub(super) fn wait(&self, wait: &Rc<Wait<T>>) {
        self.waits.borrow_mut().push(Rc::clone(wait));
    }

    /// Ends a wait that was not served.
    pub(super) fn give_up(&self, wait: &Rc<Wait<T>>) {
        self.waits.borrow_mut().retain(|one| !Rc::ptr_eq(one, wait));
    }

    /// Takes off the watchers that are gone, unless their places count.
    fn sweep(&self) {
        if self.is_delivering() {
            return;
        }
        let mut watchers = self.watchers.borrow_mut();
        let gone: Vec<_> = watchers
            .extract_if(.., |watcher| watcher.gone.get())
            .collect();
        drop(watchers);
        // What the closures hold is the user's, and may come back here as it is dropped.
        drop(gone);
    }
}

/// Marks a delivery, or the call of one watcher, until it is over.
struct Delivering<'a, T> {
    topic: &'a Topic<T>,
    outer: bool,
}

impl<'a, T> Delivering<'a, T> {
    fn begin(topic: &'a Topic<T>) -> Self {
        let outer = topic.delivering.replace(true);
        Self { topic, outer }
    }
}

impl<T> Drop for Delivering<'_, T> {
    fn drop(&mut self) {
        self.topic.delivering.set(self.outer);
        self.topic.sweep();
    }
}
