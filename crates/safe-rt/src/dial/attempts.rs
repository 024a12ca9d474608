//! How the time of a dial is shared out among the addresses. It knows nothing of sockets.

use core::net::SocketAddr;
use core::time::Duration;

use fiber::Instant;

use crate::error::Error;

/// What one of several addresses may take at least to be connected to, where there is as much: a packet
/// that is lost is sent again after a second.
pub(super) const CONNECT_SHARE_MIN: Duration = Duration::from_secs(3);
/// What one that is connected to may take at least for the rest: it answers, and the next one may not.
pub(super) const CONNECTED_SHARE_MIN: Duration = Duration::from_secs(5);

/// The turn of one address: what it may take of the time that is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Addresses that were not tried yet, this one included.
    left: usize,
}

impl Turn {
    /// Runs the part of an attempt that ends with a connection: within an equal share of the time, but no
    /// less than [`CONNECT_SHARE_MIN`]. So the last ones of many may not be tried.
    pub(super) fn connecting<T>(self, body: impl FnOnce() -> T) -> T {
        let parts = u32::try_from(self.left).unwrap_or(u32::MAX);
        self.within(parts, CONNECT_SHARE_MIN, body)
    }

    /// Runs what follows, once the address has answered: within half of the time that is left then, but
    /// no less than [`CONNECTED_SHARE_MIN`].
    pub(super) fn connected<T>(self, body: impl FnOnce() -> T) -> T {
        self.within(2, CONNECTED_SHARE_MIN, body)
    }

    /// The last address gets all, and the error at the end is then the one of the scope around.
    fn within<T>(self, parts: u32, least: Duration, body: impl FnOnce() -> T) -> T {
        let Some(deadline) = fiber::ambient_deadline().filter(|_| self.left > 1) else {
            return body();
        };
        let remaining = deadline - Instant::now();
        let share = (remaining / parts).max(least);
        if share >= remaining {
            return body();
        }
        fiber::timeout(share, body).unwrap_or_else(|late| late.0)
    }
}

/// Tries the addresses in turn. An attempt shares the time out itself, by way of its [`Turn`].
///
/// When all fail, the error is that of the attempt that got furthest, the last one of equals.
pub(super) fn try_each<T>(
    addresses: &[SocketAddr],
    mut attempt: impl FnMut(SocketAddr, Turn) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut furthest: Option<Error> = None;
    for (index, &address) in addresses.iter().enumerate() {
        let left = addresses.len() - index;
        let error = match attempt(address, Turn { left }) {
            Ok(connected) => return Ok(connected),
            // Not its share, but a scope around the dial is over: no other address helps.
            Err(error) if is_stopped(&error) => return Err(error),
            Err(error) => error,
        };
        if furthest
            .as_ref()
            .is_none_or(|best| error.phase() >= best.phase())
        {
            furthest = Some(error);
        }
    }
    Err(furthest.expect("a look-up gives at least one address"))
}

/// Returns whether an attempt ended with `error` because a scope around the dial is over. A limit of
/// something within, such as the time that a signer gives its token, looks the same in the error.
pub(super) fn is_stopped(error: &Error) -> bool {
    fiber::cause(error).is_some() && fiber::yield_now().is_err()
}

/// Runs `body` under the ambient deadline, or under `default` if there is none.
pub(crate) fn with_default_deadline<T>(default: Duration, body: impl FnOnce() -> T) -> T {
    match fiber::ambient_deadline() {
        Some(_) => body(),
        None => fiber::timeout(default, body).unwrap_or_else(|elapsed| elapsed.0),
    }
}

#[cfg(test)]
mod tests;
