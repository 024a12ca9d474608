//! A broker that follows a script: hermetic tests read as a transcript of one connection.
//!
//! It runs on a fiber of its own over one end of a `fiber::net::pipe`, or any other stream of ours,
//! and uses the codec of `mqtt` in the server's direction. It knows no sessions and no topics: what
//! it answers is what the test says.
//!
//! Every expectation that is not met panics at the line of the test that made it; the panic arrives
//! where the test joins the broker's fiber, so join it. Every wait ends after [`SCRIPT_TIMEOUT`],
//! which costs nothing where the clock is paused.
//!
//! # Examples
//!
//! ```
//! use mqtt::packet::{ConnAck, PacketRef};
//! use tests::scripted::ScriptedBroker;
//!
//! fiber::Runtime::builder().paused_clock(true).run(|| {
//!     let (ours, theirs) = fiber::net::pipe(4096);
//!     let mut broker = fiber::spawn(move || {
//!         let mut broker = ScriptedBroker::new(theirs);
//!         broker.receive(|packet| assert!(matches!(packet, PacketRef::Connect(_))));
//!         broker.send(&PacketRef::ConnAck(ConnAck::accepted(false)));
//!         broker.expect(&PacketRef::PingReq);
//!         broker.expect_end();
//!     })
//!     .unwrap();
//!     // A client would be opened over `ours`; these are the same bytes by hand.
//!     use std::io::{Read as _, Write as _};
//!     let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
//!     (&ours).write_all(connect).unwrap();
//!     (&ours).read_exact(&mut [0; 4]).unwrap();
//!     (&ours).write_all(b"\xc0\x00").unwrap();
//!     drop(ours);
//!     broker.join().unwrap();
//! })
//! .unwrap();
//! ```

use std::io::{self, Read, Write};
use std::time::Duration;

use mqtt::packet::{self, ConnAck, Connect, PacketRef, Version};

/// How long the script waits for the client.
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(600);

/// The largest packet the script takes from a client, in bytes.
pub const SCRIPT_PACKET_MAX: usize = 16 * 1024 * 1024;

const READ_BYTES: usize = 4096;

/// The broker's side of one connection.
#[derive(Debug)]
pub struct ScriptedBroker<S> {
    stream: S,
    /// Received and not yet asked for; the packet given out last is still at its front.
    received: Vec<u8>,
    /// The length of the packet given out last.
    taken: usize,
    version: Version,
}

