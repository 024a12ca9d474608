//! The loop of a server: a fiber for each connection, and none accepted that cannot be served.
//!
//! ```text
//!            a place is free        a fiber is there        a connection came
//!  full ───► [connections_max] ───► [spawned, parked] ───► accept ──► handed to that fiber
//!    ▲                                    │ none to be had     │ no descriptor, no memory
//!    │                                    └──► rest ◄──────────┘
//!    └─────────────────────────────────────────────────────────────── next
//! ```
//!
//! The fiber comes before the connection, so whatever is short, connections wait in the kernel's
//! queue and nowhere else; it also means that a listener which serves has one fiber to spare.

use core::convert::Infallible;
use core::fmt;
use std::borrow::Cow;
use std::io;

use fiber::{AcquireError, FiberBuilder, Instant, Permit, Semaphore, SpawnError, Stopped};

use crate::contain::contain;
use crate::error::Error;
use crate::listener::{Incoming, Listener};
use crate::log_gate::LogGate;
use crate::socket::Socket;

/// Connections that [`Listener::serve`] has at the same time unless set otherwise.
pub const SERVE_CONNECTIONS_DEFAULT: u32 = 256;

/// How a listener serves.
///
/// # Examples
/// ```
/// let options = safe_rt::ServeOptions::new()
///     .name("meter port")
///     .connections_max(32)
///     .stack_size(64 * 1024);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct ServeOptions {
    name: Cow<'static, str>,
    connections_max: u32,
    stack_bytes: Option<usize>,
}

