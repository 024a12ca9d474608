//! One connected byte stream, whatever is underneath: TCP, a Unix socket, the in-memory pipe,
//! TLS over any of them, or a WebSocket over any of these.
//!
//! A [`Socket`] is full duplex: every call takes `&self`, and one fiber can read while another
//! writes. Reading and writing come in two forms. The calls of [`Read`] and [`Write`] wait, obey
//! the ambient deadline and let other fibers run; the `try_` calls neither wait nor yield, and go
//! with [`Socket::readable`] and [`Socket::writable`] in a [`fiber::select`]. How a connection is
//! made is the business of `dial` and `listener`.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read, Write};

use fiber::net::{PipeStream, Shutdown, TcpStream, UnixStream};
use fiber::{Link, Source, Unparker};

use crate::tls::TlsStream;
use crate::traffic::Counts;
use crate::ws::WsStream;

/// How long [`Socket::close`] waits for room for its last bytes when no deadline is set.
pub const CLOSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// A connected byte stream over TCP, a Unix socket, an in-memory pipe, TLS over one of them, or a
/// WebSocket over one of these.
///
/// Dropping it ends the connection at once: bytes that are not with the kernel are lost, and a peer
/// over TLS or a WebSocket sees that the stream was cut off. [`close`](Self::close) ends it in order.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use safe_rt::Socket;
///
/// fiber::run(|| -> std::io::Result<()> {
///     let (ours, theirs) = fiber::net::pipe(64);
///     let (ours, theirs) = (Socket::from(ours), Socket::from(theirs));
///     (&ours).write_all(b"hello")?;
///     ours.close()?;
///     let mut text = String::new();
///     (&theirs).read_to_string(&mut text)?;
///     assert_eq!(text, "hello");
///     Ok(())
/// })
/// .expect("the runtime ran")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Socket {
    inner: Inner,
    counts: Counts,
    /// The address that was connected to, where that was an address of the peer.
    dialled: Option<SocketAddr>,
}

enum Inner {
    Tcp(TcpStream),
    Unix(UnixStream),
    Pipe(PipeStream),
    /// Boxed: it is many times the size of the others.
    Tls(Box<TlsStream>),
    /// Boxed for the same reason.
    Ws(Box<WsStream>),
}

impl From<Inner> for Socket {
    fn from(inner: Inner) -> Self {
        let counts = Counts::default();
        Self {
            inner,
            counts,
            dialled: None,
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Inner::Tcp(stream).into()
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Inner::Unix(stream).into()
    }
}

impl From<PipeStream> for Socket {
    fn from(stream: PipeStream) -> Self {
        Inner::Pipe(stream).into()
    }
}

impl Socket {
    /// Reads what is there, without waiting or yielding: `None` if nothing is yet, `Some(0)` at
    /// the end of the stream or for an empty `buf`.
    ///
    /// # Errors
    /// Those of the transport. Over a WebSocket also `WsError`, over TLS also `TlsError`: a stream
    /// that was cut off is an error and never an end, and a client certificate refused in TLS 1.3
    /// shows here first. What came before a failure is returned before it.
    #[inline]
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match &self.inner {
            // An empty buffer asks nothing of the transport, so it changes nothing either.
            _ if buf.is_empty() => Ok(Some(0)),
            Inner::Tcp(stream) => stream.try_read(buf),
            Inner::Unix(stream) => stream.try_read(buf),
            Inner::Pipe(stream) => stream.try_read(buf),
            Inner::Tls(stream) => stream.try_read(buf),
            Inner::Ws(stream) => stream.try_read(buf),
        }?;
        self.counts.received(read.unwrap_or_default());
        Ok(read)
    }

