//! What the handles of a client, its driver and its handlers share.
//!
//! Borrowed only between waits: no method here that borrows also waits.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use fiber::{Instant, Stopped, Unparker};
use safe_rt::Socket;

use super::ack::StallWatch;
use super::answers::Answers;
use super::asks::Asks;
use super::durable::Durable;
use super::early::Early;
use super::error::{EndCause, WaitCause};
use super::event::{Event, Events};
use super::idle::Idle;
use super::inline::Callers;
use super::leave::Remaining;
use super::login::Login;
use super::options::ClientOptions;
use super::outbox::Outbox;
use super::remote::Queue;
use super::remote_ticket::Fate;
use super::request::{Requests, Wanted};
use super::room::Lines;
use super::settings::Settings;
use super::settled::Settled;
use super::standby::Standby;
use super::stats::ClientStats;
use super::subscription::{Removed, Subscriptions};
use super::ticket::{Outcome, Tickets};
use crate::outbound_log::{LOG_BYTES_MAX, LogOffset, OutboundLog};
use crate::packet::{ClientId, SubscribeReason, Version};
use crate::seldom::Seldom;
use crate::session::{Phase, Session, SessionOptions, TicketKey};
use crate::sorted::insert_behind;
use crate::time::Time;

/// One client.
pub(super) struct Shared {
    state: RefCell<State>,
    pub(super) client_id: ClientId,
    pub(super) options: Rc<Settings>,
    /// Set when the driver has something to do that no socket or timer tells it.
    pub(super) wake: fiber::Event,
    /// [`super::Client`]s that the program holds.
    pub(super) handles: Cell<usize>,
    /// The client makes its connections itself.
    pub(super) connects: bool,
    /// Messages of QoS 1 and 2 are kept in a store.
    stores: bool,
    /// Set when the fiber that watches for old messages is to look again.
    pub(super) expiry: Seldom<fiber::Event>,
}

pub(super) struct State {
    // What the program wants, and what it and the broker have promised each other: for as long as
    // there is the client.
    pub(super) session: Session,
    pub(super) log: OutboundLog,
    /// Messages that were never sent and are in no store.
    pub(super) outbox: Outbox,
    /// The first of those that could go does not fit into the log.
    pub(super) log_is_full: bool,
    /// A fiber watches for those that get too old.
    pub(super) expiry_is_watched: bool,
    /// What the store and this client have to do with each other, if it has one.
    pub(super) durable: Option<Durable>,
    pub(super) login: Rc<Login>,
    pub(super) tickets: Tickets,
    /// The first end of the waits for an acknowledgement that have no timer, while there may be such.
    pub(super) waits_end: Option<Time>,
    /// QoS 2 messages that may be under way.
    pub(super) exactly_once_window: u16,
    pub(super) requests: Requests,
    pub(super) asks: Asks,
    /// Topic filters that the broker takes in one SUBSCRIBE.
    pub(super) ask_filters_max: u16,
    pub(super) subscriptions: Subscriptions,
    /// Once a subscription has a handler that the driver calls.
    pub(super) callers: Option<Callers>,
    pub(super) stall: Seldom<StallWatch>,
    pub(super) settled: Settled,
    /// The client waits for handlers to make room, before it connects again.
    pub(super) recovering: bool,
    pub(super) answers: Seldom<Answers>,
    pub(super) early: Seldom<Early>,
    pub(super) events: Events,
    /// Messages that arrived.
    pub(super) received: u64,
    /// What else is counted.
    pub(super) stats: Seldom<ClientStats>,
    /// Removed subscriptions: code of the user that must not be dropped while this is borrowed.
    pub(super) garbage: Seldom<Vec<Removed>>,
    /// The queue of other threads, while there is one.
    pub(super) remote: Option<Arc<Queue>>,
    /// QoS 0 messages of other threads that are not sent, by position.
    pub(super) remote_unsent: Seldom<VecDeque<(LogOffset, Arc<Fate>)>>,
    /// Everything before this was accepted by the kernel once, on this connection or an earlier one.
    pub(super) flushed: LogOffset,

