//! From an endpoint to a connected socket: name, addresses, TCP, TLS, under one deadline.
//!
//! The addresses are tried one after the other, each within its share of the time that is left, so
//! that one black hole cannot eat the whole. Whether there is TLS is decided by the endpoint's
//! scheme alone; if it and the options do not fit together, the answer is an error and never plain
//! text. Trying again later is left to whoever dials.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use fiber::net::TcpStream;
use fiber::{Instant, Stopped};

use crate::dns;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{Error, Phase};
use crate::socket::Socket;
use crate::tls::ClientTls;

/// How long a dial may take when no deadline is set around it.
pub const DIAL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take on its own: for a client when no deadline is set around it,
/// for a server in any case.
pub const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How to dial.
///
/// # Examples
/// ```
/// let options = safe_rt::DialOptions::new();
/// let endpoint = "mqtt://127.0.0.1:1".parse()?;
/// let outcome = fiber::run(move || safe_rt::dial(&endpoint, &options)).expect("the runtime ran");
/// let error = outcome.expect_err("nobody listens on port 1");
/// assert_eq!(error.phase(), safe_rt::Phase::Connect);
/// # Ok::<(), safe_rt::EndpointError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct DialOptions {
    tls: Option<ClientTls>,
}

impl DialOptions {
    /// Starts with plain TCP alone.
    #[must_use]
    pub const fn new() -> Self {
        Self { tls: None }
    }
}

impl DialOptions {
    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: ClientTls) {
        self.tls = Some(tls);
    }

    /// Returns the TLS options to use, if the endpoint and what was given fit together.
    fn tls_for(&self, endpoint: &Endpoint) -> Result<Option<&ClientTls>, Error> {
        let text = match (endpoint.scheme(), &self.tls) {
            (Scheme::Mqtt, None) => return Ok(None),
            (Scheme::Mqtts, Some(tls)) => return Ok(Some(tls)),
            (Scheme::Mqtt, Some(_)) => {
                "TLS options are given, but mqtt:// is plain text: expected mqtts://"
            }
            (Scheme::Mqtts, None) => {
                "mqtts:// asks for TLS, but no TLS options are given: plain text is refused"
            }
        };
        Err(Error::new(
            Phase::Tls,
            endpoint.authority(),
            io::Error::new(io::ErrorKind::InvalidInput, text),
        ))
    }
}

/// Connects to `endpoint`; over TLS the handshake is done and the peer checked.
///
/// Waits under the ambient deadline, else under [`DIAL_TIMEOUT_DEFAULT`], while other fibers run.
/// A look-up runs off the thread; each address is tried within its share of the time left; small
/// writes go out at once (`TCP_NODELAY`).
///
/// # Errors
/// The phase, the address and the cause. When several addresses failed, it is the error of the
/// attempt that got furthest, the last one of equals. An endpoint that asks for TLS without TLS
/// options, or the other way round, is an error before anything is sent.
pub fn dial(endpoint: &Endpoint, options: &DialOptions) -> Result<Socket, Error> {
    let tls = options.tls_for(endpoint)?;
    with_default_deadline(DIAL_TIMEOUT_DEFAULT, || {
        let addresses = dns::resolve(endpoint)
            .map_err(|source| Error::new(Phase::Resolve, endpoint.authority(), source))?;
        try_each(&addresses, |address| attempt(endpoint, address, tls))
    })
}

/// Makes the connection to one address.
fn attempt(
    endpoint: &Endpoint,
    address: SocketAddr,
    tls: Option<&ClientTls>,
) -> Result<Socket, Error> {
    let stream = TcpStream::connect(address)
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| Error::new(Phase::Connect, address.to_string(), source))?;
    let Some(tls) = tls else {
        return Ok(stream.into());
    };
    tls.handshake(stream.into(), endpoint.host())
        .map(Socket::from_tls)
        .map_err(|source| {
            let asked = endpoint.authority();
            let named = match endpoint.literal() {
                Some(_) => asked,
                None => format!("{asked} ({address})"),
            };
            Error::new(Phase::Tls, named, source)
        })
}

/// Tries the addresses in turn, each within an equal share of the time that is left.
///
/// The last one gets all of it, and its error is then the one of the scope around.
fn try_each<T>(
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
            Ok(Err(error)) if stopped(&error).is_some() => return Err(error),
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

/// Returns how a scope ended the attempt, if one did.
fn stopped(error: &Error) -> Option<Stopped> {
    fiber::cause(error)
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
