//! The server side of the handshake (RFC 6455 section 4.2), for the embedded broker.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tungstenite::error::{Error as Cause, ProtocolError};
use tungstenite::handshake::machine::TryParse as _;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::http::{HeaderValue, StatusCode, header};

use super::SUB_PROTOCOL;
use super::error::{WsError, WsErrorKind};
use super::frame::Role;
use super::handshake::read_head;
use super::stream::WsStream;
use crate::error::Error;
use crate::listener::{Listener, ws_server_handshake};
use crate::socket::Socket;

/// How long a refused client may take to let its answer go out.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

impl Socket {
    /// Becomes the server side of a WebSocket for MQTT over `transport`: a TCP stream, TLS, or any
    /// socket; for no web page, see [`WsServerOptions`].
    ///
    /// Any path is served. A client that does not offer the sub-protocol `mqtt` is refused
    /// [MQTT-6.0.0-4]. Waits for the handshake under the ambient deadline, and never longer than
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`](crate::HANDSHAKE_TIMEOUT_DEFAULT): a client that dawdles must not hold a connection for as long
    /// as the server runs.
    ///
    /// # Errors
    /// [`Phase::WebSocket`](crate::Phase::WebSocket); see [`WsErrorKind`] for what can be found. The client was told.
    pub fn ws_server(transport: impl Into<Self>) -> Result<Self, Error> {
        Self::ws_server_with(transport, &WsServerOptions::new())
    }

    /// As [`Socket::ws_server`], with a choice of whom to serve.
    ///
    /// # Errors
    /// As [`Socket::ws_server`].
    pub fn ws_server_with(
        transport: impl Into<Self>,
        options: &WsServerOptions,
    ) -> Result<Self, Error> {
        let transport = transport.into();
        let peer = transport.peer();
        ws_server_handshake(transport, &ServerWs::new(options.clone()), || {
            peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string())
        })
    }
}

impl Listener {
    /// Has every connection become a WebSocket for MQTT, over TLS if the listener has it, and none of
    /// a web page; see [`Socket::ws_server`].
    #[must_use]
    pub fn ws(self) -> Self {
        self.ws_with(WsServerOptions::new())
    }

    /// As [`Listener::ws`], with a choice of whom to serve.
    #[must_use]
    pub fn ws_with(mut self, options: WsServerOptions) -> Self {
        self.set_ws(ServerWs::new(options));
        self
    }
}

/// Whom the server side of a WebSocket serves.
///
/// A browser lets every web page, of whoever wrote it, open a WebSocket to any address that it can
/// reach: to this machine and to the network that it is in. All that tells such a page from a client
/// on purpose is the header `Origin`, which a browser sends and a page cannot change (RFC 6455
/// section 10.2). So a request that has one is refused with status 403, unless its origin is allowed.
/// Some clients that are no browser send one too, as that of Paho for Python does: `https://`, the
/// host and the port that it connects to.
///
/// # Examples
/// ```
/// use safe_rt::{Listener, WsServerOptions};
///
/// let listener = fiber::run(|| {
///     let options = WsServerOptions::new().allow_origin("https://panel.example");
///     Listener::bind(([127, 0, 0, 1], 0).into()).map(|listener| listener.ws_with(options))
/// })
/// .expect("the runtime ran")?;
/// # drop(listener);
/// # Ok::<(), safe_rt::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsServerOptions {
    origins: Origins,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origins {
    These(Vec<String>),
    Any,
}

impl WsServerOptions {
    /// Starts with serving no web page.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            origins: Origins::These(Vec::new()),
        }
    }

    /// Serves the web pages of this origin too: a scheme, a host and, unless it is the scheme's usual
    /// one, a port, as in `https://panel.example:8443` (RFC 6454 section 6.2). Case does not matter.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        if let Origins::These(origins) = &mut self.origins {
            origins.push(origin.into());
        }
        self
    }

    /// Serves every web page: whatever it may, any page that a user of the network looks at may too.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Returns whether whoever sends this origin is served.
    fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::These(origins) => origins
                .iter()
                .any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes())),
        }
    }
}

impl Default for WsServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How a listener makes WebSockets of its connections.
#[derive(Clone, Debug)]
pub(crate) struct ServerWs(Arc<WsServerOptions>);

impl ServerWs {
    fn new(options: WsServerOptions) -> Self {
        Self(Arc::new(options))
    }

    /// Runs the handshake over `transport` without setting a deadline of its own.
    pub(crate) fn handshake(&self, transport: Socket) -> io::Result<WsStream> {
        let head = read_head(&transport, b"GET ")?;
        let answer = match answer_to(&head.bytes, &self.0) {
            Ok(answer) => answer,
            Err((status, error)) => {
                refuse(&transport, status, &error);
                return Err(error.into());
            }
        };
        (&transport).write_all(&answer)?;
        (&transport).flush()?;
        Ok(WsStream::new(transport, Role::Server, &head.behind))
    }
}

/// Returns the answer to a request, or with which status and why it is refused.
fn answer_to(head: &[u8], options: &WsServerOptions) -> Result<Vec<u8>, (StatusCode, WsError)> {
    let bad = |text| {
        (
            StatusCode::BAD_REQUEST,
            WsError::with_text(WsErrorKind::BadRequest, text),
        )
    };
    let Ok(Some((_, request))) = Request::try_parse(head) else {
        return Err(bad("the head is no request of HTTP/1.1"));
    };
    let mut response = create_response(&request).map_err(|cause| match cause {
        Cause::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            let text = "the version of WebSocket is not 13";
            let error = WsError::with_text(WsErrorKind::BadRequest, text);
            (StatusCode::UPGRADE_REQUIRED, error)
        }
        _ => bad("a header of the handshake is missing or wrong"),
    })?;
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    if let Some(origin) = origins.find(|origin| !options.allows(origin)) {
        let error = WsError::quoting(WsErrorKind::OriginNotAllowed, origin.as_bytes());
        return Err((StatusCode::FORBIDDEN, error));
    }
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offers
        .iter()
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|offer| offer.trim() == SUB_PROTOCOL);
    if !offered {
        let text = "the client did not offer it";
        let error = WsError::with_text(WsErrorKind::SubProtocolNotAgreed, text);
        return Err((StatusCode::BAD_REQUEST, error));
    }
    response.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUB_PROTOCOL),
    );
    let mut answer = Vec::new();
    write_response(&mut answer, &response).map_err(|_| bad("no answer can be written"))?;
    Ok(answer)
}

/// Tells a client why there will be no WebSocket.
fn refuse(transport: &Socket, status: StatusCode, error: &WsError) {
    let text = error.to_string();
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(
        header::SEC_WEBSOCKET_VERSION,
        HeaderValue::from_static("13"),
    );
    let mut answer = Vec::new();
    if write_response(&mut answer, &response).is_err() {
        return;
    }
    answer.extend_from_slice(text.as_bytes());
    // The client may be gone.
    let _ = fiber::timeout(REFUSAL_TIMEOUT, || {
        (&mut &*transport).write_all(&answer)?;
        transport.shutdown_write()
    });
}
