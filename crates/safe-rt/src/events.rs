//! Named in-process signals with typed payloads: what ties the services of one program together.
//!
//! A service emits a signal by its name, and others watch for it or wait for it, without knowing of
//! each other. (Signals of the operating system are [`fiber::signal`]'s.) They meet at a [`Signals`],
//! of which a program makes one and hands clones to its services. It is no global: two devices in one
//! process, as in a test or in the simulator, do not hear each other.
//!
//! ```text
//!  emit(NAME, &payload) ──► 1. who waits gets a clone, and runs on when it has its turn
//!                           2. the watchers are called, in the order in which they came, at once
//!                           ──► returns how many that were
//! ```
//!
//! # The rules
//!
//! 1. **Watchers run on the fiber that emits the signal**, before [`Signals::emit`] returns, and no
//!    other fiber runs meanwhile. So they must not wait: a wait in one fails with
//!    [`Stopped::WouldWait`] and is named in the log. What takes time belongs on
//!    a fiber that waits, or behind a channel that the watcher fills by `try_send`.
//! 2. A watcher may emit other signals; their watchers are called before it goes on, up to
//!    [`SIGNAL_DEPTH_MAX`] deep. The **same name cannot be emitted while its watchers are called**: that
//!    is [`SignalError::Reentered`], so all watchers of a name see its signals in the same order, and
//!    none is called inside itself.
//! 3. A watcher or a wait that begins while a signal is delivered is there from the next one on. One
//!    that ends meanwhile is not called any more.
//! 4. A wait begins when [`Signals::next`] is called: from then on no signal is missed, whatever else
//!    the fiber waits for before. One wait takes one signal; for all of them, watch.
//! 5. A watcher that panics is taken off, and logged; the others, and who emitted the signal, go on.
//! 6. A name has one type for as long as anybody listens to it or its last value is kept; another
//!    type is [`SignalError::WrongType`].
//! 7. Of a name made by [`SignalName::latched`] the last payload is kept, and whoever begins to watch
//!    is called with it at once.

use core::any::{Any, type_name};
use core::cell::{Cell, RefCell};
use core::fmt;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use fiber::{Link, Source, Stopped, Unparker};

mod error;
mod name;
mod topic;

pub use error::SignalError;
pub use name::SignalName;
use topic::{Topic, Wait, Watcher};

/// Names of one [`Signals`] that somebody listens to, or of which the last value is kept.
pub const SIGNAL_NAMES_MAX: usize = 1_024;
/// Watchers and waits of one name.
pub const SIGNAL_LISTENERS_MAX: usize = 1_024;
/// Signals emitted from within watchers of others, one in the other.
pub const SIGNAL_DEPTH_MAX: usize = 8;

/// Where the signals of one program are emitted and listened to. A clone is another handle of the same.
///
/// # Examples
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// use safe_rt::{SignalName, Signals};
///
/// const CONNECTED: SignalName<bool> = SignalName::new("mqtt:connected").latched();
/// const READING: SignalName<f64> = SignalName::new("meter:reading");
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     let signals = Signals::new();
///
///     // One service waits until there is a connection, on a fiber of its own ...
///     let service = signals.clone();
///     let mut reporting = fiber::spawn(move || service.wait(&CONNECTED))?;
///     // ... another watches what is measured.
///     let seen = Rc::new(RefCell::new(Vec::new()));
///     let log = Rc::clone(&seen);
///     let watch = signals.watch(&READING, move |celsius| log.borrow_mut().push(*celsius))?;
///
///     fiber::yield_now()?;
///     assert_eq!(signals.emit(&CONNECTED, &true)?, 1);
///     assert_eq!(signals.emit(&READING, &21.5)?, 1);
///     drop(watch);
///     assert_eq!(signals.emit(&READING, &22.0)?, 0);
///
///     assert_eq!(reporting.join().map_err(|error| error.to_string())?, Ok(true));
///     assert_eq!(*seen.borrow(), [21.5]);
///     // Who comes later asks how things are.
///     assert_eq!(signals.last(&CONNECTED)?, Some(true));
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Signals(Rc<Hub>);

