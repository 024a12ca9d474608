//! What the broker had not acknowledged when a connection ended, as the program is told of it.

use std::fmt;

use crate::client::request::Wanted;
use crate::client::shared::State;
use crate::session::UnansweredPacket;

/// Packets that were sent on a connection and not acknowledged when it ended. A broker that closes a
/// connection for one of them has, as a rule, acknowledged what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unanswered {
    /// The one that was sent first.
    pub packet: SentPacket,
    /// How many there are.
    pub packets: usize,
}

/// A packet that was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SentPacket {
    /// A message of QoS 1 or 2.
    Publish {
        /// Its topic name.
        topic: String,
    },
    /// A SUBSCRIBE.
    Subscribe {
        /// Its topic filters.
        filters: Vec<String>,
    },
    /// An UNSUBSCRIBE.
    Unsubscribe {
        /// Its topic filters.
        filters: Vec<String>,
    },
}

impl Unanswered {
    /// Makes one of the packet that was sent first, and of how many there are: for tests.
    #[must_use]
    pub const fn new(packet: SentPacket, packets: usize) -> Self {
        Self { packet, packets }
    }
}

impl fmt::Display for SentPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, first, more) = match self {
            Self::Publish { topic } => ("PUBLISH", Some(topic), 0),
            Self::Subscribe { filters } => ("SUBSCRIBE", filters.first(), filters.len()),
            Self::Unsubscribe { filters } => ("UNSUBSCRIBE", filters.first(), filters.len()),
        };
        let first = first.map_or("", String::as_str);
        write!(f, "{name} {first:?}")?;
        match more.saturating_sub(1) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Unanswered {
    /// `SUBSCRIBE "a/#" (1 of 3)`, or without the numbers where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.packet.fmt(f)?;
        match self.packets {
            0 | 1 => Ok(()),
            packets => write!(f, " (1 of {packets})"),
        }
    }
}

impl State {
    /// What is not acknowledged of what was sent on the connection that ends, before it is laid to
    /// rest.
    #[cold]
    pub(in crate::client) fn unanswered(&self) -> Option<Box<Unanswered>> {
        let found = self.session.unanswered(&self.log)?;
        let packet = match found.first {
            UnansweredPacket::Publish(topic) => SentPacket::Publish {
                topic: topic.to_owned(),
            },
            UnansweredPacket::Request(key) => match &self.requests.get(key)?.wanted {
                Wanted::Subscribe(_, filters) | Wanted::Again(filters) => {
                    let filters = filters.iter().map(|(filter, _)| filter.clone());
                    SentPacket::Subscribe {
                        filters: filters.collect(),
                    }
                }
                Wanted::Unsubscribe(filters) => SentPacket::Unsubscribe {
                    filters: filters.clone(),
                },
            },
        };
        Some(Box::new(Unanswered::new(packet, found.packets)))
    }
}
