//! Asking a proxy to connect on, and reading its answer and not a byte more.
//!
//! What follows the answer already belongs to the peer behind the proxy, so the answer is looked at
//! where the kernel keeps it, and taken only as far as it goes.

use std::io::{self, Read as _, Write as _};

use fiber::net::TcpStream;
use zeroize::Zeroizing;

use super::Proxy;
use super::error::ProxyError;

/// Longest answer of a proxy, in bytes, interim ones included.
pub const PROXY_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most header fields in an answer of a proxy.
pub const PROXY_HEADERS_MAX: usize = 64;

/// Bytes that are looked at in one go.
const LOOK_BYTES: usize = 512;

/// Asks the proxy at the other end of `stream` to connect to `target`, `host:port` with an IPv6
/// address in brackets. Afterwards the stream is one to the target.
///
/// Yields under the ambient deadline, and sets none of its own.
///
/// # Errors
/// [`ProxyError`], and those of the stream.
pub(in crate::dial) fn connect_on(
    mut stream: &TcpStream,
    proxy: &Proxy,
    target: &str,
) -> io::Result<()> {
    stream.write_all(request(proxy, target).as_bytes())?;
    let answer = read_answer(stream)?;
    match answer.code {
        // Fields that speak of a body mean nothing here (RFC 9110 section 9.3.6).
        200..=299 => Ok(()),
        // 401 is a server's, and there is none yet: tinyproxy says so of a wrong password.
        401 | 407 if !answer.basic_offered => Err(ProxyError::BasicNotOffered.into()),
        401 | 407 if proxy.credentials().is_none() => Err(ProxyError::CredentialsWanted.into()),
        401 | 407 => Err(ProxyError::CredentialsRefused.into()),
        code => Err(ProxyError::status(code, &answer.reason).into()),
    }
}

/// The request to connect to `target`.
fn request(proxy: &Proxy, target: &str) -> Zeroizing<String> {
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    let credentials = proxy.credentials();
    let authorization = "Proxy-Authorization: Basic ";
    // All the room at once, so that no copy of the password stays behind.
    let room = request.len() + authorization.len() + credentials.map_or(0, str::len) + 4;
    let mut whole = Zeroizing::new(String::with_capacity(room));
    whole.push_str(&request);
    if let Some(credentials) = credentials {
        whole.push_str(authorization);
        whole.push_str(credentials);
        whole.push_str("\r\n");
    }
    whole.push_str("\r\n");
    whole
}

/// What is needed of an answer.
struct Answer {
    code: u16,
    reason: String,
    /// Basic authentication is among what a 407 or 401 offers, or it does not say.
    basic_offered: bool,
}

impl Answer {
    /// Whether another answer follows (RFC 9110 section 15.2); none that changes the protocol.
    const fn is_interim(&self) -> bool {
        matches!(self.code, 100 | 102..=199)
    }
}

/// Reads up to the end of the head of the final answer.
fn read_answer(mut stream: &TcpStream) -> io::Result<Answer> {
    let mut head = Vec::new();
    let mut taken = 0;
    let mut look = [0; LOOK_BYTES];
    while taken < PROXY_HEAD_BYTES_MAX {
        let room = look.len().min(PROXY_HEAD_BYTES_MAX - taken);
        let there = stream.peek(&mut look[..room])?;
        if there == 0 {
            return Err(ProxyError::Closed.into());
        }
        let before = head.len();
        head.extend_from_slice(&look[..there]);
        let answer = parse(&head)?;
        let take = match &answer {
            Some((_, end)) => end.saturating_sub(before).min(there),
            None => there,
        };
        stream.read_exact(&mut look[..take])?;
        taken += take;
        match answer {
            Some((answer, _)) if answer.is_interim() => head.clear(),
            Some((answer, _)) => return Ok(answer),
            None => {}
        }
    }
    Err(ProxyError::HeadTooLong.into())
}

/// Parses the head of an answer; with it comes the place where it ends. `None` if there must be
/// more.
fn parse(head: &[u8]) -> Result<Option<(Answer, usize)>, ProxyError> {
    let mut fields = [httparse::EMPTY_HEADER; PROXY_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let end = match response.parse(head) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ProxyError::HeadTooLong),
        Err(_) => return Err(ProxyError::NotHttp),
    };
    let mut offers = response
        .headers
        .iter()
        .filter(|field| {
            ["proxy-authenticate", "www-authenticate"]
                .iter()
                .any(|name| field.name.eq_ignore_ascii_case(name))
        })
        .peekable();
    let basic_offered = offers.peek().is_none() || offers.any(|field| offers_basic(field.value));
    let answer = Answer {
        code: response.code.ok_or(ProxyError::NotHttp)?,
        reason: response.reason.unwrap_or_default().to_owned(),
        basic_offered,
    };
    Ok(Some((answer, end)))
}

/// Whether one of the challenges is of the scheme Basic (RFC 9110 section 11.6.1).
fn offers_basic(challenges: &[u8]) -> bool {
    challenges
        .split(|byte| matches!(byte, b',' | b' ' | b'\t'))
        .any(|word| word.eq_ignore_ascii_case(b"basic"))
}

#[cfg(test)]
mod tests;