impl ServeOptions {
    /// Starts with [`SERVE_CONNECTIONS_DEFAULT`], the name "connection" and stacks of the default
    /// size.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            name: Cow::Borrowed("connection"),
            connections_max: SERVE_CONNECTIONS_DEFAULT,
            stack_bytes: None,
        }
    }

    /// Names the fibers of the connections in logs and reports.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how many connections there are at the same time, those in their handshake included; at
    /// least one. The next ones wait in the kernel's queue.
    #[must_use]
    pub fn connections_max(mut self, connections_max: u32) -> Self {
        self.connections_max = connections_max.max(1);
        self
    }

    /// Sets the size of the connections' stacks, see [`FiberBuilder::stack_size`].
    #[must_use]
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    fn fiber(&self) -> FiberBuilder {
        let fiber = FiberBuilder::new().name(self.name.clone());
        match self.stack_bytes {
            None => fiber,
            Some(bytes) => fiber.stack_size(bytes),
        }
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// Serves connections until a scope around this call is over: each has a fiber of its own, on
    /// which its handshake is done and then `handler` called.
    ///
    /// **Nothing is accepted that cannot be served.** While [`ServeOptions::connections_max`]
    /// connections are there, while descriptors or memory are short, and while no fiber can be had,
    /// further ones wait in the kernel's queue: the listener waits for a connection to end, or rests
    /// for [`ACCEPT_PAUSE`](crate::ACCEPT_PAUSE) and tries again. It does not spin, and serves as
    /// before once the shortage is over. Shortages are in the log, and so is that it has as many
    /// connections as it may have: in one line each per ten seconds at most.
    ///
    /// **A connection ends alone.** A handshake that fails, or lasts longer than
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`](crate::HANDSHAKE_TIMEOUT_DEFAULT), an error that the handler
    /// returns and a panic in it end that connection; each is counted in [`Listener::stats`] and
    /// logged, in one line per kind and ten seconds at most. What the handler waits for has no other
    /// limit than the handler sets: use [`fiber::timeout`] against clients that go silent.
    ///
    /// **It ends in order.** The connections are children of this call: once a scope around it is
    /// over, no more are accepted, the waits of the handlers fail, and this returns when the last
    /// handler has. So handlers may borrow what surrounds the call. To stop serving from elsewhere,
    /// use [`fiber::cancellable`], or cancel the fiber that serves.
    ///
    /// Yields while it waits for connections.
    ///
    /// # Errors
    /// [`Phase::Accept`](crate::Phase::Accept), always in the end: an ambient scope is over, or the
    /// listener is broken, which also cancels the handlers.
    ///
    /// # Examples
    /// ```
    /// use std::cell::Cell;
    /// use std::io::{Read, Write};
    /// use safe_rt::{Listener, ServeOptions};
    ///
    /// fiber::run(|| -> Result<(), Box<dyn std::error::Error>> {
    ///     let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
    ///     let address = listener.local_addr()?;
    ///     let served = Cell::new(0);
    ///     let ended = fiber::cancellable(|stop| {
    ///         let stop = stop.clone();
    ///         fiber::spawn(move || -> std::io::Result<()> {
    ///             let mut text = String::new();
    ///             fiber::net::TcpStream::connect(address)?.read_to_string(&mut text)?;
    ///             assert_eq!(text, "hello");
    ///             stop.cancel();
    ///             Ok(())
    ///         })
    ///         .map_err(std::io::Error::from)?;
    ///         listener
    ///             .serve(&ServeOptions::new(), |socket| {
    ///                 served.set(served.get() + 1);
    ///                 (&socket).write_all(b"hello")?;
    ///                 socket.close()
    ///             })
    ///             .map_err(std::io::Error::other)
    ///     });
    ///     assert!(ended.is_err(), "it was cancelled");
    ///     assert_eq!((served.get(), listener.stats().accepted), (1, 1));
    ///     Ok(())
    /// })
    /// .expect("the runtime ran")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<H>(&self, options: &ServeOptions, handler: H) -> Result<Infallible, Error>
    where
        H: Fn(Socket) -> io::Result<()>,
    {
        let told = LogGate::default();
        self.serve_incoming(options, |incoming| match incoming.handshake() {
            Ok(socket) => handler(socket),
            Err(error) => {
                self.count(|stats| stats.handshakes_failed += 1);
                if let Some(more) = told.pass(Instant::recent()) {
                    log::info!(
                        "a connection failed in its handshake{}: {error}",
                        After(more)
                    );
                }
                Ok(())
            }
        })
    }

    /// As [`Listener::serve`], with the handshake left to the handler: for a server that looks at who
    /// comes, or counts them, before it takes part in a handshake.
    ///
    /// # Errors
    /// As [`Listener::serve`].
    pub fn serve_incoming<H>(&self, options: &ServeOptions, handler: H) -> Result<Infallible, Error>
    where
        H: Fn(Incoming) -> io::Result<()>,
    {
        let places = Semaphore::new(options.connections_max);
        let told = Told::default();
        let (handler, told) = (&handler, &told);
        fiber::scope(|scope| {
            loop {
                let place = self.free_place(&places, options, told)?;
                let (to_fiber, mut from_loop) = fiber::oneshot();
                let connection = move || {
                    let _place = place;
                    // Otherwise the loop ended without another connection.
                    if let Ok(Some(incoming)) = from_loop.recv() {
                        self.run_handler(handler, incoming, told);
                    }
                    Ok(())
                };
                if let Err(error) = options.fiber().spawn_scoped(scope, connection) {
                    self.without_fiber(error)?;
                    continue;
                }
                // A fiber that is cancelled already closes it.
                let _ = to_fiber.send(self.accept()?);
            }
        })
    }

    /// Waits until there are fewer connections than there may be.
    fn free_place(
        &self,
        places: &Semaphore,
        options: &ServeOptions,
        told: &Told,
    ) -> Result<Permit, Error> {
        if places.available() == 0 {
            self.count(|stats| stats.full += 1);
            if told.full.pass(Instant::recent()).is_some() {
                log::warn!(
                    "{:?} has as many connections as it may, {}: further ones wait in the queue \
                     (times so far: {})",
                    options.name,
                    options.connections_max,
                    self.stats().full
                );
            }
        }
        places.acquire().map_err(|error| match error {
            AcquireError::Stopped(stopped) => self.failed(stopped.into()),
            other => self.failed(io::Error::other(other)),
        })
    }

    /// Rests if another fiber may be had later.
    fn without_fiber(&self, error: SpawnError) -> Result<(), Error> {
        match error {
            SpawnError::FiberLimit { .. }
            | SpawnError::StackLimit { .. }
            | SpawnError::Stack(_) => self.rest(&error),
            SpawnError::NoRuntime => Err(self.failed(Stopped::NoRuntime.into())),
            SpawnError::Unwinding => Err(self.failed(Stopped::Unwinding.into())),
            SpawnError::WouldWait => Err(self.failed(Stopped::WouldWait.into())),
            other => Err(self.failed(other.into())),
        }
    }

    /// Serves one connection, whatever the handler does.
    fn run_handler<H>(&self, handler: &H, incoming: Incoming, told: &Told)
    where
        H: Fn(Incoming) -> io::Result<()>,
    {
        let peer = incoming.peer();
        self.count(|stats| stats.serving += 1);
        // The text of an error can be the user's code too.
        let outcome = contain(|| {
            if let Err(error) = handler(incoming) {
                self.count(|stats| stats.failed += 1);
                if let Some(more) = told.failed.pass(Instant::recent()) {
                    log::info!("the connection of {peer} ended{}: {error}", After(more));
                }
            }
        });
        self.count(|stats| stats.serving -= 1);
        if outcome.is_none() {
            self.count(|stats| stats.panicked += 1);
            if let Some(more) = told.panicked.pass(Instant::recent()) {
                log::error!("the handler of {peer} panicked{}", After(more));
            }
        }
    }
}

/// What the log was told of the handlers of one call.
#[derive(Debug, Default)]
struct Told {
    full: LogGate,
    failed: LogGate,
    panicked: LogGate,
}

/// How many times the same happened since the last line about it.
struct After(u64);

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (as {more} more did, not shown)"),
        }
    }
}
