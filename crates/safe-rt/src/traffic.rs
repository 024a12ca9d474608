//! What a connection moved, as its socket counts it.

use core::cell::Cell;

use crate::socket::Socket;

/// What a [`Socket`] moved so far, in bytes. Every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes that were read from it.
    pub received: u64,
    /// Bytes that were accepted from who writes to it.
    pub sent: u64,
    /// Bytes of the transport underneath that came in, what TLS and WebSocket add included; without
    /// them as many as were read.
    pub wire_received: u64,
    /// Bytes the transport underneath accepted, what TLS and WebSocket add included; without them as
    /// many as were written.
    pub wire_sent: u64,
}

impl Socket {
    /// Returns what this connection moved so far: over TLS and WebSocket as payload and on the wire,
    /// handshakes included. Does not yield.
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    /// use safe_rt::Socket;
    ///
    /// fiber::run(|| -> std::io::Result<()> {
    ///     let (ours, _theirs) = fiber::net::pipe(64);
    ///     let ours = Socket::from(ours);
    ///     (&ours).write_all(b"hello")?;
    ///     assert_eq!((ours.traffic().sent, ours.traffic().wire_sent), (5, 5));
    ///     Ok(())
    /// })
    /// .expect("the runtime ran")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut lowest = self;
        while let Some(transport) = lowest.transport() {
            lowest = transport;
        }
        let (own, wire) = (self.counts(), lowest.counts());
        Traffic {
            received: own.received.get(),
            sent: own.sent.get(),
            wire_received: wire.received.get(),
            wire_sent: wire.sent.get(),
        }
    }
}

/// The bytes that passed one socket, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl Counts {
    pub(crate) fn received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }
}
