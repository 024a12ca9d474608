//! One TLS connection over one socket: what waits, and for what.
//!
//! ```text
//!   read  <── plaintext in rustls <── records <── read_tls  <── transport.try_read
//!   write ──> at most one record  ──> records ──> write_tls ──> transport.try_write
//! ```
//!
//! - Bytes move in `state`, which neither waits nor yields, so the `RefCell` around it is never
//!   borrowed across a wait, and a reader and a writer fiber can share the stream. One fiber at a
//!   time reads, one writes.
//! - A new record is encrypted only when the kernel has taken every byte before it; until then
//!   small writes fill it. So of the plaintext accepted, all but the last [`RECORD_PLAINTEXT_MAX`]
//!   bytes are with the kernel, and after [`TlsStream::try_flush`] said so, all of it is.
//! - Reading may leave something to be sent. An alert goes out at once if there is room, else with
//!   the next call; the answer to a key update goes before the next record that is written, as
//!   RFC 8446 section 4.6.3 allows. Writing never has to read first.

mod handshake;
mod state;

use core::cell::{Cell, RefCell};
use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;

use rustls::{Connection, HandshakeKind, ProtocolVersion};

use self::state::{Received, State};
use super::config::TlsVersion;
use super::danger::Danger;
use super::error::TlsErrorKind;
use super::evidence::Own;
use super::facts::CertificateFacts;
use super::sessions::{OneConnection, Sessions};
use crate::socket::{Readiness, Socket};

/// Most plaintext in one TLS record, in bytes (RFC 8446 section 5.1), and so the most that has
/// been accepted from a writer and is not with the kernel yet.
pub const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;
/// Reads from the transport in one read of a TLS socket, where five bring the largest record; a
/// peer that sends records without content cannot hold the fiber for longer.
pub const TRANSPORT_READS_MAX: usize = 8;
/// Calls that wait if need be, and did not need to, before the fiber gives up its turn.
const CALLS_PER_TURN_MAX: u32 = 128;

/// A TLS connection whose handshake is done.
pub(crate) struct TlsStream {
    transport: Socket,
    /// Boxed, so that a stream that moves on its way to its socket takes little stack.
    state: RefCell<Box<State>>,
    turn: Turn,
    /// Copied out of the state after the handshake so that it can be lent.
    alpn: Option<Box<[u8]>>,
    version: Option<TlsVersion>,
    resumed: bool,
    /// What of the check of the peer was turned off.
    pub(super) danger: Option<Danger>,
}