impl Signals {
    /// Makes one that nobody listens to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Emits the signal: ends the waits for it, calls its watchers, and returns how many both are.
    ///
    /// Does not yield. Allocates nothing; the payload is cloned for each wait, and once where the
    /// name is latched.
    ///
    /// # Errors
    /// [`SignalError::WrongType`], [`SignalError::Reentered`], [`SignalError::TooDeep`], and for a
    /// latched name [`SignalError::TooManyNames`]. Nobody has heard the signal then.
    pub fn emit<T: 'static>(
        &self,
        name: &SignalName<T>,
        payload: &T,
    ) -> Result<usize, SignalError> {
        let topic = match (self.0.topic(name)?, name.latch) {
            (Some(topic), _) => topic,
            (None, Some(_)) => self.0.topic_or_new(name)?,
            (None, None) => return Ok(0),
        };
        if topic.is_delivering() {
            let name = name.text.clone().into_owned();
            return Err(SignalError::Reentered { name });
        }
        let heard = {
            let _deeper = self.0.deeper()?;
            topic.deliver(payload, name.latch)
        };
        self.0.forget_if_idle(&name.text, &topic);
        Ok(heard)
    }

    /// Calls `watcher` with each signal of this name from now on, until the [`Watch`] is dropped; with
    /// the last one at once if the name is latched and there was one. Does not yield.
    ///
    /// The watcher runs on the fiber that emits the signal, and must not wait.
    ///
    /// # Errors
    /// [`SignalError::WrongType`], [`SignalError::TooManyNames`], [`SignalError::TooManyListeners`],
    /// and for a latched name [`SignalError::TooDeep`].
    ///
    /// # Examples
    /// To do something that waits with every signal, put a channel in between; what is done when it
    /// is full is then said here, and nowhere else.
    /// ```
    /// use safe_rt::{SignalName, Signals};
    /// const READING: SignalName<f64> = SignalName::new("meter:reading");
    /// # fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
    /// let signals = Signals::new();
    /// let (readings, to_send) = fiber::channel(16);
    /// let _watch = signals.watch(&READING, move |celsius| {
    ///     if readings.try_send(*celsius).is_err() {
    ///         log::warn!("a reading is left out");
    ///     }
    /// })?;
    /// signals.emit(&READING, &21.5)?;
    /// assert_eq!(to_send.recv()?, Some(21.5)); // on a fiber that may take its time
    /// # Ok(())
    /// # }).expect("the runtime ran")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch<T: 'static>(
        &self,
        name: &SignalName<T>,
        watcher: impl FnMut(&T) + 'static,
    ) -> Result<Watch, SignalError> {
        let _deeper = match name.latch {
            Some(_) => Some(self.0.deeper()?),
            None => None,
        };
        let topic = self.0.topic_or_new(name)?;
        if topic.listeners() >= SIGNAL_LISTENERS_MAX {
            return Err(SignalError::TooManyListeners);
        }
        let watcher = Rc::new(Watcher::new(watcher));
        topic.watch(&watcher, name.latch.is_some());
        let (hub, text) = (Rc::downgrade(&self.0), name.text.clone());
        let end = move || {
            topic.unwatch(&watcher);
            if let Some(hub) = hub.upgrade() {
                hub.forget_if_idle(&text, &topic);
            }
        };
        Ok(Watch(Some(Box::new(end))))
    }

    /// Waits for the next signal of this name and returns what it carries. Yields until then, under
    /// the ambient deadline.
    ///
    /// # Errors
    /// [`SignalError::Stopped`], and those of [`Signals::next`].
    pub fn wait<T: Clone + 'static>(&self, name: &SignalName<T>) -> Result<T, SignalError> {
        Ok(self.next(name)?.wait()?)
    }

    /// Begins a wait for the next signal of this name: one emitted from now on is not missed, whatever
    /// the fiber does before it asks for it. Does not yield.
    ///
    /// # Errors
    /// [`SignalError::WrongType`], [`SignalError::TooManyNames`], [`SignalError::TooManyListeners`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use safe_rt::{SignalName, Signals};
    /// const STORED: SignalName<u32> = SignalName::new("store:stored");
    /// # fiber::Runtime::builder().paused_clock(true).run(|| -> Result<(), Box<dyn std::error::Error>> {
    /// # fn store(signals: &Signals) -> Result<(), safe_rt::SignalError> {
    /// #     fiber::sleep(Duration::from_secs(1))?;
    /// #     signals.emit(&STORED, &7).map(drop)
    /// # }
    /// let signals = Signals::new();
    /// let stored = signals.next(&STORED)?;
    /// store(&signals)?; // waits, and emits the signal before it returns
    /// assert_eq!(stored.wait()?, 7);
    /// # Ok(())
    /// # }).expect("the runtime ran")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next<T: Clone + 'static>(
        &self,
        name: &SignalName<T>,
    ) -> Result<NextSignal<T>, SignalError> {
        let topic = self.0.topic_or_new(name)?;
        if topic.listeners() >= SIGNAL_LISTENERS_MAX {
            return Err(SignalError::TooManyListeners);
        }
        let wait = Rc::new(Wait::new());
        topic.wait(&wait);
        Ok(NextSignal {
            hub: Rc::clone(&self.0),
            text: name.text.clone(),
            topic,
            wait,
        })
    }

    /// Returns the last payload of a latched name. Does not yield.
    ///
    /// # Errors
    /// [`SignalError::WrongType`].
    pub fn last<T: Clone + 'static>(&self, name: &SignalName<T>) -> Result<Option<T>, SignalError> {
        let last = self.0.topic(name)?.and_then(|topic| topic.last());
        Ok(last.as_deref().cloned())
    }

    /// Forgets the last payload of a latched name. Does not yield.
    ///
    /// # Errors
    /// [`SignalError::WrongType`].
    pub fn forget<T: 'static>(&self, name: &SignalName<T>) -> Result<(), SignalError> {
        if let Some(topic) = self.0.topic(name)? {
            topic.forget();
            self.0.forget_if_idle(&name.text, &topic);
        }
        Ok(())
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals")
            .field("names", &self.0.topics.borrow().len())
            .finish_non_exhaustive()
    }
}

