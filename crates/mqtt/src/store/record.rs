//! Records: what a store remembers, and how it looks in a file. Numbers are big-endian, as in MQTT.
//!
//! ```text
//!   frame    length u32 │ checksum u32 │ body
//!   body     kind u8 │ position u64 │ fields
//!
//!   1 publish       flags u8 │ published u64 │ [expires u64] │ key │ topic length u16 │ topic │ payload
//!   2 assigned      message u64 │ packet identifier u16
//!   3 recorded      message u64
//!   4 done          message u64 │ cause u8 │ detail u8 │ key
//!   5 received      packet identifier u16
//!   6 released      packet identifier u16
//!   7 session lost
//!   8 identity      protocol level u8 │ mode u8 │ client id length u16 │ client id │ endpoint
//!   9 maybe sent    message u64
//!                   (key = length u8 │ bytes)
//! ```
//! The length is that of the body; the checksum covers the length and the body, and begins with the
//! salt of the file. A kind that is not known, and fields that say nothing known, are passed over: a
//! newer program wrote them.

use super::checksum::crc32c;
use super::key::Key;
use super::pos::StorePos;
use crate::packet::{PacketId, QoS, Version};

/// The longest body of a record in bytes, and so the largest message that can be stored.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The highest position of a record that is taken for one of the store's: far more than are ever given.
const POSITION_MAX: u64 = 1 << 60;

/// Length and checksum.
pub(super) const FRAME_HEAD: usize = 8;
/// Kind and position.
const BODY_HEAD: usize = 9;

const RETAIN: u8 = 1 << 2;
/// The message can get too old to be sent.
const EXPIRES: u8 = 1 << 3;

/// Why a message needs no more sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DoneCause {
    /// The broker has it.
    Acked {
        /// The broker may have got it more than once.
        maybe_twice: bool,
    },
    /// The broker refused it, with this reason code.
    Refused(u8),
    /// It was too old to be sent.
    Expired,
    /// A rule of the queue dropped it.
    Dropped,
    /// The broker lost the session while it was in flight, and it was given up.
    SessionLost,
    /// The program took it back before it was sent.
    Withdrawn,
}

impl DoneCause {
    const fn bytes(self) -> [u8; 2] {
        match self {
            Self::Acked { maybe_twice } => [0, maybe_twice as u8],
            Self::Refused(code) => [1, code],
            Self::Expired => [2, 0],
            Self::Dropped => [3, 0],
            Self::SessionLost => [4, 0],
            Self::Withdrawn => [5, 0],
        }
    }

    const fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        Some(match bytes {
            [0, detail] => Self::Acked {
                maybe_twice: detail != 0,
            },
            [1, code] => Self::Refused(code),
            [2, _] => Self::Expired,
            [3, _] => Self::Dropped,
            [4, _] => Self::SessionLost,
            [5, _] => Self::Withdrawn,
            _ => return None,
        })
    }
}

/// How the client asks for its session (MQTT3-3.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Without an earlier session at each connection.
    Clean,
    /// Without an earlier session at the first connection of the program alone.
    CleanFirst,
    /// With what the broker has kept.
    Kept,
}

/// Whose session is stored. What is in flight counts for the same client and endpoint alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The Client Identifier.
    pub client_id: String,
    /// Where the broker is, as the program names it: the text of an [`Endpoint`](safe_rt::Endpoint) is compared with that
    /// of the client, any other is a name.
    pub endpoint: String,
    /// The Protocol Level of CONNECT (MQTT3-3.1.2.2).
    pub protocol_level: u8,
    /// How the session is asked for.
    pub mode: Mode,
}

impl Identity {
    /// The session of a client that speaks MQTT 3.1.1 and has the broker keep its session, as one of
    /// [`Client::open`](crate::Client::open) does.
    #[must_use]
    pub fn kept(client_id: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            endpoint: endpoint.into(),
            protocol_level: Version::V311.protocol_level(),
            mode: Mode::Kept,
        }
    }

    /// Tells whether what is in flight for the one is in flight for the other.
    #[must_use]
    pub fn has_session_of(&self, other: &Self) -> bool {
        self.client_id == other.client_id && self.endpoint == other.endpoint
    }
}

/// A message as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    /// The program's name for it.
    pub key: Option<Key>,
    /// The quality of service, 1 or 2.
    pub qos: QoS,
    /// Whether the broker is to retain it.
    pub retain: bool,
    /// When it was published, in milliseconds of Unix time; 0 if nobody knows.
    pub published: u64,
    /// From when on it is not to be sent any more, unless it was, in milliseconds of Unix time; 0 for
    /// never.
    pub expires: u64,
    /// The topic name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
}

