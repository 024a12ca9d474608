//! Gives a real server what a client is to receive: publishes at QoS 1, a window at a time, once there is
//! a subscriber. It speaks MQTT 5, in which an acknowledgement says whether there is one.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use super::packets::{self, BLOCK, PUBACK, Scanner};
use super::task::Task;

/// Between two looks for a subscriber.
const PAUSE: Duration = Duration::from_micros(200);
/// The reason of an acknowledgement without which the message went to somebody (MQTT5-3.4.2.1).
const NO_SUBSCRIBER: u8 = 0x10;

/// Publishes the messages that a client that does `task` subscribes to.
///
/// # Errors
/// Those of the socket.
pub fn feed(port: u16, task: Task) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.write_all(&packets::connect_5("feeder"))?;
    let mut feeder = Feeder {
        stream,
        scanner: Scanner::default(),
        packet: Vec::new(),
        id_at: 0,
        id: 0,
    };
    feeder.id_at = packets::publish_5(&mut feeder.packet, &task.filter(), task.bytes);
    let (kind, _) = feeder.answer()?;
    if kind != 0x20 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // The first message, as often as it takes until somebody has it.
    feeder.write(1)?;
    while feeder.answer()? == (PUBACK, NO_SUBSCRIBER) {
        thread::sleep(PAUSE);
        feeder.write(1)?;
    }
    let (mut left, mut free) = (task.count - 1, task.window);
    while left > 0 || free < task.window {
        let now = left.min(free);
        feeder.write(now)?;
        left -= now;
        free -= now;
        feeder.answer()?;
        free += 1;
        while feeder.scanner.next_packet().is_some() {
            free += 1;
        }
    }
    // The server keeps what it has; the connection ends when the subscriber is through.
    feeder.stream.read_exact(&mut [0])
}

struct Feeder {
    stream: TcpStream,
    scanner: Scanner,
    packet: Vec<u8>,
    /// Where in the packet the identifier stands.
    id_at: usize,
    id: u16,
}

impl Feeder {
    /// So many messages.
    fn write(&mut self, count: usize) -> io::Result<()> {
        let mut out = Vec::with_capacity(BLOCK);
        for _ in 0..count {
            self.id = self.id.checked_add(1).unwrap_or(1);
            let at = out.len() + self.id_at;
            out.extend_from_slice(&self.packet);
            out[at..at + 2].copy_from_slice(&self.id.to_be_bytes());
        }
        self.stream.write_all(&out)
    }

    /// The kind of the next packet and the reason in it.
    fn answer(&mut self) -> io::Result<(u8, u8)> {
        loop {
            if let Some(found) = self.scanner.next_packet() {
                // Without a reason all is well.
                return Ok((found.kind(), found.body.get(2).copied().unwrap_or(0)));
            }
            if !self.scanner.read(&mut self.stream)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
