//! What can go wrong, by whose fault.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use fiber::{SpawnError, Stopped};

use super::Remaining;
use super::credentials::CredentialsError;
use super::store_failure::StoreFailure;
use super::ticket::Ticket;
use crate::debug_is_text::debug_is_text;
use crate::packet::{ConnectReason, DecodeError, EncodeError};
use crate::session::{ArgumentError, CloseCause, PeerError};
use crate::store::ClaimError;

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum EndCause {
    /// It was closed from this side.
    Closed,
    /// It was left for having nothing to do ([`super::ClientOptions::idle_timeout`]).
    Idle,
    /// It could not be made.
    Dial(safe_rt::Error),
    /// There were no credentials for it
    /// ([`ClientOptions::credentials_by`](super::ClientOptions::credentials_by)).
    Credentials(CredentialsError),
    /// It was being made when a pause began ([`super::Client::pause_until`]).
    Paused,
    /// The settings make no CONNECT.
    Argument(ArgumentError),
    /// The broker refused it (MQTT3-3.2.2.3).
    Refused(ConnectReason),
    /// The broker closed it without a word.
    ClosedByPeer,
    /// The transport failed.
    Transport(io::Error),
    /// The broker sent what is no packet.
    Malformed(DecodeError),
    /// The broker broke the protocol.
    Peer(PeerError),
    /// The link was found dead.
    Dead(CloseCause),
    /// The fiber that serves the client panicked, which is a fault of this crate.
    Panicked,
    /// There was no room for the next QoS 1 or 2 message, and the handlers made none in time
    /// ([`super::ClientOptions::overrun_grace`]).
    Overrun {
        /// Messages that were not handled then, counted for each handler.
        messages: usize,
        /// The bytes that they count.
        bytes: usize,
    },
}

impl fmt::Display for EndCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed from this side"),
            Self::Dial(error) => write!(f, "no connection: {error}"),
            Self::Idle => f.write_str("the connection was left because nothing happened on it"),
            Self::Credentials(error) => write!(f, "no credentials: {error}"),
            Self::Paused => f.write_str("the client was told to make no connection for now"),
            Self::Argument(error) => write!(f, "the settings make no CONNECT: {error}"),
            Self::Refused(reason) => write!(f, "the broker refused the connection: {reason}"),
            Self::ClosedByPeer => f.write_str("the broker closed the connection"),
            Self::Transport(error) => write!(f, "the connection failed: {error}"),
            Self::Malformed(error) => write!(f, "the broker sent a malformed packet: {error}"),
            Self::Peer(error) => write!(f, "the broker broke the protocol: {error}"),
            Self::Dead(cause) => write!(f, "the connection is dead: {cause}"),
            Self::Panicked => f.write_str("the fiber that serves the connection panicked"),
            Self::Overrun { messages, bytes } => write!(
                f,
                "there is no room for further messages: {messages} of {bytes} bytes are not handled"
            ),
        }
    }
}

debug_is_text!(WaitCause, PublishError, Error);

impl StdError for EndCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Transport(error) => Some(error),
            Self::Malformed(error) => Some(error),
            Self::Peer(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::Argument(error) => Some(error),
            Self::Closed
            | Self::Idle
            | Self::Paused
            | Self::Refused(_)
            | Self::ClosedByPeer
            | Self::Dead(_)
            | Self::Panicked
            | Self::Overrun { .. } => None,
        }
    }
}

/// Why a wait for a level of delivery ended without reaching it.
#[derive(Clone)]
#[non_exhaustive]
pub enum WaitCause {
    /// A deadline passed or the wait was cancelled.
    Stopped(Stopped),
    /// The connection ended.
    ConnectionLost(Arc<EndCause>),
    /// The client was closed, or never connected.
    Closed,
    /// The message is in memory alone, because the store fails. It is sent all the same; what is not
    /// written by the end of the program is lost. The ticket can be asked again, at best after
    /// [`Event::StoreRecovered`](super::Event::StoreRecovered).
    StoreFailed(StoreFailure),
}

impl fmt::Display for WaitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::ConnectionLost(cause) => cause.fmt(f),
            Self::Closed => f.write_str("the client is not connected"),
            Self::StoreFailed(failure) => failure.fmt(f),
        }
    }
}

impl StdError for WaitCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Stopped(stopped) => Some(stopped),
            Self::ConnectionLost(cause) => Some(cause),
            Self::StoreFailed(failure) => Some(failure),
            Self::Closed => None,
        }
    }
}

impl From<Stopped> for WaitCause {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

/// A publish that was accepted and did not reach the level asked for in time.
#[derive(Debug)]
pub struct WaitError {
    /// Why the wait ended.
    pub cause: WaitCause,
    /// The message lives on under this ticket.
    pub ticket: Ticket,
}

const QUEUE_FULL: &str = "the message was not accepted: as many as may wait to be sent";

/// A message that was sent, or is on its way, and can therefore not be withdrawn; or its client is
/// over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadySent;

impl fmt::Display for AlreadySent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message was sent already")
    }
}

impl StdError for AlreadySent {}

