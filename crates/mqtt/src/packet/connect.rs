//! CONNECT: who the client is and what it asks for (MQTT3-3.1).

use std::fmt;

use super::client_id;
use super::error::{DecodeError, EncodeError};
use super::field::Field;
use super::fixed_header::PacketType;
use super::properties::Properties;
use super::qos::QoS;
use super::reader::Reader;
use super::text::{self, check_field_len};
use super::version::Version;
use super::writer::{Writer, field_len, packet_len};

/// The protocol name of every version we speak (MQTT3-3.1.2-1).
const PROTOCOL_NAME: &[u8] = b"MQTT";

// The connect flags (MQTT3-3.1.2.3).
const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_QOS_MASK: u8 = 0b11;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// A CONNECT packet, valid by construction: a [`ConnectFields`] that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    fields: ConnectFields<'a>,
}

/// What a CONNECT says, in the order of the packet; plain data until [`Connect::new`] checks it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectFields<'a> {
    /// Whether the session starts anew and, in MQTT 3.1.1, ends with the connection: its Clean
    /// Session flag (MQTT3-3.1.2.4).
    pub clean_start: bool,
    /// The longest time between two packets of the client, in seconds; 0 is without limit
    /// (MQTT3-3.1.2.10).
    pub keep_alive_secs: u16,
    /// The properties.
    pub properties: Properties<'a>,
    /// The client identifier; the empty one asks the server to choose and needs `clean_start`
    /// (MQTT3-3.1.3-7).
    pub client_id: &'a str,
    /// The will, if there is one.
    pub will: Option<Will<'a>>,
    /// The user name, if there is one.
    pub user_name: Option<&'a str>,
    /// The password, if there is one; only with a user name (MQTT3-3.1.2-22).
    pub password: Option<&'a [u8]>,
}

impl fmt::Debug for ConnectFields<'_> {
    /// Tells of the password only how long it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFields")
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("properties", &self.properties)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password_bytes", &self.password.map(<[u8]>::len))
            .finish()
    }
}

