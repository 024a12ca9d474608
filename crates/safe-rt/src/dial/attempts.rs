//! How the time of a dial is shared out among the addresses. It knows nothing of sockets.

use core::net::SocketAddr;
use core::time::Duration;

use fiber::Instant;

use crate::error::Error;

/// Tries the addresses in turn, each within an equal share of the time that is left.
///
/// The last one gets all of it, and its error is then the one of the scope around. When all fail,
/// the error is that of the attempt that got furthest, the last one of equals.
pub(super) fn try_each<T>(
    addresses: &[SocketAddr],
    mut attempt: impl FnMut(SocketAddr) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut furthest: Option<Error> = None;
    for (index, &address) in addresses.iter().enumerate() {
        let outcome = match share(addresses.len() - index) {
            Some(share) => fiber::timeout(share, || attempt(address)),
            None => Ok(attempt(address)),
        };
        let error = match outcome {
            Ok(Ok(connected)) | Err(fiber::Elapsed(Ok(connected))) => return Ok(connected),
            // Not its share, but a scope around the dial is over: no other address helps.
            Ok(Err(error)) if is_stopped(&error) => return Err(error),
            Ok(Err(error)) | Err(fiber::Elapsed(Err(error))) => error,
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

/// Returns the time one of `left` addresses may take, if it is limited below the whole.
fn share(left: usize) -> Option<Duration> {
    let remaining = fiber::ambient_deadline()? - Instant::now();
    match u32::try_from(left) {
        Ok(0 | 1) | Err(_) => None,
        Ok(left) => Some(remaining / left),
    }
}

/// Returns whether an attempt ended with `error` because a scope around the dial is over. A limit of
/// something within, such as the time that a signer gives its token, looks the same in the error.
fn is_stopped(error: &Error) -> bool {
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
