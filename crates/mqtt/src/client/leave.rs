//! The end of a client that its program wants.

use std::sync::Arc;
use std::time::Duration;

use fiber::Stopped;

use super::Client;
use super::error::EndCause;
use super::link;
use super::shared::State;

/// What a [`Client::close`] left undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// QoS 1 and 2 messages that the broker had not acknowledged. Without a store that outlives the
    /// client they are lost to it; the broker may have them.
    pub unacknowledged: usize,
    /// Bytes that never left: of packets, and of messages that waited in the queue.
    pub unsent_bytes: usize,
}

impl Client {
    /// Leaves in order: takes nothing new, waits up to `timeout` for what was published to be
    /// sent and acknowledged, then sends DISCONNECT and closes the connection (MQTT3-3.14).
    ///
    /// A client that connects by itself goes on doing so for the time of the `timeout`. Yields until
    /// the connection is closed, which after the `timeout` may take four seconds more. Other handles
    /// find the client closed, and so do calls that wait for room. Handlers are dropped when they
    /// have handled what had come.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when an outer scope ended the wait; the client leaves all the same.
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
        let drained = fiber::timeout(timeout, drained);
        let remaining = {
            let mut state = self.shared.state();
            let remaining = Remaining {
                unacknowledged: state.unacknowledged(),
                unsent_bytes: state.unsent_bytes(),
            };
            state.leaving = true;
            remaining
        };
        self.leave();
        match drained {
            Ok(Err(stopped)) => Err(stopped),
            Ok(Ok(())) | Err(_) => {
                let over = |state: &mut State| state.over.then_some(());
                self.shared.look_until(over)?;
                Ok(remaining)
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
            link::finish(&self.shared, Arc::new(EndCause::Closed));
        }
    }
}
