//! The network door: readiness of file descriptors, by mio.
//!
//! Edge-triggered: a descriptor is registered once, at the first call that would block, for both
//! directions. Until then its bits are guesses that a call may try out. The bits say what the kernel
//! last reported; a call that finds nothing clears its bit, and the next edge sets it again.
//! `read_closed` is sticky: once the kernel reported the end of data no further edge is owed, so
//! the readable bit is never cleared again. Datagrams have no end.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use mio::Waker;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::cell::RefCell;
use crate::core::{Core, NO_FIBER};
use crate::error::Stopped;
use crate::park::{FrontList, Line as _, Link, Unparker};
#[cfg(feature = "sim")]
use crate::sim;
use crate::sys;
use crate::world::alarm::Alarm;

/// Events taken per call of the kernel's queue; more stay there for the next call.
const EVENTS_MAX: usize = 256;
/// What a descriptor is watched for: both directions, and urgent data, at which a read stops early.
#[cfg(any(target_os = "linux", target_os = "android"))]
const WATCHED: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);
/// What a descriptor is watched for: both directions.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const WATCHED: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Name the waker and the alarm among the tokens; other tokens are indexes.
const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// One direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// What is known of one descriptor.
#[derive(Debug)]
pub(crate) struct Readiness {
    fd: RawFd,
    readable: Cell<bool>,
    writable: Cell<bool>,
    read_closed: Cell<bool>,
    /// Urgent data came: from then on a short read may have stopped at it, with more behind it.
    urgent: Cell<bool>,
    /// Whether the end of data, or an error, is there to stay.
    ends: bool,
    /// Index in the reactor's table, once registered.
    token: Cell<Option<usize>>,
    readers: FrontList,
    writers: FrontList,
}

impl Readiness {
    /// A descriptor that may be ready: the first call finds out.
    pub(crate) fn new(fd: RawFd) -> Rc<Self> {
        Self::with_bits(fd, true, true)
    }

    /// As [`Self::new`], for datagrams: an error of one is not the end of the others.
    pub(crate) fn datagrams(fd: RawFd) -> Rc<Self> {
        Self::with_bits(fd, true, false)
    }

    /// A socket that still connects: only an event can tell.
    pub(crate) fn connecting(fd: RawFd) -> Rc<Self> {
        Self::with_bits(fd, false, true)
    }

    fn with_bits(fd: RawFd, ready: bool, ends: bool) -> Rc<Self> {
        Rc::new(Self {
            fd,
            readable: Cell::new(ready),
            writable: Cell::new(ready),
            read_closed: Cell::new(false),
            urgent: Cell::new(false),
            ends,
            token: Cell::new(None),
            readers: FrontList::new(),
            writers: FrontList::new(),
        })
    }

