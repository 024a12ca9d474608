//! A dial as it is seen from outside: its phases, one by one, each when it is over.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use fiber::Instant;

use crate::error::{Error, Phase};

/// One phase of a dial that is over, as an observer of [`dial_traced`](crate::dial_traced) sees it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    phase: Phase,
    address: &'a str,
    began: Instant,
    took: Duration,
    addresses: &'a [SocketAddr],
    error: Option<&'a Error>,
}

impl<'a> Step<'a> {
    /// Returns which phase it was.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns what was being reached, as in [`Error::address`].
    #[must_use]
    pub const fn address(&self) -> &'a str {
        self.address
    }

    /// Returns when it began.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Returns how long it took.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// Returns the addresses that a look-up found, in the order in which they are tried; of another
    /// phase none.
    #[must_use]
    pub const fn addresses(&self) -> &'a [SocketAddr] {
        self.addresses
    }

    /// Returns what it failed with, if it failed. The dial may go on with another address.
    #[must_use]
    pub const fn error(&self) -> Option<&'a Error> {
        self.error
    }
}

/// Who is told of each phase.
pub(super) type Observer<'a> = dyn FnMut(&Step<'_>) + 'a;

/// Runs one phase, whose error then names it and what was being reached, and tells the observer, if
/// there is one. The address is put into words only where somebody hears them.
pub(super) fn observed<T>(
    observer: Option<&mut Observer<'_>>,
    phase: Phase,
    address: impl Fn() -> String,
    found: impl FnOnce(&T) -> &[SocketAddr],
    body: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    let watched = observer.map(|observer| (observer, Instant::now()));
    let outcome = body();
    let times = watched.map(|(observer, began)| (observer, began, began.elapsed()));
    let outcome = outcome.map_err(|source| Error::new(phase, address(), source));
    if let Some((observer, began, took)) = times {
        let addresses = outcome.as_ref().map_or(&[] as &[_], found);
        let error = outcome.as_ref().err();
        tell(observer, phase, &address(), (began, took), addresses, error);
    }
    outcome
}

/// Tells of a phase: when it began and how long it took.
fn tell(
    observer: &mut Observer<'_>,
    phase: Phase,
    address: &str,
    (began, took): (Instant, Duration),
    addresses: &[SocketAddr],
    error: Option<&Error>,
) {
    observer(&Step {
        phase,
        address,
        began,
        took,
        addresses,
        error,
    });
}
