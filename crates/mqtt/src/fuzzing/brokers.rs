//! The embedded broker and clients that may send anything, over pipes and in virtual time.

use std::time::Duration;

use fiber::net::PipeStream;

use super::input::Input;
use crate::broker::{Broker, BrokerOptions, DropAcks, Faults};
use crate::packet::{ConnectReason, MAX_PACKET_LEN, PacketRef, Version, decode};

const CLIENTS: usize = 4;
const SESSIONS: usize = 6;
const QUEUED: usize = 8;
const RETAINED: usize = 4;
const PACKET_LEN: usize = 2_048;
/// The client that must go on being served. Nobody else may take its name.
const WITNESS: &str = "witness";
const ITS_CONNECT: &[u8] = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x00\x00\x07witness";
const ITS_SUBSCRIBE: &[u8] = b"\x82\x0c\x00\x01\x00\x07witness\x00";
/// Where it finds its own messages among those of others.
const ITS_MARK: &[u8] = b"what it wrote itself";

/// Gives bytes to a broker from up to four clients, which come, go, read or do not, beside one that
/// must be served all the time. Whatever the broker answers are packets of a server, and it keeps to
/// its bounds.
///
/// The input: a byte for each step, with what the step needs.
pub fn brokers(data: &[u8]) {
    let data = data.to_vec();
    let runtime = fiber::Runtime::builder().paused_clock(true);
    let ran = runtime.run(move || {
        let mut scene = Scene::new();
        let mut input = Input::new(&data);
        while !input.is_empty() {
            scene.step(&mut input);
        }
        scene.end();
        assert_eq!(fiber::stats().panics, 0);
    });
    assert!(ran.is_ok(), "{ran:?}");
}

/// A client as the broker does not see it: one end of a pipe, and what came from it.
struct Wire {
    pipe: PipeStream,
    came: Vec<u8>,
}

impl Wire {
    fn new(broker: &Broker, capacity: usize) -> Self {
        let (ours, theirs) = fiber::net::pipe(capacity);
        broker.attach(theirs).expect("a fiber is to be had");
        let came = Vec::new();
        Self { pipe: ours, came }
    }

    /// Sends what there is room for.
    fn send(&self, bytes: &[u8]) {
        // The broker may have closed it.
        let _ = self.pipe.try_write(bytes);
    }

    /// Takes in all that came, which must be packets of a server; says so of the payloads.
    fn read(&mut self, mut saw: impl FnMut(&[u8])) {
        let mut buffer = [0; 4_096];
        while let Ok(Some(n @ 1..)) = self.pipe.try_read(&mut buffer) {
            self.came.extend_from_slice(&buffer[..n]);
            settle();
        }
        let mut at = 0;
        while let Some((packet, len)) =
            decode(&self.came[at..], Version::V311, MAX_PACKET_LEN).expect("a packet")
        {
            match packet {
                PacketRef::Publish(publish) => saw(publish.payload()),
                PacketRef::Connect(_)
                | PacketRef::Subscribe(_)
                | PacketRef::Unsubscribe(_)
                | PacketRef::PingReq
                | PacketRef::Disconnect(_) => panic!("{packet:?} of a server"),
                _ => {}
            }
            at += len;
        }
        self.came.drain(..at);
    }
}

struct Scene {
    broker: Broker,
    witness: Wire,
    wires: [Option<Wire>; CLIENTS],
}

