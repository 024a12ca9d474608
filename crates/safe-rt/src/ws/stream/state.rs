//! The moving part of a WebSocket: bytes between frames and the transport, without waiting.

use std::io;

use tungstenite::protocol::frame::coding::CloseCode;

use super::WS_TRANSPORT_READS_MAX;
use crate::socket::Socket;
use crate::ws::error::{WsError, WsErrorKind};
use crate::ws::frame::{Control, Role};
use crate::ws::inbound::{Event, Inbound};
use crate::ws::outbound::{FRAME_PAYLOAD_MAX, NORMAL, Outbound};

/// The peer broke a rule (RFC 6455 section 7.4.1).
const PROTOCOL_ERROR: u16 = 1002;
/// The peer sent a type of data that is not taken.
const UNSUPPORTED: u16 = 1003;

/// What changes while bytes move.
pub(super) struct State {
    inbound: Inbound,
    outbound: Outbound,
    /// The first failure found while reading; it ends both directions and stays.
    failed: Option<WsError>,
    /// The peer ended the stream in order.
    ended: bool,
    /// The buffer may hold payload, or an end.
    more: bool,
}

/// What one look at the transport brought.
enum Received {
    /// Payload, past the buffer.
    Payload(usize),
    /// Something for the buffer.
    Buffered,
    /// Nothing now.
    Nothing,
    /// The peer closed the transport.
    End,
}

impl State {
    pub(super) fn new(role: Role, behind: &[u8]) -> Self {
        Self {
            inbound: Inbound::new(role, behind),
            outbound: Outbound::new(role),
            failed: None,
            ended: false,
            more: !behind.is_empty(),
        }
    }

    /// Reads payload into `buf`, which is not empty: all that is here, and if there is none what the
    /// transport has. `Some(0)` is the end.
    pub(super) fn read(&mut self, transport: &Socket, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.read_payload(transport, buf);
        if self.has_unsent() {
            // A pong or a Close frame goes out now if there is room; if not, or if the transport
            // fails, the next call comes to it.
            let _ = self.send(transport);
        }
        read
    }

    fn read_payload(&mut self, transport: &Socket, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let (mut taken, mut reads) = (0, 0);
        loop {
            if taken == buf.len() || (taken > 0 && self.is_over()) {
                self.more = !self.inbound.is_empty();
                return Ok(Some(taken));
            }
            self.check_failed()?;
            if self.ended {
                return Ok(Some(0));
            }
            match self.inbound.next(&mut buf[taken..]) {
                Ok(Event::Payload(len)) => taken += len,
                Ok(Event::Ping(payload)) => self.outbound.answer(payload),
                Ok(Event::Close(payload)) => self.peer_closes(payload),
                Err(error) => self.fail(error),
                Ok(Event::NeedMore) if taken > 0 || reads == WS_TRANSPORT_READS_MAX => {
                    self.more = false;
                    return Ok((taken > 0).then_some(taken));
                }
                Ok(Event::NeedMore) => {
                    reads += 1;
                    match self.receive(transport, buf)? {
                        Received::Payload(len) => taken = len,
                        Received::Buffered => {}
                        Received::Nothing => {
                            self.more = false;
                            return Ok(None);
                        }
                        // After our Close frame the answer is a courtesy.
                        Received::End if self.outbound.is_shut() => self.ended = true,
                        Received::End => self.failed = Some(WsError::new(WsErrorKind::CutOff)),
                    }
                }
            }
        }
    }

    /// Takes what the transport has, payload of a large frame straight into `buf`.
    fn receive(&mut self, transport: &Socket, buf: &mut [u8]) -> io::Result<Received> {
        if let Some(left) = self.inbound.direct() {
            let len = buf.len().min(left);
            let payload = &mut buf[..len];
            return Ok(match transport.try_read(payload)? {
                None => Received::Nothing,
                Some(0) => Received::End,
                Some(len) => {
                    self.inbound.take_direct(&mut payload[..len]);
                    Received::Payload(len)
                }
            });
        }
        Ok(match transport.try_read(self.inbound.room())? {
            None => Received::Nothing,
            Some(0) => Received::End,
            Some(len) => {
                self.inbound.filled(len);
                Received::Buffered
            }
        })
    }

