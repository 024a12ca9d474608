//! What a client shows of how it fares, for whoever watches over it.

use std::time::Duration;

use fiber::Instant;

use super::Client;

impl Client {
    /// When bytes last went in either direction on the present connection, or the one before;
    /// `None` before the first. Does not yield.
    #[must_use]
    pub fn last_activity(&self) -> Option<Instant> {
        self.shared.state().last_activity
    }

    /// When the fiber of the client last looked what is to do. While there is a connection it does so at
    /// least once in the time of [`Client::keep_alive`], whatever happens; a fiber that hangs does not. Does
    /// not yield.
    #[must_use]
    pub fn last_turn(&self) -> Instant {
        Instant::from_nanos(self.shared.state().turned.0)
    }

    /// How long the link may be silent, zero for ever; see
    /// [`ClientOptions::keep_alive`](super::ClientOptions::keep_alive). Does not yield.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        self.shared.state().login.keep_alive
    }

    /// Whether the rate of [`ClientOptions::publish_rate`](super::ClientOptions::publish_rate) holds
    /// messages back now: what [`Event::Throttled`](super::Event::Throttled) told of is not over. Does not
    /// yield.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        let state = self.shared.state();
        state.is_up() && state.session.is_throttled()
    }

    /// Whether a message holds back the acknowledgements of later ones now: what
    /// [`Event::AckStalled`](super::Event::AckStalled) told of is not over. Does not yield.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let state = self.shared.state();
        let stall = state.stall.get();
        stall.is_some_and(|stall| stall.is_stalled(state.session.oldest_unhandled()))
    }
}
