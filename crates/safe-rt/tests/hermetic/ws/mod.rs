//! WebSockets over pipes in virtual time. The peer writes its frames by hand, or is tungstenite.

mod client_handshake;
mod closing;
mod dialled;
mod frames;
mod peer;
mod server_handshake;

use std::io::{Read, Write};

use fiber::net::PipeStream;
use safe_rt::{Error, Socket, WsError, WsErrorKind, WsOptions};
use tungstenite::handshake::derive_accept_key;

const BINARY: u8 = 2;
const CONTINUE: u8 = 0;
const FIN: u8 = 0x80;
const CLOSE: u8 = FIN | 8;
const PING: u8 = FIN | 9;
const PONG: u8 = FIN | 10;

/// A frame by its first byte and its payload, not masked; a payload of at most 65535 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len => {
            out.push(126);
            out.extend(u16::try_from(len).expect("a small frame").to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// Reads one frame of either side: its first byte and its payload.
fn read_frame(mut pipe: &PipeStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    pipe.read_exact(&mut head).expect("a frame");
    let masked = head[1] & 0x80 != 0;
    let len = match head[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            pipe.read_exact(&mut len).expect("a length");
            u16::from_be_bytes(len)
        }
        127 => panic!("a frame above 16 KiB"),
        len => len.into(),
    };
    let mut mask = [0; 4];
    if masked {
        pipe.read_exact(&mut mask).expect("a mask");
    }
    let mut payload = vec![0; len.into()];
    pipe.read_exact(&mut payload).expect("a payload");
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    (head[0], payload)
}

/// Reads a request or an answer up to its empty line, byte by byte.
fn read_head(mut pipe: &PipeStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        pipe.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("text")
}

/// The value of a header, its name in any case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The answer that a server gives to this request.
fn answer_to(request: &str) -> String {
    let key = header(request, "Sec-WebSocket-Key").expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
}

/// Starts a client of ours.
fn client_over(ours: PipeStream) -> fiber::JoinHandle<Result<Socket, Error>> {
    let dial =
        move || Socket::ws_client(ours, &WsOptions::new(), "broker:8080", "/mqtt?token=secret");
    fiber::spawn(dial).expect("a fiber")
}

/// A client of ours and the other end of its pipe, the handshake done.
fn meet(capacity: usize) -> (Socket, PipeStream) {
    let (ours, theirs) = fiber::net::pipe(capacity);
    let mut client = client_over(ours);
    let request = read_head(&theirs);
    (&theirs)
        .write_all(answer_to(&request).as_bytes())
        .expect("room");
    (client.join().expect("no panic").expect("a client"), theirs)
}

#[track_caller]
fn kind_of(error: &(dyn std::error::Error + 'static)) -> WsErrorKind {
    WsError::of(error).expect("a WebSocket error").kind()
}
