//! The server side of the handshake (RFC 6455 section 4.2), for the embedded broker.

use std::io::{self, Write as _};
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
    /// socket.
    ///
    /// Any path is served. A client that does not offer the sub-protocol `mqtt` is refused
    /// [MQTT-6.0.0-4]. Waits for the handshake under the ambient deadline, and never longer than
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`](crate::HANDSHAKE_TIMEOUT_DEFAULT): a client that dawdles must not hold a connection for as long
    /// as the server runs.
    ///
    /// # Errors
    /// [`Phase::WebSocket`](crate::Phase::WebSocket); see [`WsErrorKind`] for what can be found. The client was told.
    pub fn ws_server(transport: impl Into<Self>) -> Result<Self, Error> {
        let transport = transport.into();
        let peer = transport.peer();
        ws_server_handshake(transport, &ServerWs, || {
            peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string())
        })
    }
}

impl Listener {
    /// Has every connection become a WebSocket for MQTT, over TLS if the listener has it; see
    /// [`Socket::ws_server`].
    #[must_use]
    pub fn ws(mut self) -> Self {
        self.set_ws(ServerWs);
        self
    }
}

/// How a listener makes WebSockets of its connections; there is nothing to choose.
#[derive(Clone, Debug)]
pub(crate) struct ServerWs;

impl ServerWs {
    /// Runs the handshake over `transport` without setting a deadline of its own.
    pub(crate) fn handshake(&self, transport: Socket) -> io::Result<WsStream> {
        let head = read_head(&transport, b"GET ")?;
        let answer = match answer_to(&head.bytes) {
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
fn answer_to(head: &[u8]) -> Result<Vec<u8>, (StatusCode, WsError)> {
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
