//! Why a wait ended early, and the errors of starting and ending fibers.

use std::error::Error;
use std::fmt;
use std::io;

use crate::coroutine::PanicPayload;
use crate::world::net::Forked;

/// Why a wait ended without what it waited for.
///
/// Every call that waits returns this, by itself or inside its own error; [`cause`] finds it
/// again. Converted to an [`io::Error`] a deadline is [`io::ErrorKind::TimedOut`] and all else
/// [`io::ErrorKind::Other`]: never `Interrupted`, `WouldBlock` or `UnexpectedEof`, which layers
/// above would retry or take for a clean end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stopped {
    /// The deadline of an enclosing scope passed.
    TimedOut,
    /// An enclosing scope was cancelled.
    Cancelled,
    /// The call was made outside a fiber, or its runtime is over.
    NoRuntime,
    /// The fiber is unwinding from a panic and may not wait.
    Unwinding,
    /// The call was made where waiting is not allowed, see [`crate::no_park`] and
    /// [`crate::on_big_stack`].
    WouldWait,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the deadline passed",
            Self::Cancelled => "the wait was cancelled",
            Self::NoRuntime => "not inside a fiber of a running runtime",
            Self::Unwinding => "a fiber that unwinds from a panic may not wait",
            Self::WouldWait => "waiting is not allowed here",
        })
    }
}

impl Error for Stopped {}

impl From<Stopped> for io::Error {
    fn from(stopped: Stopped) -> Self {
        let kind = match stopped {
            Stopped::TimedOut => io::ErrorKind::TimedOut,
            Stopped::Cancelled | Stopped::NoRuntime | Stopped::Unwinding | Stopped::WouldWait => {
                io::ErrorKind::Other
            }
        };
        Self::new(kind, stopped)
    }
}

/// Finds the [`Stopped`] inside an error: itself, a source of it, or the payload of an
/// [`io::Error`] on the way.
#[must_use]
pub fn cause(error: &(dyn Error + 'static)) -> Option<Stopped> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(stopped) = error.downcast_ref::<Stopped>() {
            return Some(*stopped);
        }
        // The payload of an io::Error is not its source; the payload's own source is.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(payload) => Some(payload as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Why a fiber could not be started.
#[non_exhaustive]
pub enum SpawnError {
    /// The call was made outside a fiber, or the runtime is over.
    NoRuntime,
    /// The fiber is unwinding from a panic and may start nothing.
    Unwinding,
    /// The call was made where waiting is not allowed, and the fiber's end would have to be waited
    /// for.
    WouldWait,
    /// The runtime has as many fibers as it may have.
    FiberLimit {
        /// The bound that was reached, see [`crate::RuntimeBuilder::fibers_max`].
        fibers_max: usize,
    },
    /// More stack was asked for than the largest has, [`crate::STACK_BYTES_MAX`].
    StackTooLarge {
        /// What was asked for.
        bytes: usize,
    },
    /// The process has as many guarded stacks as it may have: each costs two mappings, and all
    /// together may use 80 % of those (see [`crate::StackGuards::Pages`]). Stacks are used again
    /// once their fibers end.
    StackLimit {
        /// The bound that was reached, of all runtimes of the process together.
        stacks_max: usize,
        /// Why it is that: the mappings of the process, `vm.max_map_count`.
        mappings_max: usize,
    },
    /// No stack could be had from the system.
    Stack(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime => Stopped::NoRuntime.fmt(f),
            Self::Unwinding => f.write_str("a fiber that unwinds from a panic may start nothing"),
            Self::WouldWait => Stopped::WouldWait.fmt(f),
            Self::FiberLimit { fibers_max } => {
                write!(f, "the runtime already has {fibers_max} fibers, its bound")
            }
            Self::StackTooLarge { bytes } => write!(
                f,
                "asked for {bytes} bytes of stack, the largest has {}",
                crate::STACK_BYTES_MAX
            ),
            Self::StackLimit {
                stacks_max,
                mappings_max,
            } => write!(
                f,
                "the process already has {stacks_max} stacks, the bound where each needs two of \
                 {mappings_max} mappings (vm.max_map_count) for its guard"
            ),
            Self::Stack(_) => f.write_str("no memory for another fiber's stack"),
        }
    }
}

