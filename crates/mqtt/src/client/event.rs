//! What happens to the connection, told to the program.
//!
//! Events are queued and handed to the program's function on a fiber of its own, one after the
//! other, so that it may wait and call the client like a handler.

mod unanswered;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fiber::{FiberBuilder, Instant};

pub use self::unanswered::{SentPacket, Unanswered};
use super::Client;
use super::error::EndCause;
use super::handler;
use super::shared::Shared;
use super::store_failure::StoreFailure;
use crate::packet::DecodeError;
use crate::seldom::Seldom;
use crate::session::ArgumentError;
use crate::store::Report;

/// Events that wait for the program's function; one more drops the oldest.
pub const EVENTS_MAX: usize = 64;

/// What happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// There is a transport, TLS included, and CONNECT is about to be sent on it: a dial has
    /// succeeded, or [`Client::connect`] uses the connection that was given.
    Attach,
    /// The broker accepted the connection (MQTT3-3.2).
    Connected {
        /// The broker had kept the session (MQTT3-3.2.2.2).
        session_present: bool,
    },
    /// A connection that the broker had accepted is over.
    Disconnected {
        /// Why.
        cause: Arc<EndCause>,
        /// When the kernel last took bytes of this client; what was published later was not sent.
        /// `None` if it never did.
        last_sent: Option<Instant>,
        /// When the broker last acknowledged a message (PUBACK, PUBCOMP) or a request (SUBACK,
        /// UNSUBACK), on this connection or an earlier one; `None` if it never did.
        last_acked: Option<Instant>,
        /// What was sent on this connection and not acknowledged; `None` if there is nothing of that
        /// kind. It does not know of messages of QoS 0, which nobody acknowledges.
        unanswered: Option<Box<Unanswered>>,
        /// The address of the broker, or of the proxy, where there is one and it was known.
        address: Option<SocketAddr>,
        /// When the next one is tried; `None` if the client does not do that by itself. After
        /// [`Event::Overrun`] it is the least time.
        retry_in: Option<Duration>,
    },
    /// A connection could not be made, or the broker refused it.
    ConnectFailed {
        /// Why.
        cause: Arc<EndCause>,
        /// When it is tried again; `None` if the client does not do that by itself.
        retry_in: Option<Duration>,
    },
    /// The client has left a connection on which nothing happened for
    /// [`ClientOptions::idle_timeout`](super::ClientOptions::idle_timeout). One of [`Client::open`]
    /// connects again when there is something to do.
    Idle,
    /// The broker has sent the same malformed packet on three connections running, or more: one that
    /// it delivers again each time. Further attempts are made as seldom as after refusals.
    PoisonPacket {
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The connection is closed because there was no room for the next QoS 1 or 2 message, and the
    /// handlers made none within
    /// [`ClientOptions::overrun_grace`](super::ClientOptions::overrun_grace). One of [`Client::open`]
    /// connects again when half of these messages are handled.
    Overrun {
        /// Messages that are not handled, counted for each handler that is to have them.
        messages: usize,
        /// The bytes that they count, with [`QUEUED_OVERHEAD`](super::QUEUED_OVERHEAD) for each.
        bytes: usize,
    },
    /// The rate of [`ClientOptions::publish_rate`](super::ClientOptions::publish_rate) holds messages
    /// back. Told again only after nothing was held back.
    Throttled,
    /// [`Client::pause_until`] was called: no connection is made before.
    Paused {
        /// When the pause ends.
        until: Instant,
    },
    /// The broker refused filters of a subscription that nobody waits for: one that was declared
    /// without waiting, or one it had granted before. The former is gone; the latter is asked for
    /// again on the next connection.
    SubscribeRefused {
        /// The topic filters it refused.
        filters: Vec<String>,
    },
    /// A message that is not handled, or not acknowledged by the program, holds back the
    /// acknowledgements of all later ones (MQTT3-4.6.0-2), for
    /// [`ACK_STALL_TIMEOUT`](super::ACK_STALL_TIMEOUT) by now; told once for each such message. A
    /// broker stops sending when its window is full.
    AckStalled {
        /// The first topic filter of its subscription; `None` for one of [`Client::on_unwanted`] or
        /// [`Client::on_dead_letter`], and where the subscription is gone.
        filter: Option<String>,
        /// Since when it holds them back.
        since: Instant,
    },
    /// The program did not acknowledge a message of a subscription with
    /// [`Ack::Manual`](super::Ack::Manual) in time: that was done in its place.
    AckExpired {
        /// The topic name of the message, of the first where there are more.
        topic: String,
        /// How many messages that is told of: with those since, if this one could not be told at once.
        messages: u64,
    },
    /// A message came that is larger than the client takes
    /// ([`ClientOptions::maximum_packet_size`](super::ClientOptions::maximum_packet_size)). It is read
    /// past and acknowledged, and no handler sees it.
    Oversized {
        /// Its topic name.
        topic: String,
        /// The bytes of its packet.
        bytes: usize,
    },
    /// Messages that an earlier client left in the store are beyond what the broker takes
    /// ([`ClientOptions::server_limits`](super::ClientOptions::server_limits),
    /// [`ClientOptions::server_maximum_packet_size`](super::ClientOptions::server_maximum_packet_size)). They
    /// are given up, and not sent: each connection would end by them, and those behind them never leave.
    Unsendable {
        /// The topic name of the message, of the first where there are more.
        topic: String,
        /// What it is beyond.
        error: ArgumentError,
        /// How many messages that is told of: with those since, if this one could not be told at once.
        messages: u64,
    },
    /// A connection over TLS is about to be made, and the wall clock shows a time that is past for
    /// certain, as that of a device does which has not learned the time yet. The dial is tried all the
    /// same: certificates are judged as of `earliest`, and one that is out of its time then
    /// ([`Event::ConnectFailed`]) is no reason for a long pause. The clock is not set. Told once until
    /// it is found plausible by a later dial.
    ClockImplausible {
        /// What the wall clock shows.
        wall: SystemTime,
        /// The earliest time that it can be: the [`ClockFloor`](safe_rt::ClockFloor) of
        /// [`ClientOptions::dial`](super::ClientOptions::dial).
        earliest: SystemTime,
    },
    /// The store of the client fails: what is published now is refused or not durable, as
    /// [`ClientOptions::on_store_failure`](super::ClientOptions::on_store_failure) says. Told once, until
    /// [`Event::StoreRecovered`].
    StoreFailed {
        /// Why.
        failure: StoreFailure,
    },
    /// The store of the client writes again.
    StoreRecovered,
    /// The store of the client found something, or something went wrong with it.
    Store {
        /// What.
        report: Report,
    },
}

