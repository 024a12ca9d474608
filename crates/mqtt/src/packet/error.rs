//! What can be wrong with received bytes ([`DecodeError`]) and with a packet somebody wants to send
//! ([`EncodeError`]): one variant for each check.

use std::error::Error;
use std::fmt;

use super::connack::ConnectReason;
use super::field::Field;
use super::fixed_header::PacketType;
use super::var_int;
use crate::debug_is_text::debug_is_text;

/// The peer sent bytes that are no packet; the connection must be closed (MQTT3-4.8.0-1).
///
/// A broker that refuses a CONNECT asks [`DecodeError::connect_reason`] whether an answer is due
/// before the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Packet type 0 or 15, which are reserved (MQTT3-2.2.1).
    UnknownPacketType {
        /// The number found.
        found: u8,
    },
    /// The flags of a packet other than PUBLISH are not those of its type (MQTT3-2.2.2-2).
    ReservedFlags {
        /// The type of the packet.
        packet_type: PacketType,
        /// The flags that the type has.
        expected: u8,
        /// The flags found.
        found: u8,
    },
    /// Both QoS bits of a PUBLISH are set (MQTT3-3.3.1-4).
    PublishQoS,
    /// DUP is set on a PUBLISH of QoS 0 (MQTT3-3.3.1-2).
    DupWithoutQoS,
    /// The fourth byte of the remaining length announces a fifth one (MQTT3-2.2.3).
    RemainingLengthTooLong {
        /// The fourth byte.
        fourth_byte: u8,
    },
    /// The packet is longer than the reader takes; our bound, not a rule of the standard.
    PacketTooLarge {
        /// The type of the packet.
        packet_type: PacketType,
        /// The most bytes a packet may have here.
        maximum: usize,
        /// The bytes it has, fixed header included.
        found: usize,
    },
    /// A field reaches beyond the end of its packet.
    FieldBeyondEnd {
        /// The field.
        field: Field,
        /// The bytes that the field needs.
        expected: usize,
        /// The bytes left in the packet.
        found: usize,
    },
    /// The packet goes on after its last field.
    TrailingBytes {
        /// The type of the packet.
        packet_type: PacketType,
        /// The number of bytes too many.
        found: usize,
    },
    /// A string is not well-formed UTF-8 (MQTT3-1.5.3-1).
    Utf8 {
        /// The string.
        field: Field,
        /// Index of the first byte that does not belong to a character.
        at: usize,
    },
    /// A string holds U+0000 (MQTT3-1.5.3-2).
    NullCharacter {
        /// The string.
        field: Field,
        /// Its index in bytes.
        at: usize,
    },
    /// A topic name is empty (MQTT3-4.7.3-1).
    TopicEmpty {
        /// The topic name.
        field: Field,
    },
    /// A topic name holds a wildcard (MQTT3-3.3.2-2).
    TopicWildcard {
        /// The topic name.
        field: Field,
        /// The wildcard, `+` or `#`.
        found: char,
        /// Its index in bytes.
        at: usize,
    },
    /// A packet that carries an identifier has identifier 0 (MQTT3-2.3.1-1).
    PacketIdZero {
        /// The type of the packet.
        packet_type: PacketType,
    },
    /// The protocol name of a CONNECT is another one (MQTT3-3.1.2-1).
    ProtocolName {
        /// The length of the name found in bytes.
        found_len: usize,
    },
    /// The protocol level of a CONNECT is not that of the version spoken (MQTT3-3.1.2-2).
    ProtocolLevel {
        /// The level of the version spoken.
        expected: u8,
        /// The level found.
        found: u8,
    },
    /// The reserved bit of the connect flags is set (MQTT3-3.1.2-3).
    ConnectReservedFlag {
        /// The connect flags.
        found: u8,
    },
    /// There is no will, yet it has a QoS (MQTT3-3.1.2-11, MQTT3-3.1.2-13).
    WillQoSWithoutWill {
        /// The QoS bits of the will.
        found: u8,
    },
    /// There is no will, yet it is to be retained (MQTT3-3.1.2-11, MQTT3-3.1.2-15).
    WillRetainWithoutWill,
    /// Both QoS bits of the will are set (MQTT3-3.1.2-14).
    WillQoS,
    /// The password flag is set, the user name flag is not (MQTT3-3.1.2-22).
    PasswordWithoutUserName,
    /// An empty client identifier asks for a session to be kept (MQTT3-3.1.3-7); due is an answer
    /// with [`ConnectReason::IdentifierRejected`] (MQTT3-3.1.3-8).
    ClientIdEmpty,
    /// A reserved bit of the connect acknowledge flags is set (MQTT3-3.2.2.1).
    ConnectAckFlags {
        /// The flags.
        found: u8,
    },
    /// The connect return code is a reserved one (MQTT3-3.2.2.3).
    ConnectReturnCode {
        /// The code.
        found: u8,
    },
    /// A connection was refused with a session present (MQTT3-3.2.2-4).
    SessionPresentWithRefusal {
        /// Why it was refused.
        reason: ConnectReason,
    },
    /// A topic filter is empty (MQTT3-4.7.3-1).
    FilterEmpty,
    /// A SUBSCRIBE or UNSUBSCRIBE names no filter (MQTT3-3.8.3-3, MQTT3-3.10.3-2).
    NoFilter {
        /// The type of the packet.
        packet_type: PacketType,
    },
    /// A reserved bit beside the requested QoS is set (MQTT3-3-8.3-4).
    RequestedQoSReserved {
        /// The byte with the requested QoS.
        found: u8,
    },
    /// The requested QoS is 3 (MQTT3-3-8.3-4).
    RequestedQoS,
    /// A return code of SUBACK is a reserved one (MQTT3-3.9.3-2).
    ReturnCode {
        /// The code.
        found: u8,
    },
    /// A SUBACK has no return code, so it answers no filter (MQTT3-3.8.4-5).
    NoReturnCode,
}

