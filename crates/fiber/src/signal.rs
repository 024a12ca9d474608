//! Signals of the operating system, as something to wait for: an inlet of the runtime.
//!
//! The handler sets a flag and writes one byte into a pipe that the reactor watches; what is to be
//! done about the signal is done by a fiber. Several deliveries of one signal before it is received
//! are one, as they are for the system. Signals that report a fault of the program are not here.
//!
//! ```text
//!  any thread, in the handler          the runtime's thread
//!  flag of the signal := set    ──►    pipe is readable: wake who waits
//!  one byte into the pipe              empty the pipe, then take the flags
//! ```
//!
//! The handler runs on the alternate stack of its thread where there is one, as in the thread of a
//! runtime that reports overflows and in all threads of std: a fiber need not have room for the frame
//! of up to 12 KiB that the system puts there. It calls nothing but an atomic store and `write`.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::unix::pipe::{self, Receiver, Sender};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::core::{self, Core};
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitReason};
use crate::sync::Source;
use crate::sys;
use crate::world::net::{Direction, Readiness};

/// A signal that a program can be told something by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGTERM`: end, in good order. What service managers send.
    Terminate,
    /// `SIGINT`: the same from a terminal, by Ctrl-C.
    Interrupt,
    /// `SIGHUP`: the terminal is gone; for a service by custom: read the configuration again.
    Hangup,
    /// `SIGUSR1`: whatever the program says it means.
    User1,
    /// `SIGUSR2`: likewise.
    User2,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Self::Terminate => SIGTERM,
            Self::Interrupt => SIGINT,
            Self::Hangup => SIGHUP,
            Self::User1 => SIGUSR1,
            Self::User2 => SIGUSR2,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
        })
    }
}

/// One signal of a [`Signals`].
struct Watched {
    signal: Signal,
    /// Set by the handler, taken by whoever receives the signal.
    pending: Arc<AtomicBool>,
}

/// The signals that a program listens to.
///
/// From [`Signals::listen`] on these signals do not do what they do by default: `SIGTERM` no longer
/// ends the process. **That stays so when the value is dropped**: from then on they do nothing at
/// all, so a program keeps the value until its end, or listens anew. Every value gets every signal,
/// in whichever thread and runtime it lives. A child process starts with the defaults again.
///
/// # Examples
/// ```
/// use fiber::signal::{Signal, Signals};
///
/// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
///     let signals = Signals::listen(&[Signal::Terminate, Signal::Interrupt])?;
///     signals.inject(Signal::Terminate);
///     assert_eq!(signals.recv()?, Signal::Terminate);
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Signals {
    watched: Vec<Watched>,
    registered: Vec<SigId>,
    sender: Sender,
    receiver: Receiver,
    bits: Rc<Readiness>,
    core: Rc<Core>,
}

impl Signals {
    /// Listens to `signals` from now on. Does not yield.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for no signal at all; what the system answered, for example when
    /// it has no more descriptors: it takes two and one for each signal; [`Stopped::NoRuntime`].
    pub fn listen(signals: &[Signal]) -> io::Result<Self> {
        let core = core::required()?;
        if signals.is_empty() {
            let what = "expected at least one signal to listen to, found none";
            return Err(io::Error::new(ErrorKind::InvalidInput, what));
        }
        let (sender, receiver) = pipe::new()?;
        let bits = Readiness::new(receiver.as_raw_fd());
        let mut listening = Self {
            watched: Vec::with_capacity(signals.len()),
            registered: Vec::with_capacity(2 * signals.len()),
            sender,
            receiver,
            bits,
            core,
        };
        // Watched from the start: a wait need not be able to fail for want of it.
        listening
            .bits
            .would_block(&listening.core, Direction::Read)?;
        for &signal in signals {
            listening.add(signal)?;
        }
        Ok(listening)
    }

    fn add(&mut self, signal: Signal) -> io::Result<()> {
        if self.watched.iter().any(|watched| watched.signal == signal) {
            return Ok(());
        }
        let pending = Arc::new(AtomicBool::new(false));
        // The order of registration is the order in the handler: the flag before the byte.
        let flag = signal_hook::flag::register(signal.number(), Arc::clone(&pending))?;
        self.registered.push(flag);
        let sender = self.sender.as_fd().try_clone_to_owned()?;
        let byte = signal_hook::low_level::pipe::register(signal.number(), sender)?;
        self.registered.push(byte);
        sys::handle_on_alternate_stack(signal.number())?;
        self.watched.push(Watched { signal, pending });
        Ok(())
    }

    /// Acts as though the system had delivered `signal`, to this value alone: for tests, and for
    /// programs that have other ways to be told the same. Does not yield.
    ///
    /// A signal that is not listened to is nothing.
    pub fn inject(&self, signal: Signal) {
        if let Some(watched) = self.watched.iter().find(|w| w.signal == signal) {
            watched.pending.store(true, Ordering::SeqCst);
            // A full pipe wakes as well as one byte more.
            let _ = (&self.sender).write(b"X");
        }
    }

    /// Receives the next signal; of several, the one named first to [`Signals::listen`]. Yields
    /// until there is one. Of several fibers that wait, one gets it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the wait ended early.
    pub fn recv(&self) -> Result<Signal, Stopped> {
        self.core.check()?;
        self.core.spend();
        self.core.yield_if_spent()?;
        loop {
            if let Some(signal) = self.try_recv() {
                return Ok(signal);
            }
            let token = self.core.prepare()?;
            let link = self
                .bits
                .link(&self.core, Direction::Read, token)
                .map_err(|_| Stopped::NoRuntime)?;
            let woken = self.core.park(WaitReason::Signal);
            self.bits.unlink(&self.core, Direction::Read, link);
            woken?;
        }
    }

    /// Receives a signal that is there already. Neither waits nor yields.
    #[must_use]
    pub fn try_recv(&self) -> Option<Signal> {
        self.empty_pipe();
        self.watched
            .iter()
            .find(|watched| watched.pending.swap(false, Ordering::SeqCst))
            .map(|watched| watched.signal)
    }

    /// Takes all bytes, before the flags are looked at: whatever comes later is a new edge.
    fn empty_pipe(&self) {
        let mut bytes = [0; 64];
        while self.bits.is_ready(Direction::Read) {
            match (&self.receiver).read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(read) if read > 0 => {}
                // Registered already, so that this only clears the bit and cannot fail.
                _ => drop(self.bits.would_block(&self.core, Direction::Read)),
            }
        }
    }
}

impl Source for Signals {
    fn is_ready(&self) -> bool {
        self.empty_pipe();
        self.watched
            .iter()
            .any(|watched| watched.pending.load(Ordering::SeqCst))
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        self.bits.link(&self.core, Direction::Read, waiter)
    }

    fn unlink(&self, link: Link) {
        self.bits.unlink(&self.core, Direction::Read, link);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
        self.bits.close(&self.core);
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.watched.iter().map(|watched| watched.signal))
            .finish()
    }
}