    // Where the client stands.
    /// A connection that was given and is not used yet.
    pub(super) socket: Option<Box<Socket>>,
    /// A fiber serves the client: there is a connection, or it is working on one.
    pub(super) served: bool,
    pub(super) idle: Seldom<Idle>,
    /// What is asked for the time between two connections.
    pub(super) standby: Standby,
    /// When bytes last went in either direction.
    pub(super) last_activity: Option<Instant>,
    /// When the fiber of the client last looked what is to do.
    pub(super) turned: Time,
    /// When the kernel last took bytes.
    pub(super) last_sent: Option<Instant>,
    /// When the broker last acknowledged something.
    pub(super) last_acked: Option<Instant>,
    /// CONNECT of this connection was accepted by the kernel.
    pub(super) introduced: bool,
    /// Why there is no connection, and none will come unless one is given.
    pub(super) end: Option<Arc<EndCause>>,
    /// Why the last connection ended after which none came by itself, and how many did.
    pub(super) last_end: Option<Arc<EndCause>>,
    pub(super) ends: u32,
    /// `close` was called: nothing new is taken.
    pub(super) closing: bool,
    /// `close` has waited long enough: the connection is to be left.
    pub(super) leaving: bool,
    /// What is left undone at the end of the client.
    pub(super) remaining: Seldom<Remaining>,
    /// The client is over: everything is settled, and no connection will follow.
    pub(super) over: bool,

    // Who waits.
    /// For a change of where the client stands.
    pub(super) onlookers: Waiters,
    /// For bytes to be sent, by position.
    sent_waiters: Seldom<VecDeque<(LogOffset, Unparker)>>,
    pub(super) lines: Lines,
}

/// Fibers that look again when they are woken.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<Unparker>);

impl Waiters {
    pub(super) fn wake_all(&mut self) {
        // The list goes as well: most clients are waited for once, when they connect.
        for waiter in std::mem::take(&mut self.0) {
            waiter.unpark();
        }
    }
}

impl State {
    /// The state of a client that was just made; `stores` says that it uses the store of its options.
    fn new(options: &Settings, login: Rc<Login>, stores: bool) -> Self {
        let durable = Durable::of(options).filter(|_| stores);
        let session = Session::new(SessionOptions {
            version: Version::V311,
            window: options.window,
            inbound_window: options.inbound_window,
            connack_timeout: options.connect_timeout,
            on_session_loss: options.on_session_loss,
            ping_after: options.ping_after,
            publish_rate: options.publish_rate,
            publish_byte_rate: options.publish_byte_rate,
            packet_bytes_max: options.server_maximum_packet_size,
            recorded: durable.is_some(),
            #[cfg(any(test, feature = "planted"))]
            planted: options.planted,
            ..SessionOptions::default()
        });
        Self {
            session,
            log: OutboundLog::new(LOG_BYTES_MAX),
            outbox: Outbox::new(options.queue_messages_max, options.queue_bytes_max),
            log_is_full: false,
            expiry_is_watched: false,
            durable,
            login,
            tickets: Tickets::default(),
            waits_end: None,
            exactly_once_window: options.exactly_once_window,
            requests: Requests::default(),
            asks: Asks::default(),
            ask_filters_max: options.server_limits.as_ref().map_or(u16::MAX, |limits| {
                u16::try_from(limits.filters_per_subscribe_max()).unwrap_or(u16::MAX)
            }),
            subscriptions: Subscriptions::new(options.inbound_bytes),
            stall: Seldom::new(),
            settled: Settled::default(),
            recovering: false,
            answers: Seldom::new(),
            early: Seldom::new(),
            events: Events::default(),
            received: 0,
            stats: Seldom::new(),
            callers: None,
            garbage: Seldom::new(),
            remote: None,
            remote_unsent: Seldom::new(),
            flushed: LogOffset::default(),
            socket: None,
            served: false,
            idle: Idle::new(options.idle_timeout),
            standby: Standby::default(),
            last_activity: None,
            turned: now(),
            last_sent: None,
            last_acked: None,
            introduced: false,
            end: None,
            last_end: None,
            ends: 0,
            closing: false,
            leaving: false,
            remaining: Seldom::new(),
            over: false,
            onlookers: Waiters::default(),
            sent_waiters: Seldom::new(),
            lines: Lines::default(),
        }
    }
}

