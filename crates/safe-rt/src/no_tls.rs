//! Stands in for the `tls` module in a build without it: the same types, which nobody can have.
//!
//! So the socket, the dialler and the listener are one text in both builds, and a `match` on a
//! type without values proves that no TLS code is reached.

use std::io;

use crate::clock::ClockFloor;
use crate::socket::{Readiness, Socket};

/// A client configuration that cannot exist.
#[derive(Clone, Debug)]
pub(crate) enum ClientTls {}

/// A server configuration that cannot exist.
#[derive(Clone, Debug)]
pub(crate) enum ServerTls {}

/// A TLS stream that cannot exist.
#[derive(Debug)]
pub(crate) enum TlsStream {}

impl ClientTls {
    pub(crate) const fn clock_floor(&self) -> &ClockFloor {
        match *self {}
    }

    pub(crate) fn handshake(
        &self,
        _transport: Socket,
        _server_name: &str,
    ) -> io::Result<TlsStream> {
        match *self {}
    }
}

impl ServerTls {
    pub(crate) fn handshake(&self, _transport: Socket) -> io::Result<TlsStream> {
        match *self {}
    }
}

impl TlsStream {
    pub(crate) fn transport(&self) -> &Socket {
        match *self {}
    }

    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match *self {}
    }

    pub(crate) fn read(&self, _buf: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write(&self, _buf: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn try_read(&self, _buf: &mut [u8]) -> io::Result<Option<usize>> {
        match *self {}
    }

    pub(crate) fn try_write(&self, _buf: &[u8]) -> io::Result<Option<usize>> {
        match *self {}
    }

    pub(crate) fn try_flush(&self) -> io::Result<bool> {
        match *self {}
    }

    #[cfg(feature = "ws")]
    pub(crate) fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn readable(&self) -> Readiness<'_> {
        match *self {}
    }
}
