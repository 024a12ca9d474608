//! What a WebSocket can fail with, by who is at fault.
//!
//! A [`WsError`] travels as the payload of an [`io::Error`]; [`WsError::of`] finds it again behind
//! any error of this crate. What a peer said is in the text, bounded and without control characters.

use core::fmt;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use tungstenite::http::StatusCode;

/// What went wrong, for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WsErrorKind {
    /// The server answered the handshake with another status than 101; see [`WsError::status`].
    Refused,
    /// What came is not the head of an HTTP/1.1 message.
    NotHttp,
    /// The head of the handshake is longer than
    /// [`WS_HEAD_BYTES_MAX`](crate::WS_HEAD_BYTES_MAX).
    HeadTooLong,
    /// The answer has status 101 and does not prove that the server understood (RFC 6455
    /// section 4.1).
    BadAnswer,
    /// The other side does not speak MQTT over WebSocket: the sub-protocol `mqtt` was not agreed on
    /// [MQTT-6.0.0-3, MQTT-6.0.0-4].
    SubProtocolNotAgreed,
    /// A client asked for something else than a WebSocket.
    BadRequest,
    /// A web page whose origin is not allowed asked for a WebSocket; see
    /// [`WsServerOptions`](crate::WsServerOptions).
    OriginNotAllowed,
    /// The peer closed the transport in the middle of the handshake.
    ClosedInHandshake,
    /// The peer sent text, and MQTT is binary [MQTT-6.0.0-1].
    TextFrame,
    /// The peer broke the rules of RFC 6455.
    Protocol,
    /// The peer ended the connection with a status that is no orderly end; see
    /// [`WsError::close_code`].
    Closed,
    /// The transport ended without a Close frame.
    CutOff,
}

/// Most bytes that are kept of what a peer said.
pub(super) const PEER_TEXT_BYTES_MAX: usize = 256;

/// A failed WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsError {
    kind: WsErrorKind,
    /// The status of HTTP or of a Close frame.
    status: Option<u16>,
    /// What was found, or what the peer said.
    text: Cow<'static, str>,
}

impl WsError {
    /// Builds an error that says all by its kind.
    pub(super) const fn new(kind: WsErrorKind) -> Self {
        Self::with_text(kind, "")
    }

    /// Builds an error that says what was found.
    pub(super) const fn with_text(kind: WsErrorKind, text: &'static str) -> Self {
        Self {
            kind,
            status: None,
            text: Cow::Borrowed(text),
        }
    }

    /// Builds an error from a status and the peer's words.
    pub(super) fn of_peer(kind: WsErrorKind, status: u16, words: &[u8]) -> Self {
        Self {
            status: Some(status),
            ..Self::quoting(kind, words)
        }
    }

    /// Builds an error from the peer's words.
    pub(super) fn quoting(kind: WsErrorKind, words: &[u8]) -> Self {
        let words = &words[..words.len().min(PEER_TEXT_BYTES_MAX)];
        let mut text = String::with_capacity(words.len());
        for c in String::from_utf8_lossy(words).chars() {
            text.push(if c.is_control() { ' ' } else { c });
        }
        Self {
            kind,
            status: None,
            text: Cow::Owned(text.trim().to_owned()),
        }
    }

    /// Returns what went wrong.
    #[must_use]
    pub const fn kind(&self) -> WsErrorKind {
        self.kind
    }