/// As its text: a program whose `main` returns it says what it means.
impl fmt::Debug for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match self {
            Self::Stack(error) => write!(f, ": {error}"),
            _ => Ok(()),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stack(error) => Some(error),
            Self::NoRuntime
            | Self::Unwinding
            | Self::WouldWait
            | Self::FiberLimit { .. }
            | Self::StackTooLarge { .. }
            | Self::StackLimit { .. } => None,
        }
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        Self::other(error)
    }
}

/// Why a join gave no value.
#[non_exhaustive]
pub enum JoinError {
    /// The fiber panicked; this is what it panicked with.
    Panicked(PanicPayload),
    /// The wait for it ended early. The handle is still good.
    Stopped(Stopped),
    /// Its value was already taken by an earlier join.
    Taken,
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(payload) => write!(f, "Panicked({:?})", panic_text(payload)),
            Self::Stopped(stopped) => write!(f, "Stopped({stopped:?})"),
            Self::Taken => f.write_str("Taken"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(payload) => write!(f, "the fiber panicked: {}", panic_text(payload)),
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::Taken => f.write_str("the fiber's value was already taken"),
        }
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Stopped(stopped) => Some(stopped),
            Self::Panicked(_) | Self::Taken => None,
        }
    }
}

/// Why a runtime did not start, or did not give its main fiber's value.
#[non_exhaustive]
pub enum RunError {
    /// This thread already runs a runtime.
    Nested,
    /// The event loop could not be made, or failed.
    Reactor(io::Error),
    /// The main fiber could not be started.
    Spawn(SpawnError),
    /// The main fiber panicked; this is what it panicked with.
    Panicked(PanicPayload),
    /// Every fiber waited and nothing was left that could wake one. The text names them, as
    /// [`crate::FiberList`] does.
    Deadlock(String),
    /// The main fiber did not end within the grace period and was leaked.
    Leaked,
    /// This process was forked from the one that the runtime belongs to, where it goes on.
    Forked,
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nested => f.write_str("this thread already runs a runtime"),
            Self::Reactor(_) => f.write_str("the event loop failed"),
            Self::Spawn(_) => f.write_str("the main fiber could not be started"),
            Self::Panicked(payload) => {
                write!(f, "the main fiber panicked: {}", panic_text(payload))
            }
            Self::Deadlock(fibers) => {
                write!(f, "every fiber waits and nothing can wake one:\n{fibers}")
            }
            Self::Leaked => f.write_str("the main fiber did not end within the grace period"),
            Self::Forked => Forked.fmt(f),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Reactor(error) => Some(error),
            Self::Spawn(error) => Some(error),
            Self::Nested | Self::Panicked(_) | Self::Deadlock(_) | Self::Leaked | Self::Forked => {
                None
            }
        }
    }
}

/// The text a panic carried, where it carried one.
fn panic_text(payload: &PanicPayload) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "no text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_found_through_io_errors() {
        for stopped in [Stopped::TimedOut, Stopped::Cancelled, Stopped::NoRuntime] {
            let wrapped = io::Error::other(io::Error::from(stopped));
            assert_eq!(cause(&wrapped), Some(stopped));
        }
        assert_eq!(cause(&io::Error::other("else")), None);
    }

    #[test]
    fn a_stop_never_has_a_kind_that_layers_above_retry() {
        let all = [
            Stopped::TimedOut,
            Stopped::Cancelled,
            Stopped::NoRuntime,
            Stopped::Unwinding,
            Stopped::WouldWait,
        ];
        for stopped in all {
            let kind = io::Error::from(stopped).kind();
            assert_eq!(
                kind == io::ErrorKind::TimedOut,
                stopped == Stopped::TimedOut
            );
            assert!(kind == io::ErrorKind::TimedOut || kind == io::ErrorKind::Other);
        }
    }
}