    #[inline(always)]
    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.readable.get(),
            Direction::Write => self.writable.get(),
        }
    }

    /// Notes that a call found nothing to do, and sees to it that an event tells when that
    /// changes.
    ///
    /// # Errors
    ///
    /// What the kernel answered when it could not watch the descriptor.
    #[inline]
    pub(crate) fn would_block(
        self: &Rc<Self>,
        core: &Core,
        direction: Direction,
    ) -> io::Result<()> {
        if self.token.get().is_none() {
            core.reactor.register(self)?;
        }
        self.clear(direction);
        Ok(())
    }

    /// Turns guesses into knowledge: a descriptor that is not watched yet is watched from here on,
    /// and the first event says what it is ready for.
    ///
    /// # Errors
    ///
    /// What the kernel answered when it could not watch the descriptor.
    pub(crate) fn ask(self: &Rc<Self>, core: &Core) -> io::Result<()> {
        if self.token.get().is_none() {
            core.reactor.register(self)?;
            self.clear(Direction::Read);
            self.clear(Direction::Write);
        }
        Ok(())
    }

    /// Notes that a call did less than it was asked, which for a stream means that nothing is
    /// left. Only where an event is due: nobody would set the bit again for an unknown descriptor.
    #[inline(always)]
    pub(crate) fn fell_short(&self, direction: Direction) {
        let stopped_at_urgent = direction == Direction::Read && self.urgent.get();
        if self.token.get().is_some() && !stopped_at_urgent {
            self.clear(direction);
        }
    }

    /// Notes that writing failed. The peer's last words may have come before the end of the
    /// connection, with the edge that tells of them still to be taken: a read finds out.
    #[cold]
    pub(crate) fn write_failed(&self) {
        self.readable.set(true);
    }

    #[inline(always)]
    fn clear(&self, direction: Direction) {
        match direction {
            Direction::Read => self.readable.set(self.read_closed.get()),
            Direction::Write => self.writable.set(false),
        }
    }

    #[inline]
    fn waiters(&self, direction: Direction) -> &FrontList {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
        }
    }

    /// Enters a wait for readiness; registers the descriptor first if that is still to be done.
    ///
    /// # Errors
    ///
    /// What the kernel answered when it could not watch the descriptor; [`Stopped::NoRuntime`]
    /// when the descriptor's runtime is over: another one's fibers would wait for ever.
    #[inline]
    pub(crate) fn link(
        self: &Rc<Self>,
        core: &Core,
        direction: Direction,
        token: Unparker,
    ) -> io::Result<Link> {
        self.be_watched(core)?;
        Ok(self.waiters(direction).link(core, token))
    }

    /// As [`Self::link`], for a wait that others go on with: see [`FrontList::stand`].
    ///
    /// # Errors
    ///
    /// As [`Self::link`].
    #[inline]
    pub(crate) fn stand(
        self: &Rc<Self>,
        core: &Core,
        direction: Direction,
        token: Unparker,
    ) -> io::Result<Option<Link>> {
        self.be_watched(core)?;
        Ok(self.waiters(direction).stand(core, token))
    }

    /// Sees to it that a wait is ended by an event.
    #[inline]
    fn be_watched(self: &Rc<Self>, core: &Core) -> io::Result<()> {
        if core.current.get() == NO_FIBER {
            return Err(Stopped::NoRuntime.into());
        }
        if self.token.get().is_none() {
            core.reactor.register(self)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn unlink(&self, core: &Core, direction: Direction, link: Link) {
        self.waiters(direction).unlink(core, link);
    }

    /// Notes what the simulated network reports, as [`Reactor::poll`] does for the kernel.
    #[cfg(feature = "sim")]
    pub(crate) fn report(&self, core: &Core, readable: bool, writable: bool, closed: bool) {
        if closed {
            self.read_closed.set(true);
        }
        if readable || closed {
            self.readable.set(true);
            self.readers.wake_all(core);
        }
        if writable {
            self.writable.set(true);
            self.writers.wake_all(core);
        }
    }

    /// The entry in the reactor's table.
    #[cfg(test)]
    pub(crate) fn entry(&self) -> Option<usize> {
        self.token.get()
    }

    /// Forgets the descriptor until somebody waits for it, or a call finds it not ready. Until then the bits
    /// are guesses.
    pub(crate) fn unwatch(&self, core: &Core) {
        self.close(core);
        self.readable.set(true);
        self.writable.set(true);
        // Nobody else would wake them.
        self.readers.wake_all(core);
        self.writers.wake_all(core);
    }

    /// Forgets the descriptor; it is about to be closed.
    pub(crate) fn close(&self, core: &Core) {
        if let Some(index) = self.token.take() {
            core.reactor.deregister(index, self.fd);
        }
    }
}

/// Registered descriptors by index; the indexes of removed ones are used again.
struct Table {
    entries: Vec<Option<Rc<Readiness>>>,
    free: Vec<usize>,
}

/// The event queue was used in a child process of the one that made it.
#[derive(Debug)]
pub(crate) struct Forked;

impl fmt::Display for Forked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime belongs to the process that this one was forked from")
    }
}

impl Error for Forked {}

