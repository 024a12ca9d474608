//! The subscriber of a soak: notes what comes of each stream, and when.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, Instant};
use mqtt::{Client, ClientId, ClientOptions, Error, HandlerError, Message, QoS};
use safe_rt::{BackoffOptions, Endpoint, Scheme};

use super::END;
use super::watch::Watch;
use crate::tally::Arrivals;

/// The longest pause before the next connection: the subscriber is not what is waited for.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of one stream.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) arrivals: Arrivals,
    /// How many of the doubles the server is to blame for.
    pub(super) blamed: u64,
    pub(super) outage: Duration,
    last: Instant,
}

/// A stream at the subscriber.
pub(super) struct Inlet {
    received: Rc<RefCell<Received>>,
    /// Set when what is published behind the numbers has come.
    pub(super) ended: Event,
}

impl Inlet {
    pub(super) fn received(&self) -> Received {
        self.received.borrow().clone()
    }
}

/// A client with a kept session.
pub(super) fn open(broker: SocketAddr) -> Result<Client, Box<dyn std::error::Error>> {
    let endpoint = Endpoint::new(Scheme::Mqtt, &broker.to_string())?;
    let backoff = BackoffOptions::new()
        .base(PAUSE / 4)
        .cap(PAUSE)
        .long_base(PAUSE)
        .long_cap(PAUSE)
        .floor(Duration::ZERO);
    let options = ClientOptions::new(ClientId::new("subscriber")?).backoff(backoff);
    Ok(Client::open(&endpoint, options)?)
}

/// Subscribes to a stream. Yields until the broker has agreed.
pub(super) fn subscribe(client: &Client, topic: &str, watch: &Watch) -> Result<Inlet, Error> {
    let received = Rc::new(RefCell::new(Received {
        arrivals: Arrivals::default(),
        blamed: 0,
        outage: Duration::ZERO,
        last: Instant::now(),
    }));
    let (noted, ended) = (Rc::clone(&received), Event::new());
    let (end, watch) = (ended.clone(), watch.clone());
    let handler = move |_: &Client, message: &Message| {
        if &message.data[..] == END.as_bytes() {
            end.set();
            return Ok(());
        }
        let number = std::str::from_utf8(&message.data)?.parse()?;
        let (now, mut noted) = (Instant::now(), noted.borrow_mut());
        if !noted.arrivals.note(number) && watch.blames(number) {
            noted.blamed += 1;
        }
        noted.outage = noted.outage.max(now.saturating_duration_since(noted.last));
        noted.last = now;
        Ok::<(), HandlerError>(())
    };
    client.subscribe(topic, QoS::ExactlyOnce, handler)?;
    Ok(Inlet { received, ended })
}
