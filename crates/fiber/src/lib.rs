//! A synchronous, single-threaded runtime of stackful fibers.
//!
//! A fiber is a function on a stack of its own. It runs until it waits; then the next one runs.
//! Waiting is a plain call: [`sleep`], a read of a [`net::TcpStream`], a receive from a
//! [`channel`], a [`JoinHandle::join`]. There is no colour to functions, no lock and no callback,
//! because nothing else runs while a fiber does not wait.
//!
//! ```
//! use std::io::{Read, Write};
//! use fiber::net::{TcpListener, TcpStream};
//!
//! fiber::run(|| -> std::io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//!     let address = listener.local_addr()?;
//!     fiber::spawn(move || -> std::io::Result<()> {
//!         let (mut stream, _) = listener.accept()?;
//!         stream.write_all(b"hello")
//!     })?;
//!     let mut text = String::new();
//!     TcpStream::connect(address)?.read_to_string(&mut text)?;
//!     assert_eq!(text, "hello");
//!     Ok(())
//! })
//! .unwrap()
//! .unwrap();
//! ```
//!
//! # Rules
//!
//! 1. A runtime belongs to one thread; handles and closures are `!Send`. `Rc` and `RefCell` are
//!    welcome, but no borrow may be held across a call that waits.
//! 2. Every wait returns a `Result`. [`Stopped`] says why it ended early; [`cause`] finds it in
//!    other errors. Nothing is ever unwound by force.
//! 3. [`timeout`], [`deadline`], [`cancellable`] and [`scope()`] nest. Once one is over, every wait
//!    below fails until it is left; [`shield`] gives clean-up a time of its own.
//! 4. A panic ends its fiber and arrives at [`JoinHandle::join`]. While a fiber unwinds its waits
//!    fail at once.
//! 5. Calls that would stop the thread (names, files, long work) go through the doors:
//!    [`resolve`], [`fs`], [`offload`], [`wall_time`], [`random`]. Signals of the operating system
//!    come in through [`signal`], other threads through [`Remote`].
//! 6. What is going on can be seen: [`fibers`] lists who waits for what, [`stats`] counts, and
//!    [`RuntimeBuilder::watchdog`] names fibers that keep their turn for too long.
//! 7. A value that a library keeps in a thread-local while it calls your closure is shared by
//!    all fibers: do not wait inside such a closure. [`no_park`] makes sure of it, and
//!    [`fiber_local!`] declares values that each fiber has one of.
//! 8. A stack has a fixed size, 256 KiB where nothing else is asked for ([`FiberBuilder::stack_size`]),
//!    and costs the pages that were touched. One that overflows ends the process, which names the
//!    fiber; a rare deep call has room in [`on_big_stack`], and what it left behind goes back with
//!    [`trim_stack`].

#![deny(unsafe_code)]

mod big_stack;
mod cancel;
mod cell;
mod core;
mod coroutine;
mod error;
mod inspect;
mod join;
mod local;
pub mod net;
mod no_park;
mod park;
mod remote;
mod run_queue;
mod runtime;
mod scheduler;
mod scope;
mod scope_tree;
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
mod spawn;
mod stack;
mod stats;
pub mod sync;
mod sys;
mod table;
mod target;
mod timer;
mod wait_list;
mod world;

#[cfg(test)]
mod tests;

pub use crate::big_stack::{on_big_stack, trim_stack};
pub use crate::cancel::{
    Cancelled, Canceller, Elapsed, ambient_deadline, cancellable, deadline, shield, timeout,
};
pub use crate::error::{JoinError, RunError, SpawnError, Stopped, cause};
pub use crate::inspect::{FiberId, FiberInfo, FiberList, FiberState, fibers};
pub use crate::join::JoinHandle;
pub use crate::local::LocalKey;
pub use crate::no_park::no_park;
pub use crate::park::{Link, Unparker, WaitReason, give_way_until, park, park_until, prepare};
pub use crate::remote::{REMOTE_QUEUE_MAX, Remote, RemoteError};
pub use crate::runtime::{FIBERS_MAX_DEFAULT, GRACE_DEFAULT, Runtime, RuntimeBuilder, run};
pub use crate::scheduler::{give_way, long_turn, yield_now};
pub use crate::scope::{Scope, scope};
pub use crate::spawn::{FiberBuilder, spawn};
pub use crate::stack::{STACK_BYTES_DEFAULT, STACK_BYTES_MAX, STACK_BYTES_MIN, StackGuards};
pub use crate::stats::{Stats, stack_guards, stack_high_water, stats};
pub use crate::sync::{
    AcquireError, Acquiring, Event, Interval, LockError, Mutex, MutexGuard, OneshotReceiver,
    OneshotSender, Permit, Receiver, SELECT_SOURCES_MAX, Selected, Selector, Semaphore, Sender,
    Source, Timer, TryAcquireError, channel, interval, oneshot, select,
};
pub use crate::world::clock::{Instant, wall_time};
pub use crate::world::offload::{OFFLOAD_QUEUE_MAX, OffloadError, offload};
pub use crate::world::resolve::resolve;
pub use crate::world::{fs, random};

use std::time::Duration;

/// Waits for `duration` to pass, letting other fibers run.
///
/// # Errors
///
/// [`Stopped`] when the wait ended early.
pub fn sleep(duration: Duration) -> Result<(), Stopped> {
    sync::sleep(duration)
}

/// Waits until `at`, letting other fibers run.
///
/// # Errors
///
/// [`Stopped`] when the wait ended early.
pub fn sleep_until(at: Instant) -> Result<(), Stopped> {
    sync::sleep_until(at)
}
