//! The moving part of a TLS stream: bytes between rustls and the transport, without waiting.

use core::mem;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{Connection, ProtocolVersion, SupportedCipherSuite};

use super::{RECORD_PLAINTEXT_MAX, TRANSPORT_READS_MAX};
use crate::socket::Socket;
use crate::tls::error::{TlsError, TlsErrorKind};
use crate::tls::evidence::{FirstBytes, Own};

/// Records of a TLS 1.2 connection kept back for the handshake, alerts and refusals.
pub(super) const RECORDS_RESERVED: u64 = 1024;

/// What changes while bytes move.
pub(super) struct State {
    pub(super) connection: Connection,
    /// For the texts of errors.
    own: Arc<Own>,
    first: FirstBytes,
    /// The first failure found while reading; it ends both directions and stays.
    failed: Option<TlsError>,
    /// Set once close_notify was queued: nothing may follow it.
    write_shut: bool,
    /// Set once the transport refused bytes: those left in rustls will never leave.
    write_broken: bool,
    /// Plaintext of the record that is on its way to the transport.
    underway: usize,
    /// Plaintext accepted for the record after it, which is encrypted when that one has left.
    waiting: Vec<u8>,
    pub(super) budget: RecordBudget,
}

/// What one look at the transport brought.
pub(super) enum Received {
    /// Bytes, and there may be more.
    Some,
    /// Nothing now.
    Nothing,
    /// The peer closed the transport.
    End,
}

impl State {
    pub(super) fn new(connection: Connection, own: Arc<Own>) -> Self {
        Self {
            connection,
            own,
            first: FirstBytes::default(),
            failed: None,
            write_shut: false,
            write_broken: false,
            underway: 0,
            waiting: Vec::new(),
            budget: RecordBudget::unlimited(),
        }
    }

    /// Begins to count records, now that the cipher suite is known.
    pub(super) fn count_records(&mut self) {
        self.budget = RecordBudget::of(&self.connection);
    }

    /// Takes what the transport has into rustls and lets it decrypt.
    ///
    /// A failure of TLS is noted in `failed`; the error returned is one of the transport.
    pub(super) fn receive(&mut self, transport: &Socket) -> io::Result<Received> {
        let mut inlet = Inlet {
            transport,
            first: &mut self.first,
            nothing: false,
        };
        let received = match self.connection.read_tls(&mut inlet) {
            Ok(0) => Received::End,
            Ok(_) => Received::Some,
            Err(_) if inlet.nothing => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        };
        if let Err(cause) = self.connection.process_new_packets() {
            let failed = self.own.explain(cause.into(), self.first);
            self.failed.get_or_insert(failed);
        }
        // An alert or an answer goes out now if there is room; if not, or if the transport fails,
        // the next call comes to it.
        let _ = self.send(transport);
        Ok(received)
    }

    /// Gives the transport what was accepted; returns whether all of it was taken.
    pub(super) fn send(&mut self, transport: &Socket) -> io::Result<bool> {
        loop {
            if !self.send_encrypted(transport)? {
                return Ok(false);
            }
            self.underway = 0;
            if self.waiting.is_empty() {
                return Ok(true);
            }
            if let Some(failed) = &self.failed {
                // Behind the alert nothing may follow.
                self.write_broken = true;
                return Err(failed.clone().into());
            }
            self.encrypt_waiting()?;
        }
    }

    /// Makes a record of the plaintext that waits.
    fn encrypt_waiting(&mut self) -> io::Result<()> {
        let waiting = mem::take(&mut self.waiting);
        self.underway += waiting.len();
        self.connection.writer().write_all(&waiting)
    }

