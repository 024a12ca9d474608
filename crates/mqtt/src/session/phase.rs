//! Where a connection stands, and how it ends.

use std::fmt;

use crate::debug_is_text::debug_is_text;
use crate::packet::ConnectReason;
use crate::time::Time;

/// Where a connection stands.
///
/// ```text
///            connect            CONNACK 0            disconnect         log sent
///   Idle ──────────► Connecting ─────────► Up ──────────────► Draining ────────► Leaving
///     │                  │  │              │ │ rest               │                 │ sent
///     │                  │  │              │ └──────► Resting ────┼──────┐          │
///     │ disconnect       │  └ disconnect ──┼──────────────────────┼──────┼► Leaving │
///     └────────┐         │ refused, late,  │ lost, late, fault    │ late │ sent     │
///              ▼         ▼                 ▼                      ▼      ▼          ▼
///            ────────────────────────────── Closed ──────────────────────────────────
///                                              │ attach
///                                              └───────► Idle, of the next connection
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing was sent. Publishes and requests are taken and wait.
    Idle,
    /// CONNECT is on its way; publishes and requests are taken and wait.
    Connecting {
        /// The session state was to be discarded.
        clean_start: bool,
        /// CONNACK must be here by then.
        deadline: Time,
    },
    /// The server accepted the connection.
    Up {
        /// The server had kept the session.
        session_present: bool,
    },
    /// `disconnect` was called: what was published before is still sent, nothing new is taken.
    Draining {
        /// DISCONNECT must have left by then.
        deadline: Time,
    },
    /// DISCONNECT is the last packet that is sent (MQTT3-3.14.4-2).
    Leaving {
        /// DISCONNECT must have left by then.
        deadline: Time,
    },
    /// `rest` was called: DISCONNECT is the last packet that is sent here. Publishes and requests are
    /// taken and wait for the next connection.
    Resting {
        /// DISCONNECT must have left by then.
        deadline: Time,
    },
    /// The transport must be closed, if it is not (MQTT3-3.14.4-1). Nothing is sent or read.
    Closed,
}

/// Why the session gave up a connection that was not lost and on which the server broke no rule.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// `disconnect` was called, and DISCONNECT has left.
    Disconnected,
    /// `disconnect` was called, and DISCONNECT could not leave in time.
    DisconnectTimeout,
    /// `rest` was called, and DISCONNECT has left.
    Rested,
    /// CONNACK did not come in time.
    ConnAckTimeout,
    /// Nothing came in answer to PINGREQ in time.
    PingTimeout,
    /// The transport took no byte for too long.
    WriteStall,
    /// The server refused the connection.
    Refused(ConnectReason),
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("disconnected on request"),
            Self::Rested => f.write_str("disconnected for having nothing to do"),
            Self::DisconnectTimeout => {
                f.write_str("expected DISCONNECT to leave in time, found it unsent")
            }
            Self::ConnAckTimeout => f.write_str("expected CONNACK in time, found none"),
            Self::PingTimeout => {
                f.write_str("expected an answer to PINGREQ in time, found no byte received")
            }
            Self::WriteStall => {
                f.write_str("expected the transport to take bytes, found it stalled for too long")
            }
            Self::Refused(reason) => {
                write!(
                    f,
                    "expected the connection to be accepted, found it refused: {reason}"
                )
            }
        }
    }
}

debug_is_text!(CloseCause);

impl std::error::Error for CloseCause {}