impl<S> ScriptedBroker<S>
where
    for<'a> &'a S: Read + Write,
{
    /// Speaks MQTT 3.1.1 over this stream.
    pub const fn new(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
            taken: 0,
            version: Version::V311,
        }
    }

    /// Returns the stream, for what a script has no words for: half-closing, short writes.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// Waits for the next packet and hands it to `look`, whose value is returned.
    ///
    /// # Panics
    ///
    /// When the stream ends, fails or is silent for [`SCRIPT_TIMEOUT`], and when the bytes are no
    /// packet.
    #[track_caller]
    pub fn receive<T>(&mut self, look: impl FnOnce(PacketRef<'_>) -> T) -> T {
        match self.next_packet() {
            Ok(Some(packet)) => look(packet),
            Ok(None) => panic!("expected a packet, found the end of the stream"),
            Err(error) => panic!("expected a packet, found {error}"),
        }
    }

    /// Waits for the next packet and hands it to `look`; `None` at the clean end of the stream.
    ///
    /// # Panics
    ///
    /// When the stream fails or is silent for [`SCRIPT_TIMEOUT`], and when the bytes are no packet.
    #[track_caller]
    pub fn receive_or_end<T>(&mut self, look: impl FnOnce(PacketRef<'_>) -> T) -> Option<T> {
        match self.next_packet() {
            Ok(packet) => packet.map(look),
            Err(error) => panic!("expected a packet or the end, found {error}"),
        }
    }

    /// Waits for exactly this packet.
    ///
    /// # Panics
    ///
    /// As [`receive`](Self::receive), and when it is another packet.
    #[track_caller]
    pub fn expect(&mut self, expected: &PacketRef<'_>) {
        match self.next_packet() {
            Ok(Some(packet)) => assert_eq!(packet, *expected),
            Ok(None) => panic!("expected {expected:?}, found the end of the stream"),
            Err(error) => panic!("expected {expected:?}, found {error}"),
        }
    }

    /// Waits for CONNECT, hands it to `look` and accepts it.
    ///
    /// # Panics
    ///
    /// As [`receive`](Self::receive), and when it is another packet.
    #[track_caller]
    pub fn accept<T>(&mut self, session_present: bool, look: impl FnOnce(Connect<'_>) -> T) -> T {
        let value = match self.next_packet() {
            Ok(Some(PacketRef::Connect(connect))) => look(connect),
            other => panic!("expected CONNECT, found {other:?}"),
        };
        self.send(&PacketRef::ConnAck(ConnAck::accepted(session_present)));
        value
    }

    /// Waits for the clean end of the stream.
    ///
    /// # Panics
    ///
    /// When a packet comes first, or the stream fails or stays open for [`SCRIPT_TIMEOUT`].
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.next_packet() {
            Ok(None) => {}
            other => panic!("expected the end of the stream, found {other:?}"),
        }
    }

    /// Waits for this long and makes sure that nothing comes.
    ///
    /// # Panics
    ///
    /// When a byte comes, or the stream ends or fails.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) {
        self.forget_taken();
        assert!(
            self.received.is_empty(),
            "expected silence, found {:?}",
            self.received
        );
        match fiber::timeout(duration, || self.fill()) {
            Err(_elapsed) => {}
            Ok(Ok(0)) => panic!("expected silence, found the end of the stream"),
            Ok(Ok(_)) => panic!("expected silence, found {:?}", self.received),
            Ok(Err(error)) => panic!("expected silence, found {error}"),
        }
    }

    /// Sends a packet.
    ///
    /// # Panics
    ///
    /// When the stream does not take it within [`SCRIPT_TIMEOUT`].
    #[track_caller]
    pub fn send(&mut self, packet: &PacketRef<'_>) {
        let mut bytes = vec![0; packet.encoded_len(self.version)];
        packet.encode(self.version, &mut bytes);
        self.send_bytes(&bytes);
    }

    /// Sends bytes as they are: part of a packet, several packets, or none.
    ///
    /// # Panics
    ///
    /// When the stream does not take them within [`SCRIPT_TIMEOUT`].
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match within_limit(|| (&self.stream).write_all(bytes)) {
            Ok(()) => {}
            Err(error) => panic!("cannot send {} bytes: {error}", bytes.len()),
        }
    }

    /// The next packet; `None` at the clean end of the stream.
    fn next_packet(&mut self) -> io::Result<Option<PacketRef<'_>>> {
        self.forget_taken();
        // The length decides first, so that what is given out borrows from a finished buffer.
        let length = loop {
            let length =
                packet::peek_len(&self.received, SCRIPT_PACKET_MAX).map_err(io::Error::other)?;
            match length {
                Some(length) if self.received.len() >= length => break length,
                _ => {}
            }
            if within_limit(|| self.fill())? == 0 {
                let inside = format!("the end of the stream inside a packet: {:?}", self.received);
                return if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::other(inside))
                };
            }
        };
        self.taken = length;
        let decoded = packet::decode(&self.received[..length], self.version, SCRIPT_PACKET_MAX);
        Ok(decoded.map_err(io::Error::other)?.map(|(packet, _)| packet))
    }

    fn forget_taken(&mut self) {
        self.received.drain(..self.taken);
        self.taken = 0;
    }

    /// Reads once; 0 is the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let read = (&self.stream).read(&mut buffer)?;
        self.received.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// Runs `body` under the limit of the script.
