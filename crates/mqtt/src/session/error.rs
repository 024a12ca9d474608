//! What can be wrong, by whose fault it is: with the caller's command ([`Rejected`]) or with the
//! server's packets ([`PeerError`]).

use std::error::Error;
use std::fmt;

use super::{FILTERS_MAX, Limited};
use crate::debug_is_text::debug_is_text;
use crate::outbound_log::LogFull;
use crate::packet::{EncodeError, PacketId, PacketType, QoS};
use crate::topic::TopicError;

/// A command was not carried out; nothing has changed and the connection is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// An argument is wrong; the same call fails each time.
    Argument(ArgumentError),
    /// There is no room now; the same call may succeed after acknowledgements came or bytes left.
    NoRoom(NoRoom),
    /// The connection is closing or closed.
    Ended,
    /// The connection was started before: there is one CONNECT (MQTT3-3.1.0-2).
    Started,
    /// The server has not accepted the connection yet.
    NotUp,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::NoRoom(error) => error.fmt(f),
            Self::Ended => f.write_str("expected an open connection, found it closing or closed"),
            Self::Started => f.write_str("expected an idle connection, found it started before"),
            Self::NotUp => f.write_str("expected an accepted connection, found CONNACK missing"),
        }
    }
}

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Argument(error) => error.source(),
            Self::NoRoom(error) => error.source(),
            Self::Ended | Self::Started | Self::NotUp => None,
        }
    }
}

impl From<ArgumentError> for Rejected {
    fn from(error: ArgumentError) -> Self {
        Self::Argument(error)
    }
}

impl From<NoRoom> for Rejected {
    fn from(error: NoRoom) -> Self {
        Self::NoRoom(error)
    }
}

impl From<EncodeError> for Rejected {
    #[cold]
    fn from(error: EncodeError) -> Self {
        Self::Argument(ArgumentError::Packet(error))
    }
}

/// An argument of a command that can never be carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgumentError {
    /// It does not make a packet.
    Packet(EncodeError),
    /// A topic filter breaks a rule.
    Filter {
        /// Its place in the list, from 0.
        index: usize,
        /// The rule.
        error: TopicError,
    },
    /// A request names more than [`FILTERS_MAX`] topic filters.
    TooManyFilters {
        /// How many there are.
        found: usize,
    },
    /// The packet is longer than the outbound log can ever hold, or than the server takes.
    TooLarge {
        /// Its length in bytes.
        found: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// It is beyond what the server is known to take.
    ServerLimit(Limited),
    /// The identifier that is to be restored is in use.
    IdentifierInUse {
        /// The identifier.
        packet_id: PacketId,
    },
    /// The identifier is not reserved under this key.
    NotReserved {
        /// The identifier.
        packet_id: PacketId,
    },
    /// The promise of delivery is not one that this command is for.
    QoS {
        /// The promise found.
        found: QoS,
    },
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(error) => error.fmt(f),
            Self::Filter { index, error } => write!(f, "topic filter {index}: {error}"),
            Self::TooManyFilters { found } => {
                write!(
                    f,
                    "expected at most {FILTERS_MAX} topic filters, found {found}"
                )
            }
            Self::TooLarge { found, bound } => {
                write!(
                    f,
                    "expected a packet of at most {bound} bytes, found {found}"
                )
            }
            Self::ServerLimit(limited) => limited.fmt(f),
            Self::IdentifierInUse { packet_id } => {
                write!(f, "expected a free identifier, found {packet_id} in use")
            }
            Self::NotReserved { packet_id } => {
                write!(f, "expected a reserved identifier, found {packet_id}")
            }
            Self::QoS { found } => {
                write!(
                    f,
                    "expected a QoS at which this is done, found {}",
                    found.bits()
                )
            }
        }
    }
}

debug_is_text!(ArgumentError, PeerError);

impl Error for ArgumentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Packet(error) => Some(error),
            Self::Filter { error, .. } => Some(error),
            Self::TooManyFilters { .. }
            | Self::TooLarge { .. }
            | Self::ServerLimit(_)
            | Self::IdentifierInUse { .. }
            | Self::NotReserved { .. }
            | Self::QoS { .. } => None,
        }
    }
}