    /// Writes what there is room for, without waiting or yielding: `None` if there is no room,
    /// `Some(0)` only for an empty `buf`.
    ///
    /// Over TLS at most one record (16 KiB) of the bytes accepted is not with the kernel yet: they
    /// leave in the order of acceptance, so all before the last 16 KiB are. Small writes are gathered
    /// into that record while there is no room. Over a WebSocket the same holds of one frame (16 KiB).
    /// [`try_flush`](Self::try_flush) tells when all left.
    ///
    /// # Errors
    /// Those of the transport, `TlsError`, `WsError`, and
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) after [`shutdown_write`](Self::shutdown_write), or
    /// after the peer closed a WebSocket.
    #[inline]
    pub fn try_write(&self, buf: &[u8]) -> io::Result<Option<usize>> {
        let written = match &self.inner {
            _ if buf.is_empty() => Ok(Some(0)),
            Inner::Tcp(stream) => stream.try_write(buf),
            Inner::Unix(stream) => stream.try_write(buf),
            Inner::Pipe(stream) => stream.try_write(buf),
            Inner::Tls(stream) => stream.try_write(buf),
            Inner::Ws(stream) => stream.try_write(buf),
        }?;
        self.counts.sent(written.unwrap_or_default());
        Ok(written)
    }

    /// Sends what was accepted and is still here, without waiting or yielding. `true` means that
    /// every byte accepted so far, encrypted if need be, is with the kernel.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    #[inline]
    pub fn try_flush(&self) -> io::Result<bool> {
        match &self.inner {
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => Ok(true),
            Inner::Tls(stream) => stream.try_flush(),
            Inner::Ws(stream) => stream.try_flush(),
        }
    }

    /// Returns what to wait for before the next [`try_read`](Self::try_read): over TLS and over a
    /// WebSocket it is ready at once while decoded bytes are waiting. Reading can leave these
    /// something to send: call [`try_flush`](Self::try_flush) before the wait, and wait for room as
    /// well if bytes are left.
    #[inline]
    #[must_use]
    pub fn readable(&self) -> Readiness<'_> {
        match &self.inner {
            Inner::Tcp(stream) => stream.readable().into(),
            Inner::Unix(stream) => stream.readable().into(),
            Inner::Pipe(stream) => stream.readable().into(),
            Inner::Tls(stream) => stream.readable(),
            Inner::Ws(stream) => stream.readable(),
        }
    }

    /// Returns what to wait for before the next [`try_write`](Self::try_write) or
    /// [`try_flush`](Self::try_flush): room in the transport.
    #[inline]
    #[must_use]
    pub fn writable(&self) -> Readiness<'_> {
        match &self.inner {
            Inner::Tcp(stream) => stream.writable().into(),
            Inner::Unix(stream) => stream.writable().into(),
            Inner::Pipe(stream) => stream.writable().into(),
            Inner::Tls(stream) => stream.transport().writable(),
            Inner::Ws(stream) => stream.transport().writable(),
        }
    }

    /// Ends the stream towards the peer, who still may send: over TLS with close_notify, then on
    /// the transport; over a WebSocket with a Close frame, which the peer answers with its own, and
    /// then sends no more. Waits until every byte accepted before is with the kernel.
    ///
    /// # Errors
    /// Those of [`flush`](Write::flush). The writing side counts as shut also after an error; the
    /// call can be repeated to finish.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match &self.inner {
            Inner::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Inner::Unix(stream) => stream.shutdown(Shutdown::Write),
            Inner::Pipe(stream) => {
                stream.shutdown(Shutdown::Write);
                Ok(())
            }
            Inner::Tls(stream) => stream.shutdown_write(),
            Inner::Ws(stream) => stream.shutdown_write(),
        }
    }

    /// Ends the connection in order: [`shutdown_write`](Self::shutdown_write), then drop. Waits
    /// under the ambient deadline, else under [`CLOSE_TIMEOUT_DEFAULT`]. A WebSocket waits for the
    /// peer's Close frame as well, within the same time and at most `WS_CLOSE_TIMEOUT`.
    ///
    /// # Errors
    /// Those of [`shutdown_write`](Self::shutdown_write); the connection is gone either way.
    pub fn close(self) -> io::Result<()> {
        if let Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) = &self.inner {
            // Nothing is waited for.
            return self.shutdown_write();
        }
        crate::dial::with_default_deadline(CLOSE_TIMEOUT_DEFAULT, || {
            self.shutdown_write()?;
            if let Inner::Ws(stream) = &self.inner {
                stream.finish();
            }
            Ok(())
        })
    }

    /// Returns the application protocol agreed on by ALPN, if this is TLS and one was.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.inner {
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => None,
            Inner::Tls(stream) => stream.alpn(),
            Inner::Ws(stream) => stream.transport().alpn(),
        }
    }

    /// Returns whether bytes are protected by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match &self.inner {
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => false,
            Inner::Tls(_) => true,
            Inner::Ws(stream) => stream.transport().is_tls(),
        }
    }

    /// Returns whether bytes travel in the frames of a WebSocket.
    #[must_use]
    pub const fn is_ws(&self) -> bool {
        matches!(self.inner, Inner::Ws(_))
    }

    /// Wraps a TLS stream whose handshake is done.
    pub(crate) fn from_tls(stream: TlsStream) -> Self {
        Inner::Tls(Box::new(stream)).into()
    }

    /// Wraps a WebSocket whose handshake is done.
    pub(crate) fn from_ws(stream: WsStream) -> Self {
        Inner::Ws(Box::new(stream)).into()
    }

    /// Returns whether accepted bytes are left here that the kernel may still take.
    #[cfg(any(feature = "tls", feature = "ws"))]
    pub(crate) fn has_unsent(&self) -> bool {
        match &self.inner {
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => false,
            Inner::Tls(stream) => stream.has_unsent(),
            Inner::Ws(stream) => stream.has_unsent(),
        }
    }

    /// Returns the TLS stream, if there is one.
    #[cfg(feature = "tls")]
    pub(crate) fn as_tls(&self) -> Option<&TlsStream> {
        match &self.inner {
            Inner::Tls(stream) => Some(stream),
            Inner::Ws(stream) => stream.transport().as_tls(),
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => None,
        }
    }

    /// Returns the socket that carries this one: the transport of TLS or of a WebSocket.
    pub(crate) fn transport(&self) -> Option<&Self> {
        match &self.inner {
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => None,
            Inner::Tls(stream) => Some(stream.transport()),
            Inner::Ws(stream) => Some(stream.transport()),
        }
    }

    /// Returns the TCP connection underneath, if there is one.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match &self.inner {
            Inner::Tcp(stream) => Some(stream),
            _ => self.transport()?.tcp(),
        }
    }

    /// Wraps a connection that was made to this address.
    pub(crate) fn dialled(stream: TcpStream, address: SocketAddr) -> Self {
        let mut socket = Self::from(stream);
        // That one stands for another.
        socket.dialled = Some(address).filter(|address| !address.ip().is_unspecified());
        socket
    }

    /// Returns the address of the peer, if there is TCP underneath and it is still known. That of a
    /// connection that was dialled stays known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.inner {
            Inner::Tcp(stream) => self.dialled.or_else(|| stream.peer_addr().ok()),
            _ => self.transport()?.peer(),
        }
    }

    /// What it counted by itself.
    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Read for &Socket {
    /// Waits for at least one byte or the end; an empty `buf` is `Ok(0)` at once.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match &self.inner {
            _ if buf.is_empty() => Ok(0),
            Inner::Tcp(stream) => (&mut &*stream).read(buf),
            Inner::Unix(stream) => (&mut &*stream).read(buf),
            Inner::Pipe(stream) => (&mut &*stream).read(buf),
            Inner::Tls(stream) => stream.read(buf),
            Inner::Ws(stream) => stream.read(buf),
        }?;
        self.counts.received(read);
        Ok(read)
    }
}

