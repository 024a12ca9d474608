//! CONNACK: the server's answer to CONNECT (MQTT3-3.2).

use std::fmt;

use super::error::DecodeError;
use super::field::Field;
use super::fixed_header::PacketType;
use super::properties::Properties;
use super::reader::Reader;
use super::version::Version;
use super::writer::{Writer, packet_len};

/// Whether a connection was accepted, and if not, why (MQTT3-3.2.2.3): the return code of CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectReason {
    /// 0: the connection is accepted.
    Accepted,
    /// 1: the server does not speak this version of the protocol.
    UnacceptableProtocolVersion,
    /// 2: the server does not take this client identifier.
    IdentifierRejected,
    /// 3: the MQTT service is not available.
    ServerUnavailable,
    /// 4: user name or password are malformed; many servers send it for wrong ones.
    BadUserNameOrPassword,
    /// 5: the client may not connect.
    NotAuthorized,
}

impl ConnectReason {
    /// Returns the return code of CONNACK.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::UnacceptableProtocolVersion => 1,
            Self::IdentifierRejected => 2,
            Self::ServerUnavailable => 3,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized => 5,
        }
    }

    /// Returns the meaning of a return code; `None` for a reserved one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

impl fmt::Display for ConnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::UnacceptableProtocolVersion => "unacceptable protocol version",
            Self::IdentifierRejected => "client identifier rejected",
            Self::ServerUnavailable => "server unavailable",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
        })
    }
}

/// A CONNACK packet, valid by construction: a refused connection has no session (MQTT3-3.2.2-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    session_present: bool,
    reason: ConnectReason,
    properties: Properties<'a>,
}

/// The one connect acknowledge flag that MQTT 3.1.1 knows (MQTT3-3.2.2.2).
const SESSION_PRESENT: u8 = 1;

impl<'a> ConnAck<'a> {
    /// Makes the answer to a client that is welcome; `session_present` says whether a session of
    /// its own goes on.
    #[must_use]
    pub const fn accepted(session_present: bool) -> Self {
        Self {
            session_present,
            reason: ConnectReason::Accepted,
            properties: Properties::EMPTY,
        }
    }

    /// Makes the answer to a client that is not welcome for this reason.
    #[must_use]
    pub const fn refused(reason: ConnectReason) -> Self {
        Self {
            session_present: false,
            reason,
            properties: Properties::EMPTY,
        }
    }

    /// Returns whether the server goes on with a session it had kept for this client.
    #[must_use]
    pub const fn session_present(&self) -> bool {
        self.session_present
    }

    /// Returns whether the connection was accepted, and if not, why.
    #[must_use]
    pub const fn reason(&self) -> ConnectReason {
        self.reason
    }

    /// Returns the properties.
    #[must_use]
    pub const fn properties(&self) -> Properties<'a> {
        self.properties
    }

    /// Returns the length of the encoded packet in bytes.
    #[must_use]
    pub const fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_length(version))
    }

    /// Writes the packet into the first [`ConnAck::encoded_len`] bytes of `out` and returns how
    /// many these are.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let remaining_length = self.remaining_length(version);
        let first = PacketType::ConnAck.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        writer.byte(if self.session_present {
            SESSION_PRESENT
        } else {
            0
        });
        writer.byte(self.reason.code());
        self.properties.encode(version, &mut writer);
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let flags = reader.byte(Field::ConnectAckFlags)?;
        if flags & !SESSION_PRESENT != 0 {
            return Err(DecodeError::ConnectAckFlags { found: flags });
        }
        let code = reader.byte(Field::ConnectReturnCode)?;
        let Some(reason) = ConnectReason::from_code(code) else {
            return Err(DecodeError::ConnectReturnCode { found: code });
        };
        let session_present = flags & SESSION_PRESENT != 0;
        if session_present && reason != ConnectReason::Accepted {
            return Err(DecodeError::SessionPresentWithRefusal { reason });
        }
        let properties = Properties::decode(version, &mut reader);
        reader.end(PacketType::ConnAck)?;
        Ok(Self {
            session_present,
            reason,
            properties,
        })
    }

    /// Returns the number of bytes that follow the fixed header.
    const fn remaining_length(&self, version: Version) -> usize {
        2 + self.properties.encoded_len(version)
    }
}
