//! The records of an answer that lead to addresses. Each is read by itself: whatever kinds there are
//! besides, and whatever is in them, is passed over, at a cost that does not grow with what they say.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Records of an answer that are looked at; the first ones.
pub const RECORDS_MAX: usize = 256;
/// Bytes of a name, the lengths of its labels included (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 255;
/// Pointers that are followed within one name (RFC 1035 section 4.1.4). Who writes one points to where
/// the rest is spelled out, or to one that does.
const POINTERS_MAX: usize = 16;
/// Bytes of a record behind its name and before its data: kind, class, lifetime and length.
const FIXED_LEN: usize = 10;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
/// The class of the Internet.
const IN: u16 = 1;

/// A name as its labels on the wire, without pointers, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WireName(Vec<u8>);

/// A record that leads from a name to an address, or to another name.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) of: WireName,
    pub(super) ttl: u32,
    pub(super) leads_to: Target,
}

#[derive(Debug)]
pub(super) enum Target {
    Address(IpAddr),
    Alias(WireName),
}

/// Reads the name at a place of a message. Returns it and where what follows begins.
pub(super) fn name(message: &[u8], at: usize) -> Option<(WireName, usize)> {
    let (mut labels, mut at) = (Vec::new(), at);
    let (mut pointers, mut behind) = (0, None);
    loop {
        let len = *message.get(at)?;
        match len {
            0 => return Some((WireName(labels), behind.unwrap_or(at + 1))),
            1..=0x3F => {
                let end = at + 1 + usize::from(len);
                let label = message.get(at..end)?;
                // With the empty label of the root.
                if labels.len() + label.len() >= NAME_BYTES_MAX {
                    return None;
                }
                labels.extend(label.iter().map(u8::to_ascii_lowercase));
                at = end;
            }
            0xC0.. => {
                let to = u16::from_be_bytes([len & 0x3F, *message.get(at + 1)?]).into();
                pointers += 1;
                // To what was before it.
                if to >= at || pointers > POINTERS_MAX {
                    return None;
                }
                behind = behind.or(Some(at + 2));
                at = to;
            }
            // Kept for what was never made (RFC 6891 section 5).
            0x40..=0xBF => return None,
        }
    }
}

/// Reads the first of `count` records that begin at a place of a message, and returns those of the kinds
/// that lead on.
pub(super) fn read(message: &[u8], mut at: usize, count: usize) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    for _ in 0..count.min(RECORDS_MAX) {
        let (of, fixed_at) = name(message, at)?;
        let data_at = fixed_at + FIXED_LEN;
        let fixed: &[u8; FIXED_LEN] = message.get(fixed_at..data_at)?.first_chunk()?;
        let [k0, k1, c0, c1, t0, t1, t2, t3, l0, l1] = *fixed;
        let end = data_at + usize::from(u16::from_be_bytes([l0, l1]));
        let data = message.get(data_at..end)?;
        at = end;
        if u16::from_be_bytes([c0, c1]) != IN {
            continue;
        }
        let leads_to = match u16::from_be_bytes([k0, k1]) {
            A => Target::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            AAAA => Target::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            CNAME => match name(message, data_at)? {
                (alias, alias_end) if alias_end == end => Target::Alias(alias),
                _ => return None,
            },
            _ => continue,
        };
        let ttl = u32::from_be_bytes([t0, t1, t2, t3]);
        records.push(Record { of, ttl, leads_to });
    }
    Some(records)
}