impl Write for &Socket {
    /// Waits until at least one byte is accepted; an empty `buf` is `Ok(0)` at once. Over TLS and
    /// over a WebSocket the last of the bytes may need a [`flush`](Write::flush) to leave.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = match &self.inner {
            _ if buf.is_empty() => Ok(0),
            Inner::Tcp(stream) => (&mut &*stream).write(buf),
            Inner::Unix(stream) => (&mut &*stream).write(buf),
            Inner::Pipe(stream) => (&mut &*stream).write(buf),
            Inner::Tls(stream) => stream.write(buf),
            Inner::Ws(stream) => stream.write(buf),
        }?;
        self.counts.sent(written);
        Ok(written)
    }

    /// Waits until every byte accepted so far is with the kernel.
    fn flush(&mut self) -> io::Result<()> {
        match &self.inner {
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Pipe(_) => Ok(()),
            Inner::Tls(stream) => stream.flush(),
            Inner::Ws(stream) => stream.flush(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Socket");
        shown.field("tls", &self.is_tls());
        shown.field("ws", &self.is_ws());
        if let Some(peer) = self.peer() {
            shown.field("peer", &peer);
        }
        shown.finish_non_exhaustive()
    }
}

/// One direction of a [`Socket`] as something to wait for in [`fiber::select`].
///
/// Make a new one for each wait: whether decoded bytes are waiting is noted when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Readiness<'a> {
    /// Something to read is here already, whatever the transport says.
    pending: bool,
    transport: fiber::net::Readiness<'a>,
}

impl Readiness<'_> {
    /// Makes it ready at once if `pending`.
    #[cfg(any(feature = "tls", feature = "ws"))]
    pub(crate) const fn or_pending(mut self, pending: bool) -> Self {
        self.pending |= pending;
        self
    }
}

impl Readiness<'_> {
    /// Has the kernel tell nothing of this socket any more, until a call finds it not ready or somebody
    /// waits for it; see [`fiber::net::Readiness::unwatch`]. Does not yield.
    pub fn unwatch(&self) {
        self.transport.unwatch();
    }

    /// Has the kernel tell of this socket, if it does not yet; see [`fiber::net::Readiness::watch`]. Does not
    /// yield.
    ///
    /// # Errors
    /// What the system answered when it could not watch the descriptor.
    pub fn watch(&self) -> io::Result<()> {
        self.transport.watch()
    }
}

impl<'a> From<fiber::net::Readiness<'a>> for Readiness<'a> {
    #[inline]
    fn from(transport: fiber::net::Readiness<'a>) -> Self {
        Self {
            pending: false,
            transport,
        }
    }
}

impl Source for Readiness<'_> {
    #[inline]
    fn is_ready(&self) -> bool {
        self.pending || self.transport.is_ready()
    }

    #[inline]
    fn link(&self, waiter: Unparker) -> io::Result<Link> {
        self.transport.link(waiter)
    }

    #[inline]
    fn stand(&self, waiter: Unparker) -> io::Result<Option<Link>> {
        self.transport.stand(waiter)
    }

    #[inline]
    fn unlink(&self, link: Link) {
        self.transport.unlink(link);
    }
}
