//! Seeing which fibers there are: what each does, where it was spawned, for how long it lives.
//!
//! One form serves the program that asks, the report of a deadlock and that of what is left at
//! shutdown: a line for each fiber, of bounded length and number. Nothing is kept for it but a few
//! numbers per fiber.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::time::Duration;

use crate::core::{self, Core};
use crate::park::WaitReason;
#[cfg(feature = "sim")]
use crate::scheduler::Fiber;
use crate::scheduler::{Fibers, State};

/// Fibers that a text names one by one.
pub(crate) const DESCRIBED_MAX: usize = 64;
/// Characters of a fiber's name that a text shows.
const NAME_SHOWN_MAX: usize = 64;

/// Names a fiber of one runtime: its slot, and which fiber in that slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiberId {
    index: u32,
    generation: u32,
}

impl fmt::Display for FiberId {
    /// The slot, and the generation unless the fiber is the first in it: `3`, `3.17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => self.index.fmt(f),
            generation => write!(f, "{}.{generation}", self.index),
        }
    }
}

/// What a fiber does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FiberState {
    /// It runs: it is the one that asks.
    Running,
    /// It can run, and waits for its turn.
    Ready,
    /// It waits.
    Parked(WaitReason),
    /// It has ended. Only in reports of what it did before.
    Ended,
}

impl fmt::Display for FiberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("runs"),
            Self::Ready => f.write_str("is ready"),
            Self::Parked(reason) => write!(f, "waits for {reason:?}"),
            Self::Ended => f.write_str("has ended"),
        }
    }
}

/// One fiber, as it was when it was asked for.
///
/// Its text is one line: number, name, what it does, where it was spawned, its age, its turns, its
/// stack.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FiberInfo {
    /// Which fiber.
    pub id: FiberId,
    /// Its name; empty if it has none.
    pub name: Cow<'static, str>,
    /// What it does.
    pub state: FiberState,
    /// Where it was spawned.
    pub spawned_at: &'static Location<'static>,
    /// How long ago it was spawned, by the time the runtime last read.
    pub age: Duration,
    /// How often it was given its turn.
    pub resumes: u64,
    /// Bytes of its stack that were in use at most, see [`crate::stack_high_water`].
    pub stack_high_water: Option<usize>,
}

impl FiberInfo {
    /// What the fiber waits for, if it waits.
    #[must_use]
    pub fn wait_reason(&self) -> Option<WaitReason> {
        match self.state {
            FiberState::Parked(reason) => Some(reason),
            FiberState::Running | FiberState::Ready | FiberState::Ended => None,
        }
    }
}

impl fmt::Display for FiberInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fiber {}", self.id)?;
        if !self.name.is_empty() {
            let mut rest = self.name.chars();
            let shown: String = rest.by_ref().take(NAME_SHOWN_MAX).collect();
            let cut = if rest.next().is_some() { ".." } else { "" };
            // Escaped: a name may hold a line end.
            write!(f, " {shown:?}{cut}")?;
        }
        let (state, place, age) = (self.state, self.spawned_at, Length(self.age));
        write!(f, " {state}, spawned at {place}, {age} old, ")?;
        match self.resumes {
            1 => f.write_str("1 turn")?,
            turns => write!(f, "{turns} turns")?,
        }
        match self.stack_high_water {
            Some(bytes) => write!(f, ", {bytes} bytes of stack"),
            None => Ok(()),
        }
    }
}

/// A duration with one digit behind the point, rounded: as its `Debug` with `.1`, which is four times as
/// much code.
struct Length(Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX);
        let (of, unit) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            1_000_000_000.. => (1_000_000_000, "s"),
        };
        // Of the unit a tenth is a whole number but for nanoseconds, which have none.
        let tenths = if of == 1 {
            nanos.saturating_mul(10)
        } else {
            (nanos + of / 20) / (of / 10)
        };
        write!(f, "{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

/// Fibers of a runtime, in order of their slots, see [`fibers`].
///
/// Its text has a line for each of the first 64, and a last one if there are more; no line end after
/// the last.
#[derive(Clone, Debug, Default)]
pub struct FiberList {
    fibers: Vec<FiberInfo>,
    /// How many were left out.
    more: usize,
}

impl Deref for FiberList {
    type Target = [FiberInfo];

    fn deref(&self) -> &[FiberInfo] {
        &self.fibers
    }
}

impl IntoIterator for FiberList {
    type Item = FiberInfo;
    type IntoIter = std::vec::IntoIter<FiberInfo>;

    fn into_iter(self) -> Self::IntoIter {
        self.fibers.into_iter()
    }
}

impl From<FiberList> for Vec<FiberInfo> {
    fn from(list: FiberList) -> Self {
        list.fibers
    }
}

impl fmt::Display for FiberList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.fibers[..self.fibers.len().min(DESCRIBED_MAX)];
        for (index, fiber) in shown.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{fiber}")?;
        }
        match self.fibers.len() - shown.len() + self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// All fibers of this thread's runtime that have not ended, the caller among them; none outside a
