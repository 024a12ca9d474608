//! What the handles of a client, its driver and its handlers share.
//!
//! Borrowed only between waits: no method here that borrows also waits.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::sync::Arc;

use fiber::{Event, Instant, Unparker};

use super::error::{EndCause, WaitCause};
use super::handler;
use super::options::ClientOptions;
use super::request::Requests;
use super::room::Lines;
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
    /// QoS 2 messages that may be under way.
    pub(super) exactly_once_window: usize,
    pub(super) requests: Requests,
    pub(super) subscriptions: Subscriptions,
    /// Everything before this was accepted by the kernel.
    pub(super) flushed: LogOffset,
    /// Why the connection ended, once it did.
    pub(super) end: Option<Arc<EndCause>>,
    /// `close` was called: nothing new is taken.
    pub(super) closing: bool,
    /// Calls of `close` that wait for the last acknowledgement.
    pub(super) close_waiters: Vec<Unparker>,
    pub(super) stats: ClientStats,
    /// Removed subscriptions: code of the user that must not be dropped while this is borrowed.
    pub(super) garbage: Vec<Removed>,
    /// Who waits for bytes to be sent, by position.
    sent_waiters: VecDeque<(LogOffset, Unparker)>,
    pub(super) lines: Lines,
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
                exactly_once_window: options.exactly_once_window.into(),
                requests: Requests::default(),
                subscriptions: Subscriptions::default(),
                flushed: LogOffset::default(),
                end: None,
                closing: false,
                close_waiters: Vec::new(),
                stats: ClientStats::default(),
                garbage: Vec::new(),
                sent_waiters: VecDeque::new(),
                lines: Lines::default(),
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

    /// Ends the connection: everything that is open is settled, and everyone who waits is told.
    /// Handlers that have nothing left to handle are let go, with whatever they hold.
    pub(super) fn finish(&self, cause: EndCause) {
        let idle = {
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
            state.lines.wake_all();
            for waiter in state.close_waiters.drain(..) {
                waiter.unpark();
            }
            state.subscriptions.wake_all();
            let mut idle = std::mem::take(&mut state.garbage);
            state.subscriptions.remove_idle(&mut idle);
            idle
        };
        self.answered.set();
        self.ended.set();
        // Without a fiber for them they are dropped here: nothing is borrowed.
        drop(handler::drop_apart(idle));
    }
}

/// Tells everyone who waits, should the driver panic: nobody else would.
pub(super) struct EndOnPanic<'a>(pub(super) &'a Shared);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.finish(EndCause::Panicked);
        }
    }
}

impl State {
    /// How many more QoS 2 messages may be under way.
    #[inline]
    pub(super) const fn exactly_once_room(&self) -> usize {
        self.exactly_once_window
            .saturating_sub(self.tickets.exactly_once())
    }

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
        if position <= self.flushed {
            return;
        }
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

    /// Whether a `close` has nothing to wait for: everything was sent and acknowledged, or
    /// nothing will be.
    pub(super) fn is_drained(&self) -> bool {
        match self.session.phase() {
            Phase::Connecting { .. } | Phase::Up { .. } => {
                self.session.unacknowledged() == 0 && self.flushed >= self.log.tail()
            }
            Phase::Idle | Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Closed => true,
        }
    }

    /// Wakes each `close` that waits for the last acknowledgement.
    #[inline]
    pub(super) fn check_drained(&mut self) {
        if self.closing && self.is_drained() {
            for waiter in self.close_waiters.drain(..) {
                waiter.unpark();
            }
        }
    }
}

/// The time as the protocol core takes it: the loop's cached reading, which costs nothing.
#[inline]
pub(super) fn now() -> Time {
    Time(Instant::recent().as_nanos())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::packet::ClientId;

    #[test]
    fn a_panic_of_the_driver_is_told_to_everyone_who_waits() {
        let end = fiber::run(|| {
            let id = ClientId::new("meter").unwrap();
            let shared = Rc::new(Shared::new(ClientOptions::new(id)));
            let driver = Rc::clone(&shared);
            let panics = move || {
                let _guard = EndOnPanic(&driver);
                panic!("a panic of the driver, as this test asks for");
            };
            fiber::spawn(panics).unwrap();
            shared.ended.wait().unwrap();
            shared.state().end.as_ref().map(ToString::to_string)
        });
        let text = "the fiber that serves the connection panicked";
        assert_eq!(end.unwrap().as_deref(), Some(text));
    }
}
