//! Lists of who waits for one thing, in order of arrival.
//!
//! Waiters are entries of one slab, linked by index into the list of what they wait for: nothing is
//! allocated to wait. In a [`FrontList`] the first waiter stands in the list itself, for nearly always
//! it is alone; that is cheaper, and a larger list.

use std::cell::Cell;
use std::mem;

use crate::core::{self, Core};
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitReason};
use crate::table::{RESERVED_FROM, Table};

const NONE: u32 = u32::MAX;
const UNLINKED: u32 = u32::MAX - 1;
/// Stands in a [`Link`] for the first of a list, which has no entry.
const FIRST: u32 = u32::MAX - 2;
const _: () = assert!(FIRST >= RESERVED_FROM);

/// A waiter in its list.
pub(crate) struct Waiter {
    /// The wait, without the runtime, which is the list's.
    index: u32,
    generation: u32,
    epoch: u32,
    /// [`UNLINKED`] once it was taken out of its list.
    previous: u32,
    next: u32,
    /// Permits it waits for; none once it was served, and where there are no permits.
    wants: u32,
}

impl Waiter {
    #[inline(always)]
    fn token(&self, core: &Core) -> Unparker {
        Unparker {
            runtime: core.id,
            index: self.index,
            generation: self.generation,
            epoch: self.epoch,
        }
    }
}

/// The waiters of every list of one runtime.
pub(crate) struct Waiters {
    entries: Table<Waiter>,
    free: u32,
    /// Links of waiters that stood first.
    #[cfg(test)]
    first_links: Cell<usize>,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            entries: Table::new(),
            free: NONE,
            #[cfg(test)]
            first_links: Cell::new(0),
        }
    }

    /// Links that are not given back.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> usize {
        let mut free = 0;
        let mut next = self.free;
        while next != NONE {
            free += 1;
            next = self.entries[next].next;
        }
        self.entries.len() as usize - free + self.first_links.get()
    }

    #[inline(always)]
    fn add(&mut self, token: Unparker, wants: u32, previous: u32) -> u32 {
        let waiter = Waiter {
            index: token.index,
            generation: token.generation,
            epoch: token.epoch,
            previous,
            next: NONE,
            wants,
        };
        if self.free == NONE {
            return self.grow(waiter);
        }
        let index = self.free;
        self.free = self.entries[index].next;
        self.entries[index] = waiter;
        index
    }
}

impl Waiters {
    /// Counts links of waiters that stood first.
    #[cfg(test)]
    fn count_first(&self, change: isize) {
        let links = self.first_links.get().checked_add_signed(change);
        self.first_links.set(links.expect("given back once"));
    }

    #[cold]
    fn grow(&mut self, waiter: Waiter) -> u32 {
        self.entries.push(waiter)
    }
}

/// Who waits for one thing, in order of arrival.
#[derive(Debug)]
pub(crate) struct WaitList {
    head: Cell<u32>,
    tail: Cell<u32>,
    /// The runtime whose slab the indexes are of; a list may outlive its runtime.
    runtime: Cell<u32>,
}

impl WaitList {
    pub(crate) const fn new() -> Self {
        Self {
            head: Cell::new(NONE),
            tail: Cell::new(NONE),
            runtime: Cell::new(0),
        }
    }

    /// Takes note of the runtime. Who waited in another one waits no more. Returns whether it is the
    /// same.
    #[inline(always)]
    fn enter_runtime(&self, core: &Core) -> bool {
        let is_same = self.runtime.replace(core.id) == core.id;
        if !is_same {
            self.head.set(NONE);
            self.tail.set(NONE);
        }
        is_same
    }

    /// Appends a wait for permits, to be ended by [`WaitList::serve`].
    pub(crate) fn link_for(&self, core: &Core, token: Unparker, wants: u32) -> Link {
        self.enter_runtime(core);
        let mut waiters = core.waiters.borrow_mut();
        let tail = self.tail.get();
        let index = waiters.add(token, wants, tail);
        match tail {
            NONE => self.head.set(index),
            tail => waiters.entries[tail].next = index,
        }
        self.tail.set(index);
        Link {
            slot: index,
            generation: 0,
        }
    }