/// A watcher that was registered; **dropping this ends it**, also while it is being called.
#[must_use = "dropping it ends the watch"]
pub struct Watch(Option<Box<dyn FnOnce()>>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// A wait for the next signal of a name, begun by [`Signals::next`]; also something to
/// [`fiber::select`] on.
pub struct NextSignal<T: 'static> {
    hub: Rc<Hub>,
    text: Cow<'static, str>,
    topic: Rc<Topic<T>>,
    wait: Rc<Wait<T>>,
}

impl<T: 'static> NextSignal<T> {
    /// Waits until the signal is emitted. Yields unless it was already; obeys the ambient deadline.
    ///
    /// # Errors
    /// [`Stopped`] when the wait ended early.
    pub fn wait(mut self) -> Result<T, Stopped> {
        loop {
            self = match self.take() {
                Ok(payload) => return Ok(payload),
                Err(waiting) => waiting,
            };
            self.wait.emitted.wait()?;
        }
    }

    /// Takes what the signal carried, which ends the wait. Neither waits nor yields.
    ///
    /// # Errors
    /// The wait itself, which goes on, if the signal was not emitted yet.
    pub fn take(self) -> Result<T, Self> {
        self.wait.take().ok_or(self)
    }
}

impl<T: 'static> Source for NextSignal<T> {
    /// Whether the signal was emitted.
    fn is_ready(&self) -> bool {
        self.wait.emitted.is_ready()
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        self.wait.emitted.link(waiter)
    }

    fn unlink(&self, link: Link) {
        self.wait.emitted.unlink(link);
    }
}

impl<T: 'static> Drop for NextSignal<T> {
    fn drop(&mut self) {
        self.topic.give_up(&self.wait);
        self.hub.forget_if_idle(&self.text, &self.topic);
    }
}

impl<T: 'static> fmt::Debug for NextSignal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextSignal")
            .field("name", &self.text)
            .field("emitted", &self.wait.emitted.is_set())
            .finish_non_exhaustive()
    }
}

/// What is known of the names that are in use.
#[derive(Default)]
struct Hub {
    /// Each is a [`Topic`] of its own type.
    topics: RefCell<BTreeMap<Cow<'static, str>, Entry>>,
    depth: Cell<usize>,
}

struct Entry {
    topic: Rc<dyn Any>,
    payload: &'static str,
}

impl Hub {
    /// Finds the topic of a name that is in use.
    fn topic<T: 'static>(&self, name: &SignalName<T>) -> Result<Option<Rc<Topic<T>>>, SignalError> {
        let topics = self.topics.borrow();
        let Some(entry) = topics.get(name.as_str()) else {
            return Ok(None);
        };
        match Rc::clone(&entry.topic).downcast() {
            Ok(topic) => Ok(Some(topic)),
            Err(_) => Err(SignalError::WrongType {
                name: name.text.clone().into_owned(),
                expected: entry.payload,
                found: type_name::<T>(),
            }),
        }
    }

    fn topic_or_new<T: 'static>(&self, name: &SignalName<T>) -> Result<Rc<Topic<T>>, SignalError> {
        if let Some(topic) = self.topic(name)? {
            return Ok(topic);
        }
        let mut topics = self.topics.borrow_mut();
        if topics.len() >= SIGNAL_NAMES_MAX {
            return Err(SignalError::TooManyNames);
        }
        let topic = Rc::new(Topic::<T>::new());
        let entry = Entry {
            topic: Rc::clone(&topic) as Rc<dyn Any>,
            payload: type_name::<T>(),
        };
        topics.insert(name.text.clone(), entry);
        Ok(topic)
    }

    /// Makes room for another name, and another type, once nobody listens to this one.
    fn forget_if_idle<T: 'static>(&self, text: &str, topic: &Rc<Topic<T>>) {
        if !topic.is_idle() {
            return;
        }
        let mut topics = self.topics.borrow_mut();
        let is_this = |entry: &Entry| Rc::ptr_eq(&entry.topic, &(Rc::clone(topic) as Rc<dyn Any>));
        if topics.get(text).is_some_and(is_this) {
            topics.remove(text);
        }
    }

    /// Enters calls of watchers, if not too many are under way.
    fn deeper(&self) -> Result<Deeper<'_>, SignalError> {
        let depth = self.depth.get();
        if depth >= SIGNAL_DEPTH_MAX {
            return Err(SignalError::TooDeep);
        }
        self.depth.set(depth + 1);
        Ok(Deeper(self))
    }
}

/// Leaves the calls of watchers, however they end.
struct Deeper<'a>(&'a Hub);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.depth.set(self.0.depth.get() - 1);
    }
}

#[cfg(test)]
mod tests;
