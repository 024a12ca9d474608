//! Which failures no further attempt changes by itself: those are tried again after the long pauses.

use std::error::Error as StdError;

use safe_rt::{DialRefusal, ProxyError};

/// Whether the two sides, or what the program chose, do not fit together.
pub(super) fn is_lasting(error: &(dyn StdError + 'static)) -> bool {
    DialRefusal::of(error).is_some()
        || ProxyError::of(error).is_some_and(is_lasting_proxy)
        || is_lasting_tls(error)
        || is_lasting_web_socket(error)
}

fn is_lasting_proxy(error: &ProxyError) -> bool {
    match error {
        ProxyError::CredentialsWanted
        | ProxyError::CredentialsRefused
        | ProxyError::BasicNotOffered
        | ProxyError::Forbidden
        | ProxyError::NotHttp
        | ProxyError::HeadTooLong => true,
        ProxyError::Status { code, .. } => is_lasting_status(*code),
        _ => false,
    }
}

/// Whether an answer of HTTP other than the one hoped for is meant to stay (RFC 9110 section 15): all
/// but that it took too long, that there are too many requests, and what the server has to mend.
const fn is_lasting_status(status: u16) -> bool {
    !matches!(status, 408 | 429 | 500..=599)
}

#[cfg(feature = "tls")]
fn is_lasting_tls(error: &(dyn StdError + 'static)) -> bool {
    use safe_rt::{ClockVerdict, TlsError, TlsErrorKind as Kind};
    TlsError::of(error).is_some_and(|found| match found.kind() {
        Kind::Protocol | Kind::ClosedInHandshake | Kind::Truncated | Kind::KeysUsedUp => false,
        // A key that lives elsewhere was slow this time.
        Kind::SignerFailed => fiber::cause(error).is_none(),
        // With a clock that is known to be wrong a certificate may be in order all the same.
        _ => !matches!(found.clock(), Some(ClockVerdict::Behind { .. })),
    })
}

#[cfg(not(feature = "tls"))]
const fn is_lasting_tls(_: &(dyn StdError + 'static)) -> bool {
    false
}

#[cfg(feature = "ws")]
fn is_lasting_web_socket(error: &(dyn StdError + 'static)) -> bool {
    use safe_rt::{WsError, WsErrorKind as Kind};
    WsError::of(error).is_some_and(|found| match found.kind() {
        Kind::Refused => found.status().is_some_and(is_lasting_status),
        Kind::NotHttp | Kind::HeadTooLong | Kind::BadAnswer | Kind::SubProtocolNotAgreed => true,
        _ => false,
    })
}

#[cfg(not(feature = "ws"))]
const fn is_lasting_web_socket(_: &(dyn StdError + 'static)) -> bool {
    false
}
