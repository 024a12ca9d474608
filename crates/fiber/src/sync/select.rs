//! Waiting for the first of several things.

use std::io;

use crate::core::{self, Core};
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitReason};
use crate::timer::{Target, TimerKey};
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

    /// As [`Source::link`], for one of several waits of a fiber that go on with each other, as those of a
    /// [`Selector`] do. A place that is kept from one to the next, until it is what wakes the fiber, has
    /// no link; what has one gives it back. Does not yield.
    ///
    /// # Errors
    ///
    /// As [`Source::link`].
    #[inline]
    fn stand(&self, waiter: Unparker) -> io::Result<Option<Link>> {
        self.link(waiter).map(Some)
    }

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
    core::within(|core| {
        begin(core, sources)?;
        loop {
            if let Some(selected) = look(core, sources, deadline) {
                return Ok(selected);
            }
            let token = core.prepare()?;
            let timer = deadline.map(|at| set_timer(core, at, token));
            let woken = wait(core, sources, token);
            if let Some(timer) = timer {
                core.cancel_timer(timer);
            }
            woken?;
        }
    })
}

/// Selects again and again, for a fiber that serves something in a loop whose deadline moves on with
/// all that happens, as that of a connection does: the timer stays set from one wait to the next
/// while the deadline is no earlier. What a call answers is what [`select`] would.
///
/// It costs a wake-up that nobody sees when the timer rings before the deadline, and saves setting
/// and unsetting one in each wait. Places in lists of what is waited for are kept likewise.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use fiber::{Event, Instant, Selected, Selector};
///
/// # fiber::Runtime::builder().paused_clock(true).run(|| {
/// let event = Event::new();
/// let mut selector = Selector::new();
/// event.set();
/// let second = Duration::from_secs(1);
/// let selected = selector.select(&[&event], Some(Instant::now() + second))?;
/// assert_eq!(selected, Selected::Ready(0));
/// event.clear();
/// let selected = selector.select(&[&event], Some(Instant::now() + second))?;
/// assert_eq!(selected, Selected::Deadline);
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Selector {
    /// What is set since an earlier wait.
    alarm: Option<Alarm>,
}

#[derive(Clone, Copy, Debug)]
struct Alarm {
    at: Instant,
    timer: TimerKey,
    /// The wait that it ends, and those that go on with it.
    token: Unparker,
}

impl Selector {
    /// One whose timer is not set.
    #[must_use]
    pub const fn new() -> Self {
        Self { alarm: None }
    }

    /// As [`select`]: waits until one of `sources` is ready or `deadline` passed.
    ///
    /// # Errors
    ///
    /// As [`select`].
    ///
    /// # Panics
    ///
    /// As [`select`].
    pub fn select(
        &mut self,
        sources: &[&dyn Source],
        deadline: Option<Instant>,
    ) -> io::Result<Selected> {
        core::within(|core| {
            begin(core, sources)?;
            loop {
                if let Some(selected) = look(core, sources, deadline) {
                    return Ok(selected);
                }
                let token = match &self.alarm {
                    Some(alarm) if alarm.serves(core, deadline) => alarm.token,
                    Some(_) | None => self.begin_wait(core, deadline)?,
                };
                stand_and_wait(core, sources, token)?;
            }
        })
    }

    /// Waits until one of two sources may be ready, or `deadline` may have passed, for who looks at all of
    /// them anyway: it is not told which, and now and then for nothing. Otherwise as
    /// [`Selector::select`].
    ///
    /// # Errors
    ///
    /// As [`select`].
    #[inline]
    pub fn wait_for_either(
        &mut self,
        one: &impl Source,
        other: &impl Source,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        core::within(|core| {
            begin(core, &[])?;
            let is_past = deadline.is_some_and(|at| at.as_nanos() <= core.clock.now());
            if one.is_ready() || other.is_ready() || is_past {
                return Ok(());
            }
            let token = match &self.alarm {
                Some(alarm) if alarm.serves(core, deadline) => alarm.token,
                Some(_) | None => self.begin_wait(core, deadline)?,
            };
            match (one.stand(token)?, other.stand(token)) {
                (None, Ok(None)) => Ok(core.park(WaitReason::Select)?),
                (first, second) => {
                    let woken = match &second {
                        Ok(_) => core.park(WaitReason::Select).map_err(io::Error::from),
                        Err(_) => Ok(()),
                    };
                    if let Some(link) = first {
                        one.unlink(link);
                    }
                    if let Some(link) = second? {
                        other.unlink(link);
                    }
                    woken
                }
            }
        })
    }

