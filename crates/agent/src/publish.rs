//! `agent pub`: one message, or one for each line of the standard input.
//!
//! At QoS 0 it ends once every byte is with the operating system, at QoS 1 and 2 once the broker has
//! acknowledged every message (MQTT3-4.3.2). It does not connect again: what is not delivered when
//! the link ends is an error.
//!
//! Where no option says anything of the connection and an agent runs on this machine, a message is
//! handed to that one; see `through_agent`. Lines are sent on a connection of their own.

mod input;
mod lines;
mod through_agent;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use fiber::{Canceller, FiberBuilder};
use mqtt::{Client, Outcome, Publish, QoS, Ticket, Wait};

pub use self::input::INPUT_BYTES_MAX;
pub use self::lines::{INPUT_READ_BYTES, LINE_BYTES_MAX, Lines};

use crate::args::{MessageSource, PubArgs};
use crate::connect::{self, Link};
use crate::failure::Failure;
use crate::own::Own;

/// How long a message may take from being accepted to being delivered.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(600);
/// Messages of `-l` whose outcome may be open; the next line waits for the oldest.
pub const OPEN_TICKETS_MAX: usize = 4_096;

/// Does what `agent pub` was asked for. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure`], which knows the exit code.
pub fn run(args: &PubArgs) -> Result<(), Failure> {
    // What cannot be read is no reason to disturb the broker.
    let message = message(&args.source)?;
    let own = match &args.connection.own {
        Some(own) => Own::find(own)?,
        None => None,
    };
    if let (Some(own), Some(message)) = (&own, &message)
        && through_agent::run(own, args, message)?
    {
        return Ok(());
    }
    let link = Link::dial_by(own, &args.connection, DELIVERY_TIMEOUT)?;
    link.connect()?;
    let client = link.client();
    let outcome = match message {
        Some(message) => repeat(client, args, &message),
        None => send_lines(client, args),
    };
    connect::leave(client);
    outcome
}

/// The one message, or none where each line is one. Yields.
pub(crate) fn message(source: &MessageSource) -> Result<Option<Vec<u8>>, Failure> {
    match source {
        MessageSource::Text(text) => Ok(Some(text.clone())),
        MessageSource::File(path) => {
            let read = fiber::fs::read(path.as_path());
            read.map(Some).map_err(|source| Failure::File {
                path: path.clone(),
                source,
            })
        }
        MessageSource::Stdin => input::read_all(io::stdin()).map(Some),
        MessageSource::Lines => Ok(None),
    }
}

/// The level at which a message of this quality of service is delivered.
fn delivered(qos: QoS) -> Wait {
    if qos == QoS::AtMostOnce {
        Wait::Sent
    } else {
        Wait::Ack
    }
}

/// Publishes a message as often as it is wanted, each time after the last one is delivered.
fn repeat(client: &Client, args: &PubArgs, message: &[u8]) -> Result<(), Failure> {
    for n in 0..args.repeat.get() {
        if n > 0 && !args.repeat_delay.is_zero() {
            // Whoever waits for long wants to know when there is nobody to send to any more.
            match fiber::timeout(args.repeat_delay, || client.ended()) {
                Ok(ended) | Err(fiber::Elapsed(ended @ Ok(_))) => {
                    return Err(Failure::Lost(ended?));
                }
                Err(fiber::Elapsed(Err(_))) => {}
            }
        }
        deliver(client, &args.topic, message, args.qos, args.retain)?;
    }
    Ok(())
}

/// Publishes a message and waits until it is delivered. Yields.
pub(crate) fn deliver(
    client: &Client,
    topic: &str,
    message: &[u8],
    qos: QoS,
    retain: bool,
) -> Result<(), Failure> {
    let publish = Publish::to(topic, message)
        .qos(qos)
        .retain(retain)
        .wait(delivered(qos));
    client.publish(publish).map_err(Failure::Publish)?;
    log::debug!("delivered {} bytes to {topic}", message.len());
    Ok(())
}

/// Sends line after line, without waiting for the delivery of one before the next.
fn send_lines(client: &Client, args: &PubArgs) -> Result<(), Failure> {
    let sent = fiber::cancellable(|canceller| {
        watch(client, canceller)?;
        let mut open = OpenTickets {
            tickets: VecDeque::new(),
            level: delivered(args.qos),
        };
        let mut lines = Lines::new(io::stdin());
        while let Some(line) = lines.next_line()? {
            let publish = Publish::to(&args.topic, line)
                .qos(args.qos)
                .retain(args.retain);
            open.push(client.publish(publish).map_err(Failure::Publish)?)?;
        }
        open.wait_all()
    });
    match sent {
        Ok(sent) | Err(fiber::Cancelled(sent @ Ok(()))) => sent,
        // The watcher ended the wait, because the link has ended.
        Err(fiber::Cancelled(Err(_))) => Err(Failure::Lost(client.ended()?)),
    }
}

/// Cancels who waits for the standard input when the link ends: nobody could send the next line.
fn watch(client: &Client, canceller: &Canceller) -> Result<(), Failure> {
    let (client, canceller) = (client.clone(), canceller.clone());
    let watch = move || {
        if client.ended().is_ok() {
            canceller.cancel();
        }
    };
    FiberBuilder::new()
        .name("watch")
        .spawn(watch)
        .map(drop)
        .map_err(Failure::Spawn)
}

/// Messages whose outcome is not known yet, the oldest first.
struct OpenTickets {
    tickets: VecDeque<Ticket>,
    level: Wait,
}

impl OpenTickets {
    fn push(&mut self, ticket: Ticket) -> Result<(), Failure> {
        self.tickets.push_back(ticket);
        while let Some(oldest) = self.tickets.front() {
            match oldest.poll() {
                Some(outcome) => {
                    check(outcome)?;
                    self.tickets.pop_front();
                }
                None if self.tickets.len() < OPEN_TICKETS_MAX => break,
                None => self.wait_oldest()?,
            }
        }
        Ok(())
    }

    fn wait_all(&mut self) -> Result<(), Failure> {
        while !self.tickets.is_empty() {
            self.wait_oldest()?;
        }
        Ok(())
    }

    fn wait_oldest(&mut self) -> Result<(), Failure> {
        let Some(mut oldest) = self.tickets.pop_front() else {
            return Ok(());
        };
        match oldest.wait(self.level).map_err(Failure::Unacknowledged)? {
            Some(outcome) => check(outcome),
            None => Ok(()),
        }
    }
}

fn check(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Acked { .. } | Outcome::Sent => Ok(()),
        other => Err(Failure::Undelivered(other)),
    }
}
