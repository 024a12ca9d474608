//! The limit: a blocking socket loop, with packets that were encoded once. It keeps no message, no
//! state of any, and looks at no clock.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use super::packets::{self, BLOCK, PUBACK, PUBCOMP, PUBREC, PUBREL, Scanner};
use super::task::{Kind, TOPIC, Task};
use crate::program;

/// Does a task with the server at `port`.
///
/// # Errors
/// Those of the socket.
pub fn perform(port: u16, task: Task) -> io::Result<()> {
    if task.kind == Kind::Connect {
        let share = program::Share::start();
        for _ in 0..task.count {
            let mut link = Link::connect(port)?;
            link.stream.write_all(&[0xe0, 0])?;
        }
        share.report(task.count);
        return Ok(());
    }
    let mut link = Link::connect(port)?;
    let share = program::Share::start();
    match task.kind {
        Kind::Publish | Kind::Stream if task.qos == 0 => link.pour(task)?,
        Kind::Publish | Kind::Stream | Kind::Trip => link.publish(task)?,
        Kind::Delay => return link.delays(task),
        Kind::Receive | Kind::Inline => link.receive(task)?,
        Kind::Connect => {}
    }
    share.report(task.count);
    Ok(())
}

struct Link {
    stream: TcpStream,
    scanner: Scanner,
    out: Vec<u8>,
    id: u16,
}

impl Link {
    fn connect(port: u16) -> io::Result<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.write_all(&packets::connect("raw"))?;
        stream.read_exact(&mut [0; 4])?;
        Ok(Self {
            stream,
            scanner: Scanner::default(),
            out: Vec::with_capacity(2 * BLOCK),
            id: 0,
        })
    }

    /// QoS 0: one block of packets, written again and again, and one that is answered.
    fn pour(&mut self, task: Task) -> io::Result<()> {
        let mut block = Vec::new();
        packets::publish(&mut block, TOPIC, 0, 0, task.bytes);
        let one = block.len();
        let in_block = (BLOCK / one).max(1);
        block = block.repeat(in_block);
        let mut left = task.count;
        while left > 0 {
            let n = left.min(in_block);
            self.stream.write_all(&block[..n * one])?;
            left -= n;
        }
        self.publish(Task {
            qos: 1,
            window: 1,
            ..task.of(1)
        })
    }

    /// QoS 1 and 2: a window that is kept full.
    fn publish(&mut self, task: Task) -> io::Result<()> {
        let mut packet = Vec::new();
        packets::publish(&mut packet, TOPIC, task.qos, 1, task.bytes);
        let id_at = packet.len() - task.bytes - 2;
        let (mut left, mut free, mut done) = (task.count, task.window, 0);
        while done < task.count {
            while left > 0 && free > 0 {
                self.id = self.id.checked_add(1).unwrap_or(1);
                let at = self.out.len() + id_at;
                self.out.extend_from_slice(&packet);
                self.out[at..at + 2].copy_from_slice(&self.id.to_be_bytes());
                left -= 1;
                free -= 1;
                if self.out.len() >= BLOCK {
                    self.write()?;
                }
            }
            self.write()?;
            self.read()?;
            while let Some(found) = self.scanner.next_packet() {
                match found.first {
                    PUBACK | PUBCOMP => {
                        free += 1;
                        done += 1;
                    }
                    PUBREC => packets::ack(&mut self.out, PUBREL, found.id),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn delays(&mut self, task: Task) -> io::Result<()> {
        let mut delays = Vec::with_capacity(task.count);
        for _ in 0..task.count {
            let began = Instant::now();
            self.publish(task.of(1))?;
            delays.push(began.elapsed());
        }
        program::report_trips(delays);
        Ok(())
    }

    fn receive(&mut self, task: Task) -> io::Result<()> {
        self.out = packets::subscribe(&task.filter(), task.qos);
        let mut received = 0;
        while received < task.count {
            self.write()?;
            self.read()?;
            while let Some(found) = self.scanner.next_packet() {
                let (kind, qos, id) = (found.kind(), found.qos(), found.id);
                match (kind, qos) {
                    (0x30, 0) => received += 1,
                    (0x30, 1) => {
                        received += 1;
                        packets::ack(&mut self.out, PUBACK, id);
                    }
                    (0x30, _) => packets::ack(&mut self.out, PUBREC, id),
                    (0x60, _) => {
                        received += 1;
                        packets::ack(&mut self.out, PUBCOMP, id);
                    }
                    _ => {}
                }
            }
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        if self.scanner.read(&mut self.stream)? {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
