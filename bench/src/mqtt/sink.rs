//! A server that only answers, so that it is not what limits: one thread for each connection, all
//! answers to what one read brought in one write, and packets encoded once.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use super::packets::{self, BLOCK, Found, PUBACK, PUBCOMP, PUBREC, PUBREL, Scanner};
use super::task::{Kind, Task};
use crate::program;

/// Answers whoever connects, for ever; prints `port`.
///
/// # Errors
/// Where nothing can be listened to.
pub fn serve() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    program::report_port(listener.local_addr()?.port());
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || {
            // A client that is killed is no fault of ours.
            drop(answer_to(stream));
        });
    }
    Ok(())
}

/// Answers one client until it leaves.
///
/// # Errors
/// Those of the stream.
pub fn answer_to(stream: impl Read + Write) -> io::Result<()> {
    Answers::new(stream).run()
}

/// One connection.
struct Answers<S> {
    stream: S,
    scanner: Scanner,
    /// Answers that are to be written.
    out: Vec<u8>,
    sending: Option<Sending>,
}

impl<S: Read + Write> Answers<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            scanner: Scanner::default(),
            out: Vec::with_capacity(BLOCK),
            sending: None,
        }
    }

    fn run(mut self) -> io::Result<()> {
        while self.scanner.read(&mut self.stream)? {
            while let Some(found) = self.scanner.next_packet() {
                answer(&found, &mut self.out, &mut self.sending);
            }
            if let Some(sending) = &mut self.sending {
                sending.go_on(&mut self.stream, &mut self.out)?;
            }
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

fn answer(found: &Found<'_>, out: &mut Vec<u8>, sending: &mut Option<Sending>) {
    match found.kind() {
        0x10 => out.extend_from_slice(&[0x20, 2, 0, 0]),
        0x30 => match found.qos() {
            1 => packets::ack(out, PUBACK, found.id),
            2 => packets::ack(out, PUBREC, found.id),
            _ => {}
        },
        0x60 => packets::ack(out, PUBCOMP, found.id),
        0x50 => packets::ack(out, PUBREL, found.id),
        0x40 | 0x70 => {
            if let Some(sending) = sending {
                sending.free += 1;
            }
        }
        0x80 => {
            let [high, low] = found.id.to_be_bytes();
            let (filter, qos) = first_filter(found.body);
            out.extend_from_slice(&[0x90, 3, high, low, qos]);
            *sending = Task::asked_by(filter)
                .map(Sending::new)
                .or_else(|| Sending::in_turn(filter));
        }
        0xa0 => packets::ack(out, 0xb0, found.id),
        0xc0 => out.extend_from_slice(&[0xd0, 0]),
        _ => {}
    }
}

/// The first filter of a SUBSCRIBE and its QoS.
fn first_filter(body: &[u8]) -> (&str, u8) {
    let rest = body.get(4..).unwrap_or_default();
    let (qos, filter) = rest.split_last().unwrap_or((&0, &[]));
    (std::str::from_utf8(filter).unwrap_or_default(), *qos & 3)
}

/// The filter that asks for `count` messages whose topics are those of `n` subscriptions in turn. They
/// come once this filter is subscribed to as well.
#[must_use]
pub fn turn_filter(n: usize, count: usize) -> String {
    format!("turn/{n}/{count}")
}

/// The topic of the subscription with this number, from 0 on.
#[must_use]
pub fn turn_topic(n: usize, count: usize, number: usize) -> String {
    format!("{}/{number:0TURN_DIGITS$}/power", turn_filter(n, count))
}

/// Digits of a number in a topic.
const TURN_DIGITS: usize = 6;
/// Bytes of the payload of such messages.
const TURN_PAYLOAD: usize = 64;

/// Topics that follow one another.
struct Turns {
    n: usize,
    next: usize,
    /// Where in the packet the number stands.
    at: usize,
}

/// Messages that are sent to who asked for them.
struct Sending {
    task: Task,
    turns: Option<Turns>,
    /// How many are still to be sent.
    left: usize,
    /// How many may be sent now.
    free: usize,
    id: u16,
    packet: Vec<u8>,
    /// Where in the packet the identifier stands.
    id_at: usize,
}

impl Sending {
    fn new(task: Task) -> Self {
        let topic = task.filter();
        let mut packet = Vec::new();
        packets::publish(&mut packet, &topic, task.qos, 1, task.bytes);
        let id_at = packet.len() - task.bytes - 2;
        Self {
            task,
            turns: None,
            left: task.count,
            free: task.window,
            id: 0,
            id_at,
            packet,
        }
    }

    /// Those that [`turn_filter`] asks for.
    fn in_turn(filter: &str) -> Option<Self> {
        let (n, count) = filter.strip_prefix("turn/")?.split_once('/')?;
        let (n, count) = (n.parse().ok()?, count.parse().ok()?);
        let mut packet = Vec::new();
        let topic = turn_topic(n, count, 0);
        packets::publish(&mut packet, &topic, 0, 1, TURN_PAYLOAD);
        let topic_at = packet.len() - TURN_PAYLOAD - topic.len();
        let at = topic_at + turn_filter(n, count).len() + 1;
        Some(Self {
            task: Task {
                kind: Kind::Receive,
                qos: 0,
                bytes: TURN_PAYLOAD,
                window: 1,
                count,
            },
            turns: Some(Turns { n, next: 0, at }),
            left: count,
            free: 1,
            id: 0,
            id_at: 0,
            packet,
        })
    }

    /// Appends what may be sent, and writes where that is much.
    fn go_on(&mut self, stream: &mut impl Write, out: &mut Vec<u8>) -> io::Result<()> {
        let acknowledged = self.task.qos > 0;
        while self.left > 0 && (self.free > 0 || !acknowledged) {
            let begin = out.len();
            out.extend_from_slice(&self.packet);
            if let Some(turns) = &mut self.turns {
                let number = format!("{:0TURN_DIGITS$}", turns.next);
                let at = begin + turns.at;
                out[at..at + TURN_DIGITS].copy_from_slice(number.as_bytes());
                turns.next = (turns.next + 1) % turns.n;
            }
            if acknowledged {
                self.id = self.id.checked_add(1).unwrap_or(1);
                self.free -= 1;
                let at = begin + self.id_at;
                out[at..at + 2].copy_from_slice(&self.id.to_be_bytes());
            }
            self.left -= 1;
            if out.len() >= BLOCK {
                stream.write_all(out)?;
                out.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Sending, TURN_PAYLOAD, turn_filter, turn_topic};

    #[test]
    fn topics_follow_one_another_and_begin_again() {
        let mut sending = Sending::in_turn(&turn_filter(2, 3)).unwrap();
        let mut out = Vec::new();
        sending.go_on(&mut Vec::new(), &mut out).unwrap();
        // The topic stands behind a fixed header of two bytes and its own length.
        for (packet, number) in out.chunks(out.len() / 3).zip([0, 1, 0]) {
            let topic = turn_topic(2, 3, number);
            assert_eq!(packet[4..4 + topic.len()], *topic.as_bytes());
        }
        assert_eq!(out.len() % 3, 0);
        assert!(out.ends_with(&[b'x'; TURN_PAYLOAD]));
    }

    #[test]
    fn only_that_filter_asks_for_turns() {
        for filter in [turn_topic(2, 3, 0), "turn/2".to_owned(), "a/2/3".to_owned()] {
            assert!(Sending::in_turn(&filter).is_none(), "{filter}");
        }
    }
}
