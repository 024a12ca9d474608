//! Questions and answers as bytes (RFC 1035 section 4): the only place that knows simple-dns.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::io;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};

/// Aliases (`CNAME`) from a name to its addresses.
pub const ALIASES_MAX: usize = 8;
/// Records of one answer.
pub const RECORDS_MAX: usize = 4096;
/// Bytes of a message before its records.
const HEADER_LEN: usize = 12;
/// Bytes that a record has at least: the name, which is one byte then, its kind, class, lifetime and
/// length. A message that promises more records than it has room for is not read.
const RECORD_BYTES_MIN: usize = 11;

/// What kind of address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    const fn record_type(self) -> TYPE {
        match self {
            Self::V4 => TYPE::A,
            Self::V6 => TYPE::AAAA,
        }
    }
}

/// What a server said of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Addresses, at least one, and for how long they may be used.
    Addresses(Vec<IpAddr>, Duration),
    NoSuchName,
    NoAddress,
    TooManyAliases,
    /// The server's response code.
    Failed(u8),
}

/// A message that answers the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Answer(Answer),
    /// The answer does not fit into a datagram.
    Truncated,
}

/// A question, and its bytes.
#[derive(Debug)]
pub(super) struct Question<'a> {
    id: u16,
    name: Name<'a>,
    family: Family,
    bytes: Vec<u8>,
}

impl<'a> Question<'a> {
    /// Puts a question under an id that nobody can guess.
    pub(super) fn new(name: &'a str, family: Family) -> io::Result<Self> {
        let mut id = [0; 2];
        fiber::random::fill(&mut id)?;
        Self::with_id(u16::from_be_bytes(id), name, family)
    }

    fn with_id(id: u16, name: &'a str, family: Family) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let name = Name::new(name).map_err(invalid)?;
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(simple_dns::Question::new(
            name.clone(),
            QTYPE::TYPE(family.record_type()),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        let bytes = packet.build_bytes_vec().map_err(invalid)?;
        Ok(Self {
            id,
            name,
            family,
            bytes,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns what a message says, if it is an answer to this question.
    pub(super) fn heard(&self, message: &[u8]) -> Option<Heard> {
        let header: &[u8; HEADER_LEN] = message.first_chunk()?;
        if header[..2] != self.id.to_be_bytes() || !has_room_for_records(header, message.len()) {
            return None;
        }
        // First without records: of a message that was cut they cannot be read.
        let mut head = message.to_vec();
        head[6..HEADER_LEN].fill(0);
        let head = Packet::parse(&head).ok()?;
        if !head.has_flags(PacketFlag::RESPONSE) || head.opcode() != OPCODE::StandardQuery {
            return None;
        }
        let code = header[3] & 0x0F;
        let is_ours = match &*head.questions {
            [asked] => self.is_asked(asked),
            // Some servers that understand nothing repeat nothing.
            [] => head.rcode() != RCODE::NoError && head.rcode() != RCODE::NameError,
            _ => false,
        };
        if !is_ours {
            return None;
        }
        match head.rcode() {
            RCODE::NameError => return Some(Heard::Answer(Answer::NoSuchName)),
            RCODE::NoError => {}
            _ => return Some(Heard::Answer(Answer::Failed(code))),
        }
        if head.has_flags(PacketFlag::TRUNCATION) {
            return Some(Heard::Truncated);
        }
        let packet = Packet::parse(message).ok()?;
        Some(Heard::Answer(self.follow(&packet)))
    }

    fn is_asked(&self, asked: &simple_dns::Question<'_>) -> bool {
        asked.qname == self.name
            && asked.qtype == QTYPE::TYPE(self.family.record_type())
            && asked.qclass == QCLASS::CLASS(CLASS::IN)
    }

    /// Goes from the name over its aliases to the addresses.
    fn follow(&self, packet: &Packet<'_>) -> Answer {
        let (mut name, mut ttl) = (&self.name, Duration::MAX);
        for _ in 0..=ALIASES_MAX {
            let of_name = |record: &&simple_dns::ResourceRecord<'_>| {
                record.name == *name && record.class == CLASS::IN
            };
            let mut addresses = Vec::new();
            let mut alias = None;
            for record in packet.answers.iter().filter(of_name) {
                let address: IpAddr = match (&record.rdata, self.family) {
                    (RData::A(found), Family::V4) => Ipv4Addr::from(found.address).into(),
                    (RData::AAAA(found), Family::V6) => Ipv6Addr::from(found.address).into(),
                    (RData::CNAME(target), _) => {
                        alias = alias.or_else(|| Some((&target.0, lifetime(record.ttl))));
                        continue;
                    }
                    _ => continue,
                };
                ttl = ttl.min(lifetime(record.ttl));
                addresses.push(address);
            }
            if !addresses.is_empty() {
                return Answer::Addresses(addresses, ttl);
            }
            let Some((target, of_alias)) = alias else {
                return Answer::NoAddress;
            };
            (name, ttl) = (target, ttl.min(of_alias));
        }
        Answer::TooManyAliases
    }
}

/// Whether a message has the room for the records that its header promises, and may have so many.
fn has_room_for_records(header: &[u8; HEADER_LEN], len: usize) -> bool {
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let records = count(6) + count(8) + count(10);
    count(4) <= 1 && records <= RECORDS_MAX && records * RECORD_BYTES_MIN <= len - HEADER_LEN
}

/// A lifetime on the wire; one with the highest bit set means none (RFC 2181 section 8).
fn lifetime(ttl: u32) -> Duration {
    let seconds = i32::try_from(ttl).map_or(0, i32::unsigned_abs);
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests;
