//! What the handles of a client, its driver and its handlers share.
//!
//! Borrowed only between waits: no method here that borrows also waits.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::sync::Arc;

use fiber::{Event, Instant, Unparker};

use super::error::{EndCause, WaitCause};
use super::options::ClientOptions;
use super::request::Requests;
use super::subscription::{Removed, Subscriptions};
use super::ticket::Tickets;
use crate::outbound_log::{LOG_BYTES_MAX, LogOffset, OutboundLog};
use crate::packet::{SubscribeReason, Version};
use crate::session::{Phase, Session, SessionOptions, TicketKey};
use crate::time::Time;

/// Counts of what a client did, and of what it had to let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Messages that arrived.
    pub received: u64,
    /// Messages that no subscription wanted; they were acknowledged.
    pub unrouted: u64,
    /// QoS 0 messages that were dropped because a subscription had too many unhandled ones.
    pub dropped: u64,
    /// Handlers that returned an error.
    pub handler_errors: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
}

/// One client.
pub(super) struct Shared {
    state: RefCell<State>,
    pub(super) options: ClientOptions,
    /// Set when the driver has something to do that no socket or timer tells it.
    pub(super) wake: Event,
    /// Set when the broker answered CONNECT, or the connection ended.
    pub(super) answered: Event,
    /// Set when the connection ended.
    pub(super) ended: Event,
    /// [`super::Client`]s that the program holds.
    pub(super) handles: Cell<usize>,
}

pub(super) struct State {
    pub(super) session: Session,
    pub(super) log: OutboundLog,
    pub(super) tickets: Tickets,
    pub(super) requests: Requests,
    pub(super) subscriptions: Subscriptions,
    /// Everything before this was accepted by the kernel.
    pub(super) flushed: LogOffset,
    /// Why the connection ended, once it did.
    pub(super) end: Option<Arc<EndCause>>,
    /// `close` was called: nothing new is taken.
    pub(super) closing: bool,
    pub(super) close_waiter: Option<Unparker>,
    pub(super) stats: ClientStats,
    /// Removed subscriptions: code of the user that must not be dropped while this is borrowed.
    pub(super) garbage: Vec<Removed>,
    /// Who waits for bytes to be sent, by position.
    sent_waiters: VecDeque<(LogOffset, Unparker)>,
    /// Who waits for room in the window, and who for room in the log, in order of arrival.
    room_waiters: [VecDeque<Unparker>; 2],
}

/// What a publish waits for. QoS 0 needs no window and passes a full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Window,
    Log,
}

impl Shared {
    pub(super) fn new(options: ClientOptions) -> Self {
        let session = Session::new(SessionOptions {
            version: Version::V311,
            window: options.window,
            connack_timeout: options.connect_timeout,
            ..SessionOptions::default()
        });
        Self {
            state: RefCell::new(State {
                session,
                log: OutboundLog::new(LOG_BYTES_MAX),
                tickets: Tickets::default(),
                requests: Requests::default(),
                subscriptions: Subscriptions::default(),
                flushed: LogOffset::default(),
                end: None,
                closing: false,
                close_waiter: None,
                stats: ClientStats::default(),
                garbage: Vec::new(),
                sent_waiters: VecDeque::new(),
                room_waiters: [VecDeque::new(), VecDeque::new()],
            }),
            options,
            wake: Event::new(),
            answered: Event::new(),
            ended: Event::new(),
            handles: Cell::new(0),
        }
    }

