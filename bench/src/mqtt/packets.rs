//! The few bytes of MQTT that a server which only answers, and a socket loop, have to know.

use std::io;

/// The first byte of an acknowledgement of QoS 1.
pub const PUBACK: u8 = 0x40;
/// The first byte of the first answer of QoS 2.
pub const PUBREC: u8 = 0x50;
/// The first byte of the answer to that.
pub const PUBREL: u8 = 0x62;
/// The first byte of the last one.
pub const PUBCOMP: u8 = 0x70;
/// Bytes of a read and, about, of a write.
pub const BLOCK: usize = 64 * 1024;

/// What [`Scanner`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The first byte: type and flags.
    pub first: u8,
    /// The packet identifier, or 0 without one.
    pub id: u16,
    /// What comes behind the fixed header; of a PUBLISH nothing.
    pub body: &'a [u8],
}

impl Found<'_> {
    /// Type, without flags.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    /// The QoS of a PUBLISH.
    #[must_use]
    pub const fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }
}

/// Finds the packets in what is read, each once it is there as a whole. Payloads are passed over, not kept.
#[derive(Debug)]
pub struct Scanner {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    /// Bytes of a payload that have not come yet.
    skip: usize,
    /// First byte and identifier of the PUBLISH that it belongs to.
    begun: Option<(u8, u16)>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            bytes: vec![0; 4 * BLOCK],
            from: 0,
            to: 0,
            skip: 0,
            begun: None,
        }
    }
}

impl Scanner {
    /// Reads once; false at the end.
    ///
    /// # Errors
    /// Those of `reader`.
    pub fn read(&mut self, reader: &mut impl io::Read) -> io::Result<bool> {
        self.bytes.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let n = reader.read(&mut self.bytes[self.to..])?;
        self.to += n;
        Ok(n > 0)
    }

    /// The next packet, once it is there.
    pub fn next_packet(&mut self) -> Option<Found<'_>> {
        if self.begun.is_none() && !self.begin()? {
            return self.short();
        }
        let skipped = self.skip.min(self.to - self.from);
        self.from += skipped;
        self.skip -= skipped;
        if self.skip > 0 {
            return None;
        }
        let (first, id) = self.begun.take()?;
        let body = &[];
        Some(Found { first, id, body })
    }

    /// Takes the fixed header of a PUBLISH, its topic and its identifier; false where another packet
    /// follows, none where it is not known yet.
    fn begin(&mut self) -> Option<bool> {
        let unread = &self.bytes[self.from..self.to];
        let (header, len) = fixed_header(unread)?;
        let first = unread[0];
        if first & 0xf0 != 0x30 {
            return Some(false);
        }
        let behind = &unread[header..];
        let topic = 2 + usize::from(number(behind)?);
        let id = if first & 6 == 0 {
            0
        } else {
            number(behind.get(topic..)?)?
        };
        self.begun = Some((first, id));
        self.skip = header + len;
        Some(true)
    }

    /// A packet that is no PUBLISH: short, and waited for as a whole.
    fn short(&mut self) -> Option<Found<'_>> {
        let unread = &self.bytes[self.from..self.to];
        let (header, len) = fixed_header(unread)?;
        let body = unread.get(header..header + len)?;
        self.from += header + len;
        Some(Found {
            first: unread[0],
            id: number(body).unwrap_or(0),
            body,
        })
    }
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]))
}

/// Bytes of the fixed header, and the length that it says.
fn fixed_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for (index, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 2, len));
        }
    }
    None
}

/// Appends a PUBLISH, with the identifier `id` at QoS 1 and 2.
pub fn publish(out: &mut Vec<u8>, topic: &str, qos: u8, id: u16, bytes: usize) {
    let mut body = Vec::new();
    text(&mut body, topic);
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    packet(out, 0x30 | qos << 1, &body, bytes);
    out.resize(out.len() + bytes, b'x');
}

