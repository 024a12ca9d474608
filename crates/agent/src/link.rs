//! The connection of the agent: the client that makes it, and one line in the log for each that is
//! made, lost or not to be had.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use fiber::Instant;
use mqtt::{Client, ClientId, EndCause, Event, QUEUE_BYTES_DEFAULT, QUEUE_MESSAGES_DEFAULT};
use safe_rt::{ClientTls, Utc};

use crate::config::Config;
use crate::connect::RECEIVED_PACKET_BYTES_MAX;
use crate::doctor;
use crate::explain;
use crate::failure::{Failure, remedy_of_end};
use crate::lasted::Ended;
use crate::memory::Memory;
use crate::profile::Connection;
use crate::queue::{Queue, QueueOptions};

/// A client, and what decides how it connects.
pub(crate) struct Opened {
    pub(crate) client: Client,
    /// Whom it believes and what it shows, if that is by TLS.
    pub(crate) tls: Option<ClientTls>,
    /// Who looks at what is in the way of it.
    pub(crate) doctor: doctor::Watch,
}

/// Makes the client, which connects by itself from now on. Yields while what is in the queue is read.
pub(crate) fn open(
    config: &Config,
    device_id: &ClientId,
    queue: &Queue,
    options: &QueueOptions,
    memory: Option<&Memory>,
    mut watch: impl FnMut(&Event) + 'static,
) -> Result<Opened, Failure> {
    let connection = Connection::new(config, None, None).map_err(Failure::TlsConfig)?;
    let applied = connection.client_options(config, device_id.clone());
    for note in &applied.notes {
        log::info!("{note}");
    }
    let packet_max = RECEIVED_PACKET_BYTES_MAX;
    let packet_max = memory.map_or(packet_max, |memory| memory.packet(packet_max));
    let mut client = applied
        .options
        .queue_age_max(options.age_max)
        .queue_policy(options.when_full)
        .maximum_packet_size(packet_max);
    if let Some(store) = queue.store() {
        client = client.store(store.clone());
    } else {
        let messages = options.messages_max.min(QUEUE_MESSAGES_DEFAULT);
        let bytes = usize::try_from(options.bytes_max).unwrap_or(usize::MAX);
        client = client.queue_max(messages, bytes.min(QUEUE_BYTES_DEFAULT));
    }
    let client = Client::open(&connection.endpoint, client).map_err(Failure::Connect)?;
    let endpoint = connection.endpoint.to_string();
    let doctor = doctor::Watch::new(Rc::new(config.clone()));
    let (told, examined) = (RefCell::default(), doctor.clone());
    let accepted = Cell::new(None);
    client.on_event(move |_client, event| {
        log_event(&endpoint, &accepted, event);
        log_remedy(&told, event);
        examined.note(event);
        watch(event);
    });
    Ok(Opened {
        client,
        tls: connection.tls,
        doctor,
    })
}

/// Logs what a person can do about a connection that does not come about, once until it does or
/// until something else is in the way.
fn log_remedy(told: &RefCell<Option<Cow<'static, str>>>, event: &Event) {
    let remedy = match event {
        Event::Connected { .. } => None,
        Event::ConnectFailed { cause, .. } | Event::Disconnected { cause, .. } => {
            match remedy_of_end(cause) {
                None => return,
                remedy => remedy,
            }
        }
        _ => return,
    };
    if *told.borrow() == remedy {
        return;
    }
    if let Some(remedy) = &remedy {
        log::info!("{remedy}");
    }
    *told.borrow_mut() = remedy;
}

/// Logs one line of what happened to the connection.
fn log_event(endpoint: &str, accepted: &Cell<Option<Instant>>, event: &Event) {
    match event {
        Event::Attach => log::debug!("reached {endpoint}"),
        Event::Connected { session_present } => {
            accepted.set(Some(Instant::now()));
            let session = if *session_present { "kept" } else { "new" };
            log::info!("connected to {endpoint}; the session is a {session} one");
        }
        // By leaving, which is told where it is done.
        Event::Disconnected { cause, .. } if matches!(**cause, EndCause::Closed) => {}
        Event::Disconnected {
            cause, retry_in, ..
        } => {
            let next = Next(*retry_in);
            match Ended::of(event, accepted.take(), Instant::now()) {
                Some(ended) => log::warn!("disconnected: {ended}{next}"),
                None => log::warn!("disconnected: {cause}{next}"),
            }
        }
        Event::Unsendable {
            topic,
            error,
            messages,
        } => {
            log::warn!("stored messages are given up: {messages}, the first to {topic}: {error}");
        }
        Event::ConnectFailed { cause, retry_in } => {
            log::warn!("{cause}{}", Next(*retry_in));
        }
        Event::ClockImplausible { wall, earliest } => {
            let (wall, earliest) = (Utc(*wall), Utc(*earliest));
            log::warn!(
                "the clock says {wall}, and it is {earliest} at the least: certificates are judged as \
                 of then"
            );
        }
        Event::SubscribeRefused { filters } => {
            log::error!("the broker refused to subscribe to {}", filters.join(", "));
        }
        // What it is in words the client logs itself.
        Event::Store { report } => {
            if let Some(code) = explain::code_of_report(report) {
                log::info!("`agent explain {code}` says what helps");
            }
        }
        Event::StoreFailed { failure } => {
            let code = explain::code_of_store_failure(failure);
            log::error!("{failure}: what is published is in memory alone [{code}]");
        }
        Event::StoreRecovered => log::info!("the message store writes again"),
        // Told by who asked for it.
        Event::Paused { .. } => log::debug!("no connection is made for now"),
        Event::Idle => log::info!("left the broker for now"),
        other => log::info!("{other:?}"),
    }
}

/// When the next connection is tried.
struct Next(Option<Duration>);

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(delay) => write!(f, "; next attempt in {:.1} s", delay.as_secs_f64()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_attempt_is_told_in_tenths_of_a_second() {
        let next = |millis| Next(Some(Duration::from_millis(millis))).to_string();
        assert_eq!(next(0), "; next attempt in 0.0 s");
        assert_eq!(next(1_249), "; next attempt in 1.2 s");
        assert_eq!(next(600_000), "; next attempt in 600.0 s");
        assert_eq!(Next(None).to_string(), "");
    }
}