    #[inline]
    pub(super) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Runs what waits under the client's operation timeout, unless a scope has set a limit.
    pub(super) fn limited<T, E>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        match self.options.operation_timeout {
            Some(timeout) if fiber::ambient_deadline().is_none() => {
                fiber::timeout(timeout, body).unwrap_or_else(|elapsed| elapsed.0)
            }
            Some(_) | None => body(),
        }
    }

    /// Waits for room. `again` says that an earlier wait found none after all.
    pub(super) fn wait_for_room(&self, room: Room, again: bool) -> Result<(), WaitCause> {
        let token = fiber::prepare()?;
        {
            let waiters = &mut self.state().room_waiters[room as usize];
            if again {
                waiters.push_front(token);
            } else {
                waiters.push_back(token);
            }
        }
        if let Err(stopped) = fiber::park() {
            self.state().room_waiters[room as usize].retain(|waiter| *waiter != token);
            return Err(stopped.into());
        }
        Ok(())
    }

    /// Ends the connection: everything that is open is settled, and everyone who waits is told.
    pub(super) fn finish(&self, cause: EndCause) {
        {
            let mut state = self.state();
            if state.end.is_some() {
                return;
            }
            state.session.connection_lost();
            state.end = Some(Arc::new(cause));
            let flushed = state.flushed;
            state.tickets.settle_all(flushed);
            for (_, waiter) in state.sent_waiters.drain(..) {
                waiter.unpark();
            }
            for waiter in state
                .room_waiters
                .iter_mut()
                .flat_map(|waiters| waiters.drain(..))
            {
                waiter.unpark();
            }
            if let Some(waiter) = state.close_waiter.take() {
                waiter.unpark();
            }
            state.subscriptions.wake_all();
        }
        self.answered.set();
        self.ended.set();
    }
}

impl State {
    /// Why nothing new can be taken, if that is so.
    pub(super) fn refusal(&self) -> Option<WaitCause> {
        match &self.end {
            Some(end) => Some(WaitCause::ConnectionLost(Arc::clone(end))),
            None if self.closing => Some(WaitCause::Closed),
            None => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.session.phase(), Phase::Up { .. })
    }

    /// Notes that the kernel accepted everything before `position`.
    #[inline]
    pub(super) fn flushed_to(&mut self, position: LogOffset) {
        self.flushed = position;
        while let Some((end, waiter)) = self.sent_waiters.front() {
            if *end > position {
                break;
            }
            waiter.unpark();
            self.sent_waiters.pop_front();
        }
    }

    pub(super) fn wait_for_sent(&mut self, end: LogOffset, waiter: Unparker) {
        // Nearly always the last: positions only grow.
        let at = self
            .sent_waiters
            .iter()
            .rposition(|(other, _)| *other <= end);
        self.sent_waiters
            .insert(at.map_or(0, |at| at + 1), (end, waiter));
    }

    pub(super) fn forget_sent_waiter(&mut self, waiter: Unparker) {
        self.sent_waiters.retain(|(_, other)| *other != waiter);
    }

    /// Wakes the first who waits for such room.
    #[inline]
    pub(super) fn wake_for_room(&mut self, room: Room) {
        while let Some(waiter) = self.room_waiters[room as usize].pop_front() {
            if waiter.unpark() {
                break;
            }
        }
    }

    #[inline]
    pub(super) fn is_waited_for(&self, room: Room) -> bool {
        !self.room_waiters[room as usize].is_empty()
    }

    /// Notes the broker's answer to a SUBSCRIBE; what it refused receives nothing.
    pub(super) fn answer_subscribe(
        &mut self,
        key: TicketKey,
        reasons: impl Iterator<Item = SubscribeReason>,
    ) {
        let Some(request) = self.requests.answer(key, reasons) else {
            return;
        };
        for filter in &request.refused {
            let removed = self
                .subscriptions
                .remove_filter_of(request.subscription, filter);
            self.garbage.extend(removed);
        }
        if !self.tickets.is_held(key) {
            self.requests.take(key);
        }
    }

    /// Wakes a `close` that waits for the last acknowledgement.
    #[inline]
    pub(super) fn check_drained(&mut self) {
        if self.closing
            && self.session.unacknowledged() == 0
            && let Some(waiter) = self.close_waiter.take()
        {
            waiter.unpark();
        }
    }
}

/// The time as the protocol core takes it: the loop's cached reading, which costs nothing.
#[inline]
pub(super) fn now() -> Time {
    Time(Instant::recent().as_nanos())
}