/// A Will Message: what the server publishes when the client goes without a DISCONNECT
/// (MQTT3-3.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The application message; it may be empty.
    pub payload: &'a [u8],
    /// The QoS with which the server publishes it.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    /// Makes a packet to be sent.
    ///
    /// # Errors
    ///
    /// [`EncodeError::ClientIdEmpty`] and [`EncodeError::PasswordWithoutUserName`] for what does
    /// not go together, [`EncodeError::FieldTooLong`] and [`EncodeError::NullCharacter`] for any of
    /// the fields, [`EncodeError::TopicEmpty`] and [`EncodeError::TopicWildcard`] for the will's
    /// topic. The longest possible CONNECT has 327 697 bytes, so none is too large.
    pub fn new(version: Version, fields: ConnectFields<'a>) -> Result<Self, EncodeError> {
        let ConnectFields {
            clean_start,
            client_id,
            will,
            user_name,
            password,
            ..
        } = fields;
        client_id::check(client_id)?;
        if client_id.is_empty() && !clean_start {
            return Err(EncodeError::ClientIdEmpty);
        }
        if let Some(Will { topic, payload, .. }) = will {
            text::check_topic_name_to_send(topic, Field::WillTopic)?;
            check_field_len(payload, Field::WillPayload)?;
        }
        if let Some(name) = user_name {
            check_field_len(name.as_bytes(), Field::UserName)?;
            text::check_string(name).map_err(|error| error.encoding(Field::UserName))?;
        }
        if let Some(password) = password {
            check_field_len(password, Field::Password)?;
            match version {
                Version::V311 if user_name.is_none() => {
                    return Err(EncodeError::PasswordWithoutUserName);
                }
                Version::V311 => {}
            }
        }
        Ok(Self { fields })
    }

    /// Returns what the packet says.
    #[must_use]
    pub const fn fields(&self) -> &ConnectFields<'a> {
        &self.fields
    }

    /// Returns the length of the encoded packet in bytes.
    #[must_use]
    pub fn encoded_len(&self, version: Version) -> usize {
        packet_len(self.remaining_length(version))
    }

    /// Writes the packet into the first [`Connect::encoded_len`] bytes of `out` and returns how
    /// many these are. `version` is the one that the packet was made for.
    ///
    /// # Panics
    ///
    /// When `out` is shorter than that.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> usize {
        let fields = &self.fields;
        let remaining_length = self.remaining_length(version);
        let first = PacketType::Connect.first_byte();
        let mut writer = Writer::start(out, first, remaining_length);
        writer.field(PROTOCOL_NAME);
        writer.byte(version.protocol_level());
        writer.byte(self.flags());
        writer.number(fields.keep_alive_secs);
        fields.properties.encode(version, &mut writer);
        writer.field(fields.client_id.as_bytes());
        if let Some(will) = &fields.will {
            will.properties.encode(version, &mut writer);
            writer.field(will.topic.as_bytes());
            writer.field(will.payload);
        }
        if let Some(name) = fields.user_name {
            writer.field(name.as_bytes());
        }
        if let Some(password) = fields.password {
            writer.field(password);
        }
        writer.end()
    }

    /// Reads what follows the fixed header.
    pub(super) fn decode(version: Version, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let name = reader.binary(Field::ProtocolName)?;
        if name != PROTOCOL_NAME {
            return Err(DecodeError::ProtocolName {
                found_len: name.len(),
            });
        }
        let level = reader.byte(Field::ProtocolLevel)?;
        if level != version.protocol_level() {
            let expected = version.protocol_level();
            return Err(DecodeError::ProtocolLevel {
                expected,
                found: level,
            });
        }
        let flags = reader.byte(Field::ConnectFlags)?;
        check_flags(version, flags)?;
        let keep_alive_secs = reader.number(Field::KeepAlive)?;
        let properties = Properties::decode(version, &mut reader);

        let client_id = reader.string(Field::ClientId)?;
        let clean_start = flags & CLEAN_START != 0;
        let will = if flags & WILL != 0 {
            Some(Will::decode(version, flags, &mut reader)?)
        } else {
            None
        };
        let user_name = if flags & USER_NAME != 0 {
            Some(reader.string(Field::UserName)?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 {
            Some(reader.binary(Field::Password)?)
        } else {
            None
        };
        reader.end(PacketType::Connect)?;
        // Last, since it alone is answered with a CONNACK, which a malformed packet never is.
        if client_id.is_empty() && !clean_start {
            return Err(DecodeError::ClientIdEmpty);
        }
        let fields = ConnectFields {
            clean_start,
            keep_alive_secs,
            properties,
            client_id,
            will,
            user_name,
            password,
        };
        Ok(Self { fields })
    }

    /// Returns the connect flags.
    fn flags(&self) -> u8 {
        let fields = &self.fields;
        let flag = |set, flag| if set { flag } else { 0 };
        let will = fields.will.map_or(0, |will| {
            WILL | will.qos.bits() << WILL_QOS_SHIFT | flag(will.retain, WILL_RETAIN)
        });
        will | flag(fields.clean_start, CLEAN_START)
            | flag(fields.password.is_some(), PASSWORD)
            | flag(fields.user_name.is_some(), USER_NAME)
    }

    /// Returns the number of bytes that follow the fixed header.
    fn remaining_length(&self, version: Version) -> usize {
        let fields = &self.fields;
        // Behind the name: level and flags, one byte each, and keep alive, two.
        let fixed = field_len(PROTOCOL_NAME) + 4 + fields.properties.encoded_len(version);
        let will = fields.will.map_or(0, |will| {
            will.properties.encoded_len(version)
                + field_len(will.topic.as_bytes())
                + field_len(will.payload)
        });
        fixed
            + field_len(fields.client_id.as_bytes())
            + will
            + fields
                .user_name
                .map_or(0, |name| field_len(name.as_bytes()))
            + fields.password.map_or(0, field_len)
    }
}

impl<'a> Will<'a> {
    /// Reads the will where `flags`, which were checked, say that there is one.
    fn decode(version: Version, flags: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let properties = Properties::decode(version, reader);
        let topic = reader.topic_name(Field::WillTopic)?;
        let payload = reader.binary(Field::WillPayload)?;
        let Some(qos) = QoS::from_bits(flags >> WILL_QOS_SHIFT & WILL_QOS_MASK) else {
            return Err(DecodeError::WillQoS);
        };
        Ok(Self {
            topic,
            payload,
            qos,
            retain: flags & WILL_RETAIN != 0,
            properties,
        })
    }
}

/// Checks that the connect flags go together.
fn check_flags(version: Version, flags: u8) -> Result<(), DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::ConnectReservedFlag { found: flags });
    }
    let will_qos = flags >> WILL_QOS_SHIFT & WILL_QOS_MASK;
    if flags & WILL == 0 {
        if will_qos != 0 {
            return Err(DecodeError::WillQoSWithoutWill { found: will_qos });
        }
        if flags & WILL_RETAIN != 0 {
            return Err(DecodeError::WillRetainWithoutWill);
        }
    } else if will_qos == WILL_QOS_MASK {
        return Err(DecodeError::WillQoS);
    }
    match version {
        Version::V311 if flags & PASSWORD != 0 && flags & USER_NAME == 0 => {
            Err(DecodeError::PasswordWithoutUserName)
        }
        Version::V311 => Ok(()),
    }
}
