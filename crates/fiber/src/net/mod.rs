//! Sockets and pipes with the names of std, whose calls park only the calling fiber.
//!
//! `&T` reads and writes as well as `T`, so that one fiber can read while another writes. Any
//! number of fibers may wait in each direction. A call is tried first and waits only when the
//! kernel has nothing; after 128 calls without a wait a fiber gives up its turn.

mod pipe;
mod tcp;

pub use std::net::Shutdown;

pub use self::pipe::{PipeStream, pipe};
pub use self::tcp::{TcpListener, TcpStream};

use std::io;
use std::rc::Rc;

use crate::core::Core;
use crate::error::Stopped;
use crate::park::{Link, Unparker, WaitReason};
use crate::sync::Source;
use crate::world::net::{Direction, Readiness as Bits};

/// One direction of a socket or pipe, as something to [`crate::select`] on.
#[derive(Clone, Copy, Debug)]
pub struct Readiness<'a>(Kind<'a>);

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Tcp(&'a TcpStream, Direction),
    Pipe(&'a PipeStream, Direction),
}

impl Source for Readiness<'_> {
    fn is_ready(&self) -> bool {
        match self.0 {
            Kind::Tcp(stream, direction) => stream.bits().is_ready(direction),
            Kind::Pipe(pipe, direction) => pipe.is_ready(direction),
        }
    }

    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        match self.0 {
            Kind::Tcp(stream, direction) => stream.bits().link(stream.core(), direction, waiter),
            Kind::Pipe(pipe, direction) => pipe.link(direction, waiter),
        }
    }

    fn unlink(&self, link: Link) {
        match self.0 {
            Kind::Tcp(stream, direction) => stream.bits().unlink(stream.core(), direction, link),
            Kind::Pipe(pipe, direction) => pipe.unlink(direction, link),
        }
    }
}

fn reason(direction: Direction) -> WaitReason {
    match direction {
        Direction::Read => WaitReason::Readable,
        Direction::Write => WaitReason::Writable,
    }
}

/// What comes before each call that may wait: the scope is not over, and the turn is given up
/// from time to time.
#[inline(always)]
fn begin_call(core: &Core) -> Result<(), Stopped> {
    core.check()?;
    core.yield_if_spent()
}

/// Waits for one direction of a descriptor.
fn wait_ready(core: &Core, bits: &Rc<Bits>, direction: Direction) -> io::Result<()> {
    let token = core.prepare()?;
    let link = bits.link(core, direction, token)?;
    let woken = core.park(reason(direction));
    bits.unlink(core, direction, link);
    Ok(woken?)
}