/// One runtime's event queue.
pub(crate) struct Reactor {
    poll: RefCell<Poll>,
    events: RefCell<Events>,
    registry: Registry,
    table: RefCell<Table>,
    waker: Arc<Waker>,
    alarm: Alarm,
    registered: Cell<usize>,
    /// The forks that led to the process that made it. A child that `fork` makes has the same
    /// descriptors, and what it did with them would change what the parent hears of.
    forks: Cell<u32>,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, WAKER)?);
        Ok(Self {
            poll: RefCell::new(poll),
            events: RefCell::new(Events::with_capacity(EVENTS_MAX)),
            registry,
            table: RefCell::new(Table {
                entries: Vec::new(),
                free: Vec::new(),
            }),
            waker,
            alarm: Alarm::new(),
            registered: Cell::new(0),
            forks: Cell::new(sys::count_forks()?),
        })
    }

    /// Refuses to go on in a child process of the one that made the queue.
    ///
    /// # Errors
    ///
    /// [`Forked`].
    pub(crate) fn check_process(&self) -> io::Result<()> {
        if self.is_ours() {
            Ok(())
        } else {
            Err(io::Error::other(Forked))
        }
    }

    fn is_ours(&self) -> bool {
        self.forks.get() == sys::forks()
    }

    /// Makes this process look like a child of the one that made the queue.
    #[cfg(test)]
    pub(crate) fn pretend_to_be_forked(&self, forked: bool) {
        self.forks.set(sys::forks() + u32::from(forked));
    }

    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Whether any descriptor could still bring an event.
    pub(crate) fn has_sources(&self) -> bool {
        self.registered.get() > 0
    }

    #[cold]
    fn register(&self, source: &Rc<Readiness>) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if sim::is_simulated(source.fd) {
            // The simulated network has a table of its own.
            source.token.set(Some(usize::MAX));
            sim::watch(source.fd, source);
            return Ok(());
        }
        self.check_process()?;
        let mut table = self.table.borrow_mut();
        let index = table.free.pop().unwrap_or(table.entries.len());
        if let Err(error) = self
            .registry
            .register(&mut SourceFd(&source.fd), Token(index), WATCHED)
        {
            if index < table.entries.len() {
                table.free.push(index);
            }
            return Err(error);
        }
        if index == table.entries.len() {
            table.entries.push(None);
        }
        table.entries[index] = Some(Rc::clone(source));
        source.token.set(Some(index));
        self.registered.set(self.registered.get() + 1);
        Ok(())
    }

    fn deregister(&self, index: usize, fd: RawFd) {
        #[cfg(feature = "sim")]
        if sim::is_simulated(fd) {
            sim::unwatch(fd);
            return;
        }
        if self.is_ours() {
            // Fails only for a descriptor the kernel has dropped by itself; then nothing is left.
            let _ = self.registry.deregister(&mut SourceFd(&fd));
        }
        let mut table = self.table.borrow_mut();
        table.entries[index] = None;
        table.free.push(index);
        self.registered.set(self.registered.get() - 1);
    }

    /// What to give [`Self::poll`] for a wait that ends at `deadline`: nothing where the alarm ends
    /// it. The time is asked for only where that matters.
    pub(crate) fn timeout_until(
        &self,
        deadline: u64,
        now: impl FnOnce() -> u64,
    ) -> Option<Duration> {
        if self.alarm.rings_by(deadline) {
            return None;
        }
        let now = now();
        if deadline > now && self.alarm.set(&self.registry, ALARM, deadline) {
            return None;
        }
        Some(Duration::from_nanos(deadline.saturating_sub(now)))
    }

    /// Whether the alarm ends a wait by `deadline` as it is set.
    #[inline]
    pub(crate) fn rings_by(&self, deadline: u64) -> bool {
        self.alarm.rings_by(deadline)
    }

    #[cfg(test)]
    pub(crate) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Takes events, waiting up to `timeout` (for ever if none), and wakes who waits for them.
    ///
    /// Returns whether the waker of other threads was among them.
    pub(crate) fn poll(&self, core: &Core, timeout: Option<Duration>) -> io::Result<bool> {
        core.counters.polls.add(1);
        let mut events = self.events.borrow_mut();
        match self.poll.borrow_mut().poll(&mut events, timeout) {
            Ok(()) => {}
            // A signal: the loop comes round again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        let mut woken = false;
        for event in events.iter() {
            if event.token() == WAKER {
                woken = true;
                continue;
            }
            if event.token() == ALARM {
                self.alarm.rang();
                continue;
            }
            // No descriptor is opened or closed between the kernel's answer and the end of this
            // loop, for no fiber runs; an empty entry means an event of a duplicate that lives on.
            let source = self
                .table
                .borrow()
                .entries
                .get(event.token().0)
                .cloned()
                .flatten();
            let Some(source) = source else { continue };
            let failed = event.is_error();
            if source.ends && (event.is_read_closed() || failed) {
                source.read_closed.set(true);
            }
            if event.is_priority() {
                source.urgent.set(true);
            }
            if event.is_readable() || event.is_read_closed() || failed {
                source.readable.set(true);
                source.readers.wake_all(core);
            }
            if event.is_writable() || event.is_write_closed() || failed {
                source.writable.set(true);
                source.writers.wake_all(core);
            }
        }
        Ok(woken)
    }
}
