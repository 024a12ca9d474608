//! Waiting for the first of several things.

use std::io;

use crate::core;
use crate::park::{Link, Unparker, WaitReason};
use crate::timer::Target;
use crate::world::clock::Instant;

/// Sources that one [`select`] can take.
pub const SELECT_SOURCES_MAX: usize = 8;

/// Something to wait for: values, room, events, permits, the end of fibers, readiness, time.
///
/// Being ready consumes nothing: what it is ready with is taken by a call of its own, which then
/// does not wait. Types outside this crate delegate to one of its own.
pub trait Source {
    /// Whether it is ready now. Does not yield.
    fn is_ready(&self) -> bool;

    /// Enters a wait, to be woken once when it may be ready. Does not yield.
    ///
    /// # Errors
    ///
    /// What the system answered when it could not watch a descriptor.
    fn link(&self, waiter: Unparker) -> io::Result<Link>;

    /// Ends a wait entered by [`Source::link`].
    fn unlink(&self, link: Link);
}

/// What a [`select`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The first source, in the order given, that is ready.
    Ready(usize),
    /// The deadline passed and no source was ready.
    Deadline,
}

/// Waits until one of `sources` is ready or `deadline` passed. Yields unless one is ready at
/// once, and then too after 128 operations without a wait, so that a loop around this call starves
/// nobody. The deadline is this call's own, beside those of the scopes around it.
///
/// # Errors
///
/// An [`io::Error`] when a descriptor could not be watched or the wait ended early, see
/// [`crate::cause`].
///
/// # Panics
///
/// With more than [`SELECT_SOURCES_MAX`] sources.
pub fn select(sources: &[&dyn Source], deadline: Option<Instant>) -> io::Result<Selected> {
    assert!(
        sources.len() <= SELECT_SOURCES_MAX,
        "select takes at most {SELECT_SOURCES_MAX}"
    );
    let core = core::required()?;
    core.check()?;
    core.spend();
    core.yield_if_spent()?;
    loop {
        if let Some(index) = sources.iter().position(|source| source.is_ready()) {
            return Ok(Selected::Ready(index));
        }
        if deadline.is_some_and(|deadline| deadline.as_nanos() <= core.clock.now()) {
            return Ok(Selected::Deadline);
        }
        let token = core.prepare()?;
        let mut links: [Option<Link>; SELECT_SOURCES_MAX] = [const { None }; SELECT_SOURCES_MAX];
        let mut failed = None;
        for (source, link) in sources.iter().zip(&mut links) {
            match source.link(token) {
                Ok(linked) => *link = Some(linked),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let timer =
            deadline.map(|deadline| core.add_timer(deadline.as_nanos(), Target::Fiber(token)));
        let woken = match failed {
            Some(error) => Err(error),
            None => core.park(WaitReason::Select).map_err(io::Error::from),
        };
        if let Some(timer) = timer {
            core.cancel_timer(timer);
        }
        for (source, link) in sources.iter().zip(links) {
            if let Some(link) = link {
                source.unlink(link);
            }
        }
        woken?;
    }
}
