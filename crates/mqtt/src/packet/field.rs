//! Names of the parts of a packet, for errors.

use std::fmt;

/// A part of a control packet, as the standard names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// Protocol Name of CONNECT (MQTT3-3.1.2.1).
    ProtocolName,
    /// Protocol Level of CONNECT (MQTT3-3.1.2.2).
    ProtocolLevel,
    /// Connect Flags of CONNECT (MQTT3-3.1.2.3).
    ConnectFlags,
    /// Keep Alive of CONNECT (MQTT3-3.1.2.10).
    KeepAlive,
    /// Client Identifier of CONNECT (MQTT3-3.1.3.1).
    ClientId,
    /// Will Topic of CONNECT (MQTT3-3.1.3.2).
    WillTopic,
    /// Will Message of CONNECT (MQTT3-3.1.3.3).
    WillPayload,
    /// User Name of CONNECT (MQTT3-3.1.3.4).
    UserName,
    /// Password of CONNECT (MQTT3-3.1.3.5).
    Password,
    /// Connect Acknowledge Flags of CONNACK (MQTT3-3.2.2.1).
    ConnectAckFlags,
    /// Connect Return Code of CONNACK (MQTT3-3.2.2.3).
    ConnectReturnCode,
    /// Topic Name of PUBLISH (MQTT3-3.3.2.1).
    TopicName,
    /// Packet Identifier (MQTT3-2.3.1).
    PacketId,
    /// Topic Filter of SUBSCRIBE and UNSUBSCRIBE (MQTT3-3.8.3, MQTT3-3.10.3).
    TopicFilter,
    /// Requested QoS behind a Topic Filter of SUBSCRIBE (MQTT3-3.8.3).
    RequestedQoS,
    /// Return Code of SUBACK (MQTT3-3.9.3).
    ReturnCode,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProtocolName => "protocol name",
            Self::ProtocolLevel => "protocol level",
            Self::ConnectFlags => "connect flags",
            Self::KeepAlive => "keep alive",
            Self::ClientId => "client identifier",
            Self::WillTopic => "will topic",
            Self::WillPayload => "will message",
            Self::UserName => "user name",
            Self::Password => "password",
            Self::ConnectAckFlags => "connect acknowledge flags",
            Self::ConnectReturnCode => "connect return code",
            Self::TopicName => "topic name",
            Self::PacketId => "packet identifier",
            Self::TopicFilter => "topic filter",
            Self::RequestedQoS => "requested QoS",
            Self::ReturnCode => "return code",
        })
    }
}
