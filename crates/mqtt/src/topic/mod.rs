//! Topic names, topic filters and the router that leads a message to its handlers.
//!
//! A topic *name* labels one message and never holds a wildcard; a topic *filter* is what a
//! subscription asks for and may. Both are checked once, in the constructor of [`TopicName`] and
//! [`TopicFilter`]; the two `check_` functions apply the same rules to borrowed text, for paths
//! that must not allocate.
//!
//! This module does not know packets, subscriptions or handlers: [`Router`] maps filters to values
//! of any type. Shared subscriptions are a matter of MQTT 5 and have no meaning here.
//!
//! Clauses: MQTT3-4.7.1-1 to 4.7.1-3, MQTT3-4.7.2-1, MQTT3-4.7.3-1 to 4.7.3-3, MQTT3-3.3.2-2.

mod filter;
mod name;
mod router;

pub use filter::{TopicFilter, check_topic_filter};
pub use name::{TopicError, TopicName, check_topic_name};
pub(crate) use name::{check_characters_of_name, is_topic_name};
pub use router::{RouteId, Router};

/// The longest topic name or filter in bytes: the length travels as two bytes (MQTT3-4.7.3-3).
pub const TOPIC_BYTES_MAX: usize = 65_535;
