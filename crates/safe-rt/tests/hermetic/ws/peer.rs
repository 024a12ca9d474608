//! Against tungstenite itself, which reads messages whole and was written by others.

use std::io::{self, Read, Write};

use fiber::net::PipeStream;
use safe_rt::{Socket, WsOptions};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::{Bytes, Message};

use crate::support::{ROOMY, paused, read_text};

/// A pipe as a value that reads and writes.
#[derive(Debug)]
struct Pipe(PipeStream);

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&mut &self.0).read(buf)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&mut &self.0).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn our_client_and_the_librarys_server_understand_each_other() {
    paused(|| {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut serving = fiber::spawn(move || {
            #[expect(clippy::result_large_err, reason = "the library's type")]
            let agree = |_: &Request, mut response: Response| {
                let mqtt = HeaderValue::from_static("mqtt");
                response
                    .headers_mut()
                    .insert("Sec-WebSocket-Protocol", mqtt);
                Ok(response)
            };
            let mut peer = tungstenite::accept_hdr(Pipe(theirs), agree).expect("a server");
            let mut received = Vec::new();
            while received.len() < 100_000 {
                match peer.read().expect("a message") {
                    Message::Binary(bytes) => received.extend_from_slice(&bytes),
                    other => panic!("{other:?}"),
                }
            }
            peer.send(Message::Ping(Bytes::from_static(b"still there?")))
                .expect("room");
            peer.send(Message::Binary(received.into())).expect("room");
            loop {
                match peer.read() {
                    Ok(Message::Pong(payload)) => assert_eq!(&payload[..], b"still there?"),
                    Ok(Message::Close(frame)) => {
                        assert_eq!(u16::from(frame.expect("a status").code), 1000);
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(tungstenite::Error::ConnectionClosed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .expect("a fiber");
        let options = WsOptions::new();
        let socket = Socket::ws_client(ours, &options, "broker", "/").expect("a client");
        let text: Vec<u8> = (0..100_000_u32).map(|at| ((at * 3) >> 1) as u8).collect();
        (&socket).write_all(&text).expect("room");
        (&socket).flush().expect("room");
        let mut received = vec![0; text.len()];
        (&socket).read_exact(&mut received).expect("all of it");
        assert!(received == text);
        socket.close().expect("an orderly end");
        serving.join().expect("no panic");
    });
}

#[test]
fn our_server_and_the_librarys_client_understand_each_other() {
    paused(|| {
        let (ours, theirs) = fiber::net::pipe(ROOMY);
        let mut asking = fiber::spawn(move || {
            let request =
                tungstenite::ClientRequestBuilder::new("ws://broker/".parse().expect("a URI"))
                    .with_sub_protocol("mqtt");
            let (mut peer, _) = tungstenite::client(request, Pipe(theirs)).expect("a client");
            peer.send(Message::Binary(Bytes::from_static(b"question")))
                .expect("room");
            assert_eq!(
                peer.read().expect("a message"),
                Message::binary(&b"answer"[..])
            );
            peer.close(None).expect("room");
            while peer.read().is_ok() {}
        })
        .expect("a fiber");
        let socket = Socket::ws_server(ours).expect("a server");
        assert_eq!(read_text(&socket).expect("the text"), "question");
        (&socket).write_all(b"answer").expect("room");
        assert_eq!(read_text(&socket).expect("an end"), "");
        socket.close().expect("an orderly end");
        asking.join().expect("no panic");
    });
}
