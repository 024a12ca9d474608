//! What can go wrong at the broker: by a client, on a connection, by the program.

use std::fmt;
use std::io;

use crate::packet::{ConnectReason, DecodeError, PacketId, PacketType};
use crate::session::Limited;
use crate::topic::TopicError;

/// What a client did that ends its connection, and no other (MQTT3-4.8.0-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// The bytes are no packet, or one that is too large.
    Malformed(DecodeError),
    /// The first packet is none of CONNECT (MQTT3-3.1.0-1).
    NotConnected(PacketType),
    /// A second CONNECT (MQTT3-3.1.0-2).
    SecondConnect,
    /// A packet that only servers send.
    ServerPacket(PacketType),
    /// A text that is no topic filter (MQTT3-4.7.1-2, 4.7.1-3).
    TopicFilter(TopicError),
    /// An acknowledgement of the other QoS, or out of turn (MQTT3-4.3).
    WrongAck(PacketType, PacketId),
    /// CONNECT was answered with a refusal (MQTT3-3.2.2-5).
    Refused(ConnectReason),
    /// What it sent is beyond a limit of the policy.
    Limit(Limited),
    /// It published more than its quota.
    Quota,
    /// It published or subscribed to what it may not.
    Forbidden,
    /// Its CONNECT came too soon after its last one.
    TooSoon,
    /// No CONNECT came in time.
    ConnectLate,
    /// Nothing came for one and a half times the keep alive (MQTT3-3.1.2-24).
    KeepAlive,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::NotConnected(found) => write!(f, "expected CONNECT first, found {found}"),
            Self::SecondConnect => f.write_str("expected one CONNECT, found a second one"),
            Self::ServerPacket(found) => {
                write!(f, "expected a packet of a client, found {found}")
            }
            Self::TopicFilter(error) => error.fmt(f),
            Self::WrongAck(found, id) => {
                write!(f, "expected another answer for packet {id}, found {found}")
            }
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Limit(limited) => limited.fmt(f),
            Self::Quota => f.write_str("expected no more messages than the quota, found one"),
            Self::Forbidden => f.write_str("expected a topic that is allowed, found another"),
            Self::TooSoon => f.write_str("expected a pause since the last CONNECT, found none"),
            Self::ConnectLate => f.write_str("expected CONNECT in time, found none"),
            Self::KeepAlive => f.write_str("expected a packet within the keep alive, found none"),
        }
    }
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client broke a rule, was refused or fell silent.
    Violation(Violation),
    /// The client left, or its end of the transport did.
    Left,
    /// The transport failed, or a wait on it ended early.
    Transport(io::Error),
    /// DISCONNECT, takeover by another connection of the same client, or the end of the broker.
    Closed,
    /// A fault that was asked for.
    Cut,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Left => f.write_str("the client left"),
            Self::Transport(error) => write!(f, "the transport failed: {error}"),
            Self::Closed => f.write_str("closed"),
            Self::Cut => f.write_str("cut on demand"),
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Transport(error)
    }
}

/// A call of the program that the broker cannot obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerError {
    /// The text is no topic name, or no topic filter.
    Topic(TopicError),
    /// A message above [`BrokerOptions::maximum_packet_size`](super::BrokerOptions).
    MessageTooLarge {
        /// The most bytes of topic and payload.
        max: usize,
        /// How many they are.
        found: usize,
    },
    /// [`LOCAL_SUBSCRIPTIONS_MAX`](super::LOCAL_SUBSCRIPTIONS_MAX) local subscriptions are open.
    TooManySubscriptions,
    /// [`FAULTS_MAX`](super::FAULTS_MAX) clients have faults.
    TooManyFaults,
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error) => error.fmt(f),
            Self::MessageTooLarge { max, found } => write!(
                f,
                "expected a message of at most {max} bytes, topic included, found {found}"
            ),
            Self::TooManySubscriptions => write!(
                f,
                "expected at most {} local subscriptions, found one more",
                super::LOCAL_SUBSCRIPTIONS_MAX
            ),
            Self::TooManyFaults => write!(
                f,
                "expected at most {} clients with faults, found one more",
                super::FAULTS_MAX
            ),
        }
    }
}

impl std::error::Error for BrokerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Topic(error) => Some(error),
            Self::MessageTooLarge { .. } | Self::TooManySubscriptions | Self::TooManyFaults => None,
        }
    }
}

impl From<TopicError> for BrokerError {
    fn from(error: TopicError) -> Self {
        Self::Topic(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::packet::QoS;
    use crate::session::ServerLimits;
    use crate::tests::{expect_all, variants};

    variants!(Violation {
        Malformed,
        NotConnected,
        SecondConnect,
        ServerPacket,
        TopicFilter,
        WrongAck,
        Refused,
        Limit,
        Quota,
        Forbidden,
        TooSoon,
        ConnectLate,
        KeepAlive,
    });

    #[test]
    fn every_violation_says_what_was_expected_and_found() {
        let id = PacketId::new(7).unwrap();
        let limits = ServerLimits::new("the policy").qos_max(QoS::AtLeastOnce);
        let limited = limits.check_publish("a", 0, QoS::ExactlyOnce).unwrap_err();
        let mut shown = BTreeSet::new();
        for (violation, text) in [
            (
                Violation::Malformed(DecodeError::PublishQoS),
                "expected QoS 0, 1 or 2 in PUBLISH, found 3",
            ),
            (
                Violation::NotConnected(PacketType::PingReq),
                "expected CONNECT first, found PINGREQ",
            ),
            (
                Violation::SecondConnect,
                "expected one CONNECT, found a second one",
            ),
            (
                Violation::ServerPacket(PacketType::SubAck),
                "expected a packet of a client, found SUBACK",
            ),
            (
                Violation::TopicFilter(TopicError::Empty),
                "expected at least one character of topic, found none",
            ),
            (
                Violation::WrongAck(PacketType::PubAck, id),
                "expected another answer for packet 7, found PUBACK",
            ),
            (
                Violation::Refused(ConnectReason::NotAuthorized),
                "refused: not authorized",
            ),
            (
                Violation::Limit(limited),
                "expected at most 1 for the QoS, as the policy says, found 2",
            ),
            (
                Violation::Quota,
                "expected no more messages than the quota, found one",
            ),
            (
                Violation::Forbidden,
                "expected a topic that is allowed, found another",
            ),
            (
                Violation::TooSoon,
                "expected a pause since the last CONNECT, found none",
            ),
            (
                Violation::ConnectLate,
                "expected CONNECT in time, found none",
            ),
            (
                Violation::KeepAlive,
                "expected a packet within the keep alive, found none",
            ),
        ] {
            assert_eq!(violation.to_string(), text);
            shown.insert(variant(&violation));
        }
        expect_all(VARIANTS, &shown);
    }
}