    /// Ends a wait, woken or not.
    ///
    /// Returns how many permits it is still without.
    #[inline]
    pub(crate) fn leave(&self, core: &Core, link: Link) -> u32 {
        let mut waiters = core.waiters.borrow_mut();
        if waiters.entries[link.slot].previous != UNLINKED {
            self.cut(&mut waiters, link.slot);
        }
        let free = mem::replace(&mut waiters.free, link.slot);
        let waiter = &mut waiters.entries[link.slot];
        waiter.next = free;
        waiter.wants
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self, core: &Core) -> bool {
        self.head.get() == NONE || self.runtime.get() != core.id
    }

    /// Hands `available` permits out to those who wait, strictly in order: one that there are not
    /// enough for holds back all behind it. A permit goes with a wake, so one whose wait ended
    /// otherwise is passed over.
    pub(crate) fn serve(&self, core: &Core, available: &Cell<u32>) {
        while !self.is_empty(core) {
            let head = self.head.get();
            let (token, wants) = {
                let mut waiters = core.waiters.borrow_mut();
                let waiter = &waiters.entries[head];
                let (token, wants) = (waiter.token(core), waiter.wants);
                if wants > available.get() {
                    return;
                }
                self.cut(&mut waiters, head);
                (token, wants)
            };
            if core.unpark(token) {
                available.set(available.get() - wants);
                core.waiters.borrow_mut().entries[head].wants = 0;
            }
        }
    }

    /// Wakes all that wait now.
    #[inline(always)]
    pub(crate) fn wake_all(&self, core: &Core) {
        while let Some(token) = self.pop(core) {
            core.unpark(token);
        }
    }

    /// As [`WaitList::wake_all`], where that is not put into each place that calls it.
    #[inline(never)]
    pub(crate) fn wake_all_apart(&self, core: &Core) {
        self.wake_all(core);
    }

    #[inline(always)]
    fn pop(&self, core: &Core) -> Option<Unparker> {
        let head = self.head.get();
        if head == NONE || self.runtime.get() != core.id {
            return None;
        }
        let mut waiters = core.waiters.borrow_mut();
        self.cut(&mut waiters, head);
        Some(waiters.entries[head].token(core))
    }

    #[inline]
    fn cut(&self, waiters: &mut Waiters, index: u32) {
        let waiter = &mut waiters.entries[index];
        let previous = mem::replace(&mut waiter.previous, UNLINKED);
        let next = waiter.next;
        match previous {
            NONE => self.head.set(next),
            previous => waiters.entries[previous].next = next,
        }
        match next {
            NONE => self.tail.set(previous),
            next => waiters.entries[next].previous = previous,
        }
    }
}

/// A waiter that stands in its list.
#[derive(Clone, Copy, Debug)]
struct First {
    /// None if there is no such.
    index: u32,
    generation: u32,
    epoch: u32,
    /// Tells it from others that stood there.
    number: u32,
}

/// As [`WaitList`], with a place for the first waiter.
///
/// ```text
///  first ─► head ⇄ entry ⇄ tail     once the first has gone, who comes stands last behind the others
/// ```
#[derive(Debug)]
pub(crate) struct FrontList {
    first: Cell<First>,
    behind: WaitList,
}

impl FrontList {
    pub(crate) const fn new() -> Self {
        let nobody = First {
            index: NONE,
            generation: 0,
            epoch: 0,
            number: 0,
        };
        Self {
            first: Cell::new(nobody),
            behind: WaitList::new(),
        }
    }

    /// Whether nobody waits, in whichever runtime.
    #[inline(always)]
    fn is_vacant(&self) -> bool {
        self.first.get().index == NONE && self.behind.head.get() == NONE
    }

    /// Takes out the one that stands first, if one does.
    #[inline(always)]
    fn take_first(&self) -> Option<First> {
        let first = self.first.get();
        self.first.set(First {
            index: NONE,
            ..first
        });
        (first.index != NONE).then_some(first)
    }

    /// Wakes the first that still waits. Returns whether there was one.
    #[inline(always)]
    pub(crate) fn wake_one(&self, core: &Core) -> bool {
        while let Some(token) = self.pop(core) {
            if core.unpark(token) {
                return true;
            }
        }
        false
    }