    /// Returns the HTTP status of a server that refused the handshake.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status.filter(|_| self.kind == WsErrorKind::Refused)
    }

    /// Returns the status with which the peer closed the connection (RFC 6455 section 7.4).
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.status.filter(|_| self.kind == WsErrorKind::Closed)
    }

    /// Finds the WebSocket error behind `error`: in its payload, its source, or deeper.
    ///
    /// # Examples
    /// ```
    /// let error = std::io::Error::other("something else");
    /// assert!(safe_rt::WsError::of(&error).is_none());
    /// ```
    #[must_use]
    pub fn of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        crate::error::find(error)
    }

    /// Returns what a person can do about it, as sentences. Does not yield.
    #[must_use]
    pub fn remedy(&self) -> Cow<'static, str> {
        Cow::Borrowed(match (self.kind, self.status) {
            (WsErrorKind::Refused, Some(300..=399)) => {
                "Redirects are not followed: give the address that the server moved to."
            }
            (WsErrorKind::Refused, Some(401 | 403 | 407)) => {
                "Check the credentials, the headers given for the handshake, and whether a signed \
                 address has expired."
            }
            (WsErrorKind::Refused, Some(404 | 405)) => {
                "Check the path of the endpoint: many servers take MQTT at /mqtt alone."
            }
            (WsErrorKind::Refused, Some(429 | 500..=599)) => {
                "The server is overloaded or broken: try again later."
            }
            (
                WsErrorKind::Refused
                | WsErrorKind::NotHttp
                | WsErrorKind::HeadTooLong
                | WsErrorKind::BadAnswer
                | WsErrorKind::ClosedInHandshake,
                _,
            ) => {
                "Check that host, port and path are those of MQTT over WebSocket, that ws and wss \
                 are not mixed up, and that a proxy in between passes WebSocket on."
            }
            (WsErrorKind::SubProtocolNotAgreed | WsErrorKind::TextFrame, _) => {
                "Check that both sides speak MQTT over WebSocket: the sub-protocol is mqtt, and \
                 frames are binary."
            }
            (WsErrorKind::Closed, Some(1008 | 1009)) => {
                "Check the broker's limits and permissions: what was sent was against its policy."
            }
            (WsErrorKind::Closed, Some(1012 | 1013)) => {
                "The server restarts or is overloaded: try again later."
            }
            (WsErrorKind::Closed | WsErrorKind::CutOff, _) => {
                "Look into the log of the server, or of a proxy in between, for why it ended the \
                 connection, and connect again."
            }
            (WsErrorKind::BadRequest, _) => {
                "Check the client: it has to ask for a WebSocket of version 13 by HTTP/1.1."
            }
            (WsErrorKind::Protocol, _) => {
                "The software of the peer, or of a proxy in between, is at fault: update it, or \
                 connect past it."
            }
            (WsErrorKind::OriginNotAllowed, _) => {
                "If the web page, or the client that says it is one, is meant to be served: allow \
                 its origin by WsServerOptions::allow_origin."
            }
        })
    }
}

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            WsErrorKind::Refused => "the server refuses the WebSocket handshake",
            WsErrorKind::NotHttp => "the peer does not speak HTTP/1.1",
            WsErrorKind::HeadTooLong => "the head of the WebSocket handshake is too long",
            WsErrorKind::BadAnswer => "the server's answer to the WebSocket handshake is wrong",
            WsErrorKind::SubProtocolNotAgreed => {
                "the WebSocket sub-protocol mqtt was not agreed on"
            }
            WsErrorKind::BadRequest => "the client did not ask for a WebSocket",
            WsErrorKind::OriginNotAllowed => {
                "a web page whose origin is not allowed asked for a WebSocket"
            }
            WsErrorKind::ClosedInHandshake => {
                "the peer closed the connection in the middle of the WebSocket handshake"
            }
            WsErrorKind::TextFrame => "the peer sent a text frame, and MQTT is binary",
            WsErrorKind::Protocol => "the peer broke the rules of WebSocket",
            WsErrorKind::Closed => "the peer closed the WebSocket",
            WsErrorKind::CutOff => {
                "the stream was cut off: the peer closed the connection without a Close frame"
            }
        })?;
        if let Some(status) = self.status {
            write!(f, ": status {status}")?;
            let name = StatusCode::from_u16(status)
                .ok()
                .filter(|_| self.kind == WsErrorKind::Refused)
                .and_then(|status| status.canonical_reason());
            if let Some(name) = name {
                write!(f, " {name}")?;
            }
        }
        if self.text.is_empty() {
            return Ok(());
        }
        match self.status {
            Some(_) => write!(f, ", {:?}", self.text),
            None => write!(f, ": {}", self.text),
        }
    }
}

impl StdError for WsError {}

impl From<WsError> for io::Error {
    fn from(error: WsError) -> Self {
        let kind = match error.kind {
            WsErrorKind::CutOff | WsErrorKind::ClosedInHandshake => io::ErrorKind::UnexpectedEof,
            WsErrorKind::Refused => io::ErrorKind::ConnectionRefused,
            WsErrorKind::Closed => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_peer_are_bounded_and_on_one_line() {
        let body = b"no\r\n\x1b[31m entry ".repeat(1000);
        let error = WsError::of_peer(WsErrorKind::Refused, 403, &body);
        assert_eq!((error.status(), error.close_code()), (Some(403), None));
        let text = error.to_string();
        let start = "the server refuses the WebSocket handshake: status 403 Forbidden, \"no";
        assert!(text.starts_with(start), "{text}");
        assert!(text.len() < start.len() + PEER_TEXT_BYTES_MAX);
        assert!(!text.contains(['\r', '\n', '\x1b']), "{text}");
    }

    #[test]
    fn a_close_is_told_with_its_status_and_reason() {
        let error = WsError::of_peer(WsErrorKind::Closed, 1008, b"too many topics");
        assert_eq!(
            error.to_string(),
            "the peer closed the WebSocket: status 1008, \"too many topics\""
        );
        assert_eq!((error.status(), error.close_code()), (None, Some(1008)));
    }

    #[test]
    fn it_is_found_again_behind_other_errors() {
        let io = io::Error::from(WsError::new(WsErrorKind::CutOff));
        assert_eq!(io.kind(), io::ErrorKind::UnexpectedEof);
        let outer = crate::Error::new(crate::Phase::WebSocket, "broker:443", io);
        let wrapped = io::Error::other(outer);
        let found = WsError::of(&wrapped).expect("a WebSocket error two layers down");
        assert_eq!(found.kind(), WsErrorKind::CutOff);
    }

    #[test]
    fn what_can_be_done_depends_on_the_status() {
        let remedy = |status| WsError::of_peer(WsErrorKind::Refused, status, b"").remedy();
        assert!(remedy(302).contains("Redirects are not followed"));
        assert!(remedy(403).contains("credentials"));
        assert!(remedy(404).contains("path"));
        assert!(remedy(503).contains("later"));
        assert!(remedy(200).contains("host, port and path"));
        let closed = |status| WsError::of_peer(WsErrorKind::Closed, status, b"").remedy();
        assert!(closed(1008).contains("policy"));
        assert_ne!(closed(1012), closed(1011));
    }
}
