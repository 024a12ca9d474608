//! The proof that an identity works, before the one in use gives way to it.
//!
//! A broker may take a connection and cut it a moment later, because no policy is attached to the
//! certificate yet. So the proof is more than CONNACK: a subscription is granted, a message is
//! acknowledged, and the connection is up for a while.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fiber::{Instant, deadline, timeout};
use mqtt::{
    Client, ClientId, ClientOptions, ConnectReason, EndCause, Publish, QoS, Subscribe, Wait,
};
use safe_rt::{DialOptions, Endpoint, Phase};

/// How long a connection may take to be accepted, a subscription to be granted and a message to be
/// acknowledged, all together.
pub const PROOF_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the connection must be up after that.
pub const PROOF_UP_MIN: Duration = Duration::from_secs(10);
/// What is subscribed to and published under, unless the options say otherwise: `{id}` is the client
/// identifier. The broker must allow it.
pub const PROOF_TOPIC_DEFAULT: &str = "agent/{id}/proof";

const LEAVE: Duration = Duration::from_secs(2);

/// What a proof asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProofOptions {
    /// The topic, with `{id}` for the client identifier; [`PROOF_TOPIC_DEFAULT`] at first.
    pub topic: String,
    /// How long it must be up, [`PROOF_UP_MIN`] at first.
    pub up_for: Duration,
}

impl Default for ProofOptions {
    fn default() -> Self {
        Self {
            topic: PROOF_TOPIC_DEFAULT.to_owned(),
            up_for: PROOF_UP_MIN,
        }
    }
}

/// Why an identity is not proven.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProofError {
    /// The client identifier is none.
    ClientId(String),
    /// Certificate, key and authorities make no TLS.
    Tls(safe_rt::TlsConfigError),
    /// There is no connection.
    Dial(safe_rt::Error),
    /// The broker did not accept it.
    Connect(mqtt::Error),
    /// The subscription was not granted.
    Subscribe {
        /// To what.
        topic: String,
        /// Why.
        error: mqtt::Error,
    },
    /// The message was not acknowledged.
    Publish {
        /// Under what.
        topic: String,
        /// Why.
        reason: String,
    },
    /// The connection did not stay.
    Lost {
        /// How long it was up.
        after: Duration,
        /// Why it ended.
        cause: Arc<EndCause>,
    },
    /// The connection did not stay; why is in the log.
    NotUp,
    /// It took too long.
    Late,
    /// The wait was stopped from outside.
    Stopped(fiber::Stopped),
}

impl ProofError {
    /// Whether the other side has refused the certificate, or who shows it: in TLS, in its CONNACK, or
    /// by closing the connection instead of a CONNACK, as a broker does that knows the certificate no
    /// more. An outage is no refusal, nor is a certificate of the other side that does not pass.
    pub(super) fn is_refusal(&self) -> bool {
        let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::Dial(error) => error.phase() == Phase::Tls && is_denied(error.io()),
            Self::Connect(mqtt::Error::Refused(reason)) => {
                !matches!(reason, ConnectReason::ServerUnavailable)
            }
            Self::Connect(mqtt::Error::Wait(mqtt::WaitCause::ConnectionLost(cause))) => {
                match &**cause {
                    EndCause::ClosedByPeer => true,
                    EndCause::Transport(error) => is_denied(error),
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientId(id) => write!(f, "{id:?} is no client identifier"),
            Self::Tls(error) => error.fmt(f),
            Self::Dial(error) => error.fmt(f),
            Self::Connect(error) => error.fmt(f),
            Self::Subscribe { topic, error } => write!(f, "subscribing to {topic}: {error}"),
            Self::Publish { topic, reason } => write!(f, "publishing under {topic}: {reason}"),
            Self::Lost { after, cause } => {
                write!(f, "{cause}, {:.1} s after it was made", after.as_secs_f64())
            }
            Self::NotUp => f.write_str("the connection did not stay"),
            Self::Late => write!(f, "no proof within {} s", PROOF_TIMEOUT.as_secs()),
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl std::error::Error for ProofError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::Connect(error) | Self::Subscribe { error, .. } => Some(error),
            Self::Stopped(stopped) => Some(stopped),
            Self::ClientId(_)
            | Self::Publish { .. }
            | Self::Lost { .. }
            | Self::NotUp
            | Self::Late => None,
        }
    }
}

/// Proves an identity by a connection of its own, which is closed then. For a device that has no
/// other: the session of the client identifier begins anew. Yields.
pub(super) fn alone(
    endpoint: &Endpoint,
    dial: &DialOptions,
    client_id: &ClientId,
    options: &ProofOptions,
) -> Result<(), ProofError> {
    let connect = || {
        let socket = safe_rt::dial(endpoint, dial).map_err(ProofError::Dial)?;
        let client = ClientOptions::new(client_id.clone())
            .clean_start(true)
            .connect_timeout(PROOF_TIMEOUT);
        let client = Client::over(socket, client);
        client.connect().map_err(ProofError::Connect)?;
        let began = Instant::now();
        exercise(&client, &options.topic.replace("{id}", client_id.as_str()))?;
        Ok((client, began))
    };
    let (client, began) = match deadline(Instant::now() + PROOF_TIMEOUT, connect) {
        Ok(connected) => connected?,
        Err(fiber::Elapsed(Ok(connected))) => connected,
        Err(fiber::Elapsed(Err(_))) => return Err(ProofError::Late),
    };
    let stayed = stay(&client, began, options.up_for);
    // What matters was waited for.
    let _ = client.close(LEAVE);
    stayed
}

/// Subscribes, publishes, and takes the subscription back. Yields until both are acknowledged.
pub(super) fn exercise(client: &Client, topic: &str) -> Result<(), ProofError> {
    let subscribe = Subscribe::to(topic, QoS::AtLeastOnce).wait(Wait::Ack);
    let id = client
        .subscribe_as(subscribe, |_client, _message| Ok(()))
        .map_err(|error| ProofError::Subscribe {
            topic: topic.to_owned(),
            error,
        })?;
    let publish = Publish::to(topic, b"").qos(QoS::AtLeastOnce);
    let published = client.publish(publish.wait(Wait::Ack));
    drop(client.unsubscribe_id(id, Wait::None));
    match published {
        Ok(_) => Ok(()),
        Err(error) => Err(ProofError::Publish {
            topic: topic.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn stay(client: &Client, began: Instant, up_for: Duration) -> Result<(), ProofError> {
    if !client.is_connected() {
        let cause = client.ended().map_err(ProofError::Stopped)?;
        let after = began.elapsed();
        return Err(ProofError::Lost { after, cause });
    }
    match timeout(up_for, || client.ended()) {
        Err(_) => Ok(()),
        Ok(Ok(cause)) => Err(ProofError::Lost {
            after: began.elapsed(),
            cause,
        }),
        Ok(Err(stopped)) => Err(ProofError::Stopped(stopped)),
    }
}