impl DecodeError {
    /// Returns what a server answers with, in a CONNACK, before it closes the connection over a
    /// CONNECT with this error; `None` where it closes without an answer.
    #[must_use]
    pub const fn connect_reason(&self) -> Option<ConnectReason> {
        match self {
            Self::ProtocolLevel { .. } => Some(ConnectReason::UnacceptableProtocolVersion),
            Self::ClientIdEmpty => Some(ConnectReason::IdentifierRejected),
            _ => None,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownPacketType { found } => {
                write!(f, "expected a packet type from 1 to 14, found {found}")
            }
            Self::ReservedFlags {
                packet_type,
                expected,
                found,
            } => {
                write!(
                    f,
                    "expected flags {expected:#06b} in {packet_type}, found {found:#06b}"
                )
            }
            Self::PublishQoS => f.write_str("expected QoS 0, 1 or 2 in PUBLISH, found 3"),
            Self::DupWithoutQoS => f.write_str("expected DUP 0 in PUBLISH with QoS 0, found DUP 1"),
            Self::RemainingLengthTooLong { fourth_byte } => write!(
                f,
                "expected a remaining length of at most 4 bytes, \
                 found {fourth_byte:#04x} as fourth byte"
            ),
            Self::PacketTooLarge {
                packet_type,
                maximum,
                found,
            } => {
                write!(
                    f,
                    "expected {packet_type} of at most {maximum} bytes, found {found}"
                )
            }
            Self::FieldBeyondEnd {
                field,
                expected,
                found,
            } => {
                write!(
                    f,
                    "expected {expected} bytes for the {field}, found {found}"
                )
            }
            Self::TrailingBytes { packet_type, found } => {
                write!(
                    f,
                    "expected the end of {packet_type}, found {found} more bytes"
                )
            }
            Self::Utf8 { field, at } => {
                write!(
                    f,
                    "expected UTF-8 in the {field}, found another byte at index {at}"
                )
            }
            Self::NullCharacter { field, at } => null_character(f, field, at),
            Self::TopicEmpty { field } => topic_empty(f, field),
            Self::TopicWildcard { field, found, at } => topic_wildcard(f, field, found, at),
            Self::PacketIdZero { packet_type } => {
                write!(
                    f,
                    "expected a packet identifier from 1 in {packet_type}, found 0"
                )
            }
            Self::ProtocolName { found_len } => {
                write!(
                    f,
                    "expected the protocol name `MQTT`, found another of {found_len} bytes"
                )
            }
            Self::ProtocolLevel { expected, found } => {
                write!(f, "expected protocol level {expected}, found {found}")
            }
            Self::ConnectReservedFlag { found } => {
                write!(
                    f,
                    "expected the reserved connect flag to be 0, found flags {found:#010b}"
                )
            }
            Self::WillQoSWithoutWill { found } => {
                write!(
                    f,
                    "expected will QoS 0 where there is no will, found {found}"
                )
            }
            Self::WillRetainWithoutWill => {
                f.write_str("expected will retain 0 where there is no will, found 1")
            }
            Self::WillQoS => f.write_str("expected will QoS 0, 1 or 2, found 3"),
            Self::PasswordWithoutUserName => password_without_user_name(f),
            Self::ClientIdEmpty => client_id_empty(f),
            Self::ConnectAckFlags { found } => {
                write!(
                    f,
                    "expected connect acknowledge flags 0 or 1, found {found:#04x}"
                )
            }
            Self::ConnectReturnCode { found } => {
                write!(
                    f,
                    "expected a connect return code from 0 to 5, found {found}"
                )
            }
            Self::SessionPresentWithRefusal { reason } => write!(
                f,
                "expected session present 0 with connect return code {}, found 1",
                reason.code()
            ),
            Self::FilterEmpty => filter_empty(f),
            Self::NoFilter { packet_type } => no_filter(f, packet_type),
            Self::RequestedQoSReserved { found } => write!(
                f,
                "expected the reserved bits beside the requested QoS to be 0, found {found:#04x}"
            ),
            Self::RequestedQoS => f.write_str("expected requested QoS 0, 1 or 2, found 3"),
            Self::ReturnCode { found } => {
                write!(
                    f,
                    "expected a SUBACK return code of 0, 1, 2 or 0x80, found {found:#04x}"
                )
            }
            Self::NoReturnCode => no_return_code(f),
        }
    }
}