impl Scene {
    fn new() -> Self {
        let options = BrokerOptions::new()
            .sessions_max(SESSIONS)
            .queue_max(QUEUED, 2_000)
            .retained_max(RETAINED, 500)
            .maximum_packet_size(PACKET_LEN)
            .window(3);
        let mut is_first = true;
        let options = options.authenticate(move |connect| {
            let is_witness = connect.fields().client_id == WITNESS;
            if is_witness && !std::mem::take(&mut is_first) {
                return Err(ConnectReason::IdentifierRejected);
            }
            Ok(())
        });
        let broker = Broker::new(options);
        let witness = Wire::new(&broker, 256 * 1024);
        witness.send(ITS_CONNECT);
        witness.send(ITS_SUBSCRIBE);
        settle();
        Self {
            broker,
            witness,
            wires: Default::default(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let slot = input.below(CLIENTS);
        match input.below(16) {
            0 => {
                let capacity = [64, 64 * 1024][input.below(2)];
                self.wires[slot] = Some(Wire::new(&self.broker, capacity));
            }
            1 => self.wires[slot] = None,
            2 => {
                let len = input.below(256);
                self.send(slot, input.bytes(len));
            }
            3..=11 => {
                let bytes = made(input);
                self.send(slot, &bytes);
            }
            12 => {
                if let Some(wire) = &mut self.wires[slot] {
                    wire.read(|_| ());
                }
            }
            13 => {
                let millis = [1, 900, 11_000, 3_600_000][input.below(4)];
                fiber::sleep(Duration::from_millis(millis)).expect("nobody stops it");
            }
            14 => {
                let client = ["", "a", "b", "c"][input.below(4)];
                let faults = [
                    Faults::default(),
                    Faults {
                        drop_acks: DropAcks::Next(1),
                        ..Faults::default()
                    },
                    Faults {
                        cut_after_received: Some(input.byte().into()),
                        ..Faults::default()
                    },
                    Faults {
                        cut_after_sent: Some(input.byte().into()),
                        ..Faults::default()
                    },
                ];
                let faults = faults[input.below(4)];
                self.broker.set_faults(client, faults).expect("few clients");
            }
            _ => {
                self.expect_service();
                return;
            }
        }
        settle();
        self.check();
    }

    fn send(&mut self, slot: usize, bytes: &[u8]) {
        let broker = &self.broker;
        let wire = self.wires[slot].get_or_insert_with(|| Wire::new(broker, 64 * 1024));
        wire.send(bytes);
    }

    fn check(&self) {
        let stats = self.broker.stats();
        assert!(stats.connections <= 1 + 2 * CLIENTS, "{stats:?}");
        assert!(stats.sessions <= SESSIONS, "{stats:?}");
        assert!(stats.queued <= SESSIONS * QUEUED, "{stats:?}");
        assert!(stats.retained <= RETAINED, "{stats:?}");
    }

    /// The witness publishes a message and gets its acknowledgement and the message.
    fn expect_service(&mut self) {
        settle();
        self.witness.read(|_| ());
        let len = 2 + 7 + 2 + ITS_MARK.len();
        self.witness.send(&[0x32, len as u8, 0, 7]);
        self.witness.send(b"witness\x00\x09");
        self.witness.send(ITS_MARK);
        settle();
        let mut seen = 0;
        self.witness
            .read(|payload| seen += usize::from(payload == ITS_MARK));
        assert!(seen > 0, "the witness is not served");
    }

    fn end(mut self) {
        self.expect_service();
        self.check();
        self.broker.stop();
        // The longest that a connection takes to end.
        fiber::sleep(Duration::from_secs(5)).expect("nobody stops it");
        assert_eq!(self.broker.stats().connections, 0);
        for wire in self.wires.iter_mut().flatten() {
            wire.read(|_| ());
        }
    }
}

/// Lets all fibers go on until they wait.
fn settle() {
    fiber::sleep(Duration::from_millis(1)).expect("nobody stops it");
}

/// A packet that a client may send.
fn made(input: &mut Input<'_>) -> Vec<u8> {
    const NAMES: [&str; 8] = ["a", "b", "a/b", "$a", "witness", "c", "", "a/+"];
    const FILTERS: [&str; 8] = ["a", "#", "+", "a/#", "+/b", "$a/#", "witness", "a#"];
    let id = input.byte() % 8;
    let mut packet = vec![0, 0];
    match input.below(10) {
        0 | 1 => {
            let flags = [0x02, 0x00, 0x06, 0x2e, 0x36][input.below(5)];
            packet[0] = 0x10;
            packet.extend(b"\x00\x04MQTT\x04");
            packet.extend([flags, 0, [0, 5][input.below(2)]]);
            text(
                &mut packet,
                ["", "a", "b", "c", "d", "e", "f", WITNESS][input.below(8)],
            );
            if flags & 4 != 0 {
                text(&mut packet, NAMES[input.below(8)]);
                text(&mut packet, "gone");
            }
        }
        2 => {
            packet[0] = 0x82;
            packet.extend([0, id]);
            for _ in 0..=input.below(3) {
                text(&mut packet, FILTERS[input.below(8)]);
                packet.push(input.byte() % 3);
            }
        }
        3 => {
            packet[0] = 0xa2;
            packet.extend([0, id]);
            text(&mut packet, FILTERS[input.below(8)]);
        }
        4 => packet[0] = [0xc0, 0xe0][input.below(2)],
        5 => {
            packet[0] = [0x40, 0x50, 0x62, 0x70][input.below(4)];
            packet.extend([0, id]);
        }
        _ => {
            let qos = input.below(3) as u8;
            packet[0] = 0x30 | qos << 1 | input.byte() & 1;
            text(&mut packet, NAMES[input.below(8)]);
            if qos > 0 {
                packet.extend([0, id]);
            }
            packet.resize(packet.len() + input.below(60), b'.');
        }
    }
    packet[1] = (packet.len() - 2) as u8;
    packet
}

fn text(packet: &mut Vec<u8>, text: &str) {
    packet.extend([0, text.len() as u8]);
    packet.extend(text.as_bytes());
}