    /// As [`FrontList::wake_one`], in this thread's runtime, if there is one.
    #[inline(always)]
    pub(crate) fn wake_one_here(&self) {
        if !self.is_vacant() {
            core::with(|core| self.wake_one(core));
        }
    }

    /// Wakes all that wait now.
    #[inline(always)]
    pub(crate) fn wake_all(&self, core: &Core) {
        if !self.is_vacant() {
            self.wake_each(core);
        }
    }

    fn wake_each(&self, core: &Core) {
        while let Some(token) = self.pop(core) {
            core.unpark(token);
        }
    }

    /// As [`FrontList::wake_all`], in this thread's runtime, if there is one.
    #[inline(always)]
    pub(crate) fn wake_all_here(&self) {
        if !self.is_vacant() {
            core::with(|core| self.wake_each(core));
        }
    }

    /// Has a fiber stand first for this wait and those that go on with it ([`Core::go_on`]), until it is
    /// woken. Its links of earlier waits that were never woken are made use of, so nothing is to be given
    /// back: a wait that is over makes them mean nothing.
    ///
    /// Where another one stands first it is an ordinary link, which is to be given back.
    #[inline(always)]
    pub(crate) fn stand(&self, core: &Core, token: Unparker) -> Option<Link> {
        let first = self.first.get();
        let is_here = self.behind.enter_runtime(core);
        let is_own = first.index == token.index && first.generation == token.generation;
        if is_here && is_own && first.epoch == token.epoch {
            return None;
        }
        if is_here && !is_own && !self.is_vacant() {
            return Some(self.behind.link_for(core, token, 0));
        }
        self.first.set(First {
            index: token.index,
            generation: token.generation,
            epoch: token.epoch,
            number: first.number.wrapping_add(1),
        });
        None
    }

    #[inline(always)]
    fn pop(&self, core: &Core) -> Option<Unparker> {
        if self.behind.runtime.get() != core.id {
            return None;
        }
        match self.take_first() {
            Some(first) => Some(Unparker {
                runtime: core.id,
                index: first.index,
                generation: first.generation,
                epoch: first.epoch,
            }),
            None => self.behind.pop(core),
        }
    }
}

/// What a fiber can wait in.
pub(crate) trait Line {
    /// Appends a wait. The waiting fiber itself gives the link back with [`Line::unlink`].
    fn link(&self, core: &Core, token: Unparker) -> Link;

    /// Ends a wait, woken or not.
    fn unlink(&self, core: &Core, link: Link);
}

impl Line for WaitList {
    #[inline(always)]
    fn link(&self, core: &Core, token: Unparker) -> Link {
        self.link_for(core, token, 0)
    }

    #[inline(always)]
    fn unlink(&self, core: &Core, link: Link) {
        self.leave(core, link);
    }
}

impl Line for FrontList {
    #[inline(always)]
    fn link(&self, core: &Core, token: Unparker) -> Link {
        if !self.behind.enter_runtime(core) {
            self.take_first();
        }
        if !self.is_vacant() {
            return self.behind.link_for(core, token, 0);
        }
        let number = self.first.get().number.wrapping_add(1);
        self.first.set(First {
            index: token.index,
            generation: token.generation,
            epoch: token.epoch,
            number,
        });
        #[cfg(test)]
        core.waiters.borrow().count_first(1);
        Link {
            slot: FIRST,
            generation: number,
        }
    }

    #[inline(always)]
    fn unlink(&self, core: &Core, link: Link) {
        if link.slot != FIRST {
            self.behind.leave(core, link);
            return;
        }
        if self.first.get().number == link.generation {
            self.take_first();
        }
        #[cfg(test)]
        core.waiters.borrow().count_first(-1);
    }
}

/// Parks until the list wakes the running fiber once, or its scope is over.
#[inline(always)]
pub(crate) fn wait_on(core: &Core, list: &impl Line, reason: WaitReason) -> Result<(), Stopped> {
    let token = core.prepare()?;
    let link = list.link(core, token);
    let woken = core.park(reason);
    list.unlink(core, link);
    woken
}

/// As [`wait_on`], where that is not put into each place that calls it: [`Core::park_apart`].
#[inline(never)]
pub(crate) fn wait_apart(core: &Core, list: &WaitList, reason: WaitReason) -> Result<(), Stopped> {
    wait_on(core, list, reason)
}