/// The program's function.
pub(super) type Callback = Box<dyn FnMut(&Client, &Event)>;

/// Events on their way to the program.
#[derive(Default)]
pub(super) struct Events {
    callback: Option<Callback>,
    /// The program wants to be told.
    wanted: bool,
    /// A fiber tells.
    telling: bool,
    queue: Seldom<VecDeque<Event>>,
}

impl Events {
    /// Queues an event.
    pub(super) fn push(&mut self, event: Event) {
        if self.wanted {
            if let Event::AckExpired { messages: more, .. } = &event
                && let Some(Event::AckExpired { messages, .. }) = self.queue.back_mut()
            {
                // A thousand of them must not push out what else has happened.
                *messages += more;
                return;
            }
            if let Event::Unsendable { messages: more, .. } = &event
                && let Some(Event::Unsendable { messages, .. }) = self.queue.back_mut()
            {
                *messages += more;
                return;
            }
            if self.queue.len() == EVENTS_MAX {
                self.queue.pop_front();
            }
            self.queue.push_back(event);
        }
    }

    #[inline]
    fn has_some(&self) -> bool {
        self.queue.get().is_some_and(|queue| !queue.is_empty())
    }

    /// Whether a fiber should be started.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        !self.telling && self.has_some()
    }

    /// Sets the program's function; returns the one before, or that function itself where there is
    /// nothing left to tell.
    fn set(&mut self, callback: Callback, over: bool) -> Option<Callback> {
        if over && !self.telling && !self.has_some() {
            return Some(callback);
        }
        self.wanted = true;
        self.callback.replace(callback)
    }

    /// Takes the program's function back at the end of the client, unless a fiber has it.
    pub(super) fn end(&mut self) -> Option<Callback> {
        if self.telling || self.has_some() {
            return None;
        }
        self.wanted = false;
        self.callback.take()
    }
}

impl Client {
    /// Sets the function that is told what happens to the connection, in place of an earlier one.
    /// It runs on a fiber of its own, and may wait and call the client. Does not yield.
    pub fn on_event(&self, callback: impl FnMut(&Self, &Event) + 'static) {
        let earlier = {
            let mut state = self.shared.state();
            let over = state.over;
            state.events.set(Box::new(callback), over)
        };
        // Code of the user is dropped where nothing is borrowed.
        drop(earlier);
    }
}

/// Starts a fiber that tells of the events, if there are any; false if none can be had now.
pub(super) fn tell(shared: &Rc<Shared>) -> bool {
    if !shared.state().events.is_due() {
        return true;
    }
    shared.state().events.telling = true;
    let told = Rc::clone(shared);
    let started = FiberBuilder::new()
        .name("mqtt-events")
        .spawn(move || run(&told))
        .is_ok();
    if !started {
        shared.state().events.telling = false;
    }
    started
}

/// The body of that fiber.
fn run(shared: &Rc<Shared>) {
    let client = Client::inside(shared);
    loop {
        let next = {
            let mut state = shared.state();
            let events = &mut state.events;
            match (events.queue.pop_front(), events.callback.take()) {
                (Some(event), Some(callback)) => Some((event, callback)),
                (_, callback) => {
                    events.callback = callback;
                    events.telling = false;
                    None
                }
            }
        };
        let Some((event, mut callback)) = next else {
            break;
        };
        let call = AssertUnwindSafe(|| callback(&client, &event));
        if let Err(payload) = catch_unwind(call) {
            handler::drop_payload(payload);
        }
        let unwanted = {
            let events = &mut shared.state().events;
            // The program may have set another one meanwhile.
            if events.callback.is_none() {
                events.callback = Some(callback);
                None
            } else {
                Some(callback)
            }
        };
        // It is code of the user as well, and later events are to be told.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(unwanted))) {
            handler::drop_payload(payload);
        }
    }
    let unwanted = {
        let mut state = shared.state();
        if state.over { state.events.end() } else { None }
    };
    drop(unwanted);
}