/// runtime. Does not yield. Allocates for all of them, and asks the system about the stack of each.
///
/// # Examples
///
/// ```
/// # fiber::run(|| {
/// let (_sender, receiver) = fiber::channel::<u8>(1);
/// fiber::FiberBuilder::new().name("reader").spawn(move || receiver.recv()).unwrap();
/// fiber::yield_now().unwrap();
/// let fibers = fiber::fibers();
/// assert_eq!(fibers[1].wait_reason(), Some(fiber::WaitReason::Receive));
/// assert!(fibers.to_string().contains("fiber 1 \"reader\" waits for Receive, spawned at "));
/// # }).unwrap();
/// ```
#[must_use]
pub fn fibers() -> FiberList {
    match core::current() {
        Some(core) => core.fiber_list(usize::MAX),
        None => FiberList::default(),
    }
}

impl Core {
    /// The first `max` fibers that have not ended, and how many more there are.
    pub(crate) fn fiber_list(&self, max: usize) -> FiberList {
        let fibers = self.fibers.borrow();
        let now = self.clock.now();
        let listed: Vec<_> = (0..fibers.slots())
            .filter(|&index| fibers[index].state != State::Free)
            .take(max)
            .map(|index| info(&fibers, index, now))
            .collect();
        FiberList {
            more: fibers.live - listed.len(),
            fibers: listed,
        }
    }

    /// All fibers that have not ended and are so.
    #[cfg(feature = "sim")]
    pub(crate) fn fiber_list_where(&self, is_so: impl Fn(&Fiber) -> bool) -> FiberList {
        let fibers = self.fibers.borrow();
        let now = self.clock.now();
        let listed = (0..fibers.slots())
            .filter(|&index| fibers[index].state != State::Free && is_so(&fibers[index]));
        FiberList {
            fibers: listed.map(|index| info(&fibers, index, now)).collect(),
            more: 0,
        }
    }

    /// One fiber; also one whose body has ended, until it is removed.
    pub(crate) fn fiber_info(&self, index: u32) -> FiberInfo {
        info(&self.fibers.borrow(), index, self.clock.now())
    }
}

fn info(fibers: &Fibers, index: u32, now: u64) -> FiberInfo {
    let fiber = &fibers[index];
    fibers.with_facts(index, |facts, stack| FiberInfo {
        id: FiberId {
            index,
            generation: fiber.generation,
        },
        name: facts.name.clone(),
        state: match fiber.state {
            State::Free => FiberState::Ended,
            State::Running => FiberState::Running,
            State::Ready => FiberState::Ready,
            State::Parked => FiberState::Parked(fiber.reason),
        },
        spawned_at: facts.location,
        age: Duration::from_nanos(now.saturating_sub(facts.born)),
        resumes: facts.resumes.get(),
        stack_high_water: Some(stack.touched()),
    })
}

#[cfg(test)]
mod tests {
    use super::{Duration, Length};

    #[test]
    fn lengths_are_told_as_those_of_the_standard_library() {
        let edges = [0, 1, 9, 10, 49, 50, 51, 94, 95, 99, 100, 999];
        let nanos = edges.iter().flat_map(|nanos: &u64| {
            [1_u64, 1_000, 1_000_000, 1_000_000_000, 60_000_000_000].map(|of| (*nanos, of))
        });
        for (nanos, of) in nanos {
            for length in [
                nanos * of,
                nanos * of + of / 2,
                (nanos * of + of).saturating_sub(1),
            ] {
                let length = Duration::from_nanos(length);
                assert_eq!(Length(length).to_string(), format!("{length:.1?}"));
            }
        }
    }
}
