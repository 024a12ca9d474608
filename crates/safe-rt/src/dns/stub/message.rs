//! Questions and answers as bytes (RFC 1035 section 4): the only place that knows simple-dns.

mod records;

use core::net::IpAddr;
use core::time::Duration;
use std::io;

use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};

pub use self::records::RECORDS_MAX;
use self::records::Target;

/// Aliases (`CNAME`) from a name to its addresses.
pub const ALIASES_MAX: usize = 8;
/// Bytes of a message before its question.
const HEADER_LEN: usize = 12;
/// Bytes of a message that its header and question fit into: a name has 255 at most.
const HEAD_LEN: usize = HEADER_LEN + 255 + QUESTION_TAIL_LEN;
/// Bytes of a question behind its name: kind and class.
const QUESTION_TAIL_LEN: usize = 4;

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

    const fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
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
        if header[..2] != self.id.to_be_bytes() || count(header, 4) > 1 {
            return None;
        }
        // First without records: of a message that was cut they cannot be read.
        let mut head = message[..message.len().min(HEAD_LEN)].to_vec();
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
        self.follow(message, count(header, 6)).map(Heard::Answer)
    }

    fn is_asked(&self, asked: &simple_dns::Question<'_>) -> bool {
        asked.qname == self.name
            && asked.qtype == QTYPE::TYPE(self.family.record_type())
            && asked.qclass == QCLASS::CLASS(CLASS::IN)
    }

    /// Reads the answers of a message and goes from the name over its aliases to the addresses. What
    /// comes behind them, of authorities and what else a server adds, is not looked at.
    fn follow(&self, message: &[u8], count: usize) -> Option<Answer> {
        let (mut name, question_end) = records::name(message, HEADER_LEN)?;
        let records = records::read(message, question_end + QUESTION_TAIL_LEN, count)?;
        let mut ttl = Duration::MAX;
        for _ in 0..=ALIASES_MAX {
            let mut addresses = Vec::new();
            let mut alias = None;
            for record in records.iter().filter(|record| record.of == name) {
                match &record.leads_to {
                    Target::Address(address) if self.family.has(address) => {
                        ttl = ttl.min(lifetime(record.ttl));
                        addresses.push(*address);
                    }
                    Target::Address(_) => {}
                    Target::Alias(of) => alias = alias.or_else(|| Some((of, lifetime(record.ttl)))),
                }
            }
            if !addresses.is_empty() {
                return Some(Answer::Addresses(addresses, ttl));
            }
            let Some((target, of_alias)) = alias else {
                return Some(Answer::NoAddress);
            };
            (name, ttl) = (target.clone(), ttl.min(of_alias));
        }
        Some(Answer::TooManyAliases)
    }
}

/// A number of the header: how many there are of something.
fn count(header: &[u8; HEADER_LEN], at: usize) -> usize {
    usize::from(u16::from_be_bytes([header[at], header[at + 1]]))
}

/// A lifetime on the wire; one with the highest bit set means none (RFC 2181 section 8).
fn lifetime(ttl: u32) -> Duration {
    let seconds = i32::try_from(ttl).map_or(0, i32::unsigned_abs);
    Duration::from_secs(seconds.into())
}

#[cfg(test)]
mod tests;