impl From<Limited> for ArgumentError {
    fn from(limited: Limited) -> Self {
        Self::ServerLimit(limited)
    }
}

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRoom {
    /// As many publishes as the window allows await their acknowledgement: wait for
    /// [`Effect::Completed`](super::Effect::Completed).
    Window {
        /// The window.
        window: u16,
    },
    /// As many requests as allowed await their acknowledgement: wait for
    /// [`Effect::SubAcked`](super::Effect::SubAcked) or
    /// [`Effect::UnsubAcked`](super::Effect::UnsubAcked).
    Requests {
        /// The bound.
        bound: usize,
    },
    /// The outbound log is full: wait until bytes were sent or acknowledged.
    Log(LogFull),
    /// The server has kept a session that is not known here, and may hold a message under each
    /// identifier that is free: wait for PUBCOMP, which says that it does not.
    Stale,
    /// Other control packets wait to be sent: wait until they have left.
    Control {
        /// The bound in bytes.
        bound: usize,
    },
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window { window } => {
                write!(
                    f,
                    "expected fewer than {window} unacknowledged publishes, found {window}"
                )
            }
            Self::Requests { bound } => {
                write!(
                    f,
                    "expected fewer than {bound} unacknowledged requests, found {bound}"
                )
            }
            Self::Log(error) => error.fmt(f),
            Self::Stale => f.write_str(
                "expected an identifier under which the server holds nothing, found none yet",
            ),
            Self::Control { bound } => {
                write!(
                    f,
                    "expected at most {bound} bytes of control packets, found more"
                )
            }
        }
    }
}

impl Error for NoRoom {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::Window { .. } | Self::Requests { .. } | Self::Stale | Self::Control { .. } => {
                None
            }
        }
    }
}

/// The server broke a rule of the protocol; the connection must be closed (MQTT3-4.8.0-1).
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// The server spoke before CONNECT was sent (MQTT3-3.1.0-1).
    BeforeConnect {
        /// The packet found.
        found: PacketType,
    },
    /// The first packet of the server is not CONNACK (MQTT3-3.2.0-1).
    FirstPacket {
        /// The packet found.
        found: PacketType,
    },
    /// A second CONNACK on one connection (MQTT3-3.2.0-1).
    SecondConnAck,
    /// A session is present that was to be discarded (MQTT3-3.2.2-1).
    SessionPresentAfterCleanStart,
    /// A packet that only clients send.
    ClientPacket {
        /// The packet found.
        found: PacketType,
    },
    /// A SUBACK has another number of codes than the SUBSCRIBE has filters (MQTT3-3.9.3-1).
    SubAckCodes {
        /// The identifier of both.
        packet_id: PacketId,
        /// How many filters were sent.
        expected: usize,
        /// How many codes came.
        found: usize,
    },
    /// More messages await their acknowledgement than are held; our bound, not a rule of the
    /// standard.
    InboundWindow {
        /// How many are held.
        window: usize,
    },
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeConnect { found } => {
                write!(
                    f,
                    "expected no packet before CONNECT was sent, found {found}"
                )
            }
            Self::FirstPacket { found } => {
                write!(f, "expected CONNACK as the first packet, found {found}")
            }
            Self::SecondConnAck => f.write_str("expected one CONNACK, found a second"),
            Self::SessionPresentAfterCleanStart => {
                f.write_str("expected session present 0 after a clean start, found 1")
            }
            Self::ClientPacket { found } => {
                write!(f, "expected a packet that servers send, found {found}")
            }
            Self::SubAckCodes {
                packet_id,
                expected,
                found,
            } => write!(
                f,
                "expected {expected} return codes in the SUBACK of packet {packet_id}, \
                 found {found}"
            ),
            Self::InboundWindow { window } => {
                write!(
                    f,
                    "expected at most {window} unacknowledged messages, found one more"
                )
            }
        }
    }
}

impl Error for PeerError {}