impl Shared {
    /// `connects` says that the client makes its connections itself; then it uses its store.
    pub(super) fn new(options: ClientOptions, connects: bool) -> Self {
        let ClientOptions {
            client_id,
            login,
            settings: options,
        } = options;
        let stores = connects && options.store.is_some();
        Self {
            state: RefCell::new(State::new(&options, login, stores)),
            client_id,
            options,
            wake: fiber::Event::new(),
            handles: Cell::new(0),
            connects,
            stores,
            expiry: Seldom::new(),
        }
    }

    /// Whether messages of QoS 1 and 2 are kept in a store.
    #[inline]
    pub(super) const fn stores(&self) -> bool {
        cfg!(feature = "store") && self.stores
    }

    #[inline]
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Has a wait ended by the next change of where the client stands.
    pub(super) fn watch(&self, token: Unparker) {
        self.state().onlookers.0.push(token);
    }

    /// Undoes [`Shared::watch`], as is due after the wait.
    pub(super) fn unwatch(&self, token: Unparker) {
        self.state().onlookers.0.retain(|waiter| *waiter != token);
    }

    /// Waits until `look` finds something; it is asked again after each change of where the client
    /// stands.
    pub(super) fn look_until<T>(
        &self,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, Stopped> {
        loop {
            let token = fiber::prepare()?;
            {
                let mut state = self.state();
                if let Some(found) = look(&mut state) {
                    return Ok(found);
                }
                state.onlookers.0.push(token);
            }
            let parked = fiber::park();
            self.unwatch(token);
            parked?;
        }
    }

    /// Whether the program has let go of the client, or `close` is through with waiting.
    pub(super) fn is_leaving(&self) -> bool {
        self.handles.get() == 0 || self.state().leaving
    }
}

impl State {
    /// How many more QoS 2 messages may be under way.
    #[inline]
    pub(super) const fn exactly_once_room(&self) -> usize {
        (self.exactly_once_window as usize).saturating_sub(self.tickets.exactly_once())
    }

    /// Why nothing new can be taken, if that is so.
    pub(super) fn refusal(&self) -> Option<WaitCause> {
        match &self.end {
            Some(end) => Some(WaitCause::ConnectionLost(Arc::clone(end))),
            None if self.closing => Some(WaitCause::Closed),
            None => None,
        }
    }

    /// Notes that there is no connection, and that none will come by itself.
    pub(super) fn end_by(&mut self, cause: Arc<EndCause>) {
        self.last_end = Some(Arc::clone(&cause));
        self.ends += 1;
        self.end = Some(cause);
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.session.phase(), Phase::Up { .. })
    }

    /// Notes that the kernel accepted everything before `position`.
    #[inline]
    pub(super) fn flushed_to(&mut self, position: LogOffset) {
        if position > self.flushed {
            self.note_flushed(position);
        }
    }

    fn note_flushed(&mut self, position: LogOffset) {
        self.flushed = position;
        while let Some(waiters) = self.sent_waiters.get_mut()
            && let Some((end, waiter)) = waiters.front()
            && *end <= position
        {
            waiter.unpark();
            waiters.pop_front();
        }
        while let Some(remote_unsent) = self.remote_unsent.get_mut()
            && let Some((end, fate)) = remote_unsent.front()
            && *end <= position
        {
            self.tickets.wakers.extend(fate.settle(Ok(Outcome::Sent)));
            remote_unsent.pop_front();
        }
    }