fn within_limit<T>(body: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    fiber::timeout(SCRIPT_TIMEOUT, body).unwrap_or_else(|elapsed| elapsed.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt::packet::{ConnectFields, Delivery, PacketId, PubAck, Publish};

    type End = fiber::net::PipeStream;

    /// Runs a script against a client by hand and returns whether the script panicked.
    fn play(
        client: impl FnOnce(End) + 'static,
        script: impl FnOnce(&mut ScriptedBroker<End>) + 'static,
    ) -> bool {
        let runtime = fiber::Runtime::builder().paused_clock(true);
        runtime
            .run(|| {
                let (ours, theirs) = fiber::net::pipe(64);
                let mut broker =
                    fiber::spawn(move || script(&mut ScriptedBroker::new(theirs))).unwrap();
                client(ours);
                matches!(broker.join(), Err(fiber::JoinError::Panicked(_)))
            })
            .unwrap()
    }

    fn bytes_of(packet: &PacketRef<'_>) -> Vec<u8> {
        let mut bytes = vec![0; packet.encoded_len(Version::V311)];
        packet.encode(Version::V311, &mut bytes);
        bytes
    }

    fn puback() -> PacketRef<'static> {
        PacketRef::PubAck(PubAck::new(PacketId::new(7).unwrap()))
    }

    fn write(packets: &[PacketRef<'_>]) -> impl FnOnce(End) + use<> {
        let bytes: Vec<u8> = packets.iter().flat_map(bytes_of).collect();
        move |mut stream| stream.write_all(&bytes).unwrap()
    }

    #[test]
    fn a_met_script_ends_well() {
        let fields = ConnectFields {
            clean_start: true,
            client_id: "meter",
            ..Default::default()
        };
        let connect = PacketRef::Connect(Connect::new(Version::V311, fields).unwrap());
        // Longer than the pipe: it arrives in pieces.
        let payload = [b'x'; 300];
        let publish =
            Publish::new(Version::V311, "a", &payload, Delivery::AtMostOnce, false).unwrap();
        let publish = PacketRef::Publish(publish);
        let sent = [connect, puback(), publish, PacketRef::PingReq]
            .map(|p| bytes_of(&p))
            .concat();
        let client = move |mut stream: End| {
            stream.write_all(&sent).unwrap();
            let mut answer = [0; 6];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, *b"\x20\x02\x01\x00\xd0\x00");
            fiber::sleep(Duration::from_secs(5)).unwrap();
        };
        let script = |broker: &mut ScriptedBroker<End>| {
            broker.accept(true, |connect| {
                assert_eq!(connect.fields().client_id, "meter")
            });
            broker.expect(&puback());
            let len = broker.receive(|packet| match packet {
                PacketRef::Publish(publish) => publish.payload().len(),
                other => panic!("expected PUBLISH, found {other:?}"),
            });
            assert_eq!(len, 300);
            broker.expect(&PacketRef::PingReq);
            broker.send(&PacketRef::PingResp);
            broker.expect_silence(Duration::from_secs(4));
            broker.expect_end();
        };
        assert!(!play(client, script));
    }

    #[test]
    fn every_broken_expectation_panics() {
        type Script = fn(&mut ScriptedBroker<End>);
        let cases: [(&str, Vec<PacketRef<'static>>, Script); 7] = [
            ("another packet", vec![puback()], |b| {
                b.expect(&PacketRef::PingReq)
            }),
            ("no packet", vec![], |b| b.expect(&PacketRef::PingReq)),
            ("the end instead of any packet", vec![], |b| {
                b.receive(|_| ())
            }),
            ("no CONNECT", vec![PacketRef::PingReq], |b| {
                b.accept(false, |_| ())
            }),
            ("a packet instead of the end", vec![puback()], |b| {
                b.expect_end()
            }),
            ("a packet instead of silence", vec![puback()], |b| {
                b.expect_silence(Duration::from_secs(1));
            }),
            (
                "a second packet instead of silence",
                vec![puback(), puback()],
                |b| {
                    b.expect(&puback());
                    b.expect_silence(Duration::from_secs(1));
                },
            ),
        ];
        for (name, packets, script) in cases {
            let panicked = play(write(&packets), script);
            assert!(panicked, "{name:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_packet_and_a_torn_packet_panic() {
        for bytes in [&b"\x00\x00"[..], b"\x40\x02\x00"] {
            let client = move |mut stream: End| stream.write_all(bytes).unwrap();
            let panicked = play(client, |broker| broker.expect(&puback()));
            assert!(panicked, "{bytes:?}");
        }
    }

    #[test]
    fn a_client_that_stays_silent_ends_the_wait() {
        let client = |stream: End| {
            fiber::sleep(SCRIPT_TIMEOUT * 2).unwrap();
            drop(stream);
        };
        assert!(play(client, |broker| broker.expect_end()));
    }
}
