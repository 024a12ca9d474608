//! Counters of what the sockets of this thread did: dials, failures by phase, TLS handshakes.
//!
//! They only grow, belong to the thread, and take no lock. What one connection moved is counted by
//! its socket.

use core::cell::Cell;

use crate::error::{Error, Phase};
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

/// A count that only grows.
#[derive(Debug)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    const fn new() -> Self {
        Self(Cell::new(0))
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    pub(crate) const fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Declares the counters once: as cells to add to, and as numbers to be read.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            const fn new() -> Self {
                Self { $($name: Counter::new(),)+ }
            }

            fn read(&self) -> Stats {
                Stats { $($name: self.$name.get(),)+ }
            }
        }

        /// What this crate did so far on this thread. Every number only grows; the difference of
        /// two readings is what happened between them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }
    };
}

counters! {
    /// Dials begun, among them those that were refused before anything was sent.
    dials,
    /// Dials that ended with a connected socket.
    dials_connected,
    /// Dials that failed at the look-up of the name.
    dials_failed_resolve,
    /// Dials that failed at the transport connection.
    dials_failed_connect,
    /// Dials that failed at a proxy.
    dials_failed_proxy,
    /// Dials that failed at the TLS handshake, or because TLS was asked for and not configured.
    dials_failed_tls,
    /// Dials that failed at the WebSocket handshake.
    dials_failed_web_socket,
    /// Dials that tried the last good address because the look-up failed or took too long, or, over TLS,
    /// because no address that it gave worked.
    dials_last_good,
    /// Look-ups of names begun.
    look_ups,
    /// Look-ups that failed.
    look_ups_failed,
    /// Names that were asked for while their look-up was under way.
    look_ups_joined,
    /// Names whose look-up was remembered.
    look_ups_remembered,
    /// TLS handshakes of either side that exchanged certificates.
    handshakes_full,
    /// TLS handshakes of either side that resumed an earlier session.
    handshakes_resumed,
    /// TLS handshakes of either side that failed, for whatever reason. In TLS 1.3 a client whose
    /// certificate is refused learns it later, and its handshake counts as done.
    handshakes_failed,
}

thread_local! {
    static COUNTERS: Counters = const { Counters::new() };
}

/// Returns what this crate did so far on the calling thread. Does not yield.
///
/// # Examples
/// ```
/// let endpoint = "mqtts://127.0.0.1".parse()?;
/// let before = safe_rt::stats();
/// safe_rt::dial(&endpoint, &safe_rt::DialOptions::new()).expect_err("no TLS options");
/// let now = safe_rt::stats();
/// assert_eq!(now.dials - before.dials, 1);
/// assert_eq!(now.dials_failed_tls - before.dials_failed_tls, 1);
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[must_use]
pub fn stats() -> Stats {
    COUNTERS.with(Counters::read)
}

/// Adds one to the counter that `which` picks.
pub(crate) fn count(which: impl FnOnce(&Counters) -> &Counter) {
    COUNTERS.with(|counters| which(counters).add(1));
}

/// Counts a dial and how it ended.
pub(crate) fn count_dial<T>(dial: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    count(|counters| &counters.dials);
    let outcome = dial();
    match &outcome {
        Ok(_) => count(|counters| &counters.dials_connected),
        Err(error) => count_failed_dial(error),
    }
    outcome
}

/// Counts how a dial failed.
pub(crate) fn count_failed_dial(error: &Error) {
    match error.phase() {
        Phase::Resolve => count(|counters| &counters.dials_failed_resolve),
        Phase::Connect => count(|counters| &counters.dials_failed_connect),
        Phase::Proxy => count(|counters| &counters.dials_failed_proxy),
        Phase::Tls => count(|counters| &counters.dials_failed_tls),
        Phase::WebSocket => count(|counters| &counters.dials_failed_web_socket),
        // Phases of a listener, which no dial has.
        Phase::Accept | Phase::Bind => {}
    }
}

/// Counts a TLS handshake and how it ended.
#[cfg(feature = "tls")]
pub(crate) fn count_handshake(
    handshake: impl FnOnce() -> std::io::Result<TlsStream>,
) -> std::io::Result<TlsStream> {
    let outcome = handshake();
    count(|counters| match &outcome {
        Ok(stream) if stream.is_resumed() => &counters.handshakes_resumed,
        Ok(_) => &counters.handshakes_full,
        Err(_) => &counters.handshakes_failed,
    });
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dial_is_counted_by_how_it_ended() {
        type Pick = fn(&Stats) -> u64;
        let table: [(Phase, Pick); 5] = [
            (Phase::Resolve, |stats| stats.dials_failed_resolve),
            (Phase::Connect, |stats| stats.dials_failed_connect),
            (Phase::Proxy, |stats| stats.dials_failed_proxy),
            (Phase::Tls, |stats| stats.dials_failed_tls),
            (Phase::WebSocket, |stats| stats.dials_failed_web_socket),
        ];
        for (phase, pick) in table {
            let before = stats();
            let cause = std::io::ErrorKind::ConnectionRefused.into();
            let failed = count_dial(|| Err::<(), _>(Error::new(phase, "broker", cause)));
            failed.expect_err("it failed");
            let now = stats();
            assert_eq!(
                (now.dials - before.dials, pick(&now) - pick(&before)),
                (1, 1)
            );
            let all: u64 = table
                .iter()
                .map(|(_, pick)| pick(&now) - pick(&before))
                .sum();
            assert_eq!(all, 1, "{phase:?} is counted once");
        }
        let before = stats();
        count_dial(|| Ok(())).expect("it succeeds");
        assert_eq!(stats().dials_connected - before.dials_connected, 1);
    }
}