debug_is_text!(DecodeError, EncodeError);

impl Error for DecodeError {}

/// What was to be sent is no packet; nothing of it was written and the connection is untouched.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than its two-byte length can say (MQTT3-1.5.3).
    FieldTooLong {
        /// The field.
        field: Field,
        /// Its length in bytes.
        found: usize,
    },
    /// A string holds U+0000 (MQTT3-1.5.3-2).
    NullCharacter {
        /// The string.
        field: Field,
        /// Its index in bytes.
        at: usize,
    },
    /// A topic name is empty (MQTT3-4.7.3-1).
    TopicEmpty {
        /// The topic name.
        field: Field,
    },
    /// A topic name holds a wildcard (MQTT3-3.3.2-2).
    TopicWildcard {
        /// The topic name.
        field: Field,
        /// The wildcard, `+` or `#`.
        found: char,
        /// Its index in bytes.
        at: usize,
    },
    /// The packet is longer than a remaining length can say (MQTT3-2.2.3).
    PacketTooLarge {
        /// The type of the packet.
        packet_type: PacketType,
        /// The remaining length it would have, in bytes.
        found: usize,
    },
    /// There is a password and no user name (MQTT3-3.1.2-22).
    PasswordWithoutUserName,
    /// An empty client identifier asks for a session to be kept (MQTT3-3.1.3-7).
    ClientIdEmpty,
    /// A topic filter is empty (MQTT3-4.7.3-1).
    FilterEmpty,
    /// A SUBSCRIBE or UNSUBSCRIBE names no filter (MQTT3-3.8.3-3, MQTT3-3.10.3-2).
    NoFilter {
        /// The type of the packet.
        packet_type: PacketType,
    },
    /// A SUBACK has no return code, so it answers no filter (MQTT3-3.8.4-5).
    NoReturnCode,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FieldTooLong { field, found } => write!(
                f,
                "expected a {field} of at most {} bytes, found {found}",
                super::text::MAX_FIELD_LEN
            ),
            Self::NullCharacter { field, at } => null_character(f, field, at),
            Self::TopicEmpty { field } => topic_empty(f, field),
            Self::TopicWildcard { field, found, at } => topic_wildcard(f, field, found, at),
            Self::PacketTooLarge { packet_type, found } => write!(
                f,
                "expected a remaining length of at most {} in {packet_type}, found {found}",
                var_int::MAX
            ),
            Self::PasswordWithoutUserName => password_without_user_name(f),
            Self::ClientIdEmpty => client_id_empty(f),
            Self::FilterEmpty => filter_empty(f),
            Self::NoFilter { packet_type } => no_filter(f, packet_type),
            Self::NoReturnCode => no_return_code(f),
        }
    }
}

impl Error for EncodeError {}

// The texts of the checks that both directions make.

fn null_character(f: &mut fmt::Formatter<'_>, field: Field, at: usize) -> fmt::Result {
    write!(
        f,
        "expected no null character in the {field}, found one at index {at}"
    )
}

fn topic_empty(f: &mut fmt::Formatter<'_>, field: Field) -> fmt::Result {
    write!(
        f,
        "expected at least one character in the {field}, found none"
    )
}

fn topic_wildcard(f: &mut fmt::Formatter<'_>, field: Field, found: char, at: usize) -> fmt::Result {
    write!(
        f,
        "expected no wildcard in the {field}, found `{found}` at index {at}"
    )
}

fn password_without_user_name(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("expected a user name where there is a password, found none")
}

fn client_id_empty(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("expected a client identifier without clean start, found an empty one")
}

fn filter_empty(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("expected at least one character in the topic filter, found none")
}

fn no_filter(f: &mut fmt::Formatter<'_>, packet_type: PacketType) -> fmt::Result {
    write!(
        f,
        "expected at least one topic filter in {packet_type}, found none"
    )
}

fn no_return_code(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("expected at least one return code in SUBACK, found none")
}