/// Appends an acknowledgement.
pub fn ack(out: &mut Vec<u8>, first: u8, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// A CONNECT with a clean session and keep-alive of a minute.
#[must_use]
pub fn connect(client_id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    body.extend_from_slice(&[4, 2, 0, 60]);
    text(&mut body, client_id);
    let mut out = Vec::new();
    packet(&mut out, 0x10, &body, 0);
    out
}

/// As [`connect`], of MQTT 5.
#[must_use]
pub fn connect_5(client_id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "MQTT");
    // The last byte is the length of the properties.
    body.extend_from_slice(&[5, 2, 0, 60, 0]);
    text(&mut body, client_id);
    let mut out = Vec::new();
    packet(&mut out, 0x10, &body, 0);
    out
}

/// Appends a PUBLISH of MQTT 5 at QoS 1, without an identifier yet, and says where that belongs.
pub fn publish_5(out: &mut Vec<u8>, topic: &str, bytes: usize) -> usize {
    let mut body = Vec::new();
    text(&mut body, topic);
    // The identifier, and the length of the properties.
    body.extend_from_slice(&[0, 0, 0]);
    packet(out, 0x32, &body, bytes);
    let id_at = out.len() - 3;
    out.resize(out.len() + bytes, b'x');
    id_at
}

/// A SUBSCRIBE of one filter.
#[must_use]
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    text(&mut body, filter);
    body.push(qos);
    let mut out = Vec::new();
    packet(&mut out, 0x82, &body, 0);
    out
}

/// Appends a fixed header for `body` and `more` bytes that are to follow, and `body`.
fn packet(out: &mut Vec<u8>, first: u8, body: &[u8], more: usize) {
    out.push(first);
    let mut len = body.len() + more;
    loop {
        let byte = u8::try_from(len & 0x7f).unwrap_or(0);
        len >>= 7;
        if len == 0 {
            out.push(byte);
            break;
        }
        out.push(byte | 0x80);
    }
    out.extend_from_slice(body);
}

fn text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{PUBACK, Scanner, ack, publish, publish_5, subscribe};

    /// What a scanner finds when it is given `step` bytes at a time.
    fn found(bytes: &[u8], step: usize) -> Vec<(u8, u16)> {
        let mut scanner = Scanner::default();
        let mut all = Vec::new();
        for mut part in bytes.chunks(step) {
            scanner.read(&mut part).unwrap();
            while let Some(packet) = scanner.next_packet() {
                all.push((packet.first, packet.id));
            }
        }
        all
    }

    #[test]
    fn packets_are_found_wherever_they_are_split() {
        let mut bytes = subscribe("send/0/1/2/3", 1);
        publish(&mut bytes, "a/b", 0, 0, 300);
        publish(&mut bytes, "a/b", 1, 7, 20);
        ack(&mut bytes, PUBACK, 513);
        publish(&mut bytes, "a/b", 2, 8, 0);
        let wanted = [(0x82, 1), (0x30, 0), (0x32, 7), (0x40, 513), (0x34, 8)];
        for step in 1..bytes.len() {
            assert_eq!(found(&bytes, step), wanted, "{step}");
        }
    }

    #[test]
    fn a_message_is_there_with_its_last_byte() {
        let mut bytes = Vec::new();
        publish(&mut bytes, "a/b", 1, 7, 300);
        let (last, all_but_one) = bytes.split_last().unwrap();
        let mut scanner = Scanner::default();
        scanner.read(&mut &*all_but_one).unwrap();
        assert_eq!(scanner.next_packet(), None);
        scanner.read(&mut &[*last][..]).unwrap();
        assert_eq!(scanner.next_packet().map(|found| found.id), Some(7));
    }
    #[test]
    fn the_identifier_of_a_message_of_mqtt_5_stands_where_it_is_said() {
        let mut bytes = Vec::new();
        let at = publish_5(&mut bytes, "a/b", 300);
        bytes[at..at + 2].copy_from_slice(&7_u16.to_be_bytes());
        assert_eq!(found(&bytes, bytes.len()), [(0x32, 7)]);
        assert_eq!(bytes[at + 2..], [&[0], [b'x'; 300].as_slice()].concat());
    }
}
