//! What both sides of the handshake have in common: the head of an HTTP/1.1 message, read as it
//! comes and never longer than a bound.

use std::io::{self, Read as _};

use super::error::{WsError, WsErrorKind};
use crate::socket::Socket;

/// Longest head of a handshake that is read, in bytes.
pub const WS_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes read at a time, so the most that can come behind the head.
const CHUNK_BYTES: usize = 1024;

/// The head of a message and the bytes that came behind it.
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    pub(super) behind: Vec<u8>,
}

/// Reads a head up to its empty line; waits, obeying the ambient deadline. `begins` is what every
/// such head begins with, as far as that is known.
pub(super) fn read_head(transport: &Socket, begins: &[u8]) -> io::Result<Head> {
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let len = (&mut &*transport).read(&mut chunk)?;
        if len == 0 {
            return Err(WsError::new(WsErrorKind::ClosedInHandshake).into());
        }
        // The end may have begun in the bytes before.
        let seen = bytes.len().saturating_sub(END.len() - 1);
        bytes.extend_from_slice(&chunk[..len]);
        let known = begins.len().min(bytes.len());
        if bytes[..known] != begins[..known] {
            return Err(WsError::new(WsErrorKind::NotHttp).into());
        }
        let end = bytes[seen..]
            .windows(END.len())
            .position(|window| window == END)
            .map(|at| seen + at + END.len());
        match end {
            _ if end.unwrap_or(bytes.len()) > WS_HEAD_BYTES_MAX => {
                return Err(WsError::new(WsErrorKind::HeadTooLong).into());
            }
            Some(end) => {
                let behind = bytes.split_off(end);
                return Ok(Head { bytes, behind });
            }
            None => {}
        }
    }
}

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Whether a comma-separated list of tokens has this one, in any case (RFC 9110 section 5.6.1).
pub(super) fn has_token<'a>(
    values: impl IntoIterator<Item = &'a tungstenite::http::HeaderValue>,
    token: &str,
) -> bool {
    values
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}