/// Something to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A message is to be delivered; the position of this record is its name from now on.
    Publish(MessageRecord<'a>),
    /// A message got its packet identifier.
    Assigned {
        /// Which message.
        message: StorePos,
        /// Its identifier.
        packet_id: PacketId,
    },
    /// PUBREC came for a message that has an identifier.
    Recorded {
        /// Which message.
        message: StorePos,
    },
    /// A message needs no more sending.
    Done {
        /// Which message.
        message: StorePos,
        /// Why.
        cause: DoneCause,
        /// Its key. A store enters it by itself.
        key: Option<Key>,
    },
    /// A QoS 2 message came under this identifier.
    Received(PacketId),
    /// PUBREL came for it.
    Released(PacketId),
    /// The broker has lost the session: no identifier means anything any more.
    SessionLost,
    /// Whose session the records from here on belong to. A store enters it by itself.
    Identity(Identity),
    /// A message had an identifier in a session that is over. A store enters it by itself.
    MaybeSent {
        /// Which message.
        message: StorePos,
    },
}

impl<'a> Record<'a> {
    /// Appends the frame of this record; it has yet to be [sealed](seal).
    pub(super) fn encode(&self, at: StorePos, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME_HEAD]);
        out.push(self.kind());
        out.extend_from_slice(&at.0.to_be_bytes());
        match self {
            Self::Publish(message) => message.encode(out),
            Self::Assigned { message, packet_id } => {
                out.extend_from_slice(&message.0.to_be_bytes());
                out.extend_from_slice(&packet_id.get().to_be_bytes());
            }
            Self::Recorded { message } | Self::MaybeSent { message } => {
                out.extend_from_slice(&message.0.to_be_bytes());
            }
            Self::Done {
                message,
                cause,
                key,
            } => {
                out.extend_from_slice(&message.0.to_be_bytes());
                out.extend_from_slice(&cause.bytes());
                encode_key(key.as_ref(), out);
            }
            Self::Received(packet_id) | Self::Released(packet_id) => {
                out.extend_from_slice(&packet_id.get().to_be_bytes());
            }
            Self::SessionLost => {}
            Self::Identity(identity) => identity.encode(out),
        }
        let len = (out.len() - start - FRAME_HEAD) as u32;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// Returns the length of its frame.
    pub(super) fn frame_len(&self) -> usize {
        let fields = match self {
            Self::Publish(message) => return message.frame_len(),
            Self::Assigned { .. } => 8 + 2,
            Self::Recorded { .. } | Self::MaybeSent { .. } => 8,
            Self::Done { key, .. } => 8 + 2 + 1 + key.map_or(0, |key| usize::from(key.len)),
            Self::Received(_) | Self::Released(_) => 2,
            Self::SessionLost => 0,
            Self::Identity(identity) => 2 + 2 + identity.client_id.len() + identity.endpoint.len(),
        };
        FRAME_HEAD + BODY_HEAD + fields
    }

    /// Returns the message that this record is about, if it means nothing without it.
    pub(super) const fn subject(&self, at: StorePos) -> Option<StorePos> {
        match self {
            Self::Publish(_) => Some(at),
            Self::Assigned { message, .. }
            | Self::Recorded { message }
            | Self::MaybeSent { message } => Some(*message),
            Self::Done { .. }
            | Self::Received(_)
            | Self::Released(_)
            | Self::SessionLost
            | Self::Identity(_) => None,
        }
    }

    /// Reads a body; `None` if it is of a kind, or says something, that is not known here.
    pub(super) fn decode(body: &'a [u8]) -> Option<(StorePos, Self)> {
        let mut fields = Fields(body);
        let kind = fields.u8()?;
        let at = fields.pos().filter(|at| at.0 <= POSITION_MAX)?;
        let record = match kind {
            1 => Self::Publish(MessageRecord::decode(&mut fields)?),
            2 => Self::Assigned {
                message: fields.pos()?,
                packet_id: PacketId::new(fields.u16()?)?,
            },
            3 => Self::Recorded {
                message: fields.pos()?,
            },
            4 => Self::Done {
                message: fields.pos()?,
                cause: DoneCause::from_bytes([fields.u8()?, fields.u8()?])?,
                key: fields.key()?,
            },
            5 => Self::Received(PacketId::new(fields.u16()?)?),
            6 => Self::Released(PacketId::new(fields.u16()?)?),
            7 => Self::SessionLost,
            8 => Self::Identity(Identity::decode(&mut fields)?),
            9 => Self::MaybeSent {
                message: fields.pos()?,
            },
            _ => return None,
        };
        Some((at, record))
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Publish(_) => 1,
            Self::Assigned { .. } => 2,
            Self::Recorded { .. } => 3,
            Self::Done { .. } => 4,
            Self::Received(_) => 5,
            Self::Released(_) => 6,
            Self::SessionLost => 7,
            Self::Identity(_) => 8,
            Self::MaybeSent { .. } => 9,
        }
    }
}

