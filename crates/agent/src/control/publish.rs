//! A message that a program hands to the agent, so that it needs no connection of its own.

use std::time::Duration;

use fiber::Instant;
use mqtt::{Outcome, Publish, PublishError, QoS, Wait};

use super::request::ToPublish;
use crate::agent::Agent;

/// The longest wait until the broker has such a message. Shorter than a program waits for an answer.
pub const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(20);

/// Publishes it, and waits as long as is asked for, where there is a connection. Yields. Returns what
/// became of it.
///
/// # Errors
///
/// Why it was not taken, in words.
pub(super) fn publish(agent: &Agent, message: &ToPublish) -> Result<&'static str, String> {
    let publish = Publish::to(&message.topic, &message.payload)
        .qos(message.qos)
        .retain(message.retain);
    let begun = Instant::now();
    // There may be no room in the queue for as long as there is no connection.
    let taken = fiber::timeout(PUBLISH_WAIT_MAX, || agent.mqtt().publish(publish));
    let (mut ticket, is_taken) = match taken.unwrap_or_else(|elapsed| elapsed.0) {
        Ok(ticket) => (ticket, true),
        // The disk does not say in time whether it has it.
        Err(PublishError::Wait(error)) => (error.ticket, false),
        Err(error) => return Err(error.to_string()),
    };
    let wait = Duration::from_secs(message.wait).min(PUBLISH_WAIT_MAX);
    let left = wait.saturating_sub(begun.elapsed());
    if agent.is_online() && !left.is_zero() {
        let waited = fiber::timeout(left, || ticket.wait(Wait::Ack));
        // What the time was too short for is seen below.
        drop(waited);
    }
    Ok(match ticket.poll() {
        Some(outcome) => told(outcome),
        // Publishing waited until the store had it.
        None if is_taken && agent.is_durable() && message.qos != QoS::AtMostOnce => "stored",
        None => "waiting",
    })
}

const fn told(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Acked { .. } => "acknowledged",
        Outcome::Sent => "sent",
        Outcome::Kept => "stored",
        Outcome::Withdrawn => "withdrawn",
        Outcome::Expired => "expired",
        Outcome::DroppedByPolicy => "dropped",
        Outcome::Refused(_) => "refused",
        _ => "lost",
    }
}
