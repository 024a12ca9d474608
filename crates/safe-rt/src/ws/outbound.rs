//! Frames that go out: one at a time, so that what was accepted is at most one frame ahead of the
//! transport.

use std::io;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control as ControlCode, Data, OpCode};

use super::frame::{Control, Role, apply_mask};
use crate::socket::Socket;

/// Most bytes of a frame sent, its head included: one record of TLS. So it is also the most that
/// has been accepted from a writer and is not with the kernel yet.
pub const WS_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Head of a masked frame of that length (RFC 6455 section 5.2).
const HEAD_BYTES: usize = 8;
/// Most payload of one frame.
pub(super) const FRAME_PAYLOAD_MAX: usize = WS_FRAME_BYTES_MAX - HEAD_BYTES;

/// The status of an orderly end (RFC 6455 section 7.4.1).
pub(super) const NORMAL: u16 = 1000;

/// How far the end of this side has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    /// Nobody asked for it.
    No,
    /// A Close frame with this status, or without one, is to follow what is on its way.
    Queued(Option<u16>),
    /// It is in the buffer or gone: nothing may follow it.
    Framed,
}

pub(super) struct Outbound {
    role: Role,
    /// The frame that is on its way, and how much of it the transport has taken.
    frame: Vec<u8>,
    taken: usize,
    /// The answer to the last ping; one before it that could not be sent is left out (section 5.5.3).
    pong: Option<Control>,
    close: Close,
    /// The transport refused bytes: those left here will never leave.
    broken: bool,
}

impl Outbound {
    pub(super) const fn new(role: Role) -> Self {
        Self {
            role,
            frame: Vec::new(),
            taken: 0,
            pong: None,
            close: Close::No,
            broken: false,
        }
    }

    /// Has the last ping answered.
    pub(super) fn answer(&mut self, ping: Control) {
        if self.close == Close::No {
            self.pong = Some(ping);
        }
    }

    /// Has a Close frame follow, unless one does already.
    pub(super) fn close(&mut self, status: Option<u16>) {
        if self.close == Close::No {
            self.close = Close::Queued(status);
        }
    }

    /// Returns whether nothing may be written any more.
    pub(super) fn is_shut(&self) -> bool {
        self.close != Close::No
    }

    /// Puts payload into a frame of its own; the one before it must have been taken.
    ///
    /// # Errors
    /// There was no randomness for the mask; nothing was accepted then.
    pub(super) fn push(&mut self, payload: &[u8]) -> io::Result<()> {
        self.put(OpCode::Data(Data::Binary), payload)
    }

    fn put(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        let mask = match self.role {
            Role::Server => None,
            Role::Client => {
                let mut mask = [0; 4];
                fiber::random::fill(&mut mask)?;
                Some(mask)
            }
        };
        let header = FrameHeader {
            opcode,
            mask,
            ..FrameHeader::default()
        };
        self.frame.clear();
        self.taken = 0;
        header
            .format(payload.len() as u64, &mut self.frame)
            .map_err(io::Error::other)?;
        let head_len = self.frame.len();
        self.frame.extend_from_slice(payload);
        if let Some(mask) = mask {
            apply_mask(&mut self.frame[head_len..], mask, 0);
        }
        Ok(())
    }

    /// Gives the transport what is framed and what waits behind it; returns whether all of it was
    /// taken.
    pub(super) fn send(&mut self, transport: &Socket) -> io::Result<bool> {
        let sent = self.try_send(transport);
        self.broken |= sent.is_err();
        sent
    }

    fn try_send(&mut self, transport: &Socket) -> io::Result<bool> {
        loop {
            while self.taken < self.frame.len() {
                match transport.try_write(&self.frame[self.taken..])? {
                    Some(len) => self.taken += len,
                    None => return Ok(false),
                }
            }
            if let Some(pong) = self.pong.take() {
                self.put(OpCode::Control(ControlCode::Pong), pong.as_slice())?;
            } else if let Close::Queued(status) = self.close {
                self.close = Close::Framed;
                let status = status.map(u16::to_be_bytes);
                let payload = status.as_ref().map_or(&[][..], |status| &status[..]);
                self.put(OpCode::Control(ControlCode::Close), payload)?;
            } else {
                self.frame.clear();
                self.taken = 0;
                return Ok(true);
            }
        }
    }

    /// Returns whether something is left that the transport may still take.
    pub(super) fn has_unsent(&self) -> bool {
        let waiting = self.pong.is_some() || matches!(self.close, Close::Queued(_));
        !self.broken && (waiting || self.taken < self.frame.len())
    }
}
