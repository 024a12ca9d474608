//! One WebSocket over one socket: what waits, and for what.
//!
//! ```text
//!   read  <── payload  <── frames  <── transport.try_read
//!   write ──> at most one frame    ──> transport.try_write
//! ```
//!
//! - Bytes move in `state`, which neither waits nor yields, so the `RefCell` around it is never
//!   borrowed across a wait, and a reader and a writer fiber can share the stream. One fiber at a
//!   time reads, one writes.
//! - A new frame is made only when the kernel has taken every byte before it. So of the bytes
//!   accepted, all but the last frame of at most `WS_FRAME_BYTES_MAX` are with the kernel, and after
//!   [`WsStream::try_flush`] said so, all of them are.
//! - Packets and frames are not aligned [MQTT-6.0.0-2]: what is written in one call is one frame or
//!   several, what comes is read across their borders.
//! - Reading may leave something to be sent (a pong, the answer to a Close frame); it goes out at
//!   once if there is room, else with the next call. Writing never has to read first.

mod state;

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::io;

use self::state::State;
use super::frame::Role;
use crate::socket::{Readiness, Socket};

/// Reads from the transport in one read of a WebSocket, for a peer that sends frames without
/// payload: it cannot hold the fiber for longer.
pub const WS_TRANSPORT_READS_MAX: usize = 8;
/// How long [`Socket::close`] waits for the peer's Close frame after it sent its own.
pub const WS_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Calls that wait if need be, and did not need to, before the fiber gives up its turn.
const CALLS_PER_TURN_MAX: u32 = 128;
/// Bytes read at a time of what comes between the two Close frames, and is dropped.
const DISCARD_BYTES: usize = 1024;

/// A WebSocket whose handshake is done.
pub(crate) struct WsStream {
    transport: Socket,
    state: RefCell<State>,
    /// Calls that may still succeed without a wait before the fiber gives up its turn.
    turn: Cell<u32>,
}

impl WsStream {
    /// Starts with the bytes that came `behind` the handshake.
    pub(super) fn new(transport: Socket, role: Role, behind: &[u8]) -> Self {
        Self {
            transport,
            state: RefCell::new(State::new(role, behind)),
            turn: Cell::new(CALLS_PER_TURN_MAX),
        }
    }

    /// Returns the socket underneath.
    pub(crate) const fn transport(&self) -> &Socket {
        &self.transport
    }

    /// Reads payload; waits until there is some.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.take_turn()?;
            if let Some(len) = self.try_read(buf)? {
                return Ok(len);
            }
            self.wait_for_read()?;
        }
    }

    /// Writes payload; waits until some of it is accepted.
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        loop {
            self.take_turn()?;
            if let Some(len) = self.try_write(buf)? {
                return Ok(len);
            }
            fiber::select(&[&self.transport.writable()], None)?;
        }
    }

    /// Waits until every byte accepted so far is with the kernel.
    pub(crate) fn flush(&self) -> io::Result<()> {
        while !self.try_flush()? {
            fiber::select(&[&self.transport.writable()], None)?;
        }
        Ok(())
    }

    /// Reads payload if there is some, into a buffer that is not empty. `Ok(Some(0))` is the peer's
    /// Close frame.
    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        self.state.borrow_mut().read(&self.transport, buf)
    }

    /// Frames and sends as much of `buf`, which is not empty, as the transport takes, and at most
    /// one frame more.
    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<Option<usize>> {
        self.state.borrow_mut().write(&self.transport, buf)
    }

    /// Sends what is left, if there is room; returns whether nothing is left.
    pub(crate) fn try_flush(&self) -> io::Result<bool> {
        self.state.borrow_mut().send(&self.transport)
    }

    /// Returns whether bytes are left that could be sent; those of a broken transport cannot.
    pub(crate) fn has_unsent(&self) -> bool {
        self.state.borrow().has_unsent() || self.transport.has_unsent()
    }

    /// Sends a Close frame; waits for room. The transport stays open for the peer's answer.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.state.borrow_mut().shut_write();
        self.flush()
    }

    /// Waits for the peer's Close frame, for at most [`WS_CLOSE_TIMEOUT`], and ends the transport.
    ///
    /// Every byte accepted is with the kernel by then, so nothing here is a failure: a peer that
    /// does not answer, or that still sends, loses only what nobody would read.
    pub(crate) fn finish(&self) {
        let mut dropped = [0; DISCARD_BYTES];
        let _ = fiber::timeout(WS_CLOSE_TIMEOUT, || {
            while let Ok(1..) = self.read(&mut dropped) {}
        });
        let _ = self.transport.shutdown_write();
    }

    /// Returns what a reader waits for: nothing, if there is payload or an end to report.
    pub(crate) fn readable(&self) -> Readiness<'_> {
        let pending = self.state.borrow().is_pending();
        self.transport.readable().or_pending(pending)
    }

    /// Counts a call that may turn out not to wait; gives up the turn from time to time, so that a
    /// fast peer starves no other fiber and a scope that is over is noticed.
    fn take_turn(&self) -> io::Result<()> {
        let left = self.turn.get();
        if left > 0 {
            self.turn.set(left - 1);
            return Ok(());
        }
        self.turn.set(CALLS_PER_TURN_MAX);
        Ok(fiber::yield_now()?)
    }

    /// Waits until reading may bring something; what is left to be sent goes out in the meantime.
    fn wait_for_read(&self) -> io::Result<()> {
        let readable = self.readable();
        if !self.has_unsent() {
            fiber::select(&[&readable], None)?;
            return Ok(());
        }
        fiber::select(&[&readable, &self.transport.writable()], None)?;
        // A failure shows in the next write, and makes the next wait one for reading alone.
        let _ = self.try_flush();
        Ok(())
    }
}