    /// Begins a wait, with a timer of its own.
    #[inline(never)]
    fn begin_wait(&mut self, core: &Core, deadline: Option<Instant>) -> io::Result<Unparker> {
        self.unset(core);
        let token = core.prepare()?;
        self.alarm = deadline.map(|at| Alarm {
            at,
            timer: set_timer(core, at, token),
            token,
        });
        Ok(token)
    }

    fn unset(&mut self, core: &Core) {
        if let Some(alarm) = self.alarm.take()
            && alarm.token.runtime == core.id
        {
            core.cancel_timer(alarm.timer);
        }
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        core::with(|core| self.unset(core));
    }
}

impl Alarm {
    /// Whether it ends a wait that begins now, by the deadline if there is one. It has not rung then:
    /// no timer does before the clock shows its time.
    #[inline]
    fn serves(&self, core: &Core, deadline: Option<Instant>) -> bool {
        self.at.as_nanos() > core.clock.now()
            && deadline.is_none_or(|deadline| self.at <= deadline)
            && core.go_on(self.token)
    }
}

/// What comes before a select looks at its sources.
#[inline(always)]
fn begin(core: &Core, sources: &[&dyn Source]) -> Result<(), Stopped> {
    assert!(
        sources.len() <= SELECT_SOURCES_MAX,
        "select takes at most {SELECT_SOURCES_MAX}"
    );
    core.check()?;
    core.spend();
    core.yield_if_spent()
}

#[inline(always)]
fn look(core: &Core, sources: &[&dyn Source], deadline: Option<Instant>) -> Option<Selected> {
    for (index, source) in sources.iter().enumerate() {
        if source.is_ready() {
            return Some(Selected::Ready(index));
        }
    }
    let is_past = deadline.is_some_and(|deadline| deadline.as_nanos() <= core.clock.now());
    is_past.then_some(Selected::Deadline)
}

#[inline]
fn set_timer(core: &Core, at: Instant, token: Unparker) -> TimerKey {
    core.add_timer(at.as_nanos(), Target::Fiber(token))
}

/// Waits once, linked to all of the sources.
#[inline(always)]
fn wait(core: &Core, sources: &[&dyn Source], token: Unparker) -> io::Result<()> {
    let mut links = [const { Link::NONE }; SELECT_SOURCES_MAX];
    let mut linked = 0;
    let mut entered = Ok(());
    for source in sources {
        match source.link(token) {
            Ok(link) => links[linked] = link,
            Err(error) => {
                entered = Err(error);
                break;
            }
        }
        linked += 1;
    }
    let woken = match entered {
        Ok(()) => core.park_apart(WaitReason::Select).map_err(io::Error::from),
        Err(error) => Err(error),
    };
    for (source, link) in sources[..linked].iter().zip(&links) {
        source.unlink(link.given_back());
    }
    woken
}

/// Waits once, standing where it stood, and linked to the rest of the sources.
#[inline(always)]
fn stand_and_wait(core: &Core, sources: &[&dyn Source], token: Unparker) -> io::Result<()> {
    for (index, source) in sources.iter().enumerate() {
        if let Some(link) = source.stand(token)? {
            let waited = wait_with(core, &sources[index + 1..], token);
            source.unlink(link);
            return waited;
        }
    }
    Ok(core.park(WaitReason::Select)?)
}

#[inline(never)]
fn wait_with(core: &Core, sources: &[&dyn Source], token: Unparker) -> io::Result<()> {
    wait(core, sources, token)
}