impl TlsStream {
    /// Runs the handshake of `connection` over `transport`; waits, obeying the ambient deadline.
    ///
    /// `own` is what the texts of errors say of this side.
    pub(super) fn handshake(
        transport: Socket,
        connection: Connection,
        own: Arc<Own>,
    ) -> io::Result<Self> {
        let mut state = Box::new(State::new(connection, own));
        handshake::run(&transport, &mut state)?;
        state.count_records();
        Ok(Self {
            transport,
            turn: Turn::new(),
            alpn: state.connection.alpn_protocol().map(Into::into),
            version: match state.connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::Tls12),
                Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
                _ => None,
            },
            resumed: state.connection.handshake_kind() == Some(HandshakeKind::Resumed),
            danger: None,
            state: RefCell::new(state),
        })
    }

    /// Tells the sessions of this connection how its handshake went.
    pub(super) fn settle<S: Sessions>(&self, sessions: &OneConnection<S>) {
        sessions.settle(&self.state.borrow().connection);
    }

    /// Returns the socket underneath.
    pub(crate) const fn transport(&self) -> &Socket {
        &self.transport
    }

    /// Returns the application protocol agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Returns the version agreed on.
    pub(super) const fn version(&self) -> Option<TlsVersion> {
        self.version
    }

    /// Returns what the peer's certificates say, as far as they can be read.
    pub(super) fn peer_facts(&self) -> Vec<CertificateFacts> {
        let state = self.state.borrow();
        let chain = state.connection.peer_certificates().unwrap_or_default();
        let facts = chain.iter().map(|der| CertificateFacts::of_der(der));
        facts.flatten().collect()
    }

    /// Returns whether an earlier session was resumed.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Reads plaintext; waits until there is some.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            self.turn.take()?;
            if let Some(len) = self.try_read(buf)? {
                return Ok(len);
            }
            self.wait_for_read()?;
        }
    }

    /// Writes plaintext; waits until some of it is accepted.
    pub(crate) fn write(&self, buf: &[u8]) -> io::Result<usize> {
        loop {
            self.turn.take()?;
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

    /// Reads plaintext if there is some, into a buffer that is not empty. `Ok(Some(0))` is the
    /// peer's close_notify.
    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let state = &mut *self.state.borrow_mut();
        let mut reads = 0;
        loop {
            // What is decrypted comes before any failure behind it, and before any wait.
            match state.connection.reader().read(buf) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(state.error(TlsErrorKind::Truncated));
                }
                // Nothing is decrypted: the one other error of this call.
                Err(_) => state.check_failed()?,
            }
            if reads == TRANSPORT_READS_MAX {
                return Ok(None);
            }
            reads += 1;
            match state.receive(&self.transport)? {
                Received::Some | Received::End => {}
                Received::Nothing => return Ok(None),
            }
        }
    }

    /// Encrypts and sends as much of `buf`, which is not empty, as the transport takes, and at
    /// most one record more, with what was accepted before.
    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<Option<usize>> {
        let state = &mut *self.state.borrow_mut();
        let mut taken = 0;
        while taken < buf.len() {
            match state.ready_for_record(&self.transport) {
                Ok(true) => taken += state.encrypt(&buf[taken..])?,
                Ok(false) => {
                    taken += state.keep(&buf[taken..]);
                    break;
                }
                Err(error) if taken == 0 => return Err(error),
                // The bytes taken are reported now; the failure stays and is reported next time.
                Err(_) => break,
            }
        }
        // A failure here is again for the next call: the record was accepted.
        let _ = state.send(&self.transport);
        Ok((taken > 0).then_some(taken))
    }

    /// Sends what is left, if there is room; returns whether nothing is left.
    pub(crate) fn try_flush(&self) -> io::Result<bool> {
        Ok(self.state.borrow_mut().send_or_explain(&self.transport)?
            && self.transport.try_flush()?)
    }

    /// Returns whether bytes are left that could be sent; those of a broken transport cannot.
    pub(crate) fn has_unsent(&self) -> bool {
        self.state.borrow().has_unsent() || self.transport.has_unsent()
    }

    /// Sends close_notify and shuts down the writing side of the transport; waits for room.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.state.borrow_mut().shut_write()?;
        self.flush()?;
        self.transport.shutdown_write()
    }

    /// Returns what a reader waits for: nothing, if there is plaintext or an end to report.
    pub(crate) fn readable(&self) -> Readiness<'_> {
        let state = &mut *self.state.borrow_mut();
        let buffered = match state.connection.reader().fill_buf() {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        };
        self.transport
            .readable()
            .or_pending(buffered || state.check_failed().is_err())
    }

    /// Waits until reading may bring something; what is left to be sent goes out in the meantime.
    fn wait_for_read(&self) -> io::Result<()> {
        let readable = self.transport.readable();
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

/// Calls that may still succeed without a wait before the fiber gives up its turn, so that a fast
/// peer starves no other fiber and a scope that is over is noticed.
struct Turn(Cell<u32>);

impl Turn {
    const fn new() -> Self {
        Self(Cell::new(CALLS_PER_TURN_MAX))
    }

    /// Counts a call that may turn out not to wait; gives up the turn from time to time.
    fn take(&self) -> io::Result<()> {
        let left = self.0.get();
        if left > 0 {
            self.0.set(left - 1);
            return Ok(());
        }
        self.0.set(CALLS_PER_TURN_MAX);
        Ok(fiber::yield_now()?)
    }
}

#[cfg(test)]
mod tests;
