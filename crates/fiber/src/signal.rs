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
use std::os::fd::{AsFd, AsRawFd, RawFd};
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

impl Side {
    /// Begins to listen; returns the descriptor that is readable when a signal came.
    fn new(core: &Core, watched: &[Watched]) -> io::Result<(Self, RawFd)> {
        #[cfg(feature = "sim")]
        if let Some(sim) = &core.sim {
            let flags = watched.iter().map(|w| (w.signal, Arc::clone(&w.pending)));
            let fd = sim.listen_to_signals(core, flags.collect());
            return Ok((Self::Sim(fd), fd));
        }
        #[cfg(not(feature = "sim"))]
        let _ = core;
        let (sender, receiver) = pipe::new()?;
        let fd = receiver.as_raw_fd();
        let mut registered = Registered(Vec::with_capacity(2 * watched.len()));
        for Watched { signal, pending } in watched {
            // The order of registration is the order in the handler: the flag before the byte.
            let flag = signal_hook::flag::register(signal.number(), Arc::clone(pending))?;
            registered.0.push(flag);
            let sender = sender.as_fd().try_clone_to_owned()?;
            let byte = signal_hook::low_level::pipe::register(signal.number(), sender)?;
            registered.0.push(byte);
            sys::handle_on_alternate_stack(signal.number())?;
        }
        let side = Self::System {
            _registered: registered,
            sender,
            receiver,
        };
        Ok((side, fd))
    }

    /// Wakes who waits, as the handler does.
    fn wake(&self, core: &Core) {
        match self {
            Self::System { sender, .. } => {
                let _ = core;
                // A full pipe wakes as well as one byte more.
                let _ = (&*sender).write(b"X");
            }
            #[cfg(feature = "sim")]
            Self::Sim(fd) => {
                if let Some(sim) = &core.sim {
                    sim.edge(*fd);
                }
            }
        }
    }

    /// Takes of what woke, and says whether there was anything.
    fn take(&self) -> bool {
        match self {
            Self::System { receiver, .. } => match (&*receiver).read(&mut [0; 64]) {
                Err(error) => error.kind() == ErrorKind::Interrupted,
                Ok(read) => read > 0,
            },
            #[cfg(feature = "sim")]
            Self::Sim(_) => false,
        }
    }

    fn end(&self, core: &Core) {
        match self {
            Self::System { .. } => {
                let _ = core;
            }
            #[cfg(feature = "sim")]
            Self::Sim(fd) => {
                if let Some(sim) = &core.sim {
                    sim.close(*fd);
                }
            }
        }
    }
}

/// Entries of the handler, which are taken out with the value.
struct Registered(Vec<SigId>);

impl Drop for Registered {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            signal_hook::low_level::unregister(id);
        }
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
///
/// In the simulator they come from `sim::Host::signal`, and tell the programs of one machine.
pub struct Signals {
    watched: Vec<Watched>,
    side: Side,
    bits: Rc<Readiness>,
    core: Rc<Core>,
}

/// Where the signals come from.
enum Side {
    System {
        /// Stands first to be dropped first: nothing writes to a pipe that is gone.
        _registered: Registered,
        sender: Sender,
        receiver: Receiver,
    },
    /// A number in the simulated world.
    #[cfg(feature = "sim")]
    Sim(RawFd),
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
        let mut watched: Vec<Watched> = Vec::with_capacity(signals.len());
        for &signal in signals {
            if watched.iter().all(|watched| watched.signal != signal) {
                let pending = Arc::new(AtomicBool::new(false));
                watched.push(Watched { signal, pending });
            }
        }
        let (side, fd) = Side::new(&core, &watched)?;
        let listening = Self {
            watched,
            side,
            bits: Readiness::new(fd),
            core,
        };
        // Watched from the start: a wait need not be able to fail for want of it.
        listening
            .bits
            .would_block(&listening.core, Direction::Read)?;
        Ok(listening)
    }

    /// Acts as though the system had delivered `signal`, to this value alone: for tests, and for
    /// programs that have other ways to be told the same. Does not yield.
    ///
    /// A signal that is not listened to is nothing.
    pub fn inject(&self, signal: Signal) {
        if let Some(watched) = self.watched.iter().find(|w| w.signal == signal) {
            watched.pending.store(true, Ordering::SeqCst);
            self.side.wake(&self.core);
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
            let woken = self.core.park_apart(WaitReason::Signal);
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
        while self.bits.is_ready(Direction::Read) {
            if !self.side.take() {
                // Registered already, so that this only clears the bit and cannot fail.
                drop(self.bits.would_block(&self.core, Direction::Read));
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
        // Before its descriptor is closed.
        self.bits.close(&self.core);
        self.side.end(&self.core);
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.watched.iter().map(|watched| watched.signal))
            .finish()
    }
}
