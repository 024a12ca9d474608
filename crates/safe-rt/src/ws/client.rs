//! The client side of the handshake (RFC 6455 section 4.1).
//!
//! The request is written here and not by tungstenite, which would put all of it into the log at
//! its finest level: headers and signed addresses are secrets.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use data_encoding::BASE64;
use tungstenite::handshake::client::Response;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse as _;
use tungstenite::http::{StatusCode, header};
use zeroize::Zeroizing;

use super::SUB_PROTOCOL;
use super::error::{PEER_TEXT_BYTES_MAX, WsError, WsErrorKind};
use super::frame::Role;
use super::handshake::{Head, has_token, read_head};
use super::options::WsOptions;
use super::stream::WsStream;
use crate::dial::{HANDSHAKE_TIMEOUT_DEFAULT, with_default_deadline};
use crate::endpoint::TARGET_LEN_MAX;
use crate::error::{Error, Phase};
use crate::socket::Socket;

/// How long the words of a server that refuses are waited for.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

impl Socket {
    /// Becomes the client side of a WebSocket for MQTT over `transport`: a TCP stream, TLS, or any
    /// socket.
    ///
    /// `host` is what the Host header says, with a port if it is not the usual one, and `target` the
    /// path, which begins with a slash, and the query. The sub-protocol `mqtt` is offered and
    /// demanded [MQTT-6.0.0-3]. Waits for the handshake under the ambient deadline, else under
    /// [`HANDSHAKE_TIMEOUT_DEFAULT`], while other fibers run.
    ///
    /// A ping is answered by the next read, and an end of one side is the end of both: the peer
    /// answers a Close frame with one of its own, and sends no more.
    ///
    /// # Errors
    /// [`Phase::WebSocket`]; see [`WsErrorKind`] for what can be found.
    pub fn ws_client(
        transport: impl Into<Self>,
        options: &WsOptions,
        host: &str,
        target: &str,
    ) -> Result<Self, Error> {
        let transport = transport.into();
        let peer = transport.peer();
        with_default_deadline(HANDSHAKE_TIMEOUT_DEFAULT, || {
            options
                .handshake(transport, host, target)
                .map(Self::from_ws)
                .map_err(|source| {
                    let address =
                        peer.map_or_else(|| host.to_owned(), |peer| format!("{host} ({peer})"));
                    Error::new(Phase::WebSocket, address, source)
                })
        })
    }
}

impl WsOptions {
    /// Runs the handshake over `transport` without setting a deadline of its own.
    pub(crate) fn handshake(
        &self,
        transport: Socket,
        host: &str,
        target: &str,
    ) -> io::Result<WsStream> {
        let mut key = [0; 16];
        fiber::random::fill(&mut key)?;
        let key = BASE64.encode(&key);
        let request = self.request(host, target, &key)?;
        (&transport).write_all(request.as_bytes())?;
        (&transport).flush()?;
        let head = read_head(&transport, b"HTTP/1.")?;
        check(&transport, &head, &key)?;
        Ok(WsStream::new(transport, Role::Client, &head.behind))
    }

    /// Builds the request; its text is never part of an error.
    fn request(&self, host: &str, target: &str, key: &str) -> io::Result<Zeroizing<String>> {
        let invalid = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !visible(host) {
            return invalid("the host of a WebSocket is empty or has a wrong character");
        }
        if !target.starts_with('/') || !visible(target) || target.contains('#') {
            return invalid(
                "the path of a WebSocket does not begin with a slash or has a wrong character",
            );
        }
        if target.len() > TARGET_LEN_MAX {
            return invalid("the path of a WebSocket is too long");
        }
        let head = Zeroizing::new(format!(
            "GET {target} HTTP/1.1\r\n\
             Host: {host}\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: {SUB_PROTOCOL}\r\n"
        ));
        let headers = || {
            self.headers()
                .flat_map(|(name, value)| [name, ": ", value, "\r\n"])
        };
        // Of its full size at once: what grows leaves copies behind.
        let room = head.len() + headers().map(str::len).sum::<usize>() + 2;
        let mut request = Zeroizing::new(String::with_capacity(room));
        request.push_str(&head);
        request.extend(headers());
        request.push_str("\r\n");
        Ok(request)
    }
}

/// Checks the server's answer to this key.
fn check(transport: &Socket, head: &Head, key: &str) -> io::Result<()> {
    let Ok(Some((_, response))) = Response::try_parse(&head.bytes) else {
        return Err(WsError::new(WsErrorKind::NotHttp).into());
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let words = words_of(transport, head, &response);
        let status = response.status().as_u16();
        return Err(WsError::of_peer(WsErrorKind::Refused, status, &words).into());
    }
    let headers = response.headers();
    let wrong = |text| Err(WsError::with_text(WsErrorKind::BadAnswer, text).into());
    if !has_token(headers.get_all(header::UPGRADE), "websocket") {
        return wrong("no header Upgrade: websocket");
    }
    if !has_token(headers.get_all(header::CONNECTION), "upgrade") {
        return wrong("no header Connection: Upgrade");
    }
    let accept = headers.get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|found| found.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
        return wrong("Sec-WebSocket-Accept is missing or answers another request");
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return wrong("an extension that was not offered");
    }
    let mut protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    match (protocols.next(), protocols.next()) {
        (Some(found), None) if found == SUB_PROTOCOL => Ok(()),
        (None, _) => Err(WsError::with_text(
            WsErrorKind::SubProtocolNotAgreed,
            "the server named none",
        )
        .into()),
        (Some(_), _) => Err(WsError::with_text(
            WsErrorKind::SubProtocolNotAgreed,
            "the server named another",
        )
        .into()),
    }
}

/// Returns what a server that refuses says: where else to ask, or the beginning of the body.
fn words_of(transport: &Socket, head: &Head, response: &Response) -> Vec<u8> {
    if let Some(place) = response.headers().get(header::LOCATION) {
        // A query may be a signature.
        let place = place.as_bytes().split(|byte| *byte == b'?').next();
        return [b"moved to ", place.unwrap_or_default()].concat();
    }
    let promised = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok()?.parse().ok())
        .unwrap_or(PEER_TEXT_BYTES_MAX)
        .min(PEER_TEXT_BYTES_MAX);
    let mut body = head.behind.clone();
    // What does not come in time is not part of the error.
    let _ = fiber::timeout(REFUSAL_TIMEOUT, || {
        let mut chunk = [0; PEER_TEXT_BYTES_MAX];
        while body.len() < promised {
            match (&mut &*transport).read(&mut chunk) {
                Ok(len @ 1..) => body.extend_from_slice(&chunk[..len]),
                Ok(0) | Err(_) => break,
            }
        }
    });
    body
}
