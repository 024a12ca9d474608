//! The table of what providers do and take: one place, easy to correct.
//!
//! Each value carries how it is known ([`Evidence`]). What is [`Evidence::Unverified`] shapes what the
//! agent does, can be set otherwise, and is never told to anybody as a fact about the provider. A limit
//! that nobody here knows is absent, which is no promise that there is none. Where a documented number
//! can be read in two ways, the smaller one is here.

use std::time::Duration;

use mqtt::QoS;

use super::Provider;

/// How a value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Evidence {
    /// The provider's own documentation says it.
    Documented,
    /// It is what an official library of the provider does.
    Source,
    /// It is said to be so. Nothing that rests on it is told as a fact.
    Unverified,
}

/// A value, and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    /// The value.
    pub value: T,
    /// How it is known.
    pub evidence: Evidence,
}

const fn doc<T: Copy>(value: T) -> Option<Fact<T>> {
    Some(Fact {
        value,
        evidence: Evidence::Documented,
    })
}

const fn unverified<T: Copy>(value: T) -> Option<Fact<T>> {
    Some(Fact {
        value,
        evidence: Evidence::Unverified,
    })
}

/// A protocol that is to be offered by ALPN at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alpn {
    /// The port.
    pub port: u16,
    /// What a client with a certificate offers.
    pub with_certificate: &'static str,
    /// What a client without one offers, that has a user name or a token.
    pub without: &'static str,
}

/// Limits of a provider for one client; `None` where none is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitFacts {
    /// Bytes of a client identifier.
    pub client_id_bytes: Option<Fact<usize>>,
    /// Bytes of a topic.
    pub topic_bytes: Option<Fact<usize>>,
    /// Levels of a topic, one more than its slashes.
    pub topic_levels: Option<Fact<usize>>,
    /// The prefix of topics whose first levels do not count, and how many those are.
    pub exempt: Option<Fact<(&'static str, usize)>>,
    /// Bytes of an application message.
    pub message_bytes: Option<Fact<usize>>,
    /// The highest QoS.
    pub qos: Option<Fact<QoS>>,
    /// Filters in one SUBSCRIBE.
    pub filters_per_subscribe: Option<Fact<usize>>,
    /// Filters of one client.
    pub subscriptions: Option<Fact<usize>>,
    /// Messages of QoS 1 and 2 that may be unacknowledged.
    pub window: Option<Fact<u16>>,
    /// Messages published in a second.
    pub publish_rate: Option<Fact<u32>>,
    /// Bytes published in a second.
    pub publish_bytes: Option<Fact<u32>>,
    /// The least time between two CONNECTs of one client.
    pub connect_interval: Option<Fact<Duration>>,
    /// The shortest and the longest keep-alive.
    pub keep_alive: Option<Fact<(Duration, Duration)>>,
    /// How long a session is kept for a client that is away, at most.
    pub session_expiry: Option<Fact<Duration>>,
    /// Messages and bytes that wait for a client that is away.
    pub queue: Option<Fact<(usize, usize)>>,
    /// Clients that may be connected.
    pub clients: Option<Fact<usize>>,
}

/// What is known of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// Which one.
    pub provider: Provider,
    /// How its host names end.
    pub hosts: &'static [&'static str],
    /// The port of MQTT over TLS.
    pub port: Option<Fact<u16>>,
    /// The port of MQTT over WebSocket over TLS.
    pub web_socket_port: Option<Fact<u16>>,
    /// What is to be offered by ALPN, and where.
    pub alpn: Option<Fact<Alpn>>,
    /// Whether a handshake without the server's name (SNI) is refused.
    pub needs_sni: Option<Fact<bool>>,
    /// Its limits.
    pub limits: LimitFacts,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const HOUR: Duration = Duration::from_secs(3_600);
const NO_LIMITS: LimitFacts = LimitFacts {
    client_id_bytes: None,
    topic_bytes: None,
    topic_levels: None,
    exempt: None,
    message_bytes: None,
    qos: None,
    filters_per_subscribe: None,
    subscriptions: None,
    window: None,
    publish_rate: None,
    publish_bytes: None,
    connect_interval: None,
    keep_alive: None,
    session_expiry: None,
    queue: None,
    clients: None,
};

