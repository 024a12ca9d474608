//! One HTTP request over a socket, and its answer.
//!
//! The protocol is that of `ureq-proto`, which does no I/O; here are the bounds, and the reading and
//! writing of the socket. Each request has a connection of its own. A redirection is an answer like
//! another: who holds a token does not take it where a server points.

use std::io::{self, Read, Write};
use std::time::{Duration, SystemTime};

use safe_rt::Socket;
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, RecvResponseResult, SendRequestResult};
use ureq_proto::http::Request;
use zeroize::Zeroizing;

use super::retry_after;

/// Longest head of a request that is sent, and of an answer that is read.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest body of an answer that is read.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes read from the socket at once.
const READ_BYTES: usize = 4 * 1024;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// What `Retry-After` says.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Sends a request with a body, and reads the answer; `now` is the time, if it can be believed. Yields.
pub(super) fn exchange(
    socket: &Socket,
    request: Request<()>,
    body: &[u8],
    now: Option<SystemTime>,
) -> io::Result<Reply> {
    let mut socket = socket;
    let mut call = Call::new(request).map_err(other)?.proceed();
    let mut head = Zeroizing::new(vec![0; HEAD_BYTES_MAX]);
    let len = call.write(&mut head).map_err(other)?;
    if !call.can_proceed() {
        return Err(io::Error::other("the head of the request is too long"));
    }
    socket.write_all(&head[..len])?;
    let call = match call.proceed().map_err(other)? {
        Some(SendRequestResult::SendBody(mut call)) => {
            // The length is in the head: the body goes as it is.
            call.consume_direct_write(body.len()).map_err(other)?;
            socket.write_all(body)?;
            call.proceed()
        }
        Some(SendRequestResult::RecvResponse(call)) => Some(call),
        Some(SendRequestResult::Await100(_)) | None => None,
    };
    let call = call.ok_or_else(|| io::Error::other("the request is not whole"))?;
    socket.flush()?;
    receive(socket, call, now)
}

fn receive(
    mut socket: &Socket,
    mut call: Call<RecvResponse>,
    now: Option<SystemTime>,
) -> io::Result<Reply> {
    let mut input = Zeroizing::new(Vec::with_capacity(HEAD_BYTES_MAX));
    let response = loop {
        let (used, response) = call.try_response(&input, false).map_err(other)?;
        input.drain(..used);
        if let Some(response) = response {
            break response;
        }
        if used > 0 {
            continue;
        }
        if input.len() >= HEAD_BYTES_MAX {
            return Err(invalid("the head of the answer is too long"));
        }
        if read_more(&mut socket, &mut input)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = Zeroizing::new(Vec::new());
    if let Some(RecvResponseResult::RecvBody(mut call)) = call.proceed() {
        let mut output = Zeroizing::new(vec![0; READ_BYTES]);
        loop {
            let (used, read) = call.read(&input, &mut output).map_err(other)?;
            input.drain(..used);
            if body.len() + read > BODY_BYTES_MAX {
                return Err(invalid("the body of the answer is too long"));
            }
            body.extend_from_slice(&output[..read]);
            if used > 0 || read > 0 {
                continue;
            }
            // Whole, or to be read until the end of the connection, which may be said already.
            let until_end = call.can_proceed();
            let is_whole = until_end && !is_close_delimited(&call);
            if is_whole {
                break;
            }
            if read_more(&mut socket, &mut input)? == 0 {
                if until_end {
                    break;
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    Ok(Reply {
        status: response.status().as_u16(),
        retry_after: retry_after::of(response.headers(), now),
        body,
    })
}

fn is_close_delimited(call: &Call<ureq_proto::client::state::RecvBody>) -> bool {
    matches!(call.body_mode(), ureq_proto::BodyMode::CloseDelimited)
}

fn read_more(socket: &mut &Socket, input: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = Zeroizing::new([0; READ_BYTES]);
    match socket.read(&mut buffer[..]) {
        Ok(read) => {
            input.extend_from_slice(&buffer[..read]);
            Ok(read)
        }
        // A server that goes without a word of TLS: whether all came is known from the length.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        Err(error) => Err(error),
    }
}

fn other(error: ureq_proto::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a server that answers with these bytes, in pieces, and closes.
    fn ask(answer: Vec<u8>, piece: usize) -> (io::Result<Reply>, Vec<u8>) {
        fiber::run(move || {
            let (ours, theirs) = fiber::net::pipe(64);
            let mut serving = fiber::spawn(move || {
                let mut asked = Vec::new();
                while !asked.ends_with(b"{\"a\":1}") {
                    let mut byte = [0];
                    (&theirs).read_exact(&mut byte).unwrap();
                    asked.push(byte[0]);
                }
                for piece in answer.chunks(piece) {
                    // Who has read enough does not listen any more.
                    if (&theirs).write_all(piece).is_err() {
                        break;
                    }
                }
                asked
            })
            .unwrap();
            let request = Request::post("https://cloud.test:8443/v1/register")
                .header("content-length", "7")
                .header("connection", "close")
                .body(())
                .unwrap();
            let reply = exchange(&ours.into(), request, b"{\"a\":1}", None);
            (reply, serving.join().unwrap())
        })
        .unwrap()
    }

    #[test]
    fn a_request_is_sent_and_its_answer_read_however_it_is_cut() {
        let chunked =
            b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nRetry-After: 7\r\n\r\n\
                        3\r\n{\"b\r\n4\r\n\":2}\r\n0\r\n\r\n";
        let counted =
            b"HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nContent-Length: 7\r\n\r\n{\"b\":2}";
        let until_end = b"HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\n\r\n{\"b\":2}";
        let after_100 = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nRetry-After: 7\r\n\
                          Content-Length: 7\r\n\r\n{\"b\":2}";
        for answer in [&chunked[..], counted, until_end, after_100] {
            for piece in 1..answer.len() + 1 {
                let (reply, asked) = ask(answer.to_vec(), piece);
                let reply = reply.unwrap();
                assert_eq!((reply.status, &reply.body[..]), (202, &b"{\"b\":2}"[..]));
                assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
                let asked = String::from_utf8(asked).unwrap().to_ascii_lowercase();
                assert!(
                    asked.starts_with("post /v1/register http/1.1\r\nhost: cloud.test:8443\r\n")
                );
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_or_too_long_or_none_is_an_error() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"b\":2}";
        for len in 0..whole.len() {
            assert!(ask(whole[..len].to_vec(), 5).0.is_err(), "{len}");
        }
        let long_body = |length: usize| {
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + length, b' ');
            ask(answer, 4_096).0
        };
        assert!(long_body(BODY_BYTES_MAX).is_ok());
        assert!(long_body(BODY_BYTES_MAX + 1).is_err());
        let head = format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
            "x".repeat(HEAD_BYTES_MAX * 2)
        );
        assert!(ask(head.into_bytes(), 4_096).0.is_err());
        assert!(ask(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), 64).0.is_err());
    }

    #[test]
    fn a_redirection_is_not_followed() {
        let answer =
            b"HTTP/1.1 302 Found\r\nLocation: https://other.test/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask(answer.to_vec(), 64).0.unwrap().status, 302);
    }
}