/// Why a publish gave no ticket, or a ticket that is not where it should be.
#[non_exhaustive]
pub enum PublishError {
    /// The message could never be sent.
    Argument(ArgumentError),
    /// There was no room for the message until the wait for it ended. It was not accepted.
    Full(WaitCause),
    /// There was no room for the message, and it is not to wait for any
    /// ([`QueuePolicy::Reject`](super::QueuePolicy::Reject),
    /// [`Client::try_publish`](super::Client::try_publish)). It was not accepted.
    QueueFull,
    /// The store fails, and the client takes nothing while it does
    /// ([`OnStoreFailure::Refuse`](super::OnStoreFailure::Refuse)). It was not accepted.
    StoreFailed(StoreFailure),
    /// The message was accepted; the wait for its level ended early.
    Wait(WaitError),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Full(cause) => write!(f, "the message was not accepted: {cause}"),
            Self::QueueFull => f.write_str(QUEUE_FULL),
            Self::StoreFailed(failure) => write!(f, "the message was not accepted: {failure}"),
            Self::Wait(error) => error.cause.fmt(f),
        }
    }
}

impl StdError for PublishError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Argument(error) => Some(error),
            Self::Full(cause) => Some(cause),
            Self::QueueFull => None,
            Self::StoreFailed(failure) => Some(failure),
            Self::Wait(error) => Some(&error.cause),
        }
    }
}

impl From<ArgumentError> for PublishError {
    fn from(error: ArgumentError) -> Self {
        Self::Argument(error)
    }
}

/// An error of the client. It crosses threads and fits `?` into a boxed error.
#[non_exhaustive]
pub enum Error {
    /// An argument that no broker could accept.
    Argument(ArgumentError),
    /// The broker refused the connection (MQTT3-3.2.2.3).
    Refused(ConnectReason),
    /// The broker refused a subscription (MQTT3-3.9.3); the connection goes on.
    SubscribeRefused {
        /// The topic filters it refused.
        filters: Vec<String>,
    },
    /// A wait ended early.
    Wait(WaitCause),
    /// The client was closed before everything was acknowledged.
    Unfinished(Remaining),
    /// The client is connected, or was.
    AlreadyConnected,
    /// As many requests as may be await their answers.
    TooManyRequests,
    /// There was no room for a message that was not to wait for any.
    QueueFull,
    /// No fiber could be started for the connection.
    Spawn(SpawnError),
    /// The store cannot be that of the client.
    Store(ClaimError),
    /// The store fails, and the client takes nothing while it does.
    StoreFailed(StoreFailure),
    /// There were no credentials to connect with
    /// ([`ClientOptions::credentials_by`](super::ClientOptions::credentials_by)).
    Credentials(CredentialsError),
    /// The connection could not be made; a program that dials returns it by `?`.
    Dial(safe_rt::Error),
    /// Reading a clock, a file or the like failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Refused(reason) => write!(f, "the broker refused the connection: {reason}"),
            Self::SubscribeRefused { filters } => {
                write!(
                    f,
                    "the broker refused the subscription to {}",
                    filters.join(", ")
                )
            }
            Self::Wait(cause) => cause.fmt(f),
            Self::Unfinished(remaining) => write!(
                f,
                "the client was closed with {} messages unacknowledged and {} bytes unsent",
                remaining.unacknowledged, remaining.unsent_bytes
            ),
            Self::AlreadyConnected => f.write_str("the client already had its connection"),
            Self::TooManyRequests => f.write_str("too many requests await their answers"),
            Self::QueueFull => f.write_str(QUEUE_FULL),
            Self::Spawn(error) => {
                write!(f, "no fiber could be started for the connection: {error}")
            }
            Self::Store(error) => error.fmt(f),
            Self::StoreFailed(failure) => failure.fmt(f),
            Self::Credentials(error) => write!(f, "no credentials: {error}"),
            Self::Dial(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Argument(error) => Some(error),
            Self::Wait(cause) => Some(cause),
            Self::Spawn(error) => Some(error),
            Self::Credentials(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::StoreFailed(failure) => Some(failure),
            Self::Refused(_)
            | Self::SubscribeRefused { .. }
            | Self::Unfinished(_)
            | Self::AlreadyConnected
            | Self::TooManyRequests
            | Self::QueueFull => None,
        }
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Argument(ArgumentError::Packet(error))
    }
}

impl From<ArgumentError> for Error {
    fn from(error: ArgumentError) -> Self {
        Self::Argument(error)
    }
}

impl From<WaitCause> for Error {
    fn from(cause: WaitCause) -> Self {
        Self::Wait(cause)
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        Self::Wait(WaitCause::Stopped(stopped))
    }
}

impl From<safe_rt::Error> for Error {
    fn from(error: safe_rt::Error) -> Self {
        Self::Dial(error)
    }
}

impl From<SpawnError> for Error {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<WaitError> for Error {
    /// Drops the ticket; the message lives on without one.
    fn from(error: WaitError) -> Self {
        Self::Wait(error.cause)
    }
}

impl From<PublishError> for Error {
    /// Drops the ticket of a wait that ended early; the message lives on without one.
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Argument(error) => Self::Argument(error),
            PublishError::QueueFull => Self::QueueFull,
            PublishError::StoreFailed(failure) => Self::StoreFailed(failure),
            PublishError::Full(cause) | PublishError::Wait(WaitError { cause, .. }) => {
                Self::Wait(cause)
            }
        }
    }
}