impl<'a> MessageRecord<'a> {
    /// Returns the length of its frame.
    pub(super) fn frame_len(&self) -> usize {
        let key = self.key.map_or(0, |key| usize::from(key.len));
        let expires = if self.expires == 0 { 0 } else { 8 };
        let fields = 1 + 8 + expires + 1 + key + 2;
        FRAME_HEAD + BODY_HEAD + fields + self.topic.len() + self.payload.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let retain = if self.retain { RETAIN } else { 0 };
        let expires = if self.expires == 0 { 0 } else { EXPIRES };
        out.push(self.qos.bits() | retain | expires);
        out.extend_from_slice(&self.published.to_be_bytes());
        if self.expires != 0 {
            out.extend_from_slice(&self.expires.to_be_bytes());
        }
        encode_key(self.key.as_ref(), out);
        encode_text(self.topic, out);
        out.extend_from_slice(self.payload);
    }

    fn decode(fields: &mut Fields<'a>) -> Option<Self> {
        let flags = fields.u8()?;
        Some(Self {
            qos: QoS::from_bits(flags & !(RETAIN | EXPIRES))?,
            retain: flags & RETAIN != 0,
            published: fields.u64()?,
            expires: if flags & EXPIRES == 0 {
                0
            } else {
                fields.u64()?
            },
            key: fields.key()?,
            topic: fields.text()?,
            payload: fields.0,
        })
    }
}

impl Identity {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.protocol_level);
        out.push(match self.mode {
            Mode::Clean => 0,
            Mode::CleanFirst => 1,
            Mode::Kept => 2,
        });
        encode_text(&self.client_id, out);
        out.extend_from_slice(self.endpoint.as_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            protocol_level: fields.u8()?,
            mode: match fields.u8()? {
                0 => Mode::Clean,
                1 => Mode::CleanFirst,
                2 => Mode::Kept,
                _ => return None,
            },
            client_id: fields.text()?.to_owned(),
            endpoint: str::from_utf8(fields.0).ok()?.to_owned(),
        })
    }
}

/// Enters the checksum into a frame.
pub(super) fn seal(frame: &mut [u8], salt: u32) {
    let crc = frame_checksum(frame, salt);
    frame[4..FRAME_HEAD].copy_from_slice(&crc.to_be_bytes());
}

/// Returns the checksum that a whole frame must have.
fn frame_checksum(frame: &[u8], salt: u32) -> u32 {
    crc32c(crc32c(salt, &frame[..4]), &frame[FRAME_HEAD..])
}

/// Returns the length of the frame that begins here, as it says, if there are as many bytes.
pub(super) fn frame_len(bytes: &[u8]) -> Option<usize> {
    let len: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let len = u32::from_be_bytes(len) as usize;
    let is_body = (BODY_HEAD..=RECORD_BYTES_MAX).contains(&len);
    (is_body && FRAME_HEAD + len <= bytes.len()).then_some(FRAME_HEAD + len)
}

fn encode_key(key: Option<&Key>, out: &mut Vec<u8>) {
    let bytes = key.map_or(&[][..], Key::as_bytes);
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// Tells whether a whole frame is as it was written.
pub(super) fn is_intact(frame: &[u8], salt: u32) -> bool {
    frame[4..FRAME_HEAD] == frame_checksum(frame, salt).to_be_bytes()
}

/// Returns the body of a whole frame.
pub(super) fn body(frame: &[u8]) -> &[u8] {
    &frame[FRAME_HEAD..]
}

/// Appends a text that is at most 65 535 bytes long, or what of it is.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..len.into()]);
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(len)?;
        self.0 = left;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn pos(&mut self) -> Option<StorePos> {
        self.u64().map(StorePos)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        str::from_utf8(self.take(len.into())?).ok()
    }

    /// The outer `None` is what cannot be read, the inner one no key.
    fn key(&mut self) -> Option<Option<Key>> {
        match self.u8()? {
            0 => Some(None),
            len => Key::new(self.take(len.into())?).ok().map(Some),
        }
    }
}
