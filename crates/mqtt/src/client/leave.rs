//! The end of a client that its program wants.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fiber::{FiberBuilder, Stopped};

use super::durable::Durable;
use super::error::EndCause;
use super::expiry;
use super::feeder::each_queued;
use super::link::wake_threads;
use super::shared::{Shared, State, now};
use super::ticket::Outcome;
use super::{Client, handler, remote};
use crate::store::Stored;

/// What a [`Client::close`] left undone, counted when the connection was closed and everything was
/// settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// QoS 1 and 2 messages that the broker had not acknowledged, sent or not, those of
    /// [`Remaining::kept`] among them. The others are lost to the client; the broker may have those
    /// that were sent.
    pub unacknowledged: usize,
    /// Bytes that never left: of packets, and of the topics and payloads of messages that waited in
    /// the queue or in the store. Stored messages of an earlier program count a few tens of bytes
    /// more each.
    pub unsent_bytes: usize,
    /// QoS 1 and 2 messages that are in the store and outlive the client: the next one with that
    /// store goes on with them ([`Outcome::Kept`]).
    pub kept: usize,
}

impl Client {
    /// Leaves in order: takes nothing new, waits up to `timeout` for what was published to be
    /// sent and acknowledged, then sends DISCONNECT and closes the connection (MQTT3-3.14).
    ///
    /// A client that connects by itself goes on doing so for the time of the `timeout`. Yields until
    /// the connection is closed, which after the `timeout` may take four seconds more: two for
    /// DISCONNECT to be sent, and two for the end of the transport. With a store it may take two
    /// beyond that, for the disk. Other handles find the client closed, and so do calls that wait for
    /// room. Handlers are dropped when they have handled what had come.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when an outer scope ended the wait; the client leaves all the same. In a handler that
    /// may not wait ([`Client::subscribe_inline`]) it is [`Stopped::WouldWait`], and the client leaves as
    /// it would have, on a fiber of its own.
    pub fn close(&self, timeout: Duration) -> Result<Remaining, Stopped> {
        {
            let mut state = self.shared.state();
            state.closing = true;
            state.lines.wake_all();
        }
        let drained = || {
            let drained = |state: &mut State| state.is_drained().then_some(());
            self.shared.look_until(drained)
        };
        let is_drained = self.shared.state().is_drained();
        let drained = match is_drained {
            true => Ok(Ok(())),
            false => fiber::timeout(timeout, drained),
        };
        if let Ok(Err(Stopped::WouldWait)) = drained {
            let client = self.clone();
            let close = move || {
                // Nobody waits for it.
                let _ = client.close(timeout);
            };
            if FiberBuilder::new().name("mqtt-close").spawn(close).is_ok() {
                return Err(Stopped::WouldWait);
            }
        }
        self.shared.state().leaving = true;
        self.leave();
        match drained {
            Ok(Err(stopped)) => Err(stopped),
            Ok(Ok(())) | Err(_) => {
                let over = |state: &mut State| state.over.then(|| *state.remaining);
                self.shared.look_until(over)
            }
        }
    }

    /// Ends the client, by the fiber that serves it if there is one.
    pub(super) fn leave(&self) {
        let served = {
            let mut state = self.shared.state();
            state.socket = None;
            state.served
        };
        if served {
            self.shared.wake.set();
        } else {
            finish(&self.shared, Arc::new(EndCause::Closed));
        }
    }
}

/// Ends the client: everything that is open is settled, and everyone who waits is told. Handlers
/// that have nothing left to handle are let go, with whatever they hold.
pub(super) fn finish(shared: &Rc<Shared>, cause: Arc<EndCause>) {
    let (idle, callback, queue) = {
        let mut state = shared.state();
        if state.over {
            return;
        }
        let unacknowledged = state.unacknowledged();
        let unsent_bytes = state.unsent_bytes();
        state.session.connection_lost();
        state.over = true;
        state.standby.resting = false;
        state.served = false;
        if state.end.is_none() {
            state.end_by(cause);
        }
        let flushed = state.flushed;
        state.withdraw_stored();
        let kept = state.durable.as_ref().filter(|_| state.closing);
        *state.remaining = Remaining {
            unacknowledged,
            unsent_bytes,
            kept: kept.map_or(0, count_kept),
        };
        let State {
            tickets, durable, ..
        } = &mut *state;
        let is_kept = |pos| durable.as_ref().is_some_and(|it| it.is_kept(pos));
        tickets.settle_all(flushed, is_kept);
        state.outbox.clear();
        expiry::look_again(shared);
        if let Some(durable) = &state.durable {
            durable.store.release();
        }
        for (_, fate) in std::mem::take(&mut state.remote_unsent).into_value() {
            let waker = fate.settle(Ok(Outcome::Withdrawn));
            state.tickets.wakers.extend(waker);
        }
        state.wake_all();
        if !shared.stores() {
            // What is in no record comes again.
            state.release_early(shared, now(), true);
        }
        let mut idle = std::mem::take(&mut state.garbage).into_value();
        state.subscriptions.remove_idle(&mut idle);
        (idle, state.events.end(), state.remote.take())
    };
    if let Some(queue) = queue {
        remote::close(&queue);
    }
    wake_threads(shared);
    // Without a fiber for them they are dropped here: nothing is borrowed.
    if !idle.is_empty() || callback.is_some() {
        drop(handler::drop_apart((idle, callback)));
    }
}

/// How many messages the next client with this store goes on with.
fn count_kept(durable: &Durable) -> usize {
    let recovered = durable.store.recovered_in_part();
    let rest = recovered.end();
    let mut count = 0;
    let mut add = |stored: Stored| count += usize::from(durable.is_kept(stored.pos));
    let parts = [recovered.queued, recovered.in_flight, recovered.released];
    parts.into_iter().flatten().for_each(&mut add);
    each_queued(&*durable.store, rest, add);
    count
}