const AWS: Facts = Facts {
    provider: Provider::Aws,
    hosts: &[".amazonaws.com", ".amazonaws.com.cn"],
    port: doc(8883),
    web_socket_port: doc(443),
    alpn: doc(Alpn {
        port: 443,
        with_certificate: "x-amzn-mqtt-ca",
        without: "mqtt",
    }),
    needs_sni: doc(true),
    limits: LimitFacts {
        client_id_bytes: doc(128),
        topic_bytes: doc(256),
        topic_levels: doc(8),
        exempt: doc(("$aws/rules/", 3)),
        message_bytes: unverified(128 * KIB),
        qos: unverified(QoS::AtLeastOnce),
        filters_per_subscribe: doc(8),
        subscriptions: unverified(50),
        window: unverified(100),
        publish_rate: doc(100),
        publish_bytes: doc(512_000),
        connect_interval: doc(Duration::from_secs(1)),
        keep_alive: unverified((Duration::from_secs(30), Duration::from_secs(1_200))),
        session_expiry: unverified(HOUR),
        ..NO_LIMITS
    },
};

const AZURE_EVENT_GRID: Facts = Facts {
    provider: Provider::AzureEventGrid,
    hosts: &[".ts.eventgrid.azure.net"],
    port: doc(8883),
    web_socket_port: doc(443),
    alpn: None,
    needs_sni: unverified(true),
    limits: LimitFacts {
        message_bytes: unverified(512 * KIB),
        qos: unverified(QoS::AtLeastOnce),
        window: doc(1_000),
        publish_rate: doc(1_000),
        publish_bytes: doc(1_000_000),
        keep_alive: unverified((Duration::ZERO, Duration::from_secs(1_160))),
        session_expiry: doc(HOUR.saturating_mul(8)),
        queue: doc((100, MIB)),
        ..NO_LIMITS
    },
};

const HIVEMQ: Facts = Facts {
    provider: Provider::HiveMq,
    hosts: &[".hivemq.cloud"],
    port: doc(8883),
    web_socket_port: doc(8884),
    alpn: None,
    needs_sni: unverified(true),
    limits: LimitFacts {
        qos: doc(QoS::ExactlyOnce),
        clients: doc(100),
        ..NO_LIMITS
    },
};

const EMQX: Facts = Facts {
    provider: Provider::Emqx,
    // Those of the serverless tier alone: a dedicated deployment has limits of its own.
    hosts: &[".emqxsl.com", ".emqxsl.cn"],
    port: doc(8883),
    web_socket_port: unverified(8084),
    alpn: None,
    needs_sni: None,
    limits: LimitFacts {
        client_id_bytes: doc(1_024),
        message_bytes: doc(MIB),
        qos: doc(QoS::ExactlyOnce),
        subscriptions: doc(10),
        publish_rate: doc(10),
        session_expiry: doc(HOUR.saturating_mul(2)),
        queue: doc((1_000, usize::MAX)),
        clients: doc(1_000),
        ..NO_LIMITS
    },
};

const PLAIN: Facts = Facts {
    provider: Provider::Plain,
    hosts: &[],
    port: None,
    web_socket_port: None,
    alpn: None,
    needs_sni: None,
    limits: NO_LIMITS,
};

impl Facts {
    /// Returns what is known of a provider.
    #[must_use]
    pub const fn of(provider: Provider) -> &'static Self {
        match provider {
            Provider::Aws => &AWS,
            Provider::AzureEventGrid => &AZURE_EVENT_GRID,
            Provider::HiveMq => &HIVEMQ,
            Provider::Emqx => &EMQX,
            Provider::Plain => &PLAIN,
        }
    }

    /// Whether a host name is one of the provider's, in any case of its letters.
    #[must_use]
    pub fn has_host(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_of = |end: &&str| host.len() > end.len() && host.ends_with(*end);
        let found = self.hosts.iter().any(is_of);
        match self.provider {
            // The same ending has every other service as well.
            Provider::Aws => found && host.split('.').any(|label| label == "iot"),
            _ => found,
        }
    }
}