    /// Takes the peer's Close frame and has it answered (RFC 6455 section 5.5.1).
    fn peer_closes(&mut self, payload: Control) {
        let (status, reason) = match payload.as_slice() {
            [] => (None, &[][..]),
            [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
            [_] => return self.fail_with("a Close frame has half a status"),
        };
        if status.is_some_and(|status| !CloseCode::from(status).is_allowed()) {
            return self.fail_with("a Close frame has a status that may not be sent");
        }
        if core::str::from_utf8(reason).is_err() {
            return self.fail_with("the reason in a Close frame is no UTF-8");
        }
        self.outbound.close(status);
        match status.map(CloseCode::from) {
            // Done, or going away.
            None | Some(CloseCode::Normal | CloseCode::Away) => self.ended = true,
            Some(status) => {
                let error = WsError::of_peer(WsErrorKind::Closed, status.into(), reason);
                self.failed = Some(error);
            }
        }
    }

    fn fail_with(&mut self, text: &'static str) {
        self.fail(WsError::with_text(WsErrorKind::Protocol, text));
    }

    /// Ends both directions and has the peer told why.
    fn fail(&mut self, error: WsError) {
        self.outbound.close(Some(match error.kind() {
            WsErrorKind::TextFrame => UNSUPPORTED,
            _ => PROTOCOL_ERROR,
        }));
        self.failed = Some(error);
    }

    /// Puts as much of `buf`, which is not empty, into frames as the transport takes, and at most
    /// one frame more.
    pub(super) fn write(&mut self, transport: &Socket, buf: &[u8]) -> io::Result<Option<usize>> {
        let mut taken = 0;
        while taken < buf.len() {
            let rest = &buf[taken..];
            let payload = &rest[..rest.len().min(FRAME_PAYLOAD_MAX)];
            match self.push(transport, payload) {
                Ok(true) => taken += payload.len(),
                Ok(false) => break,
                Err(error) if taken == 0 => return Err(error),
                // The bytes taken are reported now; the failure is found again next time.
                Err(_) => break,
            }
        }
        // A failure here is again for the next call: the frame was accepted.
        let _ = self.send(transport);
        Ok((taken > 0).then_some(taken))
    }

    /// Accepts a frame if every byte before it is with the kernel.
    fn push(&mut self, transport: &Socket, payload: &[u8]) -> io::Result<bool> {
        self.check_failed()?;
        if self.outbound.is_shut() {
            let text = "write after one side has closed the WebSocket";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        if !self.send(transport)? {
            return Ok(false);
        }
        self.outbound.push(payload)?;
        Ok(true)
    }

    /// Sends what is left; returns whether all of it is with the kernel.
    pub(super) fn send(&mut self, transport: &Socket) -> io::Result<bool> {
        Ok(self.outbound.send(transport)? && transport.try_flush()?)
    }

    /// Has a Close frame follow everything accepted so far.
    pub(super) fn shut_write(&mut self) {
        self.outbound.close(Some(NORMAL));
    }

    /// Returns whether bytes are left that the transport may still take.
    pub(super) fn has_unsent(&self) -> bool {
        self.outbound.has_unsent()
    }

    /// Returns whether a read has something to report whatever the transport says.
    pub(super) fn is_pending(&self) -> bool {
        self.more || self.is_over()
    }

    /// Returns whether nothing comes any more.
    pub(super) const fn is_over(&self) -> bool {
        self.ended || self.failed.is_some()
    }

    fn check_failed(&self) -> io::Result<()> {
        self.failed
            .as_ref()
            .map_or(Ok(()), |failed| Err(failed.clone().into()))
    }
}