    /// Wakes everyone who waits for something that only a connection can bring.
    pub(super) fn wake_all(&mut self) {
        for (_, waiter) in std::mem::take(&mut self.sent_waiters).into_value() {
            waiter.unpark();
        }
        self.tickets.wake_all();
        self.lines.wake_all();
        self.subscriptions.wake_all();
        if let Some(answers) = self.answers.get() {
            answers.wake_all();
        }
        self.onlookers.wake_all();
    }

    /// Whether somebody waits for bytes to be sent.
    #[inline]
    pub(super) fn is_sent_awaited(&self) -> bool {
        let waiters = self.sent_waiters.get();
        waiters.is_some_and(|waiters| !waiters.is_empty())
    }

    pub(super) fn wait_for_sent(&mut self, end: LogOffset, waiter: Unparker) {
        // Positions only grow.
        let is_before = |(other, _): &(LogOffset, _)| *other <= end;
        insert_behind(&mut *self.sent_waiters, (end, waiter), is_before);
    }

    pub(super) fn forget_sent_waiter(&mut self, waiter: Unparker) {
        self.sent_waiters.retain(|(_, other)| *other != waiter);
    }

    /// Notes the broker's answer to a request. What it refused of a new subscription receives
    /// nothing; what it had granted before is asked for again on the next connection.
    pub(super) fn answer_request(
        &mut self,
        key: TicketKey,
        reasons: impl Iterator<Item = SubscribeReason>,
    ) {
        let Some(request) = self.requests.answer(key, reasons) else {
            return;
        };
        if let Wanted::Subscribe(None, filters) = &request.wanted {
            // A master subscription is asked for alone.
            let granted = request.refused.is_empty();
            for (filter, qos) in filters.clone() {
                self.answer_master(&filter, qos, granted);
            }
        }
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let refused = &request.refused;
        if let Wanted::Subscribe(Some(id), filters) = &request.wanted {
            let removed = self.subscriptions.answer(*id, filters, refused);
            self.garbage.extend(removed);
        }
        if !self.tickets.is_held(key) {
            if !refused.is_empty() {
                let filters = refused.clone();
                self.events.push(Event::SubscribeRefused { filters });
            }
            self.requests.take(key);
        }
    }

    /// Whether a `close` has nothing to wait for: everything was sent and acknowledged, or
    /// nothing will be.
    pub(super) fn is_drained(&self) -> bool {
        match self.session.phase() {
            Phase::Idle | Phase::Connecting { .. } | Phase::Up { .. } | Phase::Resting { .. } => {
                !self.served
                    || (self.unacknowledged() == 0
                        && self.outbox.is_empty()
                        && self.flushed >= self.log.tail())
            }
            Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Closed => true,
        }
    }

    /// How many QoS 1 and 2 messages are not acknowledged, sent or not.
    pub(super) fn unacknowledged(&self) -> usize {
        let waiting = self.durable.as_ref().map_or(0, |it| it.waiting());
        self.session.unacknowledged() + self.outbox.acknowledged_len() + waiting
    }

    /// Bytes that never left: of packets, and of messages that wait.
    pub(super) fn unsent_bytes(&self) -> usize {
        let packets = self.log.tail().since(self.flushed.max(self.log.head()));
        packets + self.outbox.content_bytes() + self.unsent_stored_bytes()
    }

    /// Wakes each `close` that waits for the last acknowledgement.
    #[inline]
    pub(super) fn check_drained(&mut self) {
        if self.closing && self.is_drained() {
            self.onlookers.wake_all();
        }
    }
}

/// The time as the protocol core takes it: the loop's cached reading, which costs nothing.
#[inline]
pub(super) fn now() -> Time {
    Time(Instant::recent().as_nanos())
}
