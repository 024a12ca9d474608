//! Frames that come in: from the bytes of the transport to the payload, as a stream.
//!
//! Payload goes on as it comes, so neither a frame nor a message is ever here whole and neither has
//! a bound (RFC 6455 section 5.4 lets both be cut anywhere). A control frame is taken as one piece:
//! it always fits the buffer. The module does not wait and knows no transport.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control as ControlCode, Data, OpCode};

use super::error::{WsError, WsErrorKind};
use super::frame::{CONTROL_BYTES_MAX, Control, Role, apply_mask};

/// Room for what the transport has, in bytes. A frame with more payload than that is read past it.
pub(super) const READ_BUFFER_BYTES: usize = 4096;

/// What the next bytes are.
pub(super) enum Event {
    /// So many bytes of payload were copied out; more than none.
    Payload(usize),
    /// The peer asks for a pong.
    Ping(Control),
    /// The peer is done.
    Close(Control),
    /// Not enough is here to tell.
    NeedMore,
}

/// The data frame that is being read.
struct Frame {
    /// Payload that has not been copied out.
    left: u64,
    mask: Option<[u8; 4]>,
    /// Payload copied out, for the mask; only its place in four bytes counts.
    offset: usize,
}

pub(super) struct Inbound {
    role: Role,
    buffer: Box<[u8]>,
    /// What is in the buffer and was not looked at begins and ends here.
    start: usize,
    end: usize,
    frame: Frame,
    /// The last data frame was not the end of its message.
    unfinished: bool,
}

impl Inbound {
    /// Starts with what came behind the handshake, which is less than the buffer holds.
    pub(super) fn new(role: Role, behind: &[u8]) -> Self {
        let mut buffer = vec![0; READ_BUFFER_BYTES.max(behind.len())].into_boxed_slice();
        buffer[..behind.len()].copy_from_slice(behind);
        Self {
            role,
            buffer,
            start: 0,
            end: behind.len(),
            frame: Frame {
                left: 0,
                mask: None,
                offset: 0,
            },
            unfinished: false,
        }
    }

    /// Takes the next piece of what is in the buffer; payload goes to `out`, which is not empty.
    ///
    /// # Errors
    /// The first rule of RFC 6455 section 5, or of MQTT, that the peer breaks.
    pub(super) fn next(&mut self, out: &mut [u8]) -> Result<Event, WsError> {
        loop {
            if self.frame.left > 0 {
                let buffered = self.end - self.start;
                let len = self.frame.left.min(out.len().min(buffered) as u64) as usize;
                if len == 0 {
                    return Ok(Event::NeedMore);
                }
                out[..len].copy_from_slice(&self.buffer[self.start..self.start + len]);
                self.start += len;
                self.passed(&mut out[..len]);
                return Ok(Event::Payload(len));
            }
            let mut head = Cursor::new(&self.buffer[self.start..self.end]);
            // It reports opcodes that do not exist; nothing else can fail in memory.
            let parsed = FrameHeader::parse(&mut head)
                .map_err(|_| broken("a frame has an opcode that does not exist"))?;
            let Some((header, len)) = parsed else {
                return Ok(Event::NeedMore);
            };
            let head_len = head.position() as usize;
            self.check(&header)?;
            match header.opcode {
                OpCode::Control(code) => {
                    if !header.is_final || len > CONTROL_BYTES_MAX as u64 {
                        let text = "a control frame is cut into fragments or above 125 bytes";
                        return Err(broken(text));
                    }
                    let (begin, len) = (self.start + head_len, len as usize);
                    let Some(payload) = self.buffer[..self.end].get_mut(begin..begin + len) else {
                        return Ok(Event::NeedMore);
                    };
                    if let Some(mask) = header.mask {
                        apply_mask(payload, mask, 0);
                    }
                    let payload = Control::new(payload);
                    self.start = begin + len;
                    match code {
                        ControlCode::Ping => return Ok(Event::Ping(payload)),
                        ControlCode::Close => return Ok(Event::Close(payload)),
                        // An answer to nothing (section 5.5.3).
                        ControlCode::Pong | ControlCode::Reserved(_) => {}
                    }
                }
                OpCode::Data(code) => {
                    self.check_order(code)?;
                    if len > i64::MAX as u64 {
                        return Err(broken("the length of a frame has its highest bit set"));
                    }
                    self.start += head_len;
                    self.unfinished = !header.is_final;
                    self.frame = Frame {
                        left: len,
                        mask: header.mask,
                        offset: 0,
                    };
                }
            }
        }
    }

    /// What holds for every frame.
    fn check(&self, header: &FrameHeader) -> Result<(), WsError> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(broken("a frame uses an extension, and none was agreed on"));
        }
        match (self.role, header.mask) {
            (Role::Client, Some(_)) => Err(broken("the server masks its frames")),
            (Role::Server, None) => Err(broken("the client does not mask its frames")),
            (Role::Client, None) | (Role::Server, Some(_)) => Ok(()),
        }
    }

    /// Whether a data frame may come now.
    fn check_order(&self, code: Data) -> Result<(), WsError> {
        match (code, self.unfinished) {
            (Data::Binary, false) | (Data::Continue, true) => Ok(()),
            (Data::Text, _) => Err(WsError::new(WsErrorKind::TextFrame)),
            (Data::Continue, false) => Err(broken("a message begins in its middle")),
            (Data::Binary | Data::Reserved(_), _) => {
                Err(broken("a message begins before the one before it ended"))
            }
        }
    }

    /// Notes that payload was taken, and unmasks it.
    fn passed(&mut self, payload: &mut [u8]) {
        if let Some(mask) = self.frame.mask {
            apply_mask(payload, mask, self.frame.offset);
        }
        self.frame.left -= payload.len() as u64;
        self.frame.offset = (self.frame.offset + payload.len()) % 4;
    }

    /// Returns how much payload the transport may put past the buffer: so that a large frame is
    /// copied once less.
    pub(super) fn direct(&self) -> Option<usize> {
        let left = usize::try_from(self.frame.left).unwrap_or(usize::MAX);
        (self.start == self.end && left >= READ_BUFFER_BYTES).then_some(left)
    }

    /// Takes payload that was read past the buffer.
    pub(super) fn take_direct(&mut self, payload: &mut [u8]) {
        self.passed(payload);
    }

    /// Returns the free part of the buffer, which is never empty when [`Event::NeedMore`] came.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// Notes that the transport put so many bytes into [`room`](Self::room).
    pub(super) fn filled(&mut self, len: usize) {
        self.end += len;
    }

    /// Returns whether bytes are here that were not looked at.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

fn broken(text: &'static str) -> WsError {
    WsError::with_text(WsErrorKind::Protocol, text)
}

#[cfg(test)]
mod tests;
