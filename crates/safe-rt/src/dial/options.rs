//! How to dial: what a program chooses, and whether it fits the endpoint.

use super::refusal::DialRefusal;
use crate::clock::ClockFloor;
use crate::dns::Resolver;
use crate::endpoint::Endpoint;
use crate::tls::ClientTls;
use crate::ws::{self, WsOptions};

/// How to dial. Clones share their [`Resolver`].
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
    ws: Option<WsOptions>,
    resolver: Resolver,
}

impl DialOptions {
    /// Starts with plain TCP alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who looks names up, and remembers what was found; a [`Resolver`] of these options and their
    /// clones alone, which asks the system, unless set.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    pub(super) const fn resolver_in_use(&self) -> &Resolver {
        &self.resolver
    }

    /// Returns the earliest time that it can be for the TLS options that were given, if any were:
    /// while the wall clock is behind it, certificates are judged as of this time.
    #[must_use]
    pub fn clock_floor(&self) -> Option<&ClockFloor> {
        self.tls.as_ref().map(ClientTls::clock_floor)
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&mut self, tls: ClientTls) {
        self.tls = Some(tls);
    }

    #[cfg(feature = "ws")]
    pub(crate) fn set_ws(&mut self, ws: WsOptions) {
        self.ws = Some(ws);
    }

    /// Returns how to ask for a WebSocket, if the endpoint is one.
    pub(super) fn ws_for(&self, endpoint: &Endpoint) -> Result<Option<WsOptions>, DialRefusal> {
        let scheme = endpoint.scheme();
        if !scheme.is_web_socket() {
            return Ok(None);
        }
        let chosen = self.ws.clone().or_else(ws::default_options);
        chosen.map(Some).ok_or(DialRefusal::NoWebSocket(scheme))
    }

    /// Returns the TLS options to use, if the endpoint and what was given fit together.
    pub(super) fn tls_for(&self, endpoint: &Endpoint) -> Result<Option<&ClientTls>, DialRefusal> {
        let scheme = endpoint.scheme();
        match (scheme.is_tls(), &self.tls) {
            (false, None) => Ok(None),
            (true, Some(tls)) => Ok(Some(tls)),
            (false, Some(_)) => Err(DialRefusal::TlsForPlain(scheme)),
            (true, None) => Err(DialRefusal::TlsMissing(scheme)),
        }
    }
}