    /// Encrypts the beginning of `rest` as a record, which [`ready_for_record`] allowed; returns its
    /// length.
    ///
    /// [`ready_for_record`]: Self::ready_for_record
    pub(super) fn encrypt(&mut self, rest: &[u8]) -> io::Result<usize> {
        let record = &rest[..rest.len().min(RECORD_PLAINTEXT_MAX)];
        match self.connection.writer().write(record)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            len => {
                self.underway = len;
                Ok(len)
            }
        }
    }

    /// Keeps the beginning of `rest` for the next record while there is no room for it, so that many
    /// small writes fill one; returns how much. With what is underway it is one record at most.
    pub(super) fn keep(&mut self, rest: &[u8]) -> usize {
        let ahead = self.underway + self.waiting.len();
        let len = rest.len().min(RECORD_PLAINTEXT_MAX.saturating_sub(ahead));
        if len == 0 || (self.waiting.is_empty() && !self.budget.take()) {
            return 0;
        }
        self.waiting.extend_from_slice(&rest[..len]);
        len
    }

    /// Gives the transport what is encrypted; returns whether all of it was taken.
    fn send_encrypted(&mut self, transport: &Socket) -> io::Result<bool> {
        while self.connection.wants_write() {
            let mut outlet = Outlet {
                transport,
                full: false,
            };
            let error = match self.connection.write_tls(&mut outlet) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(_) => continue,
                Err(_) if outlet.full => return Ok(false),
                Err(error) => error,
            };
            self.write_broken = true;
            return Err(error);
        }
        Ok(true)
    }

    /// As [`send`](Self::send), but a failure is the peer's own words where there are any.
    pub(super) fn send_or_explain(&mut self, transport: &Socket) -> io::Result<bool> {
        self.send(transport)
            .map_err(|error| self.explain(transport, error))
    }

    /// Returns whether bytes are left that the transport may still take.
    pub(super) fn has_unsent(&self) -> bool {
        (self.connection.wants_write() || !self.waiting.is_empty()) && !self.write_broken
    }

    /// Queues close_notify behind everything accepted so far.
    ///
    /// # Errors
    /// What was accepted cannot leave any more.
    pub(super) fn shut_write(&mut self) -> io::Result<()> {
        self.write_shut = true;
        if !self.waiting.is_empty() {
            self.check_failed()?;
            self.encrypt_waiting()?;
        }
        self.connection.send_close_notify();
        Ok(())
    }

    /// Returns whether a new record may be encrypted: all before it is with the kernel.
    pub(super) fn ready_for_record(&mut self, transport: &Socket) -> io::Result<bool> {
        self.check_failed()?;
        if self.write_shut {
            let text = "write after the writing side was shut down";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        match self.send_or_explain(transport) {
            Ok(true) if self.budget.take() => Ok(true),
            Ok(true) => Err(self.error(TlsErrorKind::KeysUsedUp)),
            not_yet => not_yet,
        }
    }

    /// Returns the error of something that was found outside rustls.
    pub(super) fn error(&self, kind: TlsErrorKind) -> io::Error {
        self.own.explain(TlsError::new(kind), self.first).into()
    }

    /// Returns the error of a peer that closed the transport in the handshake.
    pub(super) fn closed(&self) -> io::Error {
        self.error(if self.first.is_no_tls() {
            TlsErrorKind::NotTls
        } else {
            TlsErrorKind::ClosedInHandshake
        })
    }

    pub(super) fn check_failed(&self) -> io::Result<()> {
        self.failed
            .as_ref()
            .map_or(Ok(()), |failed| Err(failed.clone().into()))
    }

    /// Looks for the peer's own words when sending fails: a peer that refuses us sends an alert
    /// and closes, and the alert is still to be read.
    fn explain(&mut self, transport: &Socket, error: io::Error) -> io::Error {
        let closed = matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::NotConnected
        );
        let mut reads = 0;
        while closed && self.failed.is_none() && reads < TRANSPORT_READS_MAX {
            match self.receive(transport) {
                Ok(Received::Some) => reads += 1,
                Ok(Received::Nothing | Received::End) | Err(_) => break,
            }
        }
        self.failed.clone().map_or(error, io::Error::from)
    }

    /// Returns whether what is left to be sent after the handshake may go with later calls.
    ///
    /// A TLS 1.3 server has only session tickets left, and its client reads nothing before it has
    /// something to read; in every other case the peer waits for the rest.
    pub(super) fn rest_may_wait(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
            && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }
}

/// How many records may still be encrypted with the keys of a connection.
///
/// TLS 1.3 renews its keys by itself. With TLS 1.2 rustls answers the limit of the cipher suite
/// with a close_notify and swallows the plaintext that was to follow it; counting along turns this
/// into an error before anything is lost.
pub(super) struct RecordBudget(pub(super) u64);

impl RecordBudget {
    pub(super) const fn unlimited() -> Self {
        Self(u64::MAX)
    }

    fn of(connection: &Connection) -> Self {
        match connection.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls12(suite)) => Self(
                suite
                    .common
                    .confidentiality_limit
                    .saturating_sub(RECORDS_RESERVED),
            ),
            Some(SupportedCipherSuite::Tls13(_)) | None => Self::unlimited(),
        }
    }

    /// Takes one record; returns whether there was one.
    pub(super) const fn take(&mut self) -> bool {
        match self.0 {
            u64::MAX => true,
            0 => false,
            left => {
                self.0 = left - 1;
                true
            }
        }
    }
}

/// What rustls reads records from. It is told "would block" in the words of std, which stay inside
/// this module: `nothing` says that it was us. After a short read the transport answers so by
/// itself, without asking the kernel again.
struct Inlet<'a> {
    transport: &'a Socket,
    first: &'a mut FirstBytes,
    nothing: bool,
}

impl Read for Inlet<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.transport.try_read(buf)? {
            Some(len) => {
                self.first.keep(&buf[..len]);
                Ok(len)
            }
            None => {
                self.nothing = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

/// Most bytes of records that are put together for one write.
pub(super) const JOINED_BYTES_MAX: usize = 1024;

/// What rustls writes records to; `full` as `nothing` above.
pub(super) struct Outlet<'a> {
    pub(super) transport: &'a Socket,
    pub(super) full: bool,
}

impl Write for Outlet<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.transport.try_write(buf)? {
            Some(len) => Ok(len),
            None => {
                self.full = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Short records leave together, so that the end of a handshake is one packet.
    #[inline]
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        match records {
            [only] => self.write(only),
            several => self.write_joined(several),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outlet<'_> {
    #[inline(never)]
    fn write_joined(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut joined = [0; JOINED_BYTES_MAX];
        let mut len = 0;
        for record in records {
            let Some(room) = joined[len..].get_mut(..record.len()) else {
                break;
            };
            room.copy_from_slice(record);
            len += record.len();
        }
        let first = records.iter().find(|record| !record.is_empty());
        match first {
            Some(first) if len <= first.len() => self.write(first),
            _ => self.write(&joined[..len]),
        }
    }
}
