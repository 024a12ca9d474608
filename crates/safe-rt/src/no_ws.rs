//! Stands in for the `ws` module in a build without it: the same types, which nobody can have.
//!
//! As with `no_tls`, the socket, the dialler and the listener are one text in both builds.

use std::io;

use crate::socket::{Readiness, Socket};

/// A WebSocket that cannot exist.
#[derive(Debug)]
pub(crate) enum WsStream {}

/// A way to ask for a WebSocket that cannot exist.
#[derive(Clone, Debug)]
pub(crate) enum WsOptions {}

/// Returns how to ask for a WebSocket where a program chose nothing: not at all.
pub(crate) const fn default_options() -> Option<WsOptions> {
    None
}

impl WsOptions {
    pub(crate) fn handshake(
        &self,
        _transport: Socket,
        _host: &str,
        _target: &str,
    ) -> io::Result<WsStream> {
        match *self {}
    }
}

/// A way to serve WebSockets that cannot exist.
#[derive(Clone, Debug)]
pub(crate) enum ServerWs {}

impl ServerWs {
    pub(crate) fn handshake(&self, _transport: Socket) -> io::Result<WsStream> {
        match *self {}
    }
}

impl WsStream {
    pub(crate) fn transport(&self) -> &Socket {
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

    #[cfg(feature = "tls")]
    pub(crate) fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn finish(&self) {
        match *self {}
    }

    pub(crate) fn readable(&self) -> Readiness<'_> {
        match *self {}
    }
}
